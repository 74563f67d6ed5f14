// The sparse voxel field's part of the extension: samples and vertices shared out to threads. Its Python face is
// kilonerf.trainer.ops.sparse_grid, which checks what it is given.
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>

#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "cpu/training/arrays.h"
#include "cpu/training/batch.h"
#include "cpu/training/sparse_grid.h"
#include "cpu/training/threads.h"

using namespace knf::train;

namespace {

using Rows = Array<float, nb::shape<-1, GRID_ROW>>;
using ConstRows = Array<const float, nb::shape<-1, GRID_ROW>>;
using Places = Array<int32_t, nb::shape<-1, sizeof(Located) / 4>>;
using ConstPlaces = Array<const int32_t, nb::shape<-1, sizeof(Located) / 4>>;
using Flags = Array<uint8_t, nb::ndim<1>>;

const GridPath& find_grid_path(const std::string& name) {
    const std::string found = find_path(name).name;
#if defined(KNF_X86)
    for (const GridPath* path : {&knf::avx512::grid_path, &knf::avx2::grid_path})
        if (found == path->name) return *path;
#endif
    return knf::baseline::grid_path;
}

void run_forward(ConstRows rows, Array<const int32_t, nb::ndim<3>> slots,
                 Array<const int32_t, nb::shape<-1, 4>> corners, ConstVectors points, ConstVectors directions,
                 Vectors rgb, Scalars density, Places located, int threads, const std::string& path) {
    const size_t count = points.shape(0);
    expect(count, directions.shape(0), "directions");
    expect(count, rgb.shape(0), "rgb");
    expect(count, density.shape(0), "density");
    expect(count, located.shape(0), "located");
    Grid grid{};
    for (int axis = 0; axis < 3; axis++) {
        if (slots.shape(axis) > UINT16_MAX) throw std::invalid_argument("slots: expected at most 65535 along an axis");
        grid.resolution[axis] = static_cast<int>(slots.shape(axis));
    }
    grid.slots = slots.data();
    grid.corners = corners.data();
    grid.rows = rows.data();
    const GridSamples samples = {points.data(), directions.data()};
    const GridOutputs out = {rgb.data(), density.data(), reinterpret_cast<Located*>(located.data())};
    const GridPath& code = find_grid_path(path);
    nb::gil_scoped_release release;
    share_out(threads, static_cast<int64_t>(count),
              [&](int64_t begin, int64_t end) { code.forward(grid, samples, begin, end, out); });
}

// What a forward pass left, and gradients as many.
GridKept kept_samples(const ConstVectors& directions, const ConstVectors& rgb, const ConstScalars& density,
                      const ConstPlaces& located, const ConstVectors& d_rgb, const ConstScalars& d_density) {
    const size_t count = directions.shape(0);
    for (const size_t samples : {rgb.shape(0), density.shape(0), located.shape(0), d_rgb.shape(0), d_density.shape(0)})
        expect(count, samples, "samples");
    return {static_cast<int64_t>(count), directions.data(), rgb.data(), density.data(),
            reinterpret_cast<const Located*>(located.data())};
}

void run_backward(ConstVectors directions, ConstVectors rgb, ConstScalars density, ConstPlaces located,
                  ConstVectors d_rgb, ConstScalars d_density, Rows gradient, Flags touched, int threads,
                  const std::string& path) {
    const GridKept kept = kept_samples(directions, rgb, density, located, d_rgb, d_density);
    expect(gradient.shape(0), touched.shape(0), "touched");
    const GridPath& code = find_grid_path(path);
    nb::gil_scoped_release release;
    const std::unique_ptr<float[]> d_raw(new float[4 * kept.count]);
    share_out(threads, kept.count, [&](int64_t begin, int64_t end) {
        code.activations(kept, d_rgb.data(), d_density.data(), begin, end, d_raw.get());
    });
    run_threads(threads, [&](int thread) {
        code.scatter(kept, d_raw.get(), thread, threads, {gradient.data(), touched.data()});
    });
}

void run_places(ConstRows rows, ConstVectors directions, ConstVectors rgb, ConstScalars density, ConstPlaces located,
                ConstVectors d_rgb, ConstScalars d_density, Vectors d_places, int threads, const std::string& path) {
    const GridKept kept = kept_samples(directions, rgb, density, located, d_rgb, d_density);
    expect(directions.shape(0), d_places.shape(0), "samples");
    const GridPath& code = find_grid_path(path);
    nb::gil_scoped_release release;
    const std::unique_ptr<float[]> d_raw(new float[4 * kept.count]);
    share_out(threads, kept.count, [&](int64_t begin, int64_t end) {
        code.activations(kept, d_rgb.data(), d_density.data(), begin, end, d_raw.get());
        code.places(rows.data(), kept, d_raw.get(), begin, end, d_places.data());
    });
}

void run_adam(Rows rows, Rows first, Rows second, Rows gradient, Flags touched, int64_t step, double color_rate,
              double density_rate, double beta1, double beta2, double epsilon, int threads, const std::string& path) {
    const size_t vertices = rows.shape(0);
    for (const size_t count : {first.shape(0), second.shape(0), gradient.shape(0), touched.shape(0)})
        expect(vertices, count, "rows of gradient and state");
    const double t = static_cast<double>(step);
    GridAdamStep s{};
    s.beta1 = static_cast<float>(beta1);
    s.beta2 = static_cast<float>(beta2);
    s.one_minus_beta1 = static_cast<float>(1.0 - beta1);
    s.one_minus_beta2 = static_cast<float>(1.0 - beta2);
    s.epsilon = static_cast<float>(epsilon);
    s.second_scale = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, t)));
    const double correction = 1.0 / (1.0 - std::pow(beta1, t));
    for (int i = 0; i < GRID_USED; i++)
        s.rate[i] = static_cast<float>((i < GRID_DENSITY ? color_rate : density_rate) * correction);
    const GridPath& code = find_grid_path(path);
    nb::gil_scoped_release release;
    share_out(threads, static_cast<int64_t>(vertices), [&](int64_t begin, int64_t end) {
        code.adam(s, {gradient.data(), touched.data()}, begin, end, rows.data(), first.data(), second.data());
    });
}

