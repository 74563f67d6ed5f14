// The tiny networks in bfloat16 on the matrix unit (AMX), 16 samples in the columns of a tile. For AVX-512 and AMX.
//
// A product of tiles adds, to 16 outputs x 16 samples in float32, 16 outputs x 32 weights times 32 inputs x 16
// samples; a row of the inputs' tile holds a pair of inputs for each of its 16 samples. So an encoded channel or a
// hidden unit is one vector over 16 samples, from start to end, and nothing is ever transposed. Two blocks of 16
// samples, a unit of work, share each load of a tile of weights.
//
// The matrix unit and the vector unit work at the same time only if products and vector code of different samples
// stand side by side in the program: a group of units therefore goes through each of three loops together.
//
// Inputs are cut to bfloat16, not rounded: a cut number and its neighbour become a pair in one instruction, where
// rounding takes four. Cutting makes numbers smaller by 0.27 percent on average; the weights make up for it.
#include "cpu/kilonerf/direction_fit.h"
#include "cpu/kilonerf/frequencies.h"
#include "cpu/march/evaluator.h"

namespace knf::KNF_PATH {
namespace {

constexpr int ROWS = 16;       // of a tile: outputs, or pairs of inputs
constexpr int ROW_BYTES = 64;  // 16 sums, or 16 pairs of bfloat16
constexpr int HEAD_ROWS = 3;   // of a tile of an output layer: red, green, blue, or density and two unused
constexpr int HALVES = HIDDEN / ROWS;
constexpr int GROUP = 4;  // units; their sums and the weights fit a level 1 cache of 48 KB
constexpr int POSITION_TILES = (POSITION_CHANNELS + 1) / (2 * ROWS);
constexpr int TERM_PAIRS = (FIT_TERMS - 1) / 2;
constexpr float CUT = 1.0027f;  // over what is left of a number on average after cutting: 1 + 2^-8 ln 2
static_assert(W == 16 && HIDDEN == 2 * ROWS && POSITION_CHANNELS == POSITION_TILES * 2 * ROWS - 1);

using Pairs = uint32_t[ROWS];         // of bfloat16, the first in the low half
using Weights = Pairs[HALVES][ROWS];  // [half of the outputs][output][pair of inputs]
using Inputs = words[ROWS];           // [pair of inputs][sample]
using Sums = float[HALVES][ROWS][W];  // [half of the outputs][output][sample]
using HeadWeights = Pairs[HEAD_ROWS];
using HeadSums = float[HEAD_ROWS][W];

struct alignas(64) PackedNetwork {
    Weights w0[POSITION_TILES];  // the last input is 1, its weights are the bias
    Weights w1;
    Weights w2;  // direction layer, rows of hidden units
    Sums b1;     // the same for all samples
    HeadWeights w_density, w_color;
    float b_density, b_color[3];
    float b_direction[HIDDEN];
    float w_direction[DIRECTION_CHANNELS * HIDDEN];
};

// The part of the direction layer that holds for one visit: weights of pairs of terms, then the constant in three
// parts of 8 bits, whose inputs are 1.
struct alignas(64) PackedVisit {
    Weights weights;
    DirectionFit fit;
};
static_assert(sizeof(PackedVisit) <= VISIT_BYTES);

struct alignas(64) Scratch {
    Inputs encoded[POSITION_TILES][2];
    Inputs hidden[2];
    Inputs terms[2];
    Sums sums[GROUP][2];
    HeadSums density[GROUP][2], color[GROUP][2];
};

// Tiles by number, as the instructions have it: sums of the first and the second block of samples.
#define FIRST_LOW 0
#define SECOND_LOW 1
#define FIRST_HIGH 2
#define SECOND_HIGH 3
#define WEIGHTS 4
#define INPUTS 5
#define HEAD_WEIGHTS 6
#define HEAD_SUMS 7

struct alignas(64) TileShapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
constexpr TileShapes SHAPES = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, HEAD_ROWS, HEAD_ROWS}};

