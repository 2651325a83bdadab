// A loop shared by the threads of pool.c, for a library that is given the pool when it is loaded. Alone until then.
#pragma once

// The tasks begin .. end; `thread` counts from 0, the caller's own.
typedef void pool_work(void *context, long begin, long end, long thread);
typedef void pool_loop(pool_work *work, void *context, long tasks, long unit, long most, int threads);

static void pool_alone(pool_work *work, void *context, long tasks, long unit, long most, int threads) {
    (void)unit, (void)most, (void)threads;
    if (tasks > 0) work(context, 0, tasks, 0);
}

// Do all of `tasks`, with at most `threads` threads. A thread takes several at once, but no more than `most`, and a
// multiple of `unit` while there are many.
static pool_loop *pool_run = pool_alone;

void use_pool(pool_loop *run) { pool_run = run; }
