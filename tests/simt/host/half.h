// __half and __half2: IEEE binary16, round to nearest even, NaN canonical (0x7fff) as CUDA's conversions give it.
#pragma once

namespace simt {
float half_to_float(unsigned short bits);  // by table
unsigned short float_to_half(float value);
unsigned short double_to_half(double value);
}  // namespace simt

struct alignas(2) __half {
    unsigned short bits;
    __half() = default;
    __half(float value) : bits(simt::float_to_half(value)) {}
    operator float() const { return simt::half_to_float(bits); }
};
struct alignas(4) __half2 {
    __half x, y;
    __half2() = default;
    __half2(__half x_, __half y_) : x(x_), y(y_) {}
};
using half = __half;
using half2 = __half2;

inline __half __float2half_rn(float v) { return __half(v); }
inline __half __float2half(float v) { return __half(v); }
inline float __half2float(__half v) { return static_cast<float>(v); }
inline __half2 __floats2half2_rn(float low, float high) { return {__half(low), __half(high)}; }
inline __half2 __float22half2_rn(float2 v) { return {__half(v.x), __half(v.y)}; }
inline __half2 __float2half2_rn(float v) { return {__half(v), __half(v)}; }
inline float2 __half22float2(__half2 v) { return {static_cast<float>(v.x), static_cast<float>(v.y)}; }
inline __half2 __halves2half2(__half low, __half high) { return {low, high}; }
inline __half2 __half2half2(__half v) { return {v, v}; }
inline __half __low2half(__half2 v) { return v.x; }
inline __half __high2half(__half2 v) { return v.y; }
inline float __low2float(__half2 v) { return static_cast<float>(v.x); }
inline float __high2float(__half2 v) { return static_cast<float>(v.y); }
inline unsigned short __half_as_ushort(__half v) { return v.bits; }
inline __half __ushort_as_half(unsigned short bits) {
    __half v;
    v.bits = bits;
    return v;
}

namespace simt {
inline bool is_nan(__half v) { return (v.bits & 0x7fffu) > 0x7c00u; }
// +0 counts as larger than -0; a NaN loses against a number; two NaNs give the canonical one.
inline int order_of(__half v) { return (v.bits & 0x8000u) != 0 ? -1 - (v.bits & 0x7fff) : v.bits; }
inline __half pick(__half a, __half b, bool largest) {
    if (is_nan(a)) return is_nan(b) ? __ushort_as_half(0x7fff) : b;
    if (is_nan(b)) return a;
    return (order_of(a) > order_of(b)) == largest ? a : b;
}
inline __half rounded(double value) { return __ushort_as_half(double_to_half(value)); }
}  // namespace simt

// One rounding each: sums, products and fused products of halves fit a double where the result is not obvious.
inline __half __hadd(__half a, __half b) { return simt::rounded(double(float(a)) + double(float(b))); }
inline __half __hsub(__half a, __half b) { return simt::rounded(double(float(a)) - double(float(b))); }
inline __half __hmul(__half a, __half b) { return simt::rounded(double(float(a)) * double(float(b))); }
inline __half __hfma(__half a, __half b, __half c) {
    return simt::rounded(double(float(a)) * double(float(b)) + double(float(c)));
}
inline __half __hneg(__half v) { return __ushort_as_half(v.bits ^ 0x8000u); }
inline __half __hmin(__half a, __half b) { return simt::pick(a, b, false); }
inline __half __hmax(__half a, __half b) { return simt::pick(a, b, true); }
inline __half2 __hadd2(__half2 a, __half2 b) { return {__hadd(a.x, b.x), __hadd(a.y, b.y)}; }
inline __half2 __hsub2(__half2 a, __half2 b) { return {__hsub(a.x, b.x), __hsub(a.y, b.y)}; }
inline __half2 __hmul2(__half2 a, __half2 b) { return {__hmul(a.x, b.x), __hmul(a.y, b.y)}; }
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }
inline __half2 __hneg2(__half2 v) { return {__hneg(v.x), __hneg(v.y)}; }
inline __half2 __hmin2(__half2 a, __half2 b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }
inline __half2 __hmax2(__half2 a, __half2 b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }
