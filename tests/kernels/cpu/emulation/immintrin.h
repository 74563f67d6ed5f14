// Stands before the compiler's own header on the include path: the renderer's code for processors that the test's
// machine is not is compiled for AVX2, with -D__AVX512F__, -D__AVXVNNI__ ... saying which code. Vectors of 512 bits
// then become pairs of AVX2's; the few intrinsics that the renderer calls are written out here in plain C++.
#pragma once

#if defined(__AVX512F__)
#include "avx512.h"
#if defined(__AMX_TILE__)
#include "amx.h"
#endif
#elif defined(__AVXVNNI__)
#undef __AVXVNNI__  // the compiler's header must take AVX-VNNI for absent, as it is
#include_next <immintrin.h>
#define __AVXVNNI__ 1
#include "avx_vnni.h"
#else
#error "only for emulated code paths"
#endif
