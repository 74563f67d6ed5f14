// Structures that NumPy has filled (kernels/native/grid.py) come as their bytes.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>
#include <string>

namespace knf {

using Bytes =
    nanobind::ndarray<const uint8_t, nanobind::numpy, nanobind::c_contig, nanobind::device::cpu, nanobind::ndim<1>>;

// `count` of them. Throws std::invalid_argument if there are not as many bytes.
template <typename T>
const T* structures(const Bytes& bytes, size_t count, const char* what) {
    if (bytes.shape(0) != count * sizeof(T))
        throw std::invalid_argument(std::string(what) + ": expected " + std::to_string(count * sizeof(T)) +
                                    " bytes, got " + std::to_string(bytes.shape(0)));
    return reinterpret_cast<const T*>(bytes.data());
}

}  // namespace knf
