// Threads that share loops, for all libraries of this folder together.
//
// OpenMP's loop ends when every thread has come to its end. A thread that is not running, because another program
// has its core, then holds up everything for as long as that one's time slice, thousands of times longer than a loop
// takes. Here a loop ends when its tasks are done: a thread that never came is not waited for, and whoever is there
// takes what is left. Beside a busy core a loop is as fast as with one thread fewer, not 40 times as slow.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#include "pool.h"

enum { MOST_THREADS = 256 };
enum { SPINS = 4000 };  // of a worker before it sleeps: some 0.2 ms, longer than the code between two loops takes
enum { PATIENCE = 200 };  // of the caller for tasks that others have, before it lets the others run

static struct {
    // The loop's number << 32 | the first task that nobody has taken. What a loop is must only be changed after all of
    // its tasks are taken and done, so whoever succeeds in taking one has read what belongs to it.
    _Alignas(64) _Atomic uint64_t next;
    _Alignas(64) _Atomic long done;
    _Alignas(64) _Atomic(pool_work *) work;
    _Atomic(void *) context;
    _Atomic long tasks, unit, most, threads;
    pthread_mutex_t busy;  // held by who runs a loop
    pthread_mutex_t sleep;
    pthread_cond_t news;
    _Atomic int sleepers;
    long num_workers;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .sleep = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#define GET(field) atomic_load_explicit(&pool.field, memory_order_relaxed)
#define SET(field, value) atomic_store_explicit(&pool.field, value, memory_order_relaxed)

// Fewer and fewer, so that all are done at nearly the same time.
static long portion(long left, long threads, long unit, long most) {
    long few = left / (2 * threads);
    if (few > most) few = most;
    if (few > unit) few -= few % unit;
    return few < 1 ? 1 : few;
}

static void take_part(uint64_t number, long thread) {
    pool_work *work = GET(work);
    void *context = GET(context);
    const long tasks = GET(tasks), unit = GET(unit), most = GET(most), threads = GET(threads);
    uint64_t next = atomic_load(&pool.next);
    while (next >> 32 == number && (long)(uint32_t)next < tasks) {
        const long begin = (uint32_t)next, few = portion(tasks - begin, threads, unit, most);
        if (!atomic_compare_exchange_weak(&pool.next, &next, next + few)) continue;
        work(context, begin, begin + few, thread);
        atomic_fetch_add(&pool.done, few);
        next = atomic_load(&pool.next);
    }
}

static uint64_t wait_for_other_than(uint64_t number) {
    uint64_t found;
    for (int i = 0; i < SPINS; i++) {
        found = atomic_load(&pool.next) >> 32;
        if (found != number) return found;
        relax();
    }
    pthread_mutex_lock(&pool.sleep);
    atomic_fetch_add(&pool.sleepers, 1);
    while ((found = atomic_load(&pool.next) >> 32) == number) pthread_cond_wait(&pool.news, &pool.sleep);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.sleep);
    return found;
}

static void *serve(void *thread) {
    for (uint64_t number = 0;;) {
        number = wait_for_other_than(number);
        if ((long)(intptr_t)thread < GET(threads)) take_part(number, (long)(intptr_t)thread);
    }
    return NULL;
}

// A child has none of its parent's threads, and nobody who would give the locks back.
static void begin_anew(void) {
    pthread_mutex_init(&pool.busy, NULL);
    pthread_mutex_init(&pool.sleep, NULL);
    pthread_cond_init(&pool.news, NULL);
    atomic_store(&pool.sleepers, 0);
    pool.num_workers = 0;
}

static void have_workers(long count) {
    static int knows_forks;
    sigset_t all, before;
    if (pool.num_workers >= count) return;
    if (!knows_forks) knows_forks = !pthread_atfork(NULL, NULL, begin_anew);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the program's own threads
    while (pool.num_workers < count) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)(pool.num_workers + 1))) break;
        pthread_detach(thread);
        pool.num_workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

// Of two callers at a time one has the pool, and the other does its loop alone.
void run_loop(pool_work *work, void *context, long tasks, long unit, long most, int threads) {
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (threads < 2 || tasks < 2 || tasks > INT32_MAX || pthread_mutex_trylock(&pool.busy)) {
        pool_alone(work, context, tasks, unit, most, threads);
        return;
    }
    have_workers(threads - 1);
    SET(work, work);
    SET(context, context);
    SET(tasks, tasks);
    SET(unit, unit);
    SET(most, most);
    SET(threads, threads);
    atomic_store(&pool.done, 0);
    const uint64_t number = (atomic_load(&pool.next) >> 32) + 1;
    atomic_store(&pool.next, number << 32);
    if (atomic_load(&pool.sleepers)) {
        pthread_mutex_lock(&pool.sleep);
        pthread_cond_broadcast(&pool.news);
        pthread_mutex_unlock(&pool.sleep);
    }
    take_part((uint32_t)number, 0);
    for (int i = 0; atomic_load(&pool.done) < tasks; i++) i < PATIENCE ? relax() : (void)sched_yield();
    pthread_mutex_unlock(&pool.busy);
}
