// The grid of a scene as all native code reads it, on the CPU and on CUDA devices. Filled by name from
// kernels/native/grid.py, whose dtypes have the same fields in the same order.
#pragma once

namespace knf {

// Finds a point's voxel, cell and local coordinates; Cells in model_io/scene/cells.py says what each is.
struct Grid {
    float box_min[3];
    float box_max[3];
    float inside_min[3];  // a point p is inside the box if inside_min < p < inside_max on every axis
    float inside_max[3];
    float inverse_voxel[3];  // voxels per world unit
    float cell_size[3];
    float local_scale[3];  // 2 / cell_size
    int resolution[3];     // cells
    int factor[3];         // voxels per cell
    int voxel_shift[3];    // a voxel's bit within its cell: the sum of its indices, each shifted so
};
static_assert(sizeof(Grid) == 120, "as GRID in kernels/native/grid.py");

// A cell that has a network.
struct Cell {
    float clip_min[3];   // rays are clipped to this box: around its occupied voxels (ESS), or the whole cell
    float clip_max[3];   // less than clip_min if the cell is cropped away
    float minimum[3];    // the cell's corner with the least coordinates
    int first_voxel[3];  // index * factor
    int network;
    int first_word;   // its voxels, one bit each, start at this word
    int near_border;  // the margin of the test "inside the box" may cut it
    short occupied;   // any voxel; other cells are left out with ESS on
    short level;      // of the nested boxes, 0 the innermost
};
static_assert(sizeof(Cell) == 64, "as CELL in kernels/native/grid.py");

// Most nested boxes that a scene can have (model_io/scene/levels.py); a bounded scene has one.
constexpr int MAX_LEVELS = 8;

// Samples t_k = near + k * step, k = 0 .. last (SampleSteps in kernels/sampling.py).
struct SampleSteps {
    float near, step;
    float last;  // a whole number
};
static_assert(sizeof(SampleSteps) == 12, "as SAMPLE_STEPS in kernels/native/grid.py");

constexpr int BRICK = 4;  // voxels on each axis: 64, the bits of a word; how rays in training skip empty space

}  // namespace knf
