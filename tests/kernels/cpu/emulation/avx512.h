// The AVX-512 intrinsics that the renderer calls, by their definition in the instruction set reference, element by
// element.
#pragma once

#include <cstdint>
#include <cstring>

typedef float __m512 __attribute__((vector_size(64), may_alias));
typedef long long __m512i __attribute__((vector_size(64), may_alias));
typedef long long __m128i __attribute__((vector_size(16), may_alias));
typedef uint16_t __mmask16;
typedef uint32_t __mmask32;
typedef uint64_t __mmask64;

namespace emulation {

template <typename T, int SIZE = 64>
struct Elements {
    static constexpr int COUNT = SIZE / static_cast<int>(sizeof(T));
    T of[COUNT];

    Elements() = default;
    template <typename V>
    explicit Elements(const V& vector) {
        static_assert(sizeof(V) == SIZE);
        std::memcpy(of, &vector, SIZE);
    }
    template <typename V>
    V as() const {
        static_assert(sizeof(V) == SIZE);
        V vector;
        std::memcpy(&vector, of, SIZE);
        return vector;
    }
};

}  // namespace emulation

static inline __m512i _mm512_setzero_si512() { return __m512i{}; }
static inline unsigned _cvtmask16_u32(__mmask16 mask) { return mask; }

static inline __mmask16 _mm512_movepi32_mask(__m512i v) {
    const emulation::Elements<int32_t> from(v);
    unsigned mask = 0;
    for (int i = 0; i < 16; i++) mask |= static_cast<unsigned>(from.of[i] < 0) << i;
    return static_cast<__mmask16>(mask);
}

static inline float _mm512_reduce_add_ps(__m512 v) {
    const emulation::Elements<float> from(v);
    float sums[16];
    for (int i = 0; i < 16; i++) sums[i] = from.of[i];
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) sums[i] += sums[i + half];
    return sums[0];
}

static inline __m512 _mm512_maskz_compress_ps(__mmask16 mask, __m512 v) {
    const emulation::Elements<float> from(v);
    emulation::Elements<float> to{};
    for (int i = 0, at = 0; i < 16; i++)
        if (mask >> i & 1) to.of[at++] = from.of[i];
    return to.as<__m512>();
}

static inline __m512 _mm512_i32gather_ps(__m512i index, const void* base, int scale) {
    const emulation::Elements<int32_t> at(index);
    emulation::Elements<float> to;
    for (int i = 0; i < 16; i++)
        std::memcpy(&to.of[i], static_cast<const char*>(base) + static_cast<int64_t>(at.of[i]) * scale, sizeof(float));
    return to.as<__m512>();
}

static inline __m512i _mm512_dpwssd_epi32(__m512i sum, __m512i a, __m512i b) {
    const emulation::Elements<int16_t> left(a), right(b);
    emulation::Elements<uint32_t> to(sum);  // wraps around
    for (int i = 0; i < 16; i++)
        for (int half = 0; half < 2; half++)
            to.of[i] += static_cast<uint32_t>(static_cast<int32_t>(left.of[2 * i + half]) * right.of[2 * i + half]);
    return to.as<__m512i>();
}

// Four products of a byte without a sign and one with, added to a sum.
static inline __m512i _mm512_dpbusd_epi32(__m512i sum, __m512i a, __m512i b) {
    const emulation::Elements<uint8_t> left(a);
    const emulation::Elements<int8_t> right(b);
    emulation::Elements<uint32_t> to(sum);  // wraps around
    for (int i = 0; i < 64; i++) to.of[i / 4] += static_cast<uint32_t>(left.of[i] * right.of[i]);
    return to.as<__m512i>();
}

// a * b / 2^15, rounded.
static inline __m512i _mm512_mulhrs_epi16(__m512i a, __m512i b) {
    emulation::Elements<int16_t> to(a);
    const emulation::Elements<int16_t> other(b);
    for (int i = 0; i < 32; i++) to.of[i] = static_cast<int16_t>((((to.of[i] * other.of[i]) >> 14) + 1) >> 1);
    return to.as<__m512i>();
}

static inline __m512i _mm512_adds_epi16(__m512i a, __m512i b) {
    emulation::Elements<int16_t> to(a);
    const emulation::Elements<int16_t> other(b);
    for (int i = 0; i < 32; i++) {
        const int sum = to.of[i] + other.of[i];
        to.of[i] = static_cast<int16_t>(sum > 32767 ? 32767 : sum < -32768 ? -32768 : sum);
    }
    return to.as<__m512i>();
}

