// The direction's part of the direction layer, as a polynomial of the pixel.
//
// Seen from one camera, the encoded direction varies little over the few pixels that one cell covers: instead of
// encoding every sample's direction and multiplying it by 27 rows of weights, that product is computed at 3 x 3
// pixels and interpolated by a polynomial that is quadratic in x and in y. The interpolation's error is at most
// (8 h)^3 / 24 of the weights of the highest frequency, 2^3, where h is half of the area's angle: 6e-4 at the
// largest area that march.cpp lets through, 1e-4 for a cell that takes 3 percent of a picture's width.
#pragma once

#include "cpu/kilonerf/layers.h"

namespace knf::KNF_PATH {

constexpr int FIT_TERMS = 9;  // 1, x, y, x^2, y^2, x y, x^2 y, x y^2, x^2 y^2

struct DirectionFit {
    float centre[2];        // pixels from the tile's corner
    float inverse_half[2];  // x and y are -1 to 1 over the area
    float coefficients[FIT_TERMS][HIDDEN];
};

// weights: [DIRECTION_CHANNELS][HIDDEN].
KNF_INLINE void fit_directions(const float* weights, const FrameSetup& frame, const Rectangle& tile,
                               const Rectangle& area, DirectionFit& fit) {
    constexpr int NODES = 16;           // 9 used
    constexpr float NODE = 0.8660254f;  // of the Chebyshev polynomial of degree 3; the others are 0 and -NODE
    const float half_x = 0.5f * static_cast<float>(area.x1 - area.x0);
    const float half_y = 0.5f * static_cast<float>(area.y1 - area.y0);
    const float middle_x = static_cast<float>(area.x0) - 0.5f + half_x;  // pixel_slope adds a half
    const float middle_y = static_cast<float>(area.y0) - 0.5f + half_y;
    fit.centre[0] = middle_x - static_cast<float>(tile.x0);
    fit.centre[1] = middle_y - static_cast<float>(tile.y0);
    fit.inverse_half[0] = 1.0f / half_x;
    fit.inverse_half[1] = 1.0f / half_y;

    float node_x[NODES], node_y[NODES], encoded[DIRECTION_CHANNELS][NODES];
    for (int n = 0; n < NODES; n++) {
        node_x[n] = middle_x + half_x * NODE * static_cast<float>(n % 3 - 1);
        node_y[n] = middle_y + half_y * NODE * static_cast<float>(n / 3 % 3 - 1);
    }
    for (int n = 0; n < NODES; n += W) {
        const floats a = pixel_slope(load(node_x + n), frame.cx, frame.fx);
        const floats b = -pixel_slope(load(node_y + n), frame.cy, frame.fy);
        floats direction[3], squares = {};
        for (int axis = 0; axis < 3; axis++) {
            direction[axis] = ray_component(frame.rotation + 3 * axis, a, b);
            squares += direction[axis] * direction[axis];
        }
        floats length;
        for (int i = 0; i < W; i++) length[i] = __builtin_sqrtf(squares[i]);
        for (int axis = 0; axis < 3; axis++) {
            constexpr int CHANNELS = DIRECTION_CHANNELS / 3;
            floats rows[CHANNELS];
            encode<DIRECTION_FREQUENCIES, 1>(direction[axis] / length, rows);
            for (int channel = 0; channel < CHANNELS; channel++)
                store(encoded[axis * CHANNELS + channel] + n, rows[channel]);
        }
    }

    for (int out = 0; out < HIDDEN; out += W) {
        floats value[3][3];  // [y][x]
        for (auto& row : value)
            for (floats& v : row) v = floats{};
        for (int channel = 0; channel < DIRECTION_CHANNELS; channel++) {
            const floats weight = load(weights + channel * HIDDEN + out);
            for (int n = 0; n < 9; n++) value[n / 3][n % 3] += encoded[channel][n] * weight;
        }
        // Values at -NODE, 0, NODE to coefficients of 1, x, x^2: along x, then along y.
        const auto to_coefficients = [](floats& low, floats& middle, floats& high) {
            const floats slope = (high - low) * (0.5f / NODE);
            const floats curve = ((high + low) - 2.0f * middle) * (0.5f / (NODE * NODE));
            low = middle, middle = slope, high = curve;
        };
        for (auto& row : value) to_coefficients(row[0], row[1], row[2]);
        for (int x = 0; x < 3; x++) to_coefficients(value[0][x], value[1][x], value[2][x]);
        const floats terms[FIT_TERMS] = {value[0][0], value[0][1], value[1][0], value[0][2], value[2][0],
                                         value[1][1], value[1][2], value[2][1], value[2][2]};
        for (int term = 0; term < FIT_TERMS; term++) store(fit.coefficients[term] + out, terms[term]);
    }
}

// The terms but the first, for samples of some rays (indices within the tile).
KNF_INLINE void fit_terms(const DirectionFit& fit, ints ray, floats (&terms)[FIT_TERMS - 1]) {
    const floats x = (to_floats(ray & (TILE - 1)) - fit.centre[0]) * fit.inverse_half[0];
    const floats y = (to_floats(ray / TILE) - fit.centre[1]) * fit.inverse_half[1];
    terms[0] = x, terms[1] = y, terms[2] = x * x, terms[3] = y * y, terms[4] = x * y;
    terms[5] = terms[2] * y, terms[6] = x * terms[3], terms[7] = terms[2] * terms[3];
}

}  // namespace knf::KNF_PATH
