// The hidden layer h = relu(u W + b) of src/ops/hidden: its average over time, its projections,
// and the gradients. Shapes as there: u [N, T, d], layer [d + 1, H] (rows of W, then b), right
// [H, columns]; a row is a (node, frame).
//
// h is made where a matrix product needs it, d multiply-adds a number, and never stored. On the way
// back its gradient is scratch memory of one call. With d = 3, H = 20 and 24 columns a row is 12
// bytes in, 96 out and 1.1 kFLOP: limited by f32 arithmetic.
#include "common.cuh"

namespace {

// Numbers of rows (node, frame), and of what belongs to each.
struct Sizes {
    int rows, frames, features, width;
};

// h of one row at one column.
__device__ __forceinline__ float hidden(const float *u, const float *layer, const Sizes &s, int row,
                                        int column) {
    float sum = layer[s.features * s.width + column];
    for (int i = 0; i < s.features; i++)
        sum += u[(size_t)row * s.features + i] * layer[i * s.width + column];
    return sum < 0.0f ? 0.0f : sum;  // NaN stays
}

// Where projection `column` of a row is: words [N words, T e], e columns to a word.
__device__ __forceinline__ size_t projected(const Sizes &s, int words, int columns, int row, int column) {
    const int e = columns / words, node = row / s.frames, frame = row % s.frames;
    return ((size_t)(node * words + column / e) * s.frames + frame) * e + column % e;
}

}  // namespace

// out[n, j] = sum_t weights[t] h[n, t, j]. Grid: N H / 128.
extern "C" __global__ void __launch_bounds__(128)
hidden_average(const float *u, const float *layer, const float *weights, float *out, int rows,
               int frames, int features, int width) {
    const Sizes s{rows, frames, features, width};
    const int i = blockIdx.x * blockDim.x + threadIdx.x, node = i / width;
    if (node >= rows / frames) return;
    float sum = 0.0f;
    for (int t = 0; t < frames; t++)
        sum += weights[t] * hidden(u, layer, s, node * frames + t, i % width);
    out[i] = sum;
}

// out = h right, words side by side become rows. Grid: (rows / 32, columns / 64).
extern "C" __global__ void __launch_bounds__(128)
hidden_project(const float *u, const float *layer, const float *right, float *out, int rows,
               int frames, int features, int width, int words, int columns) {
    __shared__ Tile<16> tile;
    const Sizes s{rows, frames, features, width};
    const int first = blockIdx.x * TILE_ROWS, column = blockIdx.y * TILE_COLUMNS;
    float sum[4][4] = {};
    auto a = [&](int k, int row, int) {
        return first + row < rows ? hidden(u, layer, s, first + row, k) : 0.0f;
    };
    auto b = [&](int k, int j) {
        return column + j < columns ? right[k * columns + column + j] : 0.0f;
    };
    tile_product<16, true, false>(tile, 0, width, a, b, sum);
    for (int i = 0; i < 4; i++) {
        const int row = first + tile_row() + i;
        for (int k = 0; k < 4; k++) {
            const int j = column + tile_column() + k;
            if (row < rows && j < columns) out[projected(s, words, columns, row, j)] = sum[i][k];
        }
    }
}

// gh [rows, H], the gradient of u W + b, from that of the average, g [N, H]. Grid: rows H / 128.
extern "C" __global__ void __launch_bounds__(128)
hidden_unaverage(const float *u, const float *layer, const float *weights, const float *g, float *gh,
                 int rows, int frames, int features, int width) {
    const Sizes s{rows, frames, features, width};
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int row = i / width, j = i % width;
    if (row >= rows) return;
    gh[i] = hidden(u, layer, s, row, j) > 0.0f ? weights[row % frames] * g[row / frames * width + j]
                                               : 0.0f;
}

