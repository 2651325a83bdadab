// Products with a packed weight (panels.h): y = x W^T + bias in float32.
//
// BATCH INVARIANCE: every element of y is summed along k in one order, by the same arithmetic, however many rows
// and threads there are. Blocks along k go on from the stored float32 sum, which changes nothing.
//
// Three kinds of arithmetic. Floats: w is widened to float32 and fused into the sum, k by k. Pairs (bf16 weights
// where the machine has AVX512-bf16): x is rounded to bf16 and two k are added at a time. Dots (int8 and int4 where
// it has VNNI): x is rounded to int8 with one scale for a row and group of 32, as llama.cpp's Q8_0 does; a group's
// integer sum is exact.
#include "pool.h"
#include "sums.h"
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

enum { BLOCK = 256 };  // k at a time when rows share a block of w: it and x stay in the first cache
enum { PACK_ALONE = 8192 };          // numbers of x that are packed sooner than they are shared
static const long CHUNK_BYTES = 1 << 20;  // of packed x: it stays in the second cache

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

// The groups begin .. end of k, of all rows.
static void pack_x(const struct product *p, long begin, long end) {
    const long blocks = blocks_of(p), x_bytes = row_bytes(p->kind, p->k);
    for (long b = 0; b < blocks; b++) {
        const long first = first_row(p->m, blocks, b), r = first_row(p->m, blocks, b + 1) - first;
        for (long start = begin * GROUP; start < min_long(end * GROUP, p->k); start += GROUP)
            for (long i = 0; i < r; i++)
                pack_group(p->packed + first * x_bytes, p->x + (first + i) * p->ldx + start, p->kind, start,
                           min_long(GROUP, p->k - start), r, i);
    }
}

static void multiply_panel(const struct product *p, long panel, float *sums) {
    const long columns = min_long(PANEL, p->n - panel * PANEL), blocks = blocks_of(p);
    const long unit = unit_of(p->kind), units = ceil_div(p->k, unit), step = blocks == 1 ? units : BLOCK / unit;
    const int widened = blocks > 1 && (p->kind == F16 || p->kind >= INT8) && arithmetic_of(p->kind) == FLOATS;
    const char *w = p->w + panel * panel_bytes(p->kind, p->k);
    const long x_bytes = row_bytes(p->kind, p->k), ahead = blocks == 1 ? AHEAD : step * unit_bytes(p->kind);
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
                sum_f32(sums + first * PANEL, (const char *)buffer, x, count * unit, r, 0, 0);
            else
                SUMS[p->kind](sums + first * PANEL, from, x, count, r, 0, ahead);
        }
    }
    for (long i = 0; i < p->m; i++)
        memcpy(p->y + i * p->n + panel * PANEL, sums + i * PANEL, columns * sizeof *sums);
}

static void multiply_lone_row(const struct product *p, long panel, float *sums) {
    const long columns = min_long(LONE_PANELS * PANEL, p->n - panel * PANEL), apart = panel_bytes(p->kind, p->k);
    memset(sums, 0, LONE_PANELS * PANEL * sizeof *sums);
    if (p->bias) memcpy(sums, p->bias + panel * PANEL, columns * sizeof *sums);
    SUMS[p->kind](sums, p->w + panel * apart, p->packed, ceil_div(p->k, unit_of(p->kind)), 1, apart, AHEAD);
    memcpy(p->y + panel * PANEL, sums, columns * sizeof *sums);
}

static void pack_groups(void *product, long begin, long end, long thread) {
    (void)thread;
    pack_x(product, begin, end);
}

static void multiply_panels(void *product, long panel, long end, long thread) {
    const struct product *p = product;
    float *sums = p->sums + thread * sums_length(p->m);
    for (; p->m == 1 && panel + LONE_PANELS <= end; panel += LONE_PANELS) multiply_lone_row(p, panel, sums);
    for (; panel < end; panel++) multiply_panel(p, panel, sums);
}

