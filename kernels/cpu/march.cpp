// One screen tile: the cells front to back; in each, the samples of its rays, its one network, compositing.
//
// Compiled once per instruction set and WITHOUT fused multiply-add: which samples count is decided by the very
// operations of kernels/sampling.py, so every backend takes the same ones.
#include "evaluator.h"
#include "vectors.h"

#define KNF_SHARED static inline __attribute__((always_inline))
#include "sampling_rule.h"

namespace knf::KNF_PATH {

namespace {

KNF_INLINE int minimum(int a, int b) { return a < b ? a : b; }
KNF_INLINE int maximum(int a, int b) { return a > b ? a : b; }

void start_rays(const FrameSetup& frame, const Rectangle& tile, Workspace& work) {
    for (int y = tile.y0; y < tile.y1; y++) {
        const floats b = splat(-pixel_slope(static_cast<float>(y), frame.cy, frame.fy));
        for (int x = tile.x0; x < tile.x1; x += W) {
            const int at = (y - tile.y0) * TILE + (x - tile.x0);
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
            store(work.samples + at, ints{});
            __builtin_memset(work.colour[at], 0, sizeof(work.colour[0]) * W);
        }
    }
}

// Bits of the samples first + j, j = 0..31, that count for each lane's ray.
KNF_INLINE words occupied_samples(const SceneData& scene, const FrameSetup& frame, const Cell& cell,
                                  const floats (&direction)[3], floats first, floats last) {
    words mask = {};
    const uint32_t* bits = scene.occupancy + cell.first_word;
    for (int j = 0; j < 32; j++) {
        const floats index = first + static_cast<float>(j);
        ints counts = index <= last;
        if (!lane_bits(counts)) break;
        const floats t = sample_depth(index, frame.near, frame.step);
        ints voxel = {};
        for (int axis = 0; axis < 3; axis++) {
            const floats p = sample_position(frame.origin[axis], t, direction[axis]);
            if (cell.near_border) counts &= (p > scene.inside_min[axis]) & (p < scene.inside_max[axis]);
            const floats voxels = voxel_coordinate(p, scene.box_min[axis], scene.inverse_voxel[axis]);
            const ints local = truncate(voxels) - cell.first_voxel[axis];
            counts &= (local >= 0) & (local < scene.factor[axis]);
            voxel = voxel * scene.factor[axis] + local;
        }
        if (frame.ess) {
            voxel &= counts;  // lanes that do not count look up voxel 0
            const words word = gather(bits, voxel >> 5);
            const words bit = (word >> (reinterpret_cast<words>(voxel) & 31u)) & 1u;
            mask |= (bit & reinterpret_cast<words>(counts)) << static_cast<unsigned>(j);
        } else {
            mask |= (reinterpret_cast<words>(counts) & 1u) << static_cast<unsigned>(j);
        }
    }
    return mask;
}

// Find the samples of all living rays of the rectangle in this cell: the `chunk`-th 32 sample indices of each.
// Returns the number of segments; `more` is set if a ray has indices beyond this chunk.
int find_segments(const SceneData& scene, const FrameSetup& frame, const Cell& cell, const Rectangle& tile,
                  const Rectangle& area, int chunk, Workspace& work, bool& more) {
    float low[3], high[3];
    for (int axis = 0; axis < 3; axis++) {
        const float slack = box_slack(frame.origin[axis], scene.box_min[axis], scene.box_max[axis]);
        low[axis] = ((frame.ess ? cell.tight_min : cell.full_min)[axis] - slack) - frame.origin[axis];
        high[axis] = ((frame.ess ? cell.tight_max : cell.full_max)[axis] + slack) - frame.origin[axis];
    }
    const float inverse_step = 1.0f / frame.step;
    const float offset = frame.near * inverse_step;
    more = false;
    int found = 0;
    for (int y = area.y0; y < area.y1; y++) {
        for (int x = tile.x0 + (area.x0 - tile.x0) / W * W; x < area.x1; x += W) {
            const int at = (y - tile.y0) * TILE + (x - tile.x0);
            const floats column = static_cast<float>(x) + lane_numbers();
            ints alive = (column >= static_cast<float>(area.x0)) & (column < static_cast<float>(area.x1));
            if (frame.ert) alive &= load(work.transmittance + at) >= frame.ert_threshold;
            if (!lane_bits(alive)) continue;
            floats enter = splat(-1e30f), leave = splat(1e30f), direction[3];
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
            alive &= first <= last;
            if (!lane_bits(alive)) continue;
            for (int axis = 0; axis < 3; axis++) direction[axis] = load(work.direction[axis] + at);
            const floats end = reinterpret_cast<ints>(alive) != 0 ? last : splat(-1.0f);
            more |= lane_bits(alive & (first + 32.0f <= last)) != 0;
            const words mask = occupied_samples(scene, frame, cell, direction, first, end);
            unsigned lanes = lane_bits(mask != 0);
            uint32_t masks[W];
            float firsts[W];
            store(masks, mask);
            store(firsts, first);
            while (lanes) {
                const int i = __builtin_ctz(lanes);
                lanes &= lanes - 1;
                work.segments[found++] = {at + i, firsts[i], masks[i]};
            }
        }
    }
    return found;
}

// Queue the next samples of every segment, at most `per_ray` each; returns their number.
int queue_samples(const SceneData& scene, const FrameSetup& frame, const Cell& cell, int segments, int per_ray,
                  Workspace& work) {
    int count = 0;
    for (int s = 0; s < segments; s++) {
        Segment& segment = work.segments[s];
        for (int i = 0; i < per_ray && segment.mask; i++) {
            work.ray[count] = segment.ray;
            work.t[count] = segment.first + static_cast<float>(__builtin_ctz(segment.mask));
            segment.mask &= segment.mask - 1;
            count++;
        }
    }
    for (int i = count; i < count + 3 * W; i++) {  // padding: any valid ray
        work.ray[i] = 0;
        work.t[i] = 0.0f;
    }
    for (int i = 0; i < count; i += W) {
        const ints ray = load(work.ray + i);
        const floats t = sample_depth(load(work.t + i), frame.near, frame.step);
        store(work.t + i, t);
        const floats length = FITTED ? floats{} : gather(work.length, ray);
        for (int axis = 0; axis < 3; axis++) {
            const floats d = gather(work.direction[axis], ray);
            const floats p = sample_position(frame.origin[axis], t, d);
            store(work.local[axis] + i, local_coordinate(p, cell.minimum[axis], scene.local_scale[axis]));
            if (!FITTED) store(work.unit[axis] + i, d / length);
        }
    }
    for (int axis = 0; axis < 3; axis++) {  // the networks read whole blocks of vectors
        for (int i = (count + W - 1) / W * W; i < count + 3 * W; i++) {
            work.local[axis][i] = 0.0f;
            if (!FITTED) work.unit[axis][i] = 0.0f;
        }
    }
    return count;
}

// Composite the queue into the rays (KiloNeRF Eq. 1); samples behind a ray's end are dropped.
void composite(const FrameSetup& frame, int count, Workspace& work, Counters& counters) {
    const float threshold = frame.ert ? frame.ert_threshold : -1.0f;
    for (int i = 0; i < count; i += W) {
        const floats distance = gather(work.length, load(work.ray + i)) * frame.step;
        store(work.density + i, 1.0f - exp(-(load(work.density + i) * distance)));
    }
    for (int i = 0; i < count; i++) {
        const int ray = work.ray[i];
        const float before = work.transmittance[ray];
        if (before < threshold) continue;
        const float alpha = work.density[i], weight = before * alpha;
        float* colour = work.colour[ray];
        colour[0] += weight * work.rgb[0][i];
        colour[1] += weight * work.rgb[1][i];
        colour[2] += weight * work.rgb[2][i];
        colour[3] += weight;
        work.depth[ray] += weight * work.t[i];
        work.transmittance[ray] = before * (1.0f - alpha);
        work.samples[ray]++;
    }
    counters.evaluations += count;
}

// Keep the segments that still have samples and whose rays live.
int keep_living(const FrameSetup& frame, int segments, Workspace& work) {
    int kept = 0;
    for (int s = 0; s < segments; s++) {
        const Segment segment = work.segments[s];
        if (segment.mask && !(frame.ert && work.transmittance[segment.ray] < frame.ert_threshold))
            work.segments[kept++] = segment;
    }
    return kept;
}

void write_picture(const FrameSetup& frame, const Rectangle& tile, const Workspace& work, const Picture& picture,
                   Counters& counters) {
    for (int y = tile.y0; y < tile.y1; y++) {
        for (int x = tile.x0; x < tile.x1; x++) {
            const int ray = (y - tile.y0) * TILE + (x - tile.x0);
            const int64_t pixel = static_cast<int64_t>(y) * frame.width + x;
            const float* colour = work.colour[ray];
            for (int channel = 0; channel < 3; channel++)
                picture.rgb[3 * pixel + channel] = colour[channel] + (1.0f - colour[3]) * frame.background[channel];
            counters.samples += work.samples[ray];
            counters.rays_hit += work.samples[ray] > 0;
            picture.alpha[pixel] = colour[3];
            picture.depth[pixel] = colour[3] > 0.0f ? work.depth[ray] / colour[3] : __builtin_inff();
        }
    }
}

// A tile that no cell touches.
void write_background(const FrameSetup& frame, const Rectangle& tile, const Picture& picture) {
    for (int y = tile.y0; y < tile.y1; y++) {
        for (int x = tile.x0; x < tile.x1; x++) {
            const int64_t pixel = static_cast<int64_t>(y) * frame.width + x;
            for (int channel = 0; channel < 3; channel++)
                picture.rgb[3 * pixel + channel] = frame.background[channel];
            picture.alpha[pixel] = 0.0f;
            picture.depth[pixel] = __builtin_inff();
        }
    }
}

// Adds the time since the last call to one stage or another.
struct StageClock {
    double last = now_ms();
    void lap(double& stage) {
        const double now = now_ms();
        stage += now - last;
        last = now;
    }
};

// Into how many parts a visit's pixels must be cut along one axis for directions to be fitted (direction_fit.h).
int parts(int pixels, float focal) {
    constexpr float LARGEST_SLOPE = 0.06f;
    if (!FITTED) return 1;
    const float number = static_cast<float>(pixels) / (LARGEST_SLOPE * focal) + 1.0f;
    return number < static_cast<float>(pixels) ? static_cast<int>(number) : pixels;
}

// The samples of one cell that lie behind `area`: find them, evaluate them round by round, composite.
void render_visit(const SceneData& scene, const FrameSetup& frame, const Cell& cell, const Rectangle& tile,
                  const Rectangle& area, Workspace& work, Counters& counters, StageClock& clock) {
    // With early termination one sample of a ray at a time: none is evaluated that the picture does not need.
    const int per_ray = frame.ert ? 1 : MAX_ROUND;
    const void* network = scene.networks + cell.network * scene.network_size;
    bool more = true, begun = false;
    for (int chunk = 0; more; chunk++) {
        int segments = find_segments(scene, frame, cell, tile, area, chunk, work, more);
        while (segments) {
            const int count = queue_samples(scene, frame, cell, segments, per_ray, work);
            clock.lap(counters.march_ms);
            if (!begun) begin_visit(network, frame, tile, area, work);
            begun = true;
            evaluate(network, work, count);
            clock.lap(counters.networks_ms);
            composite(frame, count, work, counters);
            segments = keep_living(frame, segments, work);
            clock.lap(counters.composite_ms);
        }
    }
}

}  // namespace

void render_tile(const SceneData& scene, const FrameSetup& frame, const Rectangle& tile, const Visit* visits,
                 int num_visits, Workspace& work, const Picture& picture, Counters& counters) {
    StageClock clock;
    if (!num_visits) {
        write_background(frame, tile, picture);
        return clock.lap(counters.rays_ms);
    }
    start_rays(frame, tile, work);
    clock.lap(counters.rays_ms);
    for (const Visit* visit = visits; visit != visits + num_visits; visit++) {
        const Rectangle& r = visit->rectangle;
        const Rectangle seen = {maximum(r.x0, tile.x0), maximum(r.y0, tile.y0), minimum(r.x1, tile.x1),
                                minimum(r.y1, tile.y1)};
        const int columns = parts(seen.x1 - seen.x0, frame.fx), rows = parts(seen.y1 - seen.y0, frame.fy);
        for (int part = 0; part < columns * rows; part++) {
            const int column = part % columns, row = part / columns;
            render_visit(scene, frame, scene.cells[visit->cell], tile,
                         {seen.x0 + (seen.x1 - seen.x0) * column / columns,
                          seen.y0 + (seen.y1 - seen.y0) * row / rows,
                          seen.x0 + (seen.x1 - seen.x0) * (column + 1) / columns,
                          seen.y0 + (seen.y1 - seen.y0) * (row + 1) / rows},
                         work, counters, clock);
        }
    }
    clock.lap(counters.march_ms);
    write_picture(frame, tile, work, picture, counters);
    clock.lap(counters.rays_ms);
}

}  // namespace knf::KNF_PATH
