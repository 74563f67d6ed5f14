// A tile of samples of one network, forward: what both directions of training's kernels compute.
//
// Activations lie in shared memory, [unit][sample]. Every layer is a small matrix product by all threads, 4 outputs x 4
// samples each, in float32. The feature layer has no activation: it is folded into the direction layer, as on the CPU
// (kernels/cpu/training/networks.cpp).
#pragma once

#include "device.cuh"
#include "kilonerf/evaluate_float.cuh"
#include "network_rows.h"

namespace knf {

constexpr int TILE = 48;                   // samples
constexpr int STRIDE = TILE + 4;           // floats of a row: 4 rows further lie in other banks
constexpr int TILE_THREADS = 2 * TILE;     // 8 groups of outputs x 12 groups of samples
constexpr int ITEM_SAMPLES = 10 * TILE;    // of one block; as ITEM_SAMPLES in trainer/ops/cuda.py
constexpr int WEIGHT_STRIDE = HIDDEN + 4;  // likewise, for rows of weights

// Rows of Tile::rows. Their order gives gradients of weights and biases, as products of rows, in one piece each.
constexpr int H0 = 0;                 // layer 0; gradients of W1 are products with rows H0 .. ONES
constexpr int ONES = H0 + HIDDEN;     // 1 everywhere: products with it are gradients of biases
constexpr int H1 = ONES + 1;          // layer 1; gradients of the direction layer: ONES .. SEEN_END
constexpr int ENCODED = H1 + HIDDEN;  // encoded position, or direction; gradients of W0: ENCODED .. ONES_TOO
constexpr int SEEN_END = ENCODED + DIRECTION_CHANNELS;
constexpr int ONES_TOO = ENCODED + POSITION_CHANNELS;
constexpr int H2 = ONES_TOO + 1;  // direction layer
constexpr int TILE_ROWS = H2 + HIDDEN;

struct alignas(16) Tile {
    float rows[TILE_ROWS * STRIDE];
    float w1[HIDDEN * WEIGHT_STRIDE];
    float folded[HIDDEN * WEIGHT_STRIDE];  // W_FEATURE times the feature rows of W_DIRECTION
    float folded_bias[HIDDEN];
    float output[4 * STRIDE];  // of the backward pass: gradients of density, red, green, blue before their activation
    int sample[TILE];          // its number; -1: there is none

    __device__ __forceinline__ float* row(int number) { return rows + number * STRIDE; }
};

// Which samples a block takes: those of a network, or ITEM_SAMPLES of them. first_item: [networks + 1], number of each
// network's first block.
struct Item {
    int network;
    long long begin, end;
};

KNF_DEVICE Item find_item(long long number, int networks, const long long* first_item, const long long* starts) {
    int low = 0, high = networks;  // first_item[low] <= number < first_item[high]
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        (first_item[middle] <= number ? low : high) = middle;
    }
    const long long begin = starts[low] + (number - first_item[low]) * ITEM_SAMPLES, end = starts[low + 1];
    return {low, begin, end < begin + ITEM_SAMPLES ? end : begin + ITEM_SAMPLES};
}

KNF_DEVICE float4 load4(const float* at) { return *reinterpret_cast<const float4*>(at); }

