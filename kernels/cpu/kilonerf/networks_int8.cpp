// The tiny networks in 8-bit integers, one 32-bit lane per sample. Compiled once per instruction set.
//
// A lane holds four inputs of a layer, bytes without a sign, and is multiplied by four weights, bytes with one. VNNI
// adds the four products to a sum of 32 bits. AVX2 adds pairs of products in 16 bits, so the weights of each output
// are scaled such that sums of four or eight such pairs never overflow, whatever the input: both have the same sums,
// bit for bit.
//
// Numbers: an encoded channel is in steps of 1/128, from -128 to 127, as a byte 128 more. A hidden unit is 0 to 255
// steps of its own, chosen when the network is packed so that HEADROOM times the largest value seen at sample points
// fits (larger values saturate). Sums are scaled to it by one rounded product of 16 bits.
#include "cpu/kilonerf/packed_int8.h"
#include "cpu/march/evaluator.h"
#include "cpu/simd/narrow.h"

namespace knf::KNF_PATH {
namespace {

// sum + the four products of each lane.
KNF_INLINE ints add_quad(ints sum, ints inputs, ints weights) {
#if defined(__AVX512VNNI__)
    return (ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)inputs, (__m512i)weights);
#elif defined(__AVXVNNI__)
    return (ints)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)inputs, (__m256i)weights);
#else
    // Not by an intrinsic: GCC would add products to each other first, and keep them all in memory.
    const __m256i products = _mm256_maddubs_epi16((__m256i)inputs, (__m256i)weights);
    asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(products));
    return sum;
#endif
}

// The two sums of 16 bits in each lane, added.
KNF_INLINE ints joined_sums(ints sums) {
#if defined(__AVX512F__)
    return sums;
#else
    return (ints)_mm256_madd_epi16((__m256i)sums, _mm256_set1_epi16(1));
#endif
}

// sum += products of some quads. offsets: of each group of quads, where the inputs have a sign; else null.
template <int QUADS, int GROUP, int OUT, int V>
KNF_INLINE void add_layer(const int32_t (*weights)[OUT], const int32_t (*offsets)[OUT], const ints* x,
                          ints (&sum)[OUT][V]) {
    constexpr int COUNT = QUADS < GROUP ? QUADS : GROUP;
#pragma GCC unroll 2
    for (int start = 0; start < QUADS; start += GROUP) {
        ints part[OUT][V];
#pragma GCC unroll 4
        for (int o = 0; o < OUT; o++)
#pragma GCC unroll 2
            for (int v = 0; v < V; v++)
                part[o][v] = VNNI ? sum[o][v] : offsets ? splat(offsets[start / GROUP][o]) : ints{};
#pragma GCC unroll 8
        for (int quad = start; quad < start + COUNT; quad++) {
            ints input[V];
#pragma GCC unroll 2
            for (int v = 0; v < V; v++) input[v] = x[quad * V + v];
#pragma GCC unroll 4
            for (int o = 0; o < OUT; o++) {
                const ints weight = splat(weights[quad][o]);
#pragma GCC unroll 2
                for (int v = 0; v < V; v++) part[o][v] = add_quad(part[o][v], input[v], weight);
            }
        }
#pragma GCC unroll 4
        for (int o = 0; o < OUT; o++)
#pragma GCC unroll 2
            for (int v = 0; v < V; v++) sum[o][v] = VNNI ? part[o][v] : sum[o][v] + joined_sums(part[o][v]);
    }
}

// Sums of outputs that are not hidden units.
template <int OUT, int V>
KNF_INLINE void add_head(const int32_t (&weights)[2][HIDDEN_QUADS][OUT], const ints* x, ints (&sum)[OUT][V]) {
    start_sums(nullptr, sum);
    add_layer<HIDDEN_QUADS, HIDDEN_GROUP, OUT>(weights[0], nullptr, x, sum);
    for (ints(&sums)[V] : sum)
        for (ints& s : sums) s *= FINER;
    add_layer<HIDDEN_QUADS, HIDDEN_GROUP, OUT>(weights[1], nullptr, x, sum);
}

// Scale the sums of a block to the units' steps and rectify them. y: the block's quad.
template <int V>
KNF_INLINE void finish_units(const int16_t (*scales)[8], const ints (&sum)[BLOCK][V], ints* y) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) {
        const shorts low = multiply_fractions(pack_words(sum[0][v], sum[1][v]), repeat(scales[0]));
        const shorts high = multiply_fractions(pack_words(sum[2][v], sum[3][v]), repeat(scales[1]));
        const ints units = min_bytes(pack_halves(low, high), LARGEST_UNIT);
        y[v] = shuffle_bytes(units, _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    }
}

