// Colour and density at given points. A block takes up to 256 points of one network.
#include "device.cuh"
#include "kilonerf/evaluator.cuh"
#include "scene.cuh"

namespace knf {

constexpr int THREADS = 256;

struct Batch {
    int network, first, count;  // points first .. first + count - 1, at most THREADS
};

}  // namespace knf

// local, unit: [points][3]; result: [points][4], red, green, blue, density.
extern "C" __global__ void __launch_bounds__(knf::THREADS, knf::Evaluator::BLOCKS)
    query(const knf::Batch* batches, const knf::Evaluator::Network* networks, const float* local, const float* unit,
          float* result) {
    __shared__ alignas(16) knf::Evaluator::Network network;
    __shared__ knf::Sample samples[knf::THREADS];
    __shared__ float4 directions[knf::THREADS];
    const int thread = threadIdx.x;
    const knf::Batch batch = batches[blockIdx.x];
    knf::start_copy(&network, networks + batch.network, sizeof(network), thread, knf::THREADS);
    if (thread < batch.count) {
        const float* at = local + 3 * (batch.first + thread);
        samples[thread] = {at[0], at[1], at[2], knf::ray_bits(thread)};
        const float* u = unit + 3 * (batch.first + thread);
        directions[thread] = make_float4(u[0], u[1], u[2], 0.0f);
    }
    knf::commit_copies();
    knf::wait_for_copies<0>();
    __syncthreads();
    knf::Evaluator::evaluate(network, samples, batch.count, directions, thread, knf::THREADS);
    __syncthreads();
    if (thread < batch.count) {
        const knf::Sample sample = samples[thread];
        float* to = result + 4 * (batch.first + thread);
        to[0] = sample.x, to[1] = sample.y, to[2] = sample.z, to[3] = sample.w;
    }
}
