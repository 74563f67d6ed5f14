// The tiny networks in 16-bit integers, one 32-bit lane per sample. Compiled once per instruction set.
//
// One instruction multiplies two pairs of 16-bit numbers in each lane and adds the products: twice the work of a
// float32 multiply-add. Inputs therefore come in pairs, [pair][vector], and weights as pairs [pair][output].
//
// Numbers: encodings are multiples of 2^-14. A hidden unit is a multiple of a step of its own, chosen when the
// network is packed so that four times the largest value seen at sample points fits 15 bits (larger values
// saturate). A sum in a layer is the next unit's step divided by a power of two, chosen for each output as small as
// the bound on the sum allows: sums of 32 bits never overflow, whatever the input.
#include "cpu/kilonerf/direction_fit.h"
#include "cpu/kilonerf/frequencies.h"
#include "cpu/kilonerf/integer_layers.h"
#include "cpu/kilonerf/quantisation.h"
#include "cpu/march/evaluator.h"
#include "cpu/simd/narrow.h"

namespace knf::KNF_PATH {
namespace {

constexpr int position_pairs(int frequencies) { return 3 * frequencies + 2; }
constexpr int HIDDEN_PAIRS = HIDDEN / 2;
constexpr int FIT_PAIRS = (FIT_TERMS - 1) / 2;
constexpr float ENCODING_STEPS = 16384.0f;  // steps of an encoded channel per 1
constexpr float LARGEST = 32767.0f;
constexpr float LARGEST_SUM = 2.0e9f;  // below 2^31 by more than the rounding of weights can add
constexpr float HEADROOM = 4.0f;       // of hidden units over the largest value seen

// Pairs of weights, the inputs of a pair in the low and the high half: [block of outputs][pair][output].
template <int PAIRS>
using Weights = int32_t[HIDDEN / BLOCK][PAIRS][BLOCK];

struct alignas(64) PackedNetwork {
    union {
        Weights<position_pairs(POSITION_FREQUENCIES)> w0;
        Weights<position_pairs(FEW_FREQUENCIES)> few_w0;  // if few
    };
    Weights<HIDDEN_PAIRS> w1;
    Weights<HIDDEN_PAIRS> w2;  // direction layer, rows of hidden units
    int32_t w_density[HIDDEN_PAIRS];
    int32_t w_color[HIDDEN_PAIRS][3];
    int32_t b0[HIDDEN], b1[HIDDEN];
    int32_t shift0[HIDDEN], shift1[HIDDEN], shift2[HIDDEN];
    float steps2[HIDDEN];  // steps of the direction layer's sums per 1
    float b2[HIDDEN];      // in these steps, with the rounding of the shift
    OutputSteps outputs;
    float w_direction[DIRECTION_CHANNELS * HIDDEN];
    bool few;  // see frequencies.h
};

// The part of the direction layer that holds for one visit.
struct PackedVisit {
    DirectionFit fit;
    Weights<FIT_PAIRS> weights;
    int32_t bias[HIDDEN];
};
static_assert(sizeof(PackedVisit) <= VISIT_BYTES);

KNF_INLINE int32_t pair_of(int low, int high) {
    return static_cast<int32_t>((static_cast<uint32_t>(low) & 0xffffu) | static_cast<uint32_t>(high) << 16);
}

// sum + low halves' product + high halves' product.
KNF_INLINE ints add_products(ints sum, ints a, ints b) {
#if defined(__AVX512VNNI__)
    return (ints)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVXVNNI__)
    return (ints)_mm256_dpwssd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
#else
    return sum + (ints)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#endif
}

// Low halves from one vector's low halves, high halves from another's.
KNF_INLINE ints join_halves(ints low, ints high) {
#if defined(__AVX512F__)
    return (ints)_mm512_mask_blend_epi16(0xaaaaaaaau, (__m512i)low, (__m512i)(high << 16));
#else
    return (ints)_mm256_blend_epi16((__m256i)low, (__m256i)(high << 16), 0xaa);
#endif
}

// Pairs of 16-bit numbers from two vectors of integers: rectified, and saturated at the largest.
KNF_INLINE ints rectified_pairs(ints low, ints high) {
#if defined(__AVX512F__)
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    const __m512i packed = _mm512_max_epi16(_mm512_packs_epi32((__m512i)low, (__m512i)high), _mm512_setzero_si512());
    return (ints)_mm512_shuffle_epi8(packed, order);
#else
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
    const __m256i packed = _mm256_max_epi16(_mm256_packs_epi32((__m256i)low, (__m256i)high), _mm256_setzero_si256());
    return (ints)_mm256_shuffle_epi8(packed, order);
#endif
}

// Pairs of numbers within [-1, 1], in encoding steps. Adding 1.5 * 2^23 leaves a rounded integer in the low bits.
KNF_INLINE ints encoded_pairs(floats low, floats high) {
    constexpr float MAGIC = 12582912.0f;
    return join_halves(reinterpret_cast<ints>(low * ENCODING_STEPS + MAGIC),
                       reinterpret_cast<ints>(high * ENCODING_STEPS + MAGIC));
}

template <int PAIRS, int OUT, int V>
KNF_INLINE void add_layer(const int32_t (*weights)[OUT], const ints* x, ints (&sum)[OUT][V]) {
#pragma GCC unroll 2
    for (int pair = 0; pair < PAIRS; pair++) {
        ints input[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) input[v] = x[pair * V + v];
#pragma GCC unroll 4
        for (int o = 0; o < OUT; o++) {
            const ints weight = splat(weights[pair][o]);
#pragma GCC unroll 2
            for (int v = 0; v < V; v++) sum[o][v] = add_products(sum[o][v], input[v], weight);
        }
    }
}

// Shift the sums of a block to the units' steps and rectify them. y: the block's pairs.
template <int V>
KNF_INLINE void finish_units(const int32_t* shift, const ints (&sum)[BLOCK][V], ints* y) {
#pragma GCC unroll 2
    for (int o = 0; o < BLOCK; o += 2)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++)
            y[o / 2 * V + v] = rectified_pairs(sum[o][v] >> splat(shift[o]), sum[o + 1][v] >> splat(shift[o + 1]));
}

