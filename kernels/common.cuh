// What the kernels share: the host compiler's CUDA, dynamic shared memory, tiles of matrix products.
#pragma once

#ifndef __CUDACC__
#include "host/cuda_host.h"
#endif

// The launch's dynamic shared memory as an array of T.
#ifdef __CUDACC__
#define DYNAMIC_SHARED(T, name)                                      \
    extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
    T *const name = reinterpret_cast<T *>(dynamic_shared)
#else
#define DYNAMIC_SHARED(T, name) T *const name = static_cast<T *>(cuda_host::dynamic_shared())
#endif

// A block of 128 threads computes a tile of 32 rows and 64 columns of a matrix product, each
// thread four rows by four columns. DEPTH terms of the sum are in shared memory at a time, while
// the next ones are fetched to registers.
constexpr int TILE_ROWS = 32;
constexpr int TILE_COLUMNS = 64;
constexpr int TILE_THREADS = 128;

template <int DEPTH>
struct __align__(16) Tile {
    // Rows are padded so that writing along k meets few bank conflicts and float4 stay aligned.
    float a[DEPTH][TILE_ROWS + 4];
    float b[DEPTH][TILE_COLUMNS + 4];
};

// First row and column, in the tile, of a thread's sixteen sums.
__device__ __forceinline__ int tile_row() { return threadIdx.x / 16 * 4; }
__device__ __forceinline__ int tile_column() { return threadIdx.x % 16 * 4; }

// sum[i][j] += sum_k a(k, row) b(k, column) for row = tile_row() + i, column = tile_column() + j and
// k from `begin` to `end`. All 128 threads call it; a and b are called for k < end only, and return
// zero where their row or column is beyond the matrix. a also gets the number of the call for one
// k, 0 .. DEPTH / 4 - 1, which stands for the same row each time when A_ALONG_K. Neighbouring
// threads ask for neighbouring k (ALONG_K) or neighbouring rows and columns.
template <int DEPTH, bool A_ALONG_K, bool B_ALONG_K, class A, class B>
__device__ __forceinline__ void tile_product(Tile<DEPTH> &tile, int begin, int end, A a, B b,
                                             float (&sum)[4][4]) {
    constexpr int A_COUNT = DEPTH * TILE_ROWS / TILE_THREADS;
    constexpr int B_COUNT = DEPTH * TILE_COLUMNS / TILE_THREADS;
    const int thread = threadIdx.x;
    float next_a[A_COUNT], next_b[B_COUNT];
    auto a_k = [&](int i) {
        const int e = thread + i * TILE_THREADS;
        return A_ALONG_K ? e % DEPTH : e / TILE_ROWS;
    };
    auto a_row = [&](int i) {
        const int e = thread + i * TILE_THREADS;
        return A_ALONG_K ? e / DEPTH : e % TILE_ROWS;
    };
    auto b_k = [&](int i) {
        const int e = thread + i * TILE_THREADS;
        return B_ALONG_K ? e % DEPTH : e / TILE_COLUMNS;
    };
    auto b_column = [&](int i) {
        const int e = thread + i * TILE_THREADS;
        return B_ALONG_K ? e / DEPTH : e % TILE_COLUMNS;
    };
    auto fetch = [&](int from) {
#pragma unroll
        for (int i = 0; i < A_COUNT; i++) {
            const int k = from + a_k(i);
            next_a[i] = k < end ? a(k, a_row(i), i) : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < B_COUNT; i++) {
            const int k = from + b_k(i);
            next_b[i] = k < end ? b(k, b_column(i)) : 0.0f;
        }
    };
    if (begin < end) fetch(begin);
    for (int from = begin; from < end; from += DEPTH) {
#pragma unroll
        for (int i = 0; i < A_COUNT; i++) tile.a[a_k(i)][a_row(i)] = next_a[i];
#pragma unroll
        for (int i = 0; i < B_COUNT; i++) tile.b[b_k(i)][b_column(i)] = next_b[i];
        __syncthreads();
        if (from + DEPTH < end) fetch(from + DEPTH);
        const int row = tile_row(), column = tile_column();
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            const float4 a4 = *reinterpret_cast<const float4 *>(&tile.a[k][row]);
            const float4 b4 = *reinterpret_cast<const float4 *>(&tile.b[k][column]);
            const float x[4] = {a4.x, a4.y, a4.z, a4.w}, y[4] = {b4.x, b4.y, b4.z, b4.w};
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sum[i][j] += x[i] * y[j];
        }
#ifndef SEED_TILE_BARRIER
        __syncthreads();
#endif
    }
}

// The sum of `value` over the 32 lanes of a warp, in every lane; always in the same order.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
    return value;
}

// The part of a steerable tensor that a tile's rows come from: rows (sample, m) of degree l, tiles
// of one degree after those of another.
struct RowTile {
    int l, first, rows;  // first row, counted over the batch; rows of the degree in all
};

// The `tile`-th of the tiles of degrees 0 .. lmax; l > lmax when there is none.
__device__ __forceinline__ RowTile row_tile(int tile, int lmax, int batch) {
    int l = 0;
    for (; l <= lmax; l++) {
        const int rows = batch * (2 * l + 1), tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
        if (tile < tiles) return {l, tile * TILE_ROWS, rows};
        tile -= tiles;
    }
    return {l, 0, 0};
}