void run_smooth(ConstRows rows, Array<const int32_t, nb::shape<-1, 6>> neighbours, float color_weight,
                float density_weight, Rows gradient, Flags touched, int threads, const std::string& path) {
    const size_t vertices = rows.shape(0);
    for (const size_t count : {neighbours.shape(0), gradient.shape(0), touched.shape(0)})
        expect(vertices, count, "rows of neighbours and gradient");
    float weights[GRID_ROW] = {};
    for (int i = 0; i < GRID_USED; i++) weights[i] = i < GRID_DENSITY ? color_weight : density_weight;
    const GridPath& code = find_grid_path(path);
    nb::gil_scoped_release release;
    share_out(threads, static_cast<int64_t>(vertices), [&](int64_t begin, int64_t end) {
        code.smooth(rows.data(), neighbours.data(), weights, begin, end, {gradient.data(), touched.data()});
    });
}

}  // namespace

void bind_grid(nb::module_& module) {
    module.def("grid_forward", &run_forward, nb::kw_only(), "rows"_a, "slots"_a, "corners"_a, "points"_a,
               "directions"_a, "rgb"_a, "density"_a, "located"_a, "threads"_a, "path"_a);
    module.def("grid_backward", &run_backward, nb::kw_only(), "directions"_a, "rgb"_a, "density"_a, "located"_a,
               "d_rgb"_a, "d_density"_a, "gradient"_a, "touched"_a, "threads"_a, "path"_a);
    module.def("grid_places", &run_places, nb::kw_only(), "rows"_a, "directions"_a, "rgb"_a, "density"_a, "located"_a,
               "d_rgb"_a, "d_density"_a, "d_places"_a, "threads"_a, "path"_a);
    module.def("grid_adam", &run_adam, nb::kw_only(), "rows"_a, "first"_a, "second"_a, "gradient"_a, "touched"_a,
               "step"_a, "color_rate"_a, "density_rate"_a, "beta1"_a, "beta2"_a, "epsilon"_a, "threads"_a, "path"_a);
    module.def("grid_smooth", &run_smooth, nb::kw_only(), "rows"_a, "neighbours"_a, "color_weight"_a,
               "density_weight"_a, "gradient"_a, "touched"_a, "threads"_a, "path"_a);
}
