// Renders one frame without Python, so that tests can run the renderer built for another machine in an emulator.
// Standard input: what test_other_machines.py writes; standard output: rgb as float32, then the number of samples.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "renderer.h"

template <typename T>
static void read(T* to, size_t count) {
    if (std::fread(to, sizeof(T), count, stdin) != count) std::abort();
}

int main() {
    knf::SceneArrays arrays{};
    knf::FrameSetup frame{};
    read(arrays.resolution, 3);
    read(arrays.factor, 3);
    for (float* constants : {arrays.box_min, arrays.box_max, arrays.inside_min, arrays.inside_max,
                             arrays.inverse_voxel, arrays.cell_size, arrays.local_scale})
        read(constants, 3);
    read(&arrays.num_networks, 1);
    const int* r = arrays.resolution;
    const int* f = arrays.factor;
    const size_t cells = static_cast<size_t>(r[0]) * r[1] * r[2];
    std::vector<unsigned char> occupancy(cells * f[0] * f[1] * f[2]);
    std::vector<int32_t> index(cells);
    read(occupancy.data(), occupancy.size());
    read(index.data(), cells);
    arrays.occupancy = reinterpret_cast<const bool*>(occupancy.data());
    arrays.network_index = index.data();
    std::vector<float> layers[12];
    for (int i = 0; i < 12; i++) {
        int32_t size;
        read(&size, 1);
        layers[i].resize(size);
        read(layers[i].data(), size);
        arrays.layers[i] = layers[i].data();
    }
    read(&frame.width, 1);
    read(&frame.height, 1);
    read(frame.origin, 3);
    read(frame.rotation, 9);
    read(&frame.fx, 4);
    read(&frame.near, 3);
    frame.ess = true;
    for (float& channel : frame.background) channel = 1.0f;

    knf::Renderer renderer(arrays, 2, "auto");
    const size_t pixels = static_cast<size_t>(frame.width) * frame.height;
    std::vector<float> rgb(3 * pixels), alpha(pixels), depth(pixels);
    const knf::FrameResult result = renderer.render(frame, {rgb.data(), alpha.data(), depth.data()}, nullptr);
    std::fwrite(rgb.data(), sizeof(float), rgb.size(), stdout);
    std::fwrite(&result.counters.samples, sizeof(int64_t), 1, stdout);
}
