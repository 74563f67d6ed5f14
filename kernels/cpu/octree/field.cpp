// Samples of an octree field: features by one trilinear interpolation, then the decoder. Compiled once per instruction
// set, with fused multiply-add.
//
// The direction's part of the hidden layer is computed once for each ray of a tile that takes a sample, and kept.
#include "cpu/octree/field.h"

#include "cpu/kilonerf/layers.h"
#include "cpu/march/evaluator.h"
#include "cpu/octree/decoder.h"

namespace knf::KNF_PATH {
namespace {

constexpr int BATCH = 64;  // samples; a multiple of every lane count and of TOGETHER
constexpr int NOWHERE = -1;

// What the rays of some samples add to the hidden layer, where it is not known yet.
void find_ray_parts(const OctreeField& field, const int* rays, int count, Workspace& work) {
    constexpr int CHANNELS = DIRECTION_CHANNELS / 3;
    int unknown[BATCH + MAX_LANES];
    int found = 0;
    for (int i = 0; i < count; i++) {
        if (work.ray_known[rays[i]]) continue;
        work.ray_known[rays[i]] = 1;
        unknown[found++] = rays[i];
    }
    if (!found) return;
    const int padded = (found + MAX_LANES - 1) / MAX_LANES * MAX_LANES;
    for (int i = found; i < padded; i++) unknown[i] = unknown[0];
    alignas(64) float encoded[BATCH][DIRECTION_CHANNELS];
    for (int i = 0; i < padded; i += W) {
        for (int axis = 0; axis < 3; axis++) {
            floats unit;
            for (int lane = 0; lane < W; lane++) {
                const int ray = unknown[i + lane];
                unit[lane] = work.direction[axis][ray] / work.length[ray];
            }
            floats rows[CHANNELS];
            encode<DIRECTION_FREQUENCIES, 1>(unit, rows);
            for (int channel = 0; channel < CHANNELS; channel++)
                for (int lane = 0; lane < W; lane++) encoded[i + lane][axis * CHANNELS + channel] = rows[channel][lane];
        }
    }
    for (int i = 0; i < padded; i += TOGETHER) {
        const float* start[TOGETHER];
        float* out[TOGETHER];
        for (int s = 0; s < TOGETHER; s++) {
            start[s] = field.b_hidden;
            out[s] = work.ray_part + int64_t{unknown[i + s]} * UNITS;
        }
        add_layer<DIRECTION_CHANNELS, false>(field.w_direction, start, encoded[i], out);
    }
}

// The slot of each sample's voxel, or NOWHERE, and where in the voxel it is; the rows of its corners are fetched.
KNF_INLINE void locate(const OctreeField& field, const Workspace& work, int first, int* slots,
                       float (&fraction)[3][BATCH]) {
    const Cell& cell = *work.cell;
    alignas(64) int32_t bits[BATCH];
    for (int i = 0; i < BATCH; i += W) {
        ints bit = {};
        for (int axis = 0; axis < 3; axis++) {
            const floats place = load(work.local[axis] + first + i);
            const ints voxel = truncate(place);
            store(fraction[axis] + i, place - to_floats(voxel));
            bit += (voxel - cell.first_voxel[axis]) << work.grid->voxel_shift[axis];
        }
        store(bits + i, bit);
    }
    for (int i = 0; i < BATCH; i++) {
        const int word = cell.first_word + (bits[i] >> 5);
        const uint32_t occupied = field.occupancy[word], own = 1u << (bits[i] & 31);
        slots[i] = occupied & own ? field.first_slot[word] + __builtin_popcount(occupied & (own - 1)) : NOWHERE;
        if (slots[i] != NOWHERE) __builtin_prefetch(field.corners + 4 * int64_t{slots[i]});
    }
    for (int i = 0; i < BATCH; i++) {
        if (slots[i] == NOWHERE) continue;
        for (int pair = 0; pair < 4; pair++) {
            const float* row = field.rows + int64_t{field.corners[4 * int64_t{slots[i]} + pair]} * FIELD_FEATURES;
            __builtin_prefetch(row);
            __builtin_prefetch(row + FIELD_FEATURES);
        }
    }
}

KNF_INLINE void interpolate(const OctreeField& field, int slot, float x, float y, float z, float* features) {
    constexpr int VECTORS = FIELD_FEATURES / W;
    const float weights[4] = {(1 - x) * (1 - y), (1 - x) * y, x * (1 - y), x * y};
    floats sum[VECTORS] = {};
    for (int pair = 0; pair < 4; pair++) {
        const float* row = field.rows + int64_t{field.corners[4 * int64_t{slot} + pair]} * FIELD_FEATURES;
        const floats low = splat(weights[pair] * (1 - z)), high = splat(weights[pair] * z);
        for (int v = 0; v < VECTORS; v++) {
            sum[v] += low * load(row + v * W);
            sum[v] += high * load(row + FIELD_FEATURES + v * W);
        }
    }
    for (int v = 0; v < VECTORS; v++) store(features + v * W, sum[v]);
}

void evaluate_batch(const OctreeField& field, Workspace& work, int first, int count) {
    find_ray_parts(field, work.ray + first, count, work);
    // Lanes behind the last sample repeat it: what lies there may be anything.
    for (int i = count; i < BATCH; i++) {
        work.ray[first + i] = work.ray[first + count - 1];
        for (auto& local : work.local) local[first + i] = local[first + count - 1];
    }
    int slots[BATCH];
    alignas(64) float fraction[3][BATCH], features[BATCH][FIELD_FEATURES], hidden[TOGETHER][UNITS], raw[4][BATCH];
    locate(field, work, first, slots, fraction);
    const int used = (count + TOGETHER - 1) / TOGETHER * TOGETHER;
    for (int i = 0; i < used; i++) {
        if (slots[i] == NOWHERE)
            __builtin_memset(features[i], 0, sizeof(features[i]));
        else
            interpolate(field, slots[i], fraction[0][i], fraction[1][i], fraction[2][i], features[i]);
    }
    for (int i = 0; i < used; i += TOGETHER) {
        const float* start[TOGETHER];
        float* out[TOGETHER];
        for (int s = 0; s < TOGETHER; s++) {
            start[s] = work.ray_part + int64_t{work.ray[first + i + s]} * UNITS;
            out[s] = hidden[s];
        }
        add_layer<FIELD_FEATURES, true>(field.w_features, start, features[i], out);
        for (int s = 0; s < TOGETHER; s += 2) {
            float output[2][4];
            output_layer(field.w_output, field.b_output, hidden[s], hidden[s + 1], output);
            for (int pair = 0; pair < 2; pair++)
                for (int o = 0; o < 4; o++) raw[o][i + s + pair] = output[pair][o];
        }
    }
    for (int i = 0; i < used; i += W) {
        const ints somewhere = load(slots + i) != NOWHERE;
        const floats density = max(load(raw[3] + i), floats{});
        store(work.density + first + i, somewhere ? density : floats{});
        for (int channel = 0; channel < 3; channel++) {
            const floats color = 1.0f / (1.0f + exp(-load(raw[channel] + i)));
            store(work.rgb[channel] + first + i, somewhere ? color : floats{});
        }
    }
}

}  // namespace

void begin_visit(const void*, const FrameSetup&, const Rectangle&, const Rectangle&, Workspace&) {}

void evaluate(const void* field, Workspace& work, int count) {
    for (int first = 0; first < count; first += BATCH)
        evaluate_batch(*static_cast<const OctreeField*>(field), work, first,
                       count - first < BATCH ? count - first : BATCH);
}

extern const CodePath path = {
    KNF_PATH_NAME, "float32", false, 0, nullptr, begin_visit, evaluate, render_tile,
};

}  // namespace knf::KNF_PATH
