// Which accesses happen before which: by barriers, by __syncwarp, and by fences around atomics.
//
// Between blocks, and between warps without a barrier, only this orders: one thread makes a fence and then an atomic
// (release), another an atomic on the same address and then a fence (acquire). All that happened before the first
// fence then happens before all that follows the second.
#include <algorithm>

#include "runtime.h"

namespace simt {

namespace {
std::map<const void*, std::shared_ptr<const Knowledge>> released_at;  // by an atomic's address
bool anything_released = false;  // most kernels have no fences: then barriers need not spread knowledge

void merge(std::shared_ptr<const Knowledge>& into, const std::shared_ptr<const Knowledge>& from) {
    if (from == nullptr || from == into) return;
    auto joined = into == nullptr ? std::make_shared<Knowledge>() : std::make_shared<Knowledge>(*into);
    for (const auto& [block, times] : *from) {
        std::vector<unsigned>& mine = (*joined)[block];
        mine.resize(times.size());
        for (size_t i = 0; i < times.size(); i++) mine[i] = std::max(mine[i], times[i]);
    }
    into = joined;
}

unsigned block_number(unsigned long long number_in_launch) {
    return static_cast<unsigned>(number_in_launch / runtime.threads);
}
}  // namespace

bool ordered(const Mark& mark, bool shared) {
    const Fibre& self = *runtime.current;
    if (mark.thread == 0 || mark.thread == runtime.block_base + self.number + 1) return true;
    const unsigned number = mark.thread - 1, thread = number % runtime.threads;
    if (number < runtime.block_base) {
        if (shared) return true;  // another block's, which is gone
    } else {
        if (mark.time <= runtime.fibres[thread].time_at_barrier) return true;
        if (thread / LANES == self.number / LANES && mark.time <= self.known[thread % LANES]) return true;
    }
    if (self.acquired == nullptr) return false;
    const auto found = self.acquired->find(block_number(number));
    return found != self.acquired->end() && mark.time <= found->second[thread];
}

// All threads met: everything before is ordered before everything after.
void order_block() {
    for (Fibre& fibre : runtime.fibres) fibre.time_at_barrier = fibre.time++;
    if (!anything_released) return;
    std::shared_ptr<const Knowledge> joined;
    for (Fibre& fibre : runtime.fibres) merge(joined, fibre.acquired);
    for (Fibre& fibre : runtime.fibres) fibre.acquired = joined;
}

void order_warp(Fibre* warp, unsigned mask) {
    unsigned joined[LANES] = {};
    std::shared_ptr<const Knowledge> acquired;
    for (int lane = 0; lane < LANES; lane++) {
        if (!(mask >> lane & 1u)) continue;
        warp[lane].known[lane] = warp[lane].time;
        for (int other = 0; other < LANES; other++) joined[other] = std::max(joined[other], warp[lane].known[other]);
        merge(acquired, warp[lane].acquired);
    }
    for (int lane = 0; lane < LANES; lane++) {
        if (!(mask >> lane & 1u)) continue;
        std::copy(joined, joined + LANES, warp[lane].known);
        warp[lane].acquired = acquired;
        warp[lane].time++;
    }
}

void fence() {
    if (!runtime.checked) return;
    Fibre& self = *runtime.current;
    merge(self.acquired, self.seen);
    auto mine = std::make_shared<Knowledge>();
    std::vector<unsigned>& times = (*mine)[block_number(runtime.block_base)];
    times.resize(runtime.threads);
    for (const Fibre& fibre : runtime.fibres) {
        unsigned& time = times[fibre.number] = fibre.time_at_barrier;
        if (fibre.number / LANES == self.number / LANES) time = std::max(time, self.known[fibre.number % LANES]);
    }
    times[self.number] = self.time++;
    self.released = mine;
    merge(self.released, self.acquired);
    anything_released = true;
}

void order_atomic(const void* address) {
    Fibre& self = *runtime.current;
    const auto found = released_at.find(address);
    if (found != released_at.end()) merge(self.seen, found->second);
    if (self.released != nullptr) merge(released_at[address], self.released);
}

void forget_orders() {
    released_at.clear();
    anything_released = false;
}

}  // namespace simt
