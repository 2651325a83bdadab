// Sums of products of rows of x with a panel of w: the inner loops of linear.c, and the arithmetic each kind has.
#pragma once
#include "panels.h"

#if defined(SIMD_AVX512) && defined(__AVX512BF16__)
#define PAIRS 1
INLINE vf pairs_dot(vf sum, vu w, vu x) {
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w, (__m512bh)x);
}
#endif
#if defined(SIMD_AVX512) && defined(__AVX512VNNI__)
#define DOTS 1
INLINE vi bytes_dot(vi sum, vu w, vu x) {
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)x);
}
#elif defined(SIMD_AVX2) && defined(__AVXVNNI__)
#define DOTS 1
INLINE vi bytes_dot(vi sum, vu w, vu x) {
    return (vi)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)w, (__m256i)x);
}
#endif

enum arithmetic { FLOATS, BF16_PAIRS, INT8_DOTS };
enum { DOT_BYTES = GROUP + 8 };       // of a row's group: its int8, minus their offset's share, the scale

INLINE enum arithmetic arithmetic_of(enum kind kind) {
#if defined(PAIRS)
    if (kind == BF16) return BF16_PAIRS;
#endif
#if defined(DOTS)
    if (kind >= INT8) return INT8_DOTS;
#endif
    (void)kind;
    return FLOATS;
}

// ---- w: float32 from the lanes of 32 bits

INLINE vf load_scale(const char *group, int v) { return vf_from_bf16((const uint16_t *)group + v * LANES); }
INLINE vf byte_value(vu bits, int j, vf scale) {
    return vf_from_int((vi)(bits >> 8 * j & 255u) - 128) * scale;  // exact: 8 bits by 8
}
INLINE vf nibble_value(vu bits, int shift, vf scale) { return vf_from_int((vi)(bits >> shift & 15u) - 8) * scale; }

// The vector v of the k-th of the values that start at w; k counts from the start of a unit.
INLINE vf widen(const char *w, enum kind kind, int k, int v) {
    const vf scale = kind >= INT8 ? load_scale(w, v) : (vf){0};
    switch (kind) {
    case F32: return vf_load((const float *)w + v * LANES);
    case F16: return vf_from_fp16((const uint16_t *)w + v * LANES);
    case BF16: return (vf)(k ? vu_load(w + 4 * v * LANES) & 0xffff0000u : vu_load(w + 4 * v * LANES) << 16);
    case INT8: return byte_value(vu_load(w + 2 * PANEL + 4 * (k / 4 * PANEL + v * LANES)), k % 4, scale);
    default:
        w += 2 * PANEL + 4 * (k / 8 * PANEL + v * LANES);
        return nibble_value(vu_load(w), k % 4 * 8 + (k & 4), scale);
    }
}

enum { AHEAD = 4096 };

// The bytes of w that will be wanted next: the processor's own prefetch stops at each 4 KiB, and while a block of
// many rows is summed it sees nothing to fetch. 8 rows of bf16 took 1.6 times as long without.
INLINE void prefetch(const char *w, long bytes, int panels, long apart) {
    for (int p = 0; p < panels; p++)
        for (int b = 0; b < bytes; b += 64) __builtin_prefetch(w + p * apart + b);
}

static void widen_block(float *to, const char *w, enum kind kind, long units) {
#define WIDEN(kind, unit)                                                       \
    for (long u = 0; u < units; u++, w += unit_bytes(kind)) {                           \
        prefetch(w + AHEAD, unit_bytes(kind), 1, 0);                                    \
        _Pragma("GCC unroll 32") for (int k = 0; k < unit; k++)                         \
            _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++, to += LANES)      \
                vf_store(to, widen(w, kind, k, v));                                     \
    }
    switch (kind) {
    case F16: WIDEN(F16, 1) return;
    case BF16: WIDEN(BF16, 2) return;
    case INT8: WIDEN(INT8, GROUP) return;
    case INT4: WIDEN(INT4, GROUP) return;
    default: return;
    }
