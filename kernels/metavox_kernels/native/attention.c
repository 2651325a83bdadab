// Paged attention on the CPU: float32 queries, keys and values of any cache dtype.
//
// A task is one sequence's tile of query tokens and one key head with its group of query heads; each query head
// of each token is a row. Keys are taken in steps of STEP, counted from the start of the sequence, with a
// running maximum and sum for each row (Milakov and Gimelshein, 2018, arXiv:1805.02867; Dao et al., 2022,
// arXiv:2205.14135). A row's steps and the order of every sum in them depend on its position alone: a token's
// result has the same bits alone, in a batch, in a chunk of a prompt, and on any number of threads. The registers
// hold a few rows at a time; which rows those are changes no row's arithmetic.
#include <math.h>
#include <stdlib.h>

#include "paged.h"

// Loops over registers: they must vanish, or the registers live in memory.
#define UNROLL _Pragma("GCC unroll 16")

enum {
    STEP = 64,             // keys
    GROUPS = STEP / LANES, // of keys that fill a vector
    TILE_ROWS = 64,        // rows that share a step's conversion to float32
    MAX_ROWS = 6,          // rows in registers
    ALIGN = 64,
};
#if LANES == 16
enum { KEY_VECTORS = 4, WIDE = 8, MIDDLE = 4, WIDE_ROWS = 3 };
#elif LANES == 8 // half as many registers
enum { KEY_VECTORS = 2, WIDE = 4, MIDDLE = 2, WIDE_ROWS = 2 };
#else
enum { KEY_VECTORS = 4, WIDE = 8, MIDDLE = 4, WIDE_ROWS = 3 };
#endif

enum { HALF = KEY_VECTORS / 2 };

typedef struct {
    const LayerCache *cache;
    const PagedBatch *batch;
    const float *query;
    float *out;
    int64_t num_heads, window; // window 0: none
    float scale, softcap;      // softcap 0: none
} Call;

// A tile's numbers; every row of query, out and scores starts on a cache line.
typedef struct {
    float *query, *out, *score, *key, *value;
    float *maximum, *sum; // [rows], [rows, LANES]
    int64_t width;        // head_dim, up to whole vectors
} Scratch;

// Where a step's keys and values lie: LANES keys a group. Of the cache's dtype, or converted to float32.
typedef struct {
    const char *key[GROUPS], *value[GROUPS];
    const char *next[GROUPS];  // the keys that will be read after this step, as a guess
    int64_t key_stride; // numbers between a key's dimensions
    float key_scale[STEP], value_scale[STEP];
} Step;

typedef struct {
    int64_t sequence, kv_head, first_token, num_tokens; // of the sequence's new tokens
} Tile;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t padded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

INLINE int64_t item_size(int dtype) { return dtype == F32 ? 4 : dtype == INT8 ? 1 : 2; }

