// Rays in training, a thread for each: which samples they take, and their compositing, forward and backward.
#include "device.cuh"
#include "training/walk.cuh"

namespace knf {

constexpr int RAY_THREADS = 128;

KNF_DEVICE long long thread_in_grid() { return static_cast<long long>(blockIdx.x) * RAY_THREADS + threadIdx.x; }

// Call action(sample, transmittance behind it, weight) for the samples of a ray that count; returns the first that
// does not.
template <class Action>
KNF_DEVICE long long for_samples(long long begin, long long end, const float* density, const float* distance,
                                 float ert_threshold, const Action& action) {
    float transmittance = 1.0f;
    long long i = begin;
    for (; i < end && transmittance >= ert_threshold; i++) {
        const float minus_alpha = expm1f(-density[i] * distance[i]);
        const float before = transmittance;
        transmittance += transmittance * minus_alpha;
        action(i, transmittance, -minus_alpha * before);
    }
    return i;
}

// Call action(sample) for one ray's samples of all levels, by depth (at one depth the inner level's first), as far as
// the ray sees.
template <class Action>
KNF_DEVICE void merge(long long rays, int levels, long long ray, const long long* offsets, const float* depth,
                      const float* density, const float* distance, double most_thickness, const Action& action) {
    long long at[MAX_LEVELS];
#pragma unroll
    for (int level = 0; level < MAX_LEVELS; level++) at[level] = level < levels ? offsets[level * rays + ray] : 0;
    for (double thickness = 0; thickness <= most_thickness;) {
        long long nearest = -1;
#pragma unroll
        for (int level = 0; level < MAX_LEVELS; level++)
            if (level < levels && at[level] < offsets[level * rays + ray + 1] &&
                (nearest < 0 || depth[at[level]] < depth[nearest]))
                nearest = at[level];
        if (nearest < 0) return;
#pragma unroll
        for (int level = 0; level < MAX_LEVELS; level++) at[level] += level < levels && at[level] == nearest;
        action(nearest);
        thickness += static_cast<double>(density[nearest]) * distance[nearest];
    }
}

}  // namespace knf

// How many samples each ray takes. counts: [rays].
extern "C" __global__ void __launch_bounds__(knf::RAY_THREADS, 8)
    count_samples(const knf::SamplingGrid sampling, const unsigned long long* voxels, const unsigned char* empty,
                  const int* slots, const float* densities, const int* network_index, unsigned long long seed,
                  long long first_ray, int jitter, double most_thickness, long long rays, const float* origins,
                  const float* directions, long long* counts) {
    const long long ray = knf::thread_in_grid();
    if (ray >= rays) return;
    const knf::Bricks bricks = {voxels, empty, slots, densities, network_index};
    long long count = 0;
    knf::Walk(sampling, bricks, origins + 3 * ray, directions + 3 * ray)
        .run({seed, first_ray, jitter}, ray, most_thickness, [&](float, float) { count++; });
    counts[ray] = count;
}

// The same samples, those of ray r from place offsets[r] on; see RaySamples in trainer/data/ray_sampling.py.
extern "C" __global__ void __launch_bounds__(knf::RAY_THREADS)
    write_samples(const knf::SamplingGrid sampling, const unsigned long long* voxels, const unsigned char* empty,
                  const int* slots, const float* densities, const int* network_index, unsigned long long seed,
                  long long first_ray, int jitter, double most_thickness, long long rays, const float* origins,
                  const float* directions, const long long* offsets, float* points, float* unit, int* network,
                  float* distance, float* depth, float* density) {
    const long long ray = knf::thread_in_grid();
    if (ray >= rays) return;
    const knf::Bricks bricks = {voxels, empty, slots, densities, network_index};
    const float* d = directions + 3 * ray;
    const float length = knf::world_length(d);
    const float towards[3] = {d[0] / length, d[1] / length, d[2] / length};
    long long place = offsets[ray];
    knf::Walk walk(sampling, bricks, origins + 3 * ray, d);
    walk.run({seed, first_ray, jitter}, ray, most_thickness, [&](float t, float estimate) {
        float point[3];
        network[place] = walk.network_at_hand(point);
        for (int axis = 0; axis < 3; axis++) {
            points[3 * place + axis] = point[axis];
            unit[3 * place + axis] = towards[axis];
        }
        distance[place] = length * sampling.steps.step;
        depth[place] = t;
        density[place] = estimate;
        place++;
    });
}

