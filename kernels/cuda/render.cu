// The whole frame in one launch: persistent blocks take screen tiles of 16x16 rays, a thread each; a tile's cells are
// visited front to back; in each cell rays emit samples into a queue in shared memory, the cell's one network (or
// the octree field's one decoder) evaluates the queue, and each ray composites its own samples in registers
// (docs/cuda.md).
//
// Compiled with --fmad=false: which samples count is decided by native/sampling_rule.h, equally in every backend.
#include "device.cuh"
#ifdef KNF_OCTREE
#include "octree/evaluator.cuh"
#else
#include "kilonerf/evaluator.cuh"
#endif
#include "sampling_rule.h"
#include "scene.cuh"
#include "visits.cuh"

namespace knf {

constexpr int AHEAD = 8;   // visits whose boxes are looked at together
constexpr int BATCH = 16;  // samples that a warp evaluates at once on tensor cores; counted so in float32 too
constexpr int COUNTERS = 13 + MAX_LEVELS;  // of a frame
constexpr float OPAQUE = 0.5f;             // as in kernels/frame.py

// What a frame leaves behind; null pointers are left out.
struct Output {
    float* rgb;    // [height][width][3]
    float* alpha;  // [height][width]
    float* depth;  // [height][width], z-depth, infinity where alpha is 0
    int* samples;  // [height][width]
    int* network;  // [height][width], of the first sample, -1 for none
    float4* rgbz;  // [height][width], the window's texture: rgb; depth where alpha >= OPAQUE, else inf
    // Two rows of COUNTERS. The first is at work, and zero before and after a frame; the second is the last frame's:
    // samples, evaluations, rays hit; with KNF_COUNTERS those of Tally; evaluations by level, if there are several.
    unsigned long long* counters;
    int* next_tile;  // [0] the next tile, [1] blocks that are done; zero before and after a launch
};

// The scene in the device's memory.
struct SceneArrays {
    const Cell* cells;
    const Place* order;  // [frame.num_cells], front to back
    const Box* groups;   // [frame.num_groups]
    const unsigned* occupancy;
    Evaluator::Arrays field;
};

// A cell that is, or is about to be, visited.
struct Stage {
    alignas(16) Evaluator::CellData data;
    alignas(16) Cell cell;
    alignas(16) unsigned voxels[LEAF_WORDS];  // frame.leaf_words of them
};

struct Block {
    Stage stage[Evaluator::STAGES];
    Sample queue[THREADS * PER_RAY];
    float4 unit[THREADS];  // the rays' unit directions
    View view;
    unsigned votes[2][WARPS];  // in turns: one may still be read when the next is written
    int tile;
    int queued;
    Evaluator::BlockData data;
};

struct Ray {
    float direction[3], inverse[3];
    float length;
    float transmittance;
    float red, green, blue, weight, depth;
    int samples, network;
    bool alive;
};

KNF_DEVICE float clip_to_box(const FrameSetup& frame, const Cell& cell, const Ray& ray, float& leave) {
    float enter = -1e30f;
    leave = 1e30f;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        const float t0 = ((cell.clip_min[axis] - frame.slack[axis]) - frame.origin[axis]) * ray.inverse[axis];
        const float t1 = ((cell.clip_max[axis] + frame.slack[axis]) - frame.origin[axis]) * ray.inverse[axis];
        enter = fmaxf(enter, fminf(t0, t1));
        leave = fminf(leave, fmaxf(t0, t1));
    }
    return enter;
}

// Sample indices of the ray that may lie in the cell: first .. last.
KNF_DEVICE void index_range(const FrameSetup& frame, const Cell& cell, const Ray& ray, float& first, float& last) {
    float leave;
    float enter = clip_to_box(frame, cell, ray, leave);
    const SampleSteps& steps = level_of(frame, cell).steps;
    const float inverse_step = 1.0f / steps.step;
    const float offset = steps.near * inverse_step;
    enter = fminf(fmaxf(enter * inverse_step - offset, 0.0f), 2e7f);
    leave = fminf(fmaxf(leave * inverse_step - offset, -1.0f), 2e7f);
    first = fmaxf(ceilf(enter - index_slack(enter + offset)), 0.0f);
    last = fminf(floorf(leave + index_slack(leave + offset)), steps.last);
}

