"""Networks of atoms in PyTorch, computed as the released code of Geom3D does it: a filter for every
directed edge, features of both ends side by side on the edges, bases of angles on all chains of two
edges, `index_add` for sums. Neighbors are searched once, not in every step. Parameter names are the
published ones, as in what `holosig export` writes.

N atoms, E edges from `source` to `target`, T chains of two edges, F hidden width.
"""

import math
import random
import re

import torch
from torch import nn
from torch.nn.functional import silu, softplus


def total(x, at, count):
    """Sums of rows of `x` at the places `at`."""
    return x.new_zeros(count, *x.shape[1:]).index_add(0, at, x)


class Graph:
    """Atoms of several molecules, and the edges between those within a cutoff."""

    def __init__(self, z, positions, molecule, cutoff):
        self.z, self.molecule, self.molecules = z, molecule, int(molecule[-1]) + 1
        near = (positions[:, None] - positions[None]).square().sum(-1) < cutoff * cutoff
        near &= molecule[:, None] == molecule[None]
        near.fill_diagonal_(False)
        self.target, self.source = near.nonzero().T.contiguous()
        self.chains = None

    def triplets(self):
        """For each chain k -> j -> i the number of its second edge and that of its first."""
        if self.chains is None:
            meets = self.source[:, None] == self.target[None]
            meets &= self.target[:, None] != self.source[None]
            self.chains = meets.nonzero().T.contiguous()
        return self.chains

    def distances(self, positions):
        vectors = positions[self.source] - positions[self.target]
        return vectors.square().sum(1).sqrt(), vectors


class Gaussians(nn.Module):
    def __init__(self, cutoff, count):
        super().__init__()
        self.register_buffer("centers", torch.linspace(0, cutoff, count), persistent=False)

    def forward(self, d):
        width = self.centers[1] - self.centers[0]
        return torch.exp(-0.5 / width**2 * (d[:, None] - self.centers) ** 2)


def cosine(d, cutoff):
    return 0.5 * (torch.cos(d * math.pi / cutoff) + 1) * (d < cutoff)


class Module(nn.Module):
    """With submodules of names that hold points."""

    def put(self, name, module):
        *path, last = name.split(".")
        at = self
        for part in path:
            if part not in at._modules:
                at.add_module(part, nn.Module())
            at = at._modules[part]
        at.add_module(last, module)
        return module


class SchNet(nn.Module):
    CUTOFF = 10.0

    class Interaction(Module):
        def __init__(self, f, filters):
            super().__init__()
            self.mlp = nn.ModuleDict({"0": nn.Linear(51, filters), "2": nn.Linear(filters, filters)})
            self.put("conv.lin1", nn.Linear(f, filters, bias=False))
            self.put("conv.lin2", nn.Linear(filters, f))
            self.lin = nn.Linear(f, f)

        def forward(self, h, g, radial, envelope):
            filters = self.mlp["2"](shifted(self.mlp["0"](radial))) * envelope
            x = self.conv.lin1(h)
            x = self.conv.lin2(total(x[g.source] * filters, g.target, len(h)))
            return self.lin(shifted(x))

    def __init__(self, f=128, filters=128, layers=6):
        super().__init__()
        self.model = Module()
        self.model.embedding = nn.Embedding(119, f)
        self.model.interactions = nn.ModuleList(
            self.Interaction(f, filters) for _ in range(layers))
        self.model.lin1, self.model.lin2 = nn.Linear(f, f), nn.Linear(f, f)
        self.head = nn.Linear(f, 1)
        self.radial = Gaussians(self.CUTOFF, 51)

    def forward(self, g, positions):
        d, _ = g.distances(positions)
        radial = self.radial(d)
        envelope = (0.5 * (torch.cos(d * math.pi / self.CUTOFF) + 1))[:, None]
        h = self.model.embedding(g.z)
        for layer in self.model.interactions:
            h = h + layer(h, g, radial, envelope)
        h = self.model.lin2(shifted(self.model.lin1(h)))
        count = total(torch.ones_like(h[:, :1]), g.molecule, g.molecules)
        return self.head(total(h, g.molecule, g.molecules) / count)[:, 0]


def shifted(x):
    return softplus(x) - math.log(2.0)


