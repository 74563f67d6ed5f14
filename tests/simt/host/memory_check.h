// The memory of a launch, as the files that touch it on the kernel's behalf see it.
#pragma once

#include "runtime.h"

namespace simt {

// Where the module itself lies in memory: its code, for names of places, and its constants.
struct Module {
    uintptr_t begin = 0, end = 0;
};
extern Module module;

// As check_access, for any size and alignment.
void check_range(const void* address, size_t bytes, Access access, void* caller);

}  // namespace simt