// GCC's instructions on tiles do not say that they read memory: without this, stores that they need may move behind
// them, and later ones before.
KNF_INLINE void order_memory() { asm volatile("" ::: "memory"); }

// The same object, which the compiler does not know: it then computes the addresses of tiles in each turn of a loop,
// which costs nothing, and does not keep dozens of them in vector registers.
template <class T>
KNF_INLINE T& opaque(T& object) {
    T* address = &object;
    asm volatile("" : "+r"(address));
    return *address;
}

// Two vectors cut to bfloat16, one in the low and one in the high half of each lane.
KNF_INLINE words cut_pairs(floats low, floats high) {
    return (words)_mm512_mask_alignr_epi8((__m512i)high, 0x3333333333333333u, (__m512i)low, (__m512i)low, 2);
}

// The same, rectified: as 16-bit integers, negative numbers are negative.
KNF_INLINE words rectified_pairs(floats low, floats high) {
    return (words)_mm512_max_epi16((__m512i)cut_pairs(low, high), _mm512_setzero_si512());
}

// Pairs (sin 2^f v, cos 2^f v), angles doubled from the first: errors grow to 4e-5 at the tenth.
template <int BLOCKS>
KNF_INLINE void encode_position(const Workspace& work, int first, Scratch& scratch) {
    for (int block = 0; block < BLOCKS; block++, first += W) {
        floats local[3], s[3], c[3];
        for (int axis = 0; axis < 3; axis++) {
            local[axis] = load(work.local[axis] + first);
            first_angle(local[axis], s[axis], c[axis]);
        }
#pragma GCC unroll 10
        for (int f = 0; f < POSITION_FREQUENCIES; f++) {
#pragma GCC unroll 3
            for (int axis = 0; axis < 3; axis++) {
                const int at = axis * POSITION_FREQUENCIES + f;
                scratch.encoded[at / ROWS][block][at % ROWS] = cut_pairs(s[axis], c[axis]);
                const floats twice = s[axis] + s[axis], next = twice * c[axis];
                c[axis] = 1.0f - twice * s[axis];
                s[axis] = next;
            }
        }
        scratch.encoded[1][block][ROWS - 2] = cut_pairs(local[0], local[1]);
        scratch.encoded[1][block][ROWS - 1] = cut_pairs(local[2], splat(1.0f));
    }
}

template <int BLOCKS>
KNF_INLINE void encode_terms(const PackedVisit& visit, const Workspace& work, int first, Scratch& scratch) {
    for (int block = 0; block < BLOCKS; block++) {
        floats terms[FIT_TERMS - 1];
        fit_terms(visit.fit, load(work.ray + first + block * W), terms);
        for (int pair = 0; pair < TERM_PAIRS; pair++)
            scratch.terms[block][pair] = cut_pairs(terms[2 * pair], terms[2 * pair + 1]);
    }
}

// Rows of `terms` that are the same for all samples: 1 for each part of the constant; zeros.
void start_terms(Scratch& scratch) {
    for (Inputs& terms : scratch.terms) {
        for (words& row : terms) row = words{};
        terms[TERM_PAIRS] = cut_pairs(splat(1.0f), splat(1.0f));
        terms[TERM_PAIRS + 1] = cut_pairs(splat(1.0f), floats{});
    }
}

template <int BLOCKS>
KNF_INLINE void start_sums() {
    _tile_zero(FIRST_LOW);
    _tile_zero(FIRST_HIGH);
    if (BLOCKS == 2) {
        _tile_zero(SECOND_LOW);
        _tile_zero(SECOND_HIGH);
    }
}

template <int BLOCKS>
KNF_INLINE void start_sums(const Sums& bias) {
    _tile_loadd(FIRST_LOW, bias[0], ROW_BYTES);
    _tile_loadd(FIRST_HIGH, bias[1], ROW_BYTES);
    if (BLOCKS == 2) {
        _tile_loadd(SECOND_LOW, bias[0], ROW_BYTES);
        _tile_loadd(SECOND_HIGH, bias[1], ROW_BYTES);
    }
}

