// An octree field as the renderer reads it: its levels added up (kernels/native/expansion.py), and its decoder.
#pragma once

#include <cstdint>

#include "field_sizes.h"
#include "network_rows.h"

namespace knf {

struct OctreeField {
    const uint32_t* occupancy;  // SceneData's
    const int32_t* first_slot;  // [words]: slots of the voxels in the words before
    const int32_t* corners;    // [slots][4]: rows of the corners with the lower z, in C order; the next rows have z + 1
    const float* rows;         // [corners][FIELD_FEATURES]
    const float* w_features;   // [FIELD_FEATURES][FIELD_HIDDEN]
    const float* w_direction;  // [DIRECTION_CHANNELS][FIELD_HIDDEN]
    const float* b_hidden;     // [FIELD_HIDDEN]
    const float* w_output;     // [4][FIELD_HIDDEN]: red, green, blue, density
    const float* b_output;     // [4]
};

}  // namespace knf
