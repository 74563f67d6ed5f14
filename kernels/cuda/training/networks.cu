// The tiny networks in training, forward and backward: a block for each network, or for ITEM_SAMPLES of its samples.
// No result depends on how blocks and threads take turns: gradients are summed in a fixed order.
#include "training/tile.cuh"

namespace knf {

struct Samples {              // all of them; those of network n lie at starts[n] <= place < starts[n + 1]
    const float* points;      // [S][3], within the network's cell
    const float* directions;  // [S][3], unit vectors
    const int* order;         // [S], the sample at each place; null: they lie so themselves
    const long long* starts;
    const long long* first_item;
    int networks;
    int rectified;  // whether the density has its ReLU

    __device__ __forceinline__ int at(long long place) const { return order ? order[place] : static_cast<int>(place); }
};

constexpr int WARPS = TILE_THREADS / 32;

// Rows of gradients: thread t owns rows `t / 8 + 12 r` and outputs `t % 8 + 8 j`.
constexpr int ROW_GROUPS = TILE_THREADS / 8;
constexpr int rows_each(int rows) { return (rows + ROW_GROUPS - 1) / ROW_GROUPS; }
constexpr int R_FIRST = rows_each(POSITION_CHANNELS + 1);
constexpr int R_SECOND = rows_each(HIDDEN + 1);
constexpr int R_THIRD = rows_each(1 + HIDDEN + DIRECTION_CHANNELS);
// The last rows may be none of the layer's: they are summed with the others, and not written.
static_assert(H0 + ROW_GROUPS * R_SECOND <= TILE_ROWS && ENCODED + ROW_GROUPS * R_FIRST <= TILE_ROWS);

// sum[r][j] += products of rows `rows` and `slopes`, over the tile's samples.
template <int R>
KNF_DEVICE void add_gradients(const float* rows, const float* slopes, int thread, float (&sum)[R][4]) {
    rows += thread / 8 * STRIDE, slopes += thread % 8 * STRIDE;
#pragma unroll 1
    for (int s = 0; s < TILE; s += 4) {
        float4 right[4];
#pragma unroll
        for (int j = 0; j < 4; j++) right[j] = load4(slopes + 8 * j * STRIDE + s);
#pragma unroll
        for (int r = 0; r < R; r++) {
            const float4 left = load4(rows + ROW_GROUPS * r * STRIDE + s);
#pragma unroll
            for (int j = 0; j < 4; j++) sum[r][j] = add_dot(left, right[j], sum[r][j]);
        }
    }
}

// sum += weights * slopes: inputs `thread % 8 + 8 i`, samples `4 (thread / 8)` on.
KNF_DEVICE void add_back(const float* weights, const float* slopes, int thread, float (&sum)[4][4]) {
    weights += thread % 8 * WEIGHT_STRIDE, slopes += thread / 8 * 4;
#pragma unroll 1
    for (int o = 0; o < HIDDEN; o += 4) {
        float4 left[4];
#pragma unroll
        for (int i = 0; i < 4; i++) left[i] = load4(weights + 8 * i * WEIGHT_STRIDE + o);
        add_product({left[0].x, left[1].x, left[2].x, left[3].x}, load4(slopes + o * STRIDE), sum);
        add_product({left[0].y, left[1].y, left[2].y, left[3].y}, load4(slopes + (o + 1) * STRIDE), sum);
        add_product({left[0].z, left[1].z, left[2].z, left[3].z}, load4(slopes + (o + 2) * STRIDE), sum);
        add_product({left[0].w, left[1].w, left[2].w, left[3].w}, load4(slopes + (o + 3) * STRIDE), sum);
    }
}

// rows = sum, where rows are positive: from activations to gradients before their ReLU. Each thread its own places.
KNF_DEVICE void store_masked(float* rows, int thread, const float (&sum)[4][4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        auto* place = reinterpret_cast<float4*>(rows + (thread % 8 + 8 * i) * STRIDE + thread / 8 * 4);
        const float4 active = *place;
        *place = make_float4(active.x > 0.0f ? sum[i][0] : 0.0f, active.y > 0.0f ? sum[i][1] : 0.0f,
                             active.z > 0.0f ? sum[i][2] : 0.0f, active.w > 0.0f ? sum[i][3] : 0.0f);
    }
}

// Sums of a thread over its block's samples.
struct Sums {
    float first[R_FIRST][4], second[R_SECOND][4], third[R_THIRD][4];
    float color;    // of unit thread % 32, channel thread / 32
    float density;  // of unit thread, of the first warp
    float bias;     // of output thread - 32, of the second warp

