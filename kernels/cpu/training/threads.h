#pragma once

#include <thread>
#include <vector>

namespace knf::train {

// Call work(number) once in every thread; the caller's is number 0.
template <class Work>
void run_threads(int threads, const Work& work) {
    std::vector<std::thread> helpers;
    for (int i = 1; i < threads; i++) helpers.emplace_back(work, i);
    work(0);
    for (std::thread& helper : helpers) helper.join();
}

// Call work(begin, end) for parts of 0 .. count, one part for each thread.
template <class Work>
void share_out(int threads, int64_t count, const Work& work) {
    run_threads(threads, [&](int thread) { work(count * thread / threads, count * (thread + 1) / threads); });
}

}  // namespace knf::train