static inline __m512i _mm512_min_epu8(__m512i a, __m512i b) {
    emulation::Elements<uint8_t> to(a);
    const emulation::Elements<uint8_t> other(b);
    for (int i = 0; i < 64; i++)
        if (other.of[i] < to.of[i]) to.of[i] = other.of[i];
    return to.as<__m512i>();
}

// In each 128 bits: eight of a, then eight of b, saturated to 0 and 255.
static inline __m512i _mm512_packus_epi16(__m512i a, __m512i b) {
    const emulation::Elements<int16_t> first(a), second(b);
    emulation::Elements<uint8_t> to;
    for (int i = 0; i < 64; i++) {
        const int v = (i % 16 < 8 ? first : second).of[i / 16 * 8 + i % 8];
        to.of[i] = static_cast<uint8_t>(v > 255 ? 255 : v < 0 ? 0 : v);
    }
    return to.as<__m512i>();
}

// In each 128 bits: by turns one of a and one of b, from their lower or their upper 64 bits.
static inline __m512i emulated_unpack(__m512i a, __m512i b, int from) {
    const emulation::Elements<int16_t> first(a), second(b);
    emulation::Elements<int16_t> to;
    for (int i = 0; i < 32; i++) to.of[i] = (i % 2 ? second : first).of[i / 8 * 8 + from + i % 8 / 2];
    return to.as<__m512i>();
}
static inline __m512i _mm512_unpacklo_epi16(__m512i a, __m512i b) { return emulated_unpack(a, b, 0); }
static inline __m512i _mm512_unpackhi_epi16(__m512i a, __m512i b) { return emulated_unpack(a, b, 4); }

static inline __m512i _mm512_mask_blend_epi16(__mmask32 mask, __m512i a, __m512i b) {
    emulation::Elements<uint16_t> to(a);
    const emulation::Elements<uint16_t> other(b);
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1) to.of[i] = other.of[i];
    return to.as<__m512i>();
}

static inline __m512i _mm512_max_epi16(__m512i a, __m512i b) {
    emulation::Elements<int16_t> to(a);
    const emulation::Elements<int16_t> other(b);
    for (int i = 0; i < 32; i++)
        if (other.of[i] > to.of[i]) to.of[i] = other.of[i];
    return to.as<__m512i>();
}

// In each 128 bits: four of a, then four of b, saturated.
static inline __m512i _mm512_packs_epi32(__m512i a, __m512i b) {
    const emulation::Elements<int32_t> first(a), second(b);
    emulation::Elements<int16_t> to;
    for (int i = 0; i < 32; i++) {
        const int32_t v = (i % 8 < 4 ? first : second).of[i / 8 * 4 + i % 4];
        to.of[i] = static_cast<int16_t>(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
    }
    return to.as<__m512i>();
}

// In each 128 bits: bytes of v by number, zero where the number's top bit is set.
static inline __m512i _mm512_shuffle_epi8(__m512i v, __m512i order) {
    const emulation::Elements<uint8_t> from(v), number(order);
    emulation::Elements<uint8_t> to;
    for (int i = 0; i < 64; i++) to.of[i] = number.of[i] & 0x80 ? 0 : from.of[i / 16 * 16 + (number.of[i] & 15)];
    return to.as<__m512i>();
}

// In each 128 bits: the 32 bytes of a above b, shifted down by some bytes; where the mask is 0, `source` stays.
static inline __m512i _mm512_mask_alignr_epi8(__m512i source, __mmask64 mask, __m512i a, __m512i b, int bytes) {
    const emulation::Elements<uint8_t> high(a), low(b);
    emulation::Elements<uint8_t> to(source);
    for (int i = 0; i < 64; i++) {
        if (!(mask >> i & 1)) continue;
        const int lane = i / 16 * 16, at = i % 16 + bytes;
        to.of[i] = at < 16 ? low.of[lane + at] : at < 32 ? high.of[lane + at - 16] : 0;
    }
    return to.as<__m512i>();
}

template <typename... Bytes>
static inline __m128i _mm_setr_epi8(Bytes... bytes) {
    const int8_t list[16] = {static_cast<int8_t>(bytes)...};
    return emulation::Elements<int8_t, 16>(list).as<__m128i>();
}

static inline __m512i _mm512_broadcast_i32x4(__m128i v) {
    return __m512i{v[0], v[1], v[0], v[1], v[0], v[1], v[0], v[1]};
}
