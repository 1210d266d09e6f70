// Backward pass of the Clebsch-Gordan step, the twin of src/ops/cg/backward.rs; formulas there. The
// product t is computed again, twice: as a tile for the gradient of the weights, and per channel
// for that of h, where lanes are channels and every sum into a row of h's gradient belongs to one
// thread, so nothing is atomic.
//
// At C = J = 60, lmax 6 to 6 a sample reads 47 kB, writes 12 kB and takes about 8 MFLOP: limited by
// f32 arithmetic and shared-memory loads, not by memory.
#include "cg.cuh"

namespace {

constexpr int CHANNELS = 64;  // channels of a block of cg_input, two per lane
constexpr int ORDERS = 8;     // orders of a degree that are multiplied at a time

__device__ __forceinline__ int padded(int orders) { return (orders + ORDERS - 1) / ORDERS * ORDERS; }

}  // namespace

// inverse [batch] = 1 / n, and pull [batch] = <g, out - bias part> / n^2. One block of 256 threads
// per sample.
extern "C" __global__ void __launch_bounds__(256)
cg_norms(const float *h, const float *norm, const float *out, const float *g, const float *sums,
         float *inverse, float *pull, const int *degrees, const int *paths, const int *orders,
         const int *terms, int lmax, int channels, int columns, int dim, int out_dim, float eps) {
    __shared__ float squares_of[8], dots_of[8];
    const CgTables tables{degrees, paths, orders, reinterpret_cast<const int2 *>(terms)};
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const float *sample = h + (size_t)blockIdx.x * dim;
    float squares = 0.0f;
    for (int l = 0; l <= lmax; l++) {
        const int n = 2 * l + 1, first = tables.degrees[4 * l];
        const int rows = (tables.degrees[4 * l + 1] - first) * n;
        float sum = 0.0f;
        for (int row = warp; row < rows; row += 8) {
            const int *order = tables.orders + tables.paths[4 * (first + row / n) + 1] + row % n;
            for (int c = lane; c < channels; c += 32) {
                const float t = cg_product(tables.terms, order[0], order[1], sample + c, channels);
                sum += t * t;
            }
        }
        squares += sum / n;
    }
    const size_t at = (size_t)blockIdx.x * out_dim;
    float dot = 0.0f;
    for (int e = threadIdx.x; e < out_dim; e += 256) {
        const float bias = e < columns ? norm[lmax + 1] * sums[e] : 0.0f;
        dot += g[at + e] * (out[at + e] - bias);
    }
    squares = warp_sum(squares);
    dot = warp_sum(dot);
    if (lane == 0) {
        squares_of[warp] = squares;
        dots_of[warp] = dot;
    }
    __syncthreads();
    if (threadIdx.x > 0) return;
    squares = dot = 0.0f;
    for (int i = 0; i < 8; i++) {
        squares += squares_of[i];
        dot += dots_of[i];
    }
    const float n2 = squares + eps;
    inverse[blockIdx.x] = 1.0f / sqrtf(n2);
    pull[blockIdx.x] = dot / n2;
}

