"""Deep Signature in PyTorch, computed as the released code does it: graph convolution on every
frame, dense adjacency, min-cut pooling, log-signatures of four segments (here by pySigLib), an
LSTM. Parameter names are the published ones, as in holosig's checkpoints.

B clips, T frames, N atoms, K beads, H hidden.
"""

import json
import math
import random
import re

import h5py
import pysiglib
import pysiglib.torch_api as pysiglib_torch
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

WEIGHTS = {"prediction": 10.0, "coordinates": 0.01, "mincut": 1.0, "orthogonality": 1.0}


class GCNConv(nn.Module):
    """Symmetric normalisation by in-degrees, self-loops added."""

    def __init__(self, fan_in, fan_out):
        super().__init__()
        self.lin = nn.Linear(fan_in, fan_out, bias=False)
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def forward(self, x, edges):
        n = x.shape[1]
        loops = torch.arange(n)
        source, target = torch.cat([edges, torch.stack([loops, loops])], 1)
        degree = torch.zeros(n).index_add_(0, target, torch.ones(len(target))).rsqrt()
        weight = (degree[source] * degree[target])[:, None]
        x = self.lin(x)
        return torch.zeros_like(x).index_add(1, target, weight * x[:, source]) + self.bias


class DenseGraphConv(nn.Module):
    def __init__(self, fan_in, fan_out):
        super().__init__()
        self.lin_rel = nn.Linear(fan_in, fan_out)
        self.lin_root = nn.Linear(fan_in, fan_out, bias=False)

    def forward(self, x, adjacency):
        return self.lin_rel(adjacency.unsqueeze(1) @ x) + self.lin_root(x)


def trace(x):
    return x.diagonal(dim1=-2, dim2=-1).sum(-1)


def mincut_pool(x, adjacency, scores):
    """x [B, T, n, H], adjacency [B, n, n], scores [B, n, k]."""
    s = scores.softmax(-1)
    k = s.shape[-1]
    pooled = s.transpose(1, 2).unsqueeze(1) @ x
    coarse = s.transpose(1, 2) @ adjacency @ s
    degrees = torch.diag_embed(adjacency.sum(-1))
    mincut = -(trace(coarse) / trace(s.transpose(1, 2) @ degrees @ s)).mean()
    overlap = s.transpose(1, 2) @ s
    ideal = torch.eye(k) / math.sqrt(k)
    norm = lambda m: m.flatten(1).norm(dim=1)
    orthogonality = norm(overlap / norm(overlap)[:, None, None] - ideal).mean()
    coarse = coarse * (1 - torch.eye(k))
    root = coarse.sum(-1).sqrt()[:, None] + 1e-15
    return pooled, coarse / root / root.transpose(1, 2), s, mincut, orthogonality


class LocalAggregator(nn.Module):
    def __init__(self, features, hidden, clusters):
        super().__init__()
        self.conv1 = GCNConv(features, hidden)
        for i, k in enumerate((8 * clusters, 4 * clusters, clusters)):
            setattr(self, f"pool{i + 1}", nn.Linear(hidden, k))
            setattr(self, f"conv{i + 2}", DenseGraphConv(hidden, hidden))

    def forward(self, positions, edges):
        batch, frames, nodes, d = positions.shape
        # All clips side by side in one graph.
        flat = positions.transpose(0, 1).reshape(frames, batch * nodes, d)
        all_edges = torch.cat([edges + i * nodes for i in range(batch)], 1)
        x = self.conv1(flat, all_edges).relu()
        x = x.view(frames, batch, nodes, -1).transpose(0, 1)
        adjacency = torch.zeros(batch, nodes, nodes)
        adjacency[:, edges[0], edges[1]] = 1.0
        assignment, mincut, orthogonality = None, 0.0, 0.0
        for i in (1, 2, 3):
            scores = getattr(self, f"pool{i}")(x).mean(1).tanh()
            x, adjacency, s, cut, apart = mincut_pool(x, adjacency, scores)
            x = getattr(self, f"conv{i + 1}")(x, adjacency)
            assignment = s if assignment is None else assignment @ s
            mincut, orthogonality = mincut + cut, orthogonality + apart
        return x, assignment, mincut, orthogonality


class TemporalAggregator(nn.Module):
    SEGMENTS, DEPTH = 4, 2

    def __init__(self, channels, hidden, lstm):
        super().__init__()
        pysiglib.prepare_log_sig(channels, self.DEPTH, 1)
        terms = channels * (channels + 1) // 2
        self.lstm_layer = nn.LSTM(terms, lstm, batch_first=True)
        self.norm = nn.LayerNorm(lstm)
        self.linear = nn.Sequential(nn.Linear(lstm, hidden), nn.Tanh(), nn.Dropout(0.2))

    def forward(self, path):
        """[B, T, channels] to [B, H] and the log-signatures."""
        batch, frames, channels = path.shape
        pieces = path.reshape(batch * self.SEGMENTS, frames // self.SEGMENTS, channels)
        jobs = torch.get_num_threads()
        log = pysiglib_torch.log_sig(pieces.contiguous(), self.DEPTH, method=1, n_jobs=jobs)
        log = log.view(batch, self.SEGMENTS, -1)
        out = self.norm(self.lstm_layer(log)[0])
        return self.linear(out[:, -1]), log


class DeepSignature(nn.Module):
    def __init__(self, clusters, hidden, lstm, features=3):
        super().__init__()
        self.local_aggregator = LocalAggregator(features, hidden, clusters)
        self.energy_regressor = nn.Linear(hidden, features)
        self.temporal_aggregator = TemporalAggregator(clusters * features, hidden, lstm)
        self.classifier = nn.ModuleDict({"linear": nn.Linear(hidden, 1)})

    def forward(self, positions, edges):
        x, assignment, mincut, orthogonality = self.local_aggregator(positions, edges)
        path = self.energy_regressor(x)
        target = torch.einsum("btnd,bnk->btkd", positions, assignment.detach())
        features, log = self.temporal_aggregator(path.flatten(2))
        return dict(
            prediction=self.classifier["linear"](features).sigmoid().squeeze(1),
            log_signatures=log,
            coordinates=(path - target).abs().mean(),
            mincut=mincut, orthogonality=orthogonality,
        )

    def losses(self, positions, edges, labels):
        out = self(positions, edges)
        return out | {"prediction": binary_cross_entropy_with_logits(out["prediction"], labels)}


def trainer(model, positions, edges, labels):
    """A call of what is returned is a step of training; it returns the objective's terms."""
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=5e-4, fused=True)
    model.train()

    def step():
        losses = model.losses(positions, edges, labels)
        adam.zero_grad()
        sum(w * losses[k] for k, w in WEIGHTS.items()).backward()
        adam.step()
        return losses

    return step