// Whether a sample counts; if so, its place in the cell or in its voxel, and the voxel's bit.
KNF_DEVICE bool sample_counts(const FrameSetup& frame, const Stage& stage, const unsigned* occupancy, const Ray& ray,
                              float index, float (&local)[3], unsigned& voxel, Tally& tally) {
    const Cell& cell = stage.cell;
    const Level& level = level_of(frame, cell);
    const Grid& grid = level.grid;
    const float t = sample_depth(index, level.steps.near, level.steps.step);
    bool counts = true;
    voxel = 0;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        const float p = sample_position(frame.origin[axis], t, ray.direction[axis]);
        if (cell.near_border) counts = counts && p > grid.inside_min[axis] && p < grid.inside_max[axis];
        const float voxels = voxel_coordinate(p, grid.box_min[axis], grid.inverse_voxel[axis]);
        const int whole = static_cast<int>(voxels), v = whole - cell.first_voxel[axis];
        counts = counts && v >= 0 && v < grid.factor[axis];
        voxel |= static_cast<unsigned>(v) << grid.voxel_shift[axis];
        local[axis] = Evaluator::IN_VOXELS ? voxels - static_cast<float>(whole)
                                           : local_coordinate(p, cell.minimum[axis], grid.local_scale[axis]);
    }
    if (counts && frame.ess) {
        const unsigned at = voxel >> 5;
        KNF_COUNT(tally, lookups, 1);
        KNF_COUNT(tally, far, !frame.leaf_words);
        counts = (frame.leaf_words ? stage.voxels[at] : occupancy[cell.first_word + at]) >> (voxel & 31) & 1u;
    }
    return counts;
}

KNF_DEVICE Ray start_ray(const FrameSetup& frame, int x, int y) {
    Ray ray = {};
    const float a = pixel_slope(static_cast<float>(x), frame.cx, frame.fx);
    const float b = -pixel_slope(static_cast<float>(y), frame.cy, frame.fy);
    float squares = 0.0f;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        const float d = ray_component(frame.rotation + 3 * axis, a, b);
        ray.direction[axis] = d;
        ray.inverse[axis] = 1.0f / (fabsf(d) < 1e-12f ? copysignf(1e-12f, d) : d);
        squares = squares + d * d;
    }
    ray.transmittance = 1.0f;
    ray.network = -1;
    ray.length = sqrtf(squares);
    ray.alive = x < frame.width && y < frame.height;
    return ray;
}

// The next visit after `visit` whose box a living ray meets, or `visits`. At least one barrier for the block.
//
// Boxes are looked at AHEAD at a time, once for each ray: bits of `ahead` say which ones this ray meets. Its next bit
// is the row in which the block's warps vote next; the other may still be read.
KNF_DEVICE int next_visit(const FrameSetup& frame, const Cell* cells, Block& block, const Ray& ray, unsigned& ahead,
                          int visit, int visits, Tally& tally) {
    constexpr unsigned TURN = 1u << AHEAD;
    if (++visit >= visits) __syncthreads();
    for (; visit < visits; visit = visit / AHEAD * AHEAD + AHEAD) {
        if (visit % AHEAD == 0) {
            ahead &= TURN;
            for (int i = 0; i < AHEAD && visit + i < visits; i++) {
                float first = 1.0f, last = 0.0f;
                if (ray.alive) index_range(frame, cells[block.view.visits[visit + i]], ray, first, last);
                ahead |= static_cast<unsigned>(first <= last) << i;
            }
        }
        KNF_COUNT(tally, votes, threadIdx.x == 0);
        unsigned (&votes)[WARPS] = block.votes[ahead / TURN];
        const unsigned of_warp = warp_or(ray.alive ? ahead % TURN >> visit % AHEAD : 0u);
        if (threadIdx.x % 32 == 0) votes[threadIdx.x / 32] = of_warp;
        ahead ^= TURN;
        __syncthreads();
        unsigned any = 0;
#pragma unroll
        for (int warp = 0; warp < WARPS; warp++) any |= votes[warp];
        if (any) return visit + __ffs(static_cast<int>(any)) - 1;
    }
    return visits;
}