// Numbers within [-1, 1] in steps of 2^-15, those of two vectors in one.
template <int V>
KNF_INLINE shorts fractions(const floats (&x)[V]) {
    return pack_words(truncate(x[0] * 32767.0f), truncate(x[V - 1] * 32767.0f));
}

// Pairs of bytes, each the upper half of a fraction with its sign turned: 128 more than in steps of 1/128.
KNF_INLINE shorts byte_pairs(shorts low, shorts high) {
    const halves pair = ((halves)low >> 8) | ((halves)high & 0xff00);
    return (shorts)(pair ^ 0x8080);
}

template <int V>
KNF_INLINE void join_quads(shorts low, shorts high, ints* quads) {
    quads[0] = unpack_first(low, high);
    if (V == 2) quads[V - 1] = unpack_second(low, high);
}

// Twice the angle, in fractions: errors double, too.
KNF_INLINE void double_angle(shorts& s, shorts& c) {
    const shorts square = multiply_fractions(s, s), product = multiply_fractions(s, c);
    c = (splat16(32767) - square) - square;
    s = add_saturated(product, product);
}

// Quads (sin 2^f v, cos 2^f v, sin 2^(f+1) v, cos 2^(f+1) v) of each axis, then (x, y, z, nothing). Angles are doubled
// in 16 bits, and in float32 to where that starts anew.
template <int V, int F>
KNF_INLINE void encode_position(const Workspace& work, int first, ints* quads) {
    constexpr int RESTART = F / 2;
    shorts local[3];
    for (int axis = 0; axis < 3; axis++) {
        floats x[V], s[V], c[V];
        for (int v = 0; v < V; v++) {
            x[v] = load(work.local[axis] + first + v * W);
            first_angle(x[v], s[v], c[v]);
        }
        local[axis] = fractions(x);
        shorts pairs[F];
#pragma GCC unroll 2
        for (int start = 0; start < F; start += RESTART) {
            shorts sine = fractions(s), cosine = fractions(c);
#pragma GCC unroll 5
            for (int f = start; f < start + RESTART; f++) {
                pairs[f] = byte_pairs(sine, cosine);
                if (f + 1 < start + RESTART) double_angle(sine, cosine);
                if (start) continue;
                for (int v = 0; v < V; v++) {
                    const floats twice = s[v] + s[v], next = twice * c[v];
                    c[v] = 1.0f - twice * s[v];
                    s[v] = next;
                }
            }
        }
        for (int f = 0; f < F; f += 2) join_quads<V>(pairs[f], pairs[f + 1], quads + (axis * F + f) / 2 * V);
    }
    join_quads<V>(byte_pairs(local[0], local[1]), byte_pairs(local[2], shorts{}), quads + (position_quads(F) - 1) * V);
}

template <int V>
KNF_INLINE void encode_terms(const PackedVisit& visit, const Workspace& work, int first, ints* quads) {
    floats terms[V][FIT_TERMS - 1];
    for (int v = 0; v < V; v++) fit_terms(visit.fit, load(work.ray + first + v * W), terms[v]);
    shorts packed[FIT_TERMS - 1];
    for (int term = 0; term < FIT_TERMS - 1; term++) {
        floats both[V];
        for (int v = 0; v < V; v++) both[v] = terms[v][term];
        packed[term] = fractions(both);
    }
    for (int quad = 0; quad < FIT_QUADS; quad++)
        join_quads<V>(byte_pairs(packed[4 * quad], packed[4 * quad + 1]),
                      byte_pairs(packed[4 * quad + 2], packed[4 * quad + 3]), quads + quad * V);
}

