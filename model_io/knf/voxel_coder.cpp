// The occupancy grid's voxels as an adaptive binary range coder's bytes: the native twin of voxel_coder.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Grid = nb::ndarray<uint8_t, nb::numpy, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using ConstGrid = nb::ndarray<const uint8_t, nb::numpy, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

constexpr int REACH = 2;  // of the neighbours
constexpr int NEIGHBOURS[][3] = {
    {-1, 0, 0}, {0, -1, 0},   {0, 0, -1},  {-1, -1, 0}, {-1, 0, -1}, {-1, 0, 1}, {-1, 1, 0}, {0, -1, -1},
    {0, -1, 1}, {-1, -1, -1}, {-1, -1, 1}, {-1, 1, -1}, {-1, 1, 1},  {-2, 0, 0}, {0, -2, 0}, {0, 0, -2},
};
constexpr int NUM_NEIGHBOURS = sizeof NEIGHBOURS / sizeof *NEIGHBOURS;
constexpr uint32_t MOST_SEEN = 255, LEAST = 32, MOST = 65536 - LEAST, LOWEST_RANGE = 1u << 24;

// How probable it is that a voxel is occupied, by its context.
class Model {
  public:
    Model() : probability_(1 << NUM_NEIGHBOURS, 32768), seen_(1 << NUM_NEIGHBOURS, 0) {
        for (uint32_t n = 0; n <= MOST_SEEN; n++) rate_[n] = 131072 / (2 * n + 3);  // 1 / (n + 1.5)
    }

    uint32_t of(uint32_t context) const { return probability_[context]; }

    void learn(uint32_t context, bool occupied) {
        const int32_t now = static_cast<int32_t>(probability_[context]);
        const int64_t missing = (occupied ? 65536 : 0) - now;
        const int32_t next = now + static_cast<int32_t>((missing * rate_[seen_[context]]) >> 16);
        probability_[context] = next < int32_t(LEAST) ? LEAST : next > int32_t(MOST) ? MOST : next;
        if (seen_[context] < MOST_SEEN) seen_[context]++;
    }

  private:
    std::vector<uint32_t> probability_;
    std::vector<uint8_t> seen_;
    std::array<int64_t, MOST_SEEN + 1> rate_;
};

class Decoder {
  public:
    Decoder(const uint8_t* data, size_t size) : data_(data), size_(size) {
        for (int i = 0; i < 4; i++) code_ = code_ << 8 | next();
    }

    bool bit(uint32_t probability) {
        const uint32_t bound = (range_ >> 16) * probability;
        const bool occupied = code_ < bound;
        if (occupied) {
            range_ = bound;
        } else {
            code_ -= bound;
            range_ -= bound;
        }
        while (range_ < LOWEST_RANGE) {
            range_ <<= 8;
            code_ = code_ << 8 | next();
        }
        return occupied;
    }

    bool at_end() const { return at_ == size_ && code_ == 0; }

  private:
    // Past the end there are zeros, and at_end() says that it was passed.
    uint8_t next() { return at_ < size_ ? data_[at_++] : (at_ = size_ + 1, uint8_t(0)); }

    const uint8_t* data_;
    size_t size_, at_ = 0;
    uint32_t range_ = 0xFFFFFFFF, code_ = 0;
};

class Encoder {
  public:
    void bit(uint32_t probability, bool occupied) {
        const uint32_t bound = (range_ >> 16) * probability;
        if (occupied) {
            range_ = bound;
        } else {
            low_ += bound;
            range_ -= bound;
        }
        while (range_ < LOWEST_RANGE) {
            range_ <<= 8;
            shift();
        }
    }

    // The last bytes are those of low_ itself, so the decoder ends with code 0.
    std::vector<uint8_t> finish() {
        for (int i = 0; i < 5; i++) shift();
        bytes_.erase(bytes_.begin());  // the first one is always 0
        return bytes_;
    }

  private:
    void shift() {
        if (low_ < 0xFF000000u || low_ > 0xFFFFFFFFu) {
            const uint8_t carry = static_cast<uint8_t>(low_ >> 32);
            bytes_.push_back(static_cast<uint8_t>(held_ + carry));
            for (; waiting_ > 0; waiting_--) bytes_.push_back(static_cast<uint8_t>(0xFF + carry));
            held_ = static_cast<uint8_t>(low_ >> 24);
        } else {
            waiting_++;
        }
        low_ = (low_ & 0x00FFFFFF) << 8;
    }

