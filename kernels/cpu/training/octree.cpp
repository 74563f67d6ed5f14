// An octree field forward and backward, and the learning of codes. Compiled once per instruction set, with fused
// multiply-add.
#include "cpu/training/octree.h"

#include "cpu/octree/decoder.h"
#include "cpu/simd/vectors.h"

namespace knf::KNF_PATH {
namespace {

using namespace knf::train;

constexpr int BATCH = 64;  // samples; a multiple of TOGETHER
constexpr int FEATURES = FIELD_FEATURES;
constexpr int VECTORS = FEATURES / W;

KNF_INLINE void locate(const FieldGrid& grid, const float* point, FieldPlace& place) {
    const float half = 0.5f * static_cast<float>(grid.resolution);
    int32_t voxel[3];
    place = {};
    place.slot = -1;
    for (int axis = 0; axis < 3; axis++) {
        const float p = (point[axis] + 1.0f) * half;
        if (!(p >= 0.0f && p <= 2.0f * half)) return;
        voxel[axis] = static_cast<int32_t>(p);
        if (voxel[axis] == grid.resolution) voxel[axis]--;
        place.fraction[axis] = p - static_cast<float>(voxel[axis]);
    }
    place.column[0] = static_cast<uint16_t>(voxel[0]);
    place.column[1] = static_cast<uint16_t>(voxel[1]);
    place.slot = grid.slots[(int64_t{voxel[0]} * grid.resolution + voxel[1]) * grid.resolution + voxel[2]];
}

KNF_INLINE void pair_weights(const FieldPlace& place, float (&weights)[4]) {
    const float x = place.fraction[0], y = place.fraction[1];
    weights[0] = (1 - x) * (1 - y);
    weights[1] = (1 - x) * y;
    weights[2] = x * (1 - y);
    weights[3] = x * y;
}

KNF_INLINE void interpolate(const FieldGrid& grid, const FieldPlace& place, float* features) {
    float weights[4];
    pair_weights(place, weights);
    floats sum[VECTORS] = {};
    for (int pair = 0; pair < 4; pair++) {
        const float* row = grid.rows + int64_t{grid.corners[4 * int64_t{place.slot} + pair]} * FEATURES;
        const floats low = splat(weights[pair] * (1 - place.fraction[2])),
                     high = splat(weights[pair] * place.fraction[2]);
        for (int v = 0; v < VECTORS; v++) {
            sum[v] += low * load(row + v * W);
            sum[v] += high * load(row + FEATURES + v * W);
        }
    }
    for (int v = 0; v < VECTORS; v++) store(features + v * W, sum[v]);
}

// The hidden units of TOGETHER samples; those at `end` and behind it repeat the last.
KNF_INLINE void hidden_units(const FieldDecoder& decoder, const FieldSamples& samples, const float* features,
                             int64_t first, int64_t end, float (&hidden)[TOGETHER][UNITS]) {
    const float* start[TOGETHER];
    float* out[TOGETHER];
    for (int s = 0; s < TOGETHER; s++) {
        const int64_t sample = first + s < end ? first + s : end - 1;
        start[s] = samples.ray_part + int64_t{samples.rays[sample]} * UNITS;
        out[s] = hidden[s];
    }
    add_layer<FEATURES, true>(decoder.w_features, start, features, out);
}

void forward(const FieldGrid& grid, const FieldDecoder& decoder, const FieldSamples& samples, int64_t begin,
             int64_t end, const FieldOutputs& out) {
    alignas(64) float hidden[TOGETHER][UNITS], features[TOGETHER][FEATURES];
    for (int64_t first = begin; first < end; first += BATCH) {
        const int64_t last = first + BATCH < end ? first + BATCH : end;
        for (int64_t i = first; i < last; i++) {
            locate(grid, samples.points + 3 * i, out.places[i]);
            if (out.places[i].slot >= 0) __builtin_prefetch(grid.corners + 4 * int64_t{out.places[i].slot});
        }
        for (int64_t i = first; i < last; i++) {
            if (out.places[i].slot < 0) continue;
            for (int pair = 0; pair < 4; pair++) {
                const float* row = grid.rows + int64_t{grid.corners[4 * int64_t{out.places[i].slot} + pair]} * FEATURES;
                __builtin_prefetch(row);
                __builtin_prefetch(row + FEATURES);
            }
        }
        for (int64_t i = first; i < last; i += TOGETHER) {
            __builtin_memset(features, 0, sizeof(features));
            for (int s = 0; s < TOGETHER && i + s < last; s++) {
                if (out.places[i + s].slot >= 0) interpolate(grid, out.places[i + s], features[s]);
                __builtin_memcpy(out.features + (i + s) * FEATURES, features[s], sizeof(features[s]));
            }
            hidden_units(decoder, samples, features[0], i, last, hidden);
            for (int s = 0; s < TOGETHER; s += 2) {
                float raw[2][4];
                output_layer(decoder.w_output, decoder.b_output, hidden[s], hidden[s + 1], raw);
                for (int pair = 0; pair < 2; pair++) {
                    const int64_t sample = i + s + pair;
                    if (sample >= last) continue;
                    const bool there = out.places[sample].slot >= 0;
                    for (int o = 0; o < 4; o++) out.raw[4 * sample + o] = there ? raw[pair][o] : 0.0f;
                }
            }
        }
    }
}

// d_features[s] = d_hidden[s] * w_hidden, for TOGETHER samples.
KNF_INLINE void to_features(const float* __restrict w_hidden, const float (&d_hidden)[TOGETHER][UNITS],
                            float (&d_features)[TOGETHER][FEATURES]) {
    floats sum[TOGETHER][VECTORS] = {};
    for (int unit = 0; unit < UNITS; unit++) {
        for (int v = 0; v < VECTORS; v++) {
            const floats w = load(w_hidden + unit * FEATURES + v * W);
#pragma GCC unroll 4
            for (int s = 0; s < TOGETHER; s++) sum[s][v] += d_hidden[s][unit] * w;
        }
    }
    for (int s = 0; s < TOGETHER; s++)
        for (int v = 0; v < VECTORS; v++) store(d_features[s] + v * W, sum[s][v]);
}

void backward(const FieldDecoder& decoder, const FieldSamples& samples, const FieldOutputs& kept, const float* d_raw,
              int64_t begin, int64_t end, const FieldGradients& gradients) {
    alignas(64) float hidden[TOGETHER][UNITS], d_hidden[TOGETHER][UNITS];
    alignas(64) float features[TOGETHER][FEATURES], d_features[TOGETHER][FEATURES];
    for (int64_t i = begin; i < end; i += TOGETHER) {
        const int count = static_cast<int>(end - i < TOGETHER ? end - i : TOGETHER);
        __builtin_memset(features, 0, sizeof(features));
        __builtin_memcpy(features, kept.features + i * FEATURES, count * sizeof(features[0]));
        hidden_units(decoder, samples, features[0], i, end, hidden);
        float slopes[TOGETHER][4] = {};
        for (int s = 0; s < count; s++)
            for (int o = 0; o < 4; o++)
                if (kept.places[i + s].slot >= 0) slopes[s][o] = d_raw[4 * (i + s) + o];
        for (int s = 0; s < count; s++)
            for (int o = 0; o < 4; o++) gradients.b_output[o] += slopes[s][o];
        for (int unit = 0; unit < UNITS; unit += W) {
            floats w[4], d_w[4];
            for (int o = 0; o < 4; o++) {
                w[o] = load(decoder.w_output + o * UNITS + unit);
                d_w[o] = load(gradients.w_output + o * UNITS + unit);
            }
            for (int s = 0; s < TOGETHER; s++) {
                const floats h = load(hidden[s] + unit);
                floats d_h = {};
                for (int o = 0; o < 4; o++) {
                    d_h += slopes[s][o] * w[o];
                    d_w[o] += slopes[s][o] * h;
                }
                store(d_hidden[s] + unit, h > 0.0f ? d_h : floats{});
            }
            for (int o = 0; o < 4; o++) store(gradients.w_output + o * UNITS + unit, d_w[o]);
        }
        for (int f = 0; f < FEATURES; f++) {
            for (int unit = 0; unit < UNITS; unit += W) {
                floats sum = load(gradients.w_features + f * UNITS + unit);
#pragma GCC unroll 4
                for (int s = 0; s < TOGETHER; s++) sum += features[s][f] * load(d_hidden[s] + unit);
                store(gradients.w_features + f * UNITS + unit, sum);
            }
        }
        to_features(decoder.w_hidden, d_hidden, d_features);
        for (int s = 0; s < count; s++) {
            __builtin_memcpy(gradients.features + (i + s) * FEATURES, d_features[s], sizeof(d_features[s]));
            float* ray = gradients.ray_part + int64_t{samples.rays[i + s]} * UNITS;
            for (int unit = 0; unit < UNITS; unit += W) store(ray + unit, load(ray + unit) + load(d_hidden[s] + unit));
        }
    }
}

void scatter(const int32_t* corners, const FieldPlace* places, const float* d_features, int64_t count, int owner,
             int owners, float* d_rows) {
    for (int64_t i = 0; i < count; i++) {
        const FieldPlace& place = places[i];
        if (place.slot < 0) continue;
        float weights[4];
        pair_weights(place, weights);
        for (int pair = 0; pair < 4; pair++) {
            const int column = 7 * (place.column[0] + (pair >> 1)) + place.column[1] + (pair & 1);
            if (column % owners != owner) continue;
            float* row = d_rows + int64_t{corners[4 * int64_t{place.slot} + pair]} * FEATURES;
            const floats low = splat(weights[pair] * (1 - place.fraction[2])),
                         high = splat(weights[pair] * place.fraction[2]);
            for (int v = 0; v < VECTORS; v++) {
                const floats d = load(d_features + i * FEATURES + v * W);
                store(row + v * W, load(row + v * W) + low * d);
                store(row + FEATURES + v * W, load(row + FEATURES + v * W) + high * d);
            }
        }
    }
}

void product(const int32_t* offsets, const int32_t* columns, const float* weights, const float* in, const float* own,
             int64_t begin, int64_t end, float* out) {
    for (int64_t i = begin; i < end; i++) {
        floats sum[VECTORS] = {};
        if (own)
            for (int v = 0; v < VECTORS; v++) sum[v] = load(own + i * FEATURES + v * W);
        for (int32_t n = offsets[i]; n < offsets[i + 1]; n++)
            for (int v = 0; v < VECTORS; v++) sum[v] += weights[n] * load(in + int64_t{columns[n]} * FEATURES + v * W);
        for (int v = 0; v < VECTORS; v++) store(out + i * FEATURES + v * W, sum[v]);
    }
}

void learn_codes(const CodeStep& step, const float* gradient, int64_t begin, int64_t end, float* logits, float* first,
                 float* second, uint8_t* chosen) {
    constexpr int MOST = 256;
    alignas(64) float share[MOST], along[MOST];
    const int codes = step.codes;
    for (int64_t corner = begin; corner < end; corner++) {
        const float* g = gradient + corner * FEATURES;
        bool any = false;
        for (int f = 0; f < FEATURES; f++) any = any || g[f] != 0.0f;
        if (!any) continue;
        float* row = logits + corner * codes;
        float largest = row[0], total = 0, mean = 0;
        for (int c = 1; c < codes; c++) largest = row[c] > largest ? row[c] : largest;
        const int whole = codes / W * W;
        for (int c = 0; c < whole; c += W) store(share + c, exp(load(row + c) - largest));
        for (int c = whole; c < codes; c++) share[c] = exp(splat(row[c] - largest))[0];
        for (int c = 0; c < codes; c++) {
            float dot = 0;
            for (int f = 0; f < FEATURES; f++) dot += g[f] * step.codebook[c * FEATURES + f];
            along[c] = dot;
            total += share[c];
            mean += share[c] * dot;
        }
        mean /= total;
        int best = 0;
        float* m = first + corner * codes;
        float* v = second + corner * codes;
        for (int c = 0; c < codes; c++) {
            const float d = share[c] / total * (along[c] - mean);
            m[c] = step.beta1 * m[c] + step.one_minus_beta1 * d;
            v[c] = step.beta2 * v[c] + step.one_minus_beta2 * d * d;
            row[c] -= step.rate * m[c] / (__builtin_sqrtf(v[c]) * step.second_scale + step.epsilon);
        }
        for (int c = 1; c < codes; c++) best = row[c] > row[best] ? c : best;
        chosen[corner] = static_cast<uint8_t>(best);
    }
}

}  // namespace

extern const train::FieldPath field_path = {KNF_PATH_NAME, forward, backward, scatter, product, learn_codes};

}  // namespace knf::KNF_PATH