template <int V, int F>
KNF_INLINE void evaluate_block(const PackedNetwork& net, const PackedVisit& visit, Workspace& work, int first) {
    constexpr int POSITION_QUADS = position_quads(F);
    ints position[POSITION_QUADS * V], hidden[HIDDEN_QUADS * V], units[HIDDEN_QUADS * V], terms[FIT_QUADS * V];
    encode_position<V, F>(work, first, position);
    encode_terms<V>(visit, work, first, terms);
    for (int block = 0; block < HIDDEN / BLOCK; block++) {
        ints sum[BLOCK][V];
        start_sums(net.b0 + block * BLOCK, sum);
        add_layer<POSITION_QUADS, position_group(F)>(first_layer<F>(net)[block], net.offsets0[block], position, sum);
        finish_units(net.scale0 + block * BLOCK / 2, sum, hidden + block * V);
    }
    for (int block = 0; block < HIDDEN / BLOCK; block++) {
        ints sum[BLOCK][V];
        start_sums(net.b1 + block * BLOCK, sum);
        add_layer<HIDDEN_QUADS, HIDDEN_GROUP, BLOCK>(net.w1[block], nullptr, hidden, sum);
        finish_units(net.scale1 + block * BLOCK / 2, sum, units + block * V);
    }
    ints density[1][V];
    add_head(net.w_density, units, density);
    for (int block = 0; block < HIDDEN / BLOCK; block++) {
        ints sum[BLOCK][V];
        start_sums(visit.bias + block * BLOCK, sum);
        add_layer<HIDDEN_QUADS, HIDDEN_GROUP, BLOCK>(net.w2[block], nullptr, units, sum);
        add_layer<FIT_QUADS, FIT_GROUP>(visit.weights[block], visit.offsets[block], terms, sum);
        finish_units(net.scale2 + block * BLOCK / 2, sum, hidden + block * V);
    }
    ints color[3][V];
    add_head(net.w_color, hidden, color);
    store_outputs(net.outputs, density[0], color, work, first);
}

KNF_INLINE float most_steps(float seen) { return LARGEST_SUM / larger(HEADROOM * seen, 1e-6f); }

// Layer 0 of F frequencies; the others have no weight. Returns the steps of its units.
template <int F>
void pack_position(const Network& net, const UnitRanges& ranges, float (&steps)[HIDDEN], PackedNetwork& packed) {
    constexpr int QUADS = position_quads(F), GROUP = position_group(F);
    int order[4 * QUADS];
    for (int axis = 0; axis < 3; axis++) {
        for (int f = 0; f < F; f++) {
            order[2 * (axis * F + f)] = cosine_row(axis, f) + POSITION_FREQUENCIES;
            order[2 * (axis * F + f) + 1] = cosine_row(axis, f);
        }
        order[6 * F + axis] = cosine_row(axis, 0) - 1;
    }
    order[4 * QUADS - 1] = -1;
    float input_steps[POSITION_CHANNELS];
    for (float& step : input_steps) step = 1.0f / INPUT_STEPS;
    for (int o = 0; o < HIDDEN; o++) {
        const auto output =
            quantise<QUADS, GROUP, true>(net.w0 + o, HIDDEN, order, input_steps, most_steps(ranges.layer0[o]));
        set_column(output, o, first_layer<F>(packed));
        // Bytes are cut: inputs are half a step more on average.
        const int sum = sum_of(output.bytes, QUADS);
        packed.b0[o] = bias_of(net.b0[o] + 0.5f * static_cast<float>(sum) / output.steps, output.steps);
        if (VNNI) packed.b0[o] -= 128 * sum;
        for (int group = 0; group < POSITION_GROUPS; group++)
            packed.offsets0[o / BLOCK][group][o % BLOCK] = offset_of(output.bytes + group * GROUP, GROUP);
        const float bound = bound_of(net.w0 + o, POSITION_CHANNELS, input_steps, INPUT_STEPS, net.b0[o]);
        steps[o] = set_scale(output.steps, ranges.layer0[o], bound, o, packed.scale0);
    }
}

