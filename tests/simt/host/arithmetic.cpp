// Half precision, the fragments of tensor-core products, and the errors of fast intrinsics.
#include <array>

#include "runtime.h"

namespace simt {

namespace {
float widen(unsigned short bits) {
    const unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, fraction = bits & 0x3ffu;
    if (exponent == 31) return bit_cast<float>(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) return bit_cast<float>(sign | bit_cast<unsigned>(ldexpf(static_cast<float>(fraction), -24)));
    return bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

std::array<float, 65536> widen_all() {
    std::array<float, 65536> table;
    for (unsigned i = 0; i < 65536; i++) table[i] = widen(static_cast<unsigned short>(i));
    return table;
}
const std::array<float, 65536> wide = widen_all();
}  // namespace

float half_to_float(unsigned short bits) { return wide[bits]; }

unsigned short float_to_half(float value) { return double_to_half(value); }

unsigned short double_to_half(double value) {
    const unsigned short sign = std::signbit(value) ? 0x8000 : 0;
    const double magnitude = fabs(value);
    if (magnitude != magnitude) return 0x7fff;
    if (magnitude >= 65520.0) return sign | 0x7c00;  // halfway from the largest half, 65504, to the next
    if (magnitude < 0x1p-14) return sign | static_cast<unsigned short>(nearbyint(magnitude * 0x1p24));  // subnormal
    int exponent;
    const double fraction = frexp(magnitude, &exponent);  // in [0.5, 1)
    // 11 bits with the leading one, which adds one to the exponent field; a carry out of them adds another.
    return sign | static_cast<unsigned short>(((exponent + 13) << 10) + static_cast<int>(nearbyint(fraction * 2048.0)));
}

float model_error(float value, float bound, float argument) {
    if (!(bound > 0.0f) || !std::isfinite(value)) return value;
    unsigned hash = bit_cast<unsigned>(argument) * 0x9e3779b1u;
    hash = (hash ^ hash >> 15) * 0x85ebca77u;
    const float share = static_cast<float>(static_cast<int>(hash ^ hash >> 13)) * 0x1p-31f;
    return value + runtime.error_scale * bound * share;
}

// PTX ISA, "Matrix Fragments for mma.m16n8k8" and "... mma.m16n8k16" with .f16 operands. groupID = lane / 4,
// threadID_in_group = lane % 4; each register holds two halves, the one of lower index in its lower bits.
//   A: row = groupID (+ 8 for registers 1 and 3), column = 2 * threadID_in_group + {0, 1} (+ 8 for registers 2, 3)
//   B: row = 2 * threadID_in_group + {0, 1} (+ 8 for register 1), column = groupID
//   C: row = groupID (+ 8 for 2 and 3), column = 2 * threadID_in_group + {0, 1}
// The sum is exact to double precision and rounded once; tensor cores round less well, in an unspecified way.
void complete_multiply(Operation operation, Fibre* warp) {
    const int depth = operation == Operation::mma_m16n8k16 ? 16 : 8;
    float a[16][16] = {}, b[16][8] = {};
    for (int lane = 0; lane < LANES; lane++) {
        const Rendezvous& wait = warp[lane].wait;
        const int group = lane / 4, pair = 2 * (lane % 4);
        for (int i = 0; i < depth / 4; i++)
            for (int upper = 0; upper < 2; upper++)
                a[group + 8 * (i & 1)][pair + upper + 8 * (i >> 1)] = wide[wait.a[i] >> (16 * upper) & 0xffffu];
        for (int i = 0; i < depth / 8; i++)
            for (int upper = 0; upper < 2; upper++)
                b[pair + upper + 8 * i][group] = wide[wait.b[i] >> (16 * upper) & 0xffffu];
    }
    double sum[16][8] = {};
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < depth; k++)
            for (int column = 0; column < 8; column++)
                sum[row][column] += static_cast<double>(a[row][k]) * static_cast<double>(b[k][column]);
    for (int lane = 0; lane < LANES; lane++) {
        float* d = warp[lane].wait.d;
        const int group = lane / 4, pair = 2 * (lane % 4);
        for (int i = 0; i < 4; i++) {
            const int row = group + 8 * (i >> 1), column = pair + (i & 1);
            d[i] = static_cast<float>(static_cast<double>(d[i]) + sum[row][column]);
        }
    }
}

}  // namespace simt
