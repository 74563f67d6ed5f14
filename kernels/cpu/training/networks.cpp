// The tiny networks forward and backward, and Adam. Compiled once per instruction set, with fused multiply-add.
//
// Activations are [sample][unit], one vector lane per unit: every product here, of either direction, is then the same
// small kernel (rows of one matrix broadcast, rows of the other one loaded), nothing is transposed but weights, and
// no lane is lost to networks with few samples. Encodings are [channel][sample], one lane per sample.
//
// The feature layer has no activation. It is folded into the direction layer for each item (as the renderer does when
// a scene is loaded), and its gradients are unfolded at the item's end: 3072 multiply-adds a sample instead of 6144.
// Samples of one ray follow each other: a run of equal directions is encoded and multiplied once.
#include "cpu/kilonerf/frequencies.h"
#include "cpu/kilonerf/layers.h"
#include "cpu/training/products.h"
#include "cpu/training/training.h"

namespace knf::KNF_PATH {
namespace {

using namespace knf::train;

constexpr int TILE_SAMPLES = 96;  // at a time; a multiple of every lane count

struct alignas(64) Activations {
    float position[POSITION_CHANNELS * TILE_SAMPLES];    // encoded, [channel][sample]
    float direction[DIRECTION_CHANNELS * TILE_SAMPLES];  // encoded, [channel][run]
    float directed[TILE_SAMPLES * HIDDEN];               // of runs: what they add to the direction layer
    float hidden0[TILE_SAMPLES * HIDDEN];
    float hidden1[TILE_SAMPLES * HIDDEN];
    float hidden2[TILE_SAMPLES * HIDDEN];
    float raw[TILE_SAMPLES * 4];     // density, colour before activation
    float active[TILE_SAMPLES * 4];  // sigmoid of those
};

struct alignas(64) Workspace {
    // Of the samples at hand.
    float point[3][TILE_SAMPLES];
    float unit[3][TILE_SAMPLES];  // of runs
    int32_t sample[TILE_SAMPLES];
    int32_t run[TILE_SAMPLES];
    int count, runs;
    Activations a;
    // Gradients with respect to sums before activations.
    float d_raw[TILE_SAMPLES * 4];
    float d_hidden2[TILE_SAMPLES * HIDDEN];
    float d_hidden1[TILE_SAMPLES * HIDDEN];
    float d_hidden0[TILE_SAMPLES * HIDDEN];
    float d_runs[TILE_SAMPLES * HIDDEN];
    // Of the item's network.
    float folded[HIDDEN * HIDDEN];  // W_FEATURE times the feature rows of W_DIRECTION
    float folded_bias[HIDDEN];
    float folded_t[HIDDEN * HIDDEN];
    float w1_t[HIDDEN * HIDDEN];
    float features_t[HIDDEN * HIDDEN];  // the feature rows of W_DIRECTION, transposed
    float color_t[3 * HIDDEN];
    float d_folded[HIDDEN * HIDDEN];
    float d_color_t[3 * HIDDEN];
    // Rows of layer 0 for the frequencies that have weight, where these are not all, and their gradient.
    float w0[POSITION_CHANNELS * HIDDEN];
    float d_w0[POSITION_CHANNELS * HIDDEN];
};

KNF_INLINE int channels_of(int frequencies) { return 3 * (1 + 2 * frequencies); }

// What the layers need besides the parameters themselves.
void prepare(const float* p, int frequencies, Workspace& work) {
    if (frequencies < POSITION_FREQUENCIES) {
        float* to = work.w0;
        for_position_rows(frequencies, [&](int row) {
            __builtin_memcpy(to, p + W0 + row * HIDDEN, sizeof(float) * HIDDEN);
            to += HIDDEN;
        });
    }
    const float zeros[HIDDEN] = {};
    multiply(HIDDEN, HIDDEN, {p + W_FEATURE, HIDDEN, 1}, p + W_DIRECTION, zeros, 0, work.folded);
    multiply(1, HIDDEN, {p + B_FEATURE, 0, 1}, p + W_DIRECTION, p + B_DIRECTION, 0, work.folded_bias);
    transpose(p + W_COLOR, work.color_t, HIDDEN, 3);
}

void prepare_backward(const float* p, int frequencies, Workspace& work) {
    transpose(work.folded, work.folded_t, HIDDEN, HIDDEN);
    transpose(p + W1, work.w1_t, HIDDEN, HIDDEN);
    transpose(p + W_DIRECTION, work.features_t, HIDDEN, HIDDEN);
    for (float& x : work.d_folded) x = 0;
    for (float& x : work.d_color_t) x = 0;
    if (frequencies < POSITION_FREQUENCIES)
        for (float& x : work.d_w0) x = 0;
}

// Take sample `s` into the tile.
KNF_INLINE void take(const Samples& samples, int32_t s, Workspace& work) {
    const int i = work.count++;
    work.sample[i] = s;
    for (int axis = 0; axis < 3; axis++) work.point[axis][i] = samples.points[3 * static_cast<int64_t>(s) + axis];
    const float* d = samples.directions + 3 * static_cast<int64_t>(s);
    const int last = work.runs - 1;
    if (i == 0 || work.unit[0][last] != d[0] || work.unit[1][last] != d[1] || work.unit[2][last] != d[2]) {
        for (int axis = 0; axis < 3; axis++) work.unit[axis][work.runs] = d[axis];
        work.runs++;
    }
    work.run[i] = work.runs - 1;
}

template <int FREQUENCIES>
KNF_INLINE void encode_tile(const float (&values)[3][TILE_SAMPLES], int count, float* rows) {
    constexpr int VECTORS = TILE_SAMPLES / W;
    for (int axis = 0; axis < 3; axis++)
        for (int v = 0; v < (count + W - 1) / W; v++)
            encode<FREQUENCIES, VECTORS>(load(values[axis] + v * W),
                                         reinterpret_cast<floats*>(rows) + axis * (1 + 2 * FREQUENCIES) * VECTORS + v);
}

template <int F = POSITION_FREQUENCIES>
KNF_INLINE void encode_position(int frequencies, const Workspace& work, float* rows) {
    if (frequencies == F)
        encode_tile<F>(work.point, work.count, rows);
    else if constexpr (F > 1)
        encode_position<F - 1>(frequencies, work, rows);
}

// Everything up to the sums before the last activations, for the samples in the tile.
void run_forward(const float* p, int frequencies, Workspace& work) {
    Activations& a = work.a;
    const int n = work.count;
    for (int axis = 0; axis < 3; axis++) {  // whole vectors are encoded
        for (int i = n; i % W; i++) work.point[axis][i] = 0;
        for (int i = work.runs; i % W; i++) work.unit[axis][i] = 0;
    }
    encode_position(frequencies, work, a.position);
    encode_tile<DIRECTION_FREQUENCIES>(work.unit, work.runs, a.direction);
    const float* w0 = frequencies < POSITION_FREQUENCIES ? work.w0 : p + W0;
    multiply<Then::RELU>(n, channels_of(frequencies), {a.position, 1, TILE_SAMPLES}, w0, p + B0, 0, a.hidden0);
    multiply<Then::RELU>(n, HIDDEN, {a.hidden0, HIDDEN, 1}, p + W1, p + B1, 0, a.hidden1);
    multiply(work.runs, DIRECTION_CHANNELS, {a.direction, 1, TILE_SAMPLES}, p + W_DIRECTION + HIDDEN * HIDDEN,
             work.folded_bias, 0, a.directed);
    const float* start = a.directed;
    if (work.runs < n) {
        for (int i = 0; i < n; i++)
            for (int v = 0; v < HIDDEN; v += W)
                store(a.hidden2 + i * HIDDEN + v, load(a.directed + work.run[i] * HIDDEN + v));
        start = a.hidden2;
    }
    multiply<Then::RELU>(n, HIDDEN, {a.hidden1, HIDDEN, 1}, work.folded, start, HIDDEN, a.hidden2);

    floats bias = {};
    for (int lane = 0; lane < W; lane++) bias[lane] = lane % 4 ? p[B_COLOR + lane % 4 - 1] : p[B_DENSITY];
    for (int i = 0; i < n; i++) {
        floats sum[4] = {};
        for (int v = 0; v < HIDDEN; v += W) {
            const floats h1 = load(a.hidden1 + i * HIDDEN + v), h2 = load(a.hidden2 + i * HIDDEN + v);
            sum[0] += h1 * load(p + W_DENSITY + v);
            for (int c = 0; c < 3; c++) sum[1 + c] += h2 * load(work.color_t + c * HIDDEN + v);
        }
        store_sums(sum, a.raw + 4 * i);
    }
    for (int i = 4 * n; i % W; i++) a.raw[i] = 0;
    for (int i = 0; i < 4 * n; i += W) {
        const floats raw = load(a.raw + i) + bias;
        store(a.raw + i, raw);
        store(a.active + i, 1.0f / (1.0f + exp(-raw)));
    }
}

// From the gradients of the outputs in d_raw to those of the parameters, for the samples in the tile.
void run_backward(const float* p, const Samples& samples, Workspace& work, float* g) {
    const Activations& a = work.a;
    const int n = work.count;
    const float zeros[HIDDEN] = {};
    ints is_density;
    for (int lane = 0; lane < W; lane++) is_density[lane] = lane % 4 ? 0 : -1;
    for (int i = 0; i < 4 * n; i += W) {
        const floats d = load(work.d_raw + i), q = load(a.active + i);
        const floats d_density = samples.rectified ? (load(a.raw + i) > 0.0f ? d : floats{}) : d;
        store(work.d_raw + i, is_density ? d_density : d * (q * (1.0f - q)));
    }
    for (int i = 0; i < n; i++) {
        g[B_DENSITY] += work.d_raw[4 * i];
        for (int c = 0; c < 3; c++) g[B_COLOR + c] += work.d_raw[4 * i + 1 + c];
    }
    // Colour layer.
    multiply(3, n, {work.d_raw + 1, 1, 4}, a.hidden2, work.d_color_t, HIDDEN, work.d_color_t);
    multiply<Then::MASK>(n, 3, {work.d_raw + 1, 4, 1}, work.color_t, zeros, 0, work.d_hidden2, a.hidden2);
    // Direction layer with the feature layer folded into it.
    multiply(HIDDEN, n, {a.hidden1, 1, HIDDEN}, work.d_hidden2, work.d_folded, HIDDEN, work.d_folded);
    const float* d_runs = work.d_hidden2;
    if (work.runs < n) {
        for (int i = 0; i < work.runs * HIDDEN; i += W) store(work.d_runs + i, floats{});
        for (int i = 0; i < n; i++)
            for (int v = 0; v < HIDDEN; v += W) {
                float* sum = work.d_runs + work.run[i] * HIDDEN + v;
                store(sum, load(sum) + load(work.d_hidden2 + i * HIDDEN + v));
            }
        d_runs = work.d_runs;
    }
    float* g_direction = g + W_DIRECTION + HIDDEN * HIDDEN;
    multiply(DIRECTION_CHANNELS, work.runs, {a.direction, TILE_SAMPLES, 1}, d_runs, g_direction, HIDDEN, g_direction);
    add_rows(work.runs, d_runs, g + B_DIRECTION);
    // Density, and what comes back into layer 1.
    multiply(1, n, {work.d_raw, 1, 4}, a.hidden1, g + W_DENSITY, HIDDEN, g + W_DENSITY);
    multiply(n, 1, {work.d_raw, 4, 1}, p + W_DENSITY, zeros, 0, work.d_hidden1);
    multiply<Then::MASK>(n, HIDDEN, {work.d_hidden2, HIDDEN, 1}, work.folded_t, work.d_hidden1, HIDDEN, work.d_hidden1,
                         a.hidden1);
    // Layer 1, layer 0.
    multiply(HIDDEN, n, {a.hidden0, 1, HIDDEN}, work.d_hidden1, g + W1, HIDDEN, g + W1);
    add_rows(n, work.d_hidden1, g + B1);
    multiply<Then::MASK>(n, HIDDEN, {work.d_hidden1, HIDDEN, 1}, work.w1_t, zeros, 0, work.d_hidden0, a.hidden0);
    float* d_w0 = samples.frequencies < POSITION_FREQUENCIES ? work.d_w0 : g + W0;
    multiply(channels_of(samples.frequencies), n, {a.position, TILE_SAMPLES, 1}, work.d_hidden0, d_w0, HIDDEN, d_w0);
    add_rows(n, work.d_hidden0, g + B0);
}

// Gradients of the feature layer and of the rows that it was folded with, and of layer 0 at their places.
void unfold(const float* p, int frequencies, const Workspace& work, float* g) {
    if (frequencies < POSITION_FREQUENCIES) {
        const float* from = work.d_w0;
        for_position_rows(frequencies, [&](int row) {
            __builtin_memcpy(g + W0 + row * HIDDEN, from, sizeof(float) * HIDDEN);
            from += HIDDEN;
        });
    }
    const float zeros[HIDDEN] = {};
    const float* d_bias = g + B_DIRECTION;
    multiply(HIDDEN, HIDDEN, {p + W_FEATURE, 1, HIDDEN}, work.d_folded, g + W_DIRECTION, HIDDEN, g + W_DIRECTION);
    multiply(HIDDEN, 1, {p + B_FEATURE, 1, 0}, d_bias, g + W_DIRECTION, HIDDEN, g + W_DIRECTION);
    multiply(HIDDEN, HIDDEN, {work.d_folded, HIDDEN, 1}, work.features_t, zeros, 0, g + W_FEATURE);
    multiply(1, HIDDEN, {d_bias, 0, 1}, work.features_t, zeros, 0, g + B_FEATURE);
    transpose(work.d_color_t, g + W_COLOR, 3, HIDDEN);
}

KNF_INLINE int32_t sample_at(const Samples& samples, int64_t place) {
    return samples.order ? samples.order[place] : static_cast<int32_t>(place);
}

void forward(const float* parameters, const Samples& samples, const Item& item, void* workspace,
             const Outputs& outputs) {
    Workspace& work = *static_cast<Workspace*>(workspace);
    prepare(parameters, samples.frequencies, work);
    for (int64_t place = item.begin; place < item.end;) {
        for (work.count = work.runs = 0; place < item.end && work.count < TILE_SAMPLES; place++)
            take(samples, sample_at(samples, place), work);
        run_forward(parameters, samples.frequencies, work);
        for (int i = 0; i < work.count; i++) {
            const int64_t s = work.sample[i];
            const float density = work.a.raw[4 * i];
            outputs.density[s] = samples.rectified && !(density > 0.0f) ? 0.0f : density;
            for (int c = 0; c < 3; c++) outputs.rgb[3 * s + c] = work.a.active[4 * i + 1 + c];
        }
    }
}

void backward(const float* parameters, const Samples& samples, const Item& item, void* workspace,
              const OutputGradients& gradients, float* gradient) {
    Workspace& work = *static_cast<Workspace*>(workspace);
    prepare(parameters, samples.frequencies, work);
    prepare_backward(parameters, samples.frequencies, work);
    for (int i = 0; i < ROW; i += W) store(gradient + i, floats{});
    for (int64_t place = item.begin; place < item.end;) {
        for (work.count = work.runs = 0; place < item.end && work.count < TILE_SAMPLES; place++) {
            const int32_t s = sample_at(samples, place);
            const float density = gradients.density[s];
            const float* rgb = gradients.rgb + 3 * static_cast<int64_t>(s);
            if (density == 0 && rgb[0] == 0 && rgb[1] == 0 && rgb[2] == 0) continue;  // behind an opaque surface, say
            float* d = work.d_raw + 4 * work.count;
            d[0] = density, d[1] = rgb[0], d[2] = rgb[1], d[3] = rgb[2];
            take(samples, s, work);
        }
        if (work.count == 0) continue;
        run_forward(parameters, samples.frequencies, work);
        run_backward(parameters, samples, work, gradient);
    }
    unfold(parameters, samples.frequencies, work, gradient);
}

void add(const float* __restrict from, float* __restrict to) {
    for (int i = 0; i < ROW; i++) to[i] += from[i];
}

void adam(const AdamStep& step, const float* __restrict gradient, float* __restrict parameters, float* __restrict first,
          float* __restrict second) {
    const float* __restrict decay = step.decay;
    const AdamStep s = step;
    const auto update = [=](int i, float g) __attribute__((always_inline)) {
        first[i] = s.beta1 * first[i] + s.one_minus_beta1 * g;
        second[i] = s.beta2 * second[i] + s.one_minus_beta2 * g * g;
        parameters[i] -= s.rate * first[i] / (__builtin_sqrtf(second[i]) * s.second_scale + s.epsilon);
    };
    if (gradient && decay)
        for (int i = 0; i < ROW; i++) update(i, gradient[i] + decay[i] * parameters[i]);
    else if (gradient)
        for (int i = 0; i < ROW; i++) update(i, gradient[i]);
    else if (decay)
        for (int i = 0; i < ROW; i++) update(i, decay[i] * parameters[i]);
    else
        for (int i = 0; i < ROW; i++) update(i, 0.0f);
}

}  // namespace

extern const train::Path train_path = {KNF_PATH_NAME, sizeof(Workspace), forward, backward, add, adam};

}  // namespace knf::KNF_PATH
