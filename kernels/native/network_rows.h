// The tiny networks' sizes, and how training keeps their parameters; on the CPU and on CUDA devices.
#pragma once

namespace knf {

// As in model_io/scene/architecture.py.
constexpr int HIDDEN = 32;
constexpr int POSITION_FREQUENCIES = 10;
constexpr int DIRECTION_FREQUENCIES = 4;
constexpr int POSITION_CHANNELS = 3 * (1 + 2 * POSITION_FREQUENCIES);    // 63
constexpr int DIRECTION_CHANNELS = 3 * (1 + 2 * DIRECTION_FREQUENCIES);  // 27
constexpr int JOINED = HIDDEN + DIRECTION_CHANNELS;                      // inputs of the direction layer

// A network's parameters, gradients and optimiser state are one row each: the layers in the order of LAYER_SHAPES
// (model_io/scene/architecture.py), weights [in][out], then the bias. Every part begins at a multiple of 16 floats; the
// gaps are zero and stay so.
constexpr int padded(int floats) { return (floats + 15) / 16 * 16; }
constexpr int W0 = 0;
constexpr int B0 = W0 + padded(POSITION_CHANNELS * HIDDEN);
constexpr int W1 = B0 + padded(HIDDEN);
constexpr int B1 = W1 + padded(HIDDEN * HIDDEN);
constexpr int W_DENSITY = B1 + padded(HIDDEN);
constexpr int B_DENSITY = W_DENSITY + padded(HIDDEN);
constexpr int W_FEATURE = B_DENSITY + padded(1);
constexpr int B_FEATURE = W_FEATURE + padded(HIDDEN * HIDDEN);
constexpr int W_DIRECTION = B_FEATURE + padded(HIDDEN);  // rows of the features
constexpr int W_SEEN = W_DIRECTION + HIDDEN * HIDDEN;    // rows of the encoded direction, of the same layer
constexpr int B_DIRECTION = W_DIRECTION + padded(JOINED * HIDDEN);
constexpr int W_COLOR = B_DIRECTION + padded(HIDDEN);
constexpr int B_COLOR = W_COLOR + padded(HIDDEN * 3);
constexpr int ROW = B_COLOR + padded(3);
static_assert(ROW == 6240, "as ROW_LENGTH in trainer/ops/networks.py");

}  // namespace knf
