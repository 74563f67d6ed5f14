// Training of the tiny networks: what its translation units share. Plain data, as in scene.h: these types cross the
// border between translation units that are compiled for different instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "network_rows.h"

namespace knf::train {

// Samples in any order, and the order that brings those of one network together.
struct Samples {
    const float* points;      // [S][3], within the network's cell
    const float* directions;  // [S][3], unit vectors
    const int32_t* order;     // [S]; null: they lie together already
    bool rectified;           // whether the density has its ReLU
    int frequencies;  // of a position that have weight, 1 to POSITION_FREQUENCIES: others' weights and gradients
                      // are zero, and are not looked at
};

struct Outputs {
    float* rgb;      // [S][3], after the sigmoid
    float* density;  // [S]
};

struct OutputGradients {
    const float* rgb;      // [S][3]
    const float* density;  // [S]
};

// Some samples of one network: begin <= i < end of Samples::order.
struct Item {
    int32_t network;
    int64_t begin, end;
};

// One step of Adam (Kingma and Ba 2015, algorithm 1) with the corrections of its step already in the rates:
// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p -= rate m / (sqrt(v) * second_scale + epsilon).
struct AdamStep {
    float beta1, beta2;
    float one_minus_beta1,
        one_minus_beta2;  // rounded from float64: 1 - beta2 in float32 would be off by 3e-5 of itself
    float epsilon;
    float rate;          // learning rate / (1 - beta1^t)
    float second_scale;  // 1 / sqrt(1 - beta2^t)
    const float* decay;  // [ROW]: g += decay * p; null: none
};

// The code of one instruction set.
struct Path {
    const char* name;
    size_t workspace;  // bytes that each thread needs, aligned to 64
    void (*forward)(const float* parameters, const Samples& samples, const Item& item, void* workspace,
                    const Outputs& outputs);
    // Sets `gradient`, [ROW], to that of the item's samples. Activations are computed again.
    void (*backward)(const float* parameters, const Samples& samples, const Item& item, void* workspace,
                     const OutputGradients& gradients, float* gradient);
    void (*add)(const float* from, float* to);  // rows
    void (*adam)(const AdamStep& step, const float* gradient, float* parameters, float* first, float* second);
};

}  // namespace knf::train

namespace knf {
namespace avx512 {
extern const train::Path train_path;
}
namespace avx2 {
extern const train::Path train_path;
}
namespace baseline {
extern const train::Path train_path;
}
}  // namespace knf
