// Forward pass of the Clebsch-Gordan step, the twin of src/ops/cg: tensor product, signal norm and
// linear map of a block. Formulas and names as there: h [batch, rows, C], t the product of a live
// path p, weights [pairs C, J] per degree, out [batch, rows, J].
//
// The product t is 10 to 20 times larger than h. It exists only as the shared-memory tile that a
// matrix product eats: a block makes 32 rows (sample, m) times 32 of the (p, c) at a time. The norm
// is a number per sample, applied when all its squares are known.
//
// At C = J = 60, lmax 6 to 6 a sample is 11.8 kB in and 11.8 kB out, and 3.0 MFLOP: limited by f32
// arithmetic and by the loads that feed it (two from the first-level cache for three FLOP in the
// product), not by memory.
#include "cg.cuh"

// sums[j] = sum over all rows of W_0. Block (64, 4), grid: J / 64.
extern "C" __global__ void __launch_bounds__(256)
cg_column_sums(const float *weights, float *sums, int rows, int columns) {
    __shared__ float shared[4][64];
    const int j = blockIdx.x * 64 + threadIdx.x;
    float sum = 0.0f;
    if (j < columns)
        for (int row = threadIdx.y; row < rows; row += 4) sum += weights[row * columns + j];
    shared[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && j < columns)
        sums[j] = (shared[0][threadIdx.x] + shared[1][threadIdx.x]) +
                  (shared[2][threadIdx.x] + shared[3][threadIdx.x]);
}

// out = t W, not yet divided by the norm, and squares [batch, (lmax + 1)^2] = sums of t^2 per
// (sample, l, m). dim and out_dim: numbers per sample of h and out. Grid: (tiles of 32 rows of all
// degrees, J / 64).
extern "C" __global__ void __launch_bounds__(128)
cg_forward(const float *h, const float *weights, float *out, float *squares, const int *degrees,
           const int *paths, const int *orders, const int *terms, int lmax, int channels,
           int columns, int batch, int dim, int out_dim) {
    __shared__ Tile<32> tile;
    const CgTables tables{degrees, paths, orders, reinterpret_cast<const int2 *>(terms)};
    const RowTile rows = row_tile(blockIdx.x, lmax, batch);
    if (rows.l > lmax) return;
    const int n = 2 * rows.l + 1, column = blockIdx.y * TILE_COLUMNS;
    const int first_path = tables.degrees[4 * rows.l];
    const int live = tables.degrees[4 * rows.l + 1] - first_path;
    float sum[4][4] = {};
    // A thread asks for the same rows at every k, the 32 lanes of a warp for neighbouring
    // channels of one row: terms are the same for all of them.
    float square[32 * TILE_ROWS / TILE_THREADS] = {};
    auto a = [&](int k, int row, int call) {
        row += rows.first;
        if (row >= rows.rows) return 0.0f;
        const int *path = tables.paths + 4 * (first_path + k / channels);
        const int *order = tables.orders + path[1] + row % n;
        const float t = cg_product(tables.terms, order[0], order[1],
                                   h + (size_t)(row / n) * dim + k % channels, channels);
        square[call] += t * t;
        return t;
    };
    auto b = [&](int k, int j) {
        j += column;
        if (j >= columns) return 0.0f;
        const int *path = tables.paths + 4 * (first_path + k / channels);
        return weights[path[0] + k % channels * columns + j];
    };
    tile_product<32, true, false>(tile, 0, live * channels, a, b, sum);
    const int start = rows.l * rows.l;
    for (int i = 0; i < 4; i++) {
        const int row = rows.first + tile_row() + i;
        for (int k = 0; k < 4; k++) {
            const int j = column + tile_column() + k;
            if (row < rows.rows && j < columns)
                out[(size_t)(row / n) * out_dim + (start + row % n) * columns + j] = sum[i][k];
        }
    }
    if (column > 0) return;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int i = 0; i < 32 * TILE_ROWS / TILE_THREADS; i++) {
        const float total = warp_sum(square[i]);
        const int row = rows.first + warp + i * (TILE_THREADS / 32);
        if (lane == 0 && row < rows.rows)
            squares[(size_t)(row / n) * (lmax + 1) * (lmax + 1) + start + row % n] = total;
    }
}

// In place: out = out * norm[l] / n + norm[bias] sums[j] [l = 0], n^2 = sum squares / (2 l + 1) + eps.
// One block of 128 threads per sample.
extern "C" __global__ void __launch_bounds__(128)
cg_finish(float *out, const float *squares, const float *norm, const float *sums, int lmax,
          int columns, float eps) {
    __shared__ float inverse_norm;
    const int rows = (lmax + 1) * (lmax + 1);
    if (threadIdx.x < 32) {
        float sum = 0.0f;
        for (int row = threadIdx.x; row < rows; row += 32)
            sum += squares[(size_t)blockIdx.x * rows + row] / (2 * (int)sqrtf((float)row) + 1);
        sum = warp_sum(sum);
        if (threadIdx.x == 0) inverse_norm = 1.0f / sqrtf(sum + eps);
    }
    __syncthreads();
    float *sample = out + (size_t)blockIdx.x * rows * columns;
    for (int l = 0; l <= lmax; l++) {
        const float scale = norm[l] * inverse_norm;
        for (int e = l * l * columns + threadIdx.x; e < (l + 1) * (l + 1) * columns; e += blockDim.x)
            sample[e] = sample[e] * scale + (l == 0 ? norm[lmax + 1] * sums[e] : 0.0f);
    }
}
