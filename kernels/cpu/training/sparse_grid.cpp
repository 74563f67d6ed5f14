// The sparse voxel field forward and backward, its Adam and its total variation. Compiled once per instruction set,
// with fused multiply-add.
//
// A vertex is one row of 128 bytes, and nearly every row that a sample needs is a cache miss: what is read next is
// fetched while the current sample is worked on. A voxel's eight vertices are four pairs of neighbouring rows.
#include "cpu/training/sparse_grid.h"

#include "cpu/simd/vectors.h"

namespace knf::KNF_PATH {
namespace {

using namespace knf::train;

constexpr int TILE = 64;  // samples; a multiple of every lane count
constexpr int AHEAD = 6;  // samples between fetching rows and using them
constexpr int RING = 8;   // more than AHEAD
constexpr int VECTORS = (GRID_USED + W - 1) / W;
constexpr int CHANNELS = 4;  // red, green, blue, density

struct Row {
    floats part[VECTORS];
};

KNF_INLINE void fetch_pair(const float* rows, int32_t corner) {
    const char* line = reinterpret_cast<const char*>(rows + int64_t{corner} * GRID_ROW);
    for (int i = 0; i < 4; i++) __builtin_prefetch(line + 64 * i);
}

// Spherical harmonics up to degree 2 of a unit vector.
KNF_INLINE void harmonics(const float* direction, float* basis) {
    const float x = direction[0], y = direction[1], z = direction[2];
    basis[0] = 0.28209479177387814f;
    basis[1] = 0.4886025119029199f * y;
    basis[2] = 0.4886025119029199f * z;
    basis[3] = 0.4886025119029199f * x;
    basis[4] = 1.0925484305920792f * x * y;
    basis[5] = 1.0925484305920792f * y * z;
    basis[6] = 0.31539156525252005f * (3.0f * z * z - 1.0f);
    basis[7] = 1.0925484305920792f * x * z;
    basis[8] = 0.5462742152960396f * (x * x - y * y);
}

KNF_INLINE bool same(const float* a, const float* b) { return a[0] == b[0] && a[1] == b[1] && a[2] == b[2]; }

// The weights of the four pairs of vertices; each pair shares its weight as 1 - fraction[2] and fraction[2].
KNF_INLINE void pair_weights(const float* fraction, float* weights) {
    const float x = fraction[0], y = fraction[1];
    weights[0] = (1 - x) * (1 - y);
    weights[1] = (1 - x) * y;
    weights[2] = x * (1 - y);
    weights[3] = x * y;
}

KNF_INLINE Row interpolate(const float* rows, const Located& at) {
    float weights[4];
    pair_weights(at.fraction, weights);
    Row sum{};
    for (int pair = 0; pair < 4; pair++) {
        const float* row = rows + int64_t{at.corner[pair]} * GRID_ROW;
        const floats low = splat(weights[pair] * (1 - at.fraction[2])), high = splat(weights[pair] * at.fraction[2]);
        for (int v = 0; v < VECTORS; v++) {
            sum.part[v] += low * load(row + v * W);
            sum.part[v] += high * load(row + GRID_ROW + v * W);
        }
    }
    return sum;
}

// log(1 + u) for 0 <= u <= 1: twice the inverse hyperbolic tangent of u / (2 + u), which is at most 1/3.
KNF_INLINE floats log1p(floats u) {
    const floats s = u / (u + 2.0f);
    const floats t = s * s;
    floats p = splat(2.0f / 15);
    p = p * t + 2.0f / 13;
    p = p * t + 2.0f / 11;
    p = p * t + 2.0f / 9;
    p = p * t + 2.0f / 7;
    p = p * t + 2.0f / 5;
    p = p * t + 2.0f / 3;
    return s * (p * t + 2.0f);
}

KNF_INLINE floats sigmoid(floats x) { return 1.0f / (1.0f + exp(-x)); }
KNF_INLINE floats softplus(floats x) { return max(x, floats{}) + log1p(exp(min(x, -x))); }

// 1 - exp(-y) for y >= 0, the slope of the softplus whose value is y.
KNF_INLINE floats softplus_slope(floats y) {
    floats p = splat(-1.0f / 5040);
    p = p * y + 1.0f / 720;
    p = p * y - 1.0f / 120;
    p = p * y + 1.0f / 24;
    p = p * y - 1.0f / 6;
    p = p * y + 0.5f;
    const floats small = y * (1.0f - y * p);
    return y < 0.25f ? small : 1.0f - exp(-y);
}

// The voxels of `count` samples, their numbers among the active ones, and what these steps need, fetched.
KNF_INLINE void locate(const Grid& grid, const float* points, int count, Located* located) {
    float place[TILE][3];
    int32_t voxel[TILE][3];
    int64_t cell[TILE];
    const float half[3] = {0.5f * grid.resolution[0], 0.5f * grid.resolution[1], 0.5f * grid.resolution[2]};
    for (int i = 0; i < count; i++) {
        bool inside = true;
        for (int axis = 0; axis < 3; axis++) {
            const float p = (points[3 * i + axis] + 1.0f) * half[axis];
            place[i][axis] = p;
            inside = inside && p >= 0 && p <= static_cast<float>(grid.resolution[axis]);
        }
        cell[i] = -1;
        if (!inside) continue;
        for (int axis = 0; axis < 3; axis++) {
            const int32_t v = static_cast<int32_t>(place[i][axis]);
            voxel[i][axis] = v < grid.resolution[axis] ? v : v - 1;
        }
        cell[i] = (int64_t{voxel[i][0]} * grid.resolution[1] + voxel[i][1]) * grid.resolution[2] + voxel[i][2];
        __builtin_prefetch(grid.slots + cell[i]);
    }
    for (int i = 0; i < count; i++) {
        located[i] = {};
        located[i].corner[0] = cell[i] < 0 ? -1 : grid.slots[cell[i]];
        if (located[i].corner[0] < 0) continue;
        __builtin_prefetch(grid.corners + 4 * int64_t{located[i].corner[0]});
        for (int axis = 0; axis < 3; axis++)
            located[i].fraction[axis] = place[i][axis] - static_cast<float>(voxel[i][axis]);
        for (int axis = 0; axis < 2; axis++) located[i].column[axis] = static_cast<uint16_t>(voxel[i][axis]);
    }
}

void forward(const Grid& grid, const GridSamples& samples, int64_t begin, int64_t end, const GridOutputs& out) {
    const float* last = nullptr;
    float basis[GRID_BASIS];
    for (int64_t first = begin; first < end; first += TILE) {
        const int count = static_cast<int>(end - first < TILE ? end - first : TILE);
        Located* located = out.located + first;
        locate(grid, samples.points + 3 * first, count, located);
        alignas(64) float raw[CHANNELS][TILE] = {};
        for (int i = 0; i < count + AHEAD; i++) {
            if (i < count && located[i].corner[0] >= 0) {
                const int32_t* corners = grid.corners + 4 * int64_t{located[i].corner[0]};
                for (int pair = 0; pair < 4; pair++) {
                    located[i].corner[pair] = corners[pair];
                    fetch_pair(grid.rows, corners[pair]);
                }
            }
            const int now = i - AHEAD;
            if (now < 0 || located[now].corner[0] < 0) continue;
            const float* direction = samples.directions + 3 * (first + now);
            if (!last || !same(last, direction)) harmonics(direction, basis);
            last = direction;
            alignas(64) float row[VECTORS * W];
            const Row found = interpolate(grid.rows, located[now]);
            for (int v = 0; v < VECTORS; v++) store(row + v * W, found.part[v]);
            for (int c = 0; c < 3; c++) {
                float sum = 0;
                for (int k = 0; k < GRID_BASIS; k++) sum += basis[k] * row[c * GRID_BASIS + k];
                raw[c][now] = sum;
            }
            raw[3][now] = row[GRID_DENSITY];
        }
        for (int i = 0; i < count; i += W) {
            for (int c = 0; c < 3; c++) store(&raw[c][i], sigmoid(load(&raw[c][i])));
            store(&raw[3][i], GRID_DENSITY_SCALE * softplus(load(&raw[3][i])));
        }
        for (int i = 0; i < count; i++) {
            for (int c = 0; c < 3; c++) out.rgb[3 * (first + i) + c] = raw[c][i];
            out.density[first + i] = located[i].corner[0] < 0 ? 0 : raw[3][i];
        }
    }
}

void activations(const GridKept& kept, const float* d_rgb, const float* d_density, int64_t begin, int64_t end,
                 float* d_raw) {
    for (int64_t first = begin; first < end; first += TILE) {
        const int count = static_cast<int>(end - first < TILE ? end - first : TILE);
        alignas(64) float slope[TILE] = {};
        for (int i = 0; i < count; i++) slope[i] = kept.density[first + i] / GRID_DENSITY_SCALE;
        for (int i = 0; i < count; i += W) store(slope + i, GRID_DENSITY_SCALE * softplus_slope(load(slope + i)));
        for (int i = 0; i < count; i++) {
            const int64_t s = first + i;
            const bool active = kept.located[s].corner[0] >= 0;  // else what comes may be anything: NaN too
            for (int c = 0; c < 3; c++) {
                const float color = kept.rgb[3 * s + c];
                d_raw[CHANNELS * s + c] = active ? d_rgb[3 * s + c] * (color * (1 - color)) : 0;
            }
            d_raw[CHANNELS * s + 3] = active ? d_density[s] * slope[i] : 0;
        }
    }
}

// Whose a vertex is: columns of 8x8 vertices, as high as the grid. So the samples of a ray stay with one owner for a
// while, which branches foretell; and owners seldom meet in a cache line of `touched`.
KNF_INLINE uint32_t owner_of(uint32_t x, uint32_t y, uint32_t owners) {
    const uint32_t mixed = ((x >> 3) * 0x9e3779b1u + (y >> 3)) * 0x85ebca6bu;
    return static_cast<uint32_t>(uint64_t{mixed} * owners >> 32);
}

KNF_INLINE bool is_zero(const float* d) { return d[0] == 0 && d[1] == 0 && d[2] == 0 && d[3] == 0; }

KNF_INLINE floats masked(floats v, ints mask) {
    const ints bits = reinterpret_cast<ints>(v) & mask;
    return reinterpret_cast<floats>(bits);
}

KNF_INLINE void add_row(const GridGradient& gradient, int64_t vertex, floats weight, const Row& values) {
    float* row = gradient.rows + vertex * GRID_ROW;
    const ints old = splat(gradient.touched[vertex] ? -1 : 0);
    for (int v = 0; v < VECTORS; v++) store(row + v * W, masked(load(row + v * W), old) + weight * values.part[v]);
    gradient.touched[vertex] = 1;
}

void scatter(const GridKept& kept, const float* d_raw, int owner, int owners, const GridGradient& gradient) {
    const auto mine = [=](uint32_t x, uint32_t y) __attribute__((always_inline)) {
        return owner_of(x, y, static_cast<uint32_t>(owners)) == static_cast<uint32_t>(owner);
    };
    alignas(64) float basis[CHANNELS][VECTORS * W] = {};  // of each channel, at its place in the row
    basis[3][GRID_DENSITY] = 1;
    const float* last = nullptr;
    bool owned[RING][4] = {};  // the pairs of the samples at hand
    for (int64_t i = 0; i < kept.count + AHEAD; i++) {
        bool* own = owned[i % RING];
        own[0] = own[1] = own[2] = own[3] = false;
        if (i < kept.count && !is_zero(d_raw + CHANNELS * i)) {
            const Located& at = kept.located[i];
            const uint32_t x = at.column[0], y = at.column[1];
            own[0] = own[1] = own[2] = own[3] = mine(x, y);
            if (((x & 7) == 7) | ((y & 7) == 7))
                own[1] = mine(x, y + 1), own[2] = mine(x + 1, y), own[3] = mine(x + 1, y + 1);
            for (int pair = 0; pair < 4; pair++)
                if (own[pair]) {
                    fetch_pair(gradient.rows, at.corner[pair]);
                    __builtin_prefetch(gradient.touched + at.corner[pair]);
                }
        }
        const int64_t now = i - AHEAD;
        if (now < 0) continue;
        own = owned[now % RING];
        if (!(own[0] | own[1] | own[2] | own[3])) continue;
        const float* direction = kept.directions + 3 * now;
        if (!last || !same(last, direction)) {
            harmonics(direction, basis[0]);
            for (int k = 0; k < GRID_BASIS; k++) basis[1][GRID_BASIS + k] = basis[2][2 * GRID_BASIS + k] = basis[0][k];
        }
        last = direction;
        Row values{};
        for (int c = 0; c < CHANNELS; c++)
            for (int v = 0; v < VECTORS; v++) values.part[v] += d_raw[CHANNELS * now + c] * load(&basis[c][v * W]);
        const Located& at = kept.located[now];
        float weights[4];
        pair_weights(at.fraction, weights);
        for (int pair = 0; pair < 4; pair++) {
            if (!own[pair]) continue;
            for (int up = 0; up < 2; up++) {
                const float weight = weights[pair] * (up ? at.fraction[2] : 1 - at.fraction[2]);
                if (weight != 0) add_row(gradient, at.corner[pair] + up, splat(weight), values);
            }
        }
    }
}

void places(const float* rows, const GridKept& kept, const float* d_raw, int64_t begin, int64_t end, float* d_places) {
    for (int64_t s = begin; s < end; s++) {
        float* out = d_places + 3 * s;
        out[0] = out[1] = out[2] = 0;
        const float* d = d_raw + CHANNELS * s;
        if (is_zero(d)) continue;
        float basis[GRID_BASIS];
        harmonics(kept.directions + 3 * s, basis);
        alignas(64) float values[VECTORS * W] = {};  // the gradient of a row that counts whole
        for (int c = 0; c < 3; c++)
            for (int k = 0; k < GRID_BASIS; k++) values[c * GRID_BASIS + k] = d[c] * basis[k];
        values[GRID_DENSITY] = d[3];
        const Located& at = kept.located[s];
        float corner[4][2];  // what each vertex says, were its weight 1
        for (int pair = 0; pair < 4; pair++)
            for (int up = 0; up < 2; up++) {
                const float* row = rows + (int64_t{at.corner[pair]} + up) * GRID_ROW;
                floats sum{};
                for (int v = 0; v < VECTORS; v++) sum += load(row + v * W) * load(values + v * W);
                corner[pair][up] = 0;
                for (int lane = 0; lane < W; lane++) corner[pair][up] += sum[lane];
            }
        float low[4], weights[4];  // along z
        pair_weights(at.fraction, weights);
        for (int pair = 0; pair < 4; pair++) {
            low[pair] = corner[pair][0] + at.fraction[2] * (corner[pair][1] - corner[pair][0]);
            out[2] += weights[pair] * (corner[pair][1] - corner[pair][0]);
        }
        out[0] = (1 - at.fraction[1]) * (low[2] - low[0]) + at.fraction[1] * (low[3] - low[1]);
        out[1] = (1 - at.fraction[0]) * (low[1] - low[0]) + at.fraction[0] * (low[3] - low[2]);
    }
}

void adam(const GridAdamStep& step, const GridGradient& gradient, int64_t begin, int64_t end, float* rows, float* first,
          float* second) {
    const GridAdamStep s = step;
    for (int64_t vertex = begin; vertex < end; vertex++) {
        if (!gradient.touched[vertex]) continue;
        gradient.touched[vertex] = 0;
        const int64_t row = vertex * GRID_ROW;
        const float* __restrict g = gradient.rows + row;
        float* __restrict p = rows + row;
        float* __restrict m = first + row;
        float* __restrict n = second + row;
        for (int i = 0; i < GRID_ROW; i++) {
            m[i] = s.beta1 * m[i] + s.one_minus_beta1 * g[i];
            n[i] = s.beta2 * n[i] + s.one_minus_beta2 * g[i] * g[i];
            p[i] -= s.rate[i] * m[i] / (__builtin_sqrtf(n[i]) * s.second_scale + s.epsilon);
        }
    }
}

void smooth(const float* rows, const int32_t* neighbours, const float* weights, int64_t begin, int64_t end,
            const GridGradient& gradient) {
    for (int64_t vertex = begin; vertex < end; vertex++) {
        if (!gradient.touched[vertex]) continue;
        Row sum{};
        for (int n = 0; n < 6; n++) {
            const int32_t other = neighbours[6 * vertex + n];
            if (other < 0) continue;
            for (int v = 0; v < VECTORS; v++)
                sum.part[v] += load(rows + vertex * GRID_ROW + v * W) - load(rows + int64_t{other} * GRID_ROW + v * W);
        }
        for (int v = 0; v < VECTORS; v++) sum.part[v] *= load(weights + v * W);
        add_row(gradient, vertex, splat(1.0f), sum);
    }
}

}  // namespace

extern const train::GridPath grid_path = {KNF_PATH_NAME, forward, activations, scatter, places, adam, smooth};

}  // namespace knf::KNF_PATH
