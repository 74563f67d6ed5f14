// What the kernels need of the device: CUDA's own headers, tensor-core products and asynchronous copies.
// Tests compile the same sources for the CPU (KNF_SIMT_HOST), where tests/simt/host provides all of this.
#pragma once

#ifdef KNF_SIMT_HOST
#include "simt_host.h"
#define KNF_ARCH KNF_SIMT_HOST  // the compute capability to behave like, as __CUDA_ARCH__ would say
#else
#include <cuda_fp16.h>
#define KNF_ARCH __CUDA_ARCH__
#endif

#define KNF_DEVICE static __device__ __forceinline__
#define KNF_SHARED static __device__ __forceinline__

namespace knf {

#ifndef KNF_SIMT_HOST
namespace simt {

// d += a * b on a warp; fragment layouts as in the PTX ISA, "Matrix Fragments for mma.m16n8k8 / m16n8k16".
KNF_DEVICE void mma_m16n8k8(float (&d)[4], const unsigned (&a)[2], unsigned b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b));
}
// The same with sums in fp16: d holds columns 2t and 2t + 1 of rows g and g + 8.
KNF_DEVICE void mma_m16n8k8(unsigned (&d)[2], const unsigned (&a)[2], unsigned b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3}, {%4}, {%0,%1};"
                 : "+r"(d[0]), "+r"(d[1])
                 : "r"(a[0]), "r"(a[1]), "r"(b));
}
#if KNF_ARCH >= 800
// Two numbers rounded to fp16, negative ones to zero.
KNF_DEVICE unsigned pack_relu(float low, float high) {
    unsigned packed;
    asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}
KNF_DEVICE void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
KNF_DEVICE void mma_m16n8k16(unsigned (&d)[2], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%0,%1};"
                 : "+r"(d[0]), "+r"(d[1])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// Copies 16 bytes to shared memory in the background.
KNF_DEVICE void cp_async_16(void* shared, const void* global) {
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global) : "memory");
}
KNF_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
KNF_DEVICE void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
#endif

}  // namespace simt
#endif

// d += a * b for a 16x16 tile of A and a 16x8 tile of B. The fragments of m16n8k16 are those of two m16n8k8 side by
// side, so the same registers serve architectures that have only the smaller shape. Sums: float[4], or unsigned[2] for
// fp16.
template <class Sums>
KNF_DEVICE void multiply_tile(Sums& d, const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if KNF_ARCH >= 800
    const unsigned b[2] = {b0, b1};
    simt::mma_m16n8k16(d, a, b);
#else
    const unsigned low[2] = {a[0], a[1]}, high[2] = {a[2], a[3]};
    simt::mma_m16n8k8(d, low, b0);
    simt::mma_m16n8k8(d, high, b1);
#endif
}

// The bits that any lane of the warp has.
KNF_DEVICE unsigned warp_or(unsigned bits) {
#if KNF_ARCH >= 800 && !defined(KNF_SIMT_HOST)
    return __reduce_or_sync(0xffffffffu, bits);
#else
    for (int offset = 16; offset; offset /= 2) bits |= __shfl_xor_sync(0xffffffffu, bits, offset);
    return bits;
#endif
}

// Starts copying `bytes` (a multiple of 16) to shared memory by all threads of the block; commit_copies() ends a group.
KNF_DEVICE void start_copy(void* shared, const void* global, int bytes, int thread, int threads) {
    for (int at = 16 * thread; at < bytes; at += 16 * threads) {
        char* to = static_cast<char*>(shared) + at;
        const char* from = static_cast<const char*>(global) + at;
#if KNF_ARCH >= 800
        simt::cp_async_16(to, from);
#else
        *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
#endif
    }
}

KNF_DEVICE void commit_copies() {
#if KNF_ARCH >= 800
    simt::cp_async_commit();
#endif
}

// Waits until at most `PENDING` of this thread's copies are under way; others see them after __syncthreads().
template <int PENDING>
KNF_DEVICE void wait_for_copies() {
#if KNF_ARCH >= 800
    simt::cp_async_wait<PENDING>();
#endif
}

}  // namespace knf