// The same from the gradient g of the projections. Grid: (rows / 32, H / 64).
extern "C" __global__ void __launch_bounds__(128)
hidden_unproject(const float *u, const float *layer, const float *right, const float *g, float *gh,
                 int rows, int frames, int features, int width, int words, int columns) {
    __shared__ Tile<16> tile;
    const Sizes s{rows, frames, features, width};
    const int first = blockIdx.x * TILE_ROWS, column = blockIdx.y * TILE_COLUMNS;
    float sum[4][4] = {};
    auto a = [&](int k, int row, int) {
        return first + row < rows ? g[projected(s, words, columns, first + row, k)] : 0.0f;
    };
    auto b = [&](int k, int j) {
        return column + j < width ? right[(column + j) * columns + k] : 0.0f;
    };
    tile_product<16, true, true>(tile, 0, columns, a, b, sum);
    for (int i = 0; i < 4; i++) {
        const int row = first + tile_row() + i;
        for (int k = 0; k < 4; k++) {
            const int j = column + tile_column() + k;
            if (row < rows && j < width)
                gh[(size_t)row * width + j] = hidden(u, layer, s, row, j) > 0.0f ? sum[i][k] : 0.0f;
        }
    }
}

// parts[part, d + 1, H]: sums over the part's rows, `each` of them, of (u, 1)^T gh.
// Grid: ((d + 1) / 32, H / 64, parts).
extern "C" __global__ void __launch_bounds__(128)
hidden_layer(const float *u, const float *gh, float *parts, int rows, int features, int width,
             int each) {
    __shared__ Tile<16> tile;
    const int first = blockIdx.x * TILE_ROWS, column = blockIdx.y * TILE_COLUMNS;
    float sum[4][4] = {};
    auto a = [&](int k, int row, int) {
        row += first;
        return row < features ? u[(size_t)k * features + row] : row == features ? 1.0f : 0.0f;
    };
    auto b = [&](int k, int j) {
        return column + j < width ? gh[(size_t)k * width + column + j] : 0.0f;
    };
    const int begin = blockIdx.z * each;
    tile_product<16, false, false>(tile, begin, min(begin + each, rows), a, b, sum);
    float *out = parts + (size_t)blockIdx.z * (features + 1) * width;
    for (int i = 0; i < 4; i++) {
        const int row = first + tile_row() + i;
        for (int k = 0; k < 4; k++) {
            const int j = column + tile_column() + k;
            if (row <= features && j < width) out[row * width + j] = sum[i][k];
        }
    }
}

// parts[part, H, columns]: sums over the part's rows of h^T g, g the gradient of the projections.
// Grid: (H / 32, columns / 64, parts).
extern "C" __global__ void __launch_bounds__(128)
hidden_right(const float *u, const float *layer, const float *g, float *parts, int rows, int frames,
             int features, int width, int words, int columns, int each) {
    __shared__ Tile<16> tile;
    const Sizes s{rows, frames, features, width};
    const int first = blockIdx.x * TILE_ROWS, column = blockIdx.y * TILE_COLUMNS;
    float sum[4][4] = {};
    auto a = [&](int k, int row, int) {
        return first + row < width ? hidden(u, layer, s, k, first + row) : 0.0f;
    };
    auto b = [&](int k, int j) {
        return column + j < columns ? g[projected(s, words, columns, k, column + j)] : 0.0f;
    };
    const int begin = blockIdx.z * each;
    tile_product<16, false, false>(tile, begin, min(begin + each, rows), a, b, sum);
    float *out = parts + (size_t)blockIdx.z * width * columns;
    for (int i = 0; i < 4; i++) {
        const int row = first + tile_row() + i;
        for (int k = 0; k < 4; k++) {
            const int j = column + tile_column() + k;
            if (row < width && j < columns) out[row * columns + j] = sum[i][k];
        }
    }
}

// gu[row, i] = sum_j gh[row, j] W[i, j]. Grid: rows d / 128.
extern "C" __global__ void __launch_bounds__(128)
hidden_input(const float *gh, const float *layer, float *gu, int rows, int features, int width) {
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int row = i / features;
    if (row >= rows) return;
    const float *g = gh + (size_t)row * width, *w = layer + i % features * width;
    float sum = 0.0f;
    for (int j = 0; j < width; j++) sum += g[j] * w[j];
    gu[i] = sum;
}
