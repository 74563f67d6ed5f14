// The paper's pipeline (KiloNeRF section 3.3 and supplement), to measure the fused renderer against; a benchmark only.
// benchmarks/gpu/sorted_baseline.py runs the passes. Compiled with --fmad=false, as render.cu.
#include "device.cuh"
#include "kilonerf/evaluate_float.cuh"
#include "sampling_rule.h"
#include "scene.cuh"

namespace knf {

constexpr int BASELINE_THREADS =
    192;  // two such blocks leave network evaluation 168 registers a thread; 256 would spill
constexpr int BLOCKS = 2;
constexpr int PER_PASS = 8;  // occupied samples of a ray in one pass

struct Direction {
    float along[3];
    float length;
};

// Sample positions of a ray.
KNF_DEVICE int indices_of(const FrameSetup& frame) { return static_cast<int>(frame.levels[0].steps.last) + 1; }

KNF_DEVICE Direction direction_of(const FrameSetup& frame, int ray) {
    const float a = pixel_slope(static_cast<float>(ray % frame.width), frame.cx, frame.fx);
    const float b = -pixel_slope(static_cast<float>(ray / frame.width), frame.cy, frame.fy);
    Direction direction;
    float squares = 0.0f;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        direction.along[axis] = ray_component(frame.rotation + 3 * axis, a, b);
        squares = squares + direction.along[axis] * direction.along[axis];
    }
    direction.length = sqrtf(squares);
    return direction;
}

// The network that a sample belongs to, -1 if it does not count.
KNF_DEVICE int network_at(const FrameSetup& frame, const short* network_of_voxel, const float (&along)[3], int index) {
    const Grid& grid = frame.levels[0].grid;
    const float t = sample_depth(static_cast<float>(index), frame.levels[0].steps.near, frame.levels[0].steps.step);
    bool inside = true;
    int at = 0;
#pragma unroll
    for (int axis = 0; axis < 3; axis++) {
        const float p = sample_position(frame.origin[axis], t, along[axis]);
        inside = inside && p > grid.inside_min[axis] && p < grid.inside_max[axis];
        const int voxel = static_cast<int>(voxel_coordinate(p, grid.box_min[axis], grid.inverse_voxel[axis]));
        const int voxels = grid.resolution[axis] * grid.factor[axis];
        inside = inside && voxel < voxels;
        at = at * voxels + voxel;
    }
    return inside ? network_of_voxel[at] : -1;
}

}  // namespace knf

// The next samples of each active ray, a thread per ray: network [rays][8], -1 where there is none, and
// query [rays][8], ray * indices_of(frame) + index. A ray that came to its end is active no more.
extern "C" __global__ void __launch_bounds__(knf::BASELINE_THREADS, 2)
    collect(const knf::FrameSetup frame, const short* network_of_voxel, int* next_index, unsigned char* active,
            int* query, short* network) {
    const int ray = blockIdx.x * knf::BASELINE_THREADS + threadIdx.x;
    if (ray >= frame.width * frame.height) return;
    const int indices = knf::indices_of(frame);
    int found = 0;
    if (active[ray]) {
        const knf::Direction direction = knf::direction_of(frame, ray);
        int index = next_index[ray];
        for (; index < indices && found < knf::PER_PASS; index++) {
            const int here = knf::network_at(frame, network_of_voxel, direction.along, index);
            if (here < 0) continue;
            query[ray * knf::PER_PASS + found] = ray * indices + index;
            network[ray * knf::PER_PASS + found] = static_cast<short>(here);
            found++;
        }
        next_index[ray] = index;
        if (index == indices) active[ray] = 0;
    }
    for (; found < knf::PER_PASS; found++) network[ray * knf::PER_PASS + found] = -1;
}