template <int V, int F>
KNF_INLINE void evaluate_block(const PackedNetwork& net, const PackedVisit& visit, Workspace& work, int first) {
    constexpr int POSITION_PAIRS = position_pairs(F);
    const auto& w0 = first_layer<F>(net);
    ints position[POSITION_PAIRS * V], hidden[HIDDEN_PAIRS * V], units[HIDDEN_PAIRS * V], terms[FIT_PAIRS * V];
    for (int v = 0; v < V; v++) {
        floats rows[3][1 + 2 * F], fitted[FIT_TERMS - 1];
        for (int axis = 0; axis < 3; axis++) {
            encode<F, 1>(load(work.local[axis] + first + v * W), rows[axis]);
            for (int f = 0; f < F; f++)
                position[(axis * F + f) * V + v] = encoded_pairs(rows[axis][1 + f], rows[axis][1 + F + f]);
        }
        position[3 * F * V + v] = encoded_pairs(rows[0][0], rows[1][0]);
        position[(3 * F + 1) * V + v] = encoded_pairs(rows[2][0], floats{});
        fit_terms(visit.fit, load(work.ray + first + v * W), fitted);
        for (int pair = 0; pair < FIT_PAIRS; pair++)
            terms[pair * V + v] = encoded_pairs(fitted[2 * pair], fitted[2 * pair + 1]);
    }
    for (int block = 0; block < HIDDEN / BLOCK; block++) {
        ints sum[BLOCK][V];
        start_sums(net.b0 + block * BLOCK, sum);
        add_layer<POSITION_PAIRS>(w0[block], position, sum);
        finish_units(net.shift0 + block * BLOCK, sum, hidden + block * BLOCK / 2 * V);
    }
    for (int block = 0; block < HIDDEN / BLOCK; block++) {
        ints sum[BLOCK][V];
        start_sums(net.b1 + block * BLOCK, sum);
        add_layer<HIDDEN_PAIRS>(net.w1[block], hidden, sum);
        finish_units(net.shift1 + block * BLOCK, sum, units + block * BLOCK / 2 * V);
    }
    ints density[1][V];
    start_sums(nullptr, density);
    add_layer<HIDDEN_PAIRS>(reinterpret_cast<const int32_t (*)[1]>(net.w_density), units, density);
    for (int block = 0; block < HIDDEN / BLOCK; block++) {
        ints sum[BLOCK][V];
        start_sums(visit.bias + block * BLOCK, sum);
        add_layer<HIDDEN_PAIRS>(net.w2[block], units, sum);
        add_layer<FIT_PAIRS>(visit.weights[block], terms, sum);
        finish_units(net.shift2 + block * BLOCK, sum, hidden + block * BLOCK / 2 * V);
    }
    ints color[3][V];
    start_sums(nullptr, color);
    add_layer<HIDDEN_PAIRS>(net.w_color, hidden, color);
    store_outputs(net.outputs, density[0], color, work, first);
}

