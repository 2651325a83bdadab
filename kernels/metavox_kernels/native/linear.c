// Products with a packed weight (panels.h): y = x W^T + bias in float32.
//
// BATCH INVARIANCE: every element of y is summed along k in one order, by the same arithmetic, however many rows
// and threads there are. Blocks along k go on from the stored float32 sum, which changes nothing.
//
// Three kinds of arithmetic. Floats: w is widened to float32 and fused into the sum, k by k. PAIRS (bf16 weights
// where the machine has AVX512-bf16): x is rounded to bf16 and two k are added at a time. DOTS (int8 and int4 where it
// has VNNI): x is rounded to int8 with one scale for a row and group of 32, as llama.cpp's Q8_0 does; a group's
// integer sum is exact.
#include "panels.h"
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

#if defined(SIMD_AVX512) && defined(__AVX512BF16__)
#define PAIRS 1
INLINE vf pairs_dot(vf sum, vu w, vu x) { return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)w, (__m512bh)x); }
#endif
#if defined(SIMD_AVX512) && defined(__AVX512VNNI__)
#define DOTS 1
INLINE vi bytes_dot(vi sum, vu w, vu x) { return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)x); }
#elif defined(SIMD_AVX2) && defined(__AVXVNNI__)
#define DOTS 1
INLINE vi bytes_dot(vi sum, vu w, vu x) { return (vi)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)w, (__m256i)x); }
#endif

enum arithmetic { FLOATS, BF16_PAIRS, INT8_DOTS };
enum { BLOCK = 128 };                 // k at a time when rows share a block of w: it and x stay in the first cache
enum { DOT_BYTES = GROUP + 8 };       // of a row's group: its int8, minus their offset's share, the scale
static const long CHUNK_BYTES = 1 << 20;  // of packed x: it stays in the second cache

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

INLINE long row_bytes(enum kind kind, long k) {
    long units = ceil_div(k, unit_of(kind));
    switch (arithmetic_of(kind)) {
    case BF16_PAIRS: return 4 * units;
    case INT8_DOTS: return DOT_BYTES * units;
    default: return 4 * units * unit_of(kind);
    }
}

// ---- x: rows of a block side by side, so that a step reads them in one place

INLINE int32_t quantize_x(int8_t *to, float *scale, const float *x) {
    vu largest = {0};
    for (int i = 0; i < GROUP; i += LANES) {  // as integers: the bits of NaN are above all others
        vu bits = (vu)vf_abs(vf_load(x + i));
        largest = (vu)vf_select((vi)(bits > largest), (vf)bits, (vf)largest);
    }
    uint32_t bits = 0;
    for (int i = 0; i < LANES; i++) bits = largest[i] > bits ? largest[i] : bits;
    float top;
    memcpy(&top, &bits, 4);
    *scale = top / 127;
    float inverse = top > 1e-30f ? 127 / top : 0;
    vi sum = {0};
    for (int i = 0; i < GROUP; i += LANES) {
        vi q = vf_round_to_int(vf_load(x + i) * inverse);
        sum += q;
        vb bytes = __builtin_convertvector(q, vb);
        memcpy(to + i, &bytes, sizeof bytes);
    }
    int32_t total = 0;
    for (int i = 0; i < LANES; i++) total += sum[i];
    return total;
}

