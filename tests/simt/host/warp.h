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
SIMT_ALWAYS_INLINE unsigned pack_relu(float low, float high) {
    const __half2 packed = __hmax2(__floats2half2_rn(low, high), __floats2half2_rn(0.0f, 0.0f));
    return packed.x.bits | static_cast<unsigned>(packed.y.bits) << 16;
}

// d += a * b of a 16xK tile A and a Kx8 tile B; fragments as in the PTX ISA.
SIMT_ALWAYS_INLINE void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    multiply(Operation::mma_m16n8k16, d, a, b);
}
// Sums in fp16: rounded after each product, whose own sums are exact. Hardware may round more often.
template <class Multiply>
SIMT_ALWAYS_INLINE void with_half_sums(unsigned (&d)[2], const Multiply& multiply) {
    float sums[4];
    for (int i = 0; i < 4; i++)
        sums[i] = __half2float(__ushort_as_half(static_cast<unsigned short>(d[i / 2] >> 16 * (i % 2))));
    multiply(sums);
    for (int row = 0; row < 2; row++) {
        const __half2 packed = __floats2half2_rn(sums[2 * row], sums[2 * row + 1]);
        d[row] = packed.x.bits | static_cast<unsigned>(packed.y.bits) << 16;
    }
}
SIMT_ALWAYS_INLINE void mma_m16n8k16(unsigned (&d)[2], const unsigned (&a)[4], const unsigned (&b)[2]) {
    with_half_sums(d, [&](float* sums) { multiply(Operation::mma_m16n8k16, sums, a, b); });
}
SIMT_ALWAYS_INLINE void mma_m16n8k8(unsigned (&d)[2], const unsigned (&a)[2], unsigned b) {
    with_half_sums(d, [&](float* sums) { multiply(Operation::mma_m16n8k8, sums, a, &b); });
}
SIMT_ALWAYS_INLINE void mma_m16n8k8(float (&d)[4], const unsigned (&a)[2], unsigned b) {
    multiply(Operation::mma_m16n8k8, d, a, &b);
}
}  // namespace simt
