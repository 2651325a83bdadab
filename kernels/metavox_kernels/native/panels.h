// A weight [n, k] as panels of PANEL outputs: what one step of a product reads lies side by side, and a panel
// is one stream. The last panel is filled up with zeros, and k to whole units.
//
//   F32, F16   [k][PANEL]
//   BF16       [k / 2][PANEL][2], pairs along k, as the bf16 dot product of AVX512 and 32-bit lanes take them
//   INT8       per group of 32 along k: PANEL scales (bf16), then [8][PANEL][4] integers + 128 as uint8
//   INT4       per group: PANEL scales, then [4][PANEL][4] bytes: byte j of q holds k = 8 q + j in its low bits and
//              k = 8 q + 4 + j in its high ones, each integer + 8
#pragma once
#include "simd.h"

#if defined(SIMD_AVX512)
enum { VECTORS = 2, MAX_ROWS = 12 };  // 24 of 32 registers are sums
#elif defined(SIMD_AVX2)
enum { VECTORS = 2, MAX_ROWS = 6 };  // 12 of 16
#else
enum { VECTORS = 4, MAX_ROWS = 6 };  // 24 of NEON's 32
#endif

enum { PANEL = VECTORS * LANES, GROUP = 32 };
enum kind { F32, F16, BF16, INT8, INT4 };

INLINE long min_long(long a, long b) { return a < b ? a : b; }
INLINE long ceil_div(long a, long b) { return (a + b - 1) / b; }

// The k that are stored together, and the bytes they take in a panel.
INLINE long unit_of(enum kind kind) { return kind >= INT8 ? GROUP : kind == BF16 ? 2 : 1; }
INLINE long unit_bytes(enum kind kind) {
    static const long of_one[] = {4, 2, 4, 2 + GROUP, 2 + GROUP / 2};
    return PANEL * of_one[kind];
}
INLINE long panel_bytes(enum kind kind, long k) { return ceil_div(k, unit_of(kind)) * unit_bytes(kind); }

// n values, at most GROUP, of a row in float32; zeros after them.
INLINE void read_floats(float *to, const char *from, enum kind kind, long start, long n) {
    uint16_t half[GROUP] = {0};
    memset(to, 0, GROUP * sizeof *to);
    if (kind == F32) {
        memcpy(to, from + 4 * start, n * 4);
        return;
    }
    memcpy(half, from + 2 * start, n * 2);
    for (int i = 0; i < GROUP; i += LANES)
        vf_store(to + i, kind == BF16 ? vf_from_bf16(half + i) : vf_from_fp16(half + i));
}

// max|x| of a group; NaN if there is one. As integers: the bits of NaN are above all others.
INLINE float largest_size(const float *x) {
    vu largest = {0};
    for (int i = 0; i < GROUP; i += LANES) {
        vu bits = (vu)vf_abs(vf_load(x + i));
        largest = (vu)vf_select((vi)(bits > largest), (vf)bits, (vf)largest);
    }
    const uint32_t bits = vu_largest(largest);
    float size;
    memcpy(&size, &bits, 4);
    return size;
}

// The bf16 scale of a group and its integers, as `quantize` in weight.py specifies them.
INLINE uint16_t quantize_group(uint8_t *to, const float *x, enum kind kind) {
    const float offset = kind == INT8 ? 128 : 8, largest = kind == INT8 ? 127 : 7;
    float extreme = largest_size(x);
    if (kind == INT4) {
        vf high = vf_load(x);
        for (int i = LANES; i < GROUP; i += LANES) high = vf_max(high, vf_load(x + i));
        extreme = vf_largest(high) < extreme ? -extreme : extreme;
    }
    const uint16_t bits = (uint16_t)vf_bf16_bits(vf_set(extreme / (kind == INT8 ? 127 : -8)))[0];
    vf scale = (vf)(vu_set(bits) << 16);
    if (scale[0] == 0) scale = vf_set(1);
    for (int i = 0; i < GROUP; i += LANES) {
        vf q = vf_min(vf_max(vf_round(vf_load(x + i) / scale), vf_set(-largest - 1)), vf_set(largest));
        vi_store_bytes(to + i, vf_round_to_int(q + offset));
    }
    return bits;
}

// Put GROUP values of one output, those of the group `g`, into its lane of the panel; n of them are stored.
INLINE void write_group(char *panel, enum kind kind, long lane, long g, const float *x, long n) {
    uint16_t half[GROUP];
    uint8_t integers[GROUP];
    char *at = panel + g * (GROUP / unit_of(kind)) * unit_bytes(kind);
    switch (kind) {
    case F32:
        for (long i = 0; i < n; i++) memcpy(at + 4 * (i * PANEL + lane), x + i, 4);
        return;
    case F16:
        for (int i = 0; i < GROUP; i += LANES) vf_to_fp16(half + i, vf_load(x + i));
        for (long i = 0; i < n; i++) memcpy(at + 2 * (i * PANEL + lane), half + i, 2);
        return;
    case BF16:
        for (int i = 0; i < GROUP; i += LANES) vf_to_bf16(half + i, vf_load(x + i));
        for (long i = 0; i < n; i += 2) memcpy(at + 4 * (i / 2 * PANEL + lane), half + i, 4);
        return;
    default:
        *(uint16_t *)(at + 2 * lane) = quantize_group(integers, x, kind);
        at += 2 * PANEL + 4 * lane;
        for (int q = 0; q < 8; q += kind == INT8 ? 1 : 2, at += 4 * PANEL) {
            uint32_t quad, next = 0;
            memcpy(&quad, integers + 4 * q, 4);
            if (kind == INT4) memcpy(&next, integers + 4 * q + 4, 4);
            quad |= next << 4;  // no byte is above 15
            memcpy(at, &quad, 4);
        }
    }
}

// One value as it is multiplied, from its lane.
INLINE float read_value(const char *panel, enum kind kind, long lane, long i) {
    const char *at = panel + i / unit_of(kind) * unit_bytes(kind);
    float scale, value;
    uint32_t bits;
    uint16_t half[LANES] = {0};
    switch (kind) {
    case F32:
        memcpy(&value, at + 4 * lane, 4);
        return value;
    case F16:
        memcpy(half, at + 2 * lane, 2);
        return vf_from_fp16(half)[0];
    case BF16:
        bits = (uint32_t)((const uint16_t *)at)[2 * lane + i % 2] << 16;
        memcpy(&value, &bits, 4);
        return value;
    default:
        bits = (uint32_t)((const uint16_t *)at)[lane] << 16;
        memcpy(&scale, &bits, 4);
        i %= GROUP;
        at += 2 * PANEL + 4 * lane;
        if (kind == INT8) return scale * ((int)(uint8_t)at[i / 4 * 4 * PANEL + i % 4] - 128);
        return scale * (((uint8_t)at[i / 8 * 4 * PANEL + i % 4] >> (i & 4) & 15) - 8);
    }
}
