// An octree field's sizes, on the CPU and on CUDA devices; as in model_io/scene/octree_scene.py.
#pragma once

namespace knf {

constexpr int FIELD_FEATURES = 16;  // of a corner
constexpr int FIELD_HIDDEN = 128;   // units of the decoder's one hidden layer

}  // namespace knf
