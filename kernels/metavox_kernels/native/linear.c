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
enum { BLOCK = 256 };                // k at a time when rows share a block of w: it and x stay in the first cache
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

// A group of int8 and their scale, max|x| / 127; returns their sum.
INLINE int32_t quantize_x(int8_t *to, float *scale, const float *x) {
    const float top = largest_size(x), inverse = top > 1e-30f ? 127 / top : 0;
    vi sum = {0};
    *scale = top / 127;
    for (int i = 0; i < GROUP; i += LANES) {
        vi q = vf_round_to_int(vf_load(x + i) * inverse);
        sum += q;
        vi_store_bytes(to + i, q);
    }
    return vi_sum(sum);
}

// The group of k that starts at `start`, of row i of r, to its places in the block.
INLINE void pack_group(char *block, const float *x, enum kind kind, long start, long n, long r, long i) {
    const enum arithmetic arithmetic = arithmetic_of(kind);
    float tail[GROUP] = {0};
    if (n < GROUP) x = memcpy(tail, x, n * 4);
    if (arithmetic == INT8_DOTS) {
        int8_t q[GROUP];
        float scale;
        int32_t sum = quantize_x(q, &scale, x), offset = (kind == INT8 ? -128 : -8) * sum;
        char *group = block + start / GROUP * DOT_BYTES * r;
        for (int j = 0; j < GROUP / 4; j++) memcpy(group + 4 * (j * r + i), q + 4 * j, 4);
        memcpy(group + 4 * (8 * r + i), &offset, 4);
        memcpy(group + 4 * (9 * r + i), &scale, 4);
    } else if (arithmetic == BF16_PAIRS) {
        uint16_t half[GROUP];
        for (int j = 0; j < GROUP; j += LANES) vf_to_bf16(half + j, vf_load(x + j));
        for (long j = 0; j < n; j += 2) memcpy(block + 4 * ((start + j) / 2 * r + i), half + j, 4);
    } else {
        n = ceil_div(n, unit_of(kind)) * unit_of(kind);
        for (long j = 0; j < n; j++) memcpy(block + 4 * ((start + j) * r + i), x + j, 4);
    }
}

