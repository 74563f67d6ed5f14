// What the kernels get: plain structures, filled by kernels/cuda/scene.py (the layouts there must match).
#pragma once

#include "device.cuh"
#include "grid.h"
#include "network_rows.h"
#include "sky.h"

namespace knf {

constexpr int THREADS = 256;     // of a block, as in kernels/cuda/queries.py
constexpr int LEAF_WORDS = 128;  // of a cell's voxels that fit into shared memory: 16x16x16 bits
constexpr int MAX_GROUPS = 512;  // of cells, as in kernels/cuda/groups.py

// A cell in the order of visits, and the group that it belongs to.
struct Place {
    int cell, group;
};

// One of the nested boxes of a scene: a cell of it takes every 2^l-th sample of a ray.
struct Level {
    Grid grid;
    SampleSteps steps;
};

// How many the kernels of this compilation can have: 1 for bounded scenes, which then pay nothing for the others.
#ifdef KNF_NESTED
constexpr int LEVELS = MAX_LEVELS;
#else
constexpr int LEVELS = 1;
#endif

struct Box {
    float min[3], max[3];
};

// Constants of the scene and of one frame; passed by value.
struct FrameSetup {
    Level levels[LEVELS];
    float origin[3];
    float rotation[9];  // row-major
    float fx, fy, cx, cy;
    float ert_threshold;  // negative: rays never end early
    float background[3];
    float slack[3];  // boxes are widened by this before rays and tiles are clipped to them (box_slack)
    int width, height;
    int num_cells, num_groups;
    int ess;
    int leaf_words;            // words of a cell's voxels, a multiple of 4; 0 if they are more than LEAF_WORDS
    int first_tile, end_tile;  // those of this launch, row by row
    int seen_tiles[4];         // first column and row, end column and row: no ray of the others meets anything
#ifdef KNF_NESTED
    float sky[3 * SKY_COEFFICIENTS];
    int shows_sky;  // behind the scene instead of the background
#endif
};
static_assert(sizeof(FrameSetup) == 140 + LEVELS * 132 + (LEVELS > 1 ? 196 : 0), "as kernels/cuda/frame_setup.py");

KNF_DEVICE const Level& level_of(const FrameSetup& frame, const Cell& cell) {
    return frame.levels[LEVELS == 1 ? 0 : cell.level];
}

struct alignas(16) Sample {
    float x, y, z;  // place in the cell or in the voxel, as the evaluator wants it; then red, green, blue
    float w;        // the ray, see ray_bits; then density
};

// A ray's number as a float and back, and with it a voxel's bit within its cell: as bits of their own they would be
// denormal, which CuPy's -ftz flushes, and as a value they would have to be converted.
KNF_DEVICE float ray_bits(int ray, int voxel = 0) { return __int_as_float(0x4b000000 | voxel << 8 | ray); }
KNF_DEVICE int ray_of(float bits) { return __float_as_int(bits) & 0xff; }
KNF_DEVICE int voxel_of(float bits) { return (__float_as_int(bits) & 0xfffff) >> 8; }

}  // namespace knf
