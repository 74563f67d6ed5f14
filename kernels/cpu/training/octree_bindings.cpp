// Training of octree fields, for Python.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cpu/training/arrays.h"
#include "cpu/training/batch.h"
#include "cpu/training/octree.h"
#include "cpu/training/threads.h"

using namespace knf::train;
using knf::FIELD_FEATURES;
using knf::FIELD_HIDDEN;

namespace {

using Rows = Array<float, nb::shape<-1, FIELD_FEATURES>>;
using ConstRows = Array<const float, nb::shape<-1, FIELD_FEATURES>>;
using Hidden = Array<float, nb::shape<-1, FIELD_HIDDEN>>;
using ConstHidden = Array<const float, nb::shape<-1, FIELD_HIDDEN>>;
using Corners = Array<const int32_t, nb::shape<-1, 4>>;
using Integers = Array<const int32_t, nb::ndim<1>>;
using Places = Array<int32_t, nb::shape<-1, sizeof(FieldPlace) / 4>>;
using ConstPlaces = Array<const int32_t, nb::shape<-1, sizeof(FieldPlace) / 4>>;
using Raw = Array<float, nb::shape<-1, 4>>;
using ConstRaw = Array<const float, nb::shape<-1, 4>>;
using Table = Array<float, nb::ndim<2>>;

constexpr int PARTS = 16;  // of the samples, whose decoder gradients are added up in order: whatever the threads

const FieldPath& find_field_path(const std::string& name) {
    const std::string found = find_path(name).name;
#if defined(KNF_X86)
    for (const FieldPath* path : {&knf::avx512::field_path, &knf::avx2::field_path})
        if (found == path->name) return *path;
#endif
    return knf::baseline::field_path;
}

std::vector<float> transposed(const float* from, int rows, int columns) {
    std::vector<float> to(static_cast<size_t>(rows) * columns);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            to[static_cast<size_t>(c) * rows + r] = from[static_cast<size_t>(r) * columns + c];
    return to;
}

void run_forward(ConstRows rows, Array<const int32_t, nb::ndim<3>> slots, Corners corners, ConstVectors points,
                 Integers rays, ConstHidden ray_part, ConstHidden w_features, ConstHidden w_output,
                 ConstScalars b_output, Raw raw, Rows features, Places places, int threads, const std::string& path) {
    const size_t count = points.shape(0);
    for (const size_t samples : {rays.shape(0), raw.shape(0), features.shape(0), places.shape(0)})
        expect(count, samples, "samples");
    expect(FIELD_FEATURES, w_features.shape(0), "rows of w_features");
    expect(4, w_output.shape(0), "rows of w_output");
    expect(4, b_output.shape(0), "b_output");
    if (slots.shape(0) > UINT16_MAX || slots.shape(1) != slots.shape(0) || slots.shape(2) != slots.shape(0))
        throw std::invalid_argument("slots: expected a cube of at most 65535 voxels on each axis");
    const FieldGrid grid = {static_cast<int>(slots.shape(0)), slots.data(), corners.data(), rows.data()};
    const FieldDecoder decoder = {w_features.data(), nullptr, w_output.data(), b_output.data()};
    const FieldSamples samples = {points.data(), rays.data(), ray_part.data()};
    const FieldOutputs out = {raw.data(), features.data(), reinterpret_cast<FieldPlace*>(places.data())};
    const FieldPath& code = find_field_path(path);
    nb::gil_scoped_release release;
    share_out(threads, static_cast<int64_t>(count),
              [&](int64_t begin, int64_t end) { code.forward(grid, decoder, samples, begin, end, out); });
}

void run_backward(Corners corners, Integers rays, ConstHidden ray_part, ConstHidden w_features, ConstHidden w_output,
                  ConstRows features, ConstPlaces places, ConstRaw d_raw, Rows d_rows, Hidden d_ray_part,
                  Hidden d_w_features, Hidden d_w_output, Scalars d_b_output, int threads, const std::string& path) {
    const auto count = static_cast<int64_t>(rays.shape(0));
    for (const size_t samples : {features.shape(0), places.shape(0), d_raw.shape(0)}) expect(count, samples, "samples");
    expect(ray_part.shape(0), d_ray_part.shape(0), "rays");
    const FieldPath& code = find_field_path(path);
    nb::gil_scoped_release release;
    const std::vector<float> w_hidden = transposed(w_features.data(), FIELD_FEATURES, FIELD_HIDDEN);
    const FieldDecoder decoder = {w_features.data(), w_hidden.data(), w_output.data(), nullptr};
    const FieldSamples samples = {nullptr, rays.data(), ray_part.data()};
    const auto* kept_places = reinterpret_cast<const FieldPlace*>(places.data());
    const FieldOutputs kept = {nullptr, const_cast<float*>(features.data()), const_cast<FieldPlace*>(kept_places)};
    const std::unique_ptr<float[]> d_features(new float[FIELD_FEATURES * count + 1]);
    constexpr int OWN = (FIELD_FEATURES + 4) * FIELD_HIDDEN + 4;
    std::vector<float> sums(static_cast<size_t>(PARTS) * OWN);
    int64_t begins[PARTS + 1];
    for (int part = 0; part <= PARTS; part++) {  // a ray's samples are all in one part
        int64_t begin = count * part / PARTS;
        while (begin > 0 && begin < count && rays.data()[begin] == rays.data()[begin - 1]) begin++;
        begins[part] = begin;
    }
    run_threads(threads, [&](int thread) {
        for (int part = thread; part < PARTS; part += threads) {
            float* own = sums.data() + static_cast<size_t>(part) * OWN;
            const FieldGradients gradients = {d_features.get(), d_ray_part.data(), own,
                                              own + FIELD_FEATURES * FIELD_HIDDEN,
                                              own + (FIELD_FEATURES + 4) * FIELD_HIDDEN};
            code.backward(decoder, samples, kept, d_raw.data(), begins[part], begins[part + 1], gradients);
        }
    });
    for (int part = 0; part < PARTS; part++) {
        const float* own = sums.data() + static_cast<size_t>(part) * OWN;
        for (int i = 0; i < FIELD_FEATURES * FIELD_HIDDEN; i++) d_w_features.data()[i] += *own++;
        for (int i = 0; i < 4 * FIELD_HIDDEN; i++) d_w_output.data()[i] += *own++;
        for (int i = 0; i < 4; i++) d_b_output.data()[i] += *own++;
    }
    run_threads(threads, [&](int thread) {
        code.scatter(corners.data(), kept_places, d_features.get(), count, thread, threads, d_rows.data());
    });
}

void run_product(Integers offsets, Integers columns, ConstScalars weights, ConstRows in, std::optional<ConstRows> own,
                 Rows out, int threads, const std::string& path) {
    const size_t count = out.shape(0);
    expect(count + 1, offsets.shape(0), "offsets");
    expect(columns.shape(0), weights.shape(0), "weights");
    if (own) expect(count, own->shape(0), "own");
    const FieldPath& code = find_field_path(path);
    nb::gil_scoped_release release;
    share_out(threads, static_cast<int64_t>(count), [&](int64_t begin, int64_t end) {
        code.product(offsets.data(), columns.data(), weights.data(), in.data(), own ? own->data() : nullptr, begin, end,
                     out.data());
    });
}

void run_codes(ConstRows codebook, ConstRows gradient, Table logits, Table first, Table second,
               Array<uint8_t, nb::ndim<1>> chosen, int64_t step, double learning_rate, double beta1, double beta2,
               double epsilon, int threads, const std::string& path) {
    const size_t corners = gradient.shape(0), codes = codebook.shape(0);
    for (const Table* table : {&logits, &first, &second}) {
        expect(corners, table->shape(0), "corners");
        expect(codes, table->shape(1), "codes");
    }
    expect(corners, chosen.shape(0), "corners");
    if (codes < 1 || codes > 256) throw std::invalid_argument("codebook: expected 1 to 256 rows");
    const double t = static_cast<double>(step);
    CodeStep s{};
    s.codes = static_cast<int>(codes);
    s.codebook = codebook.data();
    s.beta1 = static_cast<float>(beta1), s.beta2 = static_cast<float>(beta2);
    s.one_minus_beta1 = static_cast<float>(1.0 - beta1), s.one_minus_beta2 = static_cast<float>(1.0 - beta2);
    s.epsilon = static_cast<float>(epsilon);
    s.rate = static_cast<float>(learning_rate / (1.0 - std::pow(beta1, t)));
    s.second_scale = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, t)));
    const FieldPath& code = find_field_path(path);
    nb::gil_scoped_release release;
    share_out(threads, static_cast<int64_t>(corners), [&](int64_t begin, int64_t end) {
        code.codes(s, gradient.data(), begin, end, logits.data(), first.data(), second.data(), chosen.data());
    });
}

}  // namespace

