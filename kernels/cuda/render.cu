// The whole frame in one launch: persistent blocks take screen tiles of 16x16 rays, a thread each; a tile's cells are
// visited front to back; in each cell rays emit samples into a queue in shared memory, the cell's one network
// evaluates the queue, and each ray composites its own samples in registers (docs/cuda.md).
//
// Compiled with --fmad=false: which samples count is decided by native/sampling_rule.h, equally in every backend.
#include "device.cuh"
#include "kilonerf/evaluator.cuh"
#include "sampling_rule.h"
#include "scene.cuh"

namespace knf {

constexpr int TILE = 16;
constexpr int THREADS = TILE * TILE;
constexpr int PER_RAY = 2;      // samples of a ray in one round: a ray that ends at the first wastes the second
constexpr float OPAQUE = 0.5f;  // as in kernels/frame.py

// What a frame leaves behind; null pointers are left out.
struct Output {
    float* rgb;                    // [height][width][3]
    float* alpha;                  // [height][width]
    float* depth;                  // [height][width], z-depth, infinity where alpha is 0
    int* samples;                  // [height][width]
    int* network;                  // [height][width], of the first sample, -1 for none
    float4* rgbz;                  // [height][width], the window's texture: rgb; depth where alpha >= OPAQUE, else inf
    unsigned long long* counters;  // samples, evaluations, rays hit
    int* next_tile;                // [0] the next tile, [1] blocks that are done; zero before and after a launch
};

struct Block {
    alignas(16) Evaluator::Network network[Evaluator::STAGES];
    Sample queue[THREADS * PER_RAY];
    float unit[THREADS][3];  // the rays' unit directions
    float planes[4][3];      // the tile's pyramid: inward normals of its sides
    int visits[THREADS];     // cells of the chunk at hand that the tile may see, front to back
    int warp_counts[THREADS / 32];
    int tile;
    int queued;
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
        const float slack = box_slack(frame.origin[axis], frame.grid.box_min[axis], frame.grid.box_max[axis]);
        const float t0 = ((cell.clip_min[axis] - slack) - frame.origin[axis]) * ray.inverse[axis];
        const float t1 = ((cell.clip_max[axis] + slack) - frame.origin[axis]) * ray.inverse[axis];
        enter = fmaxf(enter, fminf(t0, t1));
        leave = fminf(leave, fmaxf(t0, t1));
    }
    return enter;
}

// Sample indices of the ray that may lie in the cell: first .. last.
KNF_DEVICE void index_range(const FrameSetup& frame, const Cell& cell, const Ray& ray, float& first, float& last) {
    float leave;
    float enter = clip_to_box(frame, cell, ray, leave);
    const float inverse_step = 1.0f / frame.steps.step;
    const float offset = frame.steps.near * inverse_step;
    enter = fminf(fmaxf(enter * inverse_step - offset, 0.0f), 2e7f);
    leave = fminf(fmaxf(leave * inverse_step - offset, -1.0f), 2e7f);
    first = fmaxf(ceilf(enter - index_slack(enter + offset)), 0.0f);
    last = fminf(floorf(leave + index_slack(leave + offset)), frame.steps.last);
}

// Whether a sample counts; its local coordinates if so.
KNF_DEVICE bool sample_counts(const FrameSetup& frame, const Cell& cell, const unsigned* occupancy, const Ray& ray,
                              float index, float (&local)[3]) {
    const float t = sample_depth(index, frame.steps.near, frame.steps.step);
    bool counts = true;
    unsigned voxel = 0;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        const float p = sample_position(frame.origin[axis], t, ray.direction[axis]);
        if (cell.near_border) counts = counts && p > frame.grid.inside_min[axis] && p < frame.grid.inside_max[axis];
        const float voxels = voxel_coordinate(p, frame.grid.box_min[axis], frame.grid.inverse_voxel[axis]);
        const int v = static_cast<int>(voxels) - cell.first_voxel[axis];
        counts = counts && v >= 0 && v < frame.grid.factor[axis];
        voxel |= static_cast<unsigned>(v) << frame.grid.voxel_shift[axis];
        local[axis] = local_coordinate(p, cell.minimum[axis], frame.grid.local_scale[axis]);
    }
    if (counts && frame.ess) counts = occupancy[cell.first_word + (voxel >> 5)] >> (voxel & 31) & 1u;
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
    ray.length = sqrtf(squares);
    ray.transmittance = 1.0f;
    ray.network = -1;
    ray.alive = x < frame.width && y < frame.height;
    return ray;
}

