// The arithmetic of paged attention on rows of queries: scores, weights, and weighted sums of values, a step of
// keys at a time. Only attention.c includes this; what a step and a row are is told there.
#pragma once
#include <math.h>

#include "paged.h"

// Loops over registers: they must vanish, or the registers live in memory.
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum {
    STEP = 64,  // keys
    GROUPS = STEP / LANES,  // of keys that fill a vector
    TILE_ROWS = 64,  // rows that share a step's conversion to float32
    MAX_ROWS = 6,  // rows in registers
    ALIGN = 64,
};
#if LANES == 16
enum { KEY_VECTORS = 4, WIDE = 8, MIDDLE = 4, WIDE_ROWS = 3 };
#elif LANES == 8  // half as many registers
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
    int64_t num_heads, window;  // window 0: none
    float scale, softcap;  // softcap 0: none
} Call;

// A tile's numbers; every row of query, out and scores starts on a cache line.
typedef struct {
    float *query, *out, *score, *key, *value;
    float *maximum, *sum;  // [rows], [rows, LANES]
    int64_t width;  // head_dim, up to whole vectors
} Scratch;

// Where a step's keys and values lie: LANES keys a group. Of the cache's dtype, or converted to float32.
typedef struct {
    const char *key[GROUPS], *value[GROUPS];
    const char *next[GROUPS];  // the keys that will be read after this step, as a guess
    int64_t key_stride;  // numbers between a key's dimensions
    float key_scale[STEP], value_scale[STEP];
} Step;

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
static void softmax_row(const Call *call, const Scratch *s, const Step *step, int64_t row, int64_t low,
                        int64_t high) {
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
        for (int64_t r = 0; r < rows; r++) softmax_row(call, s, step, row + r, low[r], high[r]);
        // Keys that all of the rows see are mixed together, the others row by row: no weight 0 meets a value.
        for (int64_t r = 0; r < rows; r++) mix(s, step, row + r, 1, low[r], smaller(from, high[r]), dtype);
        mix(s, step, row, (int)rows, from, to, dtype);
        from = larger(from, to);
        for (int64_t r = 0; r < rows; r++) mix(s, step, row + r, 1, larger(from, low[r]), high[r], dtype);
        row += rows;
    }
}
