// The tiny networks on tensor cores: fp16 operands, fp32 sums. A warp takes 16 samples at a time; activations stay in
// registers from layer to layer, because a product's result lies in the lanes just as the next product's left
// operand needs it.
//
// Within a warp, lane = 4 * g + t: fragments of A and of results hold rows (samples) g and g + 8.
#pragma once

#include "scene.cuh"

namespace knf {

// One network in the order in which fragments are read: for each 16x16 tile of a layer's [in][out] matrix and each
// lane the B fragments of two 16x8 tiles. kernels/cuda/scene.py makes it.
struct alignas(16) TensorNetwork {
    uint4 layer0[4][2][32];     // encoded position (64) -> 32
    uint4 layer1[2][2][32];     // 32 -> 32
    uint4 direction[4][2][32];  // hidden units (32), encoded direction (32) -> 32; feature layer folded in
    uint4 output[2][32];        // x, y: density as column 3; z, w: colour as columns 0 to 2
    float bias0[HIDDEN], bias1[HIDDEN], bias_direction[HIDDEN];
    float bias_output[8];  // red, green, blue, density, unused
};

struct TensorEvaluator {
    using Network = TensorNetwork;
    static constexpr int BLOCKS = 2;  // per multiprocessor: leaves 128 registers a thread
    // Networks in shared memory: the next cell's arrives while this one's is used, where copies run in the background.
    // Elsewhere (sm_75) a second one would only keep the second block off the multiprocessor.
    static constexpr int STAGES = KNF_ARCH >= 800 ? 2 : 1;

    KNF_DEVICE unsigned pack(float low, float high) {
        const __half2 packed = __floats2half2_rn(low, high);
        return *reinterpret_cast<const unsigned*>(&packed);
    }

    // Rectified, and kept within fp16: an activation must not become infinite, as infinity times zero would be NaN.
    KNF_DEVICE unsigned pack_relu(float low, float high) {
        const unsigned none = 0, largest = 0x7bff7bffu;  // 65504, twice
        const __half2 clamped = __hmin2(__hmax2(__floats2half2_rn(low, high), *reinterpret_cast<const __half2*>(&none)),
                                        *reinterpret_cast<const __half2*>(&largest));
        return *reinterpret_cast<const unsigned*>(&clamped);
    }

    // (sin, cos) of angle and of twice the angle, packed. The angle is reduced first: the fast functions are good
    // near zero only.
    KNF_DEVICE void sincos_pair(float angle, unsigned& once, unsigned& twice) {
        const float turns = angle * 0.15915494309189535f;
        const float reduced = (turns - rintf(turns)) * 6.283185307179586f;
        const float s = __sinf(reduced), c = __cosf(reduced);
        once = pack(s, c);
        twice = pack(2.0f * s * c, 1.0f - 2.0f * s * s);
    }

    // A fragments of the encoding of rows `low` (g) and `high` (g + 8) of a vector in 3D. Lanes t = 0, 1, 2 hold
    // frequencies 0 .. 2 * TILES - 1 (at most 7) of axis t; lane 3 the two above 7, and the plain coordinates.
    template <int TILES>
    KNF_DEVICE void encode(const float (&low)[3], const float (&high)[3], int t, unsigned (&a)[TILES][4]) {
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
            const bool rest = t == 3;
            const int axis = rest ? tile % 3 : t;
            const float scale = rest ? 256.0f : static_cast<float>(1 << (2 * tile));
            const float v_low = axis == 0 ? low[0] : axis == 1 ? low[1] : low[2];
            const float v_high = axis == 0 ? high[0] : axis == 1 ? high[1] : high[2];
            sincos_pair(v_low * scale, a[tile][0], a[tile][2]);
            sincos_pair(v_high * scale, a[tile][1], a[tile][3]);
            if (rest && tile == (TILES == 4 ? 3 : 0)) {  // the coordinates themselves
                a[tile][0] = pack(low[0], low[1]);
                a[tile][1] = pack(high[0], high[1]);
                a[tile][2] = pack(low[2], 0.0f);
                a[tile][3] = pack(high[2], 0.0f);
            } else if (rest && TILES < 4) {
                a[tile][0] = a[tile][1] = a[tile][2] = a[tile][3] = 0;
            }
        }
    }

