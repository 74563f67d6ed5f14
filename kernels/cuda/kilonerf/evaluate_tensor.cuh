// The tiny networks on tensor cores: fp16 operands, fp32 sums. A warp takes 16 samples at a time; activations stay in
// registers from layer to layer, because a product's result lies in the lanes just as the next product's left
// operand needs it.
//
// Within a warp, lane = 4 * g + t: fragments of A and of results hold rows (samples) g and g + 8.
#pragma once

#include "kilonerf/network_per_cell.cuh"

namespace knf {

// One network in the order in which fragments are read: for each 16x16 tile of a layer's [in][out] matrix and each
// lane the B fragments of two 16x8 tiles. kernels/cuda/scene.py makes it.
struct alignas(16) TensorNetwork {
    uint4 layer0[4][2][32];     // encoded position (64) -> 32
    uint4 layer1[2][2][32];     // 32 -> 32
    uint4 direction[4][2][32];  // hidden units (32), encoded direction (32) -> 32; feature layer folded in
    uint4 output[2][32];        // x, y: density as column 6; z, w: colour as columns 0, 2, 4
    float bias0[HIDDEN], bias1[HIDDEN], bias_direction[HIDDEN];
    float bias_output[8];  // red, unused, green, unused, blue, unused, density, unused
};

// Sums of the hidden layers: a tile's 16x8 results as a product leaves them. In fp16, GeForce's tensor cores are twice
// as fast, and results already lie as the next product's operand. Density and colour are always summed in fp32.
#ifdef KNF_HALF_SUMS
using HiddenSums = unsigned[4][2];
#else
using HiddenSums = float[4][4];
#endif

struct TensorEvaluator : NetworkPerCell<TensorNetwork> {
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
#if KNF_ARCH >= 800
        const unsigned packed = simt::pack_relu(low, high), largest = 0x7bff7bffu;  // 65504, twice
        const __half2 clamped =
            __hmin2(*reinterpret_cast<const __half2*>(&packed), *reinterpret_cast<const __half2*>(&largest));
        return *reinterpret_cast<const unsigned*>(&clamped);
#else  // where halves are compared as floats
        return pack(fminf(fmaxf(low, 0.0f), 65504.0f), fminf(fmaxf(high, 0.0f), 65504.0f));
#endif
    }

    // The same of numbers that are packed already.
    KNF_DEVICE unsigned rectified(unsigned packed) {
        const unsigned none = 0, largest = 0x7bff7bffu;
        const __half2 clamped =
            __hmin2(__hmax2(*reinterpret_cast<const __half2*>(&packed), *reinterpret_cast<const __half2*>(&none)),
                    *reinterpret_cast<const __half2*>(&largest));
        return *reinterpret_cast<const unsigned*>(&clamped);
    }

    // (sin, cos) of angle and of twice the angle, packed. Angles beyond 4 are reduced first: the fast functions are
    // good near zero only.
    template <bool REDUCED>
    KNF_DEVICE void sincos_pair(float angle, unsigned& once, unsigned& twice) {
        if (REDUCED) {
            constexpr float WHOLE = 12582912.0f;  // 1.5 * 2^23: a sum with it has no digits behind the point
            const float turns = __fmaf_rn(angle, 0.15915494309189535f, WHOLE) - WHOLE;
            angle = __fmaf_rn(turns, -6.283185307179586f, angle);
        }
        const float s = __sinf(angle), c = __cosf(angle), double_s = s + s;
        once = pack(s, c);
        twice = pack(double_s * c, __fmaf_rn(-double_s, s, 1.0f));
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
            sincos_pair<TILES == 4>(v_low * scale, a[tile][0], a[tile][2]);
            sincos_pair<TILES == 4>(v_high * scale, a[tile][1], a[tile][3]);
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
    KNF_DEVICE void layer(const unsigned (&a)[TILES][4], const uint4 (*weights)[2][32], int lane, HiddenSums& sum) {
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

    KNF_DEVICE void start(const float* bias, int t, unsigned (&sum)[4][2]) {
#pragma unroll
        for (int n = 0; n < 4; n++) sum[n][0] = sum[n][1] = pack(bias[8 * n + 2 * t], bias[8 * n + 2 * t + 1]);
    }

    KNF_DEVICE void rectify(const unsigned (&sum)[4][2], unsigned (&a)[2][4]) {
#pragma unroll
        for (int n = 0; n < 4; n++)
#pragma unroll
            for (int row = 0; row < 2; row++) a[n / 2][2 * (n % 2) + row] = rectified(sum[n][row]);
    }

    KNF_DEVICE float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

    // An output as a lane has it, of column 2t: lanes 0 to 2 have red, green and blue, lane 3 the density. By
    // reference: by value, nested boxes spill on sm_90.
    KNF_DEVICE float activated(const float& raw, int t) { return t == 3 ? fmaxf(raw, 0.0f) : sigmoid(raw); }

    // Evaluates samples[0 .. count) in place, by all warps of the block; `unit` holds the rays' unit directions.
    KNF_DEVICE void evaluate(const Arrays&, const BlockData&, const TensorNetwork& net, Sample* samples, int count,
                             const float4* unit, int thread, int threads) {
        const int lane = thread % 32, g = lane / 4, t = lane % 4;
        for (int first = thread / 32 * 16; first < count; first += threads / 32 * 16) {
            const int row_low = first + g, row_high = first + g + 8;
            // Rows beyond the end repeat the last sample; they are not written.
            const Sample low = samples[min(row_low, count - 1)], high = samples[min(row_high, count - 1)];
            __syncwarp(0xffffffffu);  // every lane has read its samples before any result overwrites them
            HiddenSums sum;
            unsigned encoded[4][4], joined[4][4], hidden[2][4];

            encode<4>({low.x, low.y, low.z}, {high.x, high.y, high.z}, t, encoded);
            start(net.bias0, t, sum);
            layer<4>(encoded, net.layer0, lane, sum);
            rectify(sum, hidden);

            start(net.bias1, t, sum);
            layer<2>(hidden, net.layer1, lane, sum);
            rectify(sum, hidden);

            const float4 u_low = unit[ray_of(low.w)], u_high = unit[ray_of(high.w)];
            unsigned direction[2][4];
            encode<2>({u_low.x, u_low.y, u_low.z}, {u_high.x, u_high.y, u_high.z}, t, direction);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                joined[0][i] = hidden[0][i];
                joined[1][i] = hidden[1][i];
                joined[2][i] = direction[0][i];
                joined[3][i] = direction[1][i];
            }
            float out[4];
            out[0] = out[2] = net.bias_output[2 * t];
            out[1] = out[3] = 0.0f;
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
            const float result_low = activated(out[0], t), result_high = activated(out[2], t);
            if (row_low < count) reinterpret_cast<float*>(samples + row_low)[t] = result_low;
            if (row_high < count) reinterpret_cast<float*>(samples + row_high)[t] = result_high;
        }
    }
};

}  // namespace knf
