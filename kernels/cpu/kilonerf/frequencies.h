// How many frequencies of a position a network looks at: all of them, or the first few, where the weights of all others
// are zero. Networks are trained so (trainer/settings.py, `frequencies`): the highest ones have periods far below a
// voxel. Then layer 0 has 39 inputs instead of 63.
#pragma once

#include "cpu/march/scene.h"
#include "cpu/simd/vectors.h"

namespace knf::KNF_PATH {

constexpr int FEW_FREQUENCIES = 6;

// The row of layer 0 for cos 2^f v of an axis; that for the sine is POSITION_FREQUENCIES further on, that for v itself
// right before f = 0.
KNF_INLINE constexpr int cosine_row(int axis, int f) { return axis * (POSITION_CHANNELS / 3) + 1 + f; }

KNF_INLINE bool has_few_frequencies(const Network& net) {
    bool few = true;
    for (int axis = 0; axis < 3; axis++)
        for (int f = FEW_FREQUENCIES; f < POSITION_FREQUENCIES; f++)
            for (int out = 0; out < HIDDEN; out++)
                few &= net.w0[cosine_row(axis, f) * HIDDEN + out] == 0.0f &&
                       net.w0[(cosine_row(axis, f) + POSITION_FREQUENCIES) * HIDDEN + out] == 0.0f;
    return few;
}

// Calls action(row) for each row of layer 0 that counts with so many frequencies, in their order.
template <class Action>
KNF_INLINE void for_position_rows(int frequencies, const Action& action) {
    for (int row = 0; row < POSITION_CHANNELS; row++) {
        const int of_axis = row % (POSITION_CHANNELS / 3);
        if (of_axis == 0 || (of_axis - 1) % POSITION_FREQUENCIES < frequencies) action(row);
    }
}

// Layer 0 of a packed network, which has it as `few_w0` if it is of FEW_FREQUENCIES and else as `w0`.
template <int F, class Packed>
KNF_INLINE auto& first_layer(Packed& net) {
    if constexpr (F == FEW_FREQUENCIES)
        return net.few_w0;
    else
        return net.w0;
}

}  // namespace knf::KNF_PATH