#undef WIDEN
}

// ---- sums [r][PANEL] of r rows, r a constant in each copy so that they stay in registers
//
// A lone row has `panels` of them at once, `apart` bytes from one to the next: one panel's few sums would wait for
// each other, 4 cycles a product, and not for memory. Its sums are [panels][PANEL].

enum { LONE_PANELS = 3, MOST_VECTORS = LONE_PANELS * VECTORS };

INLINE void load_sums(vf (*y)[MOST_VECTORS], const float *sums, int r, int vectors) {
    for (int i = 0; i < r; i++)
        for (int v = 0; v < vectors; v++) y[i][v] = vf_load(sums + i * PANEL + v * LANES);
}

INLINE void store_sums(float *sums, vf (*y)[MOST_VECTORS], int r, int vectors) {
    for (int i = 0; i < r; i++)
        for (int v = 0; v < vectors; v++) vf_store(sums + i * PANEL + v * LANES, y[i][v]);
}

INLINE void sum_floats(float *sums, const char *w, const float *x, long units, enum kind kind, int r,
                  int panels, long apart, long ahead) {
    const int vectors = panels * VECTORS;
    vf y[MAX_ROWS][MOST_VECTORS], row[MOST_VECTORS];
    load_sums(y, sums, r, vectors);
    for (long u = 0; u < units; u++, w += unit_bytes(kind)) {
        prefetch(w + ahead, unit_bytes(kind), panels, apart);
#pragma GCC unroll 2
        for (int k = 0; k < unit_of(kind); k++, x += r) {
            for (int v = 0; v < vectors; v++) row[v] = widen(w + v / VECTORS * apart, kind, k, v % VECTORS);
            for (int i = 0; i < r; i++)
                for (int v = 0; v < vectors; v++) y[i][v] = vf_fma(vf_set(x[i]), row[v], y[i][v]);
        }
    }
    store_sums(sums, y, r, vectors);
}

#if defined(PAIRS)
INLINE void sum_pairs(float *sums, const char *w, const char *x, long units, int r, int panels, long apart,
                      long ahead) {
    const int vectors = panels * VECTORS;
    vf y[MAX_ROWS][MOST_VECTORS];
    vu row[MOST_VECTORS];
    load_sums(y, sums, r, vectors);
    for (long u = 0; u < units; u++, w += unit_bytes(BF16), x += 4 * r) {
        prefetch(w + ahead, unit_bytes(BF16), panels, apart);
        for (int v = 0; v < vectors; v++) row[v] = vu_load(w + v / VECTORS * apart + 4 * (v % VECTORS) * LANES);
        for (int i = 0; i < r; i++) {
            uint32_t pair;
            memcpy(&pair, x + 4 * i, 4);
            for (int v = 0; v < vectors; v++) y[i][v] = pairs_dot(y[i][v], row[v], vu_set(pair));
        }
    }
    store_sums(sums, y, r, vectors);
}
#endif

#if defined(DOTS)
INLINE void dot_quad(vi (*y)[MOST_VECTORS], const vu *w, const int32_t *x, int r, int vectors) {
    for (int i = 0; i < r; i++)
        for (int v = 0; v < vectors; v++) y[i][v] = bytes_dot(y[i][v], w[v], vu_set((uint32_t)x[i]));
}

// The dots of 4 k (int8) or 8 k (int4) whose integers start at `quads`.
INLINE void dot_step(vi (*y)[MOST_VECTORS], const char *quads, const int32_t *x, enum kind kind, int r,
                int vectors, long apart) {
    vu row[MOST_VECTORS], low[MOST_VECTORS];
    for (int v = 0; v < vectors; v++) {
        row[v] = vu_load(quads + v / VECTORS * apart + 4 * (v % VECTORS) * LANES);
        low[v] = row[v] & 0x0f0f0f0fu;
    }
    if (kind == INT8) return dot_quad(y, row, x, r, vectors);
    dot_quad(y, low, x, r, vectors);
    for (int v = 0; v < vectors; v++) row[v] = row[v] >> 4 & 0x0f0f0f0fu;
    dot_quad(y, row, x + r, r, vectors);
}

