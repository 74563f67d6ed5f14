// Compiler vector types of the width of one instruction set (GCC and Clang). Included by translation units that
// are compiled once per instruction set, inside the namespace KNF_PATH.
#pragma once

#include <cstdint>

#if defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#endif

namespace knf::KNF_PATH {

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX2__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

// may_alias and the alignment of an element: loads and stores through these types may touch any float array.
using floats = float __attribute__((vector_size(4 * W)));
using ints = int32_t __attribute__((vector_size(4 * W)));
using words = uint32_t __attribute__((vector_size(4 * W)));
using floats_u = float __attribute__((vector_size(4 * W), aligned(4), may_alias));
using ints_u = int32_t __attribute__((vector_size(4 * W), aligned(4), may_alias));
using words_u = uint32_t __attribute__((vector_size(4 * W), aligned(4), may_alias));

#define KNF_INLINE static inline __attribute__((always_inline))
#define KNF_MEMBER inline __attribute__((always_inline))

KNF_INLINE floats load(const float* p) { return *reinterpret_cast<const floats_u*>(p); }
KNF_INLINE void store(float* p, floats v) { *reinterpret_cast<floats_u*>(p) = v; }
KNF_INLINE void store(int32_t* p, ints v) { *reinterpret_cast<ints_u*>(p) = v; }
KNF_INLINE void store(uint32_t* p, words v) { *reinterpret_cast<words_u*>(p) = v; }
KNF_INLINE ints load(const int32_t* p) { return *reinterpret_cast<const ints_u*>(p); }
KNF_INLINE words load(const uint32_t* p) { return *reinterpret_cast<const words_u*>(p); }

KNF_INLINE floats splat(float x) { return x - floats{}; }
KNF_INLINE ints splat(int32_t x) { return x - ints{}; }
KNF_INLINE floats min(floats a, floats b) { return a < b ? a : b; }
KNF_INLINE floats max(floats a, floats b) { return a > b ? a : b; }
KNF_INLINE floats to_floats(ints v) { return __builtin_convertvector(v, floats); }
KNF_INLINE ints truncate(floats v) { return __builtin_convertvector(v, ints); }  // |v| < 2^31
KNF_INLINE ints nearest(floats v) { return truncate(v + (v < 0.0f ? splat(-0.5f) : splat(0.5f))); }
KNF_INLINE floats bits_to_floats(ints v) { return reinterpret_cast<floats>(v); }
KNF_INLINE ints lane_indices() {
    ints v;
    for (int i = 0; i < W; i++) v[i] = i;
    return v;
}
KNF_INLINE floats lane_numbers() {
    floats v;
    for (int i = 0; i < W; i++) v[i] = static_cast<float>(i);
    return v;
}

// One bit per lane of a comparison's result (all ones or all zeros per lane).
KNF_INLINE unsigned lane_bits(ints mask) {
#if defined(__AVX512F__)
    return _cvtmask16_u32(_mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)));
#elif defined(__AVX2__)
    return static_cast<unsigned>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
#elif defined(__SSE2__)
    return static_cast<unsigned>(_mm_movemask_ps(reinterpret_cast<__m128>(mask)));
#else
    unsigned bits = 0;
    for (int i = 0; i < W; i++) bits |= (mask[i] & 1u) << i;
    return bits;
#endif
}

constexpr unsigned LANES = (1u << W) - 1u;  // all bits

// A comparison's result of the lanes' bits.
KNF_INLINE ints lane_mask(unsigned bits) {
    ints bit;
    for (int i = 0; i < W; i++) bit[i] = 1 << i;
    return (splat(static_cast<int32_t>(bits)) & bit) != 0;
}

