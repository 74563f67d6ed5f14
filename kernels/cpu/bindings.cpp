#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>

#include "cpu/march/renderer.h"
#include "cpu/simd/probe.h"

namespace nb = nanobind;
using namespace nb::literals;

void bind_training(nb::module_& module);  // training/bindings.cpp
void bind_grid(nb::module_& module);      // train_grid_bindings.cpp

namespace {

template <typename T, typename... Shape>
using Array = nb::ndarray<T, nb::numpy, nb::c_contig, nb::device::cpu, Shape...>;
using Vector3 = std::array<float, 3>;
using Index3 = std::array<int, 3>;

template <typename T>
void copy(const std::array<T, 3>& from, T (&to)[3]) {
    std::copy(from.begin(), from.end(), to);
}

std::unique_ptr<knf::Renderer> make_renderer(Index3 resolution, Index3 factor, Vector3 box_min, Vector3 box_max,
                                             Vector3 inside_min, Vector3 inside_max, Vector3 inverse_voxel,
                                             Vector3 cell_size, Vector3 local_scale,
                                             Array<const bool, nb::ndim<3>> occupancy,
                                             Array<const int32_t, nb::ndim<3>> network_index,
                                             std::vector<Array<const float>> layers, int threads,
                                             const std::string& path) {
    knf::SceneArrays arrays{};
    copy(resolution, arrays.resolution);
    copy(factor, arrays.factor);
    copy(box_min, arrays.box_min);
    copy(box_max, arrays.box_max);
    copy(inside_min, arrays.inside_min);
    copy(inside_max, arrays.inside_max);
    copy(inverse_voxel, arrays.inverse_voxel);
    copy(cell_size, arrays.cell_size);
    copy(local_scale, arrays.local_scale);
    if (layers.size() != std::size(arrays.layers)) throw std::invalid_argument("expected 12 layer arrays");
    for (size_t i = 0; i < layers.size(); i++) arrays.layers[i] = layers[i].data();
    arrays.occupancy = occupancy.data();
    arrays.network_index = network_index.data();
    arrays.num_networks = static_cast<int>(layers[0].shape(0));
    nb::gil_scoped_release release;
    return std::make_unique<knf::Renderer>(arrays, threads, path);
}

nb::dict render(knf::Renderer& renderer, int width, int height, Vector3 origin, std::array<float, 9> rotation,
                std::array<float, 4> lens, float near, float step, float last, bool ess, bool ert, float ert_threshold,
                Vector3 background, Array<float, nb::ndim<3>> rgb, Array<float, nb::ndim<2>> alpha,
                Array<float, nb::ndim<2>> depth, Array<const uint8_t, nb::shape<1>> cancel) {
    knf::FrameSetup frame{};
    frame.width = width;
    frame.height = height;
    copy(origin, frame.origin);
    std::copy(rotation.begin(), rotation.end(), frame.rotation);
    frame.fx = lens[0], frame.fy = lens[1], frame.cx = lens[2], frame.cy = lens[3];
    frame.near = near, frame.step = step, frame.last = last;
    frame.ess = ess, frame.ert = ert, frame.ert_threshold = ert_threshold;
    copy(background, frame.background);
    const knf::Picture picture = {rgb.data(), alpha.data(), depth.data()};
    knf::FrameResult result;
    {
        nb::gil_scoped_release release;
        result = renderer.render(frame, picture, cancel.data());
    }
    nb::dict stages;  // in the order in which they run
    stages["setup"] = result.setup_ms;
    stages["rays"] = result.counters.rays_ms;
    stages["march"] = result.counters.march_ms;
    stages["networks"] = result.counters.networks_ms;
    stages["composite"] = result.counters.composite_ms;
    stages["idle"] = result.idle_ms;
    nb::dict out;
    out["cancelled"] = result.cancelled;
    out["samples"] = result.counters.samples;
    out["evaluations"] = result.counters.samples;  // none is evaluated in vain
    out["rays_hit"] = result.counters.rays_hit;
    out["total_ms"] = result.total_ms;
    out["stages_ms"] = stages;
    return out;
}

void query(knf::Renderer& renderer, Array<const int32_t, nb::ndim<1>> rows, Array<const float, nb::shape<-1, 3>> points,
           Array<const float, nb::shape<-1, 3>> directions, Array<float, nb::shape<-1, 3>> rgb,
           Array<float, nb::ndim<1>> density) {
    nb::gil_scoped_release release;
    renderer.query(rows.data(), points.data(), directions.data(), static_cast<int64_t>(rows.shape(0)), rgb.data(),
                   density.data());
}

}  // namespace

NB_MODULE(_cpu, module) {
    module.doc() = "Native CPU renderer; kilonerf.kernels.cpu.renderer is its Python face.";
    module.def("available_paths", &knf::available_paths,
               "Code paths that this machine can run, best first: (name, arithmetic of the networks).");
    module.def("matrix_kinds", &knf::matrix_kinds, "Kinds of multiply-add that this machine has.");
    module.def("matrix_peak", &knf::matrix_peak, "kind"_a, "threads"_a, nb::call_guard<nb::gil_scoped_release>(),
               "Multiply-adds a second on registers, with nothing else.");
    nb::class_<knf::Renderer>(module, "Renderer")
        .def_prop_ro("threads", &knf::Renderer::threads)
        .def_prop_ro("path", &knf::Renderer::path)
        .def_prop_ro("arithmetic", &knf::Renderer::arithmetic)
        .def_prop_ro("cell_rows", &knf::Renderer::cell_rows)
        .def("render", &render, nb::kw_only(), "width"_a, "height"_a, "origin"_a, "rotation"_a, "lens"_a, "near"_a,
             "step"_a, "last"_a, "ess"_a, "ert"_a, "ert_threshold"_a, "background"_a, "rgb"_a, "alpha"_a, "depth"_a,
             "cancel"_a)
        .def(
            "order_cells",
            [](knf::Renderer& renderer, Vector3 origin) {
                float place[3];
                copy(origin, place);
                return renderer.order_cells(place);
            },
            "origin"_a, "Rows of the cells that have a network, front to back from a place.")
        .def("network_rate", &knf::Renderer::network_rate, "samples"_a, "seconds"_a, "networks"_a,
             nb::call_guard<nb::gil_scoped_release>())
        .def("query", &query, "rows"_a, "points"_a, "directions"_a, "rgb"_a, "density"_a);
    module.def("make_renderer", &make_renderer, nb::kw_only(), "resolution"_a, "factor"_a, "box_min"_a, "box_max"_a,
               "inside_min"_a, "inside_max"_a, "inverse_voxel"_a, "cell_size"_a, "local_scale"_a, "occupancy"_a,
               "network_index"_a, "layers"_a, "threads"_a, "path"_a);
    bind_training(module);
    bind_grid(module);
}
