// Integer, bit and arithmetic intrinsics. The fast ones err as much as CUDA's manual allows (model_error).
#pragma once

namespace simt {
// `value` moved by up to `bound`, by a share in [-1, 1] that depends on the argument alone; off if a launch says so.
float model_error(float value, float bound, float argument);
inline float ulp(float value) {
    const float magnitude = fabsf(value);
    return nextafterf(magnitude, INFINITY) - magnitude;
}
template <class To, class From>
inline To bit_cast(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To result;
    __builtin_memcpy(&result, &value, sizeof(To));
    return result;
}
}  // namespace simt

inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline int __clz(int v) { return v == 0 ? 32 : __builtin_clz(static_cast<unsigned>(v)); }
inline int __clzll(long long v) { return v == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(v)); }
inline unsigned __brev(unsigned v) {
    unsigned result = 0;
    for (int bit = 0; bit < 32; bit++) result |= ((v >> bit) & 1u) << (31 - bit);
    return result;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return (static_cast<unsigned long long>(a) * b) >> 32; }
inline int __mulhi(int a, int b) { return static_cast<int>((static_cast<long long>(a) * b) >> 32); }
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
    return static_cast<unsigned>(((static_cast<unsigned long long>(high) << 32 | low) << (by & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (by & 31));
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    const unsigned long long bytes = static_cast<unsigned long long>(y) << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned pick = selector >> (4 * i);
        unsigned byte = (bytes >> (8 * (pick & 7))) & 0xff;
        if (pick & 8) byte = byte & 0x80 ? 0xff : 0;
        result |= byte << (8 * i);
    }
    return result;
}

inline int __float_as_int(float v) { return simt::bit_cast<int>(v); }
inline unsigned __float_as_uint(float v) { return simt::bit_cast<unsigned>(v); }
inline float __int_as_float(int v) { return simt::bit_cast<float>(v); }
inline float __uint_as_float(unsigned v) { return simt::bit_cast<float>(v); }

// Float to integer saturates on the device and gives 0 for NaN; in C++ both are undefined.
namespace simt {
template <class Integer>
inline Integer saturated(double v) {
    constexpr double lowest = std::is_signed_v<Integer> ? -2147483648.0 : 0.0;
    constexpr double highest = std::is_signed_v<Integer> ? 2147483647.0 : 4294967295.0;
    return v != v ? 0 : static_cast<Integer>(v < lowest ? lowest : v > highest ? highest : v);
}
}  // namespace simt
inline int __float2int_rn(float v) { return simt::saturated<int>(rint(double(v))); }
inline int __float2int_rz(float v) { return simt::saturated<int>(trunc(double(v))); }
inline int __float2int_rd(float v) { return simt::saturated<int>(floor(double(v))); }
inline int __float2int_ru(float v) { return simt::saturated<int>(ceil(double(v))); }
inline unsigned __float2uint_rn(float v) { return simt::saturated<unsigned>(rint(double(v))); }
inline unsigned __float2uint_rz(float v) { return simt::saturated<unsigned>(trunc(double(v))); }
inline unsigned __float2uint_rd(float v) { return simt::saturated<unsigned>(floor(double(v))); }
inline float __int2float_rn(int v) { return static_cast<float>(v); }
inline float __uint2float_rn(unsigned v) { return static_cast<float>(v); }

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float v) { return 1.0f / v; }
inline float __fsqrt_rn(float v) { return sqrtf(v); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __saturatef(float v) { return v > 0.0f ? (v < 1.0f ? v : 1.0f) : 0.0f; }  // NaN gives 0

// Bounds: CUDA C++ Programming Guide, "Mathematical Functions". For __sinf and __cosf it states them in [-pi, pi]
// and says only "larger elsewhere": taken to grow in proportion to the argument.
inline float rsqrtf(float v) {
    const float exact = static_cast<float>(1.0 / sqrt(double(v)));
    return simt::model_error(exact, 2.0f * simt::ulp(exact), v);
}
inline float __frsqrt_rn(float v) { return static_cast<float>(1.0 / sqrt(double(v))); }
inline float __sinf(float v) {
    return simt::model_error(sinf(v), exp2f(-21.41f) * fmaxf(1.0f, fabsf(v) / 3.14159265f), v);
}
inline float __cosf(float v) {
    return simt::model_error(cosf(v), exp2f(-21.19f) * fmaxf(1.0f, fabsf(v) / 3.14159265f), v);
}
inline void __sincosf(float v, float* sine, float* cosine) {
    *sine = __sinf(v);
    *cosine = __cosf(v);
}
inline float __expf(float v) {
    const float exact = expf(v);
    return simt::model_error(exact, (2.0f + floorf(fabsf(1.173f * v))) * simt::ulp(exact), v);
}
inline float __logf(float v) {
    const float exact = logf(v);
    const bool near_one = v >= 0.5f && v <= 2.0f;
    return simt::model_error(exact, near_one ? exp2f(-21.41f) : 3.0f * simt::ulp(exact), v);
}
inline float __log2f(float v) {
    const float exact = log2f(v);
    const bool near_one = v >= 0.5f && v <= 2.0f;
    return simt::model_error(exact, near_one ? exp2f(-22.0f) : 2.0f * simt::ulp(exact), v);
}
inline float __fdividef(float a, float b) {
    const float exact = a / b;
    if (fabsf(b) > exp2f(126.0f)) return isinf(a) ? NAN : 0.0f;
    return simt::model_error(exact, 2.0f * simt::ulp(exact), a);
}
inline float sinpif(float v) { return static_cast<float>(sin(3.14159265358979323846 * remainder(double(v), 2.0))); }
inline float cospif(float v) { return static_cast<float>(cos(3.14159265358979323846 * remainder(double(v), 2.0))); }
inline void sincospif(float v, float* sine, float* cosine) {
    *sine = sinpif(v);
    *cosine = cospif(v);
}

#define SIMT_MIN_MAX(type)                                    \
    inline type min(type a, type b) { return b < a ? b : a; } \
    inline type max(type a, type b) { return a < b ? b : a; }
SIMT_MIN_MAX(int)
SIMT_MIN_MAX(unsigned)
SIMT_MIN_MAX(long)
SIMT_MIN_MAX(unsigned long)
SIMT_MIN_MAX(long long)
SIMT_MIN_MAX(unsigned long long)
#undef SIMT_MIN_MAX
inline unsigned min(int a, unsigned b) { return min(static_cast<unsigned>(a), b); }
inline unsigned min(unsigned a, int b) { return min(a, static_cast<unsigned>(b)); }
inline unsigned max(int a, unsigned b) { return max(static_cast<unsigned>(a), b); }
inline unsigned max(unsigned a, int b) { return max(a, static_cast<unsigned>(b)); }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline long long clock64() { return 0; }
inline void __nanosleep(unsigned) {}
