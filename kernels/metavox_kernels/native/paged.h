// A layer's cache and a step's batch, as in metavox_kernels.attention; paged.py fills these structs.
#pragma once
#include "simd.h"

enum { F32, BF16, FP16, INT8 };  // the dtypes of a cache; paged.py has the same numbers

typedef struct {
    void *key;           // [num_blocks, num_kv_heads, head_dim, block_size]
    void *value;         // [num_blocks, num_kv_heads, block_size, head_dim]
    float *key_scale;    // [num_blocks, num_kv_heads, block_size], of an INT8 cache
    float *value_scale;
    int64_t num_kv_heads, head_dim, block_size;
    int64_t dtype, item_size;
} LayerCache;

typedef struct {
    const int32_t *query_start;   // [num_seqs + 1]
    const int32_t *context_lens;  // [num_seqs]
    const int32_t *block_tables;  // [num_seqs, table_stride], the padding is never read
    int64_t table_stride, num_seqs;
} PagedBatch;

// The vector, or the number, at p[index], where p is an array of `dtype`: a constant wherever speed counts.
INLINE vf vf_load_as(const void *p, int64_t index, int64_t dtype) {
    if (dtype == F32) return vf_load((const float *)p + index);
    if (dtype == FP16) return vf_from_fp16((const uint16_t *)p + index);
#if defined(SIMD_AVX512)  // GCC 12 makes five instructions of each conversion in simd.h
    const char *bytes = p;
    if (dtype == INT8)
        return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(bytes + index))));
    const __m256i *halves = (const __m256i *)((const uint16_t *)p + index);
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(halves)), 16);
#else
    if (dtype == INT8) return vf_from_int8((const int8_t *)p + index);
    return vf_from_bf16((const uint16_t *)p + index);
#endif
}
INLINE float load_as(const void *p, int64_t index, int64_t dtype) {
    if (dtype == F32) return ((const float *)p)[index];
    if (dtype == INT8) return ((const int8_t *)p)[index];
    const uint16_t one[LANES] = {((const uint16_t *)p)[index]};
    return dtype == BF16 ? vf_from_bf16(one)[0] : vf_from_fp16(one)[0];
}
