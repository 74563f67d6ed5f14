// What render.cu and query.cu need of an evaluator besides its arithmetic, where each cell has a network of its own.
// Octree fields have the same in octree/field.cuh.
#pragma once

#include "scene.cuh"

namespace knf {

template <class Network>
struct NetworkPerCell {
    // The field in the device's memory.
    struct Arrays {
        const Network* networks;
    };
    // What comes with a cell into shared memory.
    using CellData = Network;
    // What all cells have in common, in shared memory: nothing.
    struct BlockData {};
    // Samples are given by their place in the cell, -1 to 1.
    static constexpr bool IN_VOXELS = false;

    KNF_DEVICE const CellData* cell_data(const Arrays& arrays, int network) { return arrays.networks + network; }
    // Copies it there, before the block's first barrier.
    KNF_DEVICE void start_block(const Arrays&, BlockData&, int) {}
    // Called once for rays 0 .. rays - 1, and followed by a barrier, before samples of them are evaluated.
    KNF_DEVICE void prepare_rays(const Arrays&, const float4*, int, int) {}
};

}  // namespace knf
