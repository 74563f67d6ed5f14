// Rays in training: which samples they take, and their compositing, forward and backward. Compiled without fused
// multiply-add, as everything that decides about samples.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "cpu/training/batch.h"
#include "cpu/training/threads.h"

#define KNF_SHARED static inline
#include "sampling_rule.h"

namespace knf::train {
namespace {

// Call action(sample, transmittance before, weight) for the samples of a ray that count; returns the first that does
// not.
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
    float color[3] = {}, opacity = 0, depth = 0;
    int64_t end = for_samples(rays, ray, [&](int64_t i, float, float weight) {
        for (int c = 0; c < 3; c++) color[c] += weight * rays.rgb[3 * i + c];
        opacity += weight;
        depth += weight * rays.depth[i];
        out.weights[i] = weight;
    });
    for (; end < rays.offsets[ray + 1]; end++) out.weights[end] = 0;
    for (int c = 0; c < 3; c++) out.color[3 * ray + c] = color[c];
    out.opacity[ray] = opacity;
    out.depth[ray] = depth;
}

// With v_i what one unit of sample i's weight is worth, the gradient of its density is
// distance_i * (T_{i+1} v_i - sum over j > i of w_j v_j).
void composite_ray_backward(const Rays& rays, int64_t ray, const CompositedGradients& gradients,
                            std::vector<std::array<float, 2>>& kept, float* d_density, float* d_rgb) {
    const int64_t begin = rays.offsets[ray];
    kept.clear();
    const int64_t end =
        for_samples(rays, ray, [&](int64_t, float after, float weight) { kept.push_back({after, weight}); });
    const float* d_color = gradients.color + 3 * ray;
    float behind = 0;
    for (int64_t i = end - 1; i >= begin; i--) {
        const auto [after, weight] = kept[i - begin];
        float value = gradients.opacity[ray] + gradients.depth[ray] * rays.depth[i] + gradients.weights[i];
        for (int c = 0; c < 3; c++) {
            value += d_color[c] * rays.rgb[3 * i + c];
            d_rgb[3 * i + c] = d_color[c] * weight;
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

float world_length(const float* direction) {
    return std::sqrt((direction[0] * direction[0] + direction[1] * direction[1]) + direction[2] * direction[2]);
}

// What differs from sample to sample of one ray.
struct Sample {
    float point[3];  // within the cell
    int32_t network;
    float depth;
    float distance;  // world units to the next sample of its level
};

// One ray's way through the grid.
class Walk {
  public:
    Walk(const RaySampler& sampler, const float* origin, const float* direction)
        : sampler_(sampler),
          grid_(sampler.grid()),
          steps_(sampler.steps()),
          origin_(origin),
          direction_(direction),
          distance_(world_length(direction) * steps_.step) {
        for (int axis = 0; axis < 3; axis++) {
            // Faces of voxels in units of sample indices: face * per_voxel_ + at_face_0_.
            per_voxel_[axis] = 1.0 / (static_cast<double>(grid_.inverse_voxel[axis]) * direction[axis] * steps_.step);
            at_face_0_[axis] =
                ((static_cast<double>(grid_.box_min[axis]) - origin[axis]) / direction[axis] - steps_.near) /
                steps_.step;
        }
    }

    // Appends the samples in occupied voxels, as far as the ray sees; to `thicknesses`, if there is one, each one's
    // part of what ends the ray.
    void run(bool jitter, uint64_t key, double most_thickness, std::vector<Sample>& out,
             std::vector<double>* thicknesses) {
        const auto [first, last] = index_range();
        double thickness = 0;
        for (int64_t k = first; k <= last;) {
            float index = static_cast<float>(k);
            if (jitter) index += random_number(key, k) - 0.5f;
            index = std::min(std::max(index, 0.0f), steps_.last);
            const float t = sample_depth(index, steps_.near, steps_.step);
            if (!locate(t)) {
                k++;
            } else if (const int64_t brick = sampler_.brick_of(voxel_);
                       const uint64_t occupied = sampler_.voxels(brick)) {
                if (const int bit = sampler_.bit_of(voxel_); occupied >> bit & 1) {
                    out.push_back(sample_at(t));
                    const double own = static_cast<double>(sampler_.density(brick, bit)) * distance_;
                    if (thicknesses) thicknesses->push_back(own);
                    thickness += own;
                    if (thickness > most_thickness) return;
                }
                k++;
            } else {
                k = std::max(k + 1, first_index_behind(sampler_.empty_bricks(brick)));
            }
        }
    }

  private:
    // Sample indices that may lie in the box: never too few.
    std::pair<int64_t, int64_t> index_range() const {
        double enter = 0, leave = static_cast<double>(steps_.last);
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
                std::min<int64_t>(static_cast<int64_t>(steps_.last), static_cast<int64_t>(std::ceil(leave + REACH)))};
    }

    double index_at(double t) const {
        return std::min(std::max((t - steps_.near) / steps_.step, -1.0), static_cast<double>(steps_.last) + 1.0);
    }

    // The point at depth t and its voxel; false outside of the box.
    bool locate(float t) {
        for (int axis = 0; axis < 3; axis++) {
            const float p = position_[axis] = sample_position(origin_[axis], t, direction_[axis]);
            if (!(p > grid_.inside_min[axis] && p < grid_.inside_max[axis])) return false;
            voxel_[axis] = static_cast<int>(voxel_coordinate(p, grid_.box_min[axis], grid_.inverse_voxel[axis]));
            if (voxel_[axis] >= grid_.resolution[axis] * grid_.factor[axis]) return false;
        }
        return true;
    }

    // First index whose sample may lie outside of the bricks less than `empty` from the one at hand, whatever its
    // jitter.
    int64_t first_index_behind(int empty) const {
        double leave = static_cast<double>(steps_.last) + 1;
        for (int axis = 0; axis < 3; axis++) {
            if (direction_[axis] == 0) continue;
            const int brick = voxel_[axis] / BRICK;
            const int face = (direction_[axis] > 0 ? brick + empty : brick - empty + 1) * BRICK;
            leave = std::min(leave, face * per_voxel_[axis] + at_face_0_[axis]);
        }
        return static_cast<int64_t>(std::ceil(leave - REACH));
    }

    // The sample in the voxel at hand.
    Sample sample_at(float t) const {
        Sample sample;
        int cell[3];
        for (int axis = 0; axis < 3; axis++) {
            cell[axis] = voxel_[axis] / grid_.factor[axis];
            const float cell_min = cell_minimum(cell[axis], grid_.box_min[axis], grid_.cell_size[axis]);
            sample.point[axis] = local_coordinate(position_[axis], cell_min, grid_.local_scale[axis]);
        }
        sample.network = sampler_.network_of(cell);
        sample.depth = t;
        sample.distance = distance_;
        return sample;
    }

    static constexpr double REACH = 0.55;  // half a step of jitter, and more than the rounding of any place
    const RaySampler& sampler_;
    const Grid& grid_;
    const SampleSteps& steps_;
    const float *origin_, *direction_;
    const float distance_;  // world units from one sample to the next
    double per_voxel_[3], at_face_0_[3];
    float position_[3];
    int voxel_[3];
};

// Of a line of bricks, the least over all bricks of max(that brick's distance, how far it is).
void sweep(uint8_t* first, int64_t stride, int count) {
    std::vector<uint8_t> before(count);
    for (int i = 0; i < count; i++) before[i] = first[i * stride];
    for (int i = 0; i < count; i++) {
        int nearest = before[i];
        for (int away = 1; away < nearest && away < count; away++) {
            if (i >= away) nearest = std::min(nearest, std::max<int>(away, before[i - away]));
            if (i + away < count) nearest = std::min(nearest, std::max<int>(away, before[i + away]));
        }
        first[i * stride] = static_cast<uint8_t>(nearest);
    }
}

// The samples of one ray in their places, with what they have in common.
void write_ray(const float* direction, const Sample* samples, int64_t begin, int64_t end, RaySamples& out) {
    const float length = world_length(direction);
    const float unit[3] = {direction[0] / length, direction[1] / length, direction[2] / length};
    for (int64_t i = begin; i < end; i++, samples++) {
        for (int axis = 0; axis < 3; axis++) {
            out.points[3 * i + axis] = samples->point[axis];
            out.directions[3 * i + axis] = unit[axis];
        }
        out.network[i] = samples->network;
        out.distance[i] = samples->distance;
        out.depth[i] = samples->depth;
    }
}

// A ray's samples of all levels, front to back.
class NestedWalk {
  public:
    explicit NestedWalk(const std::vector<const RaySampler*>& levels) : levels_(levels) {}

    void run(const float* origin, const float* direction, bool jitter, uint64_t key, double most_thickness,
             std::vector<Sample>& out) {
        found_.clear(), thicknesses_.clear(), order_.clear();
        for (size_t level = 0; level < levels_.size(); level++) {
            const size_t begin = found_.size();
            Walk(*levels_[level], origin, direction)
                .run(jitter, level ? mixed(key + level) : key, most_thickness, found_, &thicknesses_);
            for (size_t i = begin; i < found_.size(); i++) order_.push_back(i);
            std::inplace_merge(order_.begin(), order_.begin() + begin, order_.end(),
                               [&](size_t a, size_t b) { return found_[a].depth < found_[b].depth; });
        }
        double thickness = 0;
        for (size_t i : order_) {
            out.push_back(found_[i]);
            thickness += thicknesses_[i];
            if (thickness > most_thickness) return;
        }
    }

  private:
    const std::vector<const RaySampler*>& levels_;
    std::vector<Sample> found_;
    std::vector<double> thicknesses_;
    std::vector<size_t> order_;
};

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

RaySampler::RaySampler(const SamplingGrid& sampling) : grid_(sampling.grid), steps_(sampling.steps) {
    int voxels[3];
    for (int axis = 0; axis < 3; axis++) {
        voxels[axis] = grid_.resolution[axis] * grid_.factor[axis];
        bricks_[axis] = (voxels[axis] + BRICK - 1) / BRICK;
    }
    network_index_.assign(
        sampling.network_index,
        sampling.network_index + static_cast<int64_t>(grid_.resolution[0]) * grid_.resolution[1] * grid_.resolution[2]);
    voxels_.assign(static_cast<int64_t>(bricks_[0]) * bricks_[1] * bricks_[2], 0);
    empty_.assign(voxels_.size(), FARTHEST);
    slots_.assign(voxels_.size(), -1);
    int32_t slots = 0;
    const bool* occupied = sampling.occupancy;
    for (int x = 0; x < voxels[0]; x++)
        for (int y = 0; y < voxels[1]; y++)
            for (int z = 0; z < voxels[2]; z++, occupied++) {
                if (!*occupied) continue;
                const int voxel[3] = {x, y, z};
                if (network_of({x / grid_.factor[0], y / grid_.factor[1], z / grid_.factor[2]}) < 0) continue;
                const int64_t brick = brick_of(voxel);
                voxels_[brick] |= uint64_t{1} << bit_of(voxel);
                empty_[brick] = 0;
                if (slots_[brick] < 0) slots_[brick] = slots++;
                places_.push_back(static_cast<int64_t>(slots_[brick]) * 64 + bit_of(voxel));
            }
    densities_.assign(static_cast<int64_t>(slots) * 64, 0.0f);
    // Distances grow by the larger of the three axes' differences: the axes can be swept one after the other.
    const int64_t stride[3] = {static_cast<int64_t>(bricks_[1]) * bricks_[2], bricks_[2], 1};
    for (int axis = 0; axis < 3; axis++)
        for (int64_t start = 0; start < static_cast<int64_t>(empty_.size()); start++)
            if (start / stride[axis] % bricks_[axis] == 0) sweep(empty_.data() + start, stride[axis], bricks_[axis]);
}

void RaySampler::set_densities(const float* densities) {
    for (size_t i = 0; i < places_.size(); i++) densities_[places_[i]] = densities[i];
}

RaySamples sample_rays(const std::vector<const RaySampler*>& levels, int threads, int64_t rays, const float* origins,
                       const float* directions, bool jitter, uint64_t seed, int64_t first_number,
                       double most_thickness) {
    RaySamples all{};
    all.rays = rays;
    all.offsets.reset(new int64_t[rays + 1]);
    all.offsets[0] = 0;
    std::vector<std::vector<Sample>> parts(threads);
    const auto first_ray = [&](int thread) { return rays * thread / threads; };
    run_threads(threads, [&](int thread) {
        NestedWalk nested(levels);
        for (int64_t ray = first_ray(thread); ray < first_ray(thread + 1); ray++) {
            const float *origin = origins + 3 * ray, *direction = directions + 3 * ray;
            const uint64_t key = mixed(seed ^ mixed(static_cast<uint64_t>(first_number + ray)));
            if (levels.size() == 1)
                Walk(*levels[0], origin, direction).run(jitter, key, most_thickness, parts[thread], nullptr);
            else
                nested.run(origin, direction, jitter, key, most_thickness, parts[thread]);
            all.offsets[ray + 1] = static_cast<int64_t>(parts[thread].size());  // for now, of the thread's own
        }
    });
    for (int thread = 0; thread < threads; thread++) {
        for (int64_t ray = first_ray(thread); ray < first_ray(thread + 1); ray++) all.offsets[ray + 1] += all.samples;
        all.samples += static_cast<int64_t>(parts[thread].size());
    }
    all.points.reset(new float[3 * all.samples]);
    all.directions.reset(new float[3 * all.samples]);
    all.network.reset(new int32_t[all.samples]);
    all.distance.reset(new float[all.samples]);
    all.depth.reset(new float[all.samples]);
    run_threads(threads, [&](int thread) {
        const int64_t before = all.offsets[first_ray(thread)];
        for (int64_t ray = first_ray(thread); ray < first_ray(thread + 1); ray++)
            write_ray(directions + 3 * ray, parts[thread].data() + (all.offsets[ray] - before), all.offsets[ray],
                      all.offsets[ray + 1], all);
    });
    return all;
}

}  // namespace knf::train
