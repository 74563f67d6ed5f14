// A switch between stacks: a few instructions on x86-64, ucontext (with its system calls) elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace simt {

#ifdef __x86_64__
extern "C" void simt_switch_stack(void** save, void* load);

struct Context {
    void* stack_pointer = nullptr;

    void prepare(unsigned char* stack, size_t bytes, void (*entry)()) {
        auto* top = reinterpret_cast<uint64_t*>((reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t{15});
        *--top = 0;  // where entry would return to: it never does
        *--top = reinterpret_cast<uint64_t>(entry);
        for (int i = 0; i < 6; i++) *--top = 0;  // the callee-saved registers
        stack_pointer = top;
    }
    void switch_to(Context& other) { simt_switch_stack(&stack_pointer, other.stack_pointer); }
};
#else
struct Context {
    ucontext_t context;

    void prepare(unsigned char* stack, size_t bytes, void (*entry)()) {
        getcontext(&context);
        context.uc_stack.ss_sp = stack;
        context.uc_stack.ss_size = bytes;
        context.uc_link = nullptr;
        makecontext(&context, entry, 0);
    }
    void switch_to(Context& other) { swapcontext(&context, &other.context); }
};
#endif

}  // namespace simt
