// Whether this machine has the matrix unit (AMX) with bfloat16, and the operating system lets this process use it.
#pragma once

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace knf {

// Linux keeps a thread's tiles only for processes that have asked for it; the permission then holds for all threads.
inline bool amx_is_permitted() {
#if defined(__x86_64__) && defined(__linux__)
    static const bool permitted = [] {
        constexpr unsigned TILE = 1u << 24, BF16 = 1u << 22;
        constexpr int REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
        unsigned a, b, c, d;
        if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (TILE | BF16)) != (TILE | BF16)) return false;
        return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
    }();
    return permitted;
#else
    return false;
#endif
}

}  // namespace knf
