// Linear maps over the channels of each degree, the twin of src/ops/linear.
//
// The first map of the model at z = 128, lmax = 6 (1,708 numbers to 44 channels) reads 6.8 kB and
// writes 8.6 kB per sample for 150 kFLOP: about even between bandwidth and f32 arithmetic.
#include "common.cuh"

namespace {

// One degree: channels of both sides, where (m = 0, channel 0) is in a sample, strides of m and of
// the channels, and where the weights are, w[k * w_in + j * w_out] for channels k in and j out.
struct Degree {
    int in, out, from, from_m, from_c, to, to_m, to_c, w, w_in, w_out;
};

__device__ __forceinline__ Degree degree(const int *table, int l) {
    const int *t = table + 11 * l;
    return {t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10]};
}

template <bool W_ALONG_K>
__device__ __forceinline__ void map_tile(Tile<16> &tile, const float *x, const float *w, float *out,
                                         const Degree &d, const RowTile &rows, int column,
                                         int x_dim, int out_dim) {
    const int n = 2 * rows.l + 1;
    float sum[4][4] = {};
    auto a = [&](int k, int row, int) {
        row += rows.first;
        return row < rows.rows
                   ? x[(size_t)(row / n) * x_dim + d.from + row % n * d.from_m + k * d.from_c]
                   : 0.0f;
    };
    auto b = [&](int k, int j) {
        j += column;
        return j < d.out ? w[d.w + k * d.w_in + j * d.w_out] : 0.0f;
    };
    tile_product<16, true, W_ALONG_K>(tile, 0, d.in, a, b, sum);
    for (int i = 0; i < 4; i++) {
        const int row = rows.first + tile_row() + i;
        for (int k = 0; k < 4; k++) {
            const int j = column + tile_column() + k;
            if (row < rows.rows && j < d.out)
                out[(size_t)(row / n) * out_dim + d.to + row % n * d.to_m + j * d.to_c] = sum[i][k];
        }
    }
}

}  // namespace

// out[b, l, m, j] = sum_k x[b, l, m, k] w_l[k, j] for the degrees 0 .. lmax of the table.
// x [batch, x_dim], out [batch, out_dim]. Grid: (tiles of 32 rows of all degrees, columns / 64).
extern "C" __global__ void __launch_bounds__(128)
linear_forward(const float *x, const float *w, float *out, const int *table, int lmax, int batch,
               int x_dim, int out_dim) {
    __shared__ Tile<16> tile;
    const RowTile rows = row_tile(blockIdx.x, lmax, batch);
    const int column = blockIdx.y * TILE_COLUMNS;
    if (rows.l > lmax) return;
    const Degree d = degree(table, rows.l);
    if (column >= d.out) return;
    if (d.w_in == 1)
        map_tile<true>(tile, x, w, out, d, rows, column, x_dim, out_dim);
    else
        map_tile<false>(tile, x, w, out, d, rows, column, x_dim, out_dim);
}

// parts[part, w_l[i, j]] = sum_(b, m) x[b, l, m, i] g[b, l, m, j] over the samples of the part,
// `samples` of them. The table is that of the forward map. Grid: (channels in / 32,
// channels out / 64, degrees * parts).
extern "C" __global__ void __launch_bounds__(128)
linear_weights(const float *x, const float *g, float *parts, const int *table, int lmax, int batch,
               int samples, int x_dim, int g_dim, int weights) {
    __shared__ Tile<16> tile;
    const int l = blockIdx.z % (lmax + 1), part = blockIdx.z / (lmax + 1), n = 2 * l + 1;
    const Degree d = degree(table, l);
    const int first = blockIdx.x * TILE_ROWS, column = blockIdx.y * TILE_COLUMNS;
    if (first >= d.in || column >= d.out) return;
    const int begin = part * samples * n, end = min((part + 1) * samples, batch) * n;
    float sum[4][4] = {};
    auto a = [&](int k, int row, int) {
        row += first;
        return row < d.in ? x[(size_t)(k / n) * x_dim + d.from + k % n * d.from_m + row * d.from_c]
                          : 0.0f;
    };
    auto b = [&](int k, int j) {
        j += column;
        return j < d.out ? g[(size_t)(k / n) * g_dim + d.to + k % n * d.to_m + j * d.to_c] : 0.0f;
    };
    tile_product<16, false, false>(tile, begin, end, a, b, sum);
    float *out = parts + (size_t)part * weights + d.w;
    for (int i = 0; i < 4; i++) {
        const int row = first + tile_row() + i;
        for (int k = 0; k < 4; k++) {
            const int j = column + tile_column() + k;
            if (row < d.in && j < d.out) out[row * d.w_in + j * d.w_out] = sum[i][k];
        }
    }
}
