// The tiny networks in float32, a thread per sample, weights in shared memory: as the paper's kernel does
// (KiloNeRF supplement, section 2). For sm_70 and for comparison.
#pragma once

#include "kilonerf/network_per_cell.cuh"

namespace knf {

struct alignas(16) FloatNetwork {
    float w0[POSITION_CHANNELS][HIDDEN];  // rows: per axis v, cos(2^f v), sin(2^f v)
    float w1[HIDDEN][HIDDEN];
    float w_direction[JOINED][HIDDEN];  // hidden units, encoded direction; feature layer folded in
    float w_output[HIDDEN][4];          // red, green, blue (from the direction layer), density (from layer 1)
    float bias0[HIDDEN], bias1[HIDDEN], bias_direction[HIDDEN], bias_output[4];
};

struct FloatEvaluator : NetworkPerCell<FloatNetwork> {
    static constexpr int BLOCKS = 1;  // 64 sums and activations do not leave room for two without spills
    static constexpr int STAGES = 1;  // two would not fit the 48 KB that every device has

    KNF_DEVICE void add(float x, const float* row, float (&sum)[HIDDEN]) {
#pragma unroll
        for (int o = 0; o < HIDDEN; o += 4) {
            const float4 w = *reinterpret_cast<const float4*>(row + o);
            sum[o] = __fmaf_rn(x, w.x, sum[o]);
            sum[o + 1] = __fmaf_rn(x, w.y, sum[o + 1]);
            sum[o + 2] = __fmaf_rn(x, w.z, sum[o + 2]);
            sum[o + 3] = __fmaf_rn(x, w.w, sum[o + 3]);
        }
    }

    // Within 2e-7 for |x| < 1000: reduction by multiples of pi/2 in two parts, then polynomials (Cephes). CUDA's own
    // sincosf would bring the reduction of huge angles along, and its stack.
    KNF_DEVICE void sine_cosine(float x, float& s, float& c) {
        const float n = rintf(x * 0.636619772f);
        float r = __fmaf_rn(n, -1.57079637050628662f, x);
        r = __fmaf_rn(n, 4.37113900018624283e-8f, r);
        const float r2 = r * r;
        float ps = __fmaf_rn(-1.9515295891e-4f, r2, 8.3321608736e-3f);
        ps = __fmaf_rn(ps, r2, -1.6666654611e-1f);
        ps = __fmaf_rn(ps * r2, r, r);
        float pc = __fmaf_rn(2.443315711809948e-5f, r2, -1.388731625493765e-3f);
        pc = __fmaf_rn(pc, r2, 4.166664568298827e-2f);
        pc = __fmaf_rn(pc * r2, r2, __fmaf_rn(-0.5f, r2, 1.0f));
        const int quadrant = static_cast<int>(n);
        s = quadrant & 1 ? pc : ps;
        c = quadrant & 1 ? ps : pc;
        if (quadrant & 2) s = -s;
        if ((quadrant + 1) & 2) c = -c;
    }

    template <int FREQUENCIES>
    KNF_DEVICE void add_encoded(float v, const float (*rows)[HIDDEN], float (&sum)[HIDDEN]) {
        add(v, rows[0], sum);
#pragma unroll 1  // unrolled it would need more registers than there are
        for (int f = 0; f < FREQUENCIES; f++) {
            float s, c;
            sine_cosine(v * static_cast<float>(1 << f), s, c);
            add(c, rows[1 + f], sum);
            add(s, rows[1 + FREQUENCIES + f], sum);
        }
    }

    KNF_DEVICE void start(const float* bias, float (&sum)[HIDDEN]) {
#pragma unroll
        for (int o = 0; o < HIDDEN; o++) sum[o] = bias[o];
    }

    KNF_DEVICE void rectify(const float (&sum)[HIDDEN], float (&hidden)[HIDDEN]) {
#pragma unroll
        for (int o = 0; o < HIDDEN; o++) hidden[o] = fmaxf(sum[o], 0.0f);
    }

    KNF_DEVICE void add_hidden(const float (&hidden)[HIDDEN], const float (*rows)[HIDDEN], float (&sum)[HIDDEN]) {
#pragma unroll
        for (int i = 0; i < HIDDEN; i++) add(hidden[i], rows[i], sum);
    }

    KNF_DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

    KNF_DEVICE void evaluate(const Arrays&, const BlockData&, const FloatNetwork& net, Sample* samples, int count,
                             const float4* unit, int thread, int threads) {
        for (int i = thread; i < count; i += threads) {
            // Keeps weights out of registers: without it the compiler loads many before the loop, and spills on sm_120.
            asm volatile("" ::: "memory");
            Sample sample = samples[i];
            const float4& u = unit[ray_of(sample.w)];
            float sum[HIDDEN], hidden[HIDDEN];
            start(net.bias0, sum);
            add_encoded<POSITION_FREQUENCIES>(sample.x, net.w0, sum);
            add_encoded<POSITION_FREQUENCIES>(sample.y, net.w0 + POSITION_CHANNELS / 3, sum);
            add_encoded<POSITION_FREQUENCIES>(sample.z, net.w0 + 2 * POSITION_CHANNELS / 3, sum);
            rectify(sum, hidden);
            start(net.bias1, sum);
            add_hidden(hidden, net.w1, sum);
            rectify(sum, hidden);
            float density = net.bias_output[3];
#pragma unroll
            for (int k = 0; k < HIDDEN; k++) density = __fmaf_rn(hidden[k], net.w_output[k][3], density);
            start(net.bias_direction, sum);
            add_hidden(hidden, net.w_direction, sum);
            add_encoded<DIRECTION_FREQUENCIES>(u.x, net.w_direction + HIDDEN, sum);
            add_encoded<DIRECTION_FREQUENCIES>(u.y, net.w_direction + HIDDEN + DIRECTION_CHANNELS / 3, sum);
            add_encoded<DIRECTION_FREQUENCIES>(u.z, net.w_direction + HIDDEN + 2 * DIRECTION_CHANNELS / 3, sum);
            rectify(sum, hidden);
            float red = net.bias_output[0], green = net.bias_output[1], blue = net.bias_output[2];
#pragma unroll
            for (int k = 0; k < HIDDEN; k++) {
                red = __fmaf_rn(hidden[k], net.w_output[k][0], red);
                green = __fmaf_rn(hidden[k], net.w_output[k][1], green);
                blue = __fmaf_rn(hidden[k], net.w_output[k][2], blue);
            }
            samples[i] = {sigmoid(red), sigmoid(green), sigmoid(blue), fmaxf(density, 0.0f)};
        }
    }
};

}  // namespace knf