def backbone_edges(nodes):
    """Every pair of the four backbone atoms of a residue, one way."""
    pairs = [(i, j) for j in range(4) for i in range(j)]
    return torch.tensor([(r + i, r + j) for r in range(0, nodes, 4) for i, j in pairs]).T


# A small system for the comparison of numbers.
RESIDUES, FRAMES, CLUSTERS, HIDDEN, LSTM = 12, 16, 4, 6, 16


def write_system(folder):
    """Four trajectories of a chain that wobbles, as PDB files, and their manifest."""
    noise = random.Random(1)
    rows = ["trajectory,topology,label,group,split"]
    for k, split in enumerate(("train", "train", "validation", "test")):
        rows.append(f"t{k}.pdb,t{k}.pdb,{'ab'[k % 2]},g{k},{split}")
        lines = []
        for t in range(FRAMES):
            lines.append(f"MODEL     {t + 1:4d}")
            for i in range(4 * RESIDUES):
                r, a = divmod(i, 4)
                place = (3.8 * r, 1.4 * (a % 2), 1.4 * (a // 2))
                x = [c + 0.1 * math.sin(0.7 * t + i + 3 * b + k) + noise.uniform(0, 0.05)
                     for b, c in enumerate(place)]
                lines.append(f"ATOM  {i + 1:5d}  {('N ', 'CA', 'C ', 'O ')[a]}  GLY A{r + 1:4d}    "
                             f"{x[0]:8.3f}{x[1]:8.3f}{x[2]:8.3f}  1.00  0.00           {'NCCO'[a]}")
            lines.append("ENDMDL")
        (folder / f"t{k}.pdb").write_text("\n".join(lines) + "\nEND\n")
    (folder / "runs.csv").write_text("\n".join(rows) + "\n")


def same_numbers(holosig, difference):
    """Trains a small published-variant model with holosig; compares log-signatures, predictions
    and the terms of the loss."""
    folder = holosig.folder
    write_system(folder)
    holosig("prepare", "trajectories", "--manifest", "runs.csv", "--select", "all", "--segments",
            "1x1", "--folds", "2", "--out", "clips.h5")
    (folder / "clips.toml").write_text(f"""
task = "deep-signature"
[data]
dataset = "clips.h5"
fold = 0
[model]
variant = "published"
clusters = {CLUSTERS}
hidden = {HIDDEN}
lstm = {LSTM}
dropout = 0.0
[train]
batch = 2
slices = 1
steps = 2
checkpoint_every = 1
log_every = 1
""")
    run = folder / "clips"
    holosig("train", "clips.toml", "--out", run)
    holosig("embed", run / "checkpoints/step-1.h5", "--trajectories", "clips.h5", "--out",
            "clips-embedding.h5")
    model = DeepSignature(CLUSTERS, HIDDEN, LSTM)
    model.temporal_aggregator.linear[2].p = 0.0
    with h5py.File(run / "checkpoints/step-1.h5") as file:
        state = {k: torch.tensor(v[:]) for k, v in file["parameters"].items()}
    model.load_state_dict(state)
    with h5py.File(folder / "clips.h5") as file:
        clips = [torch.tensor(file[f"coordinates/{k:06d}"][:]) for k in range(4)]
    positions, edges = 0.1 * torch.stack(clips), backbone_edges(4 * RESIDUES)
    with torch.no_grad():
        out = model(positions, edges)
        losses = model.losses(positions[:2], edges, torch.tensor([0.0, 1.0]))
    # The path is long beside its steps, so single precision keeps three digits of an area.
    with h5py.File(folder / "clips-embedding.h5") as file:
        worst = [difference("log-signatures", file["signature"][:], out["log_signatures"], 5e-3),
                 difference("predictions", file["prediction"][:, 0], out["prediction"], 1e-4)]
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    told = [line for line in lines if line["event"] == "train"][1]
    worst += [difference(k, told[k], losses[k].item(), 1e-4) for k in WEIGHTS]
    return max(worst)


def works(holosig, case, difference):
    """Functions of the peers, samples per call, largest difference."""
    nodes, frames, clusters, batch = map(int, re.findall(r"\d+", case))
    worst = holosig.once("deep-signature", lambda: same_numbers(holosig, difference))
    model = DeepSignature(clusters, 20, 256)
    positions = (0.05 * torch.randn(batch, frames, nodes, 3)).cumsum(1)
    labels = (torch.arange(batch) % 2).float()
    step = trainer(model, positions, backbone_edges(nodes), labels)
    return {"PyTorch, as published": step}, batch, worst
