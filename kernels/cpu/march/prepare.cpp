// What is done once, when a scene is loaded: cells with their voxels as bits, networks folded and laid out.
#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "cpu/march/renderer.h"

namespace knf {
namespace {

// Cell (ix, iy, iz) with its voxels appended to `bits`.
Cell make_cell(const SceneArrays& arrays, const int (&shift)[3], const int (&index)[3], int network,
               std::vector<uint32_t>& bits) {
    Cell cell{};
    cell.network = network;
    cell.first_word = static_cast<uint32_t>(bits.size());
    const int* f = arrays.factor;
    int low[3], high[3] = {-1, -1, -1};  // occupied voxels, relative to the cell
    for (int axis = 0; axis < 3; axis++) {
        cell.index[axis] = index[axis];
        cell.first_voxel[axis] = index[axis] * f[axis];
        cell.minimum[axis] = arrays.box_min[axis] + static_cast<float>(index[axis]) * arrays.cell_size[axis];
        low[axis] = f[axis];
    }
    bits.resize(bits.size() + ((static_cast<size_t>(f[0]) << shift[0]) + 31) / 32);
    const int64_t size_y = static_cast<int64_t>(arrays.resolution[1]) * f[1];
    const int64_t size_z = static_cast<int64_t>(arrays.resolution[2]) * f[2];
    for (int x = 0; x < f[0]; x++)
        for (int y = 0; y < f[1]; y++) {
            const bool* row = arrays.occupancy +
                              ((cell.first_voxel[0] + x) * size_y + cell.first_voxel[1] + y) * size_z +
                              cell.first_voxel[2];
            for (int z = 0; z < f[2]; z++) {
                if (!row[z]) continue;
                const uint32_t bit = (static_cast<uint32_t>(x) << shift[0]) | (y << shift[1]) | z;
                bits[cell.first_word + bit / 32] |= 1u << (bit % 32);
                const int voxel[3] = {x, y, z};
                for (int axis = 0; axis < 3; axis++) {
                    low[axis] = std::min(low[axis], voxel[axis]);
                    high[axis] = std::max(high[axis], voxel[axis]);
                }
            }
        }
    cell.occupied = high[0] >= 0;
    for (int axis = 0; axis < 3; axis++) {
        const float voxel = arrays.cell_size[axis] / static_cast<float>(f[axis]);
        cell.full_min[axis] = cell.minimum[axis];
        cell.full_max[axis] = cell.minimum[axis] + arrays.cell_size[axis];
        cell.tight_min[axis] = cell.minimum[axis] + static_cast<float>(low[axis]) * voxel;
        cell.tight_max[axis] = cell.minimum[axis] + static_cast<float>(high[axis] + 1) * voxel;
        const float slack = 0.01f * voxel;
        if (cell.full_min[axis] - slack <= arrays.inside_min[axis] ||
            cell.full_max[axis] + slack >= arrays.inside_max[axis])
            cell.near_border = true;
    }
    return cell;
}

// Network `n` in single precision, its feature layer folded away.
void fold(const SceneArrays& arrays, int n, Network& net) {
    constexpr int H = HIDDEN, JOINED = HIDDEN + DIRECTION_CHANNELS;
    const auto weights = [&](int layer, int size) { return arrays.layers[2 * layer] + static_cast<int64_t>(n) * size; };
    const auto bias = [&](int layer, int size) {
        return arrays.layers[2 * layer + 1] + static_cast<int64_t>(n) * size;
    };
    std::memcpy(net.w0, weights(0, POSITION_CHANNELS * H), sizeof(net.w0));
    std::memcpy(net.b0, bias(0, H), sizeof(net.b0));
    std::memcpy(net.w1, weights(1, H * H), sizeof(net.w1));
    std::memcpy(net.b1, bias(1, H), sizeof(net.b1));
    std::memcpy(net.w_density, weights(2, H), sizeof(net.w_density));
    net.b_density = *bias(2, 1);
    std::memcpy(net.w_colour, weights(5, H * 3), sizeof(net.w_colour));
    std::memcpy(net.b_colour, bias(5, 3), sizeof(net.b_colour));
    // h3 = relu([h2 Wf + bf, enc(d)] Wd + bd) = relu([h2, enc(d)] [Wf Wd_top; Wd_bottom] + (bd + bf Wd_top))
    const float *wf = weights(3, H * H), *bf = bias(3, H), *wd = weights(4, JOINED * H), *bd = bias(4, H);
    for (int out = 0; out < H; out++) {
        double folded_bias = bd[out];
        for (int k = 0; k < H; k++) folded_bias += static_cast<double>(bf[k]) * wd[k * H + out];
        net.b_direction[out] = static_cast<float>(folded_bias);
    }
    for (int in = 0; in < H; in++) {
        double folded[H] = {};
        for (int k = 0; k < H; k++)
            for (int out = 0; out < H; out++) folded[out] += static_cast<double>(wf[in * H + k]) * wd[k * H + out];
        for (int out = 0; out < H; out++) net.w_direction[in * H + out] = static_cast<float>(folded[out]);
    }
    std::memcpy(net.w_direction + H * H, wd + H * H, sizeof(float) * DIRECTION_CHANNELS * H);
}

}  // namespace

void Renderer::prepare_cells(const SceneArrays& arrays) {
    const int* r = arrays.resolution;
    cell_rows_.assign(static_cast<size_t>(r[0]) * r[1] * r[2], -1);
    size_t row = 0;
    for (int x = 0; x < r[0]; x++)
        for (int y = 0; y < r[1]; y++)
            for (int z = 0; z < r[2]; z++, row++) {
                const int network = arrays.network_index[row];
                if (network < 0) continue;
                cell_rows_[row] = static_cast<int32_t>(cells_.size());
                cells_.push_back(make_cell(arrays, scene_.voxel_shift, {x, y, z}, network, occupancy_));
                if (occupancy_.size() > std::numeric_limits<uint32_t>::max())
                    throw std::invalid_argument("occupancy grid too large for 32-bit word offsets");
            }
}

void Renderer::prepare_networks(const SceneArrays& arrays) {
    const size_t size = path_->network_size * arrays.num_networks;
    networks_.reset(static_cast<unsigned char*>(::operator new(size, std::align_val_t(ALIGNMENT))));
    run_threads([&](size_t thread) {
        const auto folded = std::make_unique<Network>();
        for (int n = static_cast<int>(thread); n < arrays.num_networks; n += threads()) {
            fold(arrays, n, *folded);
            path_->pack(*folded, networks_.get() + n * path_->network_size);
        }
    });
}

}  // namespace knf
