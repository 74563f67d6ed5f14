// The C face for ../simt_host.py, and memory operations that act for a kernel: asynchronous copies, surfaces.
#include "launch.h"

#include <algorithm>
#include <vector>

#include <link.h>

#include "memory_check.h"

namespace simt {

Fault run_grid(const dim3& grid, const dim3& block, long long order, void (*entry)(void*), void* data);

namespace {
// Linked last, it lies after the kernels' shared variables: what runs over their end changes it.
thread_local unsigned char simt_tls_guard[8192];

struct Bounds {
    uintptr_t inside;
    unsigned char* shared;
};

int look_for_module(dl_phdr_info* info, size_t, void* data) {
    auto* bounds = static_cast<Bounds*>(data);
    uintptr_t begin = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) & segment = info->dlpi_phdr[i];
        if (segment.p_type != PT_LOAD) continue;
        begin = std::min<uintptr_t>(begin, info->dlpi_addr + segment.p_vaddr);
        end = std::max<uintptr_t>(end, info->dlpi_addr + segment.p_vaddr + segment.p_memsz);
    }
    if (bounds->inside < begin || bounds->inside >= end) return 0;
    module.begin = begin;
    module.end = end;
    bounds->shared = static_cast<unsigned char*>(info->dlpi_tls_data);
    return 1;
}

struct Call {
    const Kernel* kernel;
    void** arguments;
};

void call_kernel(void* data) {
    const Call& call = *static_cast<Call*>(data);
    call.kernel->call(call.arguments);
}

void add_regions(const LaunchSettings& settings, unsigned char* shared, std::vector<unsigned char>& dynamic) {
    runtime.regions.clear();
    for (int i = 0; i < settings.variables; i++)
        runtime.regions.push_back({shared + settings.variable[i].offset, settings.variable[i].bytes, true, true,
                                   std::string("shared variable ") + settings.variable[i].name});
    for (int i = 0; i < settings.arrays; i++)
        runtime.regions.push_back({settings.array[i].begin, settings.array[i].bytes, false,
                                   settings.array[i].writable != 0, settings.array[i].name});
    // Room around it, so that what steps over its ends stays in this buffer and is seen.
    constexpr size_t guard = 4096;
    dynamic.assign(settings.dynamic_shared_bytes + 2 * guard + 128, static_cast<unsigned char>(GARBAGE));
    const auto start = (reinterpret_cast<uintptr_t>(dynamic.data()) + guard + 127) & ~uintptr_t{127};
    runtime.dynamic_shared = reinterpret_cast<unsigned char*>(start);
    if (settings.dynamic_shared_bytes > 0)
        runtime.regions.push_back(
            {runtime.dynamic_shared, settings.dynamic_shared_bytes, true, true, "dynamic shared memory"});
}
}  // namespace

// --- Asynchronous copies: garbage until waited for, then the bytes.

__attribute__((noinline)) void copy_async(void* shared, const void* global, int bytes) {
    void* caller = __builtin_return_address(0);
    if (reinterpret_cast<uintptr_t>(shared) % bytes != 0 || reinterpret_cast<uintptr_t>(global) % bytes != 0)
        fail(Fault::memory, "misaligned: cp.async of " + std::to_string(bytes) + " bytes by " +
                                thread_name(runtime.block_base + runtime.current->number) + " " + place(caller));
    check_range(global, bytes, Access::read, caller);
    mark_copy(shared, bytes, true, caller);
    for (int i = 0; i < bytes; i++) static_cast<unsigned char*>(shared)[i] = (GARBAGE >> (8 * (i % 4))) & 0xff;
    runtime.current->copies.push_back({shared, global, bytes, runtime.current->group, caller});
}

void cp_async_commit() { runtime.current->group++; }

