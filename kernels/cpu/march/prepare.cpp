// What is done once, when a scene is loaded: networks laid out as the code path reads them, and
// whether pictures made with these numbers are good enough.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/march/renderer.h"

#define KNF_SHARED static inline
#include "sampling_rule.h"

namespace knf {
namespace {

template <size_t SIZE>
void copy_row(const float* rows, int64_t row, float (&to)[SIZE]) {
    std::memcpy(to, rows + row * static_cast<int64_t>(SIZE), sizeof(to));
}

void copy_network(const LayerArrays& layers, int n, Network& net) {
    copy_row(layers.w0, n, net.w0);
    copy_row(layers.b0, n, net.b0);
    copy_row(layers.w1, n, net.w1);
    copy_row(layers.b1, n, net.b1);
    copy_row(layers.w_density, n, net.w_density);
    net.b_density = layers.b_density[n];
    copy_row(layers.w_direction, n, net.w_direction);
    copy_row(layers.b_direction, n, net.b_direction);
    copy_row(layers.w_color, n, net.w_color);
    copy_row(layers.b_color, n, net.b_color);
}

constexpr int POINTS = 64;  // of a cell, where its numbers are checked
constexpr double TURNS[5] = {0.8566749, 0.7338919, 0.6287067, 0.5385973, 0.4614019};  // generalised golden ratio

// The number-th of points spread evenly over [0, 1] on some axes.
float spread(int number, int axis) {
    const double turns = (number + 0.5) * TURNS[axis];
    return static_cast<float>(turns - std::floor(turns));
}

void occupied_bits(const Grid& grid, const Cell& cell, const uint32_t* occupancy, std::vector<int>& bits) {
    bits.clear();
    const int words = ((grid.factor[0] << grid.voxel_shift[0]) + 31) / 32;
    for (int word = 0; word < words; word++)
        for (uint32_t rest = occupancy[cell.first_word + word]; rest; rest &= rest - 1)
            bits.push_back(32 * word + __builtin_ctz(rest));
}

// Coordinates within a cell, -1 to 1, of a point in the voxel of a bit.
void point_in_voxel(const Grid& grid, int bit, int number, float (&local)[3]) {
    for (int axis = 0; axis < 3; axis++) {
        const int index = bit >> grid.voxel_shift[axis];
        bit -= index << grid.voxel_shift[axis];
        local[axis] =
            2.0f * (static_cast<float>(index) + spread(number, axis)) / static_cast<float>(grid.factor[axis]) - 1.0f;
    }
}

// `bits`: of the cell's occupied voxels.
void choose_points(const Grid& grid, const std::vector<int>& bits, CellPoints& points) {
    constexpr int COUNT = CellPoints::COUNT, ANYWHERE = COUNT / 4;
    for (int i = 0; i < COUNT; i++) {
        float local[3];
        if (i < ANYWHERE || bits.empty())
            for (int axis = 0; axis < 3; axis++) local[axis] = 2.0f * spread(i, axis) - 1.0f;
        else
            point_in_voxel(grid, bits[(i - ANYWHERE) * bits.size() / (COUNT - ANYWHERE)], i, local);
        for (int axis = 0; axis < 3; axis++) points.local[axis][i] = local[axis];
    }
}

void choose_directions(CellPoints& points) {
    for (int i = 0; i < CellPoints::COUNT; i++) {
        const float z = 2.0f * spread(i, 3) - 1.0f, r = std::sqrt(1.0f - z * z), angle = 6.2831853f * spread(i, 4);
        const float unit[3] = {r * std::cos(angle), r * std::sin(angle), z};
        for (int axis = 0; axis < 3; axis++) points.unit[axis][i] = unit[axis];
    }
}

// A camera for the directions of a cell's points: another for each cell.
FrameSetup camera_of(int cell) {
    const float angle = 6.2831853f * spread(cell, 0), z = 1.9f * spread(cell, 1) - 0.95f;
    const float c = std::cos(angle), s = std::sin(angle), r = std::sqrt(1.0f - z * z);
    FrameSetup frame{};
    frame.width = frame.height = TILE;
    frame.fx = frame.fy = 20.0f * TILE;
    frame.cx = frame.cy = 0.5f * TILE;
    const float rotation[9] = {-s, -z * c, r * c, c, -z * s, r * s, 0.0f, r, z};  // its z axis is (r c, r s, z)
    std::copy(std::begin(rotation), std::end(rotation), frame.rotation);
    return frame;
}

void point_directions(const FrameSetup& frame, Workspace& work) {
    for (int i = 0; i < POINTS; i++) {
        work.ray[i] = i * (TILE_RAYS / POINTS) + i;
        const float a = pixel_slope(static_cast<float>(work.ray[i] % TILE), frame.cx, frame.fx);
        const float b = -pixel_slope(static_cast<float>(work.ray[i] / TILE), frame.cy, frame.fy);
        float direction[3], squares = 0.0f;
        for (int axis = 0; axis < 3; axis++) {
            direction[axis] = ray_component(frame.rotation + 3 * axis, a, b);
            squares += direction[axis] * direction[axis];
        }
        for (int axis = 0; axis < 3; axis++) work.unit[axis][i] = direction[axis] / std::sqrt(squares);
    }
}

}  // namespace

// A pixel is a sum of samples' opacity times colour, before a background: grey here. Errors of the samples of a ray
// count as if they were independent.
std::vector<Renderer::Coarseness> Renderer::measure_coarseness(const SceneArrays& arrays, const CodePath& exact) {
    std::vector<Coarseness> of_cells(cells_.size());
    const Rectangle tile = {0, 0, TILE, TILE};
    run_threads([&](size_t thread) {
        Workspace& work = *workspaces_[thread];
        const auto network = std::make_unique<Network>();
        const CellPoints none = {};  // single precision asks for no ranges
        const Memory exactly(
            static_cast<unsigned char*>(::operator new(exact.network_size, std::align_val_t(ALIGNMENT))));
        std::vector<int> bits;
        for (size_t row = thread; row < cells_.size(); row += workspaces_.size()) {
            const Cell& cell = cells_[row];
            const Level& level = scene_.levels[levels_[row]];
            occupied_bits(level.grid, cell, scene_.occupancy, bits);
            if (bits.empty()) continue;
            for (int i = 0; i < POINTS; i++) {
                float local[3];
                point_in_voxel(level.grid, bits[i * bits.size() / POINTS], CellPoints::COUNT + i, local);
                for (int axis = 0; axis < 3; axis++) work.local[axis][i] = local[axis];
            }
            const FrameSetup frame = camera_of(static_cast<int>(row));
            point_directions(frame, work);
            const unsigned char* packed = scene_.networks + cell.network * scene_.network_size;
            path_->begin_visit(packed, frame, tile, tile, work);
            path_->evaluate(packed, work, POINTS);
            const float distance = arrays.step * level.stride;
            float shown[POINTS][4];
            const auto blend = [&](int i, float (&pixel)[4]) {
                pixel[3] = 1.0f - std::exp(-work.density[i] * distance);
                for (int channel = 0; channel < 3; channel++)
                    pixel[channel] = 0.5f + pixel[3] * (work.rgb[channel][i] - 0.5f);
            };
            for (int i = 0; i < POINTS; i++) blend(i, shown[i]);
            copy_network(arrays.layers, cell.network, *network);
            exact.pack(*network, none, exactly.get());
            exact.evaluate(exactly.get(), work, POINTS);
            for (int i = 0; i < POINTS; i++) {
                float expected[4];
                blend(i, expected);
                for (int channel = 0; channel < 3; channel++) {
                    const double error = shown[i][channel] - expected[channel];
                    of_cells[row].squares += error * error / 3.0;
                }
                of_cells[row].opacity += expected[3];
            }
        }
    });
    std::vector<Coarseness> of_networks(arrays.num_networks);
    for (size_t row = 0; row < cells_.size(); row++) {
        Coarseness& network = of_networks[cells_[row].network];
        network.squares += of_cells[row].squares, network.opacity += of_cells[row].opacity;
    }
    return of_networks;
}

// Measure what 8 bits cost, and if there is a `finer` path, let it have the networks for which they are coarsest, so
// many that pictures are good enough. False if these are too many: then everything had better be finer.
bool Renderer::refine_networks(const SceneArrays& arrays, const CodePath& exact, const CodePath* finer) {
    constexpr double GOOD_ENOUGH = 1.58e-5;  // squared error of a pixel: 48 dB
    const std::vector<Coarseness> coarseness = measure_coarseness(arrays, exact);
    double squares = 0, opacity = 0;
    for (const Coarseness& network : coarseness) squares += network.squares, opacity += network.opacity;
    std::vector<int> coarsest;
    if (finer) {
        for (int n = 0; n < arrays.num_networks; n++)
            if (coarseness[n].squares > GOOD_ENOUGH * coarseness[n].opacity) coarsest.push_back(n);
        const auto coarser = [&](int a, int b) {
            const double left = coarseness[a].squares * coarseness[b].opacity;
            const double right = coarseness[b].squares * coarseness[a].opacity;
            return left != right ? left > right : a < b;
        };
        std::sort(coarsest.begin(), coarsest.end(), coarser);
        size_t kept = 0;
        while (kept < coarsest.size() && squares > GOOD_ENOUGH * opacity)
            squares -= coarseness[coarsest[kept++]].squares;
        coarsest.resize(kept);
    }
    expected_psnr_ = squares > 0 ? 10.0 * std::log10(opacity / squares) : std::numeric_limits<double>::infinity();
    if (2 * coarsest.size() > coarseness.size()) {
        expected_psnr_ = 0;
        return false;
    }
    if (coarsest.empty()) return true;
    num_finer_ = static_cast<int>(coarsest.size());
    finer_networks_ = pack_networks(arrays, *finer, coarsest);
    finer_rows_.assign(arrays.num_networks, -1);
    for (int row = 0; row < num_finer_; row++) finer_rows_[coarsest[row]] = row;
    scene_.finer_rows = finer_rows_.data();
    scene_.finer_path = finer;
    scene_.finer_networks = finer_networks_.get();
    return true;
}

// Some networks as a code path reads them, one after the other.
Renderer::Memory Renderer::pack_networks(const SceneArrays& arrays, const CodePath& path,
                                         const std::vector<int>& networks) {
    Memory packed(
        static_cast<unsigned char*>(::operator new(path.network_size * networks.size(), std::align_val_t(ALIGNMENT))));
    std::vector<int> cells(arrays.num_networks, -1);  // a cell of each network
    for (size_t row = 0; row < cells_.size(); row++) cells[cells_[row].network] = static_cast<int>(row);
    run_threads([&](size_t thread) {
        const auto network = std::make_unique<Network>();
        const auto points = std::make_unique<CellPoints>();
        choose_directions(*points);
        std::vector<int> bits;
        for (size_t i = thread; i < networks.size(); i += workspaces_.size()) {
            const int cell = cells[networks[i]];
            const Grid& grid = scene_.levels[cell < 0 ? 0 : levels_[cell]].grid;
            bits.clear();
            if (cell >= 0) occupied_bits(grid, cells_[cell], scene_.occupancy, bits);
            choose_points(grid, bits, *points);
            copy_network(arrays.layers, networks[i], *network);
            path.pack(*network, *points, packed.get() + i * path.network_size);
        }
    });
    return packed;
}

void Renderer::keep_field(const OctreeArrays& octree) {
    const auto kept = [&](const auto* from, int64_t count) {
        const size_t size = count * sizeof(*from);
        numbers_.emplace_back(static_cast<unsigned char*>(::operator new(size, std::align_val_t(ALIGNMENT))));
        std::memcpy(numbers_.back().get(), from, size);
        return reinterpret_cast<decltype(from)>(numbers_.back().get());
    };
    const OctreeField& field = octree.field;
    field_.occupancy = occupancy_.data();
    field_.first_slot = kept(field.first_slot, static_cast<int64_t>(occupancy_.size()));
    field_.corners = kept(field.corners, 4 * octree.num_slots);
    field_.rows = kept(field.rows, FIELD_FEATURES * octree.num_rows);
    field_.w_features = kept(field.w_features, FIELD_FEATURES * FIELD_HIDDEN);
    field_.w_direction = kept(field.w_direction, DIRECTION_CHANNELS * FIELD_HIDDEN);
    field_.b_hidden = kept(field.b_hidden, FIELD_HIDDEN);
    field_.w_output = kept(field.w_output, 4 * FIELD_HIDDEN);
    field_.b_output = kept(field.b_output, 4);
    for (const auto& work : workspaces_) {
        const size_t size = sizeof(float) * TILE_RAYS * FIELD_HIDDEN;
        numbers_.emplace_back(static_cast<unsigned char*>(::operator new(size, std::align_val_t(ALIGNMENT))));
        work->ray_part = reinterpret_cast<float*>(numbers_.back().get());
    }
}

}  // namespace knf