// Planes through the camera and the tile's edges, half a pixel outside its outermost rays. A point of camera axes is
// inside (1, 0, a) for the edge at slope a; normals go to the world by the cofactors of the rotation, which unlike
// products of neighbouring rays lose nothing to cancellation however narrow the tile is.
KNF_DEVICE void start_planes(const FrameSetup& frame, int tile_x, int tile_y, Block& block, int thread) {
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
        for (int axis = 0; axis < 3; axis++) block.planes[thread][axis] = sign * normal[axis];
    }
}

// False if the cell's box lies wholly outside one side of the tile's pyramid, as all that is behind the camera does.
KNF_DEVICE bool tile_may_see(const FrameSetup& frame, const Block& block, const Cell& cell) {
    float low[3], high[3];
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        const float slack = box_slack(frame.origin[axis], frame.grid.box_min[axis], frame.grid.box_max[axis]);
        low[axis] = (cell.clip_min[axis] - slack) - frame.origin[axis];
        high[axis] = (cell.clip_max[axis] + slack) - frame.origin[axis];
    }
    bool seen = true;
#pragma unroll
    for (int side = 0; side < 4; side++) {
        const float* n = block.planes[side];
        float farthest = 0.0f;
#pragma unroll
        for (int axis = 0; axis < 3; axis++) farthest += n[axis] > 0.0f ? n[axis] * high[axis] : n[axis] * low[axis];
        seen = seen && farthest >= 0.0f;
    }
    return seen;
}

// The cells of order[begin .. begin + THREADS) that the tile may see, in order; returns their number.
KNF_DEVICE int choose_visits(const FrameSetup& frame, const Cell* cells, const int* order, int begin, Block& block,
                             int thread) {
    const int at = begin + thread;
    const int cell = at < frame.num_cells ? order[at] : -1;
    const bool seen = cell >= 0 && tile_may_see(frame, block, cells[cell]);
    const unsigned lanes = __ballot_sync(0xffffffffu, seen);
    if (thread % 32 == 0) block.warp_counts[thread / 32] = __popc(lanes);
    __syncthreads();
    int slot = __popc(lanes & ((1u << thread % 32) - 1u)), total = 0;
    for (int warp = 0; warp < THREADS / 32; warp++) {
        if (warp < thread / 32) slot += block.warp_counts[warp];
        total += block.warp_counts[warp];
    }
    if (seen) block.visits[slot] = cell;
    __syncthreads();
    return total;
}

// The next visit after `visit` whose box a living ray meets, or `visits`. A barrier for the block.
KNF_DEVICE int next_visit(const FrameSetup& frame, const Cell* cells, const Block& block, const Ray& ray, int visit,
                          int visits) {
    for (visit++; visit < visits; visit++) {
        float first = 1.0f, last = 0.0f;
        if (ray.alive) index_range(frame, cells[block.visits[visit]], ray, first, last);
        if (__syncthreads_or(first <= last)) break;
    }
    return visit;
}

