// What a checked module finds: accesses outside of all memory of the kernel, races, reads of shared memory that nobody
// wrote. The compiler calls __tsan_readN and __tsan_writeN before each access (-fsanitize=thread); instead of linking
// the sanitizer's library, which knows operating-system threads, these functions are defined here.
#include <algorithm>
#include <cinttypes>

#include <sys/mman.h>

#include "memory_check.h"

namespace simt {

namespace {
Region* last_region = nullptr;

bool on_stack(uintptr_t address, const Fibre& fibre) {
    const auto lowest = reinterpret_cast<uintptr_t>(fibre.stack);
    return address >= lowest && address < lowest + (256u << 10);
}

bool local(const void* pointer) {
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    if (on_stack(address, *runtime.current)) return true;
    return address >= module.begin && address < module.end;  // constants and the built-in variables
}

std::string described(const void* address, size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(address);
    const Region* nearest = nullptr;
    ptrdiff_t distance = PTRDIFF_MAX;
    for (const Region& region : runtime.regions) {
        const ptrdiff_t before = region.begin - at, after = at - (region.begin + region.bytes);
        const ptrdiff_t away = std::max({before, after, ptrdiff_t{0}});
        if (away < distance) distance = away, nearest = &region;
    }
    std::string text = std::to_string(bytes) + " bytes ";
    if (nearest == nullptr) return text + "at an address of no memory of the kernel";
    if (distance > (1 << 20)) return text + "at an address far from all memory of the kernel";
    return text + "at offset " + std::to_string(at - nearest->begin) + " of " + nearest->name + ", which has " +
           std::to_string(nearest->bytes) + " bytes";
}

const char* verb(Access access) {
    return access == Access::read ? "reads" : access == Access::write ? "writes" : "updates atomically";
}

std::string self_name() { return thread_name(runtime.block_base + runtime.current->number); }

[[noreturn]] void report_outside(const void* address, size_t bytes, Access access, void* caller) {
    const auto at = reinterpret_cast<uintptr_t>(address);
    for (const Fibre& fibre : runtime.fibres)
        if (on_stack(at, fibre))
            fail(Fault::memory, self_name() + " " + verb(access) + " a local variable of " +
                                    thread_name(runtime.block_base + fibre.number) + " " + place(caller));
    fail(Fault::memory,
         "out of bounds: " + self_name() + " " + verb(access) + " " + described(address, bytes) + " " + place(caller));
}

void* caller_of(const Mark& mark) { return reinterpret_cast<void*>(module.begin + mark.caller); }

[[noreturn]] void report_race(const Region& region, const void* address, Access access, void* caller, const Mark& mark,
                              const char* was) {
    fail(Fault::race, "race on offset " + std::to_string(static_cast<const unsigned char*>(address) - region.begin) +
                          " of " + region.name + ": " + self_name() + " " + verb(access) + " " + place(caller) + ", " +
                          thread_name(mark.thread - 1) + " " + was + " " + place(caller_of(mark)) +
                          ", and nothing orders the two");
}

// Two readers are kept, if possible of two warps: whoever writes unordered conflicts with one of them.
void remember_reader(Cell& cell, const Mark& mark, bool shared) {
    Mark& first = cell.readers[0];
    Mark& second = cell.readers[1];
    if (first.thread == mark.thread || ordered(first, shared)) {
        first = mark;
    } else if (second.thread == mark.thread || ordered(second, shared) ||
               (second.thread - 1) / LANES == (first.thread - 1) / LANES) {
        second = mark;
    }
}

void check_readable(const Region& region, size_t offset, Access access, void* caller, bool fresh) {
    const Mark& writer = region.cells[offset].writer;
    if (!fresh && writer.pending)
        fail(Fault::race, "asynchronous copy not waited for: " + self_name() + " " + verb(access) + " offset " +
                              std::to_string(offset) + " of " + region.name + " " + place(caller) + ", which " +
                              thread_name(writer.thread - 1) + " has a copy under way to " + place(caller_of(writer)));
    if (region.shared && fresh && access != Access::write)
        fail(Fault::uninitialised, "uninitialised: " + self_name() + " " + verb(access) + " offset " +
                                       std::to_string(offset) + " of " + region.name +
                                       ", which no thread of the block wrote, " + place(caller));
}

void check_byte(const Region& region, size_t offset, Access access, const Mark& mark, void* caller) {
    Cell& cell = region.cells[offset];
    const unsigned char* address = region.begin + offset;
    const bool fresh = cell.writer.thread == 0 || (region.shared && cell.writer.thread <= runtime.block_base);
    check_readable(region, offset, access, caller, fresh);
    const auto conflicts = [&](const Mark& other) {
        return !(access == Access::atomic && other.atomic) && !ordered(other, region.shared);
    };
    const char* was = cell.writer.atomic ? "updated it" : "wrote it";
    if (conflicts(cell.writer)) report_race(region, address, access, caller, cell.writer, was);
    for (const Mark& reader : cell.readers)
        if ((access != Access::read || reader.atomic) && conflicts(reader))
            report_race(region, address, access, caller, reader, reader.atomic ? "updated it" : "read it");
    if (access == Access::read) {
        remember_reader(cell, mark, region.shared);
        return;
    }
    // An atomic that follows others' atomics hides them as the last writer: they go on as readers.
    if (cell.writer.atomic && !ordered(cell.writer, region.shared)) remember_reader(cell, cell.writer, region.shared);
    cell.writer = mark;
}

void check_bytes(Region& region, const void* address, size_t bytes, Access access, bool pending, void* caller) {
    if (access != Access::read && !region.writable)
        fail(Fault::memory,
             self_name() + " " + verb(access) + " " + region.name + ", which is read-only, " + place(caller));
    if (region.cells == nullptr) return;
    Fibre& self = *runtime.current;
    const Mark mark{static_cast<unsigned>(runtime.block_base) + self.number + 1, self.time, access == Access::atomic,
                    pending, static_cast<unsigned>(reinterpret_cast<uintptr_t>(caller) - module.begin)};
    const size_t offset = static_cast<const unsigned char*>(address) - region.begin;
    Cell* cells = region.cells + offset;
    const Cell before = cells[0];
    check_byte(region, offset, access, mark, caller);
    for (size_t i = 1; i < bytes; i++) {
        // Bytes that were used together so far need not be judged one by one.
        if (std::memcmp(&cells[i], &before, sizeof(Cell)) == 0)
            cells[i] = cells[0];
        else
            check_byte(region, offset + i, access, mark, caller);
    }
}
}  // namespace

Module module;

Region* find_region(const void* address, size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(address);
    const auto holds = [at, bytes](const Region& region) {
        return at >= region.begin && at + bytes <= region.begin + region.bytes;
    };
    if (last_region != nullptr && holds(*last_region)) return last_region;
    for (Region& region : runtime.regions)
        if (holds(region)) return last_region = &region;
    return nullptr;
}

void check_access(const void* address, size_t bytes, Access access, void* caller) {
    if (runtime.current == nullptr || local(address)) return;
    Region* region = find_region(address, bytes);
    if (region == nullptr) report_outside(address, bytes, access, caller);
    if (bytes <= 8 && reinterpret_cast<uintptr_t>(address) % bytes != 0 && (bytes & (bytes - 1)) == 0)
        fail(Fault::memory,
             "misaligned: " + self_name() + " " + verb(access) + " " + described(address, bytes) + " " + place(caller));
    check_bytes(*region, address, bytes, access, false, caller);
    if (access == Access::atomic && runtime.checked) order_atomic(address);
}

void check_range(const void* address, size_t bytes, Access access, void* caller) {
    if (runtime.current == nullptr || bytes == 0 || local(address)) return;
    Region* region = find_region(address, bytes);
    if (region == nullptr) report_outside(address, bytes, access, caller);
    check_bytes(*region, address, bytes, access, false, caller);
}

void mark_copy(void* shared, int bytes, bool pending, void* caller) {
    Region* region = find_region(shared, bytes);
    if (region == nullptr || !region->shared) report_outside(shared, bytes, Access::write, caller);
    if (!pending && region->cells != nullptr) {  // landed: the mark that announced it gives way
        Cell* cells = region->cells + (static_cast<unsigned char*>(shared) - region->begin);
        for (int i = 0; i < bytes; i++) cells[i].writer.pending = 0;
    }
    check_bytes(*region, shared, bytes, Access::write, pending, caller);
}

void map_shadow() {
    last_region = nullptr;
    if (!runtime.checked) return;
    for (Region& region : runtime.regions) {
        // Zero pages: what the kernel never touches costs nothing.
        void* memory = mmap(nullptr, std::max<size_t>(region.bytes, 1) * sizeof(Cell), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) abort();
        region.cells = static_cast<Cell*>(memory);
    }
}

void unmap_shadow() {
    last_region = nullptr;
    forget_orders();
    for (Region& region : runtime.regions)
        if (region.cells != nullptr) munmap(region.cells, std::max<size_t>(region.bytes, 1) * sizeof(Cell));
    runtime.regions.clear();
}

}  // namespace simt

