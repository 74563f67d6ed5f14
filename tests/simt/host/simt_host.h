// CUDA device code on the CPU: what kernels see instead of CUDA's headers.
//
// A kernel is compiled by g++ as plain C++. Each thread of a block is a fibre that runs until it meets a barrier or a
// warp-wide operation; blocks run one after another. How that works, and what it finds, stands in ../simt_host.py.
#pragma once

#include "vector_types.h"
// The order matters: each of these uses the ones before it.
#include "half.h"
#include "intrinsics.h"
#include "warp.h"
#include "memory.h"

#ifdef KNF_SIMT_HOST
// CUDA allows `__shared__ alignas(16) T name`; after thread_local, C++ allows only the older spelling.
#define alignas(bytes) __attribute__((aligned(bytes)))
#endif
