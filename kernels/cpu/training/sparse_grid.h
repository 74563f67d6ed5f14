// A sparse voxel field for training (kilonerf.trainer.ops.sparse_grid): what its translation units share. Plain data,
// as in train.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace knf::train {

// A vertex: colour [3][GRID_BASIS], raw density, zeros.
constexpr int GRID_ROW = 32;
constexpr int GRID_BASIS = 9;
constexpr int GRID_DENSITY = 3 * GRID_BASIS;
constexpr int GRID_USED = GRID_DENSITY + 1;
constexpr float GRID_DENSITY_SCALE = 50;

struct Grid {
    int resolution[3];     // voxels
    const int32_t* slots;  // [gx][gy][gz], a voxel's number among the active ones, or -1
    const int32_t*
        corners;        // [active][4], its vertices (0,0,0), (0,1,0), (1,0,0), (1,1,0); the next row is one up in z
    const float* rows;  // [vertices][GRID_ROW]
};

// Where a sample lies.
struct Located {
    int32_t corner[4];   // as in Grid; corner[0] is -1 outside of active voxels
    float fraction[3];   // within the voxel
    uint16_t column[2];  // the voxel's place along x and y
};

struct GridSamples {
    const float* points;      // [S][3], -1 to 1
    const float* directions;  // [S][3], unit vectors; those of one ray follow each other
};

struct GridOutputs {
    float* rgb;        // [S][3]
    float* density;    // [S]
    Located* located;  // [S]
};

// What is left of a forward pass for its backward pass.
struct GridKept {
    int64_t count;
    const float* directions;
    const float* rgb;
    const float* density;
    const Located* located;
};

// A gradient that grows over several backward passes; a row counts only where `touched` is not 0.
struct GridGradient {
    float* rows;       // [vertices][GRID_ROW]
    uint8_t* touched;  // [vertices]
};

// As AdamStep (train.h), with a rate for each place of a row.
struct GridAdamStep {
    float beta1, beta2;
    float one_minus_beta1, one_minus_beta2;
    float epsilon;
    float second_scale;
    float rate[GRID_ROW];
};

// The code of one instruction set. Ranges are begin <= i < end.
struct GridPath {
    const char* name;
    void (*forward)(const Grid& grid, const GridSamples& samples, int64_t begin, int64_t end, const GridOutputs& out);
    // Gradients before the activations, [S][4]: red, green, blue, density.
    void (*activations)(const GridKept& kept, const float* d_rgb, const float* d_density, int64_t begin, int64_t end,
                        float* d_raw);
    // Adds all samples, in their order, to the vertices that `owner` of `owners` owns.
    void (*scatter)(const GridKept& kept, const float* d_raw, int owner, int owners, const GridGradient& gradient);
    // Gradients of the samples' places within their voxels, [S][3]; `d_raw` is what `activations` gave.
    void (*places)(const float* rows, const GridKept& kept, const float* d_raw, int64_t begin, int64_t end,
                   float* d_places);
    // Steps the touched rows and forgets their gradients.
    void (*adam)(const GridAdamStep& step, const GridGradient& gradient, int64_t begin, int64_t end, float* rows,
                 float* first, float* second);
    // Adds weight * (sum over neighbours u of v - u) to touched rows. neighbours: [vertices][6], -1: none.
    void (*smooth)(const float* rows, const int32_t* neighbours, const float* weights, int64_t begin, int64_t end,
                   const GridGradient& gradient);
};

}  // namespace knf::train

namespace knf {
namespace avx512 {
extern const train::GridPath grid_path;
}
namespace avx2 {
extern const train::GridPath grid_path;
}
namespace baseline {
extern const train::GridPath grid_path;
}
}  // namespace knf
