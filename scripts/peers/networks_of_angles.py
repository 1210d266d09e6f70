"""Networks in PyTorch that see angles: DimeNet++, SphereNet and GemNet-T, as networks.py says.

E edges, T chains of two edges.
"""

import math

import torch
from torch import nn
from torch.nn.functional import silu

from networks import Module, total


def bessel_zeros(degrees, count):
    """The first zeros of the spherical Bessel functions, [degrees, count], rounded as released."""
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import spherical_jn

    zeros = [np.arange(1, count + degrees) * math.pi]
    for l in range(1, degrees):
        last = zeros[-1]
        zeros.append(np.array([brentq(lambda x: spherical_jn(l, x), a, b)
                               for a, b in zip(last, last[1:])]))
    zeros = np.stack([z[:count] for z in zeros]).astype("float32").astype("float64")
    norms = [[math.sqrt(2) / abs(spherical_jn(l + 1, z)) for z in zeros[l]] for l in range(degrees)]
    return torch.tensor(zeros), torch.tensor(norms)


class SphericalBessel(nn.Module):
    """All degrees and zeros at x, [E, degrees, count], by the recurrence from degree to degree."""

    def __init__(self, degrees, count):
        super().__init__()
        self.zeros, self.norms = bessel_zeros(degrees, count)

    def forward(self, x):
        out = []
        for l, (zeros, norms) in enumerate(zip(self.zeros.to(x), self.norms.to(x))):
            y = x[:, None] * zeros
            last, value = torch.cos(y) / y, torch.sin(y) / y
            for k in range(l):
                last, value = value, (2 * k + 1) / y * value - last
            out.append(norms * value)
        return torch.stack(out, 1)


def legendre(cosines, degrees):
    """Zonal harmonics, [T, degrees]."""
    values = [torch.ones_like(cosines), cosines]
    for l in range(2, degrees):
        values.append(((2 * l - 1) * cosines * values[-1] - (l - 1) * values[-2]) / l)
    return torch.stack([math.sqrt((2 * l + 1) / (4 * math.pi)) * v
                        for l, v in enumerate(values[:degrees])], 1)


