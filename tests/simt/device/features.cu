// Small kernels that use one feature of CUDA each; test_simt_features.py compares them with NumPy.
#include "simt_host.h"

// --- Products of fragments, loaded and stored by the PTX ISA's tables, written once more here from its text.

static __device__ unsigned pair_of(const __half* matrix, int first, int stride) {
    const __half2 pair = __halves2half2(matrix[first], matrix[first + stride]);
    return *reinterpret_cast<const unsigned*>(&pair);
}

// a [16][K], b [K][8], c [16][8]; `wrong` swaps two rows of what one lane loads.
template <int K>
static __device__ void product(const __half* a, const __half* b, float* c, int wrong) {
    const int lane = threadIdx.x % 32, group = lane / 4, inside = lane % 4;
    unsigned left[K / 4], right[K / 8];
    float d[4];
    for (int i = 0; i < K / 4; i++) {
        const int row = (i % 2 == 0 ? group : group + 8) ^ (wrong == 1 && lane == 13);
        const int column = inside * 2 + (i >= 2 ? 8 : 0);
        left[i] = pair_of(a, row * K + column, 1);
    }
    for (int i = 0; i < K / 8; i++) {
        const int row = inside * 2 + (i >= 1 ? 8 : 0), column = group ^ (wrong == 2 && lane == 13);
        right[i] = pair_of(b, row * 8 + column, 8);
    }
    for (int i = 0; i < 4; i++) d[i] = c[(i < 2 ? group : group + 8) * 8 + inside * 2 + (i & 1)];
    if constexpr (K == 16)
        simt::mma_m16n8k16(d, left, right);
    else
        simt::mma_m16n8k8(d, left, right[0]);
    __syncwarp();  // for wrong == 3, where a lane stores to what another has loaded
    for (int i = 0; i < 4; i++) c[((i < 2 ? group : group + 8) ^ (wrong == 3)) * 8 + inside * 2 + (i & 1)] = d[i];
}
extern "C" __global__ void product16(const __half* a, const __half* b, float* c, int wrong) {
    product<16>(a, b, c, wrong);
}
extern "C" __global__ void product8(const __half* a, const __half* b, float* c, int wrong) {
    product<8>(a, b, c, wrong);
}

// --- Votes and shuffles

extern "C" __global__ void votes(const int* values, unsigned mask, unsigned* out) {  // out [4][32]
    const int lane = threadIdx.x;
    if (!(mask >> lane & 1)) return;
    out[lane] = __ballot_sync(mask, values[lane]);
    out[32 + lane] = __any_sync(mask, values[lane]);
    out[64 + lane] = __all_sync(mask, values[lane]);
    __syncwarp(mask);
    out[96 + lane] = 1;
}

extern "C" __global__ void shuffles(const float* values, int by, int width, float* out) {  // out [4][64]
    const unsigned all = 0xffffffffu;
    const int i = threadIdx.x;
    out[i] = __shfl_sync(all, values[i], by, width);
    out[64 + i] = __shfl_up_sync(all, values[i], by, width);
    out[128 + i] = __shfl_down_sync(all, values[i], by, width);
    out[192 + i] = __shfl_xor_sync(all, values[i], by, width);
}

// --- Barriers

extern "C" __global__ void prefix_sum(const int* values, int* out) {  // a block of up to 256 threads
    __shared__ int sums[2][256];
    const int i = threadIdx.x;
    int from = 0;
    sums[0][i] = values[i];
    for (int by = 1; by < static_cast<int>(blockDim.x); by *= 2) {
        __syncthreads();
        sums[1 - from][i] = sums[from][i] + (i >= by ? sums[from][i - by] : 0);
        from = 1 - from;
    }
    out[i] = sums[from][i];
}

extern "C" __global__ void block_votes(const int* values, int* out) {  // out [3]
    const int any = __syncthreads_or(values[threadIdx.x]), all = __syncthreads_and(values[threadIdx.x]);
    const int count = __syncthreads_count(values[threadIdx.x]);
    if (threadIdx.x == 0) out[0] = any, out[1] = all, out[2] = count;
}

extern "C" __global__ void many_barriers(int rounds, int* out) {
    int seen = 0;
    for (int i = 0; i < rounds; i++) seen += __syncthreads_count(threadIdx.x <= static_cast<unsigned>(i));
    out[threadIdx.x] = seen;
}

extern "C" __global__ void warp_exchange(const int* values, int* out) {  // neighbours through shared memory, per warp
    __shared__ int box[128];
    box[threadIdx.x] = values[threadIdx.x];
    __syncwarp();
    out[threadIdx.x] = box[threadIdx.x ^ 1];
}

// --- Indices, structs by value, constants, dynamic shared memory

