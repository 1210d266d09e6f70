// Reads buffers and launches from standard input, runs them, writes the buffers that are asked for
// to standard output. All numbers are little-endian, as tests/kernels.rs writes them:
//
//   u32 order (0 forward, 1 reversed, 2 random)
//   u32 count, per buffer: char type ('f' 'd' 'i' 'b'), u8 given, u8 wanted, u64 bytes, content if given
//   u32 count, per launch: u32 length and name, u32 grid[3], block[3], shared,
//       u32 count, per argument: char tag ('B': buffer number, or 'F' 'D' 'I'), 8 bytes
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "runtime.h"

namespace {

struct Kernel {
    unsigned threads;
    cuda_host::Call call;
};
std::map<std::string, Kernel> &kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

void read_bytes(void *to, size_t bytes) {
    if (fread(to, 1, bytes, stdin) != bytes) cuda_host::fail("the request ends early");
}

template <class T>
T read() {
    T value;
    read_bytes(&value, sizeof value);
    return value;
}

struct Buffer {
    char type;
    bool wanted;
    size_t bytes;
    void *memory;
};

Buffer read_buffer() {
    Buffer b{};
    b.type = read<char>();
    bool given = read<uint8_t>();
    b.wanted = read<uint8_t>();
    b.bytes = read<uint64_t>();
    // Aligned as device memory is, to 256 bytes, and of the exact size, for the address sanitizer.
    if (posix_memalign(&b.memory, 256, b.bytes > 0 ? b.bytes : 1) != 0) cuda_host::fail("no memory");
    memset(b.memory, 0xff, b.bytes);  // NaN, to be seen in results
    if (given) read_bytes(b.memory, b.bytes);
    cuda_host::memory_buffer(b.memory, b.bytes, given);
    return b;
}

cuda_host::Launch read_launch(const std::vector<Buffer> &buffers) {
    cuda_host::Launch launch{};
    launch.name.resize(read<uint32_t>());
    read_bytes(&launch.name[0], launch.name.size());
    auto kernel = kernels().find(launch.name);
    if (kernel == kernels().end()) cuda_host::fail("no kernel named %s", launch.name.c_str());
    launch.call = kernel->second.call;
    launch.threads = kernel->second.threads;
    launch.grid = read<dim3>();
    launch.block = read<dim3>();
    launch.shared = read<uint32_t>();
    launch.arguments.resize(read<uint32_t>());
    for (cuda_host::Argument &a : launch.arguments) {
        a.tag = read<char>();
        read_bytes(&a.address, 8);
        if (a.tag != 'B') continue;
        size_t i = reinterpret_cast<size_t>(a.address);
        if (i >= buffers.size()) cuda_host::fail("no buffer %zu", i);
        a.tag = buffers[i].type;
        a.address = buffers[i].memory;
    }
    return launch;
}

}  // namespace

cuda_host::Registration::Registration(const char *name, unsigned threads, Call call) {
    kernels()[name] = {threads, call};
}

int main() {
    auto order = static_cast<cuda_host::Order>(read<uint32_t>());
    std::vector<Buffer> buffers(read<uint32_t>());
    for (Buffer &b : buffers) b = read_buffer();
    for (uint32_t n = read<uint32_t>(); n > 0; n--) cuda_host::run(read_launch(buffers), order);
    for (const Buffer &b : buffers)
        if (b.wanted && fwrite(b.memory, 1, b.bytes, stdout) != b.bytes) return 1;
    for (const Buffer &b : buffers) free(b.memory);
    return fflush(stdout) == 0 ? 0 : 1;
}