// Row i of r, to its places in the block.
static void pack_row(char *block, const float *x, enum kind kind, long k, long r, long i) {
    const enum arithmetic arithmetic = arithmetic_of(kind);
    float tail[GROUP] = {0};
    for (long start = 0; start < k; start += GROUP) {
        const float *from = x + start;
        long n = min_long(GROUP, k - start);
        if (n < GROUP) from = memcpy(tail, from, n * 4);
        if (arithmetic == INT8_DOTS) {
            int8_t q[GROUP];
            float scale;
            int32_t sum = quantize_x(q, &scale, from), offset = (kind == INT8 ? -128 : -8) * sum;
            char *group = block + start / GROUP * DOT_BYTES * r;
            for (int j = 0; j < GROUP / 4; j++) memcpy(group + 4 * (j * r + i), q + 4 * j, 4);
            memcpy(group + 4 * (8 * r + i), &offset, 4);
            memcpy(group + 4 * (9 * r + i), &scale, 4);
        } else if (arithmetic == BF16_PAIRS) {
            uint16_t half[GROUP];
            for (int j = 0; j < GROUP; j += LANES) vf_to_bf16(half + j, vf_load(from + j));
            for (long j = 0; j < n; j += 2) memcpy(block + 4 * ((start + j) / 2 * r + i), half + j, 4);
        } else {
            n = ceil_div(n, unit_of(kind)) * unit_of(kind);
            for (long j = 0; j < n; j++) memcpy(block + 4 * ((start + j) * r + i), from + j, 4);
        }
    }
}

// ---- w: float32 from the lanes of 32 bits

INLINE vf load_scale(const char *group, int v) { return vf_from_bf16((const uint16_t *)group + v * LANES); }
INLINE vf byte_value(vu bits, int j, vf scale) {
    return vf_from_int((vi)(bits >> 8 * j & 255u) - 128) * scale;  // exact: 8 bits by 8
}
INLINE vf nibble_value(vu bits, int shift, vf scale) { return vf_from_int((vi)(bits >> shift & 15u) - 8) * scale; }

// The vector v of the k-th of the values that start at w; k counts from the start of a unit.
INLINE vf widen(const char *w, enum kind kind, int k, int v) {
    switch (kind) {
    case F32: return vf_load((const float *)w + v * LANES);
    case F16: return vf_from_fp16((const uint16_t *)w + v * LANES);
    case BF16: return (vf)(k ? vu_load(w + 4 * v * LANES) & 0xffff0000u : vu_load(w + 4 * v * LANES) << 16);
    case INT8: return byte_value(vu_load(w + 2 * PANEL + 4 * (k / 4 * PANEL + v * LANES)), k % 4, load_scale(w, v));
    default:
        return nibble_value(vu_load(w + 2 * PANEL + 4 * (k / 8 * PANEL + v * LANES)), k % 4 * 8 + (k & 4), load_scale(w, v));
    }
}

static void widen_block(float *to, const char *w, enum kind kind, long units) {
#define WIDEN(kind, unit)                                                       \
    for (long u = 0; u < units; u++, w += unit_bytes(kind))                     \
        _Pragma("GCC unroll 32") for (int k = 0; k < unit; k++)                 \
            _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++, to += LANES) vf_store(to, widen(w, kind, k, v));
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

INLINE void sum_floats(float *sums, const char *w, const float *x, long units, enum kind kind, int r) {
    vf y[MAX_ROWS][VECTORS];
    for (int i = 0; i < r; i++)
        for (int v = 0; v < VECTORS; v++) y[i][v] = vf_load(sums + i * PANEL + v * LANES);
    for (long u = 0; u < units; u++, w += unit_bytes(kind)) {
        __builtin_prefetch(w + 4096);
        __builtin_prefetch(w + 4096 + 64);
#pragma GCC unroll 2
        for (int k = 0; k < unit_of(kind); k++, x += r) {
            vf row[VECTORS];
            for (int v = 0; v < VECTORS; v++) row[v] = widen(w, kind, k, v);
            for (int i = 0; i < r; i++)
                for (int v = 0; v < VECTORS; v++) y[i][v] = vf_fma(vf_set(x[i]), row[v], y[i][v]);
        }
    }
    for (int i = 0; i < r; i++)
        for (int v = 0; v < VECTORS; v++) vf_store(sums + i * PANEL + v * LANES, y[i][v]);
}

