// Training's part of the extension; kilonerf.trainer is its Python face, and checks what it is given.
#include <nanobind/stl/array.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>
#include <utility>

#include "cpu/march/renderer.h"
#include "cpu/structures.h"
#include "cpu/training/arrays.h"
#include "cpu/training/batch.h"

using namespace knf;
using namespace knf::train;

namespace {

using Rows = Array<float, nb::shape<-1, ROW>>;
using ConstRows = Array<const float, nb::shape<-1, ROW>>;
using Offsets = Array<const int64_t, nb::ndim<1>>;
using Order = std::optional<Array<const int32_t, nb::ndim<1>>>;

struct Batch {
    Networks networks;
    Samples samples;
};

Batch make_batch(const ConstRows& parameters, const ConstVectors& points, const ConstVectors& directions,
                 const Order& order, const Offsets& starts, bool rectified, int frequencies) {
    const size_t count = points.shape(0);
    expect(count, directions.shape(0), "directions");
    if (order) expect(count, order->shape(0), "order");
    expect(parameters.shape(0) + 1, starts.shape(0), "starts");
    expect(count, static_cast<size_t>(starts.data()[parameters.shape(0)]), "samples in groups");
    if (frequencies < 1 || frequencies > POSITION_FREQUENCIES)
        throw std::invalid_argument("frequencies: expected 1 to 10, got " + std::to_string(frequencies));
    return {{static_cast<int64_t>(parameters.shape(0)), parameters.data(), starts.data()},
            {points.data(), directions.data(), order ? order->data() : nullptr, rectified, frequencies}};
}

void group_samples(Array<const int32_t, nb::ndim<1>> network, Array<int32_t, nb::ndim<1>> order,
                   Array<int64_t, nb::ndim<1>> starts) {
    expect(network.shape(0), order.shape(0), "order");
    nb::gil_scoped_release release;
    group(network.data(), network.shape(0), static_cast<int64_t>(starts.shape(0)) - 1, order.data(), starts.data());
}

void run_forward(ConstRows parameters, ConstVectors points, ConstVectors directions, Order order, Offsets starts,
                 bool rectified, int frequencies, Vectors rgb, Scalars density, int threads, const std::string& path) {
    const Batch batch = make_batch(parameters, points, directions, order, starts, rectified, frequencies);
    expect(points.shape(0), rgb.shape(0), "rgb");
    expect(points.shape(0), density.shape(0), "density");
    const Path& code = find_path(path);
    nb::gil_scoped_release release;
    forward(code, threads, batch.networks, batch.samples, {rgb.data(), density.data()});
}

void run_backward(ConstRows parameters, ConstVectors points, ConstVectors directions, Order order, Offsets starts,
                  bool rectified, int frequencies, ConstVectors d_rgb, ConstScalars d_density, Rows gradient,
                  int threads, const std::string& path) {
    const Batch batch = make_batch(parameters, points, directions, order, starts, rectified, frequencies);
    expect(points.shape(0), d_rgb.shape(0), "d_rgb");
    expect(points.shape(0), d_density.shape(0), "d_density");
    expect(parameters.shape(0), gradient.shape(0), "gradient");
    const Path& code = find_path(path);
    nb::gil_scoped_release release;
    backward(code, threads, batch.networks, batch.samples, {d_rgb.data(), d_density.data()}, gradient.data());
}

void run_adam(Rows parameters, ConstRows gradient, Rows first, Rows second, Array<int64_t, nb::ndim<1>> steps,
              std::optional<Array<const int32_t, nb::ndim<1>>> chosen, double learning_rate, double beta1, double beta2,
              double epsilon, std::optional<Array<const float, nb::shape<ROW>>> decay, int threads,
              const std::string& path) {
    const size_t networks = parameters.shape(0);
    for (const size_t rows : {gradient.shape(0), first.shape(0), second.shape(0), steps.shape(0)})
        expect(networks, rows, "rows of gradient and state");
    if (chosen)
        for (size_t i = 0; i < chosen->shape(0); i++)
            if (chosen->data()[i] < 0 || static_cast<size_t>(chosen->data()[i]) >= networks)
                throw std::invalid_argument("chosen: " + std::to_string(chosen->data()[i]) + " is no network");
    const AdamSettings settings = {learning_rate, beta1, beta2, epsilon, decay ? decay->data() : nullptr};
    const Path& code = find_path(path);
    nb::gil_scoped_release release;
    adam(code, threads, settings, chosen ? chosen->data() : nullptr, chosen ? chosen->shape(0) : networks,
         gradient.data(), parameters.data(), first.data(), second.data(), steps.data());
}

Rays make_rays(const Offsets& offsets, const ConstScalars& density, const ConstVectors& rgb,
               const ConstScalars& distance, const ConstScalars& depth, float ert_threshold) {
    if (offsets.shape(0) < 1) throw std::invalid_argument("offsets: expected one more than rays, got none");
    const int64_t rays = static_cast<int64_t>(offsets.shape(0)) - 1;
    if (offsets.data()[0] != 0) throw std::invalid_argument("offsets: expected to begin at 0");
    for (int64_t ray = 0; ray < rays; ray++)
        if (offsets.data()[ray] > offsets.data()[ray + 1])
            throw std::invalid_argument("offsets: decrease at ray " + std::to_string(ray));
    const size_t samples = static_cast<size_t>(offsets.data()[rays]);
    expect(samples, density.shape(0), "density");
    expect(samples, rgb.shape(0), "rgb");
    expect(samples, distance.shape(0), "distance");
    expect(samples, depth.shape(0), "depth");
    return {rays, offsets.data(), density.data(), rgb.data(), distance.data(), depth.data(), ert_threshold};
}

void run_composite(Offsets offsets, ConstScalars density, ConstVectors rgb, ConstScalars distance, ConstScalars depth,
                   float ert_threshold, Vectors out_color, Scalars out_opacity, Scalars out_depth, Scalars out_weights,
                   int threads) {
    const Rays rays = make_rays(offsets, density, rgb, distance, depth, ert_threshold);
    for (const size_t rows : {out_color.shape(0), out_opacity.shape(0), out_depth.shape(0)})
        expect(static_cast<size_t>(rays.count), rows, "rays of the results");
    expect(density.shape(0), out_weights.shape(0), "weights");
    nb::gil_scoped_release release;
    composite(threads, rays, {out_color.data(), out_opacity.data(), out_depth.data(), out_weights.data()});
}

void run_composite_backward(Offsets offsets, ConstScalars density, ConstVectors rgb, ConstScalars distance,
                            ConstScalars depth, float ert_threshold, ConstVectors d_color, ConstScalars d_opacity,
                            ConstScalars d_depth, ConstScalars d_weights, Scalars d_density, Vectors d_rgb,
                            int threads) {
    const Rays rays = make_rays(offsets, density, rgb, distance, depth, ert_threshold);
    for (const size_t rows : {d_color.shape(0), d_opacity.shape(0), d_depth.shape(0)})
        expect(static_cast<size_t>(rays.count), rows, "rays of the gradients");
    for (const size_t rows : {d_weights.shape(0), d_density.shape(0), d_rgb.shape(0)})
        expect(density.shape(0), rows, "samples of the gradients");
    nb::gil_scoped_release release;
    composite_backward(threads, rays, {d_color.data(), d_opacity.data(), d_depth.data(), d_weights.data()},
                       d_density.data(), d_rgb.data());
}

// A NumPy array, [rows] or [rows, columns], that owns the memory.
template <typename T>
nb::object to_array(std::unique_ptr<T[]> values, int64_t rows, size_t columns = 1) {
    T* data = values.release();
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    const size_t shape[2] = {static_cast<size_t>(rows), columns};
    return nb::cast(nb::ndarray<nb::numpy, T>(data, columns == 1 ? 1 : 2, shape, owner));
}

std::unique_ptr<RaySampler> make_ray_sampler(const knf::Bytes& grid, const knf::Bytes& steps,
                                             Array<const bool, nb::ndim<3>> occupancy,
                                             Array<const int32_t, nb::ndim<3>> network_index) {
    const SamplingGrid sampling = {*knf::structures<knf::Grid>(grid, 1, "grid"),
                                   *knf::structures<knf::SampleSteps>(steps, 1, "steps"), occupancy.data(),
                                   network_index.data()};
    for (int axis = 0; axis < 3; axis++) {
        const size_t cells = static_cast<size_t>(sampling.grid.resolution[axis]);
        expect(cells, network_index.shape(axis), "network_index");
        expect(cells * sampling.grid.factor[axis], occupancy.shape(axis), "occupancy");
    }
    nb::gil_scoped_release release;
    return std::make_unique<RaySampler>(sampling);
}

nb::tuple run_sample_rays(const std::vector<const RaySampler*>& levels, ConstVectors origins, ConstVectors directions,
                          std::optional<uint64_t> seed, int64_t first_ray, double most_thickness, int threads) {
    expect(origins.shape(0), directions.shape(0), "directions");
    RaySamples samples{};
    {
        nb::gil_scoped_release release;
        samples = sample_rays(levels, threads, origins.shape(0), origins.data(), directions.data(), seed.has_value(),
                              seed.value_or(0), first_ray, most_thickness);
    }
    const int64_t count = samples.samples;
    return nb::make_tuple(
        to_array(std::move(samples.offsets), samples.rays + 1), to_array(std::move(samples.points), count, 3),
        to_array(std::move(samples.directions), count, 3), to_array(std::move(samples.network), count),
        to_array(std::move(samples.distance), count), to_array(std::move(samples.depth), count));
}

void set_densities(RaySampler& sampler, ConstScalars densities) {
    expect(static_cast<size_t>(sampler.counted()), densities.shape(0), "densities of voxels");
    sampler.set_densities(densities.data());
}

std::vector<std::string> paths() {
    std::vector<std::string> names;
    for (const auto& [name, precision] : knf::available_paths())
        if (precision == "float32") names.push_back(name);
    return names;
}

}  // namespace

