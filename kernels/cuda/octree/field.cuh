// An octree field as both of its evaluators read it: a sample's voxel, and the interpolation between its corners.
// kernels/cuda/octree/field.py lays it out.
#pragma once

#include "field_sizes.h"
#include "scene.cuh"

namespace knf {

// The hidden layer is evaluated so many units at a time: as many as a tiny network's layer has, by the same functions.
constexpr int PARTS = FIELD_HIDDEN / HIDDEN;

constexpr int NOWHERE = -1;

// 32 voxels of a cell: which of them there are, and the slot of the first.
struct alignas(8) VoxelWord {
    unsigned voxels;
    int first_slot;
};

struct alignas(16) CellVoxels {
    VoxelWord words[LEAF_WORDS];
};

// The slot of a voxel, by its bit in the cell; or NOWHERE, as may be without ESS.
KNF_DEVICE int slot_of(const CellVoxels& cell, int voxel) {
    const VoxelWord word = cell.words[voxel >> 5];
    const unsigned own = 1u << (voxel & 31);
    return word.voxels & own ? word.first_slot + __popc(word.voxels & (own - 1)) : NOWHERE;
}

// Calls add(row, weight) for each of a voxel's eight corners; `place` is that in the voxel, 0 to 1, `rows` those of the
// corners with the lower z, in C order: the next rows have the higher.
template <class Add>
KNF_DEVICE void for_each_corner(const int4& rows, const Sample& place, Add add) {
    const int row[4] = {rows.x, rows.y, rows.z, rows.w};
    const float x = place.x, y = place.y, z = place.z;
    const float weight[4] = {(1.0f - x) * (1.0f - y), (1.0f - x) * y, x * (1.0f - y), x * y};
#pragma unroll
    for (int pair = 0; pair < 4; pair++) {
        add(row[pair], weight[pair] * (1.0f - z));
        add(row[pair] + 1, weight[pair] * z);
    }
}

// What render.cu and query.cu need of an evaluator besides its arithmetic; kilonerf/network_per_cell.cuh says what each
// is. `Row` are the features of a corner; `Decoder` is what each sample needs of the decoder, `DirectionLayer` what
// only each ray needs, `RayPart` what comes out of it.
template <class Row, class Decoder, class DirectionLayer, class RayPart>
struct FieldOfVoxels {
    struct Arrays {
        const CellVoxels* cells;
        const int4* corners;  // [slots], see for_each_corner
        const Row* rows;
        const Decoder* decoder;
        const DirectionLayer* direction_layer;
        RayPart* ray_parts;  // [blocks], each block's own: what its rays' directions add to the hidden layer
    };
    using CellData = CellVoxels;
    using BlockData = Decoder;
    static constexpr bool IN_VOXELS = true;
    // The next cell's voxels arrive while this one's are used, where copies run in the background.
    static constexpr int STAGES = KNF_ARCH >= 800 ? 2 : 1;

    KNF_DEVICE const CellData* cell_data(const Arrays& arrays, int cell) { return arrays.cells + cell; }

    // Others see it after a barrier. A block lives for the whole frame, so it may wait; one that finds no tile left
    // must not end before its copies.
    KNF_DEVICE void start_block(const Arrays& arrays, Decoder& decoder, int thread) {
        start_copy(&decoder, arrays.decoder, sizeof(Decoder), thread, THREADS);
        commit_copies();
        wait_for_copies<0>();
    }

    KNF_DEVICE RayPart& own_ray_parts(const Arrays& arrays) { return arrays.ray_parts[blockIdx.x]; }
};

}  // namespace knf