#if defined(__AVX2__) && !defined(__AVX512F__)
// For each set of lanes their numbers, lowest first.
struct LaneLists {
    uint64_t of[256];  // eight bytes each
};
constexpr LaneLists make_lane_lists() {
    LaneLists lists{};
    for (unsigned lanes = 0; lanes < 256; lanes++)
        for (unsigned lane = 0, at = 0; lane < 8; lane++)
            if (lanes >> lane & 1) lists.of[lanes] |= static_cast<uint64_t>(lane) << (8 * at++);
    return lists;
}
inline constexpr LaneLists LANE_LISTS = make_lane_lists();
#endif

// Moves the chosen lanes to the front; what lies behind them is not defined.
struct Compaction {
#if defined(__AVX512F__)
    __mmask16 lanes;
    explicit Compaction(unsigned chosen) : lanes(static_cast<__mmask16>(chosen)) {}
    KNF_MEMBER floats operator()(floats v) const { return (floats)_mm512_maskz_compress_ps(lanes, (__m512)v); }
#elif defined(__AVX2__)
    __m256i order;
    explicit Compaction(unsigned chosen)
        : order(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(LANE_LISTS.of[chosen])))) {}
    KNF_MEMBER floats operator()(floats v) const { return (floats)_mm256_permutevar8x32_ps((__m256)v, order); }
#else
    unsigned chosen;
    explicit Compaction(unsigned lanes) : chosen(lanes) {}
    KNF_MEMBER floats operator()(floats v) const {
        floats front{};
        for (int lane = 0, at = 0; lane < W; lane++)
            if (chosen >> lane & 1) front[at++] = v[lane];
        return front;
    }
#endif
    KNF_MEMBER ints operator()(ints v) const {
        const floats moved = (*this)(reinterpret_cast<floats>(v));
        return reinterpret_cast<ints>(moved);
    }
    KNF_MEMBER words operator()(words v) const {
        const floats moved = (*this)(reinterpret_cast<floats>(v));
        return reinterpret_cast<words>(moved);
    }
};

// base[index] for every lane; every index must be valid.
KNF_INLINE floats gather(const float* base, ints index) {
#if defined(__AVX512F__)
    __m512 v = _mm512_i32gather_ps(reinterpret_cast<__m512i>(index), base, 4);
    return reinterpret_cast<floats>(v);
#elif defined(__AVX2__)
    __m256 v = _mm256_i32gather_ps(base, reinterpret_cast<__m256i>(index), 4);
    return reinterpret_cast<floats>(v);
#else
    floats v;
    for (int i = 0; i < W; i++) v[i] = base[index[i]];
    return v;
#endif
}

// base[index] for the lanes of a comparison's result, 0 for the others, whose index may be anything.
KNF_INLINE words gather(const uint32_t* base, ints index, ints lanes) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    const __m256 v = _mm256_mask_i32gather_ps(_mm256_setzero_ps(), reinterpret_cast<const float*>(base),
                                              reinterpret_cast<__m256i>(index), reinterpret_cast<__m256>(lanes), 4);
    return reinterpret_cast<words>(v);
#else
    const floats v = gather(reinterpret_cast<const float*>(base), index & lanes);
    return reinterpret_cast<words>(v) & reinterpret_cast<words>(lanes);
#endif
}

// floor and ceil for |v| < 2^31.
KNF_INLINE floats floor(floats v) {
    floats t = to_floats(truncate(v));
    return t > v ? t - 1.0f : t;
}
KNF_INLINE floats ceil(floats v) {
    floats t = to_floats(truncate(v));
    return t < v ? t + 1.0f : t;
}

// exp(x) within 2 ulp; x is clamped to [-87, 87].
KNF_INLINE floats exp(floats x) {
    x = min(max(x, splat(-87.0f)), splat(87.0f));
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
    floats n = x * 1.44269504f + magic;
    n -= magic;
    floats r = x - n * 0.693359375f;  // ln 2 in two parts
    r = r - n * -2.12194440e-4f;
    floats p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * bits_to_floats((truncate(n) + 127) << 23);
}

}  // namespace knf::KNF_PATH
