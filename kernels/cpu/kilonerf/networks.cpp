// The tiny networks, one vector lane per sample. Compiled once per instruction set, with fused multiply-add.
//
// Activations are [unit][vector]; weights are broadcast. A block of outputs times a few vectors of samples stays in
// registers while the inputs stream by, so a weight is loaded once per `V` vectors.
#include "cpu/kilonerf/frequencies.h"
#include "cpu/kilonerf/layers.h"
#include "cpu/march/evaluator.h"

namespace knf::KNF_PATH {
namespace {

#if defined(__AVX512F__)
constexpr int OUTPUT_BLOCK = 8;  // 8 * 3 accumulators of 32 registers
#else
constexpr int OUTPUT_BLOCK = 4;  // 4 * 3 accumulators of 16 registers
#endif
constexpr int MAX_VECTORS = 3;

struct PackedNetwork : Network {  // if few, w0 holds the rows of the frequencies that count, and nothing between them
    bool few;
};

template <int V, int F>
KNF_INLINE void evaluate_block(const Network& net, Workspace& work, int first) {
    constexpr int P = 1 + 2 * F, D = DIRECTION_CHANNELS / 3;
    floats position[3 * P * V];
    floats hidden[HIDDEN * V];
    floats joined[JOINED * V];  // units of layer 1, encoded direction
    floats color[3 * V];
    for (int v = 0; v < V; v++) {
        for (int axis = 0; axis < 3; axis++) {
            encode<F, V>(load(work.local[axis] + first + v * W), position + axis * P * V + v);
            encode<DIRECTION_FREQUENCIES, V>(load(work.unit[axis] + first + v * W),
                                             joined + (HIDDEN + axis * D) * V + v);
        }
    }
    dense<3 * P, HIDDEN, OUTPUT_BLOCK, V, true>(net.w0, net.b0, position, hidden);
    dense<HIDDEN, HIDDEN, OUTPUT_BLOCK, V, true>(net.w1, net.b1, hidden, joined);
    floats density[V];
    dense<HIDDEN, 1, 1, V, true>(net.w_density, &net.b_density, joined, density);
    dense<JOINED, HIDDEN, OUTPUT_BLOCK, V, true>(net.w_direction, net.b_direction, joined, hidden);
    dense<HIDDEN, 3, 3, V, false>(net.w_color, net.b_color, hidden, color);
    for (int v = 0; v < V; v++) {
        store(work.density + first + v * W, density[v]);
        for (int channel = 0; channel < 3; channel++)
            store(work.rgb[channel] + first + v * W, 1.0f / (1.0f + exp(-color[channel * V + v])));
    }
}

template <int F>
KNF_INLINE void evaluate_all(const Network& network, Workspace& work, int count) {
    int first = 0;
    for (; count - first > 2 * W; first += MAX_VECTORS * W) evaluate_block<MAX_VECTORS, F>(network, work, first);
    if (count - first > W)
        evaluate_block<2, F>(network, work, first);
    else if (count > first)
        evaluate_block<1, F>(network, work, first);
}

void pack(const Network& network, const CellPoints&, void* memory) {
    PackedNetwork& packed = *static_cast<PackedNetwork*>(memory);
    static_cast<Network&>(packed) = network;
    packed.few = has_few_frequencies(network);
    if (!packed.few) return;
    float* to = packed.w0;
    for_position_rows(FEW_FREQUENCIES, [&](int row) {
        __builtin_memcpy(to, network.w0 + row * HIDDEN, sizeof(float) * HIDDEN);
        to += HIDDEN;
    });
}

}  // namespace

void begin_visit(const void*, const FrameSetup&, const Rectangle&, const Rectangle&, Workspace&) {}

void evaluate(const void* packed, Workspace& work, int count) {
    const PackedNetwork& network = *static_cast<const PackedNetwork*>(packed);
    if (network.few)
        evaluate_all<FEW_FREQUENCIES>(network, work, count);
    else
        evaluate_all<POSITION_FREQUENCIES>(network, work, count);
}

extern const CodePath path = {
    KNF_PATH_NAME, "float32", FITTED, sizeof(PackedNetwork), pack, begin_visit, evaluate, render_tile,
};

}  // namespace knf::KNF_PATH