// The integers of one output: weights in steps of its sum, and the shift from there to the unit's step.
struct Output {
    float step;       // of the unit
    float sum_steps;  // steps of the sum per 1
    int shift;
};

// input_steps: the step of each of IN inputs, which are at most `input_limit` steps. fitted: bound on the fitted part.
template <int IN>
Output quantise(const float* weights, const float* input_steps, float input_limit, float bias, float fitted,
                float seen) {
    float bound = magnitude(bias) + fitted, largest = fitted * (0.5f / ENCODING_STEPS);  // of terms and weights
    for (int i = 0; i < IN; i++) {
        const float weight = magnitude(weights[i * HIDDEN]) * input_steps[i];
        bound += weight * input_limit;
        largest = larger(largest, weight);
    }
    const float step = larger(HEADROOM * seen, bound / 16.0f) / LARGEST;
    int shift = 0;
    float scale = 1.0f;
    while (shift < 30 && 2.0f * scale * bound <= LARGEST_SUM * step && 2.0f * scale * largest <= LARGEST * step)
        scale *= 2.0f, shift++;
    if (!(step > 0.0f)) return {1.0f, 1.0f, 0};  // nothing goes in
    return {step, scale / step, shift};
}

template <int IN, int PAIRS>
void pack_column(const float* weights, const int (&order)[2 * PAIRS], const float* input_steps, float sum_steps,
                 int out, Weights<PAIRS>& packed) {
    for (int pair = 0; pair < PAIRS; pair++) {
        int half[2];
        for (int i = 0; i < 2; i++) {
            const int in = order[2 * pair + i];
            half[i] = in < IN ? rounded(weights[in * HIDDEN + out] * input_steps[in] * sum_steps) : 0;
        }
        packed[out / BLOCK][pair][out % BLOCK] = pair_of(half[0], half[1]);
    }
}

// A row of weights of an output that is not a hidden unit; returns the step of its sum.
float pack_row(const float* weights, int stride, const float* input_steps, int32_t* packed, int packed_stride) {
    float bound = 0.0f, largest = 0.0f;
    for (int i = 0; i < HIDDEN; i++) {
        const float weight = magnitude(weights[i * stride]) * input_steps[i];
        bound += weight * LARGEST;
        largest = larger(largest, weight);
    }
    const float step = larger(bound / LARGEST_SUM, largest / LARGEST);
    const float steps = step > 0.0f ? 1.0f / step : 0.0f;
    for (int pair = 0; pair < HIDDEN_PAIRS; pair++) {
        const int i = 2 * pair;
        packed[pair * packed_stride] = pair_of(rounded(weights[i * stride] * input_steps[i] * steps),
                                               rounded(weights[(i + 1) * stride] * input_steps[i + 1] * steps));
    }
    return step;
}

// Layer 0 of F frequencies; the others have no weight.
template <int F>
void pack_position(const float* weights, const float* input_steps, float sum_steps, int out, PackedNetwork& packed) {
    constexpr int PAIRS = position_pairs(F);
    int order[2 * PAIRS];
    for (int axis = 0; axis < 3; axis++) {
        for (int f = 0; f < F; f++) {
            order[2 * (axis * F + f)] = cosine_row(axis, f);
            order[2 * (axis * F + f) + 1] = cosine_row(axis, f) + POSITION_FREQUENCIES;
        }
        order[6 * F + axis] = cosine_row(axis, 0) - 1;
    }
    order[2 * PAIRS - 1] = POSITION_CHANNELS;  // nothing
    pack_column<POSITION_CHANNELS, PAIRS>(weights, order, input_steps, sum_steps, out, first_layer<F>(packed));
}

