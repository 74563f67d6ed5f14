// An octree field in float32, a thread per sample, the decoder's weights in shared memory.
#pragma once

#include "kilonerf/evaluate_float.cuh"
#include "octree/field.cuh"

namespace knf {

struct FloatRow {
    float4 features[FIELD_FEATURES / 4];
};

struct alignas(16) FloatDecoder {
    float w_features[PARTS][FIELD_FEATURES][HIDDEN];
    float w_output[PARTS][HIDDEN][4];  // red, green, blue, density
    float bias_output[4];
};

struct alignas(16) FloatDirectionLayer {
    float weights[PARTS][DIRECTION_CHANNELS][HIDDEN];
    float bias[PARTS][HIDDEN];
};

// Unit by unit: samples that are evaluated side by side are mostly of rays side by side.
struct FloatRayParts {
    float units[FIELD_HIDDEN][THREADS];
};

struct FloatFieldEvaluator : FieldOfVoxels<FloatRow, FloatDecoder, FloatDirectionLayer, FloatRayParts> {
    using Layers = FloatEvaluator;
    static constexpr int BLOCKS = 1;  // 32 sums and 16 features do not leave room for two without spills

    // Of rays 0 .. rays - 1, a thread each.
    KNF_DEVICE void prepare_rays(const Arrays& arrays, const float4* unit, int rays, int thread) {
        if (thread >= rays) return;
        const FloatDirectionLayer& layer = *arrays.direction_layer;
        FloatRayParts& parts = own_ray_parts(arrays);
        const float4 u = unit[thread];
        constexpr int CHANNELS = DIRECTION_CHANNELS / 3;
#pragma unroll 1
        for (int part = 0; part < PARTS; part++) {
            const float (*weights)[HIDDEN] = layer.weights[part];
            float sum[HIDDEN];
            Layers::start(layer.bias[part], sum);
            Layers::add_encoded<DIRECTION_FREQUENCIES>(u.x, weights, sum);
            Layers::add_encoded<DIRECTION_FREQUENCIES>(u.y, weights + CHANNELS, sum);
            Layers::add_encoded<DIRECTION_FREQUENCIES>(u.z, weights + 2 * CHANNELS, sum);
#pragma unroll
            for (int o = 0; o < HIDDEN; o++) parts.units[part * HIDDEN + o][thread] = sum[o];
        }
    }

    KNF_DEVICE void evaluate(const Arrays& arrays, const FloatDecoder& decoder, const CellVoxels& cell, Sample* samples,
                             int count, const float4*, int thread, int threads) {
        const FloatRayParts& parts = own_ray_parts(arrays);
        for (int i = thread; i < count; i += threads) {
            const Sample sample = samples[i];
            const int slot = slot_of(cell, voxel_of(sample.w)), ray = ray_of(sample.w);
            if (slot == NOWHERE) {
                samples[i] = {};
                continue;
            }
            float features[FIELD_FEATURES] = {};
            for_each_corner(arrays.corners[slot], sample, [&](int row, float weight) {
#pragma unroll
                for (int f = 0; f < FIELD_FEATURES; f += 4) {
                    const float4 at = arrays.rows[row].features[f / 4];
                    features[f] = __fmaf_rn(weight, at.x, features[f]);
                    features[f + 1] = __fmaf_rn(weight, at.y, features[f + 1]);
                    features[f + 2] = __fmaf_rn(weight, at.z, features[f + 2]);
                    features[f + 3] = __fmaf_rn(weight, at.w, features[f + 3]);
                }
            });
            float out[4];
#pragma unroll
            for (int o = 0; o < 4; o++) out[o] = decoder.bias_output[o];
#pragma unroll 1  // unrolled it would need more registers than there are
            for (int part = 0; part < PARTS; part++) {
                float sum[HIDDEN];
#pragma unroll
                for (int o = 0; o < HIDDEN; o++) sum[o] = parts.units[part * HIDDEN + o][ray];
#pragma unroll
                for (int f = 0; f < FIELD_FEATURES; f++) Layers::add(features[f], decoder.w_features[part][f], sum);
#pragma unroll
                for (int k = 0; k < HIDDEN; k++) {
                    const float4 w = *reinterpret_cast<const float4*>(decoder.w_output[part][k]);
                    const float hidden = fmaxf(sum[k], 0.0f);
                    out[0] = __fmaf_rn(hidden, w.x, out[0]);
                    out[1] = __fmaf_rn(hidden, w.y, out[1]);
                    out[2] = __fmaf_rn(hidden, w.z, out[2]);
                    out[3] = __fmaf_rn(hidden, w.w, out[3]);
                }
            }
            samples[i] = {Layers::sigmoid(out[0]), Layers::sigmoid(out[1]), Layers::sigmoid(out[2]),
                          fmaxf(out[3], 0.0f)};
        }
    }
};

}  // namespace knf
