// Atomics, asynchronous copies, surfaces, cached loads.
#pragma once

using cudaSurfaceObject_t = unsigned long long;

namespace simt {
enum class Access : unsigned char { read, write, atomic };

// Reports an access outside of all memory that the kernel may touch, and in a checked module also a race.
void check_access(const void* address, size_t bytes, Access access, void* caller);
[[noreturn]] void trap();

unsigned char* dynamic_shared();  // `extern __shared__ T name[]` as a pointer: SIMT_DYNAMIC_SHARED

void copy_async(void* shared, const void* global, int bytes);
void cp_async_commit();
void wait_for_copy_groups(int pending);
SIMT_ALWAYS_INLINE void cp_async_16(void* shared, const void* global) { copy_async(shared, global, 16); }
template <int N>
SIMT_ALWAYS_INLINE void cp_async_wait() {
    wait_for_copy_groups(N);
}

void write_surface(cudaSurfaceObject_t surface, const void* value, int bytes, int x_bytes, int y);

template <class T, class Update>
SIMT_ALWAYS_INLINE T update_atomically(T* address, Update update) {
    check_access(address, sizeof(T), Access::atomic, __builtin_return_address(0));
    T old, next;
    __builtin_memcpy(&old, address, sizeof(T));
    next = update(old);
    __builtin_memcpy(address, &next, sizeof(T));
    return old;
}
}  // namespace simt

#define SIMT_DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(simt::dynamic_shared())

// Not instrumented: they report their access themselves, as an atomic one.
#define SIMT_ATOMIC(name, type, expression)                                                        \
    __attribute__((no_sanitize("thread"), noinline)) inline type name(type* address, type value) { \
        return simt::update_atomically(address, [value](type old) -> type { return expression; }); \
    }
#define SIMT_INTEGER_ATOMICS(type)                                                                                     \
    SIMT_ATOMIC(atomicAdd, type, static_cast<type>(old + value))                                                       \
    SIMT_ATOMIC(atomicMax, type, old < value ? value : old)                                                            \
    SIMT_ATOMIC(atomicMin, type, value < old ? value : old)                                                            \
    SIMT_ATOMIC(atomicOr, type, static_cast<type>(old | value))                                                        \
    SIMT_ATOMIC(atomicAnd, type, static_cast<type>(old & value))                                                       \
    SIMT_ATOMIC(atomicXor, type, static_cast<type>(old ^ value))                                                       \
    SIMT_ATOMIC(atomicExch, type, (static_cast<void>(old), value))                                                     \
    __attribute__((no_sanitize("thread"), noinline)) inline type atomicCAS(type* address, type expected, type value) { \
        return simt::update_atomically(address, [=](type old) -> type { return old == expected ? value : old; });      \
    }
SIMT_INTEGER_ATOMICS(int)
SIMT_INTEGER_ATOMICS(unsigned)
SIMT_INTEGER_ATOMICS(unsigned long long)
SIMT_ATOMIC(atomicSub, int, old - value)
SIMT_ATOMIC(atomicSub, unsigned, old - value)
SIMT_ATOMIC(atomicAdd, float, old + value)
SIMT_ATOMIC(atomicExch, float, (static_cast<void>(old), value))
#undef SIMT_INTEGER_ATOMICS
#undef SIMT_ATOMIC

#define SIMT_CACHED_LOAD(name)                    \
    template <class T>                            \
    SIMT_ALWAYS_INLINE T name(const T* address) { \
        return *address;                          \
    }
SIMT_CACHED_LOAD(__ldg)
SIMT_CACHED_LOAD(__ldca)
SIMT_CACHED_LOAD(__ldcg)
SIMT_CACHED_LOAD(__ldcs)
SIMT_CACHED_LOAD(__ldcv)
#undef SIMT_CACHED_LOAD
#define SIMT_CACHED_STORE(name)                         \
    template <class T>                                  \
    SIMT_ALWAYS_INLINE void name(T* address, T value) { \
        *address = value;                               \
    }
SIMT_CACHED_STORE(__stcg)
SIMT_CACHED_STORE(__stcs)
SIMT_CACHED_STORE(__stwb)
SIMT_CACHED_STORE(__stwt)
#undef SIMT_CACHED_STORE

SIMT_ALWAYS_INLINE void __trap() { simt::trap(); }

template <class T>
SIMT_ALWAYS_INLINE void surf2Dwrite(T value, cudaSurfaceObject_t surface, int x_bytes, int y) {
    static_assert(sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16);
    simt::write_surface(surface, &value, sizeof(T), x_bytes, y);
}