// All samples of the tile's rays in one cell, which lies in shared memory.
KNF_DEVICE void visit_cell(const FrameSetup& frame, const Stage& stage, const SceneArrays& scene, const Output& output,
                           Block& block, Ray& ray, int thread, Tally& tally) {
    const Cell& cell = stage.cell;
    KNF_COUNT(tally, visits, thread == 0);
    const SampleSteps& steps = level_of(frame, cell).steps;
    float index = 1.0f, last = 0.0f;
    if (ray.alive) index_range(frame, cell, ray, index, last);
    for (;;) {
        Sample found[PER_RAY];
        float depths[PER_RAY];
        int count = 0;
        for (; ray.alive && index <= last && count < PER_RAY; index += 1.0f) {
            float local[3];
            unsigned voxel;
            if (!sample_counts(frame, stage, scene.occupancy, ray, index, local, voxel, tally)) continue;
            const float bits = Evaluator::IN_VOXELS ? ray_bits(thread, static_cast<int>(voxel)) : ray_bits(thread);
#pragma unroll
            for (int i = 0; i < PER_RAY; i++)  // constant indices keep the array in registers
                if (i == count) {
                    found[i] = {local[0], local[1], local[2], bits};
                    depths[i] = sample_depth(index, steps.near, steps.step);
                }
            count++;
        }
        if (thread == 0) block.queued = 0;
        // A barrier too: every ray has read its results of the round before.
        if (!__syncthreads_or(count > 0)) return;
        const int slot = count ? atomicAdd(&block.queued, count) : 0;
#pragma unroll
        for (int i = 0; i < PER_RAY; i++)
            if (i < count) block.queue[slot + i] = found[i];
        __syncthreads();
        const int queued = block.queued;
        Evaluator::evaluate(scene.field, block.data, stage.data, block.queue, queued, block.unit, thread, THREADS);
        if (thread == 0) tally.evaluations += queued;
#ifdef KNF_NESTED  // neither registers nor shared memory are left to add them up in
        if (thread == 0) atomicAdd(&output.counters[13 + cell.level], static_cast<unsigned long long>(queued));
#endif
        KNF_COUNT(tally, rounds, thread == 0);
        KNF_COUNT(tally, batches, thread == 0 ? (queued + BATCH - 1) / BATCH : 0);
        KNF_COUNT(tally, passes, thread == 0 ? (queued + BATCH * WARPS - 1) / (BATCH * WARPS) : 0);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < PER_RAY; i++) {
            if (i >= count || !ray.alive) continue;
            const Sample result = block.queue[slot + i];
            const float alpha = 1.0f - expf(-(result.w * (ray.length * steps.step)));
            const float weight = ray.transmittance * alpha;
            ray.red += weight * result.x;
            ray.green += weight * result.y;
            ray.blue += weight * result.z;
            ray.weight += weight;
            ray.depth += weight * depths[i];
            ray.transmittance *= 1.0f - alpha;
            if (ray.samples++ == 0) ray.network = cell.network;
            if (ray.transmittance < frame.ert_threshold) ray.alive = false;
        }
    }
}

KNF_DEVICE void write_pixel(const FrameSetup& frame, const Output& output, const Ray& ray, int x, int y) {
    const long long pixel = static_cast<long long>(y) * frame.width + x;
    const float rest = 1.0f - ray.weight;
    float behind[3] = {frame.background[0], frame.background[1], frame.background[2]};
#ifdef KNF_NESTED
    if (frame.shows_sky && ray.alive) {  // rays that ended do not reach it
        sky_color(frame.sky, ray.direction, ray.length, behind);
        for (int channel = 0; channel < 3; channel++) behind[channel] = fminf(fmaxf(behind[channel], 0.0f), 1.0f);
    }
#endif
    const float rgb[3] = {ray.red + rest * behind[0], ray.green + rest * behind[1], ray.blue + rest * behind[2]};
    const float depth = ray.weight > 0.0f ? ray.depth / ray.weight : __int_as_float(0x7f800000);
    if (output.rgb)
        for (int channel = 0; channel < 3; channel++) output.rgb[3 * pixel + channel] = rgb[channel];
    if (output.alpha) output.alpha[pixel] = ray.weight;
    if (output.depth) output.depth[pixel] = depth;
    if (output.samples) output.samples[pixel] = ray.samples;
    if (output.network) output.network[pixel] = ray.network;
    const float solid_depth = ray.weight >= OPAQUE ? depth : __int_as_float(0x7f800000);
    if (output.rgbz) output.rgbz[pixel] = make_float4(rgb[0], rgb[1], rgb[2], solid_depth);
}

