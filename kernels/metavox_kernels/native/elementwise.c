// The small ops of a decoder layer on the CPU, on rows of float32: norms, gates, and rotary embedding with the
// store of keys and values. A row is always summed in the same order, whatever the rows beside it.
#include <math.h>

#include "paged.h"
#include "pool.h"

// Numbers below which one thread is done before another would be awake.
enum { PARALLEL_NORM = 1 << 18, PARALLEL_GATE = 1 << 16, PARALLEL_HEADS = 1 << 17 };
enum { SUMS = 4, TOKENS = 16 };  // sums in flight; tokens of a task, which mostly lie in one block

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

INLINE int threads_for(int64_t numbers, int64_t least, int num_threads) {
    return numbers < least ? 1 : num_threads;
}

// Sum of squares of residual + x, which goes to residual; where residual is NULL, of x.
INLINE float squares(const float *x, float *residual, int64_t d) {
    vf sum[SUMS] = {{0}};
    int64_t i = 0;
    for (; i + SUMS * LANES <= d; i += SUMS * LANES)
        for (int n = 0; n < SUMS; n++) {
            vf v = vf_load(x + i + n * LANES);
            if (residual) vf_store(residual + i + n * LANES, v += vf_load(residual + i + n * LANES));
            sum[n] = vf_fma(v, v, sum[n]);
        }
    for (; i < d; i += LANES) {
        size_t count = (size_t)smaller(LANES, d - i);
        vf v = vf_load_n(x + i, count);
        if (residual) vf_store_n(residual + i, v += vf_load_n(residual + i, count), count);
        sum[0] = vf_fma(v, v, sum[0]);
    }
    return vf_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

INLINE void scale_row(const float *x, const float *weight, int64_t d, float factor, float *out) {
    int64_t i = 0;
    for (; i + LANES <= d; i += LANES) vf_store(out + i, vf_load(weight + i) * (vf_load(x + i) * factor));
    for (; i < d; i++) out[i] = weight[i] * (x[i] * factor);
}

static void norm_row(const float *x, float *residual, const float *weight, int64_t d, float eps, float *out) {
    float factor = 1.0f / sqrtf(squares(x, residual, d) / (float)d + eps);
    scale_row(residual ? residual : x, weight, d, factor, out);
}

typedef struct {
    const float *x, *weight;
    float *residual, *out;
    int64_t d;
    float eps;
} Norm;

static void norm_rows(void *context, long begin, long end, long thread) {
    const Norm *n = context;
    const int64_t d = n->d;
    (void)thread;
    for (long row = begin; row < end; row++) {
        float *residual = n->residual ? n->residual + row * d : NULL;
        norm_row(n->x + row * d, residual, n->weight, d, n->eps, n->out + row * d);
    }
}

// x and out: [num_rows, d]; see metavox_kernels.rms_norm. residual is NULL, or x is added to it first.
void rms_norm(const float *x, float *residual, const float *weight, int64_t num_rows, int64_t d, double eps,
              float *out, int num_threads) {
    Norm n = {x, weight, residual, out, d, (float)eps};
    pool_run(norm_rows, &n, num_rows, 1, num_rows, threads_for(num_rows * d, PARALLEL_NORM, num_threads));
}

INLINE vf silu(vf x) { return x / (1.0f + vf_exp(-x)); }

// (1 + tanh u) / 2 is 1 / (1 + e^-2u), which keeps the digits that the sum would lose where u is negative.
INLINE vf gelu_tanh(vf x) {
    const float factor = 1.5957691216057308f;  // 2 sqrt(2 / pi)
    vf u = factor * vf_fma(0.044715f * x * x, x, x);
    return x / (1.0f + vf_exp(-u));
}

typedef struct {
    const float *gate_up;
    float *out;
    int64_t d;
} Gate;

#define GATE(name, activation)                                                                                    \
    static void name##_rows(void *context, long begin, long end, long thread) {                                   \
        const Gate *g = context;                                                                                  \
        const int64_t d = g->d;                                                                                   \
        (void)thread;                                                                                             \
        for (long row = begin; row < end; row++) {                                                                \
            const float *gate = g->gate_up + row * 2 * d, *up = gate + d;                                         \
            float *out = g->out + row * d;                                                                        \
            int64_t i = 0;                                                                                        \
            for (; i + LANES <= d; i += LANES)                                                                    \
                vf_store(out + i, activation(vf_load(gate + i)) * vf_load(up + i));                               \
            size_t rest = (size_t)(d - i);                                                                        \
            vf_store_n(out + i, activation(vf_load_n(gate + i, rest)) * vf_load_n(up + i, rest), rest);           \
        }                                                                                                         \
    }                                                                                                             \
    void name(const float *gate_up, int64_t num_rows, int64_t d, float *out, int num_threads) {                   \
        Gate g = {gate_up, out, d};                                                                               \
        pool_run(name##_rows, &g, num_rows, 1, num_rows, threads_for(num_rows * d, PARALLEL_GATE, num_threads));  \
    }
// gate_up: [num_rows, 2 * d], out: [num_rows, d]; see metavox_kernels.gated.
GATE(silu_and_mul, silu)
GATE(gelu_tanh_and_mul, gelu_tanh)

typedef struct {
    float *qkv;                // [num_tokens, num_heads + 2 * num_kv_heads, head_dim]
    const int64_t *positions;  // [num_tokens]
    const float *cos, *sin;    // [max_position, half]
    const float *q_norm, *k_norm;
    const LayerCache *cache;
    const int64_t *slots;  // [num_tokens]
    float *query;          // [num_tokens, num_heads, head_dim]
    int64_t num_tokens, num_heads, half;
    float eps;
} Rotation;

INLINE void rotate_lanes(float *a, float *b, const float *cos, const float *sin, size_t count) {
    vf c = vf_load_n(cos, count), s = vf_load_n(sin, count), x = vf_load_n(a, count), y = vf_load_n(b, count);
    vf_store_n(a, x * c - y * s, count);
    vf_store_n(b, y * c + x * s, count);
}

static void rotate(float *x, const float *cos, const float *sin, int64_t half) {
    int64_t i = 0;
    for (; i + LANES <= half; i += LANES) rotate_lanes(x + i, x + half + i, cos + i, sin + i, LANES);
    if (i < half) rotate_lanes(x + i, x + half + i, cos + i, sin + i, (size_t)(half - i));
}

// One head: normalised if there is a weight, and rotated. from may be out.
static void turn_head(const Rotation *r, int64_t token, const float *from, const float *weight, float *out) {
    const int64_t d = r->cache->head_dim, at = r->positions[token] * r->half;
    if (weight) norm_row(from, NULL, weight, d, r->eps, out);
    else if (from != out) memcpy(out, from, (size_t)d * sizeof *out);
    rotate(out, r->cos + at, r->sin + at, r->half);
}

// What an INT8 cache multiplies a head's integers with.
static float int8_scale(const float *x, int64_t d) {
    vf largest = {0};
    int64_t i = 0;
    for (; i + LANES <= d; i += LANES) largest = vf_max(vf_abs(vf_load(x + i)), largest);
    largest = vf_max(vf_abs(vf_load_n(x + i, (size_t)(d - i))), largest);
    return vf_largest(largest) / 127.0f;
}

// count numbers become p[0], p[stride], .. of `dtype`.
INLINE void store_lanes(const float *x, int64_t count, void *p, int64_t stride, float divisor, int64_t dtype) {
    vf v = vf_load_n(x, (size_t)count);
    union { float f32[LANES]; uint16_t half[LANES]; vb int8; } to;
    if (dtype == F32) vf_store(to.f32, v);
    if (dtype == BF16) vf_to_bf16(to.half, v);
    if (dtype == FP16) vf_to_fp16(to.half, v);
    if (dtype == INT8) to.int8 = __builtin_convertvector(vf_round_to_int(v / divisor), vb);
    for (int64_t n = 0; n < count; n++) {
        if (dtype == F32) ((float *)p)[n * stride] = to.f32[n];
        if (dtype == BF16 || dtype == FP16) ((uint16_t *)p)[n * stride] = to.half[n];
        if (dtype == INT8) ((int8_t *)p)[n * stride] = to.int8[n];
    }
}

INLINE void store_head(const float *x, int64_t d, char *p, int64_t stride, int64_t size, float scale,
                       int64_t dtype) {
    const float divisor = scale > 1e-30f ? scale : 1e-30f;
    int64_t i = 0;
    for (; i + LANES <= d; i += LANES) store_lanes(x + i, LANES, p + i * stride * size, stride, divisor, dtype);
    if (i < d) store_lanes(x + i, d - i, p + i * stride * size, stride, divisor, dtype);
}

INLINE void store_pair_of(const Rotation *r, int64_t token, int64_t head, const float *key, const float *value,
                          int64_t dtype) {
    const LayerCache *cache = r->cache;
    const int64_t size = cache->block_size, d = cache->head_dim, offset = r->slots[token] % size;
    const int64_t block = r->slots[token] / size * cache->num_kv_heads + head;
    float key_scale = 1, value_scale = 1;
    if (dtype == INT8) {
        cache->key_scale[block * size + offset] = key_scale = int8_scale(key, d);
        cache->value_scale[block * size + offset] = value_scale = int8_scale(value, d);
    }
    char *k = (char *)cache->key + (block * d * size + offset) * cache->item_size;
    char *v = (char *)cache->value + (block * size + offset) * d * cache->item_size;
    store_head(key, d, k, size, cache->item_size, key_scale, dtype);
    store_head(value, d, v, 1, cache->item_size, value_scale, dtype);
}

static void store_pair(const Rotation *r, int64_t token, int64_t head, const float *key, const float *value) {
    switch (r->cache->dtype) {
        case F32: store_pair_of(r, token, head, key, value, F32); break;
        case BF16: store_pair_of(r, token, head, key, value, BF16); break;
        case FP16: store_pair_of(r, token, head, key, value, FP16); break;
        case INT8: store_pair_of(r, token, head, key, value, INT8); break;
    }
}

// Head by head, so that the tokens of a block write its keys, which lie side by side, while they are in L1.
static void rotate_tokens(const Rotation *r, int64_t begin, int64_t end) {
    const int64_t heads = r->num_heads, kv_heads = r->cache->num_kv_heads, d = r->cache->head_dim;
    const int64_t width = (heads + 2 * kv_heads) * d;
    for (int64_t token = begin; token < end; token++)
        for (int64_t h = 0; h < heads; h++)
            turn_head(r, token, r->qkv + token * width + h * d, r->q_norm, r->query + (token * heads + h) * d);
    for (int64_t h = 0; h < kv_heads; h++)
        for (int64_t token = begin; token < end; token++) {
            float *key = r->qkv + token * width + (heads + h) * d;
            turn_head(r, token, key, r->k_norm, key);
            store_pair(r, token, h, key, key + kv_heads * d);
        }
}

static void rotate_tasks(void *context, long begin, long end, long thread) {
    const Rotation *r = context;
    (void)thread;
    for (long task = begin; task < end; task++)
        rotate_tokens(r, task * TOKENS, smaller(r->num_tokens, (task + 1) * TOKENS));
}

// See metavox_kernels.rotary.rotate_and_store_naive; the keys in qkv are changed.
void rotate_and_store(float *qkv, const int64_t *positions, const float *cos, const float *sin, const float *q_norm,
                      const float *k_norm, double eps, const LayerCache *cache, const int64_t *slots,
                      int64_t num_tokens, int64_t num_heads, int64_t half, float *query, int num_threads) {
    Rotation r = {
        qkv, positions, cos, sin, q_norm, k_norm, cache, slots, query, num_tokens, num_heads, half, (float)eps,
    };
    const int64_t numbers = num_tokens * (num_heads + 2 * cache->num_kv_heads) * cache->head_dim;
    const int64_t tasks = (num_tokens + TOKENS - 1) / TOKENS;
    pool_run(rotate_tasks, &r, tasks, 1, tasks, threads_for(numbers, PARALLEL_HEADS, num_threads));
}
