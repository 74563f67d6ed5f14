// Batches of samples shared out to threads. What is summed, and in which order, is decided before by the samples
// alone; so results do not depend on the number of threads.
#include "cpu/training/batch.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>

#include "cpu/march/renderer.h"
#include "cpu/training/threads.h"

namespace knf::train {
namespace {

constexpr int64_t ITEM_SAMPLES = 4096;  // of a network with more, several items are made and their gradients added
constexpr std::align_val_t ALIGNMENT{64};

struct Delete {
    void operator()(unsigned char* memory) const { ::operator delete(memory, ALIGNMENT); }
};
using Memory = std::unique_ptr<unsigned char, Delete>;

Memory allocate(size_t bytes) { return Memory(static_cast<unsigned char*>(::operator new(bytes, ALIGNMENT))); }

// Items of all networks that have samples, one network's side by side.
std::vector<Item> make_items(const Networks& networks) {
    std::vector<Item> items;
    for (int64_t n = 0; n < networks.count; n++) {
        const int64_t begin = networks.starts[n], end = networks.starts[n + 1];
        const int64_t parts = (end - begin + ITEM_SAMPLES - 1) / ITEM_SAMPLES;
        for (int64_t part = 0; part < parts; part++)
            items.push_back({static_cast<int32_t>(n), begin + (end - begin) * part / parts,
                             begin + (end - begin) * (part + 1) / parts});
    }
    return items;
}

// Call action(item's number, workspace) for every item, the largest first.
template <class Action>
void for_items(const Path& path, int threads, const std::vector<Item>& items, const Action& action) {
    std::vector<int32_t> order(items.size());
    for (size_t i = 0; i < order.size(); i++) order[i] = static_cast<int32_t>(i);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return items[a].end - items[a].begin > items[b].end - items[b].begin;
    });
    std::atomic<size_t> next{0};
    run_threads(std::min<int64_t>(threads, static_cast<int64_t>(items.size())), [&](int) {
        const Memory workspace = allocate(path.workspace);
        for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < order.size();)
            action(order[i], workspace.get());
    });
}

}  // namespace

const Path& find_path(const std::string& name) {
    static const Path* const known[] = {
#if defined(KNF_X86)
        &avx512::train_path,
        &avx2::train_path,
#endif
        &baseline::train_path,
    };
    std::string names;
    for (const auto& [runnable, precision] : available_paths())  // best first
        for (const Path* path : known) {
            if (runnable != path->name) continue;
            if (name == "auto" || name == path->name) return *path;
            names += (names.empty() ? "" : ", ") + runnable;
        }
    throw std::invalid_argument("training's CPU code path '" + name + "': this machine has " + names);
}

void group(const int32_t* network, int64_t count, int64_t networks, int32_t* order, int64_t* starts) {
    std::fill_n(starts, networks + 1, 0);
    for (int64_t i = 0; i < count; i++) {
        if (network[i] < 0 || network[i] >= networks)
            throw std::invalid_argument("network_index: expected 0 to " + std::to_string(networks - 1) + ", got " +
                                        std::to_string(network[i]) + " at sample " + std::to_string(i));
        starts[network[i] + 1]++;
    }
    for (int64_t n = 0; n < networks; n++) starts[n + 1] += starts[n];
    std::vector<int64_t> next(starts, starts + networks);
    for (int64_t i = 0; i < count; i++) order[next[network[i]]++] = static_cast<int32_t>(i);
}

void forward(const Path& path, int threads, const Networks& networks, const Samples& samples, const Outputs& outputs) {
    const std::vector<Item> items = make_items(networks);
    for_items(path, threads, items, [&](int32_t i, void* workspace) {
        path.forward(networks.parameters + items[i].network * int64_t{ROW}, samples, items[i], workspace, outputs);
    });
}

void backward(const Path& path, int threads, const Networks& networks, const Samples& samples,
              const OutputGradients& gradients, float* gradient) {
    const std::vector<Item> items = make_items(networks);
    // A network's first item writes its row of the gradient, the others write rows beside it.
    std::vector<float*> rows(items.size());
    int64_t extra = 0;
    const auto is_first = [&](size_t i) { return i == 0 || items[i].network != items[i - 1].network; };
    for (size_t i = 0; i < items.size(); i++) extra += !is_first(i);
    const Memory others = allocate(extra * ROW * sizeof(float));
    float* free_row = reinterpret_cast<float*>(others.get());
    for (size_t i = 0; i < items.size(); i++) {
        rows[i] = is_first(i) ? gradient + items[i].network * int64_t{ROW} : free_row;
        if (!is_first(i)) free_row += ROW;
    }
    for_items(path, threads, items, [&](int32_t i, void* workspace) {
        path.backward(networks.parameters + items[i].network * int64_t{ROW}, samples, items[i], workspace, gradients,
                      rows[i]);
    });
    run_threads(threads, [&](int thread) {  // every row belongs to one thread
        for (size_t i = 0; i < items.size(); i++)
            if (!is_first(i) && items[i].network % threads == thread)
                path.add(rows[i], gradient + items[i].network * int64_t{ROW});
        for (int64_t n = thread; n < networks.count; n += threads)
            if (networks.starts[n] == networks.starts[n + 1]) std::memset(gradient + n * ROW, 0, ROW * sizeof(float));
    });
}

void adam(const Path& path, int threads, const AdamSettings& settings, const int32_t* chosen, int64_t count,
          const float* gradient, float* parameters, float* first, float* second, int64_t* steps) {
    std::atomic<int64_t> next{0};
    constexpr int64_t AT_ONCE = 8;
    run_threads(threads, [&](int) {
        for (int64_t begin; (begin = next.fetch_add(AT_ONCE, std::memory_order_relaxed)) < count;)
            for (int64_t i = begin; i < std::min(count, begin + AT_ONCE); i++) {
                const int64_t row = chosen ? chosen[i] : i;
                const double t = static_cast<double>(++steps[row]);
                AdamStep step{};
                step.beta1 = static_cast<float>(settings.beta1);
                step.beta2 = static_cast<float>(settings.beta2);
                step.one_minus_beta1 = static_cast<float>(1.0 - settings.beta1);
                step.one_minus_beta2 = static_cast<float>(1.0 - settings.beta2);
                step.epsilon = static_cast<float>(settings.epsilon);
                step.rate = static_cast<float>(settings.learning_rate / (1.0 - std::pow(settings.beta1, t)));
                step.second_scale = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(settings.beta2, t)));
                step.decay = settings.decay;
                path.adam(step, gradient ? gradient + row * ROW : nullptr, parameters + row * ROW, first + row * ROW,
                          second + row * ROW);
            }
    });
}

}  // namespace knf::train
