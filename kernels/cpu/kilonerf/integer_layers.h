// What networks in 8 and in 16 bits share: a block of sums, one 32-bit lane per sample, and their way back to float32.
#pragma once

#include "cpu/march/scene.h"
#include "cpu/simd/vectors.h"

namespace knf::KNF_PATH {

constexpr int BLOCK = 4;    // outputs whose sums stay in registers; in 8 bits a quad of the next layer's inputs
constexpr int VECTORS = 2;  // of samples at once, where there are so many

template <int OUT, int V>
KNF_INLINE void start_sums(const int32_t* bias, ints (&sum)[OUT][V]) {
#pragma GCC unroll 4
    for (int o = 0; o < OUT; o++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) sum[o][v] = bias ? splat(bias[o]) : ints{};
}

// From the sums of outputs that are not hidden units to numbers.
struct OutputSteps {
    float density_step, density_bias;
    float color_step[3], color_bias[3];
};

template <int V>
KNF_INLINE void store_outputs(const OutputSteps& steps, const ints (&density)[V], const ints (&color)[3][V],
                              Workspace& work, int first) {
    for (int v = 0; v < V; v++) {
        const floats raw = to_floats(density[v]) * steps.density_step + steps.density_bias;
        store(work.density + first + v * W, max(raw, floats{}));
        for (int channel = 0; channel < 3; channel++) {
            const floats x = to_floats(color[channel][v]) * steps.color_step[channel] + steps.color_bias[channel];
            store(work.rgb[channel] + first + v * W, 1.0f / (1.0f + exp(-x)));
        }
    }
}

template <int V>
struct Vectors {
    static constexpr int number = V;
};

// Calls action(Vectors, first) until `count` samples are done, of whole vectors.
template <class Action>
KNF_INLINE void in_blocks(int count, const Action& action) {
    int first = 0;
    for (; count - first > W; first += VECTORS * W) action(Vectors<VECTORS>{}, first);
    if (count > first) action(Vectors<1>{}, first);
}

}  // namespace knf::KNF_PATH
