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
    read(arrays.resolution, 3);
    read(arrays.factor, 3);
    for (float* constants : {arrays.box_min, arrays.box_max, arrays.inside_min, arrays.inside_max, arrays.inverse_voxel,
                             arrays.cell_size, arrays.local_scale})
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