// A block per network, a thread per sample; queries are sorted, those of network n are bounds[n] .. bounds[n + 1].
extern "C" __global__ void __launch_bounds__(knf::BASELINE_THREADS, knf::BLOCKS)
    evaluate(const knf::FrameSetup frame, const knf::FloatNetwork* networks, const int* bounds, const int* query,
             float4* result) {
    __shared__ alignas(16) knf::FloatNetwork network;
    __shared__ knf::Sample samples[knf::BASELINE_THREADS];
    __shared__ float4 unit[knf::BASELINE_THREADS];
    const int thread = threadIdx.x, begin = bounds[blockIdx.x], end = bounds[blockIdx.x + 1];
    if (begin == end) return;
    const knf::Grid& grid = frame.levels[0].grid;
    const int indices = knf::indices_of(frame);
    knf::start_copy(&network, networks + blockIdx.x, sizeof(network), thread, knf::BASELINE_THREADS);
    knf::commit_copies();
    knf::wait_for_copies<0>();
    __syncthreads();
    for (int first = begin; first < end; first += knf::BASELINE_THREADS) {  // a thread uses no sample but its own
        if (first + thread < end) {
            const int ray = query[first + thread] / indices, index = query[first + thread] % indices;
            const knf::Direction direction = knf::direction_of(frame, ray);
            const float t =
                knf::sample_depth(static_cast<float>(index), frame.levels[0].steps.near, frame.levels[0].steps.step);
            float local[3];
#pragma unroll
            for (int axis = 0; axis < 3; axis++) {
                const float p = knf::sample_position(frame.origin[axis], t, direction.along[axis]);
                const float voxel = knf::voxel_coordinate(p, grid.box_min[axis], grid.inverse_voxel[axis]);
                const int cell = static_cast<int>(voxel) / grid.factor[axis];
                const float minimum = knf::cell_minimum(cell, grid.box_min[axis], grid.cell_size[axis]);
                local[axis] = knf::local_coordinate(p, minimum, grid.local_scale[axis]);
            }
            const float* d = direction.along;
            const float length = direction.length;
            unit[thread] = make_float4(d[0] / length, d[1] / length, d[2] / length, 0.0f);
            samples[thread] = {local[0], local[1], local[2], knf::ray_bits(thread)};
        }
        const int count = end - first < knf::BASELINE_THREADS ? end - first : knf::BASELINE_THREADS;
        knf::FloatEvaluator::evaluate({}, {}, network, samples, count, unit, thread, knf::BASELINE_THREADS);
        if (first + thread < end) {
            const knf::Sample sample = samples[thread];
            result[first + thread] = make_float4(sample.x, sample.y, sample.z, sample.w);
        }
    }
}

// Results back to their rays: slot[k] is the place in [rays][8] of sorted result k.
extern "C" __global__ void __launch_bounds__(knf::BASELINE_THREADS, 1)
    scatter(const float4* result, const int* slot, int count, float4* by_ray) {
    const int k = blockIdx.x * knf::BASELINE_THREADS + threadIdx.x;
    if (k < count) by_ray[slot[k]] = result[k];
}

// A pass's samples into each ray's colour, opacity and transmittance; a ray ends only between passes.
extern "C" __global__ void __launch_bounds__(knf::BASELINE_THREADS, 1)
    integrate(const knf::FrameSetup frame, const short* network, const float4* by_ray, float* rgb, float* opacity,
              float* transmittance, unsigned char* active) {
    const int ray = blockIdx.x * knf::BASELINE_THREADS + threadIdx.x;
    if (ray >= frame.width * frame.height || network[ray * knf::PER_PASS] < 0) return;
    const float spacing = knf::direction_of(frame, ray).length * frame.levels[0].steps.step;
    float red = rgb[3 * ray], green = rgb[3 * ray + 1], blue = rgb[3 * ray + 2];
    float weights = opacity[ray], rest = transmittance[ray];
    for (int i = 0; i < knf::PER_PASS && network[ray * knf::PER_PASS + i] >= 0; i++) {
        const float4 sample = by_ray[ray * knf::PER_PASS + i];
        const float alpha = 1.0f - expf(-(sample.w * spacing));
        const float weight = rest * alpha;
        red += weight * sample.x;
        green += weight * sample.y;
        blue += weight * sample.z;
        weights += weight;
        rest *= 1.0f - alpha;
    }
    rgb[3 * ray] = red, rgb[3 * ray + 1] = green, rgb[3 * ray + 2] = blue;
    opacity[ray] = weights, transmittance[ray] = rest;
    if (rest < frame.ert_threshold) active[ray] = 0;
}
