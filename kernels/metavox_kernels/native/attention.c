// Paged attention on the CPU: float32 queries, keys and values of any cache dtype.
//
// A task is one sequence's tile of query tokens and one key head with its group of query heads; each query head
// of each token is a row. Keys are taken in steps of STEP, counted from the start of the sequence, with a
// running maximum and sum for each row (Milakov and Gimelshein, 2018, arXiv:1805.02867; Dao et al., 2022,
// arXiv:2205.14135). A row's steps and the order of every sum in them depend on its position alone: a token's
// result has the same bits alone, in a batch, in a chunk of a prompt, and on any number of threads. The registers
// hold a few rows at a time; which rows those are changes no row's arithmetic.
#include <stdlib.h>

#include "attention_rows.h"
#include "pool.h"

typedef struct {
    int64_t sequence, kv_head, first_token, num_tokens;  // of the sequence's new tokens
} Tile;

// Where a token is: the number of its block's page for the key head, and its place in it.
typedef struct {
    int64_t page, at;
} Slot;

static Slot slot_of(const Call *call, const Tile *tile, int64_t position) {
    const int32_t *table = call->batch->block_tables + tile->sequence * call->batch->table_stride;
    const uint32_t token = (uint32_t)position, size = (uint32_t)call->cache->block_size;  // 32 bits divide faster
    return (Slot){table[token / size] * call->cache->num_kv_heads + tile->kv_head, token % size};
}

static const char *key_at(const LayerCache *cache, Slot slot) {
    const int64_t page = slot.page * cache->head_dim * cache->block_size;
    return (const char *)cache->key + (page + slot.at) * cache->item_size;
}

// The groups begin .. end - 1 of the step at `start`, where they are in the cache. The other groups may be read,
// as more of the same keys, but do not count.
static void locate(const Call *call, const Tile *tile, int64_t start, int64_t begin, int64_t end, Step *step) {
    const LayerCache *cache = call->cache;
    step->key_stride = cache->block_size;
    for (int64_t n = begin; n < end; n++) {
        const Slot slot = slot_of(call, tile, start + n * LANES);
        const int64_t row = slot.page * cache->block_size + slot.at;
        step->key[n] = key_at(cache, slot);
        step->value[n] = (const char *)cache->value + row * cache->head_dim * cache->item_size;
        if (cache->dtype == INT8) {
            memcpy(step->key_scale + n * LANES, cache->key_scale + row, LANES * sizeof(float));
            memcpy(step->value_scale + n * LANES, cache->value_scale + row, LANES * sizeof(float));
        }
    }
    for (int64_t n = 0; n < GROUPS; n++)
        if (n < begin || n >= end) step->key[n] = step->key[begin], step->value[n] = step->value[begin];
}

INLINE void convert_of(const Step *from, int64_t begin, int64_t end, int64_t d, const Scratch *s, int dtype) {
    for (int64_t n = begin; n < end; n++) {
        for (int64_t i = 0; i < d; i++)
            vf_store(s->key + i * STEP + n * LANES, vf_load_as(from->key[n], i * from->key_stride, dtype));
        for (int64_t i = 0; i < LANES * d; i += LANES)
            vf_store(s->value + n * LANES * d + i, vf_load_as(from->value[n], i, dtype));
    }
}
FOR_DTYPE(convert, (const Step *from, int64_t begin, int64_t end, int64_t d, const Scratch *s, int dtype),
          from, begin, end, d, s)

// Any block_size and head_dim: the keys low .. high - 1 one by one.
static void convert_each(const Call *call, const Tile *tile, int64_t start, int64_t low, int64_t high,
                         const Scratch *s, Step *step) {
    const LayerCache *cache = call->cache;
    const int64_t size = cache->block_size, d = cache->head_dim;
    for (int64_t j = low; j < high; j++) {
        const Slot slot = slot_of(call, tile, start + j);
        const int64_t row = slot.page * size + slot.at;
        for (int64_t i = 0; i < d; i++) {
            s->key[i * STEP + j] = load_as(cache->key, (slot.page * d + i) * size + slot.at, cache->dtype);
            s->value[j * s->width + i] = load_as(cache->value, row * d + i, cache->dtype);
        }
        for (int64_t i = d; i < s->width; i++) s->value[j * s->width + i] = 0;
        if (cache->dtype == INT8) {
            step->key_scale[j] = cache->key_scale[row];
            step->value_scale[j] = cache->value_scale[row];
        }
    }
}