// Sums += weights * inputs, in an order in which each product shares a tile with the one before.
template <int BLOCKS>
KNF_INLINE void add_products(const Weights& weights, const Inputs (&inputs)[2]) {
    _tile_loadd(WEIGHTS, weights[0], ROW_BYTES);
    _tile_loadd(INPUTS, inputs[0], ROW_BYTES);
    _tile_dpbf16ps(FIRST_LOW, WEIGHTS, INPUTS);
    if (BLOCKS == 2) {
        _tile_loadd(INPUTS, inputs[1], ROW_BYTES);
        _tile_dpbf16ps(SECOND_LOW, WEIGHTS, INPUTS);
    }
    _tile_loadd(WEIGHTS, weights[1], ROW_BYTES);
    if (BLOCKS == 2) {
        _tile_dpbf16ps(SECOND_HIGH, WEIGHTS, INPUTS);
        _tile_loadd(INPUTS, inputs[0], ROW_BYTES);
    }
    _tile_dpbf16ps(FIRST_HIGH, WEIGHTS, INPUTS);
}

template <int BLOCKS>
KNF_INLINE void store_sums(Sums (&sums)[2]) {
    _tile_stored(FIRST_LOW, sums[0][0], ROW_BYTES);
    _tile_stored(FIRST_HIGH, sums[0][1], ROW_BYTES);
    if (BLOCKS == 2) {
        _tile_stored(SECOND_LOW, sums[1][0], ROW_BYTES);
        _tile_stored(SECOND_HIGH, sums[1][1], ROW_BYTES);
    }
}

template <int BLOCKS>
KNF_INLINE void multiply_head(const HeadWeights& weights, const Inputs (&inputs)[2], HeadSums (&sums)[2]) {
    _tile_loadd(HEAD_WEIGHTS, weights, ROW_BYTES);
#pragma GCC unroll 2
    for (int block = 0; block < BLOCKS; block++) {
        _tile_zero(HEAD_SUMS);
        _tile_loadd(INPUTS, inputs[block], ROW_BYTES);
        _tile_dpbf16ps(HEAD_SUMS, HEAD_WEIGHTS, INPUTS);
        _tile_stored(HEAD_SUMS, sums[block], ROW_BYTES);
    }
}

// Hidden units of one layer: the next one's inputs.
template <int BLOCKS>
KNF_INLINE void rectify(const Sums (&sums)[2], Inputs (&hidden)[2]) {
    for (int block = 0; block < BLOCKS; block++) {
#pragma GCC unroll 16
        for (int pair = 0; pair < ROWS; pair++) {
            const float (*rows)[W] = sums[block][2 * pair / ROWS] + 2 * pair % ROWS;
            hidden[block][pair] = rectified_pairs(load(rows[0]), load(rows[1]));
        }
    }
}

template <int BLOCKS>
KNF_INLINE void finish_unit(const PackedNetwork& net, const HeadSums (&density)[2], const HeadSums (&color)[2],
                            Workspace& work, int first) {
    for (int block = 0; block < BLOCKS; block++, first += W) {
        store(work.density + first, max(load(density[block][0]) + net.b_density, floats{}));
        for (int channel = 0; channel < 3; channel++) {
            const floats x = load(color[block][channel]) + net.b_color[channel];
            store(work.rgb[channel] + first, 1.0f / (1.0f + exp(-x)));
        }
    }
}

