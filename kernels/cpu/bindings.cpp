#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>

#include "cpu/march/renderer.h"
#include "cpu/simd/probe.h"
#include "cpu/structures.h"

#define KNF_SHARED static inline
#include "sky.h"

namespace nb = nanobind;
using namespace nb::literals;

void bind_training(nb::module_& module);  // training/bindings.cpp
void bind_grid(nb::module_& module);      // training/sparse_grid_bindings.cpp
void bind_octree(nb::module_& module);    // training/octree_bindings.cpp

namespace {

template <typename T, typename... Shape>
using Array = nb::ndarray<T, nb::numpy, nb::c_contig, nb::device::cpu, Shape...>;
using Vector3 = std::array<float, 3>;

template <typename T>
void copy(const std::array<T, 3>& from, T (&to)[3]) {
    std::copy(from.begin(), from.end(), to);
}

using Layers = std::map<std::string, Array<const float>>;

knf::SceneArrays scene_arrays(const knf::Bytes& grids, const std::vector<int>& first_cells, const knf::Bytes& cells,
                              const knf::Bytes& full_cells, const Array<const uint32_t, nb::ndim<1>>& occupancy) {
    const size_t num_cells = cells.shape(0) / sizeof(knf::Cell);
    knf::SceneArrays arrays{};
    const size_t levels = first_cells.size();
    if (levels < 1 || levels > knf::MAX_LEVELS) throw std::invalid_argument("levels: expected 1 to 8");
    arrays.num_levels = static_cast<int>(levels);
    arrays.grids = knf::structures<knf::Grid>(grids, levels, "grids");
    arrays.first_cells = first_cells.data();
    arrays.num_cells = static_cast<int>(num_cells);
    arrays.cells = knf::structures<knf::Cell>(cells, num_cells, "cells");
    arrays.full_cells = knf::structures<knf::Cell>(full_cells, num_cells, "full_cells");
    arrays.num_words = static_cast<int64_t>(occupancy.shape(0));
    arrays.occupancy = occupancy.data();
    return arrays;
}

std::unique_ptr<knf::Renderer> make_renderer(const knf::Bytes& grids, const std::vector<int>& first_cells,
                                             const knf::Bytes& cells, const knf::Bytes& full_cells,
                                             Array<const uint32_t, nb::ndim<1>> occupancy, const Layers& layers,
                                             std::optional<Array<const float, nb::shape<knf::SKY_COEFFICIENTS, 3>>> sky,
                                             float step, int threads, const std::string& path) {
    knf::SceneArrays arrays = scene_arrays(grids, first_cells, cells, full_cells, occupancy);
    arrays.sky = sky ? sky->data() : nullptr;
    arrays.step = step;
    const size_t networks = layers.at("pts_linears.0.bias").shape(0);
    arrays.num_networks = static_cast<int>(networks);
    const auto layer = [&](const char* name, size_t size) {
        const Array<const float>& array = layers.at(name);
        if (array.size() != networks * size)
            throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(networks * size) +
                                        " numbers, got " + std::to_string(array.size()));
        return array.data();
    };
    using namespace knf;
    arrays.layers = {layer("pts_linears.0.weight", POSITION_CHANNELS * HIDDEN),
                     layer("pts_linears.0.bias", HIDDEN),
                     layer("pts_linears.1.weight", HIDDEN * HIDDEN),
                     layer("pts_linears.1.bias", HIDDEN),
                     layer("alpha_linear.weight", HIDDEN),
                     layer("alpha_linear.bias", 1),
                     layer("direction_layer.weight", JOINED * HIDDEN),
                     layer("direction_layer.bias", HIDDEN),
                     layer("rgb_linear.weight", HIDDEN * 3),
                     layer("rgb_linear.bias", 3)};
    nb::gil_scoped_release release;
    return std::make_unique<knf::Renderer>(arrays, threads, path);
}