    // Gradients of the tile's samples from those of the outputs, tile.output; leaves H0, H1, H2 changed.
    __device__ __forceinline__ void add_tile(Tile& tile, const float* row, const float* points, int thread) {
        const int unit = thread % 32, warp = thread / 32;
#pragma unroll 1
        for (int s = 0; s < TILE; s += 4) {
            color =
                add_dot(load4(tile.row(H2) + unit * STRIDE + s), load4(tile.output + (1 + warp) * STRIDE + s), color);
            if (warp == 0) density = add_dot(load4(tile.row(H1) + unit * STRIDE + s), load4(tile.output + s), density);
            if (warp == 1 && unit < 4) bias = add_dot(load4(tile.output + unit * STRIDE + s), {1, 1, 1, 1}, bias);
        }
        __syncthreads();

        float sum[4][4] = {};
        const float* output = tile.output + thread / 8 * 4;
#pragma unroll
        for (int c = 0; c < 3; c++) {
            const float* weights = row + W_COLOR + thread % 8 * 3 + c;
            add_product({weights[0], weights[24], weights[48], weights[72]}, load4(output + (1 + c) * STRIDE), sum);
        }
        store_masked(tile.row(H2), thread, sum);
        __syncthreads();

        add_gradients(tile.row(ONES), tile.row(H2), thread, third);
        clear(sum);
        const float* weights = row + W_DENSITY + thread % 8;
        add_product({weights[0], weights[8], weights[16], weights[24]}, load4(output), sum);
        add_back(tile.folded, tile.row(H2), thread, sum);
        __syncthreads();
        store_masked(tile.row(H1), thread, sum);
        encode<POSITION_FREQUENCIES>(tile, points, thread);
        __syncthreads();

        add_gradients(tile.row(H0), tile.row(H1), thread, second);
        clear(sum);
        add_back(tile.w1, tile.row(H1), thread, sum);
        __syncthreads();
        store_masked(tile.row(H0), thread, sum);
        __syncthreads();

        add_gradients(tile.row(ENCODED), tile.row(H0), thread, first);
        __syncthreads();
    }

    // Into a row of gradients. That of the folded layer stands in W_FEATURE's place; its parts are found later.
    __device__ __forceinline__ void write(float* row, int thread) const {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int out = thread % 8 + 8 * j;
#pragma unroll
            for (int r = 0; r < R_FIRST; r++) {  // W0, B0
                const int k = thread / 8 + ROW_GROUPS * r;
                if (k <= POSITION_CHANNELS) row[W0 + k * HIDDEN + out] = first[r][j];
            }
#pragma unroll
            for (int r = 0; r < R_SECOND; r++) {  // W1, B1
                const int k = thread / 8 + ROW_GROUPS * r;
                if (k <= HIDDEN) row[W1 + k * HIDDEN + out] = second[r][j];
            }
#pragma unroll
            for (int r = 0; r < R_THIRD; r++) {  // B_DIRECTION, folded, W_SEEN
                const int k = thread / 8 + ROW_GROUPS * r;
                float* to = k == 0        ? row + B_DIRECTION
                            : k <= HIDDEN ? row + W_FEATURE + (k - 1) * HIDDEN
                                          : row + W_SEEN + (k - 1 - HIDDEN) * HIDDEN;
                if (k <= HIDDEN + DIRECTION_CHANNELS) to[out] = third[r][j];
            }
        }
        const int unit = thread % 32, warp = thread / 32;
        row[W_COLOR + 3 * unit + warp] = color;
        if (warp == 0) row[W_DENSITY + unit] = density;
        if (warp == 1 && unit == 0) row[B_DENSITY] = bias;
        if (warp == 1 && unit > 0 && unit < 4) row[B_COLOR + unit - 1] = bias;
    }

