// A constant sparse matrix times a dense one, the twin of src/ops/sparse. Bandwidth: per entry a
// row of the dense matrix is read, mostly from the second-level cache.
#include "common.cuh"

// out[row, :] = sum over the row's entries of value x[column, :], in order. Compressed rows:
// entries offsets[row] .. offsets[row + 1]; x and out have `width` columns. Grid: (width / 128, rows)
// with rows over y and z, at most 65,535 in y.
extern "C" __global__ void __launch_bounds__(128)
sparse_product(const float *x, float *out, const int *offsets, const int *columns,
               const float *values, int rows, int width) {
    const int row = blockIdx.z * gridDim.y + blockIdx.y, i = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows || i >= width) return;
    float sum = 0.0f;
    for (int e = offsets[row]; e < offsets[row + 1]; e++)
        sum += values[e] * x[(size_t)columns[e] * width + i];
    out[(size_t)row * width + i] = sum;
}
