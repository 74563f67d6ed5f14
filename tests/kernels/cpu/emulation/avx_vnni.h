// VPDPWSSD and VPDPBUSD on 256 bits, from the instruction set reference: two products of 16-bit integers, or four of
// bytes, the first without a sign, and a sum, no saturation.
#pragma once

#include <cstdint>

namespace emulation {

static inline __m256i dpwssd(__m256i sum, __m256i a, __m256i b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

static inline __m256i dpbusd(__m256i sum, __m256i a, __m256i b) {
    alignas(32) uint32_t sums[8];
    alignas(32) uint8_t left[32];
    alignas(32) int8_t right[32];
    _mm256_store_si256(reinterpret_cast<__m256i*>(sums), sum);
    _mm256_store_si256(reinterpret_cast<__m256i*>(left), a);
    _mm256_store_si256(reinterpret_cast<__m256i*>(right), b);
    for (int i = 0; i < 32; i++) sums[i / 4] += static_cast<uint32_t>(left[i] * right[i]);
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(sums));
}

}  // namespace emulation

#define _mm256_dpwssd_avx_epi32 emulation::dpwssd
#define _mm256_dpbusd_avx_epi32 emulation::dpbusd
