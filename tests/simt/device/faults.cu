// Kernels that are wrong on purpose, each in one way, and beside it the right one where that is not obvious.
#include "simt_host.h"

extern "C" __global__ void reverse(float* values, int with_barrier) {
    __shared__ float tile[64];
    tile[threadIdx.x] = values[threadIdx.x];
    if (with_barrier) __syncthreads();
    values[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}
