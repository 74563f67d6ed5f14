// What the kernels get: plain structures, filled by kernels/cuda/scene.py (the layouts there must match).
#pragma once

#include "device.cuh"

namespace knf {

constexpr int HIDDEN = 32;

// A cell of the network grid that has a network; 64 bytes.
struct Cell {
    float tight_min[3];  // box of its occupied voxels (ESS) or the whole cell
    float tight_max[3];
    float minimum[3];  // lower corner
    int first_voxel[3];
    int network;
    int first_word;   // its voxels' bits
    int near_border;  // the margin of the "inside the box" test may cut it
    int reserved;
};
static_assert(sizeof(Cell) == 64, "as CELL in kernels/cuda/scene.py");

// Constants of the scene and of one frame; passed by value.
struct Frame {
    float origin[3];
    float rotation[9];  // row-major
    float fx, fy, cx, cy;
    float near, step, last;
    float ert_threshold;  // negative: rays never end early
    float background[3];
    float box_min[3];
    float box_max[3];
    float inside_min[3];
    float inside_max[3];
    float inverse_voxel[3];
    float local_scale[3];
    int factor[3];
    int width, height;
    int num_cells;
    int ess;
};

struct Sample {
    float x, y, z;  // local coordinates; then red, green, blue
    float w;  // the ray's number (as a value: its bits would be denormal, which CuPy's -ftz flushes); then density
};

}  // namespace knf
