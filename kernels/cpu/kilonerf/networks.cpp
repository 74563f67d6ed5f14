// The tiny networks, one vector lane per sample. Compiled once per instruction set, with fused multiply-add.
//
// Activations are [unit][vector]; weights are broadcast. A block of outputs times a few vectors of samples stays in
// registers while the inputs stream by, so a weight is loaded once per `V` vectors.
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

template <int V>
KNF_INLINE void evaluate_block(const Network& net, Workspace& work, int first) {
    floats position[POSITION_CHANNELS * V];
    floats hidden[HIDDEN * V];
    floats joined[JOINED * V];  // units of layer 1, encoded direction
    floats color[3 * V];
    for (int v = 0; v < V; v++) {
        for (int axis = 0; axis < 3; axis++) {
            constexpr int P = POSITION_CHANNELS / 3, D = DIRECTION_CHANNELS / 3;
            encode<POSITION_FREQUENCIES, V>(load(work.local[axis] + first + v * W), position + axis * P * V + v);
            encode<DIRECTION_FREQUENCIES, V>(load(work.unit[axis] + first + v * W),
                                             joined + (HIDDEN + axis * D) * V + v);
        }
    }
    dense<POSITION_CHANNELS, HIDDEN, OUTPUT_BLOCK, V, true>(net.w0, net.b0, position, hidden);
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

void pack(const Network& network, const CellPoints&, void* packed) {
    __builtin_memcpy(packed, &network, sizeof(network));
}

}  // namespace

void begin_visit(const void*, const FrameSetup&, const Rectangle&, const Rectangle&, Workspace&) {}

void evaluate(const void* packed, Workspace& work, int count) {
    const Network& network = *static_cast<const Network*>(packed);
    int first = 0;
    for (; count - first > 2 * W; first += MAX_VECTORS * W) evaluate_block<MAX_VECTORS>(network, work, first);
    if (count - first > W)
        evaluate_block<2>(network, work, first);
    else if (count > first)
        evaluate_block<1>(network, work, first);
}

extern const CodePath path = {
    KNF_PATH_NAME, "float32", FITTED, sizeof(Network), pack, begin_visit, evaluate, render_tile,
};

}  // namespace knf::KNF_PATH