INLINE void sum_dots(float *sums, const char *w, const char *x, long units, enum kind kind, int r,
                int panels, long apart, long ahead) {
    const int vectors = panels * VECTORS, quads = kind == INT8 ? 1 : 2;
    for (long u = 0; u < units; u++, w += unit_bytes(kind), x += DOT_BYTES * r) {
        const int32_t *q = (const int32_t *)x;
        const float *scale = (const float *)x + 9 * r;
        vi y[MAX_ROWS][MOST_VECTORS];
        prefetch(w + ahead, unit_bytes(kind), panels, apart);
        for (int i = 0; i < r; i++)
            for (int v = 0; v < vectors; v++) y[i][v] = (vi)vu_set((uint32_t)q[8 * r + i]);
        if (r <= 4) {
#pragma GCC unroll 8
            for (int j = 0; j < 8 / quads; j++)
                dot_step(y, w + 2 * PANEL + 4 * j * PANEL, q + j * quads * r, kind, r, vectors, apart);
        } else {  // unrolled, its loads would be moved up until the sums are spilled
#pragma GCC unroll 1
            for (int j = 0; j < 8 / quads; j++)
                dot_step(y, w + 2 * PANEL + 4 * j * PANEL, q + j * quads * r, kind, r, vectors, apart);
        }
        for (int v = 0; v < vectors; v++) {
            vf weight_scale = load_scale(w + v / VECTORS * apart, v % VECTORS);
            for (int i = 0; i < r; i++) {
                float *at = sums + i * PANEL + v * LANES;
                vf_store(at, vf_fma(vf_from_int(y[i][v]) * weight_scale, vf_set(scale[i]), vf_load(at)));
            }
        }
    }
}
#endif

INLINE void sum_kind(float *sums, const char *w, const char *x, long units, enum kind kind, int r,
                int panels, long apart, long ahead) {
#if defined(PAIRS)
    if (kind == BF16) return sum_pairs(sums, w, x, units, r, panels, apart, ahead);
#endif
#if defined(DOTS)
    if (kind >= INT8) return sum_dots(sums, w, x, units, kind, r, panels, apart, ahead);
#endif
    sum_floats(sums, w, (const float *)x, units, kind, r, panels, apart, ahead);
}

#define ROWS(kind, r) \
    case r: return sum_kind(sums, w, x, units, kind, r, 1, 0, ahead);
#if defined(SIMD_AVX512)
#define MORE_ROWS(kind) ROWS(kind, 7) ROWS(kind, 8) ROWS(kind, 9) ROWS(kind, 10) ROWS(kind, 11) ROWS(kind, 12)
#else
#define MORE_ROWS(kind)
#endif
// `apart` is 0, or of a lone row's panels; `ahead` is how far after w the bytes are that will be wanted next.
#define SUM(name, kind)                                                                                         \
    static void name(float *sums, const char *w, const char *x, long units, long r, long apart, long ahead) {   \
        if (apart) return sum_kind(sums, w, x, units, kind, 1, LONE_PANELS, apart, ahead);                      \
        switch (r) {                                                                                \
            ROWS(kind, 1) ROWS(kind, 2) ROWS(kind, 3) ROWS(kind, 4) ROWS(kind, 5) ROWS(kind, 6)     \
            MORE_ROWS(kind)                                                                         \
        default: return;                                                                            \
        }                                                                                           \
    }
SUM(sum_f32, F32)
SUM(sum_f16, F16)
SUM(sum_bf16, BF16)
SUM(sum_int8, INT8)
SUM(sum_int4, INT4)
typedef void sum(float *, const char *, const char *, long, long, long, long);
static sum *const SUMS[] = {sum_f32, sum_f16, sum_bf16, sum_int8, sum_int4};

