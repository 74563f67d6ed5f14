// An octree field on tensor cores: fp16 operands, fp32 sums. A warp takes 16 samples at a time, as for a tiny network
// (kilonerf/evaluate_tensor.cuh), whose layers these are.
//
// Lanes 4 * g + t interpolate features 4t .. 4t + 3 of samples g and g + 8: columns 2t, 2t + 1, 2t + 8 and 2t + 9 of
// the fragment of A that they hold, so that a corner's row is read side by side by four lanes and nothing is exchanged.
#pragma once

#include "kilonerf/evaluate_tensor.cuh"
#include "octree/field.cuh"

namespace knf {

struct HalfRow {
    uint2 features[FIELD_FEATURES / 4];
};

struct alignas(16) TensorDecoder {
    uint4 features[PARTS][1][2][32];  // features, in the order above -> 32 hidden units, a part of them
    uint4 output[PARTS][32];  // x, y: the first 16 of them; z, w: the others; columns 0, 2, 4: colour, 6: density
    float bias_output[8];     // red, unused, green, unused, blue, unused, density, unused
};

struct alignas(16) TensorDirectionLayer {
    uint4 weights[PARTS][2][2][32];  // encoded direction (32) -> 32
    float bias[PARTS][HIDDEN];
};

// As results of a product lie in lanes: of a ray, a part and t units 8n + 2t and 8n + 2t + 1 for n = 0 .. 3.
struct TensorRayParts {
    uint4 units[THREADS][PARTS][4];
};

struct TensorFieldEvaluator : FieldOfVoxels<HalfRow, TensorDecoder, TensorDirectionLayer, TensorRayParts> {
    using Layers = TensorEvaluator;
    static constexpr int BLOCKS = 2;  // leaves 128 registers a thread

    // Kept within fp16: infinity minus infinity would be NaN.
    KNF_DEVICE unsigned pack_finite(float low, float high) {
        return Layers::pack(fminf(fmaxf(low, -65504.0f), 65504.0f), fminf(fmaxf(high, -65504.0f), 65504.0f));
    }