// All that the tile's rays meet, front to back; adds to the evaluations of this block.
KNF_DEVICE void march(const FrameSetup& frame, const SceneArrays& scene, const Output& output, Block& block, Ray& ray,
                      int thread, Tally& tally) {
    __syncthreads();  // rays and sides are in place
    if (!choose_groups(frame, scene.groups, block.view, thread, tally)) return;
    bool rays_prepared = false;
    for (int begin = 0; begin < frame.num_cells; begin += CHUNK) {
        if (begin && !__syncthreads_or(ray.alive)) break;  // a barrier too: the list of the chunk before is used up
        const int visits = choose_visits(frame, scene.cells, scene.order, begin, block.view, thread, tally);
        unsigned ahead = 0;
        int visit = next_visit(frame, scene.cells, block, ray, ahead, -1, visits, tally), stage = 0;
        const auto fetch = [&](int which, int into) {
            const Cell& cell = scene.cells[block.view.visits[which]];
            Stage& stage_of_it = block.stage[into];
            start_copy(&stage_of_it.data, Evaluator::cell_data(scene.field, cell.network), sizeof(stage_of_it.data),
                       thread, THREADS);
            // By threads that have less of a network to copy.
            start_copy(&stage_of_it.cell, &cell, sizeof(Cell), (thread + 36) % THREADS, THREADS);
            start_copy(stage_of_it.voxels, scene.occupancy + cell.first_word, 4 * frame.leaf_words,
                       (thread + 32) % THREADS, THREADS);
            commit_copies();
        };
        if (visit < visits) {
            fetch(visit, stage);
            if (!rays_prepared) Evaluator::prepare_rays(scene.field, block.unit, THREADS, thread);
            rays_prepared = true;
        }
        while (visit < visits) {
            wait_for_copies<0>();  // this thread's; the next barrier makes them everybody's
            int next = visits;
            if (Evaluator::STAGES == 2) {  // the next cell comes while this one is evaluated
                next = next_visit(frame, scene.cells, block, ray, ahead, visit, visits, tally);
                if (next < visits) fetch(next, 1 - stage);
            } else {
                __syncthreads();
            }
            visit_cell(frame, block.stage[stage], scene, output, block, ray, thread, tally);
            if (Evaluator::STAGES == 1) {
                next = next_visit(frame, scene.cells, block, ray, ahead, visit, visits, tally);
                if (next < visits) fetch(next, 0);
            } else {
                stage = 1 - stage;
            }
            visit = next;
        }
    }
}

KNF_DEVICE int columns_of(const FrameSetup& frame) { return (frame.width + TILE - 1) / TILE; }
KNF_DEVICE int tiles_of(const FrameSetup& frame) { return columns_of(frame) * ((frame.height + TILE - 1) / TILE); }

struct Pixel {
    int column, row;  // of its tile
    int x, y;
};

// The pixel of a thread of the block that has this tile. A warp takes 8x4 pixels: rays that stay close together diverge
// little. Asked again when the pixel is written: in between there are no registers to keep it.
KNF_DEVICE Pixel pixel_of(const FrameSetup& frame, int tile) {
    int thread = threadIdx.x;
    asm volatile("" : "+r"(thread));  // so that the compiler does not keep it all the same
    const int columns = columns_of(frame);
    const int column = tile % columns, row = tile / columns;
    const int x = TILE * column + thread / 32 % 2 * 8 + thread % 8, y = TILE * row + thread / 64 * 4 + thread % 32 / 8;
    return {column, row, x, y};
}

