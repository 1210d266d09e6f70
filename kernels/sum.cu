// The second stage of sums over parts of a batch: bandwidth, every part is read once.
#include "common.cuh"

// out[i] = sum over parts in order of parts[part, i], i < n. Grid: n / 256.
extern "C" __global__ void __launch_bounds__(256)
sum_parts(const float *parts, float *out, int count, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float sum = 0.0f;
    for (int part = 0; part < count; part++) sum += parts[(size_t)part * n + i];
    out[i] = sum;
}
