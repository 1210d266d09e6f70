"""The H-AE of Visani et al. in PyTorch, Wigner 3j symbols from e3nn; parameter names are the
published ones, so `load_state_dict` takes what `holosig export` writes.

A steerable tensor is a dict from degree l to [batch, channels, 2l + 1].
"""

import math

import torch
from e3nn import o3
from torch import nn


def radial_orders(l, nmax=20):
    return (nmax - l) // 2 + 1


def pairs(l_in, l3):
    """Coupled degrees (l1, l2), l1 >= l2, in the order of the published code."""
    for l1 in range(math.ceil(l3 / 2), l_in + 1):
        second = {l1}
        if l1 <= l3:
            second |= {l2 for l2 in (l3 - l1, l3 - l1 + 1) if l2 < l1}
        else:
            second.add(l1 - l3)
        for l2 in sorted(second, reverse=True):
            yield l1, l2


class Linear(nn.Module):
    """Mixes the channels of every degree."""

    def __init__(self, sizes):
        super().__init__()
        self.weights = nn.ParameterDict()
        for l, (fan_in, fan_out) in sizes.items():
            weight = nn.Parameter(torch.empty(fan_in, fan_out))
            self.weights[str(l)] = nn.init.xavier_uniform_(weight)

    def forward(self, h):
        return {int(l): torch.einsum("bim,ij->bjm", h[int(l)], w) for l, w in self.weights.items()}


class BatchNorm(nn.Module):
    def __init__(self, degrees, channels):
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones((degrees + 1) * channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones((degrees + 1) * channels))

    def forward(self, h):
        weights = self.weight.split(self.channels)
        variances = self.running_var.split(self.channels)
        out, new = {}, []
        for (l, x), weight, variance in zip(h.items(), weights, variances):
            if l == 0:
                mean = x.mean((0, 2)) if self.training else self.running_mean
                x = x - mean[:, None]
                if self.training:
                    self.running_mean.lerp_(mean.detach(), 0.1)
            if self.training:
                variance = x.square().mean((0, 2))
                new.append(variance.detach())
            x = x * (weight * (variance + 1e-5).rsqrt())[:, None]
            out[l] = x + self.bias[:, None] if l == 0 else x
        if self.training:
            self.running_var.lerp_(torch.cat(new), 0.1)
        return out


class SignalNorm(nn.Module):
    def __init__(self, degrees):
        super().__init__()
        self.weights = nn.ParameterDict({str(l): torch.ones(1) for l in range(degrees + 1)})
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, h):
        total = sum(x.square().sum((1, 2)) / (2 * l + 1) for l, x in h.items())
        scale = (total + 1e-8).rsqrt()[:, None, None]
        out = {l: x * (scale * self.weights[str(l)]) for l, x in h.items()}
        out[0] = out[0] + self.bias
        return out


class DenseProduct(nn.Module):
    """Channel-wise tensor product: for each pair of degrees one outer product and one matrix
    product with the dense 3j symbols of every degree that the pair couples to."""

    def __init__(self, l_in, l_out):
        super().__init__()
        self.targets = {}
        for l3 in range(l_out + 1):
            for pair in pairs(l_in, l3):
                self.targets.setdefault(pair, []).append(l3)
        for (l1, l2), targets in self.targets.items():
            symbols = [o3.wigner_3j(l1, l2, l3).flatten(0, 1) for l3 in targets]
            self.register_buffer(f"w{l1}_{l2}", torch.cat(symbols, 1).float(), persistent=False)
        self.order = {l3: list(pairs(l_in, l3)) for l3 in range(l_out + 1)}

    def forward(self, h):
        parts = {}
        for (l1, l2), targets in self.targets.items():
            outer = (h[l1].unsqueeze(3) * h[l2].unsqueeze(2)).flatten(2)
            product = outer @ getattr(self, f"w{l1}_{l2}")
            for l3, part in zip(targets, product.split([2 * l + 1 for l in targets], 2)):
                parts[l1, l2, l3] = part
        return {l3: torch.cat([parts[*p, l3] for p in order], 1) for l3, order in self.order.items()}


class E3nnProduct(nn.Module):
    """The same by e3nn's own TensorProduct (instructions `uuu`, without weights)."""

    def __init__(self, l_in, l_out, channels):
        super().__init__()
        irreps = o3.Irreps([(channels, (l, 1)) for l in range(l_in + 1)])
        paths = [(l1, l2, l3) for l3 in range(l_out + 1) for l1, l2 in pairs(l_in, l3)]
        out = o3.Irreps([(channels, (l3, 1)) for *_, l3 in paths])
        self.product = o3.TensorProduct(
            irreps, irreps, out,
            [(l1, l2, i, "uuu", False) for i, (l1, l2, _) in enumerate(paths)],
            irrep_normalization="none", path_normalization="none",
        )
        self.sizes = [
            channels * (2 * l + 1) * len(list(pairs(l_in, l))) for l in range(l_out + 1)
        ]

    def forward(self, h):
        x = torch.cat([x.flatten(1) for x in h.values()], 1)
        parts = self.product(x, x).split(self.sizes, 1)
        return {l: x.unflatten(1, (-1, 2 * l + 1)) for l, x in enumerate(parts)}