// Samples of nested levels come one level after the other, those of ray r of level l at offsets[l * rays + r]; of each
// ray they are merged by depth, as far as the ray sees. counts: [rays].
extern "C" __global__ void __launch_bounds__(knf::RAY_THREADS)
    count_merged(long long rays, int levels, const long long* offsets, const float* depth, const float* density,
                 const float* distance, double most_thickness, long long* counts) {
    const long long ray = knf::thread_in_grid();
    if (ray >= rays) return;
    long long count = 0;
    knf::merge(rays, levels, ray, offsets, depth, density, distance, most_thickness, [&](long long) { count++; });
    counts[ray] = count;
}

// Where each merged sample comes from; those of ray r from place merged[r] on.
extern "C" __global__ void __launch_bounds__(knf::RAY_THREADS)
    write_merged(long long rays, int levels, const long long* offsets, const float* depth, const float* density,
                 const float* distance, double most_thickness, const long long* merged, long long* source) {
    const long long ray = knf::thread_in_grid();
    if (ray >= rays) return;
    long long place = merged[ray];
    knf::merge(rays, levels, ray, offsets, depth, density, distance, most_thickness,
               [&](long long sample) { source[place++] = sample; });
}

// KiloNeRF Eq. 1. The samples of ray r are offsets[r] <= i < offsets[r + 1], front to back; colour: [rays][3].
extern "C" __global__ void __launch_bounds__(knf::RAY_THREADS)
    composite(long long rays, const long long* offsets, const float* density, const float* rgb, const float* distance,
              const float* depth, float ert_threshold, float* out_color, float* out_opacity, float* out_depth,
              float* out_weights) {
    const long long ray = knf::thread_in_grid();
    if (ray >= rays) return;
    float color[3] = {}, opacity = 0.0f, mean = 0.0f;
    long long i = knf::for_samples(offsets[ray], offsets[ray + 1], density, distance, ert_threshold,
                                   [&](long long at, float, float weight) {
                                       for (int c = 0; c < 3; c++) color[c] += weight * rgb[3 * at + c];
                                       opacity += weight;
                                       mean += weight * depth[at];
                                       out_weights[at] = weight;
                                   });
    for (; i < offsets[ray + 1]; i++) out_weights[i] = 0.0f;
    for (int c = 0; c < 3; c++) out_color[3 * ray + c] = color[c];
    out_opacity[ray] = opacity;
    out_depth[ray] = mean;
}

// With v_i what one unit of sample i's weight is worth, the gradient of its density is
// distance_i * (T_{i+1} v_i - sum over j > i of w_j v_j).
extern "C" __global__ void __launch_bounds__(knf::RAY_THREADS)
    composite_backward(long long rays, const long long* offsets, const float* density, const float* rgb,
                       const float* distance, const float* depth, float ert_threshold, const float* d_color,
                       const float* d_opacity, const float* d_depth, const float* d_weights, float* d_density,
                       float* d_rgb) {
    const long long ray = knf::thread_in_grid();
    if (ray >= rays) return;
    const long long begin = offsets[ray];
    // What the way back needs of the way there waits in the places of the results.
    const long long end = knf::for_samples(begin, offsets[ray + 1], density, distance, ert_threshold,
                                           [&](long long at, float after, float weight) {
                                               d_density[at] = after;
                                               d_rgb[3 * at] = weight;
                                           });
    const float seen[3] = {d_color[3 * ray], d_color[3 * ray + 1], d_color[3 * ray + 2]};
    float behind = 0.0f;
    for (long long i = end - 1; i >= begin; i--) {
        const float after = d_density[i], weight = d_rgb[3 * i];
        float value = d_opacity[ray] + d_depth[ray] * depth[i] + d_weights[i];
        for (int c = 0; c < 3; c++) {
            value += seen[c] * rgb[3 * i + c];
            d_rgb[3 * i + c] = seen[c] * weight;
        }
        d_density[i] = distance[i] * (after * value - behind);
        behind += weight * value;
    }
    for (long long i = end; i < offsets[ray + 1]; i++) {
        d_density[i] = 0.0f;
        for (int c = 0; c < 3; c++) d_rgb[3 * i + c] = 0.0f;
    }
}
