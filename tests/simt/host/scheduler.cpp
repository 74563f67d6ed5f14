// Fibres, the order in which they run, and the rendezvous at which they meet.
#include <algorithm>
#include <cinttypes>
#include <map>
#include <numeric>
#include <random>

#include <sys/mman.h>
#include <unistd.h>

#include "runtime.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

#ifdef __x86_64__
asm(R"(
    .text
    .type simt_switch_stack, @function
simt_switch_stack:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size simt_switch_stack, .-simt_switch_stack
)");
#endif

namespace simt {

Runtime runtime;

namespace {
constexpr size_t STACK_BYTES = 256 * 1024;  // address space: only what a thread touches becomes memory

Fibre* warp_of(Fibre* fibre) { return &runtime.fibres[fibre->number / LANES * LANES]; }

void fibre_main() {
    runtime.entry(runtime.entry_data);
    runtime.current->state = State::done;
    switch_to_scheduler();
    __builtin_unreachable();
}

std::string ranges(const std::vector<unsigned>& numbers) {
    std::string text;
    for (size_t i = 0; i < numbers.size();) {
        size_t last = i;
        while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) last++;
        text += (text.empty() ? "" : ", ") + std::to_string(numbers[i]);
        if (last > i) text += "-" + std::to_string(numbers[last]);
        i = last + 1;
    }
    return (numbers.size() == 1 ? "thread " : "threads ") + text;
}

// Who waits where, when nobody can go on.
std::string describe_deadlock() {
    std::map<std::string, std::vector<unsigned>> groups;
    char mask[32];
    for (const Fibre& fibre : runtime.fibres) {
        if (fibre.state == State::done) {
            groups["has returned"].push_back(fibre.number);
            continue;
        }
        const bool names_lanes = fibre.wait.operation >= Operation::syncwarp;
        std::snprintf(mask, sizeof mask, "mask 0x%08x", fibre.wait.mask);
        groups[std::string("waits at ") + operation_name(fibre.wait.operation) + "(" + (names_lanes ? mask : "") +
               ") " + place(fibre.wait.caller)]
            .push_back(fibre.number);
    }
    std::string text = "deadlock in block " + std::to_string(blockIdx.x) + "," + std::to_string(blockIdx.y) + "," +
                       std::to_string(blockIdx.z) + ": ";
    bool first = true;
    for (const auto& [what, numbers] : groups) {
        text += (first ? "" : "; ") + ranges(numbers) + " " + what;
        first = false;
    }
    return text;
}

void wait() {
    Fibre* self = runtime.current;
    self->state = State::waiting;
    switch_to_scheduler();
}

void complete_barrier(Operation operation) {
    unsigned count = 0;
    for (Fibre& fibre : runtime.fibres) count += fibre.wait.value != 0;
    unsigned result = 0;
    if (operation == Operation::syncthreads_or) result = count > 0;
    if (operation == Operation::syncthreads_and) result = count == runtime.threads;
    if (operation == Operation::syncthreads_count) result = count;
    for (Fibre& fibre : runtime.fibres) {
        fibre.wait.result = result;
        fibre.state = State::runnable;
    }
    runtime.waiting_at_barrier = 0;
    order_block();
}

int source_lane(const Rendezvous& wait, int lane) {
    const int segment = lane & ~(wait.width - 1), last = segment + wait.width - 1;
    switch (wait.operation) {
        case Operation::shfl:
            return segment + (wait.lane & (wait.width - 1));
        case Operation::shfl_up:
            return lane - wait.lane < segment ? lane : lane - wait.lane;
        case Operation::shfl_down:
            return lane + wait.lane > last ? lane : lane + wait.lane;
        default:
            return (lane ^ wait.lane) > last ? lane : lane ^ wait.lane;
    }
}

void complete_warp(Operation operation, unsigned mask, Fibre* warp) {
    unsigned ballot = 0;
    for (int lane = 0; lane < LANES; lane++)
        if (mask >> lane & 1u) ballot |= static_cast<unsigned>(warp[lane].wait.value != 0) << lane;
    if (operation == Operation::syncwarp) order_warp(warp, mask);
    if (operation >= Operation::mma_m16n8k16) complete_multiply(operation, warp);
    for (int lane = 0; lane < LANES; lane++) {
        if (!(mask >> lane & 1u)) continue;
        Rendezvous& wait = warp[lane].wait;
        if (operation == Operation::ballot) wait.result = ballot;
        if (operation == Operation::any) wait.result = ballot != 0;
        if (operation == Operation::all) wait.result = ballot == mask;
        if (operation >= Operation::shfl && operation <= Operation::shfl_xor) {
            const int source = source_lane(wait, lane);
            if (!(mask >> source & 1u)) {
                runtime.current = &warp[lane];
                fail(Fault::memory, std::string(operation_name(operation)) + ": thread " +
                                        std::to_string(warp[lane].number) + " reads lane " + std::to_string(source) +
                                        ", which the mask does not name, " + place(wait.caller));
            }
            wait.result = warp[source].wait.value;
        }
        warp[lane].state = State::runnable;
    }
    runtime.arrived[warp->number / LANES] &= ~mask;
}

// Waits for the lanes that `mask` names to arrive at the same operation with the same mask.
Rendezvous& meet_warp(Operation operation, unsigned mask, const Rendezvous& part) {
    Fibre* self = runtime.current;
    Fibre* warp = warp_of(self);
    const unsigned lane = self->number % LANES, number = self->number / LANES;
    if (!(mask >> lane & 1u))
        fail(Fault::deadlock, std::string(operation_name(operation)) + ": thread " + std::to_string(self->number) +
                                  " is not named by the mask it passes, " + place(part.caller));
    self->wait = part;
    self->wait.operation = operation;
    self->wait.mask = mask;
    runtime.arrived[number] |= 1u << lane;
    bool together = (runtime.arrived[number] & mask) == mask;
    for (int other = 0; together && other < LANES; other++)
        if (mask >> other & 1u) together = warp[other].wait.operation == operation && warp[other].wait.mask == mask;
    if (together)
        complete_warp(operation, mask, warp);
    else
        wait();
    return self->wait;
}

std::vector<unsigned> resume_order(long long order, unsigned threads, std::mt19937& random) {
    std::vector<unsigned> numbers(threads);
    std::iota(numbers.begin(), numbers.end(), 0u);
    if (order == -1) std::reverse(numbers.begin(), numbers.end());
    if (order > 0) std::shuffle(numbers.begin(), numbers.end(), random);
    return numbers;
}

void start_block(const dim3& block) {
    for (unsigned i = 0; i < runtime.threads; i++) {
        Fibre& fibre = runtime.fibres[i];
        unsigned char* stack = fibre.stack;
        fibre = Fibre{};
        fibre.stack = stack;
        fibre.number = i;
        fibre.index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
        fibre.context.prepare(stack, STACK_BYTES, fibre_main);
    }
    runtime.waiting_at_barrier = 0;
    std::fill(runtime.arrived.begin(), runtime.arrived.end(), 0u);
    for (const Region& region : runtime.regions)
        if (region.shared)
            for (size_t i = 0; i < region.bytes; i++) region.begin[i] = (GARBAGE >> (8 * (i % 4))) & 0xff;
}

void run_block(long long order, std::mt19937& random) {
    for (;;) {
        bool progress = false, alive = false;
        for (unsigned i : resume_order(order, runtime.threads, random)) {
            Fibre& fibre = runtime.fibres[i];
            if (fibre.state == State::runnable) {
                progress = true;
                runtime.current = &fibre;
                threadIdx = fibre.index;
                runtime.scheduler.switch_to(fibre.context);
                if (runtime.fault != Fault::none) return;
            }
            alive |= fibre.state != State::done;
        }
        if (!alive) return;
        if (!progress) {
            runtime.fault = Fault::deadlock;
            runtime.message = describe_deadlock();
            return;
        }
    }
}

// Stacks with an inaccessible page below each, kept from launch to launch.
void reserve_stacks(unsigned threads) {
    const size_t page = sysconf(_SC_PAGESIZE), bytes = threads * (STACK_BYTES + page);
    if (runtime.stack_bytes_total < bytes) {
        if (runtime.stacks != nullptr) munmap(runtime.stacks, runtime.stack_bytes_total);
        void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) abort();
        runtime.stacks = static_cast<unsigned char*>(memory);
        runtime.stack_bytes_total = bytes;
        for (unsigned i = 0; i < threads; i++) mprotect(runtime.stacks + i * (STACK_BYTES + page), page, PROT_NONE);
    }
    runtime.fibres.assign(threads, Fibre{});
    for (unsigned i = 0; i < threads; i++) runtime.fibres[i].stack = runtime.stacks + i * (STACK_BYTES + page) + page;
}
}  // namespace

