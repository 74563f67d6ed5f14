// AMX tiles by the pseudo-code of the instruction set reference. What the processor would answer with a fault, and
// what it would not notice (a tile that nothing has been put into, tiles never released), ends the program here.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulation {

inline void require(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "AMX: %s\n", what);
    std::abort();
}

struct Tile {
    int rows = 0, row_bytes = 0;
    bool filled = false;
    alignas(64) unsigned char bytes[16][64];
};

struct Tiles {
    bool configured = false;
    Tile tiles[8];

    ~Tiles() { require(!configured, "a thread has ended without tilerelease"); }
    Tile& operator[](int number) {
        require(configured, "no configuration is loaded");
        require(number >= 0 && number < 8, "there are tiles 0 to 7");
        require(tiles[number].rows > 0, "a tile that is not configured");
        return tiles[number];
    }
    Tile& filled(int number) {
        Tile& tile = (*this)[number];
        require(tile.filled, "a tile is read that nothing has been put into");
        return tile;
    }
};

inline thread_local Tiles tiles;

struct Configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
static_assert(sizeof(Configuration) == 64);

// Inputs and results that are denormal count as zeros, whatever MXCSR says.
static inline float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

static inline float from_bfloat16(uint16_t x) {
    const uint32_t bits = static_cast<uint32_t>(x) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return flushed(value);
}

}  // namespace emulation

static inline void _tile_loadconfig(const void* memory) {
    using namespace emulation;
    Configuration shape;
    std::memcpy(&shape, memory, sizeof(shape));
    require(shape.palette == 1, "palette 1 is the one there is");
    require(shape.start_row == 0, "start_row is for interrupted loads");
    for (uint8_t byte : shape.reserved) require(byte == 0, "reserved bytes are 0");
    tiles.configured = true;
    for (int i = 0; i < 16; i++) {
        require(shape.rows[i] <= 16 && shape.row_bytes[i] <= 64, "tiles have up to 16 rows of 64 bytes");
        require((shape.rows[i] == 0) == (shape.row_bytes[i] == 0), "rows and bytes are both 0 or neither is");
        require(i < 8 || shape.rows[i] == 0, "there are 8 tiles");
        if (i >= 8) continue;
        tiles.tiles[i] = Tile{};
        tiles.tiles[i].rows = shape.rows[i];
        tiles.tiles[i].row_bytes = shape.row_bytes[i];
    }
}

static inline void _tile_release() { emulation::tiles.configured = false; }

static inline void _tile_zero(int number) {
    emulation::Tile& tile = emulation::tiles[number];
    std::memset(tile.bytes, 0, sizeof(tile.bytes));
    tile.filled = true;
}

static inline void _tile_loadd(int number, const void* base, int64_t stride) {
    _tile_zero(number);
    emulation::Tile& tile = emulation::tiles[number];
    for (int row = 0; row < tile.rows; row++)
        std::memcpy(tile.bytes[row], static_cast<const char*>(base) + row * stride, tile.row_bytes);
}

static inline void _tile_stored(int number, void* base, int64_t stride) {
    const emulation::Tile& tile = emulation::tiles.filled(number);
    for (int row = 0; row < tile.rows; row++)
        std::memcpy(static_cast<char*>(base) + row * stride, tile.bytes[row], tile.row_bytes);
}

// TDPBF16PS: the products of first numbers of pairs and those of second numbers are summed apart, each with one
// rounding to nearest even; the two sums are added, and then added to the tile.
static inline void _tile_dpbf16ps(int sums, int left, int right) {
    using namespace emulation;
    require(sums != left && sums != right && left != right, "three tiles");
    Tile& c = tiles.filled(sums);
    const Tile &a = tiles.filled(left), &b = tiles.filled(right);
    require(c.row_bytes % 4 == 0 && a.row_bytes % 4 == 0 && b.row_bytes % 4 == 0, "rows of whole pairs");
    require(c.rows == a.rows, "a row of sums for each row of the left tile");
    require(c.row_bytes == b.row_bytes, "a column of sums for each column of the right tile");
    require(a.row_bytes / 4 == b.rows, "a row of the right tile for each pair of the left tile");

    float inputs[16][2][16] = {};  // [pair][half][column]
    const int columns = b.row_bytes / 4;
    for (int pair = 0; pair < b.rows; pair++) {
        uint16_t row[32];
        std::memcpy(row, b.bytes[pair], sizeof(row));
        for (int column = 0; column < columns; column++)
            for (int half = 0; half < 2; half++) inputs[pair][half][column] = from_bfloat16(row[2 * column + half]);
    }
    for (int m = 0; m < a.rows; m++) {
        uint16_t weights[32];
        std::memcpy(weights, a.bytes[m], sizeof(weights));
        float halves[2][16] = {}, row[16];
        for (int pair = 0; pair < b.rows; pair++)
            for (int half = 0; half < 2; half++) {
                const float weight = from_bfloat16(weights[2 * pair + half]);
                for (int column = 0; column < 16; column++)
                    halves[half][column] =
                        flushed(__builtin_fmaf(weight, inputs[pair][half][column], halves[half][column]));
            }
        std::memcpy(row, c.bytes[m], sizeof(row));
        for (int column = 0; column < columns; column++)
            row[column] = flushed(flushed(row[column]) + flushed(halves[0][column] + halves[1][column]));
        std::memcpy(c.bytes[m], row, sizeof(row));
    }
}
