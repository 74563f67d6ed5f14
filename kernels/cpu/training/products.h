// Products of small matrices whose rows are HIDDEN wide, one vector lane per unit. Included by networks.cpp.
#pragma once

#include "cpu/simd/vectors.h"
#include "network_rows.h"

namespace knf::KNF_PATH {
namespace {

#if defined(__AVX512F__)
constexpr int BLOCK_ROWS = 12;  // 12 * 2 sums of 32 registers
#else
constexpr int BLOCK_ROWS = 3;  // 3 * 4 sums of 16 registers
#endif
constexpr int BLOCK_VECTORS = HIDDEN / W < 4 ? HIDDEN / W : 4;
constexpr int BLOCK_COLUMNS = BLOCK_VECTORS * W;

enum class Then { NOTHING, RELU, MASK };

struct Matrix {  // element (i, k) at data[i * row + k * column]
    const float* data;
    int row, column;
};

// R rows and BLOCK_COLUMNS columns of c = start + a * b.
template <int R, Then THEN>
KNF_INLINE void multiply_block(int depth, Matrix a, const float* __restrict b, const float* start, int start_row,
                               const float* __restrict mask, float* c) {
    floats sum[R][BLOCK_VECTORS];
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < BLOCK_VECTORS; v++) sum[r][v] = load(start + r * start_row + v * W);
    const float* row = a.data;
#pragma GCC unroll 4
    for (int k = 0; k < depth; k++, row += a.column, b += HIDDEN) {
#if defined(__AVX512F__)
        floats right[BLOCK_VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < BLOCK_VECTORS; v++) right[v] = load(b + v * W);
#pragma GCC unroll 12
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int v = 0; v < BLOCK_VECTORS; v++) sum[r][v] += row[r * a.row] * right[v];
#else
        floats left[R];
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) left[r] = splat(row[r * a.row]);
#pragma GCC unroll 4
        for (int v = 0; v < BLOCK_VECTORS; v++) {
            const floats right = load(b + v * W);
#pragma GCC unroll 12
            for (int r = 0; r < R; r++) sum[r][v] += left[r] * right;
        }
#endif
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < BLOCK_VECTORS; v++) {
            floats value = sum[r][v];
            if (THEN == Then::RELU) value = max(value, floats{});
            if (THEN == Then::MASK) value = load(mask + r * HIDDEN + v * W) > 0.0f ? value : floats{};
            store(c + r * HIDDEN + v * W, value);
        }
}

template <int R>
struct Size {
    static constexpr int rows = R;
};

// c = start + a * b, then rectified, or zero where mask is not positive. b: [depth][HIDDEN]; c, mask: [rows][HIDDEN].
// start: [rows][HIDDEN] (it may be c), or one row for all where start_row is 0.
template <Then THEN = Then::NOTHING>
KNF_INLINE void multiply(int rows, int depth, Matrix a, const float* b, const float* start, int start_row, float* c,
                         const float* mask = nullptr) {
    for (int column = 0; column < HIDDEN; column += BLOCK_COLUMNS) {
        const auto block = [&](auto size, int r) {
            multiply_block<decltype(size)::rows, THEN>(
                depth, {a.data + r * a.row, a.row, a.column}, b + column, start + r * start_row + column, start_row,
                THEN == Then::MASK ? mask + r * HIDDEN + column : nullptr, c + r * HIDDEN + column);
        };
        int r = 0;
        for (; r + BLOCK_ROWS <= rows; r += BLOCK_ROWS) block(Size<BLOCK_ROWS>{}, r);
        if constexpr (BLOCK_ROWS > 4)
            for (; r + 4 <= rows; r += 4) block(Size<4>{}, r);
        if (rows - r == 3) block(Size<3>{}, r);
        if (rows - r == 2) block(Size<2>{}, r);
        if (rows - r == 1) block(Size<1>{}, r);
    }
}

// sum[HIDDEN] += all rows.
KNF_INLINE void add_rows(int rows, const float* from, float* sum) {
    floats total[HIDDEN / W];
    for (int v = 0; v < HIDDEN / W; v++) total[v] = load(sum + v * W);
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < HIDDEN / W; v++) total[v] += load(from + r * HIDDEN + v * W);
    for (int v = 0; v < HIDDEN / W; v++) store(sum + v * W, total[v]);
}

KNF_INLINE void transpose(const float* from, float* to, int rows, int columns) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
}

// Sums of the lanes of four vectors.
KNF_INLINE void store_sums(const floats (&v)[4], float* to) {
#if defined(__AVX512F__)
    for (int i = 0; i < 4; i++) to[i] = _mm512_reduce_add_ps((__m512)v[i]);
#elif defined(__AVX2__)
    const __m256 sums =
        _mm256_hadd_ps(_mm256_hadd_ps((__m256)v[0], (__m256)v[1]), _mm256_hadd_ps((__m256)v[2], (__m256)v[3]));
    _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1)));
#else
    for (int i = 0; i < 4; i++) {
        float sum = 0;
        for (int lane = 0; lane < W; lane++) sum += v[i][lane];
        to[i] = sum;
    }
#endif
}

}  // namespace
}  // namespace knf::KNF_PATH