#if defined(PAIRS)
INLINE void sum_pairs(float *sums, const char *w, const char *x, long units, int r) {
    vf y[MAX_ROWS][VECTORS];
    for (int i = 0; i < r; i++)
        for (int v = 0; v < VECTORS; v++) y[i][v] = vf_load(sums + i * PANEL + v * LANES);
    for (long u = 0; u < units; u++, w += unit_bytes(BF16), x += 4 * r) {
        __builtin_prefetch(w + 4096);
        __builtin_prefetch(w + 4096 + 64);
        vu row[VECTORS];
        for (int v = 0; v < VECTORS; v++) row[v] = vu_load(w + 4 * v * LANES);
        for (int i = 0; i < r; i++) {
            uint32_t pair;
            memcpy(&pair, x + 4 * i, 4);
            for (int v = 0; v < VECTORS; v++) y[i][v] = pairs_dot(y[i][v], row[v], vu_set(pair));
        }
    }
    for (int i = 0; i < r; i++)
        for (int v = 0; v < VECTORS; v++) vf_store(sums + i * PANEL + v * LANES, y[i][v]);
}
#endif

#if defined(DOTS)
INLINE void dot_quad(vi (*y)[VECTORS], const vu *w, const int32_t *x, int r) {
    for (int i = 0; i < r; i++)
        for (int v = 0; v < VECTORS; v++) y[i][v] = bytes_dot(y[i][v], w[v], vu_set((uint32_t)x[i]));
}

INLINE void sum_dots(float *sums, const char *w, const char *x, long units, enum kind kind, int r) {
    for (long u = 0; u < units; u++, w += unit_bytes(kind), x += DOT_BYTES * r) {
        const int32_t *q = (const int32_t *)x;
        const float *scale = (const float *)x + 9 * r;
        vi y[MAX_ROWS][VECTORS];
        for (int i = 0; i < r; i++)
            for (int v = 0; v < VECTORS; v++) y[i][v] = (vi)vu_set((uint32_t)q[8 * r + i]);
        for (int b = 0; b < unit_bytes(kind); b += 64) __builtin_prefetch(w + 4096 + b);
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            vu row[VECTORS];
            for (int v = 0; v < VECTORS; v++) {
                if (kind == INT8) {
                    row[v] = vu_load(w + 2 * PANEL + 4 * (j * PANEL + v * LANES));
                } else {
                    vu both = vu_load(w + 2 * PANEL + 4 * (j / 2 * PANEL + v * LANES));
                    row[v] = (j % 2 ? both >> 4 : both) & 0x0f0f0f0fu;
                }
            }
            dot_quad(y, row, q + j * r, r);
        }
        for (int v = 0; v < VECTORS; v++) {
            vf weight_scale = load_scale(w, v);
            for (int i = 0; i < r; i++) {
                float *at = sums + i * PANEL + v * LANES;
                vf_store(at, vf_fma(vf_from_int(y[i][v]) * weight_scale, vf_set(scale[i]), vf_load(at)));
            }
        }
    }
}
#endif

INLINE void sum_kind(float *sums, const char *w, const char *x, long units, enum kind kind, int r) {
#if defined(PAIRS)
    if (kind == BF16) return sum_pairs(sums, w, x, units, r);
#endif
#if defined(DOTS)
    if (kind >= INT8) return sum_dots(sums, w, x, units, kind, r);
#endif
    sum_floats(sums, w, (const float *)x, units, kind, r);
}

#define ROWS(kind, r) \
    case r: return sum_kind(sums, w, x, units, kind, r);