void pack(const Network& net, const CellPoints& points, void* memory) {
    PackedNetwork& packed = *static_cast<PackedNetwork*>(memory);
    const UnitRanges ranges = observe(net, points);
    int hidden_order[HIDDEN];
    for (int i = 0; i < HIDDEN; i++) hidden_order[i] = i;
    packed.few = has_few_frequencies(net);
    const auto pack_first = packed.few ? pack_position<FEW_FREQUENCIES> : pack_position<POSITION_FREQUENCIES>;

    float input_steps[POSITION_CHANNELS], steps0[HIDDEN], steps1[HIDDEN], steps2[HIDDEN];
    for (float& step : input_steps) step = 1.0f / ENCODING_STEPS;
    const auto rounding = [](const Output& output) {
        return output.shift ? 0.5f * static_cast<float>(1 << output.shift) : 0.0f;
    };
    for (int o = 0; o < HIDDEN; o++) {
        const Output output =
            quantise<POSITION_CHANNELS>(net.w0 + o, input_steps, ENCODING_STEPS, net.b0[o], 0.0f, ranges.layer0[o]);
        pack_first(net.w0, input_steps, output.sum_steps, o, packed);
        packed.b0[o] = rounded(net.b0[o] * output.sum_steps + rounding(output));
        packed.shift0[o] = output.shift;
        steps0[o] = output.step;
    }
    for (int o = 0; o < HIDDEN; o++) {
        const Output output = quantise<HIDDEN>(net.w1 + o, steps0, LARGEST, net.b1[o], 0.0f, ranges.layer1[o]);
        pack_column<HIDDEN, HIDDEN_PAIRS>(net.w1, hidden_order, steps0, output.sum_steps, o, packed.w1);
        packed.b1[o] = rounded(net.b1[o] * output.sum_steps + rounding(output));
        packed.shift1[o] = output.shift;
        steps1[o] = output.step;
    }
    const float* w_direction = net.w_direction + HIDDEN * HIDDEN;
    for (int o = 0; o < HIDDEN; o++) {
        float fitted = 0.0f;  // encoded directions are at most 1
        for (int i = 0; i < DIRECTION_CHANNELS; i++) fitted += magnitude(w_direction[i * HIDDEN + o]);
        const Output output =
            quantise<HIDDEN>(net.w_direction + o, steps1, LARGEST, net.b_direction[o], fitted, ranges.layer2[o]);
        pack_column<HIDDEN, HIDDEN_PAIRS>(net.w_direction, hidden_order, steps1, output.sum_steps, o, packed.w2);
        packed.steps2[o] = output.sum_steps;
        packed.b2[o] = net.b_direction[o] * output.sum_steps + rounding(output);
        packed.shift2[o] = output.shift;
        steps2[o] = output.step;
    }
    packed.outputs.density_step = pack_row(net.w_density, 1, steps1, packed.w_density, 1);
    packed.outputs.density_bias = net.b_density;
    for (int channel = 0; channel < 3; channel++) {
        packed.outputs.color_step[channel] = pack_row(net.w_color + channel, 3, steps2, packed.w_color[0] + channel, 3);
        packed.outputs.color_bias[channel] = net.b_color[channel];
    }
    __builtin_memcpy(packed.w_direction, w_direction, sizeof(packed.w_direction));
}

}  // namespace

void begin_visit(const void* network, const FrameSetup& frame, const Rectangle& tile, const Rectangle& area,
                 Workspace& work) {
    const PackedNetwork& net = *static_cast<const PackedNetwork*>(network);
    PackedVisit& visit = *reinterpret_cast<PackedVisit*>(work.visit);
    fit_directions(net.w_direction, frame, tile, area, visit.fit);
    for (int out = 0; out < HIDDEN; out += W) {
        const floats steps = load(net.steps2 + out);
        store(visit.bias + out, nearest(load(net.b2 + out) + load(visit.fit.coefficients[0] + out) * steps));
        int32_t packed[FIT_TERMS - 1][W];
        for (int term = 1; term < FIT_TERMS; term++) {
            const floats weight = load(visit.fit.coefficients[term] + out) * (steps * (1.0f / ENCODING_STEPS));
            store(packed[term - 1], nearest(max(min(weight, splat(LARGEST)), splat(-LARGEST))));
        }
        for (int i = 0; i < W; i++)
            for (int pair = 0; pair < FIT_PAIRS; pair++)
                visit.weights[(out + i) / BLOCK][pair][i % BLOCK] =
                    pair_of(packed[2 * pair][i], packed[2 * pair + 1][i]);
    }
}

void evaluate(const void* network, Workspace& work, int count) {
    const PackedNetwork& net = *static_cast<const PackedNetwork*>(network);
    const PackedVisit& visit = *reinterpret_cast<const PackedVisit*>(work.visit);
    in_blocks(count, [&](auto vectors, int first) {
        if (net.few)
            evaluate_block<vectors.number, FEW_FREQUENCIES>(net, visit, work, first);
        else
            evaluate_block<vectors.number, POSITION_FREQUENCIES>(net, visit, work, first);
    });
}

extern const CodePath path = {
    KNF_PATH_NAME, "int16", FITTED, sizeof(PackedNetwork), pack, begin_visit, evaluate, render_tile,
};

}  // namespace knf::KNF_PATH
