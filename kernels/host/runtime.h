// Between the parts of the runner: launches, fibers, watched memory.
#pragma once

#include <string>
#include <vector>

#include "cuda_host.h"

namespace cuda_host {

struct Launch {
    std::string name;
    Call call;
    unsigned threads;  // largest block that the kernel was compiled for
    dim3 grid, block;
    size_t shared;
    std::vector<Argument> arguments;
};

// In which order threads run between two waits.
enum class Order { Forward, Reversed, Random };

// Runs a launch; ends the process with a message when the kernel does what CUDA leaves undefined.
void run(const Launch &launch, Order order);

// What memory.cpp is told: buffers of global memory, whether their content counts as written;
void memory_buffer(void *start, size_t bytes, bool written);
// a block begins, with its dynamic shared memory;
void memory_block(void *shared, size_t bytes);
// thread `index` of the block runs, on its stack;
void memory_thread(unsigned index, const void *stack, size_t bytes);
// all threads of the block, or all lanes of a warp, have met; a launch is over.
void memory_barrier();
void memory_warp_barrier(unsigned warp);
void memory_launch();

}  // namespace cuda_host