// Fills `step` with the keys low .. high - 1, and returns the dtype in which they now are.
static int gather(const Call *call, const Tile *tile, int64_t rows, int64_t start, int64_t low, int64_t high,
                  const Scratch *s, Step *step) {
    const LayerCache *cache = call->cache;
    int64_t begin = low / LANES, end = (high + LANES - 1) / LANES;
    if (cache->block_size % LANES == 0 && cache->head_dim % LANES == 0) {
        locate(call, tile, start, begin, end, step);
        if (rows <= MAX_ROWS || cache->dtype == F32) return (int)cache->dtype;
        convert(step, begin, end, cache->head_dim, s, (int)cache->dtype);
    } else {
        convert_each(call, tile, start, low, high, s, step);
    }
    step->key_stride = STEP;
    for (int64_t n = 0; n < GROUPS; n++) {
        step->key[n] = (const char *)(s->key + n * LANES);
        step->value[n] = (const char *)(s->value + n * LANES * s->width);
    }
    return F32;
}

static const float *head_of(const Call *call, const Tile *tile, int64_t row, const float *tensor) {
    int64_t group = call->num_heads / call->cache->num_kv_heads;
    int64_t token = call->batch->query_start[tile->sequence] + tile->first_token + row / group;
    return tensor + (token * call->num_heads + tile->kv_head * group + row % group) * call->cache->head_dim;
}

static void begin_rows(const Call *call, const Tile *tile, int64_t rows, const Scratch *s) {
    for (int64_t row = 0; row < rows; row++) {
        const float *query = head_of(call, tile, row, call->query);
        for (int64_t i = 0; i < call->cache->head_dim; i++) s->query[row * s->width + i] = query[i] * call->scale;
        s->maximum[row] = -INFINITY;
    }
    memset(s->out, 0, rows * s->width * sizeof(float));
    memset(s->sum, 0, rows * LANES * sizeof(float));
}

static void end_rows(const Call *call, const Tile *tile, int64_t rows, const Scratch *s) {
    for (int64_t row = 0; row < rows; row++) {
        float *out = (float *)head_of(call, tile, row, call->out), sum = vf_sum(vf_load(s->sum + row * LANES));
        for (int64_t i = 0; i < call->cache->head_dim; i++) out[i] = s->out[row * s->width + i] / sum;
    }
}

// Where the next step's keys are, or after the last step the first ones of the next head.
static void look_ahead(const Call *call, const Tile *tile, int64_t start, int64_t first, int64_t last, Step *step) {
    Tile following = *tile;
    int64_t from = start + STEP;
    if (from > last) {
        from = first;
        following.kv_head = (tile->kv_head + 1) % call->cache->num_kv_heads;
    }
    for (int64_t n = 0; n < GROUPS; n++) {
        const int64_t position = smaller(from + n * LANES, last / LANES * LANES);
        step->next[n] = key_at(call->cache, slot_of(call, &following, position));
    }
}

static void run_tile(const Call *call, const Tile *tile, const Scratch *s) {
    const PagedBatch *batch = call->batch;
    int64_t group = call->num_heads / call->cache->num_kv_heads, rows = tile->num_tokens * group;
    int64_t new_tokens = batch->query_start[tile->sequence + 1] - batch->query_start[tile->sequence];
    int64_t first = batch->context_lens[tile->sequence] - new_tokens + tile->first_token;
    int64_t last = first + tile->num_tokens - 1, low, high, ignored;
    Step step;
    visible(call, 0, first, &low, &ignored);
    begin_rows(call, tile, rows, s);
    const int64_t first_start = low / STEP * STEP;
    for (int64_t start = first_start; start <= last; start += STEP) {
        visible(call, start, first, &low, &ignored);
        visible(call, start, last, &ignored, &high);
        int dtype = gather(call, tile, rows, start, low, high, s, &step);
        if (dtype != F32) look_ahead(call, tile, start, first_start, last, &step);
        int64_t begin = larger(0, start - first);
        int64_t end = tile->num_tokens;
        if (call->window) end = smaller(end, start + STEP - 1 + call->window - first);
        attend(call, s, &step, dtype, start, first, begin * group, end * group);
    }
    end_rows(call, tile, rows, s);
}

// Kept by each thread for its next call: it is too large to be asked of the system every time.
static _Thread_local struct { float *data; int64_t size; } kept;

