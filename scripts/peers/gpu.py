"""The H-AE of hae.py (PyTorch, the published architecture) on a GPU: training steps timed with
CUDA events, one JSON object per line, in the units of `holosig bench`."""

import json
import sys

import torch

import hae

if not torch.cuda.is_available():
    sys.exit("peers: PyTorch sees no GPU")
torch.backends.cuda.matmul.allow_tf32 = False


def rate(batch, config, product):
    model = hae.HAE(**config, product=product).cuda()
    x = torch.randn(batch, hae.coefficients(config["lmax"]), device="cuda")
    step = hae.trainer(model, x)
    for _ in range(5):
        step()
    times = []
    for _ in range(30):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        step()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return batch / sorted(times)[len(times) // 2]


for name, config in hae.MODELS.items():
    for batch in (64, 512):
        for product in ("dense", "e3nn"):
            torch.cuda.reset_peak_memory_stats()
            speed = rate(batch, config, product)
            print(json.dumps({
                "case": f"hae-train-{name}-b{batch}", "peer": f"PyTorch, {product} products",
                "per_second": speed, "unit": "neighborhoods/s",
                "peak_memory_mb": torch.cuda.max_memory_allocated() / 1e6,
            }), flush=True)
