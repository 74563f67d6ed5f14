// An octree field in training (kilonerf.trainer.ops.octree): what its translation units share. Plain data, as in
// training.h. Its levels are added up before (kernels/native/expansion.py): samples see one grid.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/octree/field.h"

namespace knf::train {

struct FieldGrid {
    int resolution;          // voxels on each axis
    const int32_t* slots;    // [resolution]^3, a voxel's number, or -1
    const int32_t* corners;  // [voxels][4], as in OctreeField
    const float* rows;       // [corners][FIELD_FEATURES]
};

struct FieldDecoder {
    const float* w_features;  // [FIELD_FEATURES][FIELD_HIDDEN]
    const float* w_hidden;    // the same, [FIELD_HIDDEN][FIELD_FEATURES]
    const float* w_output;    // [4][FIELD_HIDDEN]
    const float* b_output;    // [4]
};

// Where a sample lies.
struct FieldPlace {
    int32_t slot;        // -1: in no voxel
    float fraction[3];   // within the voxel
    uint16_t column[2];  // the voxel's place along x and y
};

struct FieldSamples {
    const float* points;    // [S][3], -1 to 1 over the grid
    const int32_t* rays;    // [S]; samples of one ray follow each other
    const float* ray_part;  // [R][FIELD_HIDDEN], what the ray adds to the hidden layer
};

// What a forward pass leaves.
struct FieldOutputs {
    float* raw;          // [S][4], before the activations; 0 in no voxel
    float* features;     // [S][FIELD_FEATURES]
    FieldPlace* places;  // [S]
};

// Gradients of some samples' rays and of the decoder; everything is added to.
struct FieldGradients {
    float* features;    // [S][FIELD_FEATURES]; set, not added to
    float* ray_part;    // [R][FIELD_HIDDEN]
    float* w_features;  // [FIELD_FEATURES][FIELD_HIDDEN]
    float* w_output;    // [4][FIELD_HIDDEN]
    float* b_output;    // [4]
};

// Learning codes: see `learn_codes` in trainer/ops/octree.py.
struct CodeStep {
    int codes;              // 2^bits
    const float* codebook;  // [codes][FIELD_FEATURES]
    float beta1, beta2;
    float one_minus_beta1, one_minus_beta2;
    float epsilon;
    float rate;          // learning rate / (1 - beta1^t)
    float second_scale;  // 1 / sqrt(1 - beta2^t)
};

// The code of one instruction set. Ranges are begin <= i < end.
struct FieldPath {
    const char* name;
    void (*forward)(const FieldGrid& grid, const FieldDecoder& decoder, const FieldSamples& samples, int64_t begin,
                    int64_t end, const FieldOutputs& out);
    void (*backward)(const FieldDecoder& decoder, const FieldSamples& samples, const FieldOutputs& kept,
                     const float* d_raw, int64_t begin, int64_t end, const FieldGradients& gradients);
    // Adds the features' gradients of all samples, in their order, to the corners that `owner` of `owners` owns.
    void (*scatter)(const int32_t* corners, const FieldPlace* places, const float* d_features, int64_t count, int owner,
                    int owners, float* d_rows);
    // out[i] = own[i] + sum over n of weights[n] * in[columns[n]], offsets[i] <= n < offsets[i + 1]; own may be null.
    void (*product)(const int32_t* offsets, const int32_t* columns, const float* weights, const float* in,
                    const float* own, int64_t begin, int64_t end, float* out);
    // Steps the logits [corners][codes] of corners whose gradient [corners][FIELD_FEATURES] is not zero.
    void (*codes)(const CodeStep& step, const float* gradient, int64_t begin, int64_t end, float* logits, float* first,
                  float* second, uint8_t* chosen);
};

}  // namespace knf::train

namespace knf {
namespace avx512 {
extern const train::FieldPath field_path;
}
namespace avx2 {
extern const train::FieldPath field_path;
}
namespace baseline {
extern const train::FieldPath field_path;
}
}  // namespace knf
