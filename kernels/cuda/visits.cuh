// Which cells a screen tile visits: those whose boxes its pyramid may meet, front to back. Groups of neighbouring cells
// are asked first, so that of thousands of cells few are looked at.
#pragma once

#include "scene.cuh"

namespace knf {

constexpr int TILE = 16;
static_assert(TILE * TILE == THREADS, "a thread per ray");
constexpr int WARPS = THREADS / 32;
#ifndef KNF_PER_RAY
#define KNF_PER_RAY 2
#endif
constexpr int PER_RAY = KNF_PER_RAY;  // samples of a ray in one round: a ray that ends at the first wastes the others
// Cells of the order that are looked at together: fewer beside a longer queue, or the block would need over 48 KB.
constexpr int CHUNK = (PER_RAY > 2 ? 2 : 4) * THREADS;

// What was done for a tile. KNF_COUNTERS has more counted, to be compared with the model in docs/cuda.md: in each
// thread boxes that were held against the tile's pyramid (of groups, of cells) and voxels that were looked up (far: not
// in shared memory), in thread 0 what the block did together.
struct Tally {
    int evaluations = 0;
#ifdef KNF_COUNTERS
    int groups = 0, cells = 0, tiles = 0, votes = 0, visits = 0, rounds = 0, batches = 0, passes = 0;
    int lookups = 0, far = 0;
#endif
};
#ifdef KNF_COUNTERS
#define KNF_COUNT(tally, name, number) (tally).name += (number)
#else
#define KNF_COUNT(tally, name, number)
#endif

// What a tile may see.
struct View {
    float planes[4][3];                // its pyramid: inward normals of its sides
    unsigned groups[MAX_GROUPS / 32];  // a bit each
    int visits[CHUNK];                 // cells of the chunk at hand, front to back
    int warp_counts[THREADS / 32];
};

// Planes through the camera and the tile's edges, half a pixel outside its outermost rays. A point of camera axes is
// inside (1, 0, a) for the edge at slope a; normals go to the world by the cofactors of the rotation, which unlike
// products of neighbouring rays lose nothing to cancellation however narrow the tile is.
KNF_DEVICE void start_planes(const FrameSetup& frame, int tile_x, int tile_y, View& view, int thread) {
    if (thread < 4) {  // left, right, top, bottom
        const int across = thread < 2 ? 0 : 1;
        const bool end = thread % 2;
        const float edge = static_cast<float>((across ? tile_y : tile_x) + (end ? TILE : 0));
        const float slope = across ? (edge - frame.cy) / -frame.fy : (edge - frame.cx) / frame.fx;
        const bool upper = across ? !end : end;  // inside is below this slope, not above
        float sign = upper ? -1.0f : 1.0f;
        float normal[3], axis_of_edge[3], determinant = 0.0f;
        for (int axis = 0; axis < 3; axis++) {
            const float* u = frame.rotation + 3 * ((axis + 1) % 3);
            const float* v = frame.rotation + 3 * ((axis + 2) % 3);
            const int p = (across + 1) % 3, q = (across + 2) % 3;
            axis_of_edge[axis] = u[p] * v[q] - u[q] * v[p];
            normal[axis] = axis_of_edge[axis] + slope * (u[0] * v[1] - u[1] * v[0]);
            determinant += axis_of_edge[axis] * frame.rotation[3 * axis + across];
        }
        if (determinant < 0.0f) sign = -sign;
        for (int axis = 0; axis < 3; axis++) view.planes[thread][axis] = sign * normal[axis];
    }
}

// False if a box lies wholly outside one side of the tile's pyramid, as all that is behind the camera does.
KNF_DEVICE bool tile_may_see(const FrameSetup& frame, const View& view, const float (&box_min)[3],
                             const float (&box_max)[3]) {
    float low[3], high[3];
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        low[axis] = (box_min[axis] - frame.slack[axis]) - frame.origin[axis];
        high[axis] = (box_max[axis] + frame.slack[axis]) - frame.origin[axis];
    }
    bool seen = true;
#pragma unroll
    for (int side = 0; side < 4; side++) {
        const float* n = view.planes[side];
        float farthest = 0.0f;
#pragma unroll
        for (int axis = 0; axis < 3; axis++) farthest += n[axis] > 0.0f ? n[axis] * high[axis] : n[axis] * low[axis];
        seen = seen && farthest >= 0.0f;
    }
    return seen;
}

// Which groups of cells the tile may see; false if none. A barrier for the block.
KNF_DEVICE bool choose_groups(const FrameSetup& frame, const Box* groups, View& view, int thread, Tally& tally) {
    bool any = false;
    for (int begin = 0; begin < frame.num_groups; begin += THREADS) {
        const int at = begin + thread;
        KNF_COUNT(tally, groups, at < frame.num_groups);
        const bool seen = at < frame.num_groups && tile_may_see(frame, view, groups[at].min, groups[at].max);
        const unsigned lanes = __ballot_sync(0xffffffffu, seen);
        if (thread % 32 == 0) view.groups[at / 32] = lanes;
        any = any || lanes;
    }
    return __syncthreads_or(any);
}

// The cells of order[begin .. begin + CHUNK) that the tile may see, in order; returns their number. A cell is looked at
// only if the tile may see its group.
KNF_DEVICE int choose_visits(const FrameSetup& frame, const Cell* cells, const Place* order, int begin, View& view,
                             int thread, Tally& tally) {
    const int lane = thread % 32, warp = thread / 32;
    int cell[CHUNK / THREADS], count = 0;
    unsigned lanes[CHUNK / THREADS];
#pragma unroll
    for (int i = 0; i < CHUNK / THREADS; i++) {
        const int at = begin + (warp * (CHUNK / THREADS) + i) * 32 + lane;
        bool seen = false;
        if (at < frame.num_cells) {
            cell[i] = order[at].cell;
            const int group = order[at].group;
            if (view.groups[group / 32] >> group % 32 & 1u) {
                KNF_COUNT(tally, cells, 1);
                seen = tile_may_see(frame, view, cells[cell[i]].clip_min, cells[cell[i]].clip_max);
            }
        }
        lanes[i] = __ballot_sync(0xffffffffu, seen);
        count += __popc(lanes[i]);
    }
    if (lane == 0) view.warp_counts[warp] = count;
    __syncthreads();
    int slot = 0, total = 0;
    for (int other = 0; other < THREADS / 32; other++) {
        if (other < warp) slot += view.warp_counts[other];
        total += view.warp_counts[other];
    }
#pragma unroll
    for (int i = 0; i < CHUNK / THREADS; i++) {
        if (lanes[i] >> lane & 1u) view.visits[slot + __popc(lanes[i] & ((1u << lane) - 1u))] = cell[i];
        slot += __popc(lanes[i]);
    }
    __syncthreads();
    return total;
}

}  // namespace knf