// Units of BLOCKS * W samples, from sample `first` on.
template <int BLOCKS>
void evaluate_group(const PackedNetwork& network, const PackedVisit& visit, Workspace& work, Scratch& buffers,
                    int first, int units) {
    constexpr int UNIT = BLOCKS * W;
    for (int unit = 0; unit < units; unit++) {
        const PackedNetwork& net = opaque(network);
        Scratch& scratch = opaque(buffers);
        encode_position<BLOCKS>(work, first + unit * UNIT, scratch);
        order_memory();
        start_sums<BLOCKS>();
        for (int tile = 0; tile < POSITION_TILES; tile++) add_products<BLOCKS>(net.w0[tile], scratch.encoded[tile]);
        store_sums<BLOCKS>(scratch.sums[unit]);
        order_memory();
    }
    for (int unit = 0; unit < units; unit++) {
        const PackedNetwork& net = opaque(network);
        Scratch& scratch = opaque(buffers);
        rectify<BLOCKS>(scratch.sums[unit], scratch.hidden);
        order_memory();
        start_sums<BLOCKS>(net.b1);
        add_products<BLOCKS>(net.w1, scratch.hidden);
        store_sums<BLOCKS>(scratch.sums[unit]);
        order_memory();
    }
    // Each turn takes three units one step further: the vector code after a product does not wait for it.
    for (int unit = 0; unit < units + 2; unit++) {
        const PackedNetwork& net = opaque(network);
        Scratch& scratch = opaque(buffers);
        if (unit < units) {
            rectify<BLOCKS>(scratch.sums[unit], scratch.hidden);
            encode_terms<BLOCKS>(visit, work, first + unit * UNIT, scratch);
            order_memory();
            start_sums<BLOCKS>();
            add_products<BLOCKS>(net.w2, scratch.hidden);
            add_products<BLOCKS>(visit.weights, scratch.terms);
            store_sums<BLOCKS>(scratch.sums[unit]);
            multiply_head<BLOCKS>(net.w_density, scratch.hidden, scratch.density[unit]);
            order_memory();
        }
        if (const int last = unit - 1; last >= 0 && last < units) {
            rectify<BLOCKS>(scratch.sums[last], scratch.hidden);
            order_memory();
            multiply_head<BLOCKS>(net.w_color, scratch.hidden, scratch.color[last]);
            order_memory();
        }
        if (const int last = unit - 2; last >= 0)
            finish_unit<BLOCKS>(net, scratch.density[last], scratch.color[last], work, first + last * UNIT);
    }
}

// Two numbers rounded to bfloat16, ties to even.
uint32_t rounded_pair(float low, float high) {
    uint32_t bits[2];
    __builtin_memcpy(&bits[0], &low, sizeof(low));
    __builtin_memcpy(&bits[1], &high, sizeof(high));
    for (uint32_t& x : bits) x = (x + 0x7fffu + (x >> 16 & 1u)) >> 16;
    return bits[0] | bits[1] << 16;
}

// 32 rows of weights, [input][output], whose inputs are cut.
void pack_weights(const float* rows, Weights& weights) {
    for (int out = 0; out < HIDDEN; out++)
        for (int pair = 0; pair < ROWS; pair++) {
            const float* row = rows + 2 * pair * HIDDEN + out;
            weights[out / ROWS][out % ROWS][pair] = rounded_pair(CUT * row[0], CUT * row[HIDDEN]);
        }
}

void pack_head(const float* weights, int stride, Pairs& packed) {
    for (int pair = 0; pair < ROWS; pair++)
        packed[pair] = rounded_pair(CUT * weights[2 * pair * stride], CUT * weights[(2 * pair + 1) * stride]);
}