KNF_DEVICE Ray trace(const FrameSetup& frame, const SceneArrays& scene, const Output& output, Block& block,
                     const Pixel& pixel, Tally& tally) {
    const int thread = threadIdx.x;
    Ray ray = start_ray(frame, pixel.x, pixel.y);
    const int (&seen)[4] = frame.seen_tiles;
    if (pixel.column < seen[0] || pixel.row < seen[1] || pixel.column >= seen[2] || pixel.row >= seen[3]) return ray;
    const float (&d)[3] = ray.direction;
    block.unit[thread] = make_float4(d[0] / ray.length, d[1] / ray.length, d[2] / ray.length, 0.0f);
    KNF_COUNT(tally, tiles, thread == 0);
    start_planes(frame, TILE * pixel.column, TILE * pixel.row, block.view, thread);
    march(frame, scene, output, block, ray, thread, tally);
    return ray;
}

// Adds a tile's figures to the frame's.
KNF_DEVICE void count_up(const Output& output, const Ray& ray, const Tally& tally, int thread) {
    int samples = ray.samples, hit = ray.samples > 0;
    for (int offset = 16; offset; offset /= 2) {
        samples += __shfl_xor_sync(0xffffffffu, samples, offset);
        hit += __shfl_xor_sync(0xffffffffu, hit, offset);
    }
    if (thread % 32 == 0 && samples) {
        atomicAdd(&output.counters[0], static_cast<unsigned long long>(samples));
        atomicAdd(&output.counters[2], static_cast<unsigned long long>(hit));
    }
    if (tally.evaluations) atomicAdd(&output.counters[1], static_cast<unsigned long long>(tally.evaluations));
#ifdef KNF_COUNTERS
    const int counts[] = {tally.groups, tally.cells,   tally.tiles,  tally.votes,   tally.visits,
                          tally.rounds, tally.batches, tally.passes, tally.lookups, tally.far};
    for (int i = 0; i < 10; i++)
        if (counts[i]) atomicAdd(&output.counters[3 + i], static_cast<unsigned long long>(counts[i]));
#endif
}

KNF_DEVICE void render_tile(const FrameSetup& frame, const SceneArrays& scene, const Output& output, Block& block) {
    const int thread = threadIdx.x;
    Tally tally;
    const Ray ray = trace(frame, scene, output, block, pixel_of(frame, block.tile), tally);
    const Pixel pixel = pixel_of(frame, block.tile);
    if (pixel.x < frame.width && pixel.y < frame.height) write_pixel(frame, output, ray, pixel.x, pixel.y);
    count_up(output, ray, tally, thread);
}

}  // namespace knf

extern "C" __global__ void __launch_bounds__(knf::THREADS, knf::Evaluator::BLOCKS)
    render(const knf::FrameSetup frame, const knf::SceneArrays scene, const knf::Output output) {
    __shared__ knf::Block block;
    knf::Evaluator::start_block(scene.field, block.data, threadIdx.x);
    for (;;) {
        __syncthreads();  // the tile before is done with the block's memory
        if (threadIdx.x == 0) block.tile = frame.first_tile + atomicAdd(&output.next_tile[0], 1);
        __syncthreads();
        if (block.tile >= frame.end_tile) break;
        knf::render_tile(frame, scene, output, block);
    }
    // The last block to finish leaves everything ready for the next launch, and after the last one of a frame its
    // counts.
    if (threadIdx.x != 0) return;
    __threadfence();  // the barriers above make this cover what the block's other threads have counted
    if (atomicAdd(&output.next_tile[1], 1) != static_cast<int>(gridDim.x) - 1) return;
    __threadfence();
    atomicExch(&output.next_tile[0], 0);
    atomicExch(&output.next_tile[1], 0);
    if (frame.end_tile < knf::tiles_of(frame)) return;
    for (int i = 0; i < knf::COUNTERS; i++) output.counters[knf::COUNTERS + i] = atomicExch(&output.counters[i], 0ull);
}
