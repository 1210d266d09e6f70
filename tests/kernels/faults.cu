// Faulty kernels: each does one thing that CUDA leaves undefined, for the tests that show that the
// runner finds it. Blocks are of 64 threads, x has 64 numbers.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(64) fault_none(float *x) {
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = s[63 - threadIdx.x] + warp_sum(1.0f);
}

extern "C" __global__ void __launch_bounds__(64) fault_read_beyond(float *x) {
    if (threadIdx.x == 63) x[63] = x[64];
}

extern "C" __global__ void __launch_bounds__(64) fault_write_before(float *x) {
    x[(int)threadIdx.x - 1] = 1.0f;
}

extern "C" __global__ void __launch_bounds__(64) fault_shared_beyond(float *x) {
    __shared__ float s[64];
    s[threadIdx.x + 1] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = s[threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(64) fault_dynamic_beyond(float *x) {
    DYNAMIC_SHARED(float, s);
    s[threadIdx.x + 1] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = s[threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(64) fault_unwritten(float *x) {
    DYNAMIC_SHARED(float, s);
    x[threadIdx.x] = s[threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(64) fault_no_barrier(float *x) {
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];
    x[threadIdx.x] = s[63 - threadIdx.x];
}

// The write after the read needs a barrier too.
extern "C" __global__ void __launch_bounds__(64) fault_no_second_barrier(float *x) {
    __shared__ float s[64];
    for (int i = 0; i < 2; i++) {
        s[threadIdx.x] = x[threadIdx.x] + i;
        __syncthreads();
        x[threadIdx.x] = s[63 - threadIdx.x];
    }
}

// __syncwarp orders the lanes of a warp, not the warps.
extern "C" __global__ void __launch_bounds__(64) fault_warps(float *x) {
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    x[threadIdx.x] = s[63 - threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(64) fault_blocks(float *x) {
    x[threadIdx.x] = blockIdx.x;
}

extern "C" __global__ void __launch_bounds__(64) fault_half_barrier(float *x) {
    if (threadIdx.x < 32) __syncthreads();
    x[threadIdx.x] = 1.0f;
}

extern "C" __global__ void __launch_bounds__(64) fault_two_barriers(float *x) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    x[threadIdx.x] = 1.0f;
}

extern "C" __global__ void __launch_bounds__(64) fault_missing_lanes(float *x) {
    if (threadIdx.x % 32 < 16) x[threadIdx.x] = warp_sum(x[threadIdx.x]);
}

extern "C" __global__ void __launch_bounds__(64) fault_absent_source(float *x) {
    if (threadIdx.x % 32 < 16)
        x[threadIdx.x] = __shfl_xor_sync(0xffffu, x[threadIdx.x], 16);
}

extern "C" __global__ void __launch_bounds__(32) fault_large_block(float *x) { x[threadIdx.x] = 1.0f; }