    KNF_DEVICE void clear(float (&sum)[4][4]) {
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) sum[i][j] = 0.0f;
    }
};
static_assert(B0 == W0 + POSITION_CHANNELS * HIDDEN && B1 == W1 + HIDDEN * HIDDEN, "biases follow their weights");

// Whether element i of a row is a parameter, and its gradient no product with the feature layer's.
KNF_DEVICE bool is_summed(int i) {
    const bool gap = (i > B_DENSITY && i < W_FEATURE) || i > B_COLOR + 2;
    return !gap && !(i >= B_FEATURE && i < W_SEEN);
}

}  // namespace knf

// rgb: [S][3] after the sigmoid; density: [S].
extern "C" __global__ void __launch_bounds__(knf::TILE_THREADS)
    forward(const float* points, const float* directions, const int* order, const long long* starts,
            const long long* first_item, int networks, int rectified, const float* parameters, float* rgb,
            float* density) {
    const knf::Samples samples = {points, directions, order, starts, first_item, networks, rectified};
    __shared__ knf::Tile tile;
    if (blockIdx.x >= samples.first_item[samples.networks]) return;
    const int thread = threadIdx.x, at = thread % knf::TILE;
    const knf::Item item = knf::find_item(blockIdx.x, samples.networks, samples.first_item, samples.starts);
    const float* row = parameters + static_cast<long long>(item.network) * knf::ROW;
    knf::prepare(tile, row, thread);
    for (long long place = item.begin; place < item.end; place += knf::TILE) {
        __syncthreads();
        if (thread < knf::TILE) tile.sample[at] = place + at < item.end ? samples.at(place + at) : -1;
        __syncthreads();
        knf::run_layers(tile, row, samples.points, samples.directions, thread);
        const knf::Outputs out = knf::run_outputs(tile, row, thread);
        const long long sample = tile.sample[at];
        if (sample < 0) continue;
        if (thread < knf::TILE) {
            density[sample] = samples.rectified ? fmaxf(out.first, 0.0f) : out.first;
            rgb[3 * sample] = knf::FloatEvaluator::sigmoid(out.second);
        } else {
            rgb[3 * sample + 1] = knf::FloatEvaluator::sigmoid(out.first);
            rgb[3 * sample + 2] = knf::FloatEvaluator::sigmoid(out.second);
        }
    }
}

// partial: [blocks][ROW], each block's share of its network's gradient; gather_gradients makes the gradient of them.
// Activations are computed again. Samples without any gradient are left out.
extern "C" __global__ void __launch_bounds__(knf::TILE_THREADS, 4)
    backward(const float* points, const float* directions, const int* order, const long long* starts,
             const long long* first_item, int networks, int rectified, const float* parameters, const float* d_rgb,
             const float* d_density, float* partial) {
    const knf::Samples samples = {points, directions, order, starts, first_item, networks, rectified};
    __shared__ knf::Tile tile;
    __shared__ int kept[knf::ITEM_SAMPLES];
    __shared__ int kept_by_warp[knf::WARPS];
    if (blockIdx.x >= samples.first_item[samples.networks]) return;
    const int thread = threadIdx.x, at = thread % knf::TILE;
    const knf::Item item = knf::find_item(blockIdx.x, samples.networks, samples.first_item, samples.starts);
    const float* row = parameters + static_cast<long long>(item.network) * knf::ROW;
    knf::prepare(tile, row, thread);

    int count = 0;
    for (long long place = item.begin; place < item.end; place += knf::TILE_THREADS) {
        int sample = -1;
        if (place + thread < item.end) {
            sample = samples.at(place + thread);
            const float* d = d_rgb + 3ll * sample;
            if (d_density[sample] == 0.0f && d[0] == 0.0f && d[1] == 0.0f && d[2] == 0.0f) sample = -1;
        }
        const unsigned votes = __ballot_sync(0xffffffffu, sample >= 0);
        if (thread % 32 == 0) kept_by_warp[thread / 32] = __popc(votes);
        __syncthreads();
        int to = count + __popc(votes & ((1u << thread % 32) - 1));
        for (int warp = 0; warp < knf::WARPS; warp++) {
            if (warp < thread / 32) to += kept_by_warp[warp];
            count += kept_by_warp[warp];
        }
        if (sample >= 0) kept[to] = sample;
        __syncthreads();
    }

    knf::Sums sums = {};
    for (int begin = 0; begin < count; begin += knf::TILE) {
        if (thread < knf::TILE) tile.sample[at] = begin + at < count ? kept[begin + at] : -1;
        __syncthreads();
        knf::run_layers(tile, row, samples.points, samples.directions, thread);
        const knf::Outputs out = knf::run_outputs(tile, row, thread);
        const long long sample = tile.sample[at];
        float first = 0.0f, second = 0.0f;
        if (sample >= 0) {
            const float q1 = knf::FloatEvaluator::sigmoid(out.first), q2 = knf::FloatEvaluator::sigmoid(out.second);
            if (thread < knf::TILE)
                first = samples.rectified && !(out.first > 0.0f) ? 0.0f : d_density[sample];
            else
                first = d_rgb[3 * sample + 1] * (q1 * (1.0f - q1));
            second = d_rgb[3 * sample + (thread < knf::TILE ? 0 : 2)] * (q2 * (1.0f - q2));
        }
        float* output = tile.output + thread / knf::TILE * 2 * knf::STRIDE + at;
        output[0] = first, output[knf::STRIDE] = second;
        __syncthreads();
        sums.add_tile(tile, row, samples.points, thread);
    }
    sums.write(partial + static_cast<long long>(blockIdx.x) * knf::ROW, thread);
}

