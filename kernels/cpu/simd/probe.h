// The machine's matrix peak: how many multiply-adds a second its registers can do, with nothing else.
#pragma once

#include <string>
#include <vector>

namespace knf {

// Kinds of multiply-add that this machine has: "float32-fma256", "int16-madd256", "bfloat16-amx" ...
std::vector<std::string> matrix_kinds();

// Multiply-adds a second of `threads` threads together, the best of some windows of a few milliseconds.
// Throws std::invalid_argument for a kind that this machine does not have.
double matrix_peak(const std::string& kind, int threads);

}  // namespace knf
