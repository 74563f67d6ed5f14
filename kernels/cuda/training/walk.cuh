// One ray's way through the grid: which samples it takes in training. Operation by operation as in
// kernels/cpu/training/rays.cpp, so that both take the very same samples.
#pragma once

#include "device.cuh"
#include "grid.h"
#include "sampling_rule.h"

namespace knf {

struct SamplingGrid {
    Grid grid;
    SampleSteps steps;
    int bricks[3];  // on each axis
    int level;      // of nested boxes, 0 the innermost
};
static_assert(sizeof(SamplingGrid) == 148, "as SAMPLING_GRID in trainer/data/cuda_sampler.py");

// Of each brick of voxels; arrays of the sampler.
struct Bricks {
    const unsigned long long* voxels;  // those that are occupied and have a network, one bit each
    const unsigned char* empty;        // all bricks that are less than this from it are empty, along every axis
    const int* slots;                  // where its densities are, in 64s
    const float* densities;            // estimates, per world unit
    const int* network_index;          // [resolution], of cells
};

struct Jitter {
    unsigned long long seed;
    long long first_ray;  // number of the batch's first ray
    int on;
};

// SplitMix64 (Steele, Lea and Flood 2014).
KNF_DEVICE unsigned long long mixed(unsigned long long x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// As std::min and std::max, which CUDA's own are not where a number is NaN.
KNF_DEVICE double lesser(double a, double b) { return b < a ? b : a; }
KNF_DEVICE double greater(double a, double b) { return a < b ? b : a; }

KNF_DEVICE float world_length(const float* d) { return sqrtf((d[0] * d[0] + d[1] * d[1]) + d[2] * d[2]); }

class Walk {
  public:
    __device__ __forceinline__ Walk(const SamplingGrid& sampling, const Bricks& bricks, const float* origin,
                                    const float* direction)
        : grid_(sampling.grid),
          steps_(sampling.steps),
          bricks_on_axis_(sampling.bricks),
          level_(sampling.level),
          bricks_(bricks) {
        for (int axis = 0; axis < 3; axis++) {
            origin_[axis] = origin[axis], direction_[axis] = direction[axis];
            // Faces of voxels in units of sample indices: face * per_voxel_ + at_face_0_.
            per_voxel_[axis] = 1.0 / (static_cast<double>(grid_.inverse_voxel[axis]) * direction[axis] * steps_.step);
            at_face_0_[axis] =
                ((static_cast<double>(grid_.box_min[axis]) - origin[axis]) / direction[axis] - steps_.near) /
                steps_.step;
        }
    }

    // Call action(t, density) for each sample in an occupied voxel, as far as the ray sees.
    template <class Action>
    __device__ __forceinline__ void run(const Jitter& jitter, long long ray, double most_thickness,
                                        const Action& action) {
        unsigned long long key = mixed(jitter.seed ^ mixed(static_cast<unsigned long long>(jitter.first_ray + ray)));
        if (level_ > 0) key = mixed(key + static_cast<unsigned long long>(level_));
        const float distance = world_length(direction_) * steps_.step;
        long long first, last;
        find_range(first, last);
        double thickness = 0;
        for (long long k = first; k <= last;) {
            float index = static_cast<float>(k);
            if (jitter.on)
                index += static_cast<float>(mixed(key + static_cast<unsigned long long>(k)) >> 40) * 0x1p-24f - 0.5f;
            const float end = steps_.last;
            index = index < 0.0f ? 0.0f : index;
            index = end < index ? end : index;
            const float t = sample_depth(index, steps_.near, steps_.step);
            if (!locate(t)) {
                k++;
                continue;
            }
            const int brick = brick_at_hand();
            const unsigned long long occupied = bricks_.voxels[brick];
            if (occupied == 0) {
                const long long next = first_index_behind(bricks_.empty[brick]);
                k = next > k + 1 ? next : k + 1;
                continue;
            }
            const int bit = (voxel_[0] % BRICK * BRICK + voxel_[1] % BRICK) * BRICK + voxel_[2] % BRICK;
            if (occupied >> bit & 1) {
                const float density = bricks_.densities[64ll * bricks_.slots[brick] + bit];
                action(t, density);
                thickness += static_cast<double>(density) * distance;
                if (thickness > most_thickness) return;
            }
            k++;
        }
    }

    // The network of the sample at hand, and its point within the cell.
    __device__ __forceinline__ int network_at_hand(float (&point)[3]) const {
        int cell[3];
        for (int axis = 0; axis < 3; axis++) {
            cell[axis] = voxel_[axis] / grid_.factor[axis];
            const float cell_min = cell_minimum(cell[axis], grid_.box_min[axis], grid_.cell_size[axis]);
            point[axis] = local_coordinate(position_[axis], cell_min, grid_.local_scale[axis]);
        }
        return bricks_.network_index[(cell[0] * grid_.resolution[1] + cell[1]) * grid_.resolution[2] + cell[2]];
    }

  private:
    // Sample indices that may lie in the box: never too few; none: last < first.
    __device__ __forceinline__ void find_range(long long& first, long long& last) const {
        double enter = 0, leave = static_cast<double>(steps_.last);
        first = 0, last = -1;
        for (int axis = 0; axis < 3; axis++) {
            const double o = origin_[axis], d = direction_[axis];
            const double low = grid_.inside_min[axis], high = grid_.inside_max[axis];
            if (d == 0 && (o <= low || o >= high)) return;
            if (d == 0) continue;
            const double a = index_at((low - o) / d), b = index_at((high - o) / d);
            enter = greater(enter, lesser(a, b));
            leave = lesser(leave, greater(a, b));
        }
        if (!(enter <= leave + 2 * REACH)) return;
        first = static_cast<long long>(greater(0.0, floor(enter - REACH)));
        last = static_cast<long long>(lesser(static_cast<double>(steps_.last), ceil(leave + REACH)));
    }

    __device__ __forceinline__ double index_at(double t) const {
        return lesser(greater((t - steps_.near) / steps_.step, -1.0), static_cast<double>(steps_.last) + 1.0);
    }

    // The point at depth t and its voxel; false outside of the box.
    __device__ __forceinline__ bool locate(float t) {
        for (int axis = 0; axis < 3; axis++) {
            const float p = position_[axis] = sample_position(origin_[axis], t, direction_[axis]);
            if (!(p > grid_.inside_min[axis] && p < grid_.inside_max[axis])) return false;
            voxel_[axis] = static_cast<int>(voxel_coordinate(p, grid_.box_min[axis], grid_.inverse_voxel[axis]));
            if (voxel_[axis] >= grid_.resolution[axis] * grid_.factor[axis]) return false;
        }
        return true;
    }

    __device__ __forceinline__ int brick_at_hand() const {
        return (voxel_[0] / BRICK * bricks_on_axis_[1] + voxel_[1] / BRICK) * bricks_on_axis_[2] + voxel_[2] / BRICK;
    }

    // First index whose sample may lie outside of the bricks less than `empty` from the one at hand, whatever its
    // jitter.
    __device__ __forceinline__ long long first_index_behind(int empty) const {
        double leave = static_cast<double>(steps_.last) + 1;
        for (int axis = 0; axis < 3; axis++) {
            if (direction_[axis] == 0) continue;
            const int brick = voxel_[axis] / BRICK;
            const int face = (direction_[axis] > 0 ? brick + empty : brick - empty + 1) * BRICK;
            leave = lesser(leave, face * per_voxel_[axis] + at_face_0_[axis]);
        }
        return static_cast<long long>(ceil(leave - REACH));
    }

    static constexpr double REACH = 0.55;  // half a step of jitter, and more than the rounding of any place
    const Grid& grid_;
    const SampleSteps& steps_;
    const int (&bricks_on_axis_)[3];
    const int level_;
    const Bricks& bricks_;
    float origin_[3], direction_[3], position_[3];
    double per_voxel_[3], at_face_0_[3];
    int voxel_[3];
};

}  // namespace knf
