// Kernels that are wrong on purpose, each in one way; with `right` they do the same correctly. See test_simt_faults.py.
#include "simt_host.h"

// --- Races

extern "C" __global__ void barrier_race(float* values, int right) {
    __shared__ float tile[64];
    tile[threadIdx.x] = values[threadIdx.x];
    if (right) __syncthreads();
    values[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

// Written again while others may still read.
extern "C" __global__ void reuse_race(int* values, int right) {
    __shared__ int tile[64];
    int sum = 0;
    for (int round = 0; round < 3; round++) {
        tile[threadIdx.x] = values[threadIdx.x] + round;
        __syncthreads();
        sum += tile[(threadIdx.x + 33) % 64];
        if (right) __syncthreads();
    }
    values[threadIdx.x] = sum;
}

extern "C" __global__ void warp_race(int* values, int right) {
    __shared__ int box[64];
    box[threadIdx.x] = values[threadIdx.x];
    // A vote is no barrier for memory: CUDA promises that of __syncwarp only.
    if (right)
        __syncwarp();
    else
        __ballot_sync(0xffffffffu, 1);
    values[threadIdx.x] = box[threadIdx.x ^ 1];
}

// __syncwarp orders a warp, not two of them.
extern "C" __global__ void cross_warp_race(int* values, int right) {
    __shared__ int box[64];
    box[threadIdx.x] = values[threadIdx.x];
    if (right)
        __syncthreads();
    else
        __syncwarp();
    values[threadIdx.x] = box[threadIdx.x ^ 32];
}

extern "C" __global__ void counter_race(int* counter, int right) {
    if (right)
        atomicAdd(counter, 1);
    else
        *counter = *counter + 1;
}

extern "C" __global__ void atomic_and_plain_race(int* counter, int right) {
    atomicAdd(counter, 1);
    if (right) __syncthreads();
    if (threadIdx.x == 5) *counter = 0;
}

extern "C" __global__ void block_race(int* values, int right) {
    if (threadIdx.x == 0) values[right ? blockIdx.x : 0] = blockIdx.x;
}

// The last block to come reads what all wrote: right with fences around the ticket.
extern "C" __global__ void last_block(int* parts, int* ticket, int* sum, int right) {
    __shared__ int last;
    parts[blockIdx.x * blockDim.x + threadIdx.x] = threadIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) {
        if (right) __threadfence();
        last = atomicAdd(ticket, 1) == static_cast<int>(gridDim.x) - 1;
        if (right) __threadfence();
    }
    __syncthreads();
    if (last && threadIdx.x == 7) {
        int total = 0;
        for (unsigned i = 0; i < gridDim.x * blockDim.x; i++) total += parts[i];
        *sum = total;
    }
}

// The last block to come clears the ticket: an atomic store does not race with the others' atomics, a plain one does.
extern "C" __global__ void ticket_race(int* ticket, int right) {
    if (threadIdx.x == 0 && atomicAdd(ticket, 1) == static_cast<int>(gridDim.x) - 1) {
        if (right)
            atomicExch(ticket, 0);
        else
            *ticket = 0;
    }
}

// --- Accesses out of bounds

extern "C" __global__ void write_global(int* values, int* other, int at) {
    values[at] = 1;
    other[0] = 2;
}
extern "C" __global__ void read_global(const int* values, int* out, int at) { out[0] = values[at]; }
extern "C" __global__ void atomic_global(int* values, int at) { atomicAdd(&values[at], 1); }

struct Parts {
    int first[8];
    int second[8];
};
extern "C" __global__ void write_member(int* out, int at) {
    __shared__ Parts parts;
    parts.second[threadIdx.x] = 5;
    parts.first[at] = 1;
    out[threadIdx.x] = parts.second[threadIdx.x];
}
extern "C" __global__ void write_shared(int* out, int at) {  // through a pointer: no array to compare with
    __shared__ int tile[64];
    int* pointer = tile;
    asm volatile("" : "+r"(pointer));  // g++ no longer knows where it points
    pointer[at] = 1;
    out[0] = pointer[at];
}
extern "C" __global__ void write_dynamic(int at) {
    SIMT_DYNAMIC_SHARED(int, tile);
    tile[at] = 1;
}
extern "C" __global__ void local_array(int* out, int at) {
    int registers[4] = {1, 2, 3, 4};
    registers[at] = 5;
    out[0] = registers[0] + registers[1] + registers[2] + registers[3];
}
extern "C" __global__ void misaligned(float* values, int at) {
    *reinterpret_cast<float2*>(values + at) = make_float2(1.0f, 2.0f);
}
extern "C" __global__ void other_threads_local(int* out) {
    __shared__ int* shared;
    int mine = 3;
    if (threadIdx.x == 0) shared = &mine;
    __syncthreads();
    out[threadIdx.x] = *shared;
    __syncthreads();
}
extern "C" __global__ void surface_bounds(cudaSurfaceObject_t surface, int x, int y) {
    surf2Dwrite(make_uchar4(1, 2, 3, 4), surface, x, y);
}

// --- Shared memory that nobody wrote

extern "C" __global__ void uninitialised(float* out, int right) {
    __shared__ float sums[32];
    if (right) sums[threadIdx.x] = 0.0f;
    sums[threadIdx.x] += 1.0f;
    out[threadIdx.x] = sums[threadIdx.x];
}
extern "C" __global__ void from_last_block(int* out) {
    __shared__ int value;
    if (blockIdx.x == 0) value = 7;
    out[blockIdx.x] = value;
}

// --- Asynchronous copies

// `how`: 0 right, 1 no wait, 2 no barrier, 3 no commit, 4 from a misaligned address
extern "C" __global__ void copies(const float* values, float* out, int how) {
    __shared__ alignas(16) float tile[132];
    simt::cp_async_16(&tile[4 * threadIdx.x], &values[4 * threadIdx.x + (how == 4)]);
    if (how != 3) simt::cp_async_commit();
    if (how != 1) simt::cp_async_wait<0>();
    if (how != 2) __syncthreads();
    out[threadIdx.x] = tile[127 - threadIdx.x];
}

// --- Deadlocks

extern "C" __global__ void half_a_barrier(int* out) {
    if (threadIdx.x < 40) {
        __syncthreads();
        out[0] = 1;
    }
}
extern "C" __global__ void two_operations(int* out) {
    if (threadIdx.x < 16)
        out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
    else
        out[threadIdx.x] = __ballot_sync(0xffffffffu, 1);
}
extern "C" __global__ void barrier_and_warp(int* out) {
    if (threadIdx.x == 3) __syncthreads();
    __syncwarp();
    out[threadIdx.x] = 1;
}
extern "C" __global__ void two_masks(int* out) {
    out[threadIdx.x] = __any_sync(threadIdx.x < 16 ? 0xffffffffu : 0xffff0000u, 1);
}
extern "C" __global__ void not_in_the_mask(int* out) { out[threadIdx.x] = __any_sync(0x0000ffffu, 1); }
extern "C" __global__ void lane_out_of_mask(int* out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1, 20);
}
extern "C" __global__ void half_a_product(float* out) {
    float d[4] = {};
    const unsigned a[2] = {}, b = 0;
    if (threadIdx.x != 9) simt::mma_m16n8k8(d, a, b);
    out[threadIdx.x] = d[0];
}
extern "C" __global__ void gives_up() {
    if (threadIdx.x == 2) __trap();
}
