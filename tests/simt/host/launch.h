// What generated code (../compilation.py) and ../simt_host.py hand to the runtime.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace simt {

struct Kernel {
    const char* name;
    int parameters;
    const size_t* sizes;
    const unsigned char* pointers;
    void (*call)(void** arguments);
};

// Filled by ctypes: the same fields in the same order as in ../simt_host.py.
struct ArrayArgument {
    unsigned char* begin;
    size_t bytes;
    int writable;
    const char* name;
};
struct SharedVariable {
    size_t offset, bytes;
    const char* name;
};
struct LaunchSettings {
    unsigned grid[3], block[3];
    size_t dynamic_shared_bytes;
    long long order;
    int checked;
    float error_scale;
    const ArrayArgument* array;
    int arrays;
    const SharedVariable* variable;
    int variables;
};
constexpr unsigned SURFACE_MAGIC = 0x53555246;
struct Surface {
    unsigned char* data;
    int width_bytes, height;
    unsigned magic;
};

// The parameters of a kernel, from its type.
template <auto kernel>
struct Described;
template <class... P, void (*kernel)(P...)>
struct Described<kernel> {
    static constexpr size_t sizes[sizeof...(P) + 1] = {sizeof(P)..., 0};
    static constexpr unsigned char pointers[sizeof...(P) + 1] = {std::is_pointer_v<P>..., 0};

    template <size_t... i>
    __attribute__((no_sanitize("thread", "undefined"))) static void call_with(void** arguments,
                                                                              std::index_sequence<i...>) {
        kernel(*static_cast<std::remove_cv_t<P>*>(arguments[i])...);
    }
    __attribute__((no_sanitize("thread", "undefined"))) static void call(void** arguments) {
        call_with(arguments, std::index_sequence_for<P...>{});
    }
    static constexpr Kernel entry(const char* name) {
        return {name, static_cast<int>(sizeof...(P)), sizes, pointers, call};
    }
};

}  // namespace simt

extern const simt::Kernel simt_kernels[];
extern const int simt_kernel_count;
