// What happens to the queue's rays after a round: their samples are composited, and those that need no more leave.
// Three short loops: in one, wrong guesses about which rays leave would wait for the exponentials. Part of march.cpp.
#pragma once

#include "cpu/march/scene.h"
#include "cpu/simd/vectors.h"

namespace knf::KNF_PATH {

// Composite the queue's samples (KiloNeRF Eq. 1). Rays that have ended or have no samples left are about to leave:
// their places in the queue go to work.leaving. Returns their number.
static int composite(const FrameSetup& frame, float threshold, int count, Workspace& work) {
    int leaving = 0;
    for (int i = 0; i < count; i += W) {
        const floats distance = load(work.queue_length + i) * frame.step;
        const floats alpha = 1.0f - exp(-(load(work.density + i) * distance));
        const floats before = load(work.queue_transmittance + i), weight = before * alpha;
        const floats after = before * (1.0f - alpha);
        store(work.queue_transmittance + i, after);
        const floats values[] = {load(work.rgb[0] + i), load(work.rgb[1] + i), load(work.rgb[2] + i), splat(1.0f),
                                 load(work.t + i)};
        for (int sum = 0; sum < SUMS; sum++) store(work.sums[sum] + i, load(work.sums[sum] + i) + weight * values[sum]);
        const unsigned valid = count - i < W ? (1u << (count - i)) - 1u : LANES;
        const unsigned lanes = ~lane_bits((load(work.mask + i) != 0) & (after >= threshold)) & valid;
        store(work.leaving + leaving, Compaction(lanes)(lane_indices() + i));  // a branch would often be guessed wrong
        leaving += __builtin_popcount(lanes);
    }
    return leaving;
}

// The sums of rays that leave the queue go to the picture's. A ray has ended if it transmits less than `threshold`.
static void finish_rays(float threshold, int leaving, Workspace& work) {
    using four = float __attribute__((vector_size(16), may_alias));
    for (int i = 0; i < leaving; i++) {
        const int at = work.leaving[i], ray = work.ray[at];
        *reinterpret_cast<four*>(work.color[ray]) +=
            four{work.sums[0][at], work.sums[1][at], work.sums[2][at], work.sums[3][at]};
        work.depth[ray] += work.sums[4][at];
        const float transmittance = work.queue_transmittance[at];
        work.transmittance[ray] = transmittance;
        work.hit[ray / TILE] |= uint64_t{1} << ray % TILE;
        work.alive[ray / TILE] &= ~(static_cast<uint64_t>(transmittance < threshold) << ray % TILE);
    }
}

// Keep the rays that do not leave, if any do; returns their number.
static int compact_queue(float threshold, int leaving, int count, Workspace& work) {
    if (!leaving || leaving == count) return count - leaving;
    int kept = work.leaving[0] / W * W;
    for (int i = kept; i < count; i += W) {
        const unsigned valid = count - i < W ? (1u << (count - i)) - 1u : LANES;
        const words mask = load(work.mask + i);
        const floats transmittance = load(work.queue_transmittance + i);
        const unsigned lanes = lane_bits((mask != 0) & (transmittance >= threshold)) & valid;
        const Compaction front(lanes);
        store(work.ray + kept, front(load(work.ray + i)));
        store(work.mask + kept, front(mask));
        store(work.first + kept, front(load(work.first + i)));
        store(work.queue_length + kept, front(load(work.queue_length + i)));
        store(work.queue_transmittance + kept, front(transmittance));
        for (auto& d : work.queue_direction) store(d + kept, front(load(d + i)));
        for (auto& sum : work.sums) store(sum + kept, front(load(sum + i)));
        kept += __builtin_popcount(lanes);
    }
    return kept;
}

}  // namespace knf::KNF_PATH