// parts[split, batch, dim]: what the output degrees splits[split] .. splits[split + 1] give to the
// gradient of h. A warp is a sample, its lanes 64 channels of h. Block (32, samples), grid
// (batch / samples, splits, C / 64). Dynamic shared memory, in floats: per sample gradient of out
// [J, padded orders], of h [rows, 64], of t [orders, 64]; and a path's weights [J, 65].
extern "C" __global__ void __launch_bounds__(128)
cg_input(const float *h, const float *weights, const float *norm, const float *g,
         const float *inverse, const float *pull, float *parts, const int *splits,
         const int *degrees, const int *paths, const int *orders, const int *terms, int lmax_in,
         int lmax, int channels, int columns, int batch, int dim, int out_dim) {
    DYNAMIC_SHARED(float, shared);
    const CgTables tables{degrees, paths, orders, reinterpret_cast<const int2 *>(terms)};
    const int lane = threadIdx.x, warp = threadIdx.y, threads = 32 * blockDim.y;
    const int sample = blockIdx.x * blockDim.y + warp, first_channel = blockIdx.z * CHANNELS;
    const int rows = (lmax_in + 1) * (lmax_in + 1), most = 2 * lmax + 1;
    // Aligned to float4: widths are multiples of eight.
    const int each = columns * padded(most) + (rows + most) * CHANNELS;
    float *gout = shared + warp * each;
    float *gh = gout + columns * padded(most);
    float *gt = gh + rows * CHANNELS;
    float *w = shared + blockDim.y * each;
    // A sample beyond the batch goes along, for the barriers, on the last sample's numbers.
    const int clamped = min(sample, batch - 1);
    const float *hs = h + (size_t)clamped * dim;
    const float *gs = g + (size_t)clamped * out_dim;
    const float scale_n = inverse[clamped], share_n = pull[clamped];
    // The two channels of this lane, and where to read for a channel that does not exist.
    const int c[2] = {lane, lane + 32};
    const bool in[2] = {first_channel + c[0] < channels, first_channel + c[1] < channels};
    const float *hc[2] = {hs + (in[0] ? first_channel + c[0] : 0),
                          hs + (in[1] ? first_channel + c[1] : 0)};
    for (int e = lane; e < rows * CHANNELS; e += 32) gh[e] = 0.0f;
    for (int l = splits[blockIdx.y]; l < splits[blockIdx.y + 1]; l++) {
        const int n = 2 * l + 1, width = padded(n);
        __syncwarp();
        for (int e = lane; e < columns * width; e += 32) {
            const int j = e % columns, m = e / columns;
            gout[j * width + m] = m < n ? gs[(l * l + m) * columns + j] * scale_n : 0.0f;
        }
        const float scale = norm[l], share = share_n / n;
        for (int p = tables.degrees[4 * l]; p < tables.degrees[4 * l + 1]; p++) {
            const int *path = tables.paths + 4 * p;
            __syncthreads();
            for (int e = warp * 32 + lane; e < columns * CHANNELS; e += threads) {
                const int j = e % columns, k = e / columns;
                w[j * (CHANNELS + 1) + k] = first_channel + k < channels
                                                ? weights[path[0] + (first_channel + k) * columns + j]
                                                : 0.0f;
            }
            __syncthreads();
            for (int m0 = 0; m0 < n; m0 += ORDERS) {
                float sum[2][ORDERS] = {};
                for (int j = 0; j < columns; j++) {
                    const float w0 = w[j * (CHANNELS + 1) + c[0]], w1 = w[j * (CHANNELS + 1) + c[1]];
                    const float4 *at = reinterpret_cast<const float4 *>(gout + j * width + m0);
                    const float4 low = at[0], high = at[1];
                    const float v[ORDERS] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
                    for (int i = 0; i < ORDERS; i++) {
                        sum[0][i] += w0 * v[i];
                        sum[1][i] += w1 * v[i];
                    }
                }
                // dL/dt = w_l G / n - share t
                const int *order = tables.orders + path[1] + m0;
#pragma unroll
                for (int i = 0; i < ORDERS; i++) {
                    if (m0 + i >= n) break;
#pragma unroll
                    for (int k = 0; k < 2; k++) {
                        const float t = cg_product(tables.terms, order[i], order[i + 1], hc[k], channels);
                        gt[(m0 + i) * CHANNELS + c[k]] = scale * sum[k][i] - share * t;
                    }
                }
            }
            // To both factors of every term; terms that share their first row follow each other.
            for (int i = path[2]; i < path[3];) {
                const int first = cg_term(tables.terms, i).first;
                const float a[2] = {hc[0][first * channels], hc[1][first * channels]};
                float ga[2] = {0.0f, 0.0f};
                for (; i < path[3]; i++) {
                    const CgTerm t = cg_term(tables.terms, i);
                    if (t.first != first) break;
#pragma unroll
                    for (int k = 0; k < 2; k++) {
                        const float kg = t.coefficient * gt[t.order * CHANNELS + c[k]];
                        ga[k] += kg * hc[k][t.second * channels];
                        gh[t.second * CHANNELS + c[k]] += kg * a[k];
                    }
                }
                gh[first * CHANNELS + c[0]] += ga[0];
                gh[first * CHANNELS + c[1]] += ga[1];
            }
        }
    }
    if (sample >= batch) return;
    float *out = parts + ((size_t)blockIdx.y * batch + sample) * dim + first_channel;
    for (int row = 0; row < rows; row++)
        for (int k = 0; k < 2; k++)
            if (in[k]) out[row * channels + c[k]] = gh[row * CHANNELS + c[k]];
}