class Residual(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(f, f), nn.Linear(f, f)

    def forward(self, x):
        return x + silu(self.lin2(silu(self.lin1(x))))


class DimeNetPP(nn.Module):
    CUTOFF = 5.0
    DEGREES, RADIAL = 7, 6

    class Output(nn.Module):
        def __init__(self, f, radial, out):
            super().__init__()
            self.lin_rbf = nn.Linear(radial, f, bias=False)
            self.lin_up = nn.Linear(f, out)
            self.lins = nn.ModuleList(nn.Linear(out, out) for _ in range(3))
            self.lin = nn.Linear(out, 1, bias=False)

        def forward(self, m, rbf, g):
            a = self.lin_up(total(self.lin_rbf(rbf) * m, g.target, len(g.z)))
            for layer in self.lins:
                a = silu(layer(a))
            return self.lin(a)

    class Interaction(nn.Module):
        def __init__(self, f, inner, basis, radial, angular):
            super().__init__()
            no_bias = lambda a, b: nn.Linear(a, b, bias=False)
            self.lin_rbf1, self.lin_rbf2 = no_bias(radial, basis), no_bias(basis, f)
            self.lin_sbf1, self.lin_sbf2 = no_bias(angular, basis), no_bias(basis, inner)
            self.lin_kj, self.lin_ji = nn.Linear(f, f), nn.Linear(f, f)
            self.lin_down, self.lin_up = no_bias(f, inner), no_bias(inner, f)
            self.layers_before_skip = nn.ModuleList([Residual(f)])
            self.lin = nn.Linear(f, f)
            self.layers_after_skip = nn.ModuleList([Residual(f), Residual(f)])

        def filter(self, sbf):
            return self.lin_sbf2(self.lin_sbf1(sbf))

        def forward(self, m, rbf, filter, second, first):
            own = silu(self.lin_ji(m))
            y = silu(self.lin_kj(m)) * self.lin_rbf2(self.lin_rbf1(rbf))
            y = silu(self.lin_down(y))
            y = y[first] * filter
            y = silu(self.lin_up(total(y, second, len(m))))
            x = self.layers_before_skip[0](own + y)
            m = silu(self.lin(x)) + m
            for layer in self.layers_after_skip:
                m = layer(m)
            return m

    def __init__(self, f=128, layers=4, inner=64, basis=8, out=128):
        super().__init__()
        self.model = Module()
        self.model.rbf = nn.Module()
        self.model.rbf.freq = nn.Parameter(torch.arange(1, self.RADIAL + 1) * math.pi)
        self.model.put("emb.emb", nn.Embedding(119, f))
        self.model.put("emb.lin_rbf", nn.Linear(self.RADIAL, f))
        self.model.put("emb.lin", nn.Linear(3 * f, f))
        angular = self.DEGREES * self.RADIAL
        self.model.output_blocks = nn.ModuleList(
            self.Output(f, self.RADIAL, out) for _ in range(layers + 1))
        self.model.interaction_blocks = nn.ModuleList(
            self.Interaction(f, inner, basis, self.RADIAL, angular) for _ in range(layers))
        self.bessel = SphericalBessel(self.DEGREES, self.RADIAL)

    def forward(self, g, positions):
        second, first = g.triplets()
        d, vectors = g.distances(positions)
        # As released, angles are constants of the forces.
        fixed = vectors.detach()
        a, b = fixed[second], fixed[first]
        theta = torch.atan2(torch.linalg.cross(a, b, dim=1).norm(dim=1), (a * b).sum(1))
        x = d / self.CUTOFF
        envelope = (1 / x - 28 * x**5 + 48 * x**6 - 21 * x**7)[:, None]
        rbf = envelope * torch.sin(self.model.rbf.freq * x[:, None])
        radial = envelope[:, :, None] * self.bessel(x)
        sbf = (radial[first] * legendre(theta.cos(), self.DEGREES)[:, :, None]).flatten(1)
        emb = self.model.emb
        h = emb.emb(g.z)
        m = torch.cat([h[g.target], h[g.source], silu(emb.lin_rbf(rbf))], 1)
        m = silu(emb.lin(m))
        outputs = iter(self.model.output_blocks)
        energy = next(outputs)(m, rbf, g)
        for block, output in zip(self.model.interaction_blocks, outputs):
            m = block(m, rbf, block.filter(sbf), second, first)
            energy = energy + output(m, rbf, g)
        energy = energy / len(self.model.output_blocks)
        return total(energy, g.molecule, g.molecules)[:, 0]


def harmonics(theta, phi):
    """Real harmonics of degrees 0 to 2, with the phase of Condon and Shortley: [T, 9]."""
    c, s = theta.cos(), theta.sin()
    root = lambda x: math.sqrt(x / (4 * math.pi))
    one, two, three = -root(3) * s, -root(15) * c * s, root(15) / 2 * s * s
    return torch.stack([
        torch.full_like(c, root(1)), root(3) * c, one * phi.cos(), one * phi.sin(),
        root(5) * (1.5 * c * c - 0.5), two * phi.cos(), three * (2 * phi).cos(),
        three * (2 * phi).sin(), two * phi.sin(),
    ], 1)


class SphereNet(nn.Module):
    CUTOFF = 5.0
    DEGREES, RADIAL = 3, 6

    class Output(nn.Module):
        def __init__(self, f, out):
            super().__init__()
            self.lin_up = nn.Linear(f, out)
            self.lins = nn.ModuleList(nn.Linear(out, out) for _ in range(3))
            self.lin = nn.Linear(out, 1, bias=False)

        def forward(self, e2, g):
            a = self.lin_up(total(e2, g.target, len(g.z)))
            for layer in self.lins:
                a = silu(layer(a))
            return self.lin(a)

    class Interaction(DimeNetPP.Interaction):
        def __init__(self, f, inner, basis, radial, degrees):
            super().__init__(f, inner, basis, radial, degrees * radial)
            self.lin_t1 = nn.Linear(degrees * degrees * radial, basis, bias=False)
            self.lin_t2 = nn.Linear(basis, inner, bias=False)
            self.lin_rbf = nn.Linear(radial, f, bias=False)

        def filter(self, sbf, tbf):
            return super().filter(sbf) * self.lin_t2(self.lin_t1(tbf))

    def __init__(self, f=128, layers=4, inner=64, basis=8, out=256):
        super().__init__()
        self.model = Module()
        self.model.put("emb.dist_emb", nn.Module())
        self.model.emb.dist_emb.freq = nn.Parameter(torch.arange(1, self.RADIAL + 1) * math.pi)
        self.model.put("init_e.emb", nn.Embedding(95, f))
        self.model.put("init_e.lin_rbf_0", nn.Linear(self.RADIAL, f))
        self.model.put("init_e.lin", nn.Linear(3 * f, f))
        self.model.put("init_e.lin_rbf_1", nn.Linear(self.RADIAL, f, bias=False))
        self.model.init_v = self.Output(f, out)
        self.model.update_vs = nn.ModuleList(self.Output(f, out) for _ in range(layers))
        self.model.update_es = nn.ModuleList(
            self.Interaction(f, inner, basis, self.RADIAL, self.DEGREES) for _ in range(layers))
        self.bessel = SphericalBessel(self.DEGREES, self.RADIAL)

    def torsions(self, g, vectors):
        """The torsion of each chain k -> j -> i from the neighbor q of j that gives the least."""
        second, first = g.triplets()
        axis = -vectors[second]
        length = axis.norm(dim=1)

        def angle(chain, q):
            u, same = axis[chain], first[chain] == q
            one = torch.linalg.cross(u, vectors[first[chain]], dim=1)
            two = torch.linalg.cross(u, vectors[q], dim=1)
            y = (torch.linalg.cross(one, two, dim=1) * u).sum(1) / length[chain]
            x = (one * two).sum(1)
            phi = torch.atan2(torch.where(same, 0.0, y), torch.where(same, 1.0, x))
            return torch.where(phi <= 0, phi + 2 * math.pi, phi)

        if not hasattr(g, "least"):
            # All pairs of a chain and another edge to its middle atom, but from the chain's end.
            other, q = [], []
            for start in range(0, len(g.source), 256):
                part = g.chains[0, :] // 256 == start // 256
                numbers = part.nonzero()[:, 0]
                joint, end = g.source[second[numbers]], g.target[second[numbers]]
                meets = joint[:, None] == g.target[None]
                meets &= end[:, None] != g.source[None]
                pair = meets.nonzero()
                other.append(numbers[pair[:, 0]])
                q.append(pair[:, 1])
            other, q = torch.cat(other), torch.cat(q)
            with torch.no_grad():
                phi = angle(other, q)
            order = phi.argsort(stable=True)
            order = order[other[order].argsort(stable=True)]
            starts = torch.searchsorted(other[order], torch.arange(len(second)))
            g.least = q[order[starts]]
        return angle(torch.arange(len(second)), g.least)

    def forward(self, g, positions):
        second, first = g.triplets()
        d, vectors = g.distances(positions)
        a, b = -vectors[second], vectors[first]
        theta = torch.atan2(torch.linalg.cross(a, b, dim=1).norm(dim=1), (a * b).sum(1))
        phi = self.torsions(g, vectors)
        x = d / self.CUTOFF
        envelope = (1 / x - 28 * x**5 + 48 * x**6 - 21 * x**7)[:, None]
        rbf = envelope * torch.sin(self.model.emb.dist_emb.freq * x[:, None])
        radial = self.bessel(x)[first]
        sbf = (radial * legendre(theta.cos(), self.DEGREES)[:, :, None]).flatten(1)
        angular = harmonics(theta, phi).view(-1, self.DEGREES, self.DEGREES)
        tbf = (angular[..., None] * radial[:, None]).flatten(1)
        emb = self.model.init_e
        h = emb.emb(g.z)
        e1 = torch.cat([h[g.target], h[g.source], silu(emb.lin_rbf_0(rbf))], 1)
        e1 = silu(emb.lin(e1))
        u = self.model.init_v(emb.lin_rbf_1(rbf) * e1, g)
        for block, output in zip(self.model.update_es, self.model.update_vs):
            e1 = block(e1, rbf, block.filter(sbf, tbf), second, first)
            u = u + output(block.lin_rbf(rbf) * e1, g)
        return total(u, g.molecule, g.molecules)[:, 0]


def scaled(x):
    return silu(x) / 0.6


class Dense(nn.Linear):
    """Without a bias, with an activation unless it is said to have none."""

    def __init__(self, a, b, active=True):
        super().__init__(a, b, bias=False)
        self.active = active

    def forward(self, x):
        y = super().forward(x)
        return scaled(y) if self.active else y


class GemNet(nn.Module):
    CUTOFF = 5.0
    DEGREES, RADIAL = 7, 6

    class Residual(nn.Module):
        def __init__(self, f):
            super().__init__()
            self.dense_mlp = nn.Sequential(Dense(f, f), Dense(f, f))

        def forward(self, x):
            return (x + self.dense_mlp(x)) / math.sqrt(2)

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale_factor = nn.Parameter(torch.tensor(1.0), requires_grad=False)

        def forward(self, x):
            return x * self.scale_factor

    class Atoms(nn.Module):
        def __init__(self, f, basis, energy=False):
            super().__init__()
            self.dense_rbf = Dense(basis, f, False)
            self.scale_sum = GemNet.Scale()
            self.layers = nn.Sequential(Dense(f, f), GemNet.Residual(f), GemNet.Residual(f))
            if energy:
                self.out_energy = Dense(f, 1, False)

        def forward(self, m, rbf, g):
            return self.layers(self.scale_sum(total(m * self.dense_rbf(rbf), g.target, len(g.z))))

    class Triplets(nn.Module):
        def __init__(self, f, inner, basis):
            super().__init__()
            self.dense_ba, self.mlp_rbf = Dense(f, f), Dense(basis, f, False)
            self.scale_rbf, self.scale_cbf_sum = GemNet.Scale(), GemNet.Scale()
            self.mlp_cbf = nn.Module()
            self.mlp_cbf.weight = nn.Parameter(torch.randn(inner, basis, inner))
            self.down_projection = Dense(f, inner)
            self.up_projection_ca, self.up_projection_ac = Dense(inner, f), Dense(inner, f)

        def forward(self, m, rbf, radial, zonal, index):
            y = self.scale_rbf(self.dense_ba(m) * self.mlp_rbf(rbf))
            y = self.down_projection(y)
            padded = y.new_zeros(len(m), zonal.shape[1], y.shape[1])
            padded = padded.index_put((index["edge"], index["place"]), y[index["other"]])
            sums = radial @ (zonal.transpose(1, 2) @ padded)
            y = (sums.permute(2, 0, 1) @ self.mlp_cbf.weight).sum(0)
            y = self.scale_cbf_sum(y)
            back = self.up_projection_ac(y)[index["swap"]]
            return (self.up_projection_ca(y) + back) / math.sqrt(2)

    class Block(nn.Module):
        def __init__(self, f, inner, basis):
            super().__init__()
            self.dense_ca = Dense(f, f)
            self.trip_interaction = GemNet.Triplets(f, inner, basis)
            one = lambda: nn.Sequential(GemNet.Residual(f))
            self.layers_before_skip, self.layers_after_skip = one(), one()
            self.atom_update = GemNet.Atoms(f, basis)
            self.concat_layer = nn.ModuleDict({"dense": Dense(3 * f, f)})
            self.residual_m = one()

        def forward(self, h, m, g, r3, rh, radial, zonal, index):
            y = self.trip_interaction(m, r3, radial, zonal, index)
            y = self.layers_before_skip((self.dense_ca(m) + y) / math.sqrt(2))
            m = self.layers_after_skip((m + y) / math.sqrt(2))
            h = (h + self.atom_update(m, rh, g)) / math.sqrt(2)
            y = self.concat_layer["dense"](torch.cat([h[g.source], h[g.target], m], 1))
            return h, (m + self.residual_m(y)) / math.sqrt(2)

    def __init__(self, f=128, layers=4, inner=64, basis=16):
        super().__init__()
        model = self.model = Module()
        model.rbf_basis = nn.Module()
        model.rbf_basis.frequencies = nn.Parameter(torch.arange(1, self.RADIAL + 1) * math.pi)
        for name in ("mlp_rbf3", "mlp_rbf_h", "mlp_rbf_out"):
            model.put(name, Dense(self.RADIAL, basis, False))
        model.mlp_cbf3 = nn.Module()
        circular = torch.randn(self.DEGREES, self.RADIAL, basis)
        model.mlp_cbf3.weight = nn.Parameter(circular)
        model.put("atom_emb.embeddings", nn.Embedding(119, f))
        model.put("edge_emb.dense", Dense(2 * f + self.RADIAL, f))
        model.out_blocks = nn.ModuleList(self.Atoms(f, basis, True) for _ in range(layers + 1))
        model.int_blocks = nn.ModuleList(self.Block(f, inner, basis) for _ in range(layers))
        self.bessel = SphericalBessel(self.DEGREES, self.RADIAL)

    @staticmethod
    def index(g):
        """Pairs of edges to the same atom, the number of a pair among those of its first edge, and
        the edge back."""
        if not hasattr(g, "pairs"):
            meets = g.target[:, None] == g.target[None]
            meets.fill_diagonal_(False)
            edge, other = meets.nonzero().T.contiguous()
            swap = (g.source[:, None] == g.target[None]) & (g.target[:, None] == g.source[None])
            first = torch.searchsorted(edge, torch.arange(len(g.source)))
            place = torch.arange(len(edge)) - first[edge]
            g.pairs = dict(edge=edge, other=other, place=place, swap=swap.nonzero()[:, 1])
        return g.pairs

    def forward(self, g, positions):
        model, index = self.model, self.index(g)
        d, vectors = g.distances(positions)
        a, b = vectors[index["edge"]], vectors[index["other"]]
        sine = torch.linalg.cross(a, b, dim=1).norm(dim=1).clamp(min=1e-9)
        theta = torch.atan2(sine, (a * b).sum(1))
        x = d / self.CUTOFF
        envelope = (1 - 21 * x**5 + 35 * x**6 - 15 * x**7)[:, None]
        sines = torch.sin(model.rbf_basis.frequencies * x[:, None]) / d[:, None]
        rbf = envelope * math.sqrt(2 / self.CUTOFF) * sines
        functions = (envelope * self.CUTOFF**-1.5)[:, :, None] * self.bessel(x)
        radial = torch.einsum("eln,lnc->ecl", functions, model.mlp_cbf3.weight)
        most = int(index["place"].max()) + 1
        zonal = legendre(theta.cos(), self.DEGREES)
        padded = zonal.new_zeros(len(d), most, self.DEGREES)
        zonal = padded.index_put((index["edge"], index["place"]), zonal)
        r3, rh, out = (getattr(model, f"mlp_rbf{k}")(rbf) for k in ("3", "_h", "_out"))
        h = model.atom_emb.embeddings(g.z)
        m = model.edge_emb.dense(torch.cat([h[g.source], h[g.target], rbf], 1))
        outputs = iter(model.out_blocks)
        energy = lambda output: output.out_energy(output(m, out, g))
        sum_of = energy(next(outputs))
        for block, output in zip(model.int_blocks, outputs):
            h, m = block(h, m, g, r3, rh, radial, zonal, index)
            sum_of = sum_of + energy(output)
        return total(sum_of, g.molecule, g.molecules)[:, 0]