#define SIMT_HOOK(name, bytes, check, access)                                           \
    extern "C" void __tsan_##name(void* address) {                                      \
        simt::check(address, bytes, simt::Access::access, __builtin_return_address(0)); \
    }
#define SIMT_HOOKS(bytes)                                      \
    SIMT_HOOK(read##bytes, bytes, check_access, read)          \
    SIMT_HOOK(write##bytes, bytes, check_access, write)        \
    SIMT_HOOK(unaligned_read##bytes, bytes, check_range, read) \
    SIMT_HOOK(unaligned_write##bytes, bytes, check_range, write)
SIMT_HOOKS(1)
SIMT_HOOKS(2)
SIMT_HOOKS(4)
SIMT_HOOKS(8)
SIMT_HOOKS(16)
extern "C" void __tsan_read_range(void* address, size_t bytes) {
    simt::check_range(address, bytes, simt::Access::read, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void* address, size_t bytes) {
    simt::check_range(address, bytes, simt::Access::write, __builtin_return_address(0));
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}

// -fsanitize=bounds,alignment,... : the compiler's own checks of array indices and misaligned types.
namespace {
using namespace simt;

void undefined(const std::string& what, void* caller) {
    if (runtime.current == nullptr) return;
    const std::string thread = thread_name(runtime.block_base + runtime.current->number);
    fail(Fault::memory, what + ": " + thread + " " + place(caller));
}
}  // namespace
extern "C" void __ubsan_handle_out_of_bounds(void*, uintptr_t index) {
    undefined("array index " + std::to_string(static_cast<intptr_t>(index)) + " out of bounds",
              __builtin_return_address(0));
}
extern "C" void __ubsan_handle_type_mismatch_v1(void*, uintptr_t) {
    undefined("misaligned or null access", __builtin_return_address(0));
}
extern "C" void __ubsan_handle_divrem_overflow(void*, uintptr_t, uintptr_t) {
    undefined("integer division by zero", __builtin_return_address(0));
}