void pack(const Network& net, const CellPoints&, void* memory) {
    PackedNetwork& packed = *static_cast<PackedNetwork*>(memory);
    constexpr int F = POSITION_FREQUENCIES;
    float rows[POSITION_CHANNELS + 1][HIDDEN];  // of layer 0, in the order of its inputs
    const auto set_row = [&](int row, const float* from) { __builtin_memcpy(rows[row], from, sizeof(rows[row])); };
    for (int axis = 0; axis < 3; axis++) {
        for (int f = 0; f < F; f++) {
            set_row(2 * (axis * F + f), net.w0 + (cosine_row(axis, f) + F) * HIDDEN);
            set_row(2 * (axis * F + f) + 1, net.w0 + cosine_row(axis, f) * HIDDEN);
        }
        set_row(6 * F + axis, net.w0 + (cosine_row(axis, 0) - 1) * HIDDEN);
    }
    for (int out = 0; out < HIDDEN; out++) rows[POSITION_CHANNELS][out] = net.b0[out] / CUT;  // 1 is not cut
    for (int tile = 0; tile < POSITION_TILES; tile++) pack_weights(rows[tile * 2 * ROWS], packed.w0[tile]);
    pack_weights(net.w1, packed.w1);
    pack_weights(net.w_direction, packed.w2);
    for (int out = 0; out < HIDDEN; out++)
        for (float& sum : packed.b1[out / ROWS][out % ROWS]) sum = net.b1[out];
    __builtin_memset(packed.w_density, 0, sizeof(packed.w_density));
    pack_head(net.w_density, 1, packed.w_density[0]);
    for (int channel = 0; channel < 3; channel++) {
        pack_head(net.w_color + channel, 3, packed.w_color[channel]);
        packed.b_color[channel] = net.b_color[channel];
    }
    packed.b_density = net.b_density;
    __builtin_memcpy(packed.b_direction, net.b_direction, sizeof(packed.b_direction));
    __builtin_memcpy(packed.w_direction, net.w_direction + HIDDEN * HIDDEN, sizeof(packed.w_direction));
}

void begin_thread() { _tile_loadconfig(&SHAPES); }
void end_thread() { _tile_release(); }

}  // namespace

void begin_visit(const void* network, const FrameSetup& frame, const Rectangle& tile, const Rectangle& area,
                 Workspace& work) {
    const PackedNetwork& net = *static_cast<const PackedNetwork*>(network);
    PackedVisit& visit = *reinterpret_cast<PackedVisit*>(work.visit);
    fit_directions(net.w_direction, frame, tile, area, visit.fit);
    const auto cut = [](floats v) { return bits_to_floats(reinterpret_cast<ints>(v) & ~0xffff); };
    const auto rounded = [](floats v) { return bits_to_floats(reinterpret_cast<ints>(v) + 0x8000); };
    __builtin_memset(visit.weights, 0, sizeof(visit.weights));
    for (int half = 0; half < HALVES; half++) {
        floats weights[2 * TERM_PAIRS + 4];
        for (int term = 1; term < FIT_TERMS; term++)
            weights[term - 1] = rounded(load(visit.fit.coefficients[term] + half * ROWS) * CUT);
        const floats constant = load(visit.fit.coefficients[0] + half * ROWS) + load(net.b_direction + half * ROWS);
        floats* parts = weights + 2 * TERM_PAIRS;
        parts[0] = cut(constant), parts[1] = cut(constant - parts[0]), parts[2] = constant - parts[0] - parts[1];
        parts[3] = floats{};
        for (int pair = 0; pair < TERM_PAIRS + 2; pair++) {
            const words pairs = cut_pairs(weights[2 * pair], weights[2 * pair + 1]);
            for (int out = 0; out < ROWS; out++) visit.weights[half][out][pair] = pairs[out];
        }
    }
}

void evaluate(const void* network, Workspace& work, int count) {
    const PackedNetwork& net = *static_cast<const PackedNetwork*>(network);
    const PackedVisit& visit = *reinterpret_cast<PackedVisit*>(work.visit);
    Scratch scratch;
    start_terms(scratch);
    int first = 0;
    for (int units = (count + W - 1) / (2 * W); units > 0;) {
        const int groups = (units + GROUP - 1) / GROUP, together = (units + groups - 1) / groups;
        evaluate_group<2>(net, visit, work, scratch, first, together);
        first += together * 2 * W;
        units -= together;
    }
    if (first < count) evaluate_group<1>(net, visit, work, scratch, first, 1);
}

extern const CodePath path = {
    KNF_PATH_NAME, "bfloat16", FITTED,      sizeof(PackedNetwork), pack,
    begin_visit,   evaluate,   render_tile, begin_thread,          end_thread,
};

}  // namespace knf::KNF_PATH
