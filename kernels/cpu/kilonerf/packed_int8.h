// How a network of networks_int8.cpp lies in memory, and how its integers are chosen.
#pragma once

#include "cpu/kilonerf/direction_fit.h"
#include "cpu/kilonerf/frequencies.h"
#include "cpu/kilonerf/integer_layers.h"
#include "cpu/kilonerf/quantisation.h"

namespace knf::KNF_PATH {

constexpr int position_quads(int frequencies) { return (6 * frequencies + 4) / 4; }
constexpr int HIDDEN_QUADS = HIDDEN / 4;
constexpr int FIT_QUADS = (FIT_TERMS - 1) / 4;
// Quads whose products are added in 16 bits: of encoded channels, in two groups; of terms; and of hidden units.
constexpr int position_group(int frequencies) { return position_quads(frequencies) / 2; }
constexpr int POSITION_GROUPS = 2;
constexpr int FIT_GROUP = 8;
constexpr int HIDDEN_GROUP = 4;
constexpr int FINER = 32;  // steps of outputs' weights in one of hidden units' weights; sums of the rest fit 16 bits
constexpr float LARGEST = 127.0f;  // of weights, in steps
constexpr float LARGEST_UNIT = 160.0f;
constexpr float LARGEST_SUM = 32767.0f;
constexpr float INPUT_STEPS = 128.0f;  // of encoded channels and terms, per 1
constexpr float LARGEST_TERM = 64.0f;  // of the weights of terms
constexpr float HEADROOM = 1.5f;       // of hidden units over the largest value seen
static_assert(HIDDEN_QUADS % HIDDEN_GROUP == 0 && FIT_QUADS <= FIT_GROUP);
static_assert(position_quads(POSITION_FREQUENCIES) % 2 == 0 && position_quads(FEW_FREQUENCIES) % 2 == 0);

// Quads of weights: [block of outputs][quad][output].
template <int QUADS>
using Weights = int32_t[HIDDEN / BLOCK][QUADS][BLOCK];
// What inputs with a sign bring in by the 128 that they have too much, to be taken off each 16 bits.
template <int GROUPS>
using Offsets = int32_t[HIDDEN / BLOCK][GROUPS][BLOCK];
// From sums to units: of two outputs, four times each.
using Scales = int16_t[HIDDEN / 2][8];

struct alignas(64) PackedNetwork {
    union {
        Weights<position_quads(POSITION_FREQUENCIES)> w0;
        Weights<position_quads(FEW_FREQUENCIES)> few_w0;  // if few
    };
    Weights<HIDDEN_QUADS> w1;
    Weights<HIDDEN_QUADS> w2;  // direction layer, rows of hidden units
    Offsets<POSITION_GROUPS> offsets0;
    // Of the outputs' weights first FINER times a byte, then the rest.
    int32_t w_density[2][HIDDEN_QUADS][1];
    int32_t w_color[2][HIDDEN_QUADS][3];
    int32_t b0[HIDDEN], b1[HIDDEN];
    Scales scale0, scale1, scale2;
    float steps2[HIDDEN];  // steps of the direction layer's sums per 1
    float b2[HIDDEN];      // in these steps
    OutputSteps outputs;
    float w_direction[DIRECTION_CHANNELS * HIDDEN];
    bool few;  // see frequencies.h
};

// The part of the direction layer that holds for one visit.
struct PackedVisit {
    DirectionFit fit;
    Weights<FIT_QUADS> weights;
    Offsets<1> offsets;
    int32_t bias[HIDDEN];
};
static_assert(sizeof(PackedVisit) <= VISIT_BYTES);

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr bool VNNI = true;
#else
constexpr bool VNNI = false;
#endif

KNF_INLINE int32_t quad_of(const int (&bytes)[4]) {
    uint32_t quad = 0;
    for (int i = 0; i < 4; i++) quad |= (static_cast<uint32_t>(bytes[i]) & 255u) << (8 * i);
    return static_cast<int32_t>(quad);
}

// The weights of one output as integers, four for each quad of inputs.
template <int QUADS>
struct Output {
    float steps;  // of its sum, per 1
    int bytes[QUADS][4];
};

// weights: [.][stride], the input at a place of a quad is row order[place], none if negative; in steps input_steps.
// most_steps: an upper limit of steps. GROUP: as for add_layer.
template <int QUADS, int GROUP, bool SIGNED>
KNF_INLINE Output<QUADS> quantise(const float* weights, int stride, const int (&order)[QUADS * 4],
                                  const float* input_steps, float most_steps) {
    constexpr float LARGEST_INPUT = SIGNED ? 128.0f : LARGEST_UNIT;
    constexpr float ROUNDING = 0.5f * 2.0f * GROUP * LARGEST_INPUT;
    float real[QUADS][4];
    for (int place = 0; place < QUADS * 4; place++)
        real[place / 4][place % 4] =
            order[place] < 0 ? 0.0f : weights[order[place] * stride] * input_steps[order[place]];
    float steps = most_steps;
    const auto limit = [&](float bound, float most) {
        if (bound * steps > most) steps = most / bound;
    };
    for (int start = 0; start < QUADS; start += GROUP) {
        for (int half = 0; half < 4; half += 2) {
            float above = 0.0f, below = 0.0f;
            for (int quad = start; quad < QUADS && quad < start + GROUP; quad++) {
                for (int i = half; i < half + 2; i++) {
                    const float weight = real[quad][i];
                    limit(magnitude(weight), LARGEST);
                    (weight > 0.0f || SIGNED ? above : below) += magnitude(weight);
                }
                // A pair of products must fit 16 bits with the 128 that inputs with a sign have too much.
                if (SIGNED) limit(magnitude(real[quad][half]) + magnitude(real[quad][half + 1]), LARGEST);
            }
            limit(larger(above, below), (LARGEST_SUM - ROUNDING) / LARGEST_INPUT);
        }
    }
    Output<QUADS> output;
    output.steps = steps;
    for (int quad = 0; quad < QUADS; quad++)
        for (int i = 0; i < 4; i++) output.bytes[quad][i] = rounded(real[quad][i] * steps);
    return output;
}

// -128 times the weights of each half of a group's quads, in 16 bits.
KNF_INLINE int32_t offset_of(const int (*bytes)[4], int quads) {
    uint32_t halves[2] = {};
    for (int quad = 0; quad < quads; quad++)
        for (int i = 0; i < 4; i++) halves[i / 2] -= 128u * static_cast<uint32_t>(bytes[quad][i]);
    return static_cast<int32_t>((halves[0] & 0xffffu) | halves[1] << 16);
}

KNF_INLINE int sum_of(const int (*bytes)[4], int quads) {
    int sum = 0;
    for (int quad = 0; quad < quads; quad++)
        for (int i = 0; i < 4; i++) sum += bytes[quad][i];
    return sum;
}

template <int QUADS>
KNF_INLINE void set_column(const Output<QUADS>& output, int out, Weights<QUADS>& packed) {
    for (int quad = 0; quad < QUADS; quad++) packed[out / BLOCK][quad][out % BLOCK] = quad_of(output.bytes[quad]);
}

// The step of a unit whose sum has `steps` per 1, and the factor from one to the other.
KNF_INLINE float set_scale(float steps, float seen, float bound, int out, Scales& scales) {
    const float step = larger(HEADROOM * seen, bound / 64.0f) / LARGEST_UNIT;
    const float fraction = 32768.0f / larger(steps * step, 1.0f);
    const int scale = fraction < 1.0f ? 1 : fraction > LARGEST_SUM ? 32767 : rounded(fraction);
    for (int i = 0; i < 4; i++) scales[out / 2][out % 2 * 4 + i] = static_cast<int16_t>(scale);
    return 32768.0f / (static_cast<float>(scale) * steps);
}

KNF_INLINE float bound_of(const float* weights, int inputs, const float* input_steps, float largest_input, float bias) {
    float bound = magnitude(bias);
    for (int i = 0; i < inputs; i++) bound += magnitude(weights[i * HIDDEN]) * input_steps[i] * largest_input;
    return bound;
}

KNF_INLINE int32_t bias_of(float bias, float steps) { return rounded(larger(-1e8f, -larger(-1e8f, -bias * steps))); }

}  // namespace knf::KNF_PATH
