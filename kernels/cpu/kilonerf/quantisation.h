// What the integer code paths need to know of a network before they choose the steps of its numbers.
#pragma once

#include "cpu/kilonerf/layers.h"

namespace knf::KNF_PATH {

// Largest value of each hidden unit at some points.
struct UnitRanges {
    float layer0[HIDDEN] = {}, layer1[HIDDEN] = {}, layer2[HIDDEN] = {};
};

KNF_INLINE UnitRanges observe(const Network& net, const CellPoints& points) {
    UnitRanges ranges;
    for (int first = 0; first < CellPoints::COUNT; first += W) {
        floats position[POSITION_CHANNELS], hidden[HIDDEN], joined[JOINED];
        for (int axis = 0; axis < 3; axis++) {
            encode<POSITION_FREQUENCIES, 1>(load(points.local[axis] + first),
                                            position + axis * (POSITION_CHANNELS / 3));
            encode<DIRECTION_FREQUENCIES, 1>(load(points.unit[axis] + first),
                                             joined + HIDDEN + axis * (DIRECTION_CHANNELS / 3));
        }
        const auto note = [](const floats* units, float* largest) {
            for (int unit = 0; unit < HIDDEN; unit++)
                for (int i = 0; i < W; i++)
                    if (units[unit][i] > largest[unit]) largest[unit] = units[unit][i];
        };
        dense<POSITION_CHANNELS, HIDDEN, 4, 1, true>(net.w0, net.b0, position, hidden);
        note(hidden, ranges.layer0);
        dense<HIDDEN, HIDDEN, 4, 1, true>(net.w1, net.b1, hidden, joined);
        note(joined, ranges.layer1);
        dense<JOINED, HIDDEN, 4, 1, true>(net.w_direction, net.b_direction, joined, hidden);
        note(hidden, ranges.layer2);
    }
    return ranges;
}

KNF_INLINE float magnitude(float x) { return x < 0.0f ? -x : x; }
KNF_INLINE float larger(float a, float b) { return a > b ? a : b; }
KNF_INLINE int rounded(float x) { return static_cast<int>(x < 0.0f ? x - 0.5f : x + 0.5f); }

}  // namespace knf::KNF_PATH