static void multiply(struct product *p, int threads) {
    const long groups = ceil_div(p->k, GROUP), panels = ceil_div(p->n, PANEL);
    pool_run(pack_groups, p, groups, 1, groups, p->m * p->k > PACK_ALONE ? threads : 1);
    pool_run(multiply_panels, p, panels, LONE_PANELS, panels, threads);
}

// As many as have 20 microseconds of work each, by bytes of w or by products, for a common core.
static int threads_for(const struct product *p, int most) {
    double bytes = (double)ceil_div(p->n, PANEL) * panel_bytes(p->kind, p->k);
    double products = (double)p->m * p->n * p->k;
    double microseconds = bytes / 2e4 > products / 5e4 ? bytes / 2e4 : products / 5e4;
    return microseconds / 20 < most ? 1 + (int)(microseconds / 20) : most;
}

// y [m, n] = x [m, k] (rows ldx apart) W^T + bias [n] or NULL. 0, or -1: no memory.
int linear(const char *w, int kind, const float *x, long ldx, const float *bias, float *y, long m, long n, long k,
           int threads) {
    const long x_bytes = row_bytes(kind, k);
    long most = CHUNK_BYTES / x_bytes;
    most = most < 4 * MAX_ROWS ? 4 * MAX_ROWS : most > 256 ? 256 : most;
    const long chunks = ceil_div(m, most), largest = ceil_div(m, chunks ? chunks : 1);
    const long packed_size = ceil_div(largest * x_bytes, 64) * 64, sums_size = sums_length(largest) * sizeof(float);
    if (!m || !n) return 0;
    char *packed = aligned_alloc(64, packed_size + threads * sums_size);
    if (!packed) return -1;
    float *sums = (float *)(packed + packed_size);
    for (long c = 0; c < chunks; c++) {
        long first = m * c / chunks, rows = m * (c + 1) / chunks - first;
        struct product p = {w, x + first * ldx, bias, y + first * n, kind, rows, n, k, ldx, packed, sums};
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
    const uintptr_t huge = 2 << 20, start = (uintptr_t)w;
    const uintptr_t begin = (start + huge - 1) / huge * huge, end = (start + bytes) / huge * huge;
    if (end > begin) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#endif
    if (n % PANEL) memset(w + bytes - panel_bytes(kind, k), 0, panel_bytes(kind, k));
}

struct packing {
    char *w;
    const char *from;
    enum kind kind, from_kind;
    long first, last, k, stride;
};

static void pack_panels(void *packing, long panel, long end, long thread) {
    const struct packing *p = packing;
    const long value = p->from_kind == F32 ? 4 : 2;
    (void)thread;
    for (panel += p->first / PANEL, end += p->first / PANEL; panel < end; panel++) {
        const long first = panel * PANEL < p->first ? p->first : panel * PANEL;
        const long last = min_long(p->last, (panel + 1) * PANEL);
        char *to = p->w + panel * panel_bytes(p->kind, p->k);
        for (long g = 0; g < ceil_div(p->k, GROUP); g++)
            for (long row = first; row < last; row++) {
                float x[GROUP];
                long n = min_long(GROUP, p->k - g * GROUP);
                read_floats(x, p->from + (row - p->first) * p->stride * value, p->from_kind, g * GROUP, n);
                write_group(to, p->kind, row % PANEL, g, x, n);
            }
    }
}

// Rows first .. first + count of a weight [n, k], from `from` [count, k] of F32, F16 or BF16; one row of it lies
// `stride` values after the other.
void pack(char *w, int kind, long first, long count, long k, const char *from, int from_kind, long stride,
          int threads) {
    struct packing p = {w, from, kind, from_kind, first, first + count, k, stride};
    const long panels = ceil_div(p.last, PANEL) - first / PANEL;
    pool_run(pack_panels, &p, panels, 1, panels, threads);
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
