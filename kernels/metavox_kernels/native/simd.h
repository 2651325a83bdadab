// Vectors of float32 in the width of the machine: 16 lanes with AVX512, 8 with AVX2, else 4 (NEON, SSE).
//
// Every function is the same arithmetic in each lane, so a result never depends on the lane it is in.
// bf16 and fp16 are passed as uint16_t bits.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define SIMD_AVX512 1
#define LANES 16
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define SIMD_AVX2 1
#define LANES 8
#else
#define LANES 4
#endif

#define INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(4 * LANES)));      // float32
typedef int32_t vi __attribute__((vector_size(4 * LANES)));    // a comparison's -1 or 0, or numbers
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));   // bits
typedef uint16_t vh __attribute__((vector_size(2 * LANES)));   // bits of bf16 or fp16
typedef int8_t vb __attribute__((vector_size(LANES)));         // int8

INLINE vf vf_load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
INLINE void vf_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vu vu_load(const void *p) { vu v; memcpy(&v, p, sizeof v); return v; }
INLINE vf vf_set(float x) { return x - (vf){0}; }  // not +: that would turn -0 into 0
INLINE vu vu_set(uint32_t x) { return x - (vu){0}; }
INLINE vf vf_select(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
INLINE vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }
INLINE vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }
INLINE vf vf_abs(vf a) { return (vf)((vu)a & 0x7fffffffu); }
INLINE vf vf_from_int(vi v) { return __builtin_convertvector(v, vf); }

// The first n lanes; the others read as 0 and are not touched in memory. 0 <= n <= LANES.
INLINE vf vf_load_n(const float *p, size_t n) { vf v = {0}; memcpy(&v, p, n * sizeof *p); return v; }
INLINE void vf_store_n(float *p, vf v, size_t n) { memcpy(p, &v, n * sizeof *p); }

// a * b + c with one rounding, where the machine has it; in all loops alike (see FLAGS in build.py).
INLINE vf vf_fma(vf a, vf b, vf c) {
#if defined(SIMD_AVX512)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(SIMD_AVX2)
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

// Sum and maximum of the lanes, in one fixed order: halves onto each other.
INLINE float vf_sum(vf v) {
#if defined(SIMD_AVX512)
    return _mm512_reduce_add_ps((__m512)v);
#elif defined(SIMD_AVX2)
    __m128 x = _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
#else
    return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}
INLINE float vf_largest(vf v) {
#if defined(SIMD_AVX512)
    return _mm512_reduce_max_ps((__m512)v);
#elif defined(SIMD_AVX2)
    __m128 x = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
#else
    float low = v[0] > v[2] ? v[0] : v[2], high = v[1] > v[3] ? v[1] : v[3];
    return low > high ? low : high;
#endif
}

// The same of integers.
INLINE int32_t vi_sum(vi v) {
#if defined(SIMD_AVX512)
    return _mm512_reduce_add_epi32((__m512i)v);
#else
    int32_t sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
#endif
}
INLINE uint32_t vu_largest(vu v) {
#if defined(SIMD_AVX512)
    return _mm512_reduce_max_epu32((__m512i)v);
#else
    uint32_t largest = 0;
    for (int i = 0; i < LANES; i++) largest = v[i] > largest ? v[i] : largest;
    return largest;
#endif
}

// The last byte of each lane.
INLINE void vi_store_bytes(void *to, vi v) {
#if defined(SIMD_AVX512)
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8((__m512i)v));
#else
    vb bytes = __builtin_convertvector(v, vb);
    memcpy(to, &bytes, sizeof bytes);
#endif
}

// Integers round(x), halves to even, |x| < 2^22: the sum with 1.5 * 2^23 leaves them in the last bits.
#define ROUNDER 12582912.0f
INLINE vf vf_round(vf x) { return (x + ROUNDER) - ROUNDER; }
INLINE vi vf_round_to_int(vf x) { return (vi)(x + ROUNDER) - (vi)vf_set(ROUNDER); }

INLINE vf vf_from_bf16(const uint16_t *p) {
#if defined(SIMD_AVX512)  // gcc 12 makes five instructions of the conversion below
    return (vf)((vu)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)) << 16);
