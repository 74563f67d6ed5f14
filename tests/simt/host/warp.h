// Barriers, votes, shuffles and tensor-core products: everything for which threads wait for one another.
//
// As CUDA documents it, only __syncthreads and __syncwarp order memory; votes, shuffles and products do not.
#pragma once

namespace simt {
enum class Operation : unsigned char {
    none,
    syncthreads,
    syncthreads_or,
    syncthreads_and,
    syncthreads_count,
    syncwarp,
    ballot,
    any,
    all,
    shfl,
    shfl_up,
    shfl_down,
    shfl_xor,
    mma_m16n8k16,
    mma_m16n8k8,
};

int block_barrier(Operation operation, int predicate);
unsigned warp_vote(Operation operation, unsigned mask, int predicate);
unsigned long long shuffle(Operation operation, unsigned mask, unsigned long long value, int lane, int width);
void multiply(Operation operation, float* d, const unsigned* a, const unsigned* b);

template <class T>
inline __attribute__((always_inline)) T shuffle_value(Operation operation, unsigned mask, T value, int lane,
                                                      int width) {
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>, "shuffles move up to 8 bytes");
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    bits = shuffle(operation, mask, bits, lane, width);
    __builtin_memcpy(&value, &bits, sizeof(T));
    return value;
}
}  // namespace simt

#define SIMT_ALWAYS_INLINE inline __attribute__((always_inline))

SIMT_ALWAYS_INLINE void __syncthreads() { simt::block_barrier(simt::Operation::syncthreads, 0); }
SIMT_ALWAYS_INLINE int __syncthreads_or(int v) { return simt::block_barrier(simt::Operation::syncthreads_or, v); }
SIMT_ALWAYS_INLINE int __syncthreads_and(int v) { return simt::block_barrier(simt::Operation::syncthreads_and, v); }
SIMT_ALWAYS_INLINE int __syncthreads_count(int v) { return simt::block_barrier(simt::Operation::syncthreads_count, v); }
SIMT_ALWAYS_INLINE void __syncwarp(unsigned mask = 0xffffffffu) { simt::warp_vote(simt::Operation::syncwarp, mask, 0); }
SIMT_ALWAYS_INLINE unsigned __ballot_sync(unsigned mask, int v) {
    return simt::warp_vote(simt::Operation::ballot, mask, v);
}
SIMT_ALWAYS_INLINE int __any_sync(unsigned mask, int v) { return simt::warp_vote(simt::Operation::any, mask, v); }
SIMT_ALWAYS_INLINE int __all_sync(unsigned mask, int v) { return simt::warp_vote(simt::Operation::all, mask, v); }

template <class T>
SIMT_ALWAYS_INLINE T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize) {
    return simt::shuffle_value(simt::Operation::shfl, mask, value, lane, width);
}
template <class T>
SIMT_ALWAYS_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = warpSize) {
    return simt::shuffle_value(simt::Operation::shfl_up, mask, value, static_cast<int>(by), width);
}
template <class T>
SIMT_ALWAYS_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = warpSize) {
    return simt::shuffle_value(simt::Operation::shfl_down, mask, value, static_cast<int>(by), width);
}
template <class T>
SIMT_ALWAYS_INLINE T __shfl_xor_sync(unsigned mask, T value, int by, int width = warpSize) {
    return simt::shuffle_value(simt::Operation::shfl_xor, mask, value, by, width);
}

// Memory is sequentially consistent here; what matters is which accesses they order (ordering.cpp).
namespace simt {
void fence();
}
inline void __threadfence() { simt::fence(); }
inline void __threadfence_block() { simt::fence(); }

namespace simt {
// d += a * b of a 16xK tile A and a Kx8 tile B; fragments as in the PTX ISA.
SIMT_ALWAYS_INLINE void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    multiply(Operation::mma_m16n8k16, d, a, b);
}
SIMT_ALWAYS_INLINE void mma_m16n8k8(float (&d)[4], const unsigned (&a)[2], unsigned b) {
    multiply(Operation::mma_m16n8k8, d, a, &b);
}
}  // namespace simt
