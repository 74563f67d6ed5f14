// VPDPWSSD on 256 bits, from the instruction set reference: two products of 16-bit integers and a sum, no saturation.
#pragma once

namespace emulation {

static inline __m256i dpwssd(__m256i sum, __m256i a, __m256i b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

}  // namespace emulation

#define _mm256_dpwssd_avx_epi32 emulation::dpwssd