// gradient: [networks][ROW], the sums of each network's blocks; what they found for the folded layer is given to the
// feature layer and to the rows that it was folded with. A block for each network.
extern "C" __global__ void __launch_bounds__(256)
    gather_gradients(const long long* first_item, const float* parameters, const float* partial, float* gradient) {
    using namespace knf;
    constexpr int PADDED = HIDDEN + 1;
    __shared__ float folded[HIDDEN][PADDED], feature[HIDDEN][PADDED], direction[HIDDEN][PADDED], bias[HIDDEN];
    const long long network = blockIdx.x;
    const long long first = first_item[network], end = first_item[network + 1];
    const float* row = parameters + network * ROW;
    float* to = gradient + network * ROW;
    for (int i = threadIdx.x; i < ROW; i += blockDim.x) {
        const bool summed = is_summed(i), is_folded = i >= W_FEATURE && i < B_FEATURE;
        float sum = 0.0f;
        if (summed)
            for (long long item = first; item < end; item++) sum += partial[item * ROW + i];
        if (is_folded)
            folded[(i - W_FEATURE) / HIDDEN][(i - W_FEATURE) % HIDDEN] = sum;
        else if (!(i >= B_FEATURE && i < W_SEEN))
            to[i] = sum;
        if (i >= B_DIRECTION && i < B_DIRECTION + HIDDEN) bias[i - B_DIRECTION] = sum;
    }
    for (int i = threadIdx.x; i < HIDDEN * HIDDEN; i += blockDim.x) {
        feature[i / HIDDEN][i % HIDDEN] = row[W_FEATURE + i];
        direction[i / HIDDEN][i % HIDDEN] = row[W_DIRECTION + i];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < HIDDEN * HIDDEN; i += blockDim.x) {
        const int a = i / HIDDEN, b = i % HIDDEN;
        float of_feature = 0.0f, of_direction = row[B_FEATURE + a] * bias[b];
        for (int k = 0; k < HIDDEN; k++) {
            of_feature = __fmaf_rn(folded[a][k], direction[b][k], of_feature);
            of_direction = __fmaf_rn(feature[k][a], folded[k][b], of_direction);
        }
        to[W_FEATURE + i] = of_feature;
        to[W_DIRECTION + i] = of_direction;
    }
    if (threadIdx.x < HIDDEN) {
        float of_bias = 0.0f;
        for (int k = 0; k < HIDDEN; k++) of_bias = __fmaf_rn(bias[k], direction[threadIdx.x][k], of_bias);
        to[B_FEATURE + threadIdx.x] = of_bias;
    }
}