// sum[i][j] += a.i * b.j
KNF_DEVICE void add_product(const float4& a, const float4& b, float (&sum)[4][4]) {
    const float left[4] = {a.x, a.y, a.z, a.w}, right[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sum[i][j] = __fmaf_rn(left[i], right[j], sum[i][j]);
}

// The sum of a.i * b.i, and of it with `sum`.
KNF_DEVICE float add_dot(const float4& a, const float4& b, float sum) {
    return __fmaf_rn(a.w, b.w, __fmaf_rn(a.z, b.z, __fmaf_rn(a.y, b.y, __fmaf_rn(a.x, b.x, sum))));
}

// Weights into shared memory, the feature layer folded; row: the network's parameters.
KNF_DEVICE void prepare(Tile& tile, const float* row, int thread) {
    for (int i = thread; i < HIDDEN * HIDDEN / 4; i += TILE_THREADS)
        *reinterpret_cast<float4*>(tile.w1 + i / 8 * WEIGHT_STRIDE + i % 8 * 4) = load4(row + W1 + 4 * i);
    for (int i = thread; i < STRIDE; i += TILE_THREADS) tile.row(ONES)[i] = tile.row(ONES_TOO)[i] = 1.0f;
    const float *feature = row + W_FEATURE, *direction = row + W_DIRECTION;
    if (thread < HIDDEN * HIDDEN / 16) {
        const int from = thread / 8 * 4, to = thread % 8 * 4;
        float sum[4][4] = {};
#pragma unroll 2
        for (int k = 0; k < HIDDEN; k += 4) {
            float4 left[4];
#pragma unroll
            for (int i = 0; i < 4; i++) left[i] = load4(feature + (from + i) * HIDDEN + k);
            add_product({left[0].x, left[1].x, left[2].x, left[3].x}, load4(direction + k * HIDDEN + to), sum);
            add_product({left[0].y, left[1].y, left[2].y, left[3].y}, load4(direction + (k + 1) * HIDDEN + to), sum);
            add_product({left[0].z, left[1].z, left[2].z, left[3].z}, load4(direction + (k + 2) * HIDDEN + to), sum);
            add_product({left[0].w, left[1].w, left[2].w, left[3].w}, load4(direction + (k + 3) * HIDDEN + to), sum);
        }
#pragma unroll
        for (int i = 0; i < 4; i++)
            *reinterpret_cast<float4*>(tile.folded + (from + i) * WEIGHT_STRIDE + to) =
                make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    } else {
        const int to = thread - HIDDEN * HIDDEN / 16;
        float sum = row[B_DIRECTION + to];
        for (int k = 0; k < HIDDEN; k++) sum = __fmaf_rn(row[B_FEATURE + k], direction[k * HIDDEN + to], sum);
        tile.folded_bias[to] = sum;
    }
}

// Encodes `from` [S][3] of the tile's samples into the rows ENCODED on: per axis v, cos(2^f v), sin(2^f v). Two threads
// for each sample, half of the frequencies each; angles are doubled from the half's accurate first one.
template <int FREQUENCIES>
KNF_DEVICE void encode(Tile& tile, const float* from, int thread) {
    constexpr int HALF = FREQUENCIES / 2;
    const int at = thread % TILE, begin = thread / TILE * HALF, sample = tile.sample[at];
#pragma unroll 1
    for (int axis = 0; axis < 3; axis++) {
        const float value = sample < 0 ? 0.0f : from[3ll * sample + axis];
        float* to = tile.row(ENCODED + axis * (1 + 2 * FREQUENCIES)) + at;
        if (begin == 0) to[0] = value;
        float s, c;
        FloatEvaluator::sine_cosine(value * static_cast<float>(1 << begin), s, c);
#pragma unroll
        for (int f = 0; f < HALF; f++) {
            to[(1 + begin + f) * STRIDE] = c;
            to[(1 + FREQUENCIES + begin + f) * STRIDE] = s;
            const float doubled = 2.0f * s * c;
            c = __fmaf_rn(-2.0f * s, s, 1.0f);
            s = doubled;
        }
    }
}

// sum += weights^T rows: outputs `4 (thread % 8)` on, samples `4 (thread / 8)` on.
template <int INPUTS, int WEIGHTS_STRIDE>
KNF_DEVICE void add_layer(const float* weights, const float* rows, int thread, float (&sum)[4][4]) {
    weights += thread % 8 * 4, rows += thread / 8 * 4;
#pragma unroll 4
    for (int k = 0; k < INPUTS; k++) add_product(load4(weights + k * WEIGHTS_STRIDE), load4(rows + k * STRIDE), sum);
}

KNF_DEVICE void start_layer(const float* bias, int thread, float (&sum)[4][4]) {
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sum[i][j] = bias[thread % 8 * 4 + i];
}

KNF_DEVICE void store_rectified(float* rows, int thread, const float (&sum)[4][4]) {
#pragma unroll
    for (int i = 0; i < 4; i++)
        *reinterpret_cast<float4*>(rows + (thread % 8 * 4 + i) * STRIDE + thread / 8 * 4) =
            make_float4(fmaxf(sum[i][0], 0.0f), fmaxf(sum[i][1], 0.0f), fmaxf(sum[i][2], 0.0f), fmaxf(sum[i][3], 0.0f));
}

// The layers' activations of the samples in tile.sample, which all threads have seen; so they have, after it, H0, H1,
// H2 and the encoded direction in ENCODED.
KNF_DEVICE void run_layers(Tile& tile, const float* row, const float* points, const float* directions, int thread) {
    float sum[4][4];
    encode<POSITION_FREQUENCIES>(tile, points, thread);
    __syncthreads();
    start_layer(row + B0, thread, sum);
    add_layer<POSITION_CHANNELS, HIDDEN>(row + W0, tile.row(ENCODED), thread, sum);
    store_rectified(tile.row(H0), thread, sum);
    __syncthreads();
    encode<DIRECTION_FREQUENCIES>(tile, directions, thread);
    start_layer(row + B1, thread, sum);
    add_layer<HIDDEN, WEIGHT_STRIDE>(tile.w1, tile.row(H0), thread, sum);
    store_rectified(tile.row(H1), thread, sum);
    __syncthreads();
    start_layer(tile.folded_bias, thread, sum);
    add_layer<HIDDEN, WEIGHT_STRIDE>(tile.folded, tile.row(H1), thread, sum);
    add_layer<DIRECTION_CHANNELS, HIDDEN>(row + W_SEEN, tile.row(ENCODED), thread, sum);
    store_rectified(tile.row(H2), thread, sum);
    __syncthreads();
}

// Outputs before their activation of the thread's sample, thread % TILE: density and red, or green and blue.
struct Outputs {
    float first, second;
};

KNF_DEVICE Outputs run_outputs(Tile& tile, const float* row, int thread) {
    const int at = thread % TILE;
    const bool with_density = thread < TILE;
    const float *rows = tile.row(with_density ? H1 : H2) + at, *last = tile.row(H2) + at;
    const float* weights = row + (with_density ? W_DENSITY : W_COLOR + 1);
    const int step = with_density ? 1 : 3, color = with_density ? 0 : 2;
    Outputs out = {row[with_density ? B_DENSITY : B_COLOR + 1], row[B_COLOR + color]};
#pragma unroll 4
    for (int k = 0; k < HIDDEN; k++) {
        out.first = __fmaf_rn(rows[k * STRIDE], weights[k * step], out.first);
        out.second = __fmaf_rn(last[k * STRIDE], row[W_COLOR + 3 * k + color], out.second);
    }
    return out;
}

}  // namespace knf
