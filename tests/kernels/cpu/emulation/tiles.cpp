// One product of tiles: 3 x 32 weights, 32 x 16 inputs as pairs, and 3 x 16 sums from standard input; the sums to
// standard output. With an argument: a fault that the emulation must notice.
#include "amx.h"

#include <string>

int main(int argc, char** argv) {
    const std::string fault = argc > 1 ? argv[1] : "";
    uint16_t weights[3][32], inputs[16][32];
    float sums[3][16];
    for (const auto& [memory, size] :
         {std::pair<void*, size_t>{weights, sizeof(weights)}, {inputs, sizeof(inputs)}, {sums, sizeof(sums)}})
        if (std::fread(memory, 1, size, stdin) != size) return 3;

    emulation::Configuration shapes{};
    shapes.palette = 1;
    for (int tile = 0; tile < 3; tile++) {
        shapes.rows[tile] = tile == 2 ? 16 : 3;
        shapes.row_bytes[tile] = 64;
    }
    if (fault == "wrong rows") shapes.rows[1] = 4;
    if (fault != "no configuration") _tile_loadconfig(&shapes);
    if (fault != "empty tile") _tile_loadd(0, sums, 64);
    if (fault != "wrong rows")
        _tile_loadd(1, weights, 64);
    else
        _tile_zero(1);
    _tile_loadd(2, inputs, 64);
    _tile_dpbf16ps(0, fault == "same tile" ? 0 : 1, 2);
    _tile_stored(0, sums, 64);
    if (fault != "no release") _tile_release();
    return std::fwrite(sums, sizeof(sums), 1, stdout) == 1 ? 0 : 3;
}
