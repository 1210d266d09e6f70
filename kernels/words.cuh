// Levels of the truncated tensor algebra: level k, k = 1 .. depth, has c^k words, all levels one
// after another (src/words).
#pragma once

#include "common.cuh"

constexpr int MAX_DEPTH = 16;

// c^k and the first element of level k (k from 1), for k up to the depth.
struct Levels {
    int channels, depth;
    int power[MAX_DEPTH + 1], first[MAX_DEPTH + 2];
};

__device__ __forceinline__ Levels levels_of(int channels, int depth) {
    Levels l;
    l.channels = channels;
    l.depth = depth;
    l.power[0] = 1;
    l.first[0] = l.first[1] = 0;
    for (int k = 1; k <= depth; k++) {
        l.power[k] = l.power[k - 1] * channels;
        l.first[k + 1] = l.first[k] + l.power[k];
    }
    return l;
}