void bind_training(nb::module_& module) {
    module.def("train_paths", &paths, "Code paths for training that this machine can run, best first.");
    module.def(
        "train_layout",
        [] {
            return std::map<std::string, int>{
                {"pts_linears.0.weight", W0},
                {"pts_linears.0.bias", B0},
                {"pts_linears.1.weight", W1},
                {"pts_linears.1.bias", B1},
                {"alpha_linear.weight", W_DENSITY},
                {"alpha_linear.bias", B_DENSITY},
                {"feature_linear.weight", W_FEATURE},
                {"feature_linear.bias", B_FEATURE},
                {"direction_layer.weight", W_DIRECTION},
                {"direction_layer.bias", B_DIRECTION},
                {"rgb_linear.weight", W_COLOR},
                {"rgb_linear.bias", B_COLOR},
                {"row", ROW},
            };
        },
        "Where each layer begins in a row of parameters, and the row's length.");
    module.def("train_group", &group_samples, "network"_a, "order"_a, "starts"_a);
    module.def("train_forward", &run_forward, nb::kw_only(), "parameters"_a, "points"_a, "directions"_a,
               "order"_a.none(), "starts"_a, "rectified"_a, "frequencies"_a, "rgb"_a, "density"_a, "threads"_a,
               "path"_a);
    module.def("train_backward", &run_backward, nb::kw_only(), "parameters"_a, "points"_a, "directions"_a,
               "order"_a.none(), "starts"_a, "rectified"_a, "frequencies"_a, "d_rgb"_a, "d_density"_a, "gradient"_a,
               "threads"_a, "path"_a);
    module.def("train_adam", &run_adam, nb::kw_only(), "parameters"_a, "gradient"_a, "first"_a, "second"_a, "steps"_a,
               "chosen"_a.none(), "learning_rate"_a, "beta1"_a, "beta2"_a, "epsilon"_a, "decay"_a.none(), "threads"_a,
               "path"_a);
    module.def("train_composite", &run_composite, nb::kw_only(), "offsets"_a, "density"_a, "rgb"_a, "distance"_a,
               "depth"_a, "ert_threshold"_a, "out_color"_a, "out_opacity"_a, "out_depth"_a, "out_weights"_a,
               "threads"_a);
    module.def("train_composite_backward", &run_composite_backward, nb::kw_only(), "offsets"_a, "density"_a, "rgb"_a,
               "distance"_a, "depth"_a, "ert_threshold"_a, "d_color"_a, "d_opacity"_a, "d_depth"_a, "d_weights"_a,
               "d_density"_a, "d_rgb"_a, "threads"_a);
    nb::class_<RaySampler>(module, "RaySampler").def("set_densities", &set_densities, "densities"_a);
    module.def("sample_rays", &run_sample_rays, "levels"_a, "origins"_a, "directions"_a, "seed"_a.none(), "first_ray"_a,
               "most_thickness"_a, "threads"_a);
    module.def("make_ray_sampler", &make_ray_sampler, nb::kw_only(), "grid"_a, "steps"_a, "occupancy"_a,
               "network_index"_a);
}