    // Sums of a product for rows g (0) and g + 8 (1), as they are kept, and back.
    KNF_DEVICE uint4 packed(const float (&sum)[4][4], int row) {
        return {pack_finite(sum[0][2 * row], sum[0][2 * row + 1]), pack_finite(sum[1][2 * row], sum[1][2 * row + 1]),
                pack_finite(sum[2][2 * row], sum[2][2 * row + 1]), pack_finite(sum[3][2 * row], sum[3][2 * row + 1])};
    }
    KNF_DEVICE uint4 packed(const unsigned (&sum)[4][2], int row) {
        return {sum[0][row], sum[1][row], sum[2][row], sum[3][row]};
    }
    KNF_DEVICE void unpack(const uint4& units, int row, float (&sum)[4][4]) {
        const unsigned pairs[4] = {units.x, units.y, units.z, units.w};
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(&pairs[n]));
            sum[n][2 * row] = pair.x;
            sum[n][2 * row + 1] = pair.y;
        }
    }
    KNF_DEVICE void unpack(const uint4& units, int row, unsigned (&sum)[4][2]) {
        sum[0][row] = units.x, sum[1][row] = units.y, sum[2][row] = units.z, sum[3][row] = units.w;
    }

    // Of rays 0 .. rays - 1, 16 a warp.
    KNF_DEVICE void prepare_rays(const Arrays& arrays, const float4* unit, int rays, int thread) {
        const TensorDirectionLayer& layer = *arrays.direction_layer;
        TensorRayParts& parts = own_ray_parts(arrays);
        const int lane = thread % 32, g = lane / 4, t = lane % 4;
        for (int first = thread / 32 * 16; first < rays; first += THREADS / 32 * 16) {
            const int row_low = first + g, row_high = first + g + 8;
            const float4 low = unit[min(row_low, rays - 1)], high = unit[min(row_high, rays - 1)];
            unsigned direction[2][4];
            Layers::encode<2>({low.x, low.y, low.z}, {high.x, high.y, high.z}, t, direction);
#pragma unroll 1
            for (int part = 0; part < PARTS; part++) {
                HiddenSums sum;
                Layers::start(layer.bias[part], t, sum);
                Layers::layer<2>(direction, layer.weights[part], lane, sum);
                if (row_low < rays) parts.units[row_low][part][t] = packed(sum, 0);
                if (row_high < rays) parts.units[row_high][part][t] = packed(sum, 1);
            }
        }
    }

    // Features 4t .. 4t + 3 of a sample, packed.
    KNF_DEVICE void interpolate(const Arrays& arrays, int slot, const Sample& place, int t, unsigned& first,
                                unsigned& second) {
        float sum[4] = {};
        if (slot != NOWHERE)
            for_each_corner(arrays.corners[slot], place, [&](int row, float weight) {
                const uint2 at = arrays.rows[row].features[t];
                const float2 a = __half22float2(*reinterpret_cast<const __half2*>(&at.x));
                const float2 b = __half22float2(*reinterpret_cast<const __half2*>(&at.y));
                sum[0] = __fmaf_rn(weight, a.x, sum[0]);
                sum[1] = __fmaf_rn(weight, a.y, sum[1]);
                sum[2] = __fmaf_rn(weight, b.x, sum[2]);
                sum[3] = __fmaf_rn(weight, b.y, sum[3]);
            });
        first = Layers::pack(sum[0], sum[1]);
        second = Layers::pack(sum[2], sum[3]);
    }

    KNF_DEVICE void evaluate(const Arrays& arrays, const TensorDecoder& decoder, const CellVoxels& cell,
                             Sample* samples, int count, const float4*, int thread, int threads) {
        const TensorRayParts& parts = own_ray_parts(arrays);
        const int lane = thread % 32, g = lane / 4, t = lane % 4;
        for (int first = thread / 32 * 16; first < count; first += threads / 32 * 16) {
            const int row_low = first + g, row_high = first + g + 8;
            // Rows beyond the end repeat the last sample; they are not written.
            const Sample low = samples[min(row_low, count - 1)], high = samples[min(row_high, count - 1)];
            __syncwarp(0xffffffffu);  // every lane has read its samples before any result overwrites them
            const int slot_low = slot_of(cell, voxel_of(low.w)), slot_high = slot_of(cell, voxel_of(high.w));
            unsigned features[1][4];
            interpolate(arrays, slot_low, low, t, features[0][0], features[0][2]);
            interpolate(arrays, slot_high, high, t, features[0][1], features[0][3]);
            const uint4(&part_low)[PARTS][4] = parts.units[ray_of(low.w)];
            const uint4(&part_high)[PARTS][4] = parts.units[ray_of(high.w)];
            float out[4];
            out[0] = out[2] = decoder.bias_output[2 * t];
            out[1] = out[3] = 0.0f;
#pragma unroll
            for (int part = 0; part < PARTS; part++) {
                HiddenSums sum;
                unpack(part_low[part][t], 0, sum);
                unpack(part_high[part][t], 1, sum);
                unsigned hidden[2][4];
                Layers::layer<1>(features, decoder.features[part], lane, sum);
                Layers::rectify(sum, hidden);
                const uint4 b = decoder.output[part][lane];
                multiply_tile(out, hidden[0], b.x, b.y);
                multiply_tile(out, hidden[1], b.z, b.w);
            }
            const float result_low = slot_low == NOWHERE ? 0.0f : Layers::activated(out[0], t);
            const float result_high = slot_high == NOWHERE ? 0.0f : Layers::activated(out[2], t);
            if (row_low < count) reinterpret_cast<float*>(samples + row_low)[t] = result_low;
            if (row_high < count) reinterpret_cast<float*>(samples + row_high)[t] = result_high;
        }
    }
};

}  // namespace knf