// Arrays are those of knf::OctreeField.
std::unique_ptr<knf::Renderer> make_octree_renderer(
    const knf::Bytes& grids, const std::vector<int>& first_cells, const knf::Bytes& cells, const knf::Bytes& full_cells,
    Array<const uint32_t, nb::ndim<1>> occupancy, Array<const int32_t, nb::ndim<1>> first_slot,
    Array<const int32_t, nb::shape<-1, 4>> corners, Array<const float, nb::shape<-1, knf::FIELD_FEATURES>> rows,
    Array<const float, nb::shape<knf::FIELD_FEATURES, knf::FIELD_HIDDEN>> w_features,
    Array<const float, nb::shape<knf::DIRECTION_CHANNELS, knf::FIELD_HIDDEN>> w_direction,
    Array<const float, nb::shape<knf::FIELD_HIDDEN>> b_hidden,
    Array<const float, nb::shape<4, knf::FIELD_HIDDEN>> w_output, Array<const float, nb::shape<4>> b_output,
    int threads, const std::string& path) {
    knf::SceneArrays arrays = scene_arrays(grids, first_cells, cells, full_cells, occupancy);
    if (first_slot.shape(0) != occupancy.shape(0))
        throw std::invalid_argument("first_slot: expected " + std::to_string(occupancy.shape(0)) + " numbers, got " +
                                    std::to_string(first_slot.shape(0)));
    const auto num_rows = static_cast<int64_t>(rows.shape(0));
    for (size_t i = 0; i < corners.size(); i++)
        if (corners.data()[i] < 0 || corners.data()[i] + 1 >= num_rows)
            throw std::invalid_argument("corners: expected 0 to " + std::to_string(num_rows - 2));
    knf::OctreeArrays octree{};
    octree.num_slots = static_cast<int64_t>(corners.shape(0));
    octree.num_rows = num_rows;
    octree.field = {nullptr,         first_slot.data(), corners.data(),
                    rows.data(),     w_features.data(), w_direction.data(),
                    b_hidden.data(), w_output.data(),   b_output.data()};
    arrays.octree = &octree;
    nb::gil_scoped_release release;
    return std::make_unique<knf::Renderer>(arrays, threads, path);
}

#define KNF_FIELD(structure, field) {#field, offsetof(knf::structure, field)}

// Where each field of the structures lies, and their sizes: what kernels/native/grid.py must agree with.
std::map<std::string, std::map<std::string, size_t>> structure_layouts() {
    return {{"Grid",
             {KNF_FIELD(Grid, box_min),
              KNF_FIELD(Grid, box_max),
              KNF_FIELD(Grid, inside_min),
              KNF_FIELD(Grid, inside_max),
              KNF_FIELD(Grid, inverse_voxel),
              KNF_FIELD(Grid, cell_size),
              KNF_FIELD(Grid, local_scale),
              KNF_FIELD(Grid, resolution),
              KNF_FIELD(Grid, factor),
              KNF_FIELD(Grid, voxel_shift),
              {"size", sizeof(knf::Grid)}}},
            {"Cell",
             {KNF_FIELD(Cell, clip_min),
              KNF_FIELD(Cell, clip_max),
              KNF_FIELD(Cell, minimum),
              KNF_FIELD(Cell, first_voxel),
              KNF_FIELD(Cell, network),
              KNF_FIELD(Cell, first_word),
              KNF_FIELD(Cell, near_border),
              KNF_FIELD(Cell, occupied),
              KNF_FIELD(Cell, level),
              {"size", sizeof(knf::Cell)}}},
            {"SampleSteps",
             {KNF_FIELD(SampleSteps, near),
              KNF_FIELD(SampleSteps, step),
              KNF_FIELD(SampleSteps, last),
              {"size", sizeof(knf::SampleSteps)}}}};
}

