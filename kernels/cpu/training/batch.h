// A batch of samples of many networks, shared out to threads; rays sampled and composited.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cpu/training/training.h"
#include "grid.h"

namespace knf::train {

// "auto": the best that this machine has. Throws std::invalid_argument for a path that it cannot run.
const Path& find_path(const std::string& name);

// Stable counting sort. order: [count], starts: [networks + 1]. Throws std::invalid_argument for a network that is
// not one.
void group(const int32_t* network, int64_t count, int64_t networks, int32_t* order, int64_t* starts);

// All networks: rows of parameters; the samples of network n are starts[n] <= i < starts[n + 1].
struct Networks {
    int64_t count;
    const float* parameters;  // [count][ROW]
    const int64_t* starts;
};

// Results do not depend on the number of threads, bit for bit.
void forward(const Path& path, int threads, const Networks& networks, const Samples& samples, const Outputs& outputs);
// Sets `gradient`, [count][ROW]: zero where a network has no samples.
void backward(const Path& path, int threads, const Networks& networks, const Samples& samples,
              const OutputGradients& gradients, float* gradient);

struct AdamSettings {
    double learning_rate, beta1, beta2, epsilon;
    const float* decay;  // [ROW] or null
};

// One step for the rows in `chosen` (null: all `count` rows); each counts its own steps.
void adam(const Path& path, int threads, const AdamSettings& settings, const int32_t* chosen, int64_t count,
          const float* gradient, float* parameters, float* first, float* second, int64_t* steps);

// Samples of ray r are offsets[r] <= i < offsets[r + 1], front to back (KiloNeRF Eq. 1).
struct Rays {
    int64_t count;
    const int64_t* offsets;
    const float* density;   // [S]
    const float* rgb;       // [S][3]
    const float* distance;  // [S], world units from one sample to the next
    const float* depth;     // [S]
    float ert_threshold;    // a ray ends after the sample that brings its transmittance below
};

struct Composited {
    float* color;    // [R][3], premultiplied
    float* opacity;  // [R]
    float* depth;    // [R], sum of weight * depth
    float* weights;  // [S]
};

struct CompositedGradients {  // likewise
    const float* color;
    const float* opacity;
    const float* depth;
    const float* weights;
};

void composite(int threads, const Rays& rays, const Composited& out);
// d_density: [S], d_rgb: [S][3].
void composite_backward(int threads, const Rays& rays, const CompositedGradients& gradients, float* d_density,
                        float* d_rgb);

// Where samples are taken.
struct SamplingGrid {
    Grid grid;
    SampleSteps steps;
    const bool* occupancy;         // [resolution * factor]
    const int32_t* network_index;  // [resolution]
};

struct RaySamples {
    int64_t rays, samples;
    std::unique_ptr<int64_t[]> offsets;   // [R + 1]
    std::unique_ptr<float[]> points;      // [S][3], within the cell
    std::unique_ptr<float[]> directions;  // [S][3], unit
    std::unique_ptr<int32_t[]> network;   // [S]
    std::unique_ptr<float[]> distance;    // [S]
    std::unique_ptr<float[]> depth;       // [S], z-depth
};

// Takes samples of rays in occupied voxels. Empty space is skipped by bricks of voxels, each of which knows how far the
// nearest one with an occupied voxel is.
class RaySampler {
  public:
    explicit RaySampler(const SamplingGrid& sampling);  // keeps copies of its arrays

    // Estimated densities of the voxels that count (occupied, with a network), in C order; zero before the first call.
    void set_densities(const float* densities);
    int64_t counted() const { return static_cast<int64_t>(places_.size()); }

    const Grid& grid() const { return grid_; }
    const SampleSteps& steps() const { return steps_; }
    int32_t network_of(const int (&cell)[3]) const {
        return network_index_[(static_cast<int64_t>(cell[0]) * grid_.resolution[1] + cell[1]) * grid_.resolution[2] +
                              cell[2]];
    }
    int64_t brick_of(const int (&voxel)[3]) const {
        return (static_cast<int64_t>(voxel[0] / BRICK) * bricks_[1] + voxel[1] / BRICK) * bricks_[2] + voxel[2] / BRICK;
    }
    static int bit_of(const int (&voxel)[3]) {
        return (voxel[0] % BRICK * BRICK + voxel[1] % BRICK) * BRICK + voxel[2] % BRICK;
    }
    // The brick's voxels that are occupied and have a network, one bit each.
    uint64_t voxels(int64_t brick) const { return voxels_[brick]; }
    float density(int64_t brick, int bit) const { return densities_[static_cast<int64_t>(slots_[brick]) * 64 + bit]; }
    // All bricks that are less than this from the brick are empty, along every axis; 0: it is not itself.
    int empty_bricks(int64_t brick) const { return empty_[brick]; }

  private:
    static constexpr int FARTHEST = 64;

    Grid grid_;
    SampleSteps steps_;
    std::vector<int32_t> network_index_;
    int bricks_[3];
    std::vector<uint64_t> voxels_;  // [bricks]
    std::vector<uint8_t> empty_;    // [bricks]
    std::vector<int32_t> slots_;    // [bricks], among those that are not empty
    std::vector<int64_t> places_;   // of each voxel that counts, in densities_
    std::vector<float> densities_;  // [slots][64]
};

// Samples of rays through the levels of a scene, one sampler each. With jitter each sample is moved by up to half a
// step of its level, by a number that depends on (seed, ray, level, index) only; the first of the rays has number
// first_ray. A ray ends with the sample at which the sum of density estimate * distance exceeds most_thickness.
RaySamples sample_rays(const std::vector<const RaySampler*>& levels, int threads, int64_t rays, const float* origins,
                       const float* directions, bool jitter, uint64_t seed, int64_t first_ray, double most_thickness);

}  // namespace knf::train