void switch_to_scheduler() {
    Fibre* self = runtime.current;
    self->context.switch_to(runtime.scheduler);
}

void fail(Fault fault, const std::string& message) {
    runtime.fault = fault;
    runtime.message = message;
    switch_to_scheduler();
    __builtin_unreachable();
}

std::string place(void* caller) {
    char text[32];
    // The call itself, not the instruction after it.
    std::snprintf(text, sizeof text, "{0x%" PRIxPTR "}", reinterpret_cast<uintptr_t>(caller) - 1);
    return text;
}

std::string thread_name(unsigned long long number) {
    const unsigned long long block = number / runtime.threads;
    return "thread " + std::to_string(number % runtime.threads) +
           (number >= runtime.block_base ? "" : " of the launch's block " + std::to_string(block));
}

const char* operation_name(Operation operation) {
    static const char* const names[] = {
        "nothing",        "__syncthreads",    "__syncthreads_or", "__syncthreads_and", "__syncthreads_count",
        "__syncwarp",     "__ballot_sync",    "__any_sync",       "__all_sync",        "__shfl_sync",
        "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync",  "mma_m16n8k16",      "mma_m16n8k8"};
    return names[static_cast<int>(operation)];
}

__attribute__((noinline)) int block_barrier(Operation operation, int predicate) {
    Fibre* self = runtime.current;
    self->wait = Rendezvous{};
    self->wait.operation = operation;
    self->wait.value = predicate != 0;
    self->wait.caller = __builtin_return_address(0);
    runtime.waiting_at_barrier++;
    bool together = runtime.waiting_at_barrier == runtime.threads;
    for (unsigned i = 0; together && i < runtime.threads; i++) together = runtime.fibres[i].wait.operation == operation;
    if (together)
        complete_barrier(operation);
    else
        wait();
    return static_cast<int>(self->wait.result);
}

