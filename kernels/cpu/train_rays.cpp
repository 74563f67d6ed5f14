// Rays in training: which samples they take, and their compositing, forward and backward. Compiled without fused
// multiply-add, as everything that decides about samples.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "train_batch.h"
#include "train_threads.h"

#define KNF_SHARED static inline
#include "sampling_rule.h"

namespace knf::train {
namespace {

// Call action(sample, transmittance before, weight) for the samples of a ray that count; returns the first that does not.
template <class Action>
int64_t for_samples(const Rays& rays, int64_t ray, const Action& action) {
    float transmittance = 1;
    int64_t i = rays.offsets[ray];
    for (; i < rays.offsets[ray + 1] && transmittance >= rays.ert_threshold; i++) {
        const float minus_alpha = std::expm1(-rays.density[i] * rays.distance[i]);
        const float before = transmittance;
        transmittance += transmittance * minus_alpha;
        action(i, transmittance, -minus_alpha * before);
    }
    return i;
}

void composite_ray(const Rays& rays, int64_t ray, const Composited& out) {
    float colour[3] = {}, opacity = 0, depth = 0;
    int64_t end = for_samples(rays, ray, [&](int64_t i, float, float weight) {
        for (int c = 0; c < 3; c++) colour[c] += weight * rays.rgb[3 * i + c];
        opacity += weight;
        depth += weight * rays.depth[i];
        out.weights[i] = weight;
    });
    for (; end < rays.offsets[ray + 1]; end++) out.weights[end] = 0;
    for (int c = 0; c < 3; c++) out.colour[3 * ray + c] = colour[c];
    out.opacity[ray] = opacity;
    out.depth[ray] = depth;
}

// With v_i what one unit of sample i's weight is worth, the gradient of its density is
// distance_i * (T_{i+1} v_i - sum over j > i of w_j v_j).
void composite_ray_backward(const Rays& rays, int64_t ray, const CompositedGradients& gradients,
                            std::vector<std::array<float, 2>>& kept, float* d_density, float* d_rgb) {
    const int64_t begin = rays.offsets[ray];
    kept.clear();
    const int64_t end = for_samples(rays, ray, [&](int64_t, float after, float weight) { kept.push_back({after, weight}); });
    const float* d_colour = gradients.colour + 3 * ray;
    float behind = 0;
    for (int64_t i = end - 1; i >= begin; i--) {
        const auto [after, weight] = kept[i - begin];
        float value = gradients.opacity[ray] + gradients.depth[ray] * rays.depth[i] + gradients.weights[i];
        for (int c = 0; c < 3; c++) {
            value += d_colour[c] * rays.rgb[3 * i + c];
            d_rgb[3 * i + c] = d_colour[c] * weight;
        }
        d_density[i] = rays.distance[i] * (after * value - behind);
        behind += weight * value;
    }
    for (int64_t i = end; i < rays.offsets[ray + 1]; i++) {
        d_density[i] = 0;
        for (int c = 0; c < 3; c++) d_rgb[3 * i + c] = 0;
    }
}

// A number in [0, 1) that depends on its arguments only (SplitMix64: Steele, Lea and Flood 2014).
uint64_t mixed(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
float random_number(uint64_t ray_key, int64_t index) {
    return static_cast<float>(mixed(ray_key + static_cast<uint64_t>(index)) >> 40) * 0x1p-24f;
}

// One ray's way through the grid.
class Walk {
public:
    Walk(const SampleGrid& grid, const float* origin, const float* direction)
        : grid_(grid), origin_(origin), direction_(direction) {
        length_ = std::sqrt((direction[0] * direction[0] + direction[1] * direction[1]) + direction[2] * direction[2]);
    }

    // Samples in occupied voxels, appended to `out`; returns how many.
    int64_t run(bool jitter, uint64_t key, RaySamples& out) {
        int64_t taken = 0;
        const auto [first, last] = index_range();
        for (int64_t k = first; k <= last;) {
            float index = static_cast<float>(k);
            if (jitter) index += random_number(key, k) - 0.5f;
            index = std::min(std::max(index, 0.0f), static_cast<float>(grid_.last));
            const float t = sample_depth(index, grid_.near, grid_.step);
            if (!locate(t)) {
                k++;
            } else if (network_ < 0) {
                k = std::max(k + 1, first_index_after_cell());
            } else {
                if (occupied_) append(t, out), taken++;
                k++;
            }
        }
        return taken;
    }

private:
    // Sample indices that may lie in the box: never too few.
    std::pair<int64_t, int64_t> index_range() const {
        double enter = 0, leave = static_cast<double>(grid_.last);
        for (int axis = 0; axis < 3; axis++) {
            const double o = origin_[axis], d = direction_[axis];
            if (d == 0 && (o <= grid_.inside_min[axis] || o >= grid_.inside_max[axis])) return {0, -1};
            if (d == 0) continue;
            const double a = index_at((grid_.inside_min[axis] - o) / d), b = index_at((grid_.inside_max[axis] - o) / d);
            enter = std::max(enter, std::min(a, b));
            leave = std::min(leave, std::max(a, b));
        }
        if (!(enter <= leave + 2 * REACH)) return {0, -1};
        return {std::max<int64_t>(0, static_cast<int64_t>(std::floor(enter - REACH))),
                std::min<int64_t>(grid_.last, static_cast<int64_t>(std::ceil(leave + REACH)))};
    }

    double index_at(double t) const {
        return std::min(std::max((t - grid_.near) / grid_.step, -1.0), static_cast<double>(grid_.last) + 1.0);
    }

    // The point at depth t: whether it is in the box; its network, and whether its voxel is occupied.
    bool locate(float t) {
        int voxel[3];
        for (int axis = 0; axis < 3; axis++) {
            const float p = position_[axis] = sample_position(origin_[axis], t, direction_[axis]);
            if (!(p > grid_.inside_min[axis] && p < grid_.inside_max[axis])) return false;
            voxel[axis] = static_cast<int>(voxel_coordinate(p, grid_.box_min[axis], grid_.inverse_voxel[axis]));
            cell_[axis] = voxel[axis] / grid_.factor[axis];
            if (cell_[axis] >= grid_.resolution[axis]) return false;
        }
        const int *r = grid_.resolution, *f = grid_.factor;
        network_ = grid_.network_index[(static_cast<int64_t>(cell_[0]) * r[1] + cell_[1]) * r[2] + cell_[2]];
        occupied_ = grid_.occupancy[(static_cast<int64_t>(voxel[0]) * (r[1] * f[1]) + voxel[1]) * (r[2] * f[2]) + voxel[2]];
        return true;
    }

    // First index whose sample may lie behind the cell at hand, whatever its jitter.
    int64_t first_index_after_cell() const {
        double leave = static_cast<double>(grid_.last) + 1;
        for (int axis = 0; axis < 3; axis++) {
            const double d = direction_[axis];
            if (d == 0) continue;
            const double face = grid_.box_min[axis] + static_cast<double>(grid_.cell_size[axis]) * (cell_[axis] + (d > 0));
            leave = std::min(leave, index_at((face - origin_[axis]) / d));
        }
        return static_cast<int64_t>(std::ceil(leave - REACH));
    }

    void append(float t, RaySamples& out) const {
        for (int axis = 0; axis < 3; axis++) {
            const float cell_min = grid_.box_min[axis] + static_cast<float>(cell_[axis]) * grid_.cell_size[axis];
            out.points.push_back(local_coordinate(position_[axis], cell_min, grid_.local_scale[axis]));
            out.directions.push_back(direction_[axis] / length_);
        }
        out.network.push_back(network_);
        out.distance.push_back(length_ * grid_.step);
        out.depth.push_back(t);
    }

    static constexpr double REACH = 0.55;  // half a step of jitter, and more than the rounding of any place
    const SampleGrid& grid_;
    const float *origin_, *direction_;
    float length_;
    float position_[3];
    int cell_[3];
    int32_t network_;
    bool occupied_;
};

template <class T>
void join(int threads, const std::vector<RaySamples>& parts, std::vector<T> RaySamples::* member, RaySamples& out) {
    std::vector<size_t> begin(parts.size() + 1, 0);
    for (size_t i = 0; i < parts.size(); i++) begin[i + 1] = begin[i] + (parts[i].*member).size();
    (out.*member).resize(begin.back());
    run_threads(threads, [&](int thread) {
        const std::vector<T>& part = parts[thread].*member;
        if (!part.empty()) std::memcpy((out.*member).data() + begin[thread], part.data(), part.size() * sizeof(T));
    });
}

}  // namespace

void composite(int threads, const Rays& rays, const Composited& out) {
    share_out(threads, rays.count, [&](int64_t begin, int64_t end) {
        for (int64_t ray = begin; ray < end; ray++) composite_ray(rays, ray, out);
    });
}

void composite_backward(int threads, const Rays& rays, const CompositedGradients& gradients, float* d_density,
                        float* d_rgb) {
    share_out(threads, rays.count, [&](int64_t begin, int64_t end) {
        std::vector<std::array<float, 2>> kept;
        for (int64_t ray = begin; ray < end; ray++)
            composite_ray_backward(rays, ray, gradients, kept, d_density, d_rgb);
    });
}

RaySamples sample_rays(int threads, const SampleGrid& grid, int64_t rays, const float* origins,
                       const float* directions, bool jitter, uint64_t seed) {
    RaySamples all;
    all.offsets.assign(rays + 1, 0);
    std::vector<RaySamples> parts(threads);
    run_threads(threads, [&](int thread) {
        for (int64_t ray = rays * thread / threads; ray < rays * (thread + 1) / threads; ray++)
            all.offsets[ray + 1] = Walk(grid, origins + 3 * ray, directions + 3 * ray)
                                       .run(jitter, mixed(seed ^ mixed(static_cast<uint64_t>(ray))), parts[thread]);
    });
    for (int64_t ray = 0; ray < rays; ray++) all.offsets[ray + 1] += all.offsets[ray];
    join(threads, parts, &RaySamples::points, all);
    join(threads, parts, &RaySamples::directions, all);
    join(threads, parts, &RaySamples::network, all);
    join(threads, parts, &RaySamples::distance, all);
    join(threads, parts, &RaySamples::depth, all);
    return all;
}

}  // namespace knf::train