// All samples of the tile's rays in one cell, whose network lies in shared memory.
KNF_DEVICE void visit_cell(const FrameSetup& frame, const Cell& cell, const unsigned* occupancy,
                           const Evaluator::Network& network, Block& block, Ray& ray, int thread, int& evaluations) {
    float index = 1.0f, last = 0.0f;
    if (ray.alive) index_range(frame, cell, ray, index, last);
    for (;;) {
        Sample found[PER_RAY];
        float depths[PER_RAY];
        int count = 0;
        for (; ray.alive && index <= last && count < PER_RAY; index += 1.0f) {
            float local[3];
            if (!sample_counts(frame, cell, occupancy, ray, index, local)) continue;
#pragma unroll
            for (int i = 0; i < PER_RAY; i++)  // constant indices keep the array in registers
                if (i == count) {
                    found[i] = {local[0], local[1], local[2], static_cast<float>(thread)};
                    depths[i] = sample_depth(index, frame.steps.near, frame.steps.step);
                }
            count++;
        }
        if (thread == 0) block.queued = 0;
        // A barrier too: every ray has read its results of the round before, and the network's copy has arrived.
        if (!__syncthreads_or(count > 0)) return;
        const int slot = count ? atomicAdd(&block.queued, count) : 0;
#pragma unroll
        for (int i = 0; i < PER_RAY; i++)
            if (i < count) block.queue[slot + i] = found[i];
        __syncthreads();
        const int queued = block.queued;
        Evaluator::evaluate(network, block.queue, queued, block.unit, thread, THREADS);
        if (thread == 0) evaluations += queued;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < PER_RAY; i++) {
            if (i >= count || !ray.alive) continue;
            const Sample result = block.queue[slot + i];
            const float alpha = 1.0f - expf(-(result.w * (ray.length * frame.steps.step)));
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
    const float rgb[3] = {ray.red + rest * frame.background[0], ray.green + rest * frame.background[1],
                          ray.blue + rest * frame.background[2]};
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

KNF_DEVICE void render_tile(const FrameSetup& frame, const Cell* cells, const int* order,
                            const Evaluator::Network* networks, const unsigned* occupancy, const Output& output,
                            Block& block, int tile) {
    const int thread = threadIdx.x;
    const int columns = (frame.width + TILE - 1) / TILE;
    const int tile_x = tile % columns * TILE, tile_y = tile / columns * TILE;
    // A warp takes 8x4 pixels: rays that stay close together diverge little.
    const int x = tile_x + thread / 32 % 2 * 8 + thread % 8, y = tile_y + thread / 64 * 4 + thread % 32 / 8;
    Ray ray = start_ray(frame, x, y);
    for (int axis = 0; axis < 3; axis++) block.unit[thread][axis] = ray.direction[axis] / ray.length;
    start_planes(frame, tile_x, tile_y, block, thread);
    int evaluations = 0;
    for (int begin = 0; begin < frame.num_cells; begin += THREADS) {
        // A barrier too: rays and sides are in place, and the list of the chunk before is used up.
        if (!__syncthreads_or(ray.alive)) break;
        const int visits = choose_visits(frame, cells, order, begin, block, thread);
        int visit = next_visit(frame, cells, block, ray, -1, visits), stage = 0;
        const auto fetch = [&](int which, int into) {
            start_copy(&block.network[into], networks + cells[block.visits[which]].network, sizeof(Evaluator::Network),
                       thread, THREADS);
        };
        if (visit < visits) fetch(visit, stage);
        while (visit < visits) {
            int next = visits;
            if (Evaluator::STAGES == 2) {  // the next cell's weights come while this one is evaluated
                next = next_visit(frame, cells, block, ray, visit, visits);
                if (next < visits) {
                    fetch(next, 1 - stage);
                    wait_for_copies<1>();
                } else {
                    wait_for_copies<0>();
                }
            } else {
                wait_for_copies<0>();
            }
            visit_cell(frame, cells[block.visits[visit]], occupancy, block.network[stage], block, ray, thread,
                       evaluations);
            if (Evaluator::STAGES == 1) {
                next = next_visit(frame, cells, block, ray, visit, visits);
                if (next < visits) fetch(next, 0);
            } else {
                stage = 1 - stage;
            }
            visit = next;
        }
    }
    if (x < frame.width && y < frame.height) write_pixel(frame, output, ray, x, y);
    if (output.counters) {
        int samples = ray.samples, hit = ray.samples > 0;
        for (int offset = 16; offset; offset /= 2) {
            samples += __shfl_xor_sync(0xffffffffu, samples, offset);
            hit += __shfl_xor_sync(0xffffffffu, hit, offset);
        }
        if (thread % 32 == 0 && samples) {
            atomicAdd(&output.counters[0], static_cast<unsigned long long>(samples));
            atomicAdd(&output.counters[2], static_cast<unsigned long long>(hit));
        }
        if (evaluations) atomicAdd(&output.counters[1], static_cast<unsigned long long>(evaluations));
    }
}

}  // namespace knf

extern "C" __global__ void __launch_bounds__(knf::THREADS, knf::Evaluator::BLOCKS)
    render(const knf::FrameSetup frame, const knf::Cell* cells, const int* order,
           const knf::Evaluator::Network* networks, const unsigned* occupancy, const knf::Output output) {
    __shared__ knf::Block block;
    for (;;) {
        __syncthreads();  // the tile before is done with the block's memory
        if (threadIdx.x == 0) block.tile = frame.first_tile + atomicAdd(&output.next_tile[0], 1);
        __syncthreads();
        const int tile = block.tile;
        if (tile >= frame.end_tile) break;
        knf::render_tile(frame, cells, order, networks, occupancy, output, block, tile);
    }
    // The last block to finish leaves the counters ready for the next frame.
    if (threadIdx.x == 0 && atomicAdd(&output.next_tile[1], 1) == static_cast<int>(gridDim.x) - 1) {
        atomicExch(&output.next_tile[0], 0);
        atomicExch(&output.next_tile[1], 0);
    }
}