#if defined(SIMD_AVX512)
#define MORE_ROWS(kind) ROWS(kind, 7) ROWS(kind, 8) ROWS(kind, 9) ROWS(kind, 10) ROWS(kind, 11) ROWS(kind, 12)
#else
#define MORE_ROWS(kind)
#endif
#define SUM(name, kind)                                                                             \
    static void name(float *sums, const char *w, const char *x, long units, long r) {               \
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
static void (*const SUMS[])(float *, const char *, const char *, long, long) = {sum_f32, sum_f16, sum_bf16, sum_int8, sum_int4};

// ---- the product

struct product {
    const char *w;
    const float *x, *bias;
    float *y;
    enum kind kind;
    long m, n, k, ldx;
    char *packed;
    float *sums;  // of the panel at hand, [m][PANEL] for each thread
};

// Blocks of rows, nearly equal, so that no small one pays for reading w alone.
INLINE long first_row(long m, long b) {
    long blocks = ceil_div(m, MAX_ROWS);
    return b * (m / blocks) + min_long(b, m % blocks);
}

static void pack_x(const struct product *p, long begin, long end) {
    for (long b = begin; b < end; b++) {
        long first = first_row(p->m, b), r = first_row(p->m, b + 1) - first;
        for (long i = 0; i < r; i++)
            pack_row(p->packed + first * row_bytes(p->kind, p->k), p->x + (first + i) * p->ldx, p->kind, p->k, r, i);
    }
}

static void multiply_panel(const struct product *p, long panel, float *sums) {
    const long columns = min_long(PANEL, p->n - panel * PANEL), blocks = ceil_div(p->m, MAX_ROWS);
    const long unit = unit_of(p->kind), units = ceil_div(p->k, unit), step = blocks == 1 ? units : BLOCK / unit;
    const int widened = blocks > 1 && p->kind != F32 && arithmetic_of(p->kind) == FLOATS;
    const char *w = p->w + panel * panel_bytes(p->kind, p->k);
    const long x_bytes = row_bytes(p->kind, p->k);
    float buffer[BLOCK * PANEL] __attribute__((aligned(64)));
    memset(sums, 0, p->m * PANEL * sizeof *sums);
    if (p->bias)
        for (long i = 0; i < p->m; i++) memcpy(sums + i * PANEL, p->bias + panel * PANEL, columns * sizeof *sums);
    for (long u = 0; u < units; u += step) {
        long count = min_long(step, units - u);
        const char *from = w + u * unit_bytes(p->kind);
        if (widened) widen_block(buffer, from, p->kind, count);
        for (long b = 0; b < blocks; b++) {
            long first = first_row(p->m, b), r = first_row(p->m, b + 1) - first;
            const char *x = p->packed + first * x_bytes + x_bytes / units * u * r;
            if (widened)
                sum_f32(sums + first * PANEL, (const char *)buffer, x, count * unit, r);
            else
                SUMS[p->kind](sums + first * PANEL, from, x, count, r);
        }
    }
    for (long i = 0; i < p->m; i++) memcpy(p->y + i * p->n + panel * PANEL, sums + i * PANEL, columns * sizeof *sums);
}

// Panels are taken a few at a time by whoever is free: another program on a core, or a slower core, then costs its
// share alone.
static void multiply_panels(const struct product *p, long t, long threads, long *next) {
    const long panels = ceil_div(p->n, PANEL), few = ceil_div(panels, threads == 1 ? 1 : 16 * threads);
    for (;;) {
        const long begin = __atomic_fetch_add(next, few, __ATOMIC_RELAXED), end = min_long(panels, begin + few);
        if (begin >= panels) return;
        for (long panel = begin; panel < end; panel++) multiply_panel(p, panel, p->sums + t * p->m * PANEL);
    }
}

static void multiply(const struct product *p, int threads) {
    const long blocks = ceil_div(p->m, MAX_ROWS);
    long next = 0;
#if defined(_OPENMP)
    if (threads > 1) {
        const int apart = p->m * p->k > 32768;  // else a barrier takes longer than x
        if (!apart) pack_x(p, 0, blocks);
#pragma omp parallel num_threads(threads)
        {
            const long t = omp_get_thread_num(), all = omp_get_num_threads();
            if (apart) {
                pack_x(p, blocks * t / all, blocks * (t + 1) / all);
#pragma omp barrier
            }
            multiply_panels(p, t, all, &next);
        }
        return;
    }
#endif
    (void)threads;
    pack_x(p, 0, blocks);
    multiply_panels(p, 0, 1, &next);
}

// As many as have 20 microseconds of work each, by bytes of w or by products, for a common core.
static int threads_for(const struct product *p, int most) {
    double bytes = (double)ceil_div(p->n, PANEL) * panel_bytes(p->kind, p->k), products = (double)p->m * p->n * p->k;
    double microseconds = bytes / 2e4 > products / 5e4 ? bytes / 2e4 : products / 5e4;
    return microseconds / 20 < most ? 1 + (int)(microseconds / 20) : most;
}

// y [m, n] = x [m, k] (rows ldx apart) W^T + bias [n] or NULL. 0, or -1: no memory.
int linear(const char *w, int kind, const float *x, long ldx, const float *bias, float *y, long m, long n, long k, int threads) {
    const long x_bytes = row_bytes(kind, k);
    long most = CHUNK_BYTES / x_bytes;
    most = most < 4 * MAX_ROWS ? 4 * MAX_ROWS : most > 256 ? 256 : most;
    const long chunks = ceil_div(m, most), largest = ceil_div(m, chunks ? chunks : 1);
    const long packed_size = ceil_div(largest * x_bytes, 64) * 64;
    if (!m || !n) return 0;
    char *packed = aligned_alloc(64, packed_size + threads * largest * PANEL * sizeof(float));
    if (!packed) return -1;
    for (long c = 0; c < chunks; c++) {
        long first = m * c / chunks, rows = m * (c + 1) / chunks - first;
        struct product p = {w, x + first * ldx, bias, y + first * n, kind, rows, n, k, ldx, packed, (float *)(packed + packed_size)};
        multiply(&p, threads_for(&p, threads));
    }
    free(packed);
    return 0;
}

// ---- packing and reading back

long packed_bytes(int kind, long n, long k) { return ceil_div(n, PANEL) * panel_bytes(kind, k); }

// Weights are read from end to end for every token: fewer, larger pages. No page is made here that is not used.
void prepare(char *w, int kind, long n, long k) {
    const long bytes = packed_bytes(kind, n, k);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t huge = 2 << 20, begin = ((uintptr_t)w + huge - 1) / huge * huge, end = ((uintptr_t)w + bytes) / huge * huge;
    if (end > begin) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#endif
    if (n % PANEL) memset(w + bytes - panel_bytes(kind, k), 0, panel_bytes(kind, k));
}

// Rows first .. first + count of a weight [n, k], from `from` [count, k] of F32, F16 or BF16 with rows `stride` values apart.
void pack(char *w, int kind, long first, long count, long k, const char *from, int from_kind, long stride, int threads) {
    const long value = from_kind == F32 ? 4 : 2, last = first + count;
    (void)threads;
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) num_threads(threads)
#endif
    for (long panel = first / PANEL; panel < ceil_div(last, PANEL); panel++) {
        const long begin = panel * PANEL < first ? first : panel * PANEL, end = min_long(last, (panel + 1) * PANEL);
        char *to = w + panel * panel_bytes(kind, k);
        for (long g = 0; g < ceil_div(k, GROUP); g++)
            for (long row = begin; row < end; row++) {
                float x[GROUP];
                long n = min_long(GROUP, k - g * GROUP);
                read_floats(x, from + (row - first) * stride * value, from_kind, g * GROUP, n);
                write_group(to, kind, row % PANEL, g, x, n);
            }
    }
}

// The rows `ids` [count] of a weight [n, k] as float32 [count, k]: what the products see. 0, or -1: no such row.
int unpack(const char *w, int kind, long n, long k, const int64_t *ids, long count, float *to) {
    for (long i = 0; i < count; i++, to += k) {
        if (ids[i] < 0 || ids[i] >= n) return -1;
        const char *panel = w + ids[i] / PANEL * panel_bytes(kind, k);
        for (long j = 0; j < k; j++) to[j] = read_value(panel, kind, ids[i] % PANEL, j);
    }
    return 0;
}