// parts[part, weight] = sum over the part's samples and m of t g / n, for the weights of live
// paths. Grid: (live paths, (C / 32)(J / 64), parts); a part is `samples` samples.
extern "C" __global__ void __launch_bounds__(128)
cg_weights(const float *h, const float *g, const float *inverse, float *parts, const int *degrees,
           const int *paths, const int *orders, const int *terms, int channels, int columns,
           int batch, int samples, int dim, int out_dim, int weights) {
    __shared__ Tile<16> tile;
    const CgTables tables{degrees, paths, orders, reinterpret_cast<const int2 *>(terms)};
    const int path = blockIdx.x, tiles = (channels + TILE_ROWS - 1) / TILE_ROWS;
    const int first = blockIdx.y % tiles * TILE_ROWS, column = blockIdx.y / tiles * TILE_COLUMNS;
    int l = 0;
    while (path >= tables.degrees[4 * l + 1]) l++;
    const int n = 2 * l + 1, start = l * l;
    const int begin = blockIdx.z * samples * n, end = min((int)(blockIdx.z + 1) * samples, batch) * n;
    const int *order = tables.orders + tables.paths[4 * path + 1];
    float sum[4][4] = {};
    auto a = [&](int k, int row, int) {
        row += first;
        const int m = k % n;
        return row < channels ? cg_product(tables.terms, order[m], order[m + 1],
                                           h + (size_t)(k / n) * dim + row, channels)
                              : 0.0f;
    };
    auto b = [&](int k, int j) {
        j += column;
        const int sample = k / n;
        return j < columns
                   ? g[(size_t)sample * out_dim + (start + k % n) * columns + j] * inverse[sample]
                   : 0.0f;
    };
    tile_product<16, false, false>(tile, begin, end, a, b, sum);
    float *out = parts + (size_t)blockIdx.z * weights + tables.paths[4 * path];
    for (int i = 0; i < 4; i++) {
        const int row = first + tile_row() + i;
        for (int k = 0; k < 4; k++) {
            const int j = column + tile_column() + k;
            if (row < channels && j < columns) out[row * columns + j] = sum[i][k];
        }
    }
}

// column [J] = sum over samples of the gradient of scalars, g[b, 0, j]; in f64 as on the CPU.
// Block (32, 8), grid: J / 32.
extern "C" __global__ void __launch_bounds__(256)
cg_scalars(const float *g, float *column, int columns, int batch, int out_dim) {
    __shared__ double shared[8][32];
    const int j = blockIdx.x * 32 + threadIdx.x;
    double sum = 0.0;
    if (j < columns)
        for (int b = threadIdx.y; b < batch; b += 8) sum += g[(size_t)b * out_dim + j];
    shared[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || j >= columns) return;
    sum = 0.0;
    for (int i = 0; i < 8; i++) sum += shared[i][threadIdx.x];
    column[j] = (float)sum;
}

// gweights = norm[l] U + bias column[j] [l = 0], U the sum of `count` parts, zero for dead pairs
// (alive[pair], pairs of all degrees one after another). dots[block] = <W, U> of the block's
// weights. Grid: (blocks of 1024 weights of the largest degree, degrees).
extern "C" __global__ void __launch_bounds__(256)
cg_finish_weights(const float *parts, const float *weights, const float *norm, const float *column,
                  float *gweights, double *dots, const int *degrees, const int *alive, int lmax,
                  int channels, int columns, int count, int total) {
    __shared__ double shared[8];
    const int l = blockIdx.y, *d = degrees + 4 * l;
    int pair = 0;
    for (int i = 0; i < l; i++) pair += degrees[4 * i + 3];
    double dot = 0.0;
    for (int i = 0; i < 4; i++) {
        const int e = (blockIdx.x * 4 + i) * 256 + threadIdx.x;
        if (e >= d[3] * channels * columns) break;
        const int at = d[2] + e;
        float u = 0.0f;
        if (alive[pair + e / (channels * columns)])
            for (int part = 0; part < count; part++) u += parts[(size_t)part * total + at];
        dot += (double)u * weights[at];
        gweights[at] = norm[l] * u + (l == 0 ? norm[lmax + 1] * column[e % columns] : 0.0f);
    }
    dot = warp_sum(dot);
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = dot;
    __syncthreads();
    if (threadIdx.x > 0) return;
    dot = 0.0;
    for (int i = 0; i < 8; i++) dot += shared[i];
    dots[blockIdx.y * gridDim.x + blockIdx.x] = dot;
}

// gnorm [lmax + 2] from the dots of `blocks` blocks per degree, and of the bias. One block of 32
// threads per element.
extern "C" __global__ void __launch_bounds__(32)
cg_finish_norm(const double *dots, const float *sums, const float *column, float *gnorm, int lmax,
               int columns, int blocks) {
    const int l = blockIdx.x;
    double sum = 0.0;
    if (l <= lmax)
        for (int i = threadIdx.x; i < blocks; i += 32) sum += dots[l * blocks + i];
    else
        for (int j = threadIdx.x; j < columns; j += 32) sum += (double)column[j] * sums[j];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) gnorm[l] = (float)sum;
}
