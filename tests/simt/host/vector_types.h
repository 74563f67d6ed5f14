// Qualifiers, built-in variables and vector types of CUDA C++.
#pragma once

#include <math.h>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#ifdef SIMT_LIST_KERNELS  // preprocessed so, a source names its kernels (see ../compilation.py)
#define __global__ __simt_kernel__
#else
#define __global__
#endif
#define __device__
#define __host__
#define __constant__
// Thread-local: a block-scope variable is then static even without the keyword, and all shared memory of a module
// lies in one place, its TLS segment. Blocks run on one operating-system thread, so there is one copy.
#define __shared__ thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

#define SIMT_VECTOR(type, name, align2, align4)                                           \
    struct name##1 { type x; };                                                           \
    struct alignas(align2) name##2 { type x, y; };                                        \
    struct name##3 { type x, y, z; };                                                     \
    struct alignas(align4) name##4 { type x, y, z, w; };                                  \
    inline constexpr name##1 make_##name##1(type x) { return {x}; }                       \
    inline constexpr name##2 make_##name##2(type x, type y) { return {x, y}; }            \
    inline constexpr name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
    inline constexpr name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

SIMT_VECTOR(signed char, char, 2, 4)
SIMT_VECTOR(unsigned char, uchar, 2, 4)
SIMT_VECTOR(short, short, 4, 8)
SIMT_VECTOR(unsigned short, ushort, 4, 8)
SIMT_VECTOR(int, int, 8, 16)
SIMT_VECTOR(unsigned, uint, 8, 16)
SIMT_VECTOR(float, float, 8, 16)
SIMT_VECTOR(long long, longlong, 16, 16)
SIMT_VECTOR(unsigned long long, ulonglong, 16, 16)
SIMT_VECTOR(double, double, 16, 16)
#undef SIMT_VECTOR

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

// The runtime sets these whenever it resumes a thread.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;
