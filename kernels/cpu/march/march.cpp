// One screen tile: the cells front to back; in each, the samples of its rays, its one network, compositing.
//
// Compiled once per instruction set and WITHOUT fused multiply-add: which samples count is decided by the very
// operations of kernels/sampling.py, so every backend takes the same ones.
#include "cpu/march/compositing.h"
#include "cpu/march/evaluator.h"
#include "cpu/march/picture.h"
#include "cpu/simd/vectors.h"

#define KNF_SHARED static inline __attribute__((always_inline))
#include "sampling_rule.h"
#include "sky.h"

namespace knf::KNF_PATH {

namespace {

void start_rays(const FrameSetup& frame, const Rectangle& tile, uint64_t blocks, Workspace& work) {
    for_blocks(tile, blocks, [&](const Rectangle& pixels, int first) {
        for (int y = pixels.y0; y < pixels.y1; y++, first += TILE) {
            const floats b = splat(-pixel_slope(static_cast<float>(y), frame.cy, frame.fy));
            for (int x = pixels.x0, at = first; x < pixels.x1; x += W, at += W) {
                const floats a = pixel_slope(static_cast<float>(x) + lane_numbers(), frame.cx, frame.fx);
                floats squares = {};
                for (int axis = 0; axis < 3; axis++) {
                    const floats d = ray_component(frame.rotation + 3 * axis, a, b);
                    store(work.direction[axis] + at, d);
                    const floats size = d < 0.0f ? -d : d;
                    const floats tiny = d < 0.0f ? splat(-1e-12f) : splat(1e-12f);
                    store(work.inverse[axis] + at, 1.0f / (size < 1e-12f ? tiny : d));
                    squares = squares + d * d;
                }
                for (int i = 0; i < W; i++) work.length[at + i] = __builtin_sqrtf(squares[i]);
                store(work.transmittance + at, splat(1.0f));
                store(work.depth + at, floats{});
                for (int i = 0; i < 4; i++) store(work.color[at] + i * W, floats{});
            }
        }
    });
    __builtin_memset(work.alive, 0xff, sizeof(work.alive));
    __builtin_memset(work.hit, 0, sizeof(work.hit));
}

// The least power of two that no factor of the grid exceeds.
uint32_t range_of(const Grid& grid) {
    uint32_t range = 1;
    for (const int factor : grid.factor)
        while (range < static_cast<uint32_t>(factor)) range *= 2;
    return range;
}

// Whether occupied_samples can leave out what few cells need.
bool is_plain(const Grid& grid, const FrameSetup& frame, const Cell& cell) {
    const int range = static_cast<int>(range_of(grid));
    return frame.ess && !cell.near_border && grid.factor[0] == range && grid.factor[1] == range &&
           grid.factor[2] == range;
}

// Bits of the samples first + j, j = 0..31, that count for each lane's ray. PLAIN: see above.
//
// Whether a voxel's indices are within the cell is one test for all three axes: of the bits from a power of two up.
// Where a factor is less than that, the index is looked at a second time, moved up by the difference.
template <bool PLAIN>
KNF_INLINE words occupied_samples(const Grid& grid, const uint32_t* occupancy, const FrameSetup& frame,
                                  const Cell& cell, const floats (&direction)[3], floats first, floats last) {
    const uint32_t* bits = occupancy + cell.first_word;
    const uint32_t range = range_of(grid);
    words mask = {};
    floats index = first;
    unsigned j = 0;
    for (; j < 32; j++) {
        ints counts = index <= last;
        if (!lane_bits(counts)) break;
        const floats t = sample_depth(index, frame.near, frame.step);
        words voxel = {}, all = {};
        for (int axis = 0; axis < 3; axis++) {
            const floats p = sample_position(frame.origin[axis], t, direction[axis]);
            if (!PLAIN && cell.near_border) counts &= (p > grid.inside_min[axis]) & (p < grid.inside_max[axis]);
            const floats voxels = voxel_coordinate(p, grid.box_min[axis], grid.inverse_voxel[axis]);
            const words local = reinterpret_cast<words>(truncate(voxels) - cell.first_voxel[axis]);
            all |= local;  // a negative one is large
            if (!PLAIN) all |= local + (range - static_cast<uint32_t>(grid.factor[axis]));
            voxel |= local << grid.voxel_shift[axis];
        }
        counts &= (all & ~(range - 1)) == 0;
        words bit = reinterpret_cast<words>(counts);  // to count with, the sign
        if (PLAIN || frame.ess) bit = gather(bits, reinterpret_cast<ints>(voxel >> 5), counts) << (~voxel & 31u);
        mask = mask >> 1 | (bit & 0x80000000u);
        index = first + static_cast<float>(j + 1);
    }
    return j ? mask >> (32u - j) : mask;
}

// The positions that occupied_samples looks at are those that count where empty space is not skipped. ray: of `count`
// lanes.
void count_lookups(const Grid& grid, const uint32_t* occupancy, const FrameSetup& frame, const Cell& cell,
                   const floats (&direction)[3], floats first, floats last, const int* ray, int count,
                   Workspace& work) {
    FrameSetup without = frame;
    without.ess = false;
    const words inside = occupied_samples<false>(grid, occupancy, without, cell, direction, first, last);
    for (int i = 0; i < W && i < count; i++) work.counted[2][ray[i]] += __builtin_popcount(inside[i]);
}

// Every queued ray takes a sample.
void count_samples(const Cell& cell, int count, Workspace& work) {
    for (int i = 0; i < count; i++) {
        const int ray = work.ray[i];
        if (!work.counted[0][ray]++) work.counted[1][ray] = cell.network;
    }
}

// Queue all living rays of the rectangle that meet the cell's box, with the first and the last (in work.t) sample index
// of the `chunk`-th 32 of each. Returns their number; `more` is set if a ray has indices beyond this chunk.
int queue_rays(const Grid& grid, const FrameSetup& frame, const Cell& cell, const Rectangle& tile,
               const Rectangle& area, int chunk, Workspace& work, bool& more) {
    float low[3], high[3];
    for (int axis = 0; axis < 3; axis++) {
        const float slack = box_slack(frame.origin[axis], grid.box_min[axis], grid.box_max[axis]);
        low[axis] = (cell.clip_min[axis] - slack) - frame.origin[axis];
        high[axis] = (cell.clip_max[axis] + slack) - frame.origin[axis];
    }
    const float inverse_step = 1.0f / frame.step;
    const float offset = frame.near * inverse_step;
    ints beyond = {};
    int found = 0;
    const uint64_t columns = bit_range(area.x0 - tile.x0, area.x1 - tile.x0);
    for (int row = area.y0 - tile.y0; row < area.y1 - tile.y0; row++) {
        const uint64_t rays = work.alive[row] & columns;
        if (!rays) continue;
        for (int x = __builtin_ctzll(rays) / W * W; x < TILE; x += W) {
            const unsigned among = static_cast<unsigned>(rays >> x) & LANES;
            if (!among) continue;
            const int at = row * TILE + x;
            floats enter = splat(-1e30f), leave = splat(1e30f);
            for (int axis = 0; axis < 3; axis++) {
                const floats inverse = load(work.inverse[axis] + at);
                const floats t0 = low[axis] * inverse, t1 = high[axis] * inverse;
                enter = max(enter, min(t0, t1));
                leave = min(leave, max(t0, t1));
            }
            enter = min(max(enter * inverse_step - offset, splat(0.0f)), splat(2e7f));
            leave = min(max(leave * inverse_step - offset, splat(-1.0f)), splat(2e7f));
            const floats first =
                max(ceil(enter - index_slack(enter + offset)), splat(0.0f)) + static_cast<float>(32 * chunk);
            const floats last = min(floor(leave + index_slack(leave + offset)), splat(frame.last));
            const unsigned meeting = lane_bits(first <= last) & among;
            if (!meeting) continue;
            beyond |= lane_mask(meeting) & (first + 32.0f <= last);
            const Compaction front(meeting);
            store(work.ray + found, front(lane_indices() + at));
            store(work.first + found, front(first));
            store(work.t + found, front(last));
            store(work.queue_length + found, front(load(work.length + at)));
            for (int axis = 0; axis < 3; axis++)
                store(work.queue_direction[axis] + found, front(load(work.direction[axis] + at)));
            store(work.queue_transmittance + found, front(load(work.transmittance + at)));
            found += __builtin_popcount(meeting);
        }
    }
    more = lane_bits(beyond) != 0;
    return found;
}

// Find the samples of the queued rays in occupied voxels, and keep the rays that have any; returns their number.
// COUNTED: see count_lookups.
template <bool COUNTED>
int find_samples(const Grid& grid, const uint32_t* occupancy, const FrameSetup& frame, const Cell& cell, int count,
                 Workspace& work) {
    const bool plain = is_plain(grid, frame, cell);
    store(work.t + count, splat(-1.0f));  // lanes without a ray
    store(work.first + count, floats{});
    int kept = 0;
    for (int i = 0; i < count; i += W) {
        const floats first = load(work.first + i), last = load(work.t + i);
        floats direction[3];
        for (int axis = 0; axis < 3; axis++) direction[axis] = load(work.queue_direction[axis] + i);
        const words mask = plain ? occupied_samples<true>(grid, occupancy, frame, cell, direction, first, last)
                                 : occupied_samples<false>(grid, occupancy, frame, cell, direction, first, last);
        if (COUNTED) count_lookups(grid, occupancy, frame, cell, direction, first, last, work.ray + i, count - i, work);
        const unsigned lanes = lane_bits(mask != 0);
        const Compaction front(lanes);
        store(work.ray + kept, front(load(work.ray + i)));
        store(work.first + kept, front(first));
        store(work.mask + kept, front(mask));
        store(work.queue_length + kept, front(load(work.queue_length + i)));
        for (int axis = 0; axis < 3; axis++) store(work.queue_direction[axis] + kept, front(direction[axis]));
        store(work.queue_transmittance + kept, front(load(work.queue_transmittance + i)));
        for (auto& sums : work.sums) store(sums + kept, floats{});
        kept += __builtin_popcount(lanes);
    }
    return kept;
}

// The next sample of every queued ray.
void take_samples(const Grid& grid, const FrameSetup& frame, const Cell& cell, int count, Workspace& work) {
    for (int i = 0; i < count; i += W) {
        const words mask = load(work.mask + i), lowest = mask & (0u - mask);
        store(work.mask + i, mask ^ lowest);
        // The number of its one bit is the exponent of that power of two as a float.
        const floats power = to_floats(reinterpret_cast<ints>(lowest));
        const ints bit = ((reinterpret_cast<ints>(power) >> 23) & 255) - 127;
        const floats t = sample_depth(load(work.first + i) + to_floats(bit), frame.near, frame.step);
        store(work.t + i, t);
        const floats length = load(work.queue_length + i);
        for (int axis = 0; axis < 3; axis++) {
            const floats d = load(work.queue_direction[axis] + i);
            const floats p = sample_position(frame.origin[axis], t, d);
            store(work.local[axis] + i, IN_VOXELS ? voxel_coordinate(p, grid.box_min[axis], grid.inverse_voxel[axis])
                                                  : local_coordinate(p, cell.minimum[axis], grid.local_scale[axis]));
            if (!FITTED && !IN_VOXELS) store(work.unit[axis] + i, d / length);
        }
    }
}

// What is behind each ray of the tile, into work.rgb, which no queue needs any more. Rays that ended do not reach the
// sky: where all of a vector did, it costs nothing.
void find_sky(const SceneData& scene, const FrameSetup& frame, const Rectangle& tile, Workspace& work) {
    for (int y = tile.y0; y < tile.y1; y++) {
        for (int x = tile.x0; x < tile.x1; x += W) {
            const int at = (y - tile.y0) * TILE + (x - tile.x0);
            ints reaches = splat(-1);
            if (frame.ert) reaches = load(work.transmittance + at) >= frame.ert_threshold;
            floats color[3] = {};
            if (lane_bits(reaches)) {
                floats direction[3];
                for (int axis = 0; axis < 3; axis++) direction[axis] = load(work.direction[axis] + at);
                sky_color(scene.sky, direction, load(work.length + at), color);
            }
            for (int channel = 0; channel < 3; channel++) {
                const floats clipped = min(max(color[channel], splat(0.0f)), splat(1.0f));
                store(work.rgb[channel] + at, reaches != 0 ? clipped : splat(frame.background[channel]));
            }
        }
    }
}

// Times of a tile's stages, in ticks of a clock that costs little to read: a batch takes only some microseconds.
class StageClock {
  public:
    int64_t rays = 0, march = 0, networks = 0, composite = 0;
    // Adds the time since the last call to a stage.
    void lap(int64_t& stage) {
        const int64_t now = ticks();
        stage += now - last_;
        last_ = now;
    }
    void stop(Counters& counters) const {
        const int64_t passed = last_ - first_;
        const double scale = passed > 0 ? (now_ms() - began_) / static_cast<double>(passed) : 0.0;
        counters.rays_ms += scale * static_cast<double>(rays);
        counters.march_ms += scale * static_cast<double>(march);
        counters.networks_ms += scale * static_cast<double>(networks);
        counters.composite_ms += scale * static_cast<double>(composite);
    }

