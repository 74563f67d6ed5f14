// One layer in single precision and the encodings, one vector lane per sample. Included by translation units that
// are compiled once per instruction set, with fused multiply-add.
#pragma once

#include "cpu/march/scene.h"
#include "cpu/simd/vectors.h"

#define KNF_SHARED static inline __attribute__((always_inline))
#include "sampling_rule.h"

namespace knf::KNF_PATH {

// y = x * weights + bias, rectified if RELU. x: [IN][V], y: [OUT][V], weights: [IN][OUT].
template <int IN, int OUT, int BLOCK, int V, bool RELU>
KNF_INLINE void dense(const float* __restrict weights, const float* __restrict bias, const floats* __restrict x,
                      floats* __restrict y) {
    static_assert(OUT % BLOCK == 0);
    for (int block = 0; block < OUT; block += BLOCK) {
        floats sum[BLOCK][V];
#pragma GCC unroll 8
        for (int o = 0; o < BLOCK; o++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) sum[o][v] = splat(bias[block + o]);
        for (int i = 0; i < IN; i++) {
            const float* row = weights + i * OUT + block;
            floats input[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) input[v] = x[i * V + v];
#pragma GCC unroll 8
            for (int o = 0; o < BLOCK; o++)
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) sum[o][v] += row[o] * input[v];
        }
#pragma GCC unroll 8
        for (int o = 0; o < BLOCK; o++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) y[(block + o) * V + v] = RELU ? max(sum[o][v], floats{}) : sum[o][v];
    }
}

// Sine and cosine for |x| < 1000: reduction by multiples of pi/2 in three parts, then polynomials (Cephes).
KNF_INLINE void sincos(floats x, floats& s, floats& c) {
    const float magic = 12582912.0f;
    floats n = x * 0.636619772f + magic;
    n -= magic;
    floats r = x - n * 1.5703125f;
    r = r - n * 4.837512969970703125e-4f;
    r = r - n * 7.549789948768648e-8f;
    const floats r2 = r * r;
    floats ps = splat(-1.9515295891e-4f);
    ps = ps * r2 + 8.3321608736e-3f;
    ps = ps * r2 - 1.6666654611e-1f;
    ps = ps * (r2 * r) + r;
    floats pc = splat(2.443315711809948e-5f);
    pc = pc * r2 - 1.388731625493765e-3f;
    pc = pc * r2 + 4.166664568298827e-2f;
    pc = pc * (r2 * r2) + (1.0f - 0.5f * r2);
    const ints quadrant = truncate(n);
    const ints swap = (quadrant & 1) != 0;
    s = swap ? pc : ps;
    c = swap ? ps : pc;
    s = (quadrant & 2) != 0 ? -s : s;
    c = ((quadrant + 1) & 2) != 0 ? -c : c;
}

// Sine and cosine for |v| <= 1.
KNF_INLINE void first_angle(floats v, floats& s, floats& c) {
    const floats v2 = v * v;
    s = splat(2.7557319e-6f);
    s = s * v2 - 1.9841270e-4f;
    s = s * v2 + 8.3333333e-3f;
    s = s * v2 - 1.6666667e-1f;
    s = s * (v2 * v) + v;
    c = splat(-2.7557319e-7f);
    c = c * v2 + 2.4801587e-5f;
    c = c * v2 - 1.3888889e-3f;
    c = c * v2 + 4.1666667e-2f;
    c = c * v2 - 0.5f;
    c = c * v2 + 1.0f;
}

// Rows of the encoding of one scalar channel: v, cos(2^f v), sin(2^f v). Angles are doubled from an accurate start
// at every `RESTART`-th frequency, which keeps the error below 3e-6.
template <int FREQUENCIES, int V>
KNF_INLINE void encode(floats value, floats* rows) {
    constexpr int RESTART = 5;
    rows[0] = value;
    floats s = value, c = value;
    for (int f = 0; f < FREQUENCIES; f++) {
        if (f % RESTART == 0) {
            sincos(value * static_cast<float>(1 << f), s, c);
        } else {
            const floats doubled = 2.0f * s * c;
            c = 1.0f - 2.0f * s * s;
            s = doubled;
        }
        rows[(1 + f) * V] = c;
        rows[(1 + FREQUENCIES + f) * V] = s;
    }
}

}  // namespace knf::KNF_PATH