    // sum[n] += A * weights, n: tile of 8 outputs.
    template <int TILES>
    KNF_DEVICE void layer(const unsigned (&a)[TILES][4], const uint4 (*weights)[2][32], int lane, float (&sum)[4][4]) {
#pragma unroll
        for (int tile = 0; tile < TILES; tile++)
#pragma unroll
            for (int pair = 0; pair < 2; pair++) {
                const uint4 b = weights[tile][pair][lane];
                multiply_tile(sum[2 * pair], a[tile], b.x, b.y);
                multiply_tile(sum[2 * pair + 1], a[tile], b.z, b.w);
            }
    }

    KNF_DEVICE void start(const float* bias, int t, float (&sum)[4][4]) {
#pragma unroll
        for (int n = 0; n < 4; n++) {
            sum[n][0] = sum[n][2] = bias[8 * n + 2 * t];
            sum[n][1] = sum[n][3] = bias[8 * n + 2 * t + 1];
        }
    }

    // Results of one layer, rectified, as the next one's A fragments.
    KNF_DEVICE void rectify(const float (&sum)[4][4], unsigned (&a)[2][4]) {
#pragma unroll
        for (int tile = 0; tile < 2; tile++) {
            a[tile][0] = pack_relu(sum[2 * tile][0], sum[2 * tile][1]);
            a[tile][1] = pack_relu(sum[2 * tile][2], sum[2 * tile][3]);
            a[tile][2] = pack_relu(sum[2 * tile + 1][0], sum[2 * tile + 1][1]);
            a[tile][3] = pack_relu(sum[2 * tile + 1][2], sum[2 * tile + 1][3]);
        }
    }

    KNF_DEVICE float sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }

    // Evaluates samples[0 .. count) in place, by all warps of the block; `unit` holds the rays' unit directions.
    KNF_DEVICE void evaluate(const TensorNetwork& net, Sample* samples, int count, const float (*unit)[3], int thread,
                             int threads) {
        const int lane = thread % 32, g = lane / 4, t = lane % 4;
        for (int first = thread / 32 * 16; first < count; first += threads / 32 * 16) {
            const int row_low = first + g, row_high = first + g + 8;
            // Rows beyond the end repeat the last sample; they are not written.
            const Sample low = samples[min(row_low, count - 1)], high = samples[min(row_high, count - 1)];
            __syncwarp(0xffffffffu);  // every lane has read its samples before any result overwrites them
            float sum[4][4];
            unsigned encoded[4][4], joined[4][4], hidden[2][4];

            encode<4>({low.x, low.y, low.z}, {high.x, high.y, high.z}, t, encoded);
            start(net.bias0, t, sum);
            layer<4>(encoded, net.layer0, lane, sum);
            rectify(sum, hidden);

            start(net.bias1, t, sum);
            layer<2>(hidden, net.layer1, lane, sum);
            rectify(sum, hidden);

            const float* u_low = unit[static_cast<int>(low.w)];
            const float* u_high = unit[static_cast<int>(high.w)];
            unsigned direction[2][4];
            encode<2>({u_low[0], u_low[1], u_low[2]}, {u_high[0], u_high[1], u_high[2]}, t, direction);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                joined[0][i] = hidden[0][i];
                joined[1][i] = hidden[1][i];
                joined[2][i] = direction[0][i];
                joined[3][i] = direction[1][i];
            }
            float out[4];
            out[0] = out[2] = net.bias_output[2 * t];
            out[1] = out[3] = net.bias_output[2 * t + 1];
#pragma unroll
            for (int tile = 0; tile < 2; tile++) {
                const uint4 b = net.output[tile][lane];
                multiply_tile(out, hidden[tile], b.x, b.y);
            }
            start(net.bias_direction, t, sum);
            layer<4>(joined, net.direction, lane, sum);
            rectify(sum, hidden);
#pragma unroll
            for (int tile = 0; tile < 2; tile++) {
                const uint4 b = net.output[tile][lane];
                multiply_tile(out, hidden[tile], b.z, b.w);
            }
            // Columns 2t, 2t + 1: lane 0 has red and green, lane 1 blue and density.
            if (t == 0) {
                if (row_low < count) samples[row_low].x = sigmoid(out[0]), samples[row_low].y = sigmoid(out[1]);
                if (row_high < count) samples[row_high].x = sigmoid(out[2]), samples[row_high].y = sigmoid(out[3]);
            } else if (t == 1) {
                if (row_low < count) samples[row_low].z = sigmoid(out[0]), samples[row_low].w = fmaxf(out[1], 0.0f);
                if (row_high < count) samples[row_high].z = sigmoid(out[2]), samples[row_high].w = fmaxf(out[3], 0.0f);
            }
        }
    }
};

}  // namespace knf