__attribute__((noinline)) unsigned warp_vote(Operation operation, unsigned mask, int predicate) {
    Rendezvous part;
    part.value = predicate != 0;
    part.caller = __builtin_return_address(0);
    return static_cast<unsigned>(meet_warp(operation, mask, part).result);
}

__attribute__((noinline)) unsigned long long shuffle(Operation operation, unsigned mask, unsigned long long value,
                                                     int lane, int width) {
    Rendezvous part;
    part.value = value;
    part.lane = lane;
    part.width = width;
    part.caller = __builtin_return_address(0);
    return meet_warp(operation, mask, part).result;
}

__attribute__((noinline)) void multiply(Operation operation, float* d, const unsigned* a, const unsigned* b) {
    Rendezvous part;
    part.d = d;
    part.a = a;
    part.b = b;
    part.caller = __builtin_return_address(0);
    meet_warp(operation, 0xffffffffu, part);
}

__attribute__((noinline)) void trap() {
    fail(Fault::trap, "__trap() by " + thread_name(runtime.block_base + runtime.current->number) + " " +
                          place(__builtin_return_address(0)));
}

unsigned char* dynamic_shared() { return runtime.dynamic_shared; }

// Runs a grid. `order`: 0 ascending, -1 descending, else the seed of a random order.
Fault run_grid(const dim3& grid, const dim3& block, long long order, void (*entry)(void*), void* data) {
    runtime.threads = block.x * block.y * block.z;
    gridDim = grid;
    blockDim = block;
    runtime.entry = entry;
    runtime.entry_data = data;
    runtime.fault = Fault::none;
    runtime.message.clear();
    runtime.block_base = 0;
    reserve_stacks(runtime.threads);
    runtime.arrived.assign((runtime.threads + LANES - 1) / LANES, 0u);
    map_shadow();
    std::mt19937 random(static_cast<unsigned>(order));
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x && runtime.fault == Fault::none; x++) {
                blockIdx = {x, y, z};
                start_block(block);
                run_block(order, random);
                runtime.block_base += runtime.threads;
            }
    runtime.current = nullptr;
    unmap_shadow();
    return runtime.fault;
}

}  // namespace simt