    uint64_t low_ = 0;
    uint32_t range_ = 0xFFFFFFFF;
    uint8_t held_ = 0;
    size_t waiting_ = 0;
    std::vector<uint8_t> bytes_;
};

// Goes through a level's voxels in C order; `coded` says of each that is not known to be empty what it is.
class Level {
  public:
    Level(const ConstGrid& cells, size_t x, size_t y, size_t z) : cells_(cells) {
        const size_t voxels[3] = {x, y, z};
        for (int axis = 0; axis < 3; axis++) {
            if (!cells.shape(axis) || voxels[axis] % cells.shape(axis)) {
                throw std::invalid_argument("voxels: expected a multiple of the cells on each axis");
            }
            size_[axis] = voxels[axis];
            factor_[axis] = voxels[axis] / cells.shape(axis);
        }
        row_ = size_[2] + 2 * REACH;
        slice_ = row_ * (size_[1] + 2 * REACH);
        around_.assign(slice_ * (size_[0] + 2 * REACH), 0);
        for (int i = 0; i < NUM_NEIGHBOURS; i++) {
            const auto& by = NEIGHBOURS[i];
            to_[i] = by[0] * static_cast<int64_t>(slice_) + by[1] * static_cast<int64_t>(row_) + by[2];
        }
    }

    template <typename Coded>
    void each(Coded coded) {
        for (size_t x = 0; x < size_[0]; x++) {
            for (size_t y = 0; y < size_[1]; y++) {
                const uint8_t* cells =
                    cells_.data() + (x / factor_[0] * cells_.shape(1) + y / factor_[1]) * cells_.shape(2);
                uint8_t* row = around_.data() + (x + REACH) * slice_ + (y + REACH) * row_ + REACH;
                const size_t at = (x * size_[1] + y) * size_[2];
                for (size_t cell = 0; cell < cells_.shape(2); cell++) {
                    if (!cells[cell]) continue;
                    const size_t end = (cell + 1) * factor_[2];
                    for (size_t z = end - factor_[2]; z < end; z++) {
                        uint32_t context = 0;
                        for (int i = 0; i < NUM_NEIGHBOURS; i++) context |= uint32_t(row[z + to_[i]]) << i;
                        row[z] = coded(at + z, context);
                    }
                }
            }
        }
    }

  private:
    const ConstGrid& cells_;
    size_t size_[3], factor_[3], row_, slice_;
    std::array<int64_t, NUM_NEIGHBOURS> to_;
    std::vector<uint8_t> around_;
};

nb::bytes encode_voxels(const std::vector<ConstGrid>& occupancy, const std::vector<ConstGrid>& cells) {
    if (occupancy.size() != cells.size()) throw std::invalid_argument("cells: expected a grid for each level");
    Model model;
    Encoder encoder;
    for (size_t level = 0; level < occupancy.size(); level++) {
        const ConstGrid& grid = occupancy[level];
        Level(cells[level], grid.shape(0), grid.shape(1), grid.shape(2)).each([&](size_t at, uint32_t context) {
            const bool occupied = grid.data()[at] != 0;
            encoder.bit(model.of(context), occupied);
            model.learn(context, occupied);
            return occupied;
        });
    }
    const std::vector<uint8_t> bytes = encoder.finish();
    return nb::bytes(bytes.data(), bytes.size());
}

bool decode_voxels(const nb::bytes& data, const std::vector<Grid>& occupancy, const std::vector<ConstGrid>& cells) {
    if (occupancy.size() != cells.size()) throw std::invalid_argument("cells: expected a grid for each level");
    Model model;
    Decoder decoder(static_cast<const uint8_t*>(data.data()), data.size());
    for (size_t level = 0; level < occupancy.size(); level++) {
        const Grid& grid = occupancy[level];
        Level(cells[level], grid.shape(0), grid.shape(1), grid.shape(2)).each([&](size_t at, uint32_t context) {
            const bool occupied = decoder.bit(model.of(context));
            model.learn(context, occupied);
            grid.data()[at] = occupied;
            return occupied;
        });
    }
    return decoder.at_end();
}

}  // namespace

NB_MODULE(_codec, module) {
    module.def("encode_voxels", &encode_voxels, "occupancy"_a, "cells"_a);
    module.def("decode_voxels", &decode_voxels, "data"_a, "occupancy"_a.noconvert(), "cells"_a);
}
