// One frame: order the cells front to back, find the screen tiles that each may touch, render tiles by threads.
#include "cpu/march/renderer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <stdexcept>

#include "cpu/march/projection.h"
#include "cpu/simd/amx_support.h"

#define KNF_SHARED static inline
#include "sampling_rule.h"
#include "sky.h"

namespace knf {

double now_ms() {
    using namespace std::chrono;
    return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

namespace {

#if defined(KNF_X86)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif

std::vector<RunnablePath> runnable_paths(bool octree) {
    std::vector<RunnablePath> paths;
#if defined(KNF_X86)
    __builtin_cpu_init();  // asks the processor and, for the wide registers, the operating system
#endif
#define CODE_PATH(id, name, title, networks, set, flags, test) \
    if (test && octree == !id::path.network_size) paths.push_back({&id::path, title});
#include "cpu/march/code_paths.def"
#include "cpu/octree/code_paths.def"
#undef CODE_PATH
    return paths;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> available_paths(bool octree) {
    std::vector<std::pair<std::string, std::string>> names;
    for (const RunnablePath& path : runnable_paths(octree)) names.emplace_back(path.code->name, path.code->precision);
    return names;
}

void Renderer::Delete::operator()(void* memory) const { ::operator delete(memory, std::align_val_t(ALIGNMENT)); }

Renderer::Renderer(const SceneArrays& arrays, int threads, const std::string& path) : path_(nullptr) {
    std::string names;
    std::vector<RunnablePath> wanted;  // the first is taken
    const CodePath* exact = nullptr;
    for (const RunnablePath& candidate : runnable_paths(arrays.octree != nullptr)) {
        const CodePath* code = candidate.code;
        if (path == code->name || path == code->precision || path == "auto") wanted.push_back(candidate);
        if (!exact && std::string(code->precision) == "float32") exact = code;
        names += (names.empty() ? "" : ", ") + std::string(code->name);
    }
    if (wanted.empty())
        throw std::invalid_argument("CPU code path '" + path + "': this machine has " + names +
                                    (arrays.octree ? " for octree fields" : ""));
    if (threads < 1) throw std::invalid_argument("threads: expected 1 or more, got " + std::to_string(threads));
    for (int i = 0; i < threads; i++)
        workspaces_.emplace_back(new (::operator new(sizeof(Workspace), std::align_val_t(ALIGNMENT))) Workspace);

    cells_.assign(arrays.cells, arrays.cells + arrays.num_cells);
    full_cells_.assign(arrays.full_cells, arrays.full_cells + arrays.num_cells);
    occupancy_.assign(arrays.occupancy, arrays.occupancy + arrays.num_words);
    scene_.num_levels = arrays.num_levels;
    for (int level = 0; level < arrays.num_levels; level++) {
        const Grid& grid = arrays.grids[level];
        scene_.levels[level] = {grid, static_cast<float>(1 << level), arrays.first_cells[level]};
        const int end = level + 1 < arrays.num_levels ? arrays.first_cells[level + 1] : arrays.num_cells;
        for (int row = arrays.first_cells[level]; row < end; row++) {
            std::array<int, 3> place;
            for (int axis = 0; axis < 3; axis++) place[axis] = cells_[row].first_voxel[axis] / grid.factor[axis];
            places_.push_back(place);
            levels_.push_back(level);
        }
    }
    scene_.cells = cells_.data();
    scene_.full_cells = full_cells_.data();
    scene_.occupancy = occupancy_.data();
    if (arrays.octree) {
        path_ = wanted[0].code, title_ = wanted[0].title;
        keep_field(*arrays.octree);
        scene_.networks = reinterpret_cast<const unsigned char*>(&field_);
        scene_.network_size = path_->network_size;
    } else {
        choose_precision(arrays, wanted, exact, path == "auto");
    }
    if (arrays.sky) sky_.assign(arrays.sky, arrays.sky + 3 * SKY_COEFFICIENTS);
    scene_.sky = arrays.sky ? sky_.data() : nullptr;
}

// Pack the networks for the first of these paths; `fitting`: whose precision is good enough for the scene.
void Renderer::choose_precision(const SceneArrays& arrays, const std::vector<RunnablePath>& wanted,
                                const CodePath* exact, bool fitting) {
    std::vector<int> all(arrays.num_networks);
    for (int n = 0; n < arrays.num_networks; n++) all[n] = n;
    for (size_t i = 0; i < wanted.size(); i++) {
        path_ = wanted[i].code, title_ = wanted[i].title;
        networks_ = pack_networks(arrays, *path_, all);
        scene_.networks = networks_.get();
        scene_.network_size = path_->network_size;
        if (std::string(path_->precision) != "int8" || !exact) return;
        // The next row of the table is 16 bits on the same instructions.
        const CodePath* finer = fitting && i + 1 < wanted.size() ? wanted[i + 1].code : nullptr;
        if (refine_networks(arrays, *exact, finer)) return;
    }
}

Renderer::~Renderer() = default;

static std::array<int, 3> cell_of(const Grid& grid, const float (&origin)[3]) {
    std::array<int, 3> cell;
    for (int axis = 0; axis < 3; axis++) {
        const float voxel = voxel_coordinate(origin[axis], grid.box_min[axis], grid.inverse_voxel[axis]);
        const float limit = static_cast<float>(grid.resolution[axis] * grid.factor[axis] - 1);
        cell[axis] = static_cast<int>(std::clamp(voxel, 0.0f, limit)) / grid.factor[axis];
    }
    return cell;
}

static int manhattan(const std::array<int, 3>& a, const std::array<int, 3>& b) {
    return std::abs(a[0] - b[0]) + std::abs(a[1] - b[1]) + std::abs(a[2] - b[2]);
}

// Of nested boxes: by the tuple of distances in each level, the outermost first (front_to_back in
// model_io/scene/levels.py).
void Renderer::order_levels(const float (&origin)[3]) {
    constexpr uint64_t DISTANCES = 128;
    std::array<int, 3> camera[MAX_LEVELS];
    for (int level = 0; level < scene_.num_levels; level++) camera[level] = cell_of(scene_.levels[level].grid, origin);
    const int (&resolution)[3] = scene_.levels[0].grid.resolution;
    keys_.clear();
    for (size_t row = 0; row < places_.size(); row++) {
        uint64_t key = 0;
        for (int level = scene_.num_levels - 1; level >= 0; level--) {
            key *= DISTANCES;
            if (level < levels_[row]) continue;
            std::array<int, 3> place;
            for (int axis = 0; axis < 3; axis++) {
                const int middle = resolution[axis] / 2;
                place[axis] = ((places_[row][axis] - middle) >> (level - levels_[row])) + middle;
            }
            key += manhattan(place, camera[level]);
        }
        keys_.emplace_back(key, static_cast<int>(row));
    }
    std::sort(keys_.begin(), keys_.end());
    order_.clear();
    for (const auto& [key, row] : keys_) order_.push_back(row);
}

// Cells by their Manhattan distance from the camera's cell, which grows strictly along every ray: front to back
// without sorting samples, and two cells of one distance never share a ray.
const std::vector<int>& Renderer::order_cells(const float (&origin)[3]) {
    if (scene_.num_levels > 1) {
        order_levels(origin);
        return order_;
    }
    const Grid& grid = scene_.levels[0].grid;
    const std::array<int, 3> camera = cell_of(grid, origin);
    const int farthest = grid.resolution[0] + grid.resolution[1] + grid.resolution[2];
    const auto distance = [&camera](const std::array<int, 3>& place) { return manhattan(place, camera); };
    distance_starts_.assign(farthest + 1, 0);
    for (const auto& place : places_) distance_starts_[distance(place) + 1]++;
    for (int i = 0; i < farthest; i++) distance_starts_[i + 1] += distance_starts_[i];
    order_.resize(places_.size());
    for (size_t i = 0; i < places_.size(); i++) order_[distance_starts_[distance(places_[i])]++] = static_cast<int>(i);
    return order_;
}

// For every screen tile the cells that may touch it, front to back.
void Renderer::visit_tiles(const FrameSetup& frame, const Cell* cells) {
    const int columns = (frame.width + TILE - 1) / TILE, rows = (frame.height + TILE - 1) / TILE;
    const Rectangle all = {0, 0, frame.width, frame.height};
    double to_camera[9];
    const bool invertible = invert(frame.rotation, to_camera);
    const Nearest nearest = nearest_samples(frame, to_camera, scene_.levels[scene_.num_levels - 1].grid);
    in_view_.clear();
    tile_starts_.assign(static_cast<size_t>(columns) * rows + 1, 0);
    const auto for_tiles = [&](const Rectangle& r, auto&& action) {
        for (int ty = r.y0 / TILE; ty <= (r.y1 - 1) / TILE; ty++)
            for (int tx = r.x0 / TILE; tx <= (r.x1 - 1) / TILE; tx++) action(ty * columns + tx);
    };
    for (int row : order_) {
        const Cell& cell = cells[row];
        if ((frame.ess && !cell.occupied) || cell.clip_min[0] > cell.clip_max[0]) continue;
        const Rectangle r = invertible ? project_box(frame, to_camera, nearest, cell.clip_min, cell.clip_max) : all;
        if (r.x0 >= r.x1 || r.y0 >= r.y1) continue;
        in_view_.push_back({row, levels_[row], r});
        for_tiles(r, [&](int tile) { tile_starts_[tile + 1]++; });
    }
    tile_order_.resize(tile_starts_.size() - 1);
    for (size_t i = 0; i < tile_order_.size(); i++) tile_order_[i] = static_cast<int>(i);
    std::sort(tile_order_.begin(), tile_order_.end(), [&](int a, int b) {
        return tile_starts_[a + 1] != tile_starts_[b + 1] ? tile_starts_[a + 1] > tile_starts_[b + 1] : a < b;
    });
    for (size_t i = 1; i < tile_starts_.size(); i++) tile_starts_[i] += tile_starts_[i - 1];
    visits_.resize(tile_starts_.back());
    for (const Visit& visit : in_view_)
        for_tiles(visit.rectangle, [&](int tile) { visits_[tile_starts_[tile]++] = visit; });
    // Filling has moved each start to the next tile's; move them back.
    for (size_t i = tile_starts_.size() - 1; i > 0; i--) tile_starts_[i] = tile_starts_[i - 1];
    tile_starts_[0] = 0;
}

FrameResult Renderer::render(const FrameSetup& frame, const Picture& picture, const volatile uint8_t* cancel,
                             const Cropped* cropped) {
    FrameResult result;
    const double started = now_ms();
    SceneData scene = scene_;
    if (cropped) {
        scene.cells = scene.full_cells = cropped->cells;
        for (int level = 0; level < scene.num_levels; level++) scene.levels[level].grid = cropped->grids[level];
    }
    order_cells(frame.origin);
    visit_tiles(frame, frame.ess ? scene.cells : scene.full_cells);
    result.setup_ms = now_ms() - started;

    const int columns = (frame.width + TILE - 1) / TILE;
    const int tiles = static_cast<int>(tile_order_.size());
    std::atomic<int> next{0};
    std::atomic<bool> cancelled{false};
    std::vector<Counters> counters(workspaces_.size());
    const auto work = [&](size_t thread) {
        for (int i; (i = next.fetch_add(1, std::memory_order_relaxed)) < tiles;) {
            if (cancel && *cancel) {
                cancelled = true;
                return;
            }
            const int tile = tile_order_[i], x = tile % columns * TILE, y = tile / columns * TILE;
            const Rectangle pixels = {x, y, std::min(x + TILE, frame.width), std::min(y + TILE, frame.height)};
            path_->render_tile(scene, frame, pixels, visits_.data() + tile_starts_[tile],
                               tile_starts_[tile + 1] - tile_starts_[tile], *workspaces_[thread], picture,
                               counters[thread]);
        }
    };
    run_threads(work);

    result.cancelled = cancelled;
    result.total_ms = now_ms() - started;
    const double threads = static_cast<double>(workspaces_.size());
    for (const Counters& c : counters) {
        result.counters.samples += c.samples;
        for (int level = 0; level < MAX_LEVELS; level++)
            result.counters.samples_of_level[level] += c.samples_of_level[level];
        result.counters.rays_hit += c.rays_hit;
        result.counters.rays_ms += c.rays_ms / threads;
        result.counters.march_ms += c.march_ms / threads;
        result.counters.networks_ms += c.networks_ms / threads;
        result.counters.composite_ms += c.composite_ms / threads;
    }
    const Counters& c = result.counters;
    result.idle_ms =
        std::max(0.0, result.total_ms - result.setup_ms - c.rays_ms - c.march_ms - c.networks_ms - c.composite_ms);
    return result;
}

void Renderer::query(const int32_t* rows, const float* points, const float* unit, int64_t count, float* rgb,
                     float* density) {
    if (path_->fits_directions) throw std::logic_error("query: this code path knows the directions of frames only");
    std::vector<std::vector<int64_t>> by_cell(cells_.size());
    for (int64_t i = 0; i < count; i++) {
        for (int channel = 0; channel < 3; channel++) rgb[3 * i + channel] = 0.0f;
        density[i] = 0.0f;
        if (rows[i] >= 0) by_cell[rows[i]].push_back(i);
    }
    Workspace& work = *workspaces_[0];
    const bool octree = !path_->network_size;
    for (size_t row = 0; row < cells_.size(); row++) {
        const std::vector<int64_t>& members = by_cell[row];
        const Grid& grid = scene_.levels[levels_[row]].grid;
        work.cell = &cells_[row];
        work.grid = &grid;
        for (size_t begin = 0; begin < members.size(); begin += TILE_RAYS) {
            const int batch = static_cast<int>(std::min<size_t>(TILE_RAYS, members.size() - begin));
            for (int i = 0; i < batch + 3 * MAX_LANES; i++) {
                const int64_t point = members[begin + std::min(i, batch - 1)];
                for (int axis = 0; axis < 3; axis++) {
                    const float p = points[3 * point + axis];
                    work.local[axis][i] = octree
                                              ? voxel_coordinate(p, grid.box_min[axis], grid.inverse_voxel[axis])
                                              : local_coordinate(p, cells_[row].minimum[axis], grid.local_scale[axis]);
                    work.unit[axis][i] = unit[3 * point + axis];
                    if (octree && i < batch) work.direction[axis][i] = unit[3 * point + axis];
                }
                if (!octree || i >= batch) continue;
                work.ray[i] = i;
                work.length[i] = 1.0f;
                work.ray_known[i] = 0;
            }
            path_->evaluate(scene_.networks + cells_[row].network * scene_.network_size, work, batch);
            for (int i = 0; i < batch; i++) {
                const int64_t point = members[begin + i];
                for (int channel = 0; channel < 3; channel++) rgb[3 * point + channel] = work.rgb[channel][i];
                density[point] = work.density[i];
            }
        }
    }
}

double Renderer::network_rate(int samples, double seconds, int networks) {
    const Rectangle tile = {0, 0, TILE, TILE};
    FrameSetup frame{};
    frame.width = frame.height = TILE;
    frame.fx = frame.fy = 1000.0f;
    for (int i = 0; i < 3; i++) frame.rotation[4 * i] = 1.0f;
    std::atomic<int64_t> evaluated{0};
    const double started = now_ms();
    run_threads([&](size_t thread) {
        Workspace& work = *workspaces_[thread];
        for (int i = 0; i < samples + 3 * MAX_LANES; i++) {
            work.ray[i] = i % TILE_RAYS;
            for (int axis = 0; axis < 3; axis++) {
                work.local[axis][i] = static_cast<float>((i * (17 + axis)) % 256) / 128.0f - 1.0f;
                work.unit[axis][i] = 0.57735f;
            }
        }
        for (size_t n = thread; now_ms() - started < 1000.0 * seconds; n++) {
            const size_t number = n % networks;
            const int finer = scene_.finer_rows ? scene_.finer_rows[number] : -1;
            const CodePath& path = finer < 0 ? *path_ : *scene_.finer_path;
            const unsigned char* network = (finer < 0 ? scene_.networks + number * path.network_size
                                                      : scene_.finer_networks + finer * path.network_size);
            path.begin_visit(network, frame, tile, tile, work);
            path.evaluate(network, work, samples);
            evaluated += samples;
        }
    });
    return static_cast<double>(evaluated) / (now_ms() - started) * 1000.0;
}

}  // namespace knf