class Block(nn.Module):
    """Batch norm, tensor product, signal norm, linear map, and what came in."""

    def __init__(self, l_in, l_out, c_in, c_out, product):
        super().__init__()
        l_out = min(l_out, 2 * l_in)
        rows = {l: c_in * len(list(pairs(l_in, l))) for l in range(l_out + 1)}
        self.layers = nn.ModuleList([
            BatchNorm(l_in, c_in),
            DenseProduct(l_in, l_out) if product == "dense" else E3nnProduct(l_in, l_out, c_in),
            SignalNorm(l_out),
            Linear({l: (n, c_out) for l, n in rows.items()}),
        ])

    def forward(self, h):
        out = h
        for layer in self.layers:
            out = layer(out)
        for l in out.keys() & h.keys():
            n = min(out[l].shape[1], h[l].shape[1])
            if n == out[l].shape[1]:
                out[l] = out[l] + h[l][:, :n]
            else:
                out[l] = torch.cat([out[l][:, :n] + h[l], out[l][:, n:]], 1)
        return out


class HAE(nn.Module):
    """`product` is "dense" or "e3nn"."""

    def __init__(self, latent, lmax, channels, degrees, projection=44, product="dense"):
        super().__init__()
        self.counts = [4 * radial_orders(l) for l in range(lmax + 1)]
        ends = {l: (n, projection) for l, n in enumerate(self.counts)}
        self.initial_linear_projection = Linear(ends)

        def chain(c, l, cs, ls):
            blocks = nn.ModuleList()
            for c_out, l_out in zip(cs, ls):
                blocks.append(Block(l, l_out, c, c_out, product))
                c, l = c_out, l_out
            return blocks

        self.encoder_cg_blocks = chain(projection, lmax, channels, degrees)
        last = channels[-1]
        self.encoder_mean = nn.Linear(last, latent)
        self.frame_learner = Linear({1: (last, 2)})
        self.decoder_bottleneck = nn.Linear(latent, last)
        self.first_decoder_projection = Linear({1: (3, last)})
        back = list(reversed(degrees))[1:] + [lmax]
        reach = [min(l, 2 ** (i + 1)) for i, l in enumerate(back)]
        self.decoder_cg_blocks = chain(last, 1, list(reversed(channels))[1:] + [projection], reach)
        self.final_linear_projection = Linear({l: (projection, n) for l, n in enumerate(self.counts)})

    def encode(self, x):
        """[batch, coefficients] to invariants [batch, z] and frames [batch, 3, 3]."""
        sizes = [n * (2 * l + 1) for l, n in enumerate(self.counts)]
        h = {l: p.unflatten(1, (-1, 2 * l + 1)) for l, p in enumerate(x.split(sizes, 1))}
        h = self.initial_linear_projection(h)
        for block in self.encoder_cg_blocks:
            h = block(h)
        z = self.encoder_mean(h[0].squeeze(2))
        v0, v1 = self.frame_learner(h)[1].unbind(1)
        dot = lambda a, b: (a * b).sum(1, keepdim=True)
        y = v1 - dot(v0, v1) / dot(v0, v0) * v0
        axes = [v0, y, torch.linalg.cross(v0, y)]
        return z, torch.stack([a / dot(a, a).sqrt() for a in axes], 1)

    def decode(self, z, frames):
        h = {0: self.decoder_bottleneck(z).unsqueeze(2)}
        h[1] = self.first_decoder_projection({1: frames})[1]
        for block in self.decoder_cg_blocks:
            h = block(h)
        h = self.final_linear_projection(h)
        return torch.cat([x.flatten(1) for x in h.values()], 1)

    def forward(self, x):
        return self.decode(*self.encode(x))


MODELS = {
    "z64-l4": dict(latent=64, lmax=4, channels=[50, 50, 50, 64, 64, 64], degrees=[4, 4, 4, 4, 2, 1]),
    "z128-l6": dict(
        latent=128, lmax=6, channels=[60, 60, 60, 90, 128, 128], degrees=[6, 6, 6, 4, 2, 1]
    ),
}


def coefficients(lmax):
    return sum(4 * radial_orders(l) * (2 * l + 1) for l in range(lmax + 1))


def trainer(model, x):
    """A call of what is returned is a step of training on `x`; it returns the reconstruction
    loss."""
    adam = torch.optim.Adam(model.parameters(), lr=2.5e-3, weight_decay=1e-5, fused=True)
    model.train()

    def step():
        loss = nn.functional.mse_loss(model(x), x)
        adam.zero_grad()
        (1000.0 * loss).backward()
        adam.step()
        return loss

    step.adam = adam
    return step
