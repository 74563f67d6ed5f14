// What the kernels get: plain structures, filled by kernels/cuda/scene.py (the layouts there must match).
#pragma once

#include "device.cuh"
#include "grid.h"
#include "network_rows.h"

namespace knf {

// Constants of the scene and of one frame; passed by value.
struct FrameSetup {
    Grid grid;
    SampleSteps steps;
    float origin[3];
    float rotation[9];  // row-major
    float fx, fy, cx, cy;
    float ert_threshold;  // negative: rays never end early
    float background[3];
    int width, height;
    int num_cells;
    int ess;
    int first_tile, end_tile;  // those of this launch, row by row
};
static_assert(sizeof(FrameSetup) == 236, "as FRAME_SETUP in kernels/cuda/scene.py");

struct Sample {
    float x, y, z;  // local coordinates; then red, green, blue
    float w;  // the ray's number (as a value: its bits would be denormal, which CuPy's -ftz flushes); then density
};

}  // namespace knf
