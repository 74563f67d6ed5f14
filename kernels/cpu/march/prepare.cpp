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

}  // namespace knf