void pack(const Network& net, const CellPoints& points, void* memory) {
    PackedNetwork& packed = *static_cast<PackedNetwork*>(memory);
    const UnitRanges ranges = observe(net, points);
    int hidden_order[HIDDEN];
    for (int i = 0; i < HIDDEN; i++) hidden_order[i] = i;
    float steps0[HIDDEN], steps1[HIDDEN], steps2[HIDDEN];
    packed.few = has_few_frequencies(net);
    if (packed.few)
        pack_position<FEW_FREQUENCIES>(net, ranges, steps0, packed);
    else
        pack_position<POSITION_FREQUENCIES>(net, ranges, steps0, packed);
    for (int o = 0; o < HIDDEN; o++) {
        const auto output = quantise<HIDDEN_QUADS, HIDDEN_GROUP, false>(net.w1 + o, HIDDEN, hidden_order, steps0,
                                                                        most_steps(ranges.layer1[o]));
        set_column(output, o, packed.w1);
        packed.b1[o] = bias_of(net.b1[o], output.steps);
        const float bound = bound_of(net.w1 + o, HIDDEN, steps0, LARGEST_UNIT, net.b1[o]);
        steps1[o] = set_scale(output.steps, ranges.layer1[o], bound, o, packed.scale1);
    }
    const float* w_direction = net.w_direction + HIDDEN * HIDDEN;
    for (int o = 0; o < HIDDEN; o++) {
        float fitted = 0.0f;  // encoded directions are at most 1, their slopes over a visit's pixels at most a quarter
        for (int i = 0; i < DIRECTION_CHANNELS; i++) fitted += magnitude(w_direction[i * HIDDEN + o]);
        const float most = LARGEST_TERM * INPUT_STEPS / larger(0.25f * fitted, 1e-6f), seen = ranges.layer2[o];
        const auto output = quantise<HIDDEN_QUADS, HIDDEN_GROUP, false>(net.w_direction + o, HIDDEN, hidden_order,
                                                                        steps1, -larger(-most_steps(seen), -most));
        set_column(output, o, packed.w2);
        packed.steps2[o] = output.steps;
        packed.b2[o] = net.b_direction[o] * output.steps;
        const float bound = bound_of(net.w_direction + o, HIDDEN, steps1, LARGEST_UNIT, net.b_direction[o]) + fitted;
        steps2[o] = set_scale(output.steps, seen, bound, o, packed.scale2);
    }
    // Returns the step of the sum.
    const auto pack_head = [&](const float* weights, int stride, const float* steps, int32_t* quads) {
        const auto output = quantise<HIDDEN_QUADS, HIDDEN_GROUP, false>(weights, stride, hidden_order, steps, 1e9f);
        const float finer = FINER * output.steps;
        for (int quad = 0; quad < HIDDEN_QUADS; quad++) {
            int rest[4];
            for (int i = 0; i < 4; i++) {
                const int unit = 4 * quad + i;
                rest[i] = rounded(weights[unit * stride] * steps[unit] * finer) - FINER * output.bytes[quad][i];
            }
            quads[quad * stride] = quad_of(output.bytes[quad]);
            quads[(HIDDEN_QUADS + quad) * stride] = quad_of(rest);
        }
        return 1.0f / finer;
    };
    packed.outputs.density_step = pack_head(net.w_density, 1, steps1, packed.w_density[0][0]);
    packed.outputs.density_bias = net.b_density;
    for (int channel = 0; channel < 3; channel++) {
        packed.outputs.color_step[channel] =
            pack_head(net.w_color + channel, 3, steps2, packed.w_color[0][0] + channel);
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
        int32_t quads[FIT_QUADS][W], offsets[W];
        ints halves[2] = {};
        for (int quad = 0; quad < FIT_QUADS; quad++) {
            ints bytes = {};
            for (int i = 0; i < 4; i++) {
                const floats weight =
                    load(visit.fit.coefficients[1 + 4 * quad + i] + out) * (steps * (1.0f / INPUT_STEPS));
                const ints rounded = nearest(max(min(weight, splat(LARGEST_TERM)), splat(-LARGEST_TERM)));
                bytes |= (rounded & 255) << (8 * i);
                halves[i / 2] += rounded;
            }
            store(quads[quad], bytes);
        }
        const ints sum = halves[0] + halves[1];
        store(offsets, ((halves[0] * -128) & 0xffff) | (halves[1] * -128) << 16);
        const floats constant = load(net.b2 + out) + load(visit.fit.coefficients[0] + out) * steps;
        const ints bias = nearest(max(min(constant + 0.5f * to_floats(sum), splat(1e8f)), splat(-1e8f)));
        store(visit.bias + out, VNNI ? bias - 128 * sum : bias);
        for (int i = 0; i < W; i++) {
            for (int quad = 0; quad < FIT_QUADS; quad++)
                visit.weights[(out + i) / BLOCK][quad][i % BLOCK] = quads[quad][i];
            visit.offsets[(out + i) / BLOCK][0][i % BLOCK] = offsets[i];
        }
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
    KNF_PATH_NAME, "int8", FITTED, sizeof(PackedNetwork), pack, begin_visit, evaluate, render_tile,
};

}  // namespace knf::KNF_PATH
