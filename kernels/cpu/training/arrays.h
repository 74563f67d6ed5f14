// What training's two parts of the extension have in common.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>
#include <string>

namespace nb = nanobind;
using namespace nb::literals;

namespace knf::train {

template <typename T, typename... Shape>
using Array = nb::ndarray<T, nb::numpy, nb::c_contig, nb::device::cpu, Shape...>;
using Vectors = Array<float, nb::shape<-1, 3>>;
using ConstVectors = Array<const float, nb::shape<-1, 3>>;
using Scalars = Array<float, nb::ndim<1>>;
using ConstScalars = Array<const float, nb::ndim<1>>;

inline void expect(size_t expected, size_t got, const char* what) {
    if (expected != got)
        throw std::invalid_argument(std::string(what) + ": expected " + std::to_string(expected) + ", got " +
                                    std::to_string(got));
}

}  // namespace knf::train