// Scores of `rows` rows with `vectors` groups of keys: one chain of sums over the dimensions for each.
INLINE void score_rows(const float *query, int64_t width, int64_t d, const Step *step, int64_t group, int dtype,
                       int rows, int vectors, float *score) {
    const int64_t stride = step->key_stride;
    const char *const *key = step->key + group;
    vf sum[MAX_ROWS][KEY_VECTORS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int n = 0; n < vectors; n++) sum[r][n] = vf_set(0);
    for (int64_t i = 0; i < d; i++) {
        vf k[KEY_VECTORS];
        UNROLL for (int n = 0; n < vectors; n++) {
            k[n] = vf_load_as(key[n], i * stride, dtype);
            if (dtype != F32) __builtin_prefetch(step->value[group + n] + i * LANES * item_size(dtype));
        }
        UNROLL for (int r = 0; r < rows; r++) {
            vf q = vf_set(query[r * width + i]);
            UNROLL for (int n = 0; n < vectors; n++) sum[r][n] = vf_fma(q, k[n], sum[r][n]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int n = 0; n < vectors; n++) vf_store(score + r * STEP + n * LANES, sum[r][n]);
}

// out[r][column ..] += weight[r][j] * value[j][column ..] for the keys j = low .. high - 1, one after another.
INLINE void mix_rows(const float *weight, const Step *step, int64_t low, int64_t high, int64_t width,
                     int64_t column, int dtype, int rows, int vectors, float *out) {
    vf sum[MAX_ROWS][WIDE];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < vectors; c++) sum[r][c] = vf_load(out + r * width + column + c * LANES);
    for (int64_t j = low; j < high;) {
        int64_t end = smaller(high, (j / LANES + 1) * LANES);
        const char *value = step->value[j / LANES], *next = step->next[j / LANES];
        const int64_t share = width / LANES, line = step->key_stride * item_size(dtype);
        for (; j < end; j++) {
            vf v[WIDE];
            UNROLL for (int c = 0; c < vectors; c++)
                v[c] = vf_load_as(value, j % LANES * width + column + c * LANES, dtype);
            if (dtype != F32 && column == 0)
                for (int64_t i = 0; i < share; i++) __builtin_prefetch(next + (j % LANES * share + i) * line);
            UNROLL for (int r = 0; r < rows; r++) {
                vf w = vf_set(weight[r * STEP + j]);
                UNROLL for (int c = 0; c < vectors; c++) sum[r][c] = vf_fma(w, v[c], sum[r][c]);
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int c = 0; c < vectors; c++) vf_store(out + r * width + column + c * LANES, sum[r][c]);
}

// The same for a number of rows and a dtype that the compiler does not know.
#define FOR_ROWS(rows, call) \
    switch (rows) { \
        case 1: call(1); break; \
        case 2: call(2); break; \
        case 3: call(3); break; \
        case 4: call(4); break; \
        case 5: call(5); break; \
        case 6: call(6); break; \
    }

#define FOR_DTYPE(name, args, ...) \
    static void name args { \
        switch (dtype) { \
            case F32: name##_of(__VA_ARGS__, F32); break; \
            case BF16: name##_of(__VA_ARGS__, BF16); break; \
            case FP16: name##_of(__VA_ARGS__, FP16); break; \
            case INT8: name##_of(__VA_ARGS__, INT8); break; \
        } \
    }

INLINE void score_of(const Scratch *s, const Step *step, int64_t d, int64_t row, int rows, int64_t group,
                     int64_t groups, int dtype) {
    const float *query = s->query + row * s->width;
#define SCORE(rows) score_rows(query, s->width, d, step, n, dtype, rows, vectors, score)
    for (int64_t n = group; n < groups;) {
        float *score = s->score + row * STEP + n * LANES;
        if (groups - n > HALF && n + KEY_VECTORS <= GROUPS) {
            const int vectors = KEY_VECTORS;
            FOR_ROWS(rows, SCORE)
            n += vectors;
        } else {
            const int vectors = HALF;
            FOR_ROWS(rows, SCORE)
            n += vectors;
        }
    }
}
FOR_DTYPE(score, (const Scratch *s, const Step *step, int64_t d, int64_t row, int rows, int64_t group,
                  int64_t groups, int dtype), s, step, d, row, rows, group, groups)

INLINE void mix_of(const Scratch *s, const Step *step, int64_t row, int rows, int64_t low, int64_t high,
                   int dtype) {
    const float *weight = s->score + row * STEP;
    float *out = s->out + row * s->width;
#define MIX(rows) mix_rows(weight, step, low, high, s->width, column, dtype, rows, vectors, out)
    for (int64_t column = 0; column < s->width;) {
        int64_t left = (s->width - column) / LANES;
        if (left >= WIDE && rows <= WIDE_ROWS) {
            const int vectors = WIDE;
            if (rows == 1) MIX(1);
            else if (rows == 2) MIX(2);
            else MIX(3);
            column += vectors * LANES;
        } else if (left >= MIDDLE) {
            const int vectors = MIDDLE;
            FOR_ROWS(rows, MIX)
            column += vectors * LANES;
        } else {
            const int vectors = 1;
            FOR_ROWS(rows, MIX)
            column += vectors * LANES;
        }
    }
}
FOR_DTYPE(mix, (const Scratch *s, const Step *step, int64_t row, int rows, int64_t low, int64_t high, int dtype),
          s, step, row, rows, low, high)

// Within 1e-7 of itself, which is 5e-6 of a score capped at 50.
INLINE vf vf_tanh(vf x) {
    vu sign = (vu)x & 0x80000000u;
    vf e = vf_exp((vf)((vu)(x + x) | 0x80000000u));  // e^(-2 |x|)
    return (vf)((vu)((1.0f - e) / (1.0f + e)) | sign);
}

// e^x, or 0 where that is less than 2^-92: beside a largest weight of 1 it is nothing, and its products with small
// values would be subnormal numbers, at a hundred times the cost.
INLINE vf weight_of(vf x) { return vf_select(x < -64.0f, vf_set(0), vf_exp(x)); }

// Scores of one row become weights, in place; those of the keys low .. high - 1, the only ones that count.
static void soften(const Call *call, const Scratch *s, const Step *step, int64_t row, int64_t low, int64_t high) {
    int64_t first = low / LANES, last = (high + LANES - 1) / LANES;
    float *score = s->score + row * STEP;
    const int integers = call->cache->dtype == INT8;
    vf top = vf_set(-INFINITY);
    vi index;
    for (int i = 0; i < LANES; i++) index[i] = i;
    for (int64_t n = first; n < last; n++) {
        vf x = vf_load(score + n * LANES);
        if (integers) x *= vf_load(step->key_scale + n * LANES);
        if (call->softcap > 0) x = call->softcap * vf_tanh(x / call->softcap);
        vi at = index + (int32_t)(n * LANES);
        x = vf_select((at >= (int32_t)low) & (at < (int32_t)high), x, vf_set(-INFINITY));
        vf_store(score + n * LANES, x);
        top = vf_max(x, top);
    }
    float before = s->maximum[row], maximum = fmaxf(before, vf_largest(top));
    vf sum = vf_load(s->sum + row * LANES);
    if (maximum != before) {
        vf shrink = weight_of(vf_set(before - maximum));
        sum *= shrink;
        for (int64_t i = 0; i < s->width; i += LANES)
            vf_store(s->out + row * s->width + i, vf_load(s->out + row * s->width + i) * shrink);
        s->maximum[row] = maximum;
    }
    for (int64_t n = first; n < last; n++) {
        vf x = vf_load(score + n * LANES);
        vf weight = weight_of(x - maximum);  // of a hidden key: e^-inf, 0
        sum += weight;
        if (integers) weight *= vf_load(step->value_scale + n * LANES);
        vf_store(score + n * LANES, weight);
    }
    vf_store(s->sum + row * LANES, sum);
}

// The keys of the step that begins at `start` which the token at `position` sees: low .. high - 1.
static void visible(const Call *call, int64_t start, int64_t position, int64_t *low, int64_t *high) {
    *low = call->window ? larger(0, position - call->window + 1 - start) : 0;
    *high = smaller(STEP, position + 1 - start);
}

// The rows begin .. end - 1, all of which see some of the step's keys, a few at a time.
static void attend(const Call *call, const Scratch *s, const Step *step, int dtype, int64_t start,
                   int64_t first_position, int64_t begin, int64_t end) {
    int64_t group = call->num_heads / call->cache->num_kv_heads;
    for (int64_t row = begin; row < end;) {
        int64_t calls = (end - row + MAX_ROWS - 1) / MAX_ROWS, rows = (end - row + calls - 1) / calls;
        int64_t low[MAX_ROWS], high[MAX_ROWS], least = STEP, most = 0, from = 0, to = STEP;
        for (int64_t r = 0; r < rows; r++) {
            visible(call, start, first_position + (row + r) / group, low + r, high + r);
            least = smaller(least, low[r]), most = larger(most, high[r]);
            from = larger(from, low[r]), to = smaller(to, high[r]);
        }
        int64_t groups = (most + LANES - 1) / LANES;
        score(s, step, call->cache->head_dim, row, (int)rows, least / LANES / HALF * HALF, groups, dtype);
        for (int64_t r = 0; r < rows; r++) soften(call, s, step, row + r, low[r], high[r]);
        // Keys that all of the rows see are mixed together, the others row by row: no weight 0 meets a value.
        for (int64_t r = 0; r < rows; r++) mix(s, step, row + r, 1, low[r], smaller(from, high[r]), dtype);
        mix(s, step, row, (int)rows, from, to, dtype);
        for (int64_t r = 0; r < rows; r++) mix(s, step, row + r, 1, larger(larger(from, to), low[r]), high[r], dtype);
        row += rows;
    }
}

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
    return (const char *)cache->key + (slot.page * cache->head_dim * cache->block_size + slot.at) * cache->item_size;
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
        if (n < begin || n >= end) step->key[n] = step->key[begin];
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
        int64_t end = call->window ? smaller(tile->num_tokens, start + STEP - 1 + call->window - first) : tile->num_tokens;
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

enum { PARALLEL_NS = 20000 }; // less is done sooner by one thread than by waking another

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
    int failed = 0;
    if (num_threads > 1 && cost(&call) < PARALLEL_NS) num_threads = 1;
#pragma omp parallel num_threads(num_threads) if (num_threads > 1) reduction(| : failed)
    {
        Scratch scratch;
        failed = !make_scratch(longest * group, cache->head_dim, &scratch);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < count; task++) {
            if (failed) continue;
            Tile tile = tile_at(&call, first_task, tokens, task);
            run_tile(&call, &tile, &scratch);
        }
    }
    free(first_task);
    return !failed;
}
