// Renders frames without Python, so that tests can run a renderer that was built for another machine.
// Standard input: a scene and views of it, as native_program.py writes them; standard output, for each view: rgb,
// alpha and depth as float32, then the numbers of samples and of rays that have any.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cpu/march/renderer.h"

template <typename T>
static void read(T* to, size_t count) {
    if (std::fread(to, sizeof(T), count, stdin) != count) std::abort();
}

template <typename T>
static void write(const T* from, size_t count) {
    if (std::fwrite(from, sizeof(T), count, stdout) != count) std::abort();
}

int main() {
    knf::SceneArrays arrays{};
    knf::Grid grid;
    const int first_cell = 0;
    read(&grid, 1);
    arrays.num_levels = 1, arrays.grids = &grid, arrays.first_cells = &first_cell;
    int32_t counts[3];  // cells, words, networks
    read(counts, 3);
    const size_t networks = counts[2];
    std::vector<knf::Cell> cells(counts[0]), full_cells(counts[0]);
    std::vector<uint32_t> occupancy(counts[1]);
    read(cells.data(), cells.size());
    read(full_cells.data(), full_cells.size());
    read(occupancy.data(), occupancy.size());
    arrays.num_cells = counts[0], arrays.num_words = counts[1], arrays.num_networks = counts[2];
    arrays.cells = cells.data(), arrays.full_cells = full_cells.data(), arrays.occupancy = occupancy.data();
    std::vector<std::vector<float>> layers;
    layers.reserve(10);
    const auto layer = [&](size_t size) {
        layers.emplace_back(networks * size);
        read(layers.back().data(), networks * size);
        return layers.back().data();
    };
    using namespace knf;
    arrays.layers.w0 = layer(POSITION_CHANNELS * HIDDEN), arrays.layers.b0 = layer(HIDDEN);
    arrays.layers.w1 = layer(HIDDEN * HIDDEN), arrays.layers.b1 = layer(HIDDEN);
    arrays.layers.w_density = layer(HIDDEN), arrays.layers.b_density = layer(1);
    arrays.layers.w_direction = layer(JOINED * HIDDEN), arrays.layers.b_direction = layer(HIDDEN);
    arrays.layers.w_color = layer(HIDDEN * 3), arrays.layers.b_color = layer(3);
    arrays.step = 0.01f;  // only for what a path of 8 bits is expected to be worth
    knf::Renderer renderer(arrays, 2, "auto");

    for (int32_t start[4]; std::fread(start, sizeof(start), 1, stdin) == 1;) {
        knf::FrameSetup frame{};
        frame.width = start[0], frame.height = start[1];
        frame.ess = start[2], frame.ert = start[3];
        read(frame.origin, 3);
        read(frame.rotation, 9);
        for (float* number :
             {&frame.fx, &frame.fy, &frame.cx, &frame.cy, &frame.near, &frame.step, &frame.last, &frame.ert_threshold})
            read(number, 1);
        read(frame.background, 3);
        const size_t pixels = static_cast<size_t>(frame.width) * frame.height;
        std::vector<float> rgb(3 * pixels), alpha(pixels), depth(pixels);
        const knf::FrameResult result = renderer.render(frame, {rgb.data(), alpha.data(), depth.data()}, nullptr);
        write(rgb.data(), rgb.size());
        write(alpha.data(), alpha.size());
        write(depth.data(), depth.size());
        write(&result.counters.samples, 1);
        write(&result.counters.rays_hit, 1);
    }
}