static void pack_block(char *block, const float *x, long ldx, enum kind kind, long k, long r) {
    for (long start = 0; start < k; start += GROUP)
        for (long i = 0; i < r; i++)
            pack_group(block, x + i * ldx + start, kind, start, min_long(GROUP, k - start), r, i);
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
//
// A lone row has `panels` of them at once, `apart` bytes from one to the next: one panel's few sums would wait for
// each other, 4 cycles a product, and not for memory. Its sums are [panels][PANEL].

enum { LONE_PANELS = 3, MOST_VECTORS = LONE_PANELS * VECTORS };

// Few rows wait for memory: the processor's own prefetch stops at each 4 KiB.
INLINE void prefetch(const char *w, long bytes, int r, int panels, long apart) {
    if (r <= 4)
        for (int p = 0; p < panels; p++)
            for (int b = 0; b < bytes; b += 64) __builtin_prefetch(w + p * apart + 4096 + b);
}

INLINE void load_sums(vf (*y)[MOST_VECTORS], const float *sums, int r, int vectors) {
    for (int i = 0; i < r; i++)
        for (int v = 0; v < vectors; v++) y[i][v] = vf_load(sums + i * PANEL + v * LANES);
}

INLINE void store_sums(float *sums, vf (*y)[MOST_VECTORS], int r, int vectors) {
    for (int i = 0; i < r; i++)
        for (int v = 0; v < vectors; v++) vf_store(sums + i * PANEL + v * LANES, y[i][v]);
}

INLINE void sum_floats(float *sums, const char *w, const float *x, long units, enum kind kind, int r, int panels, long apart) {
    const int vectors = panels * VECTORS;
    vf y[MAX_ROWS][MOST_VECTORS], row[MOST_VECTORS];
    load_sums(y, sums, r, vectors);
    for (long u = 0; u < units; u++, w += unit_bytes(kind)) {
        prefetch(w, unit_bytes(kind), r, panels, apart);
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
INLINE void sum_pairs(float *sums, const char *w, const char *x, long units, int r, int panels, long apart) {
    const int vectors = panels * VECTORS;
    vf y[MAX_ROWS][MOST_VECTORS];
    vu row[MOST_VECTORS];
    load_sums(y, sums, r, vectors);
    for (long u = 0; u < units; u++, w += unit_bytes(BF16), x += 4 * r) {
        prefetch(w, unit_bytes(BF16), r, panels, apart);
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
INLINE void dot_step(vi (*y)[MOST_VECTORS], const char *quads, const int32_t *x, enum kind kind, int r, int vectors, long apart) {
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

INLINE void sum_dots(float *sums, const char *w, const char *x, long units, enum kind kind, int r, int panels, long apart) {
    const int vectors = panels * VECTORS, quads = kind == INT8 ? 1 : 2;
    for (long u = 0; u < units; u++, w += unit_bytes(kind), x += DOT_BYTES * r) {
        const int32_t *q = (const int32_t *)x;
        const float *scale = (const float *)x + 9 * r;
        vi y[MAX_ROWS][MOST_VECTORS];
        prefetch(w, unit_bytes(kind), r, panels, apart);
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

INLINE void sum_kind(float *sums, const char *w, const char *x, long units, enum kind kind, int r, int panels, long apart) {
#if defined(PAIRS)
    if (kind == BF16) return sum_pairs(sums, w, x, units, r, panels, apart);
#endif
#if defined(DOTS)
    if (kind >= INT8) return sum_dots(sums, w, x, units, kind, r, panels, apart);
#endif
    sum_floats(sums, w, (const float *)x, units, kind, r, panels, apart);
}

#define ROWS(kind, r) \
    case r: return sum_kind(sums, w, x, units, kind, r, 1, 0);
#if defined(SIMD_AVX512)
#define MORE_ROWS(kind) ROWS(kind, 7) ROWS(kind, 8) ROWS(kind, 9) ROWS(kind, 10) ROWS(kind, 11) ROWS(kind, 12)
#else
#define MORE_ROWS(kind)
#endif
// `apart` is 0, or of a lone row's panels.
#define SUM(name, kind)                                                                             \
    static void name(float *sums, const char *w, const char *x, long units, long r, long apart) {   \
        if (apart) return sum_kind(sums, w, x, units, kind, 1, LONE_PANELS, apart);                 \
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
typedef void sum(float *, const char *, const char *, long, long, long);
static sum *const SUMS[] = {sum_f32, sum_f16, sum_bf16, sum_int8, sum_int4};

// ---- the product

struct product {
    const char *w;
    const float *x, *bias;
    float *y;
    enum kind kind;
    long m, n, k, ldx;
    char *packed;
    float *sums;  // of the panel at hand, [m][PANEL] for each thread, or a lone row's [LONE_PANELS][PANEL]
};

INLINE long sums_length(long m) { return PANEL * (m < LONE_PANELS ? LONE_PANELS : m); }

// Blocks of rows, nearly equal, so that no small one pays for reading w alone. Dots spill above 8.
INLINE long blocks_of(const struct product *p) {
    return ceil_div(p->m, arithmetic_of(p->kind) == INT8_DOTS ? min_long(8, MAX_ROWS) : MAX_ROWS);
}
INLINE long first_row(long m, long blocks, long b) {
    return b * (m / blocks) + min_long(b, m % blocks);
}

static void pack_x(const struct product *p, long begin, long end) {
    const long blocks = blocks_of(p);
    for (long b = begin; b < end; b++) {
        long first = first_row(p->m, blocks, b), r = first_row(p->m, blocks, b + 1) - first;
        char *block = p->packed + first * row_bytes(p->kind, p->k);
        pack_block(block, p->x + first * p->ldx, p->ldx, p->kind, p->k, r);
    }
}

static void multiply_panel(const struct product *p, long panel, float *sums) {
    const long columns = min_long(PANEL, p->n - panel * PANEL), blocks = blocks_of(p);
    const long unit = unit_of(p->kind), units = ceil_div(p->k, unit), step = blocks == 1 ? units : BLOCK / unit;
    const int widened = blocks > 1 && (p->kind == F16 || p->kind >= INT8) && arithmetic_of(p->kind) == FLOATS;
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
            long first = first_row(p->m, blocks, b), r = first_row(p->m, blocks, b + 1) - first;
            const char *x = p->packed + first * x_bytes + x_bytes / units * u * r;
            if (widened)
                sum_f32(sums + first * PANEL, (const char *)buffer, x, count * unit, r, 0);
            else
                SUMS[p->kind](sums + first * PANEL, from, x, count, r, 0);
        }
    }
    for (long i = 0; i < p->m; i++) memcpy(p->y + i * p->n + panel * PANEL, sums + i * PANEL, columns * sizeof *sums);
}

static void multiply_lone_row(const struct product *p, long panel, float *sums) {
    const long columns = min_long(LONE_PANELS * PANEL, p->n - panel * PANEL), apart = panel_bytes(p->kind, p->k);
    memset(sums, 0, LONE_PANELS * PANEL * sizeof *sums);
    if (p->bias) memcpy(sums, p->bias + panel * PANEL, columns * sizeof *sums);
    SUMS[p->kind](sums, p->w + panel * apart, p->packed, ceil_div(p->k, unit_of(p->kind)), 1, apart);
    memcpy(p->y + panel * PANEL, sums, columns * sizeof *sums);
}

// The next panels for one of `threads`, from *panel on; 0: there are none. Whoever is free takes some, and fewer
// towards the end: another program on a core, or a slower core, then costs its share alone.
static long take_panels(long *next, long panels, long threads, long *panel) {
    long few;
    *panel = __atomic_load_n(next, __ATOMIC_RELAXED);
    do {
        if (*panel >= panels) return 0;
        few = threads == 1 ? panels - *panel : (panels - *panel) / (2 * threads);
        few = few < 1 ? 1 : few > LONE_PANELS ? few / LONE_PANELS * LONE_PANELS : few;
    } while (!__atomic_compare_exchange_n(next, panel, *panel + few, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return few;
}

static void multiply_panels(const struct product *p, long t, long threads, long *next) {
    const long panels = ceil_div(p->n, PANEL);
    float *sums = p->sums + t * sums_length(p->m);
    long panel, few;
    while ((few = take_panels(next, panels, threads, &panel))) {
        const long end = panel + few;
        for (; p->m == 1 && panel + LONE_PANELS <= end; panel += LONE_PANELS) multiply_lone_row(p, panel, sums);
        for (; panel < end; panel++) multiply_panel(p, panel, sums);
    }
}

static void multiply(const struct product *p, int threads) {
    const long blocks = blocks_of(p);
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
    char *packed = aligned_alloc(64, packed_size + threads * sums_length(largest) * sizeof(float));
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
