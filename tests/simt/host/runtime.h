// What the runtime's own files share. Kernels never see it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "context.h"
#include "simt_host.h"

namespace simt {

constexpr int LANES = 32;
constexpr unsigned GARBAGE = 0xffc1ffc1u;  // NaN as a float and as two halves, a large negative number as an int

// The codes of ../simt_host.py's exceptions.
enum class Fault : int { none = 0, deadlock = 1, memory = 2, race = 3, uninitialised = 4, trap = 5 };

enum class State : unsigned char { runnable, waiting, done };

// What a waiting thread waits for, and its part in it.
struct Rendezvous {
    Operation operation = Operation::none;
    int lane = 0, width = LANES;
    unsigned mask = 0;
    unsigned long long value = 0, result = 0;
    float* d = nullptr;
    const unsigned *a = nullptr, *b = nullptr;
    void* caller = nullptr;
};

struct AsyncCopy {
    void* shared;
    const void* global;
    int bytes;
    int group;
    void* caller;
};

// Times of the threads of a block up to which a thread knows what they did; by the block's number in the launch.
using Knowledge = std::map<unsigned, std::vector<unsigned>>;

// An access to one byte: by whom (number in the launch + 1, 0: nobody), when on that thread's clock, from where.
struct Mark {
    unsigned thread;
    unsigned time : 30, atomic : 1, pending : 1;  // pending: an asynchronous copy that nobody waited for
    unsigned caller;                              // offset in the module
};
struct Cell {
    Mark writer, readers[2];
};

struct Fibre {
    Context context;
    unsigned char* stack = nullptr;
    State state = State::runnable;
    unsigned number = 0;  // in the block
    uint3 index{};
    Rendezvous wait;
    std::vector<AsyncCopy> copies;
    int group = 0;  // of asynchronous copies, the one being filled
    // Happens-before: this thread's time, and what it knows of its warp mates' times and of everyone's at the last
    // barrier. Time passes at whatever orders memory.
    unsigned time = 1;
    unsigned known[LANES] = {};
    unsigned time_at_barrier = 0;
    // By fences and atomics: what its next atomic releases, what it saw released, what a later fence made sure.
    std::shared_ptr<const Knowledge> released, seen, acquired;
};

struct Region {
    unsigned char* begin;
    size_t bytes;
    bool shared, writable;
    std::string name;
    Cell* cells = nullptr;  // one per byte, in a checked module
};

struct Runtime {
    std::vector<Fibre> fibres;
    Context scheduler;
    Fibre* current = nullptr;  // null outside a launch
    unsigned threads = 0;      // of a block
    unsigned waiting_at_barrier = 0;
    std::vector<unsigned> arrived;      // per warp, a bit for each lane that waits for warp mates
    unsigned long long block_base = 0;  // numbers before those of this block's threads, over the launch
    bool checked = false;
    float error_scale = 1.0f;
    std::vector<Region> regions;
    unsigned char* stacks = nullptr;
    size_t stack_bytes_total = 0;
    unsigned char* dynamic_shared = nullptr;
    void (*entry)(void*) = nullptr;
    void* entry_data = nullptr;
    Fault fault = Fault::none;
    std::string message;
};
extern Runtime runtime;

// Ends the launch: the message, then back to the scheduler for good. `{0x...}` in it stands for a place in the code.
[[noreturn]] void fail(Fault fault, const std::string& message);
std::string place(void* caller);
std::string thread_name(unsigned long long number_in_launch);
const char* operation_name(Operation operation);

void switch_to_scheduler();
void complete_multiply(Operation operation, Fibre* warp);

// Happens-before, in ordering.cpp.
void order_block();
void order_warp(Fibre* warp, unsigned mask);
void order_atomic(const void* address);
void forget_orders();
bool ordered(const Mark& mark, bool shared);  // whether it happens before what the current thread does now

// Bounds and races, in memory_check.cpp.
void mark_copy(void* shared, int bytes, bool pending, void* caller);
void map_shadow();
void unmap_shadow();
Region* find_region(const void* address, size_t bytes);

}  // namespace simt
