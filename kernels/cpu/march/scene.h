// What the renderer keeps of a scene, and what one frame needs. Plain data: these types cross the border between
// translation units that are compiled for different instruction sets, so nothing here may bring inline code of
// the standard library along (the linker would keep one copy, perhaps one the machine cannot run).
#pragma once

#include <cstddef>
#include <cstdint>

#include "grid.h"
#include "network_rows.h"

namespace knf {

// One tiny network. Weights are [in][out]. The feature layer has no activation, so it is folded into the
// feature rows of the direction layer when the scene is loaded (kernels/native/folding.py).
struct alignas(64) Network {
    float w0[POSITION_CHANNELS * HIDDEN];
    float w1[HIDDEN * HIDDEN];
    float w_direction[JOINED * HIDDEN];  // rows: hidden units of layer 1, encoded direction
    float w_color[HIDDEN * 3];
    float w_density[HIDDEN];
    float b0[HIDDEN];
    float b1[HIDDEN];
    float b_direction[HIDDEN];
    float b_color[3];
    float b_density;
};

// One level of a scene: its cells take every stride-th sample of a ray.
struct Level {
    Grid grid;
    float stride;    // 2^level
    int first_cell;  // of all cells
};

struct CodePath;

struct SceneData {
    Level levels[MAX_LEVELS];
    int num_levels;
    const Cell* cells;              // boxes around their occupied voxels, for ESS on
    const Cell* full_cells;         // the same cells with boxes of the whole cell, for ESS off
    const unsigned char* networks;  // as the code path has packed them; of an octree, its OctreeField, for all cells
    size_t network_size;            // 0 for an octree
    // Networks that another code path of the same instruction set evaluates, more precisely: rows of `finer_networks`,
    // -1 for the others. Null: there are none.
    const int* finer_rows;
    const CodePath* finer_path;
    const unsigned char* finer_networks;
    const uint32_t* occupancy;  // the cells' voxels, one bit each
    const float* sky;           // coefficients (native/sky.h); null: the scene has none
};

// Camera and options of one frame, in the single precision in which samples are defined (kernels/sampling.py).
struct FrameSetup {
    int width, height;
    float origin[3];
    float rotation[9];  // row-major
    float fx, fy, cx, cy;
    float near, step;
    float last;  // index of the last sample
    bool ess, ert;
    float ert_threshold;
    float background[3];
    bool sky;  // where the scene has one, it is behind it instead
};

struct Picture {
    float* rgb;    // [height][width][3]
    float* alpha;  // [height][width]
    float* depth;  // [height][width]
    // What each ray took, [height][width]; all three or none. Counting costs time, so only when asked for.
    int32_t* samples = nullptr;
    int32_t* network = nullptr;  // of the first sample, -1: none
    int32_t* lookups = nullptr;  // sample positions whose voxel was looked at
};

struct Counters {
    int64_t samples = 0;
    int64_t samples_of_level[MAX_LEVELS] = {};
    int64_t rays_hit = 0;
    double rays_ms = 0, march_ms = 0, networks_ms = 0, composite_ms = 0;
};

// Pixels x0 <= x < x1, y0 <= y < y1.
struct Rectangle {
    int x0, y0, x1, y1;
};

constexpr int TILE = 64;  // edge of a screen tile, pixels
constexpr int TILE_RAYS = TILE * TILE;
constexpr int MAX_LANES = 16;
constexpr int SUMS = 5;  // of weight times red, green, blue, 1 and t
constexpr int VISIT_BYTES = 4096;
constexpr int QUEUE = TILE_RAYS + 4 * MAX_LANES;  // whole vectors are written and read

// Everything one thread works on; made once, reused by every tile.
struct alignas(64) Workspace {
    // The tile's rays.
    float direction[3][TILE_RAYS];  // un-normalised
    float inverse[3][TILE_RAYS];    // 1 / direction, never infinite
    float length[TILE_RAYS];        // |direction|
    float transmittance[TILE_RAYS];
    float color[TILE_RAYS][4];  // premultiplied red, green, blue; sum of weights
    float depth[TILE_RAYS];     // sum of weight * t
    uint64_t hit[TILE];         // by rows, a bit for each ray: whether a sample was taken
    uint64_t alive[TILE];       // likewise, whether it has not ended early
    int counted[3][TILE_RAYS];  // samples, first network and lookups; left alone unless they are asked for

    // The rays that still have samples in the cell at hand, side by side: a queue that a round evaluates one sample
    // of each, and that is then compacted. Sums are of this cell.
    int ray[QUEUE];
    float first[QUEUE];  // bit j of `mask` is sample first + j
    uint32_t mask[QUEUE];
    float queue_length[QUEUE];
    float queue_direction[3][QUEUE];
    float queue_transmittance[QUEUE];
    float sums[SUMS][QUEUE];
    int leaving[QUEUE];  // places in the queue of rays that are about to leave it

    // The queue's samples of one round.
    float t[QUEUE];
    float local[3][QUEUE];  // coordinates within the cell; of octree fields, in voxels from the corner of the box
    float unit[3][QUEUE];   // unit direction; left alone by code paths that fit directions, and of octree fields
    float rgb[3][QUEUE];
    float density[QUEUE];
    alignas(64) unsigned char visit[VISIT_BYTES];  // what a code path has computed for the visit at hand

    // Of octree fields only.
    const Cell* cell;                    // at hand
    const Grid* grid;                    // its level's
    float* ray_part;                     // [TILE_RAYS][FIELD_HIDDEN], what each ray adds to the hidden layer
    unsigned char ray_known[TILE_RAYS];  // whether its part has been found
};

// A visit of one cell by the rays of one tile.
struct Visit {
    int cell;
    int level;
    Rectangle rectangle;  // pixels whose rays may meet the cell
};

// Where a network is looked at before the steps of its numbers are chosen: coordinates within its cell and unit
// directions, most of them in occupied voxels, some anywhere in the cell.
struct CellPoints {
    static constexpr int COUNT = 256;
    float local[3][COUNT];
    float unit[3][COUNT];
};

// The code of one instruction set and one precision of the networks.
struct CodePath {
    const char* name;
    const char* precision;
    bool fits_directions;
    size_t network_size;  // bytes of a packed network, a multiple of 64; 0: this is a path of octree fields
    void (*pack)(const Network& network, const CellPoints& points, void* packed);
    // Prepare for the samples of one cell within `area`, a part of the tile.
    void (*begin_visit)(const void* network, const FrameSetup& frame, const Rectangle& tile, const Rectangle& area,
                        Workspace& work);
    // Evaluate a packed network for the queue's first `count` samples, rounded up to whole vectors: local and unit
    // (or, where directions are fitted for a visit, local and ray) -> rgb and density.
    void (*evaluate)(const void* network, Workspace& work, int count);
    // Render one tile: visits are in front-to-back order.
    void (*render_tile)(const SceneData& scene, const FrameSetup& frame, const Rectangle& tile, const Visit* visits,
                        int num_visits, Workspace& work, const Picture& picture, Counters& counters);
    // What every thread does before and after work with this path; may be null.
    void (*begin_thread)() = nullptr;
    void (*end_thread)() = nullptr;
};

#define CODE_PATH(id, ...)      \
    namespace id {              \
    extern const CodePath path; \
    }
#include "cpu/march/code_paths.def"
#include "cpu/octree/code_paths.def"
#undef CODE_PATH

double now_ms();

}  // namespace knf
