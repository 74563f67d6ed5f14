// The tiny networks' training kernels of one code path, as plain functions for the tests.
#include <cstdlib>

#include "cpu/training/training.h"

namespace {
const knf::train::Path& path = knf::KNF_PATH::train_path;

struct Memory {
    void* at = std::aligned_alloc(64, (path.workspace + 63) / 64 * 64);
    ~Memory() { std::free(at); }
};
}  // namespace

extern "C" {
int row_length() { return knf::ROW; }

void forward(const float* parameters, const float* points, const float* directions, long count, float* rgb,
             float* density) {
    const Memory memory;
    path.forward(parameters, {points, directions, nullptr, true}, {0, 0, count}, memory.at, {rgb, density});
}

void backward(const float* parameters, const float* points, const float* directions, long count, const float* d_rgb,
              const float* d_density, float* gradient) {
    const Memory memory;
    path.backward(parameters, {points, directions, nullptr, true}, {0, 0, count}, memory.at, {d_rgb, d_density},
                  gradient);
}

void adam(float* parameters, const float* gradient, float* first, float* second) {
    path.adam({0.9f, 0.999f, 0.1f, 0.001f, 1e-8f, 1e-2f, 31.6f, nullptr}, gradient, parameters, first, second);
}
}