extern "C" __global__ void indices(int* out) {
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] = 1000 * block + thread;
}

struct Scale {
    char tag;
    float factor[3];
    const float* bias;
    double power;
};
__constant__ float offsets[4] = {1.0f, 2.0f, 3.0f, 4.0f};

extern "C" __global__ void scale(const Scale how, short add, float* values) {
    const int i = threadIdx.x;
    values[i] =
        values[i] * how.factor[i % 3] + how.bias[i] + static_cast<float>(how.power) + add + offsets[i % 4] + how.tag;
}

extern "C" __global__ void reverse_dynamic(float4* values) {
    SIMT_DYNAMIC_SHARED(float4, tile);
    tile[threadIdx.x] = values[threadIdx.x];
    __syncthreads();
    values[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

// --- Asynchronous copies: two stages in flight

extern "C" __global__ void pipeline(const float4* values, float* out, int stages, int hurry) {
    __shared__ float4 buffer[2][32];
    const int i = threadIdx.x;
    float sum = 0.0f;
    simt::cp_async_16(&buffer[0][i], &values[i]);
    simt::cp_async_commit();
    for (int stage = 0; stage < stages; stage++) {
        if (stage + 1 < stages) simt::cp_async_16(&buffer[(stage + 1) % 2][i], &values[(stage + 1) * 32 + i]);
        simt::cp_async_commit();
        if (hurry)
            simt::cp_async_wait<2>();  // one group too few
        else
            simt::cp_async_wait<1>();
        __syncthreads();
        sum += buffer[stage % 2][31 - i].x;
        __syncthreads();
    }
    out[i] = sum;
}

// --- Atomics

extern "C" __global__ void atomics(int* i, unsigned* u, float* f, unsigned long long* l) {
    __shared__ int local;
    if (threadIdx.x == 0) local = 0;
    __syncthreads();
    atomicAdd(&local, 1);
    const int value = static_cast<int>(threadIdx.x) - 10;
    atomicAdd(&i[0], value);
    atomicMax(&i[1], value);
    atomicMin(&i[2], value);
    atomicOr(&u[0], 1u << (threadIdx.x % 32));
    atomicAdd(&u[1], 1u);
    atomicExch(&u[2], 7u);
    atomicCAS(&u[3], 0u, threadIdx.x + 1);
    atomicAdd(f, 0.5f);
    atomicAdd(l, 1ull << 33);
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd(&i[3], local);
}

// --- Numbers

extern "C" __global__ void to_half(const float* values, __half* out, int count) {
    for (int i = threadIdx.x; i < count; i += blockDim.x) out[i] = __float2half_rn(values[i]);
}
extern "C" __global__ void from_half(const __half* values, float* out, int count) {
    for (int i = threadIdx.x; i < count; i += blockDim.x) out[i] = __half2float(values[i]);
}
extern "C" __global__ void half_pairs(const float* a, const float* b, unsigned* out, int count) {  // out [6][count]
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const __half2 x = __floats2half2_rn(a[i], b[i]), y = __floats2half2_rn(b[i], a[i]);
        const __half2 results[6] = {x, __hmin2(x, y), __hmax2(x, y), __hadd2(x, y), __hmul2(x, y), __hfma2(x, y, x)};
        for (int k = 0; k < 6; k++) out[k * count + i] = *reinterpret_cast<const unsigned*>(&results[k]);
    }
}
extern "C" __global__ void bit_tricks(const unsigned* values, int* out) {  // out [6][32]
    const unsigned v = values[threadIdx.x];
    const unsigned long long wide = static_cast<unsigned long long>(v) << 20;
    const int results[6] = {__popc(v),      __ffs(v),      __clz(v),
                            __popcll(wide), __ffsll(wide), __float_as_int(__uint_as_float(v))};
    for (int k = 0; k < 6; k++) out[k * 32 + threadIdx.x] = results[k];
}
extern "C" __global__ void fast_math(const float* values, float* out, int count) {  // out [6][count]
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const float v = values[i];
        float sine, cosine;
        __sincosf(v, &sine, &cosine);
        const float results[6] = {sine, cosine, __expf(v), rsqrtf(fabsf(v)), __fdividef(1.0f, v), __saturatef(v)};
        for (int k = 0; k < 6; k++) out[k * count + i] = results[k];
    }
}

// --- Surfaces

extern "C" __global__ void paint(cudaSurfaceObject_t colour, cudaSurfaceObject_t depth, int width, int height) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    surf2Dwrite(make_uchar4(x, y, x + y, 255), colour, x * static_cast<int>(sizeof(uchar4)), y);
    surf2Dwrite(0.5f * x + y, depth, x * static_cast<int>(sizeof(float)), y);
}
