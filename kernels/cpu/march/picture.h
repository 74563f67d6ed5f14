// The pixels of one screen tile: which of its blocks show anything, and how its rays and the background become a
// picture. Part of march.cpp.
#pragma once

#include "cpu/march/scene.h"
#include "cpu/simd/vectors.h"

namespace knf::KNF_PATH {

KNF_INLINE int minimum(int a, int b) { return a < b ? a : b; }
KNF_INLINE int maximum(int a, int b) { return a > b ? a : b; }

KNF_INLINE Rectangle part_in_tile(const Rectangle& r, const Rectangle& tile) {
    return {maximum(r.x0, tile.x0), maximum(r.y0, tile.y0), minimum(r.x1, tile.x1), minimum(r.y1, tile.y1)};
}

// Parts of a tile, of which most tiles need only some: a bit each, row by row.
constexpr int BLOCK_WIDTH = MAX_LANES, BLOCK_HEIGHT = 4;
constexpr int BLOCK_COLUMNS = TILE / BLOCK_WIDTH, BLOCK_ROWS = TILE / BLOCK_HEIGHT;
static_assert(BLOCK_COLUMNS * BLOCK_ROWS == 64 && TILE == 64);

// Bits number `first` to `end` - 1.
KNF_INLINE uint64_t bit_range(int first, int end) {
    return end - first >= 64 ? ~uint64_t{0} : ((uint64_t{1} << (end - first)) - 1) << first;
}

// The blocks that a rectangle of pixels, counted from the tile's corner, touches.
KNF_INLINE uint64_t blocks_of(const Rectangle& pixels) {
    const uint64_t row = bit_range(pixels.x0 / BLOCK_WIDTH, (pixels.x1 - 1) / BLOCK_WIDTH + 1);
    uint64_t blocks = 0;
    for (int y = pixels.y0 / BLOCK_HEIGHT; y <= (pixels.y1 - 1) / BLOCK_HEIGHT; y++) blocks |= row << y * BLOCK_COLUMNS;
    return blocks;
}

// Calls action(pixels, ray): for each of the tile's blocks its pixels, and the first one's index within the tile.
template <class Action>
KNF_INLINE void for_blocks(const Rectangle& tile, uint64_t blocks, const Action& action) {
    for (; blocks; blocks &= blocks - 1) {
        const int block = __builtin_ctzll(blocks);
        const int x = block % BLOCK_COLUMNS * BLOCK_WIDTH, y = block / BLOCK_COLUMNS * BLOCK_HEIGHT;
        const Rectangle pixels = {tile.x0 + x, tile.y0 + y, minimum(tile.x0 + x + BLOCK_WIDTH, tile.x1),
                                  minimum(tile.y0 + y + BLOCK_HEIGHT, tile.y1)};
        if (pixels.x0 < pixels.x1 && pixels.y0 < pixels.y1) action(pixels, y * TILE + x);
    }
}

static inline void write_counts(const FrameSetup& frame, const Rectangle& tile, const Workspace* work,
                                const Picture& picture) {
    int32_t* const outputs[] = {picture.samples, picture.network, picture.lookups};
    for (int number = 0; number < 3; number++)
        for (int y = tile.y0; y < tile.y1; y++)
            for (int x = tile.x0; x < tile.x1; x++)
                outputs[number][static_cast<int64_t>(y) * frame.width + x] =
                    work          ? work->counted[number][(y - tile.y0) * TILE + (x - tile.x0)]
                    : number == 1 ? -1
                                  : 0;
}

// Pixels of a row that show nothing.
static inline void write_background(const FrameSetup& frame, int64_t pixel, int count, const Picture& picture) {
    float *const rgb = picture.rgb + 3 * pixel, *const alpha = picture.alpha + pixel,
                 *const depth = picture.depth + pixel;
    float pattern[3 * W];
    for (int i = 0; i < 3 * W; i++) pattern[i] = frame.background[i % 3];
    const floats colors[3] = {load(pattern), load(pattern + W), load(pattern + 2 * W)};
    const floats far = splat(__builtin_inff());
    int at = 0;
    for (; at + W <= count; at += W) {
        for (int i = 0; i < 3; i++) store(rgb + 3 * at + i * W, colors[i]);
        store(alpha + at, floats{});
        store(depth + at, far);
    }
    for (; at < count; at++) {
        for (int channel = 0; channel < 3; channel++) rgb[3 * at + channel] = pattern[channel];
        alpha[at] = 0.0f;
        depth[at] = far[0];
    }
}

// Pixels of a row before the background, or the sky if work.rgb holds what is behind each ray.
static inline void write_rays(const FrameSetup& frame, int ray, int64_t pixel, int count, bool sky,
                              const Workspace& work, const Picture& picture) {
    using four = float __attribute__((vector_size(16), aligned(4), may_alias));
    float *const alpha = picture.alpha + pixel, *const depth = picture.depth + pixel;
    float* rgb = picture.rgb + 3 * pixel;
    four behind = {frame.background[0], frame.background[1], frame.background[2], 0.0f};
    for (int i = 0; i < count; i++, rgb += 3) {
        const four color = *reinterpret_cast<const four*>(work.color[ray + i]);
        if (sky)
            for (int channel = 0; channel < 3; channel++) behind[channel] = work.rgb[channel][ray + i];
        const four shown = color + (1.0f - color[3]) * behind;
        if (i + 1 < count)
            *reinterpret_cast<four*>(rgb) = shown;  // its fourth number is written over by the next pixel
        else
            for (int channel = 0; channel < 3; channel++) rgb[channel] = shown[channel];
        alpha[i] = color[3];
    }
    const float* const sums = work.depth + ray;
    const floats far = splat(__builtin_inff());
    int at = 0;
    for (; at + W <= count; at += W)
        store(depth + at, load(alpha + at) > 0.0f ? load(sums + at) / load(alpha + at) : far);
    for (; at < count; at++) depth[at] = alpha[at] > 0.0f ? sums[at] / alpha[at] : far[0];
}

static inline void write_picture(const FrameSetup& frame, const Rectangle& tile, uint64_t blocks, bool sky,
                                 const Workspace& work, const Picture& picture, Counters& counters) {
    const auto write = [&](bool touched) {
        return [&, touched](const Rectangle& pixels, int ray) {
            for (int y = pixels.y0; y < pixels.y1; y++, ray += TILE) {
                const int64_t pixel = static_cast<int64_t>(y) * frame.width + pixels.x0;
                const uint64_t hit = touched ? work.hit[ray / TILE] >> ray % TILE & bit_range(0, BLOCK_WIDTH) : 0;
                if (hit || sky)
                    write_rays(frame, ray, pixel, pixels.x1 - pixels.x0, sky, work, picture);
                else
                    write_background(frame, pixel, pixels.x1 - pixels.x0, picture);
            }
        };
    };
    for_blocks(tile, blocks, write(true));
    for_blocks(tile, ~blocks, write(false));
    if (blocks)
        for (const uint64_t hit : work.hit) counters.rays_hit += __builtin_popcountll(hit);
}

}  // namespace knf::KNF_PATH
