// The native CPU renderer: prepares a scene once, then renders frames with a number of threads.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/march/scene.h"
#include "cpu/octree/field.h"

namespace knf {

// Weights [networks][in][out] and biases [networks][out] of all networks, the feature layer folded.
struct LayerArrays {
    const float *w0, *b0;  // pts_linears.0
    const float *w1, *b1;  // pts_linears.1
    const float *w_density, *b_density;
    const float *w_direction, *b_direction;
    const float *w_color, *b_color;
};

// An octree field as kernels/cpu/octree_field.py lays it out: see OctreeField.
struct OctreeArrays {
    int64_t num_slots, num_rows;
    OctreeField field;  // `occupancy` is the scene's
};

// A scene as kernels/native/grid.py lays it out; only read while the renderer is made.
struct SceneArrays {
    int num_levels;
    const Grid* grids;       // of the levels, the innermost first
    const int* first_cells;  // of each level, among all cells
    int num_cells;
    const Cell* cells;
    const Cell* full_cells;
    int64_t num_words;
    const uint32_t* occupancy;
    const float* sky;  // [SKY_COEFFICIENTS][3] or null
    int num_networks;
    LayerArrays layers;
    float step;                  // between the samples of the innermost level, as trained
    const OctreeArrays* octree;  // null: a scene of tiny networks; else it has none
};

// What a frame has in place of the scene's own: grids and cells that a crop has changed.
struct Cropped {
    const Grid* grids;  // of the levels
    const Cell* cells;  // for ESS on or off, as the frame has it
};

// A code path that this machine can run.
struct RunnablePath {
    const CodePath* code;
    const char* title;
};

struct FrameResult {
    bool cancelled = false;
    Counters counters;
    double setup_ms = 0, idle_ms = 0, total_ms = 0;
};

class Renderer {
  public:
    // path: the name or the precision of one, or "auto": the best that this machine can run. If that is one of 8 bits,
    // networks that these are too coarse for have 16, and all have if these are many. Throws std::invalid_argument.
    Renderer(const SceneArrays& arrays, int threads, const std::string& path);
    ~Renderer();
    Renderer(const Renderer&) = delete;
    Renderer& operator=(const Renderer&) = delete;

    // `cancel` is polled between tiles; may be null, as `cropped` may.
    FrameResult render(const FrameSetup& frame, const Picture& picture, const volatile uint8_t* cancel,
                       const Cropped* cropped = nullptr);

    // Only for paths whose precision is float32.
    // Colour [count][3] and density [count] of points of given cells (rows of `cells`, -1: zero). points and unit
    // directions are [count][3].
    void query(const int32_t* cells, const float* points, const float* unit, int64_t count, float* rgb, float* density);

    // Samples a second that the networks alone evaluate, by all threads together, from memory: `samples` for each of
    // the first `networks` networks in turn, for some seconds.
    double network_rate(int samples, double seconds, int networks);

    int num_levels() const { return scene_.num_levels; }
    size_t num_cells() const { return cells_.size(); }
    int threads() const { return static_cast<int>(workspaces_.size()); }
    const char* path() const { return path_->name; }
    const char* precision() const { return path_->precision; }
    const char* title() const { return title_; }  // of the code path, for people
    // Of pictures against float32 in dB, from points of the cells; only known of 8 bits, else 0.
    double expected_psnr() const { return expected_psnr_; }
    int finer_networks() const { return num_finer_; }  // in 16 bits, where the others have 8
    // Rows of the cells front to back from a place in the world.
    const std::vector<int>& order_cells(const float (&origin)[3]);

  private:
    static constexpr size_t ALIGNMENT = 64;
    struct Delete {
        void operator()(void* memory) const;
    };

    // Call work(number) once in every thread.
    template <class Work>
    void run_threads(const Work& work) {
        const auto prepared_work = [&](size_t number) {
            if (path_->begin_thread) path_->begin_thread();
            work(number);
            if (path_->end_thread) path_->end_thread();
        };
        std::vector<std::thread> helpers;
        for (size_t i = 1; i < workspaces_.size(); i++) helpers.emplace_back(prepared_work, i);
        prepared_work(0);
        for (std::thread& helper : helpers) helper.join();
    }
    using Memory = std::unique_ptr<unsigned char[], Delete>;
    // What 8 bits cost a network at points of its cells.
    struct Coarseness {
        double squares = 0, opacity = 0;  // sums over the points: squared error, and how much of a pixel they are
    };
    void choose_precision(const SceneArrays& arrays, const std::vector<RunnablePath>& wanted, const CodePath* exact,
                          bool fitting);
    Memory pack_networks(const SceneArrays& arrays, const CodePath& path, const std::vector<int>& networks);
    std::vector<Coarseness> measure_coarseness(const SceneArrays& arrays, const CodePath& exact);
    bool refine_networks(const SceneArrays& arrays, const CodePath& exact, const CodePath* finer);
    void keep_field(const OctreeArrays& octree);
    void order_levels(const float (&origin)[3]);
    void visit_tiles(const FrameSetup& frame, const Cell* cells);

    const CodePath* path_;
    const char* title_ = "";
    double expected_psnr_ = 0.0;
    int num_finer_ = 0;
    SceneData scene_{};
    std::vector<Cell> cells_, full_cells_;
    std::vector<std::array<int, 3>> places_;  // of the cells in the grid of their level
    std::vector<int> levels_;                 // of the cells
    Memory networks_, finer_networks_;        // packed
    std::vector<int> finer_rows_;
    OctreeField field_{};  // of an octree; what it points to is in `numbers_`
    std::vector<Memory> numbers_;
    std::vector<uint32_t> occupancy_;
    std::vector<float> sky_;
    std::vector<std::unique_ptr<Workspace, Delete>> workspaces_;  // one per thread
    // Of the frame at work; kept to save their allocation.
    std::vector<int> order_;                      // cells front to back
    std::vector<int> distance_starts_;            // counting sort by distance
    std::vector<std::pair<uint64_t, int>> keys_;  // likewise, where there are several levels
    std::vector<Visit> in_view_;                  // cells front to back, those that may be seen
    std::vector<Visit> visits_;                   // the same, tile by tile
    std::vector<int> tile_starts_;                // first visit of each tile
    std::vector<int> tile_order_;                 // busiest first
};

// Names and precision of the code paths that this machine can run, best first; `octree`: those of octree fields.
std::vector<std::pair<std::string, std::string>> available_paths(bool octree = false);

}  // namespace knf
