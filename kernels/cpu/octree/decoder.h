// An octree field's decoder, one vector lane per hidden unit: a sample starts from what its ray adds, which lies side
// by side in memory, and few samples have one ray in common. Included by translation units that are compiled once per
// instruction set, with fused multiply-add.
#pragma once

#include "cpu/octree/field.h"
#include "cpu/simd/vectors.h"

namespace knf::KNF_PATH {

constexpr int UNITS = FIELD_HIDDEN;
constexpr int TOGETHER = 4;  // samples: 4 x 2 sums stay in registers

// For TOGETHER samples, from start[s] [UNITS]: out[s] = start[s] + inputs[s] * weights, rectified if RELU.
// weights: [IN][UNITS], inputs: [TOGETHER][IN], out: [TOGETHER][UNITS].
template <int IN, bool RELU>
KNF_INLINE void add_layer(const float* __restrict weights, const float* const (&start)[TOGETHER],
                          const float* __restrict inputs, float* __restrict const (&out)[TOGETHER]) {
    for (int unit = 0; unit < UNITS; unit += 2 * W) {
        floats sum[TOGETHER][2];
#pragma GCC unroll 4
        for (int s = 0; s < TOGETHER; s++) {
            sum[s][0] = load(start[s] + unit);
            sum[s][1] = load(start[s] + unit + W);
        }
        for (int i = 0; i < IN; i++) {
            const floats w0 = load(weights + i * UNITS + unit), w1 = load(weights + i * UNITS + unit + W);
#pragma GCC unroll 4
            for (int s = 0; s < TOGETHER; s++) {
                const floats x = splat(inputs[s * IN + i]);
                sum[s][0] += x * w0;
                sum[s][1] += x * w1;
            }
        }
#pragma GCC unroll 4
        for (int s = 0; s < TOGETHER; s++) {
            store(out[s] + unit, RELU ? max(sum[s][0], floats{}) : sum[s][0]);
            store(out[s] + unit + W, RELU ? max(sum[s][1], floats{}) : sum[s][1]);
        }
    }
}

KNF_INLINE float lane_sum(floats v) {
    float sum = 0.0f;
    for (int i = 0; i < W; i++) sum += v[i];
    return sum;
}

// The four outputs of two samples before their activations; weights: [4][UNITS].
KNF_INLINE void output_layer(const float* __restrict weights, const float* bias, const float* __restrict first,
                             const float* __restrict second, float (&out)[2][4]) {
    floats sum[2][4] = {};
    for (int unit = 0; unit < UNITS; unit += W) {
        const floats h0 = load(first + unit), h1 = load(second + unit);
#pragma GCC unroll 4
        for (int o = 0; o < 4; o++) {
            const floats w = load(weights + o * UNITS + unit);
            sum[0][o] += h0 * w;
            sum[1][o] += h1 * w;
        }
    }
    for (int s = 0; s < 2; s++)
        for (int o = 0; o < 4; o++) out[s][o] = lane_sum(sum[s][o]) + bias[o];
}

}  // namespace knf::KNF_PATH
