// A network's parameters, gradients and optimiser state: one row each, laid out as kernels/cpu/training/training.h
// says.
#pragma once

#include "scene.cuh"

namespace knf {

constexpr int POSITION_CHANNELS = 63, POSITION_FREQUENCIES = 10;
constexpr int DIRECTION_CHANNELS = 27, DIRECTION_FREQUENCIES = 4;

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
constexpr int B_DIRECTION = W_DIRECTION + padded((HIDDEN + DIRECTION_CHANNELS) * HIDDEN);
constexpr int W_COLOUR = B_DIRECTION + padded(HIDDEN);
constexpr int B_COLOUR = W_COLOUR + padded(HIDDEN * 3);
constexpr int ROW = B_COLOUR + padded(3);
static_assert(ROW == 6240, "as ROW_LENGTH in trainer/ops/networks.py");

}  // namespace knf