static int make_scratch(int64_t rows, int64_t d, Scratch *s) {
    int64_t width = padded(d);
    int64_t sizes[] = {rows * width, rows * width, rows * STEP, STEP * d, STEP * width, rows * LANES, padded(rows)};
    float **parts[] = {&s->query, &s->out, &s->score, &s->key, &s->value, &s->sum, &s->maximum};
    int64_t total = 0;
    for (int i = 0; i < 7; i++) total += (sizes[i] + 15) / 16 * 16;
    if (kept.size < total) {
        free(kept.data);
        kept.data = aligned_alloc(ALIGN, total * sizeof(float));
        kept.size = kept.data ? total : 0;
    }
    s->width = width;
    total = 0;
    for (int i = 0; i < 7; i++) {
        *parts[i] = kept.data + total;
        total += (sizes[i] + 15) / 16 * 16;
    }
    return kept.data != NULL;
}

// The sequences' tasks are numbered one after another; a sequence's by head, and from its last tile to its first,
// so that the longest are begun first.
static Tile tile_at(const Call *call, const int64_t *first_task, int64_t tokens, int64_t task) {
    const PagedBatch *batch = call->batch;
    int64_t low = 0, high = batch->num_seqs;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (first_task[middle] <= task) low = middle;
        else high = middle;
    }
    int64_t length = batch->query_start[low + 1] - batch->query_start[low], tiles = (length + tokens - 1) / tokens;
    int64_t within = task - first_task[low], first = (tiles - 1 - within % tiles) * tokens;
    return (Tile){low, within / tiles, first, smaller(tokens, length - first)};
}

// Nanoseconds of one core, roughly: the bytes at 10 a nanosecond, or the products at 24.
static double cost(const Call *call) {
    const LayerCache *cache = call->cache;
    double bytes = 0, products = 0;
    for (int64_t i = 0; i < call->batch->num_seqs; i++) {
        double length = call->batch->query_start[i + 1] - call->batch->query_start[i];
        double context = call->batch->context_lens[i];
        if (call->window && context > call->window + length) context = call->window + length;
        bytes += context * 2 * cache->item_size * cache->num_kv_heads * cache->head_dim;
        products += length * context * 2 * call->num_heads * cache->head_dim;
    }
    return fmax(bytes / 10, products / 24);
}

enum { PARALLEL_NS = 20000 };  // less is done sooner by one thread than by waking another

typedef struct {
    const Call *call;
    const int64_t *first_task;
    int64_t tokens, rows;
    int failed;
} Tiles;

static void run_tiles(void *context, long begin, long end, long thread) {
    Tiles *tiles = context;
    Scratch scratch;
    (void)thread;
    if (!make_scratch(tiles->rows, tiles->call->cache->head_dim, &scratch)) {
        __atomic_store_n(&tiles->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t task = begin; task < end; task++) {
        Tile tile = tile_at(tiles->call, tiles->first_task, tiles->tokens, task);
        run_tile(tiles->call, &tile, &scratch);
    }
}

// See metavox_kernels.attention.paged_attention_naive; query and out are contiguous. 0 if there was no memory.
int paged_attention(const float *query, const LayerCache *cache, const PagedBatch *batch, int64_t num_heads,
                    double scale, int64_t window, double softcap, float *out, int num_threads) {
    const Call call = {cache, batch, query, out, num_heads, window, (float)scale, (float)softcap};
    const int64_t group = num_heads / cache->num_kv_heads, tokens = larger(1, TILE_ROWS / group);
    int64_t *first_task = malloc((batch->num_seqs + 1) * sizeof *first_task), count = 0, longest = 1;
    if (!first_task) return 0;
    for (int64_t i = 0; i < batch->num_seqs; i++) {
        int64_t length = batch->query_start[i + 1] - batch->query_start[i];
        first_task[i] = count;
        count += (length + tokens - 1) / tokens * cache->num_kv_heads;
        longest = larger(longest, smaller(tokens, length));
    }
    // One thread takes neighbouring heads, so that it is the one to read what look_ahead asks for.
    const int64_t many = larger(1, count / (8 * num_threads));
    const int64_t chunk = longest == 1 ? smaller(cache->num_kv_heads, many) : 1;
    if (num_threads > 1 && cost(&call) < PARALLEL_NS) num_threads = 1;
    Tiles tiles = {&call, first_task, tokens, longest * group, 0};
    pool_run(run_tiles, &tiles, count, 1, chunk, num_threads);
    free(first_task);
    return !tiles.failed;
}
