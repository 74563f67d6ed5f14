// What is done once, when a scene is loaded: networks laid out as the code path reads them.
#include <cstring>

#include "cpu/march/renderer.h"

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

}  // namespace

void Renderer::pack_networks(const SceneArrays& arrays) {
    const size_t size = path_->network_size * arrays.num_networks;
    networks_.reset(static_cast<unsigned char*>(::operator new(size, std::align_val_t(ALIGNMENT))));
    run_threads([&](size_t thread) {
        const auto network = std::make_unique<Network>();
        for (int n = static_cast<int>(thread); n < arrays.num_networks; n += threads()) {
            copy_network(arrays.layers, n, *network);
            path_->pack(*network, networks_.get() + n * path_->network_size);
        }
    });
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
