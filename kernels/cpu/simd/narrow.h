// Integers of 16 and 8 bits in the vectors of simd/vectors.h, for AVX2 and AVX-512. What packs, unpacks and shuffles
// works within each 128 bits, as the instructions do: two vectors of 32-bit lanes packed and unpacked again are
// themselves.
#pragma once

#include "cpu/simd/vectors.h"

namespace knf::KNF_PATH {

using shorts = int16_t __attribute__((vector_size(4 * W)));
using halves = uint16_t __attribute__((vector_size(4 * W)));

KNF_INLINE shorts splat16(int16_t x) { return x - shorts{}; }

#if defined(__AVX512F__)
#define KNF_NARROW(name, a, b) _mm512_##name((__m512i)(a), (__m512i)(b))
#else
#define KNF_NARROW(name, a, b) _mm256_##name((__m256i)(a), (__m256i)(b))
#endif

// Two vectors of 32-bit integers as 16-bit ones, saturated.
KNF_INLINE shorts pack_words(ints low, ints high) { return (shorts)KNF_NARROW(packs_epi32, low, high); }
// Two vectors of 16-bit integers as bytes, saturated to 0 and 255.
KNF_INLINE ints pack_halves(shorts low, shorts high) { return (ints)KNF_NARROW(packus_epi16, low, high); }
// Low halves of 32-bit lanes from one vector, high halves from the other; the first or the second half of both.
KNF_INLINE ints unpack_first(shorts low, shorts high) { return (ints)KNF_NARROW(unpacklo_epi16, low, high); }
KNF_INLINE ints unpack_second(shorts low, shorts high) { return (ints)KNF_NARROW(unpackhi_epi16, low, high); }
// Of bytes without a sign.
KNF_INLINE ints min_bytes(ints a, uint8_t most) { return (ints)KNF_NARROW(min_epu8, a, splat(0x01010101 * most)); }
// a * b / 2^15, rounded.
KNF_INLINE shorts multiply_fractions(shorts a, shorts b) { return (shorts)KNF_NARROW(mulhrs_epi16, a, b); }
KNF_INLINE shorts add_saturated(shorts a, shorts b) { return (shorts)KNF_NARROW(adds_epi16, a, b); }
KNF_INLINE shorts max(shorts a, shorts b) { return (shorts)KNF_NARROW(max_epi16, a, b); }

// In each 128 bits the bytes that `order`, 16 bytes, names.
KNF_INLINE ints shuffle_bytes(ints v, __m128i order) {
#if defined(__AVX512F__)
    return (ints)_mm512_shuffle_epi8((__m512i)v, _mm512_broadcast_i32x4(order));
#else
    return (ints)_mm256_shuffle_epi8((__m256i)v, _mm256_broadcastsi128_si256(order));
#endif
}

// The same 16 bytes in each 128 bits.
KNF_INLINE shorts repeat(const int16_t (&eight)[8]) {
    __m128i v;
    __builtin_memcpy(&v, eight, sizeof(v));
#if defined(__AVX512F__)
    return (shorts)_mm512_broadcast_i32x4(v);
#else
    return (shorts)_mm256_broadcastsi128_si256(v);
#endif
}

}  // namespace knf::KNF_PATH
