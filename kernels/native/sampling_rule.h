// The sampling rule of kernels/sampling.py, operation by operation, once for the CPU (F: a vector of floats) and
// for CUDA (F: float). Code that includes this is compiled without contraction to fused multiply-add
// (-ffp-contract=off, --fmad=false), so that every backend takes the very same samples.
#pragma once

namespace knf {

// The ray direction's component along one world axis; `row` is that row of the camera's rotation.
template <class F>
KNF_SHARED F ray_component(const float* row, F a, F b) {
    return (row[0] * a + row[1] * b) - row[2];
}

// Slope of the ray through a pixel's centre, in camera axes.
template <class F>
KNF_SHARED F pixel_slope(F pixel, float centre, float focal) {
    return ((pixel + 0.5f) - centre) / focal;
}

// z-depth of a sample.
template <class F>
KNF_SHARED F sample_depth(F index, float near, float step) {
    return near + index * step;
}

template <class F>
KNF_SHARED F sample_position(float origin, F t, F direction) {
    return origin + t * direction;
}

// Position in voxels from the lower corner of the box; truncated it is the voxel's index.
template <class F>
KNF_SHARED F voxel_coordinate(F position, float box_min, float inverse_voxel) {
    return (position - box_min) * inverse_voxel;
}

// The cell's corner with the least coordinates.
KNF_SHARED float cell_minimum(int cell, float box_min, float cell_size) {
    return box_min + static_cast<float>(cell) * cell_size;
}

// Coordinate within the cell, -1 to 1.
template <class F>
KNF_SHARED F local_coordinate(F position, float cell_min, float local_scale) {
    return (position - cell_min) * local_scale - 1.0f;
}

// How far a cell's box is widened before rays are clipped to it: more than the rounding of a sample's position.
// The exact test of each sample decides afterwards.
template <class F>
KNF_SHARED F box_slack(F origin, F box_min, F box_max) {
    const F o = origin < 0.0f ? -origin : origin;
    const F low = box_min < 0.0f ? -box_min : box_min, high = box_max < 0.0f ? -box_max : box_max;
    return 4e-6f * (o + (low > high ? low : high));
}

// How many indices a clipped range is widened, for the same reason; x is near / step + index.
template <class F>
KNF_SHARED F index_slack(F x) {
    return 0.01f + 1e-6f * x;
}

}  // namespace knf