#elif defined(SIMD_AVX2)
    return (vf)((vu)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)) << 16);
#else
    vh half;
    memcpy(&half, p, sizeof half);
    return (vf)(__builtin_convertvector(half, vu) << 16);
#endif
}

// Rounded to nearest, halves to even; NaN stays NaN.
INLINE vu vf_bf16_bits(vf x) {
    vu bits = (vu)x;
    vu rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    vu nan = (bits >> 16) | 0x40u;
    vu is_nan = (vu)(x != x);
    return (is_nan & nan) | (~is_nan & rounded);
}
INLINE void vf_to_bf16(uint16_t *p, vf x) {
    vh half = __builtin_convertvector(vf_bf16_bits(x), vh);
    memcpy(p, &half, sizeof half);
}

INLINE vf vf_from_fp16(const uint16_t *p) {
#if defined(SIMD_AVX512)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif defined(SIMD_AVX2)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
#elif defined(__ARM_NEON)
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
    // A multiplication by 2^112 moves the exponent, and makes subnormals normal.
    vh half;
    memcpy(&half, p, sizeof half);
    vu bits = __builtin_convertvector(half, vu);
    vf value = (vf)((bits & 0x7fffu) << 13) * 0x1p112f;
    vu special = (vu)(value >= vf_set(65536.0f)) & 0x7f800000u;
    return (vf)((vu)value | special | ((bits & 0x8000u) << 16));
#endif
}
INLINE void vf_to_fp16(uint16_t *p, vf x) {
#if defined(SIMD_AVX512)
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT));
#elif defined(SIMD_AVX2)
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__ARM_NEON)
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)x)));
#else
    for (int i = 0; i < LANES; i++) {
        float value = x[i], size = value < 0 ? -value : value;
        uint32_t bits, sign;
        memcpy(&sign, &value, 4);
        if (!(size < 65520.0f)) {
            bits = size != size ? 0x7e00u : 0x7c00u;
        } else if (size < 0x1p-14f) {
            size += 0.5f;  // a subnormal's unit, 2^-24, becomes the last bit of the sum
            memcpy(&bits, &size, 4);
            bits -= 0x3f000000u;
        } else {
            memcpy(&bits, &size, 4);
            bits = (bits - (112u << 23) + 0xfffu + ((bits >> 13) & 1u)) >> 13;
        }
        p[i] = (uint16_t)(bits | (sign >> 31 << 15));
    }
#endif
}

INLINE vf vf_from_int8(const int8_t *p) {
#if defined(SIMD_AVX512)
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif defined(SIMD_AVX2)
    return (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    vb byte;
    memcpy(&byte, p, sizeof byte);
    return __builtin_convertvector(__builtin_convertvector(byte, vi), vf);
#endif
}

// e^x, within 1.5e-7 of itself; below -87.3 (where it would be subnormal), -inf included, exactly 0; above 88.3
// as at 88.3. NaN stays NaN.
INLINE vf vf_exp(vf x) {
    const float low = -87.3f, high = 88.3f;
    vf inside = vf_select(x < low, vf_set(low), vf_select(x > high, vf_set(high), x));
    vf shifted = vf_fma(inside, vf_set(1.44269504088896341f), vf_set(ROUNDER));
    vf n = shifted - ROUNDER;
    vf r = vf_fma(n, vf_set(-0.693359375f), inside);  // ln 2 in two parts, the first exact in few bits
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf p = vf_set(1.9841270e-4f);  // Taylor to the 7th power: |r| <= ln(2) / 2, the rest is 6e-9
    p = vf_fma(p, r, vf_set(1.3888889e-3f));
    p = vf_fma(p, r, vf_set(8.3333333e-3f));
    p = vf_fma(p, r, vf_set(4.1666667e-2f));
    p = vf_fma(p, r, vf_set(1.6666667e-1f));
    p = vf_fma(p, r, vf_set(0.5f));
    p = vf_fma(p, r * r, r) + 1.0f;
    vf power = (vf)(((vi)shifted - (vi)vf_set(ROUNDER) + 127) << 23);
    return vf_select(x < low, (vf){0}, p * power);
}