class PaiNN(nn.Module):
    CUTOFF = 5.0

    def __init__(self, f=128, layers=3, radial=20):
        super().__init__()
        self.f = f
        self.model = Module()
        self.model.embedding = nn.Embedding(119, f, padding_idx=0)
        self.model.filter_net = nn.Linear(radial, 3 * f * layers)
        pair = lambda a: nn.ModuleList([nn.Linear(a, f), nn.Linear(f, 3 * f)])
        self.model.interactions, self.model.mixing = nn.ModuleList(), nn.ModuleList()
        for _ in range(layers):
            self.model.interactions.append(nn.ModuleDict({"interatomic_context_net": pair(f)}))
            mixing = {"intraatomic_context_net": pair(2 * f),
                      "mu_channel_mix": nn.Linear(f, 2 * f, bias=False)}
            self.model.mixing.append(nn.ModuleDict(mixing))
        self.head = nn.ModuleList([nn.Linear(f, f // 2), nn.Linear(f // 2, 1)])
        self.radial = Gaussians(self.CUTOFF, radial)

    def forward(self, g, positions):
        d, vectors = g.distances(positions)
        directions = vectors / d[:, None]
        filters = self.model.filter_net(self.radial(d)) * cosine(d, self.CUTOFF)[:, None]
        filters = filters[:, None].split(3 * self.f, dim=-1)
        q = self.model.embedding(g.z)[:, None]
        mu = q.new_zeros(len(q), 3, self.f)
        layers = zip(self.model.interactions, self.model.mixing, filters)
        for interaction, mixing, filter in layers:
            first, second = interaction["interatomic_context_net"]
            x = second(silu(first(q)))
            dq, along, turned = (x[g.source] * filter).split(self.f, dim=-1)
            dmu = along * directions[..., None] + turned * mu[g.source]
            q, mu = q + total(dq, g.target, len(q)), mu + total(dmu, g.target, len(q))
            v, w = mixing["mu_channel_mix"](mu).split(self.f, dim=-1)
            norm = (v.square().sum(1, keepdim=True) + 1e-8).sqrt()
            first, second = mixing["intraatomic_context_net"]
            x = second(silu(first(torch.cat([q, norm], -1))))
            own, scale, both = x.split(self.f, dim=-1)
            q = q + own + both * (v * w).sum(1, keepdim=True)
            mu = mu + scale * w
        first, second = self.head
        return second(silu(first(total(q[:, 0], g.molecule, g.molecules))))[:, 0]


class EGNN(nn.Module):
    CUTOFF = 5.0

    def __init__(self, f=128, layers=7):
        super().__init__()
        self.layers = layers
        self.model = Module()
        self.model.embedding = nn.Linear(3 * 119, f)
        linear = lambda a, b: nn.Linear(a, b)
        for i in range(layers):
            for name, a, b in (("edge_mlp.0", 2 * f + 1, f), ("edge_mlp.2", f, f),
                               ("node_mlp.0", 2 * f, f), ("node_mlp.2", f, f), ("att_mlp.0", f, 1)):
                self.model.put(f"gcl_{i}.{name}", linear(a, b))
            self.model.put(f"gcl_{i}.positions_mlp.0", linear(f, f))
            self.model.put(f"gcl_{i}.positions_mlp.2", nn.Linear(f, 1, bias=False))
        self.model.put("node_dec.0", linear(f, f))
        self.model.put("node_dec.2", linear(f, f))
        self.head = nn.ModuleDict({"0": linear(f, f), "2": linear(f, 1)})

    def forward(self, g, positions):
        vectors = positions[g.source] - positions[g.target]
        squares = vectors.square().sum(1, keepdim=True)
        charge = (g.z / 119).to(squares.dtype)[:, None]
        powers = torch.cat([torch.ones_like(charge), charge, charge**2], 1)
        hot = torch.nn.functional.one_hot(g.z, 119).to(squares.dtype)
        h = self.model.embedding((hot[:, :, None] * powers[:, None]).flatten(1))
        for i in range(self.layers):
            layer = self.model._modules[f"gcl_{i}"]
            at = lambda name: layer._modules[name]._modules
            edge, node = at("edge_mlp"), at("node_mlp")
            m = edge["0"](torch.cat([h[g.target], h[g.source], squares], 1))
            m = silu(edge["2"](silu(m)))
            m = m * at("att_mlp")["0"](m).sigmoid()
            m = total(m, g.target, len(h))
            h = h + node["2"](silu(node["0"](torch.cat([h, m], 1))))
        last = self.model.node_dec._modules
        h = last["2"](silu(last["0"](h)))
        count = total(torch.ones_like(h[:, :1]), g.molecule, g.molecules)
        h = total(h, g.molecule, g.molecules) / count
        return self.head["2"](silu(self.head["0"](h)))[:, 0]


class NequIP(nn.Module):
    """Of e3nn's layers, as NequIP is."""

    CUTOFF = 5.0

    class Convolution(nn.Module):
        def __init__(self, of, harmonics, elements, hidden, width):
            from e3nn import o3
            from e3nn.nn import FullyConnectedNet, Gate

            super().__init__()
            reached = [(n, ir) for n, ir in hidden if any(
                ir in own * edge for _, own in of for _, edge in harmonics)]
            scalars = o3.Irreps([block for block in reached if block[1].l == 0])
            gated = o3.Irreps([block for block in reached if block[1].l > 0])
            acts = [silu if ir.p == 1 else torch.tanh for _, ir in scalars]
            gates = o3.Irreps([(n, "0e") for n, _ in gated])
            self.equivariant_nonlin = Gate(scalars, acts, gates, [silu] * len(gates), gated)
            to = self.equivariant_nonlin.irreps_in.simplify()
            paths = [(i, j, n, ir) for i, (n, own) in enumerate(of)
                     for j, (_, edge) in enumerate(harmonics) for ir in own * edge if ir in to]
            middle, order, _ = o3.Irreps([path[2:] for path in paths]).sort()
            paths = [(i, j, order[k], "uvu", True) for k, (i, j, _, _) in enumerate(paths)]
            conv = self.conv = nn.Module()
            conv.linear_1 = o3.Linear(of, of)
            conv.tp = o3.TensorProduct(of, harmonics, middle, paths, shared_weights=False,
                                       internal_weights=False)
            conv.fc = FullyConnectedNet([8, *[width] * 3, conv.tp.weight_numel], silu)
            conv.linear_2 = o3.Linear(middle.simplify(), to)
            conv.sc = o3.FullyConnectedTensorProduct(of, elements, to)

        def forward(self, h, hot, g, harmonics, radial):
            conv = self.conv
            own = conv.sc(h, hot)
            m = conv.tp(conv.linear_1(h)[g.source], harmonics, conv.fc(radial))
            return self.equivariant_nonlin(conv.linear_2(total(m, g.target, len(h))) + own)

    def __init__(self, f=64, layers=5, lmax=1, width=64):
        from e3nn import o3

        super().__init__()
        self.layers, model = layers, Module()
        self.model = model
        elements, features = o3.Irreps("10x0e"), o3.Irreps(f"{f}x0e")
        self.harmonics = o3.SphericalHarmonics(
            o3.Irreps.spherical_harmonics(lmax), True, normalization="component")
        hidden = o3.Irreps([(f, (l, p)) for p in (1, -1) for l in range(lmax + 1)])
        model.put("chemical_embedding.linear", o3.Linear(elements, features))
        model.put("radial_basis.basis", nn.Module())
        basis = model.radial_basis.basis
        basis.bessel_weights = nn.Parameter(torch.arange(1, 9) * math.pi)
        for k in range(layers):
            layer = self.Convolution(
                features, self.harmonics.irreps_out, elements, hidden, width)
            model.put(f"layer{k}_convnet", layer)
            features = layer.equivariant_nonlin.irreps_out
        half = o3.Irreps(f"{f // 2}x0e")
        model.put("conv_to_output_hidden.linear", o3.Linear(features, half))
        model.put("output_hidden_to_scalar.linear", o3.Linear(half, "1x0e"))

    def forward(self, g, positions):
        model = self.model
        d, vectors = g.distances(positions)
        harmonics = self.harmonics(vectors)
        t = d / self.CUTOFF
        envelope = (1 - 28 * t**6 + 48 * t**7 - 21 * t**8)[:, None]
        sines = torch.sin(model.radial_basis.basis.bessel_weights * t[:, None])
        radial = 2 / self.CUTOFF * sines / d[:, None] * envelope
        hot = torch.nn.functional.one_hot(g.z, 10).to(d.dtype)
        h = model.chemical_embedding.linear(hot)
        for k in range(self.layers):
            h = model._modules[f"layer{k}_convnet"](h, hot, g, harmonics, radial)
        energy = model.output_hidden_to_scalar.linear(model.conv_to_output_hidden.linear(h))
        return total(energy, g.molecule, g.molecules)[:, 0]


def networks():
    """By the names that jobs have."""
    from networks_of_angles import DimeNetPP, GemNet, SphereNet

    return {"schnet": SchNet, "painn": PaiNN, "egnn": EGNN, "dimenetpp": DimeNetPP,
            "spherenet": SphereNet, "gemnet": GemNet, "nequip": NequIP}


def energy_and_forces(model, g, positions, train=False):
    positions = positions.clone().requires_grad_()
    energy = model(g, positions)
    (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=train)
    return energy, -gradient


def trainer(model, g, positions, forces):
    """A call of what is returned is a step of training on random targets."""
    adam = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
    energies, pull = torch.randn(g.molecules), torch.randn_like(positions)

    def step():
        if forces:
            energy, force = energy_and_forces(model, g, positions, train=True)
            loss = (energy - energies).abs().mean() + (force - pull).abs().mean()
        else:
            loss = (model(g, positions) - energies).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def molecules(count):
    """Compact molecules of 18 atoms C, N, O and H, made as those of `holosig bench`: atomic numbers
    less one, positions and molecule of each atom."""
    noise = random.Random(1)
    z, positions, molecule = [], [], []
    for m in range(count):
        own = []
        while len(own) < 18:
            p = [noise.uniform(-3, 3) for _ in range(3)]
            if all(sum((a - b) ** 2 for a, b in zip(p, q)) > 0.81 for q in own):
                own.append(p)
        positions += own
        z += noise.choices([0, 0, 5, 6, 5, 7], k=18)
        molecule += [m] * 18
    return torch.tensor(z), torch.tensor(positions), torch.tensor(molecule)


def same_numbers(holosig, name, difference):
    """Trains a network with holosig for one step, loads it and compares energies and forces."""
    import h5py

    folder, model = holosig.folder, networks()[name]()
    z, positions, molecule = molecules(4)
    lines = []
    for m in range(4):
        lines += ["18", f"Properties=species:S:1:pos:R:3:forces:R:3 energy={m}"]
        own = molecule == m
        # Holosig divides by the root of the mean square of forces: 1.
        lines += [f"{'H....CNO'[e]} {x:.9g} {y:.9g} {w:.9g} 1 -1 1"
                  for e, (x, y, w) in zip(z[own].tolist(), positions[own].tolist())]
    text = "\n".join(lines) + "\n"
    (folder / "molecules_train.xyz").write_text(text)
    (folder / "molecules_validation.xyz").write_text(text)
    holosig("prepare", "systems", "molecules_train.xyz", "molecules_validation.xyz", "--out",
            "molecules.h5")
    variant = "" if name == "gemnet" else 'variant = "published"'
    (folder / f"{name}.toml").write_text(f"""
task = "systems"
[data]
dataset = "molecules.h5"
baseline = "none"
forces = true
[model]
network = "{name}"
{variant}
[train]
batch = 4
slices = 1
steps = 1
""")
    run = folder / name
    holosig("train", f"{name}.toml", "--out", run)
    checkpoint = run / "checkpoints/step-1.h5"
    holosig("predict", checkpoint, "--systems", "molecules.h5", "--out", "predicted.h5")
    with h5py.File(checkpoint) as file:
        state = {k: torch.tensor(v[()]) for k, v in file["parameters"].items()}
    known = model.state_dict()
    apart = {k for k, _ in model.named_parameters()} ^ set(state)
    if apart:
        raise ValueError(f"{name}: parameters of one of the two alone: {sorted(apart)}")
    if name == "painn":
        state["model.embedding.weight"][0] = 0
    model.load_state_dict({k: v.view_as(known[k]) for k, v in state.items()}, strict=False)
    graph = Graph(z, positions, molecule, model.CUTOFF)
    energy, forces = energy_and_forces(model, graph, positions)
    with h5py.File(folder / "predicted.h5") as file:
        ours = {k: torch.tensor(file[k][:]).float() for k in ("energy", "forces")}
    return max(difference("energies", ours["energy"][:4], energy, 1e-4),
               difference("forces", ours["forces"][:72], forces, 1e-3))


def works(holosig, case, difference):
    """Functions of the peers, molecules per call, largest difference."""
    name, what, batch = re.fullmatch(r"(\w+)-(energy|force)-b(\d+)", case).groups()
    # Gaussians of far atoms are denormal, and processors are slow with such numbers.
    torch.set_flush_denormal(True)
    worst = same_numbers(holosig, name, difference)
    model = networks()[name]()
    z, positions, molecule = molecules(int(batch))
    graph = Graph(z, positions, molecule, model.CUTOFF)
    step = trainer(model, graph, positions, what == "force")
    return {"PyTorch, as released": step}, int(batch), worst