void bind_octree(nb::module_& module) {
    module.def("octree_forward", &run_forward, nb::kw_only(), "rows"_a, "slots"_a, "corners"_a, "points"_a, "rays"_a,
               "ray_part"_a, "w_features"_a, "w_output"_a, "b_output"_a, "raw"_a, "features"_a, "places"_a, "threads"_a,
               "path"_a);
    module.def("octree_backward", &run_backward, nb::kw_only(), "corners"_a, "rays"_a, "ray_part"_a, "w_features"_a,
               "w_output"_a, "features"_a, "places"_a, "d_raw"_a, "d_rows"_a, "d_ray_part"_a, "d_w_features"_a,
               "d_w_output"_a, "d_b_output"_a, "threads"_a, "path"_a);
    module.def("octree_product", &run_product, nb::kw_only(), "offsets"_a, "columns"_a, "weights"_a, "rows"_a,
               "own"_a.none(), "out"_a, "threads"_a, "path"_a);
    module.def("octree_codes", &run_codes, nb::kw_only(), "codebook"_a, "gradient"_a, "logits"_a, "first"_a, "second"_a,
               "chosen"_a, "step"_a, "learning_rate"_a, "beta1"_a, "beta2"_a, "epsilon"_a, "threads"_a, "path"_a);
}