// A group that was not committed is not waited for, as in the PTX ISA's cp.async.wait_group.
void wait_for_copy_groups(int pending) {
    Fibre& self = *runtime.current;
    size_t landed = 0;
    for (; landed < self.copies.size() && self.copies[landed].group < self.group - pending; landed++) {
        const AsyncCopy& copy = self.copies[landed];
        mark_copy(copy.shared, copy.bytes, false, copy.caller);
        std::memcpy(copy.shared, copy.global, copy.bytes);
    }
    self.copies.erase(self.copies.begin(), self.copies.begin() + static_cast<ptrdiff_t>(landed));
}

// --- Surfaces

__attribute__((noinline)) void write_surface(cudaSurfaceObject_t handle, const void* value, int bytes, int x_bytes,
                                             int y) {
    void* caller = __builtin_return_address(0);
    const auto* surface = reinterpret_cast<const Surface*>(handle);
    if (surface == nullptr || handle % alignof(Surface) != 0 || surface->magic != SURFACE_MAGIC)
        fail(Fault::memory, "surf2Dwrite: not a surface, " + place(caller));
    if (x_bytes < 0 || y < 0 || x_bytes + bytes > surface->width_bytes || y >= surface->height || x_bytes % bytes != 0)
        fail(Fault::memory, "out of bounds: surf2Dwrite of " + std::to_string(bytes) + " bytes at x " +
                                std::to_string(x_bytes) + " bytes, y " + std::to_string(y) + " of a surface of " +
                                std::to_string(surface->width_bytes) + " bytes x " + std::to_string(surface->height) +
                                " by " + thread_name(runtime.block_base + runtime.current->number) + " " +
                                place(caller));
    unsigned char* to = surface->data + static_cast<size_t>(y) * surface->width_bytes + x_bytes;
    check_range(to, bytes, Access::write, caller);
    std::memcpy(to, value, bytes);
}

}  // namespace simt

extern "C" int simt_launch(int kernel, const simt::LaunchSettings* settings, void** arguments, char* message,
                           size_t message_bytes) {
    using namespace simt;
    // Touching it makes the TLS segment, the shared memory, exist for this thread.
    std::memset(simt_tls_guard, 0xa5, sizeof simt_tls_guard);
    Bounds bounds{reinterpret_cast<uintptr_t>(&simt_launch), nullptr};
    dl_iterate_phdr(look_for_module, &bounds);
    std::vector<unsigned char> dynamic;
    add_regions(*settings, bounds.shared, dynamic);
    runtime.checked = settings->checked != 0;
    runtime.error_scale = settings->error_scale;
    Call call{&simt_kernels[kernel], arguments};
    const unsigned *g = settings->grid, *b = settings->block;
    Fault fault = run_grid({g[0], g[1], g[2]}, {b[0], b[1], b[2]}, settings->order, call_kernel, &call);
    const auto* changed =
        std::find_if(simt_tls_guard, std::end(simt_tls_guard), [](unsigned char b) { return b != 0xa5; });
    if (fault == Fault::none && changed != std::end(simt_tls_guard)) {
        fault = Fault::memory;
        runtime.message = "out of bounds: the kernel wrote " + std::to_string(changed - simt_tls_guard) +
                          " bytes after the end of all shared variables";
    }
    std::snprintf(message, message_bytes, "%s", runtime.message.c_str());
    return static_cast<int>(fault);
}

extern "C" size_t simt_module_begin() {
    simt::Bounds bounds{reinterpret_cast<uintptr_t>(&simt_launch), nullptr};
    dl_iterate_phdr(simt::look_for_module, &bounds);
    return simt::module.begin;
}

extern "C" int simt_describe(int kernel, const char** name, const size_t** sizes, const unsigned char** pointers) {
    if (kernel >= simt_kernel_count) return -1;
    *name = simt_kernels[kernel].name;
    *sizes = simt_kernels[kernel].sizes;
    *pointers = simt_kernels[kernel].pointers;
    return simt_kernels[kernel].parameters;
}
