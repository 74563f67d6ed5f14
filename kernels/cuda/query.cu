// Colour and density at given points. A block takes up to 256 points of one cell; of an octree field, for whose rays
// each block has memory of its own, batch after batch.
#include "device.cuh"
#ifdef KNF_OCTREE
#include "octree/evaluator.cuh"
#else
#include "kilonerf/evaluator.cuh"
#endif
#include "scene.cuh"

namespace knf {

struct Batch {
    int network, first, count;  // points first .. first + count - 1, at most THREADS
};

}  // namespace knf

// points: as Sample, of ray 0; unit: [points][3]; result: [points][4], red, green, blue, density.
extern "C" __global__ void __launch_bounds__(knf::THREADS, knf::Evaluator::BLOCKS)
    query(const knf::Batch* batches, int num_batches, const knf::Evaluator::Arrays field, const knf::Sample* points,
          const float* unit, float* result) {
    __shared__ knf::Evaluator::BlockData shared;
    __shared__ alignas(16) knf::Evaluator::CellData cell;
    __shared__ knf::Sample samples[knf::THREADS];
    __shared__ float4 directions[knf::THREADS];
    const int thread = threadIdx.x;
    knf::Evaluator::start_block(field, shared, thread);
    for (int number = blockIdx.x; number < num_batches; number += gridDim.x) {
        const knf::Batch batch = batches[number];
        __syncthreads();  // the batch before is done
        knf::start_copy(&cell, knf::Evaluator::cell_data(field, batch.network), sizeof(cell), thread, knf::THREADS);
        if (thread < batch.count) {
            knf::Sample point = points[batch.first + thread];
            point.w = knf::ray_bits(thread, knf::voxel_of(point.w));
            samples[thread] = point;
            const float* u = unit + 3 * (batch.first + thread);
            directions[thread] = make_float4(u[0], u[1], u[2], 0.0f);
        }
        knf::commit_copies();
        knf::wait_for_copies<0>();
        __syncthreads();
        knf::Evaluator::prepare_rays(field, directions, batch.count, thread);
        __syncthreads();
        knf::Evaluator::evaluate(field, shared, cell, samples, batch.count, directions, thread, knf::THREADS);
        __syncthreads();
        if (thread < batch.count) {
            const knf::Sample sample = samples[thread];
            reinterpret_cast<float4*>(result)[batch.first + thread] =
                make_float4(sample.x, sample.y, sample.z, sample.w);
        }
        if (!knf::Evaluator::IN_VOXELS) break;  // a block each: to go on costs registers, and resident blocks
    }
}