nb::dict render(knf::Renderer& renderer, int width, int height, Vector3 origin, std::array<float, 9> rotation,
                std::array<float, 4> lens, float near, float step, float last, bool ess, bool ert, float ert_threshold,
                Vector3 background, bool sky, Array<float, nb::ndim<3>> rgb, Array<float, nb::ndim<2>> alpha,
                Array<float, nb::ndim<2>> depth, std::optional<Array<int32_t, nb::shape<3, -1, -1>>> counts,
                Array<const uint8_t, nb::shape<1>> cancel, std::optional<knf::Bytes> grids,
                std::optional<knf::Bytes> cells) {
    knf::FrameSetup frame{};
    frame.width = width;
    frame.height = height;
    copy(origin, frame.origin);
    std::copy(rotation.begin(), rotation.end(), frame.rotation);
    frame.fx = lens[0], frame.fy = lens[1], frame.cx = lens[2], frame.cy = lens[3];
    frame.near = near, frame.step = step, frame.last = last;
    frame.ess = ess, frame.ert = ert, frame.ert_threshold = ert_threshold;
    copy(background, frame.background);
    frame.sky = sky;
    knf::Picture picture = {rgb.data(), alpha.data(), depth.data()};
    if (counts) {
        const int64_t pixels = static_cast<int64_t>(width) * height;
        picture.samples = counts->data();
        picture.network = picture.samples + pixels;
        picture.lookups = picture.network + pixels;
    }
    std::optional<knf::Cropped> cropped;
    if (grids && cells)
        cropped = {knf::structures<knf::Grid>(*grids, renderer.num_levels(), "grids"),
                   knf::structures<knf::Cell>(*cells, renderer.num_cells(), "cells")};
    knf::FrameResult result;
    {
        nb::gil_scoped_release release;
        result = renderer.render(frame, picture, cancel.data(), cropped ? &*cropped : nullptr);
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
    out["samples_of_level"] = std::vector<int64_t>(result.counters.samples_of_level,
                                                   result.counters.samples_of_level + renderer.num_levels());
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
    module.def("available_paths", &knf::available_paths, "octree"_a = false,
               "Code paths that this machine can run, best first: (name, precision of the networks).");
    module.def("matrix_kinds", &knf::matrix_kinds, "Kinds of multiply-add that this machine has.");
    module.def("matrix_peak", &knf::matrix_peak, "kind"_a, "threads"_a, nb::call_guard<nb::gil_scoped_release>(),
               "Multiply-adds a second on registers, with nothing else.");
    nb::class_<knf::Renderer>(module, "Renderer")
        .def_prop_ro("threads", &knf::Renderer::threads)
        .def_prop_ro("path", &knf::Renderer::path)
        .def_prop_ro("title", &knf::Renderer::title)
        .def_prop_ro("precision", &knf::Renderer::precision)
        .def_prop_ro("expected_psnr", &knf::Renderer::expected_psnr)
        .def_prop_ro("finer_networks", &knf::Renderer::finer_networks)
        .def("render", &render, nb::kw_only(), "width"_a, "height"_a, "origin"_a, "rotation"_a, "lens"_a, "near"_a,
             "step"_a, "last"_a, "ess"_a, "ert"_a, "ert_threshold"_a, "background"_a, "sky"_a, "rgb"_a, "alpha"_a,
             "depth"_a, "counts"_a.none(), "cancel"_a, "grids"_a = nb::none(), "cells"_a = nb::none())
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
    module.def("make_renderer", &make_renderer, nb::kw_only(), "grids"_a, "first_cells"_a, "cells"_a, "full_cells"_a,
               "occupancy"_a, "layers"_a, "sky"_a.none(), "step"_a, "threads"_a, "path"_a);
    module.def("make_octree_renderer", &make_octree_renderer, nb::kw_only(), "grids"_a, "first_cells"_a, "cells"_a,
               "full_cells"_a, "occupancy"_a, "first_slot"_a, "corners"_a, "rows"_a, "w_features"_a, "w_direction"_a,
               "b_hidden"_a, "w_output"_a, "b_output"_a, "threads"_a, "path"_a);
    module.def("structure_layouts", &structure_layouts, "Offsets of the fields of grid.h's structures, and sizes.");
    bind_training(module);
    bind_grid(module);
    bind_octree(module);
}