  private:
    static int64_t ticks() {
#if defined(__SSE2__)
        return static_cast<int64_t>(__builtin_ia32_rdtsc());
#else
        return static_cast<int64_t>(1e6 * now_ms());
#endif
    }
    double began_ = now_ms();
    int64_t first_ = ticks(), last_ = first_;
};

// Into how many parts a visit's pixels must be cut along one axis for directions to be fitted (direction_fit.h).
int parts(int pixels, float focal) {
    constexpr float LARGEST_SLOPE = 0.06f;
    if (!FITTED) return 1;
    const float number = static_cast<float>(pixels) / (LARGEST_SLOPE * focal) + 1.0f;
    return number < static_cast<float>(pixels) ? static_cast<int>(number) : pixels;
}

// `frame` for the cells of a level: it takes every stride-th sample, which are the very same in float32.
FrameSetup frame_of_level(const FrameSetup& frame, const Level& level) {
    FrameSetup own = frame;
    own.step = frame.step * level.stride;
    own.last = static_cast<float>(static_cast<int>(frame.last) / static_cast<int>(level.stride));
    return own;
}

// The samples of one cell that lie behind `area`: find them; round by round evaluate one of each ray and composite.
// One at a time: with early termination, none is evaluated that the picture does not need.
template <bool COUNTED>
void render_visit(const SceneData& scene, int level, const FrameSetup& frame, const Cell& cell, const Rectangle& tile,
                  const Rectangle& area, Workspace& work, Counters& counters, StageClock& clock) {
    const Grid& grid = scene.levels[level].grid;
    const int finer = scene.finer_rows ? scene.finer_rows[cell.network] : -1;
    const void* network = finer < 0 ? scene.networks + cell.network * scene.network_size
                                    : scene.finer_networks + finer * scene.finer_path->network_size;
    const size_t size = finer < 0 ? scene.network_size : scene.finer_path->network_size;
    const float threshold = frame.ert ? frame.ert_threshold : -1.0f;
    bool more = true, begun = false;
    work.cell = &cell;
    work.grid = &grid;
    for (int chunk = 0; more; chunk++) {
        int count = queue_rays(grid, frame, cell, tile, area, chunk, work, more);
        if (!count) continue;
        if (!chunk)  // the network comes from memory while samples are looked for
            for (size_t at = 0; at < size; at += 64) __builtin_prefetch(static_cast<const char*>(network) + at);
        count = find_samples<COUNTED>(grid, scene.occupancy, frame, cell, count, work);
        while (count) {
            take_samples(grid, frame, cell, count, work);
            if (COUNTED) count_samples(cell, count, work);
            clock.lap(clock.march);
            if (!begun) (finer < 0 ? begin_visit : scene.finer_path->begin_visit)(network, frame, tile, area, work);
            begun = true;
            (finer < 0 ? evaluate : scene.finer_path->evaluate)(network, work, count);
            clock.lap(clock.networks);
            counters.samples += count;
            counters.samples_of_level[level] += count;
            const int leaving = composite(frame, threshold, count, work);
            finish_rays(threshold, leaving, work);
            count = compact_queue(threshold, leaving, count, work);
            clock.lap(clock.composite);
        }
    }
}

}  // namespace

void render_tile(const SceneData& scene, const FrameSetup& frame, const Rectangle& tile, const Visit* visits,
                 int num_visits, Workspace& work, const Picture& picture, Counters& counters) {
    StageClock clock;
    const bool sky = frame.sky && scene.sky;
    if (!num_visits && !sky) {
        for (int y = tile.y0; y < tile.y1; y++)
            write_background(frame, static_cast<int64_t>(y) * frame.width + tile.x0, tile.x1 - tile.x0, picture);
        if (picture.samples) write_counts(frame, tile, nullptr, picture);
        clock.lap(clock.rays);
        return clock.stop(counters);
    }
    uint64_t blocks = sky ? ~uint64_t{0} : 0;
    for (int i = 0; i < num_visits && ~blocks; i++) {
        const Rectangle seen = part_in_tile(visits[i].rectangle, tile);
        blocks |= blocks_of({seen.x0 - tile.x0, seen.y0 - tile.y0, seen.x1 - tile.x0, seen.y1 - tile.y0});
    }
    start_rays(frame, tile, blocks, work);
    if (IN_VOXELS) __builtin_memset(work.ray_known, 0, sizeof(work.ray_known));
    if (picture.samples) {
        __builtin_memset(work.counted, 0, sizeof(work.counted));
        __builtin_memset(work.counted[1], 0xff, sizeof(work.counted[1]));  // -1
    }
    const auto visit_cell = picture.samples ? render_visit<true> : render_visit<false>;
    clock.lap(clock.rays);
    const Cell* cells = frame.ess ? scene.cells : scene.full_cells;
    FrameSetup frames[MAX_LEVELS];
    for (int level = 0; level < scene.num_levels; level++) frames[level] = frame_of_level(frame, scene.levels[level]);
    for (const Visit* visit = visits; visit != visits + num_visits; visit++) {
        const Rectangle seen = part_in_tile(visit->rectangle, tile);
        const int columns = parts(seen.x1 - seen.x0, frame.fx), rows = parts(seen.y1 - seen.y0, frame.fy);
        for (int part = 0; part < columns * rows; part++) {
            const int column = part % columns, row = part / columns;
            visit_cell(scene, visit->level, frames[visit->level], cells[visit->cell], tile,
                       {seen.x0 + (seen.x1 - seen.x0) * column / columns, seen.y0 + (seen.y1 - seen.y0) * row / rows,
                        seen.x0 + (seen.x1 - seen.x0) * (column + 1) / columns,
                        seen.y0 + (seen.y1 - seen.y0) * (row + 1) / rows},
                       work, counters, clock);
        }
    }
    clock.lap(clock.march);
    if (sky) find_sky(scene, frame, tile, work);
    write_picture(frame, tile, blocks, sky, work, picture, counters);
    if (picture.samples) write_counts(frame, tile, &work, picture);
    clock.lap(clock.rays);
    clock.stop(counters);
}

}  // namespace knf::KNF_PATH
