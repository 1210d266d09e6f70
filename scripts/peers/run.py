"""holosig against what a user could pick instead: both compute the same numbers (checked first),
then `holosig bench` and the peer are timed in turn, in one run, with equal threads."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Names of the peers by the first word of a case.
PEERS = {
    "hae": ["PyTorch", "PyTorch + e3nn.TensorProduct"],
    "signature": ["pySigLib", "iisignature"],
    "logsignature": ["pySigLib"],
    "deep": ["PyTorch, as published"],
}
NETWORKS = ["schnet", "painn", "egnn", "dimenetpp", "spherenet", "gemnet", "nequip"]
PEERS |= {name: ["PyTorch, as released"] for name in NETWORKS}
QUICK = ["hae-train-z64-l4-b64", "hae-encode-z64-l4-b64", "signature-c30-d3-b16-l25",
         "logsignature-c60-d2-b64-l25"]
CASES = [
    *(f"hae-{what}-{model}-b{batch}" for what in ("train", "encode")
      for model in ("z64-l4", "z128-l6") for batch in (64, 512)),
    "signature-c30-d3-b16-l25", "signature-c30-d4-b16-l25", "signature-c60-d3-b16-l25",
    *(f"signature-c30-d3-b{batch}-l{length}" for length in (25, 100, 1000)
      for batch in (1, 16, 64) if (batch, length) != (16, 25)),
    *(f"logsignature-c60-d3-b{batch}-l{length}"
      for batch, length in ((1, 25), (16, 100), (1, 1000), (64, 1000))),
    "logsignature-c60-d2-b64-l25", "logsignature-c60-d3-b64-l25",
    "logsignature-c150-d2-b64-l25", "logsignature-c150-d3-b64-l25",
    "deep-signature-train-n1400-t100-k50-b16",
    *(f"{name}-{what}-b{batch}" for name in NETWORKS for batch in (16, 128)
      for what in ("energy", "force") if (name, batch) != ("nequip", 128)),
]


def stop(text, code=1):
    print(f"peers: {text}", file=sys.stderr)
    sys.exit(code)


class Holosig:
    def __init__(self, program, folder):
        self.program = program
        self.folder = Path(folder)
        self.done = {}

    def __call__(self, *args):
        env = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                            "RUST_LOG": "error"}
        done = subprocess.run([self.program, *map(str, args)], cwd=self.folder, env=env,
                              capture_output=True, text=True)
        if done.returncode:
            stop(f"holosig {' '.join(map(str, args))}:\n{done.stderr.strip()}")
        return done.stdout

    def once(self, key, make):
        """What `make()` returns; made once."""
        if key not in self.done:
            self.done[key] = make()
        return self.done[key]

    def bench(self, case, threads):
        figure = json.loads(self("bench", "--case", case, "--threads", threads, "--json"))
        return figure


def difference(name, ours, theirs, tolerance):
    """Largest difference over the largest value."""
    import torch

    ours, theirs = torch.as_tensor(ours), torch.as_tensor(theirs).detach()
    if ours.shape != theirs.shape:
        stop(f"{name}: holosig gives {tuple(ours.shape)}, the peer {tuple(theirs.shape)}")
    worst = float((ours - theirs).abs().max() / ours.abs().max())
    if not worst < tolerance:
        stop(f"{name}: the peer differs from holosig by {worst:.1e} of the largest value; "
             "nothing is timed")
    return worst


def hae(holosig, case, threads):
    """Functions of the peers, samples per call, largest difference."""
    import torch
    from torch.nn.functional import mse_loss

    import hae as peer

    what, name, batch = re.fullmatch(r"hae-(train|encode)-(.+)-b(\d+)", case).groups()
    batch, config = int(batch), peer.MODELS[name]
    x = torch.randn(batch, peer.coefficients(config["lmax"]))
    trained = holosig.once(name, lambda: trained_hae(holosig, name, config))

    def make(product):
        model = peer.HAE(**config, product=product)
        worst = same_hae(trained, model)
        if what == "train":
            return peer.trainer(model, x), worst
        model.eval()

        def encode():
            with torch.inference_mode():
                model.encode(x)

        return encode, worst

    made = dict(zip(PEERS["hae"], map(make, ("dense", "e3nn"))))
    worst = max(w for _, w in made.values())
    return {n: f for n, (f, _) in made.items()}, batch, worst


def trained_hae(holosig, name, config):
    """Two steps of training on one batch, and what the first checkpoint makes of it."""
    import h5py
    import torch
    from safetensors.torch import load_file

    folder = holosig.folder
    structures = ROOT / "tests/structures"
    splits = "id,split\n1orc,train\n1FAS,validation\n"
    (folder / "splits.csv").write_text(splits)
    holosig("prepare", "structures", structures / "1orc.pdb", structures / "1FAS.cif",
            "--splits", "splits.csv", "--out", "data.h5")
    embedding = folder / f"{name}-embedding.h5"
    (folder / f"{name}.toml").write_text(f"""
task = "hvae"
[data]
dataset = "data.h5"
[zernike]
lmax = {config["lmax"]}
[model]
latent_dim = {config["latent"]}
channels = {config["channels"]}
degrees = {config["degrees"]}
projection = 44
[train]
batch = 100000
steps = 2
checkpoint_every = 1
log_every = 1
""")
    run = folder / name
    holosig("train", f"{name}.toml", "--out", run)
    for step in (1, 2):
        holosig("export", run / f"checkpoints/step-{step}.h5", run / f"{step}.safetensors")
    holosig("embed", run / "checkpoints/step-1.h5", "--dataset", "data.h5", "--split", "train",
            "--reconstruct", "--out", embedding)
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    moments = []
    for step in (1, 2):
        with h5py.File(run / f"checkpoints/step-{step}.h5") as checkpoint:
            order = [n.decode() for n in checkpoint["parameters_order"]]
            moments.append([torch.tensor(checkpoint[f"training/{k}_moments"][:])
                            for k in ("first", "second")])
    with h5py.File(embedding) as file:
        return dict(
            x=torch.tensor(file["zernikegram"][:]) / float(file.attrs["norm_factor"]),
            **{k: file[k][:] for k in ("invariants", "frames", "reconstruction")},
            before=load_file(run / "1.safetensors"), after=load_file(run / "2.safetensors"),
            loss=[l["reconstruction"] for l in lines if l["event"] == "train"][1],
            order=order, moments=moments,
        )


def same_hae(trained, model):
    """Loads the first checkpoint; compares embedding, loss, gradient and the second step of Adam."""
    import torch
    import hae as peer

    load = lambda: model.load_state_dict(trained["before"], strict=False)
    if load().unexpected_keys:
        stop("the peer lacks parameters that holosig exported")
    model.eval()
    with torch.no_grad():
        z, frames = model.encode(trained["x"])
        found = {"invariants": z, "frames": frames, "reconstruction": model.decode(z, frames)}
    worst = [difference(k, trained[k], v, 1e-4) for k, v in found.items()]

    step = peer.trainer(model, trained["x"])
    parameters = [dict(model.named_parameters())[n] for n in trained["order"]]
    sizes = [p.numel() for p in parameters]
    before, after = trained["moments"]
    for p, *moments in zip(parameters, *(m.split(sizes) for m in before)):
        first, second = (m.view_as(p).clone() for m in moments)
        step.adam.state[p] = dict(step=torch.tensor(1.0), exp_avg=first, exp_avg_sq=second)
    worst.append(difference("loss", trained["loss"], step().item(), 1e-4))
    flat = lambda tensors: torch.cat([t.detach().flatten() for t in tensors])
    # Of the moments, which are linear in the gradient and its square: where a gradient is only
    # rounding, Adam makes it a whole step.
    found = [flat(step.adam.state[p][k] for p in parameters) for k in ("exp_avg", "exp_avg_sq")]
    worst += [difference("moments", a, b, 1e-4) for a, b in zip(after, found)]
    old = flat(trained["before"][n] for n in trained["order"])
    step_of = flat(trained["after"][n] for n in trained["order"]) - old
    apart = float((flat(parameters) - old - step_of).norm() / step_of.norm())
    if not apart < 1e-2:
        stop(f"the peer's step differs from holosig's by {apart:.1e} of its length")
    load()
    return max(worst)


def signature(holosig, case, threads):
    import h5py
    import torch

    import signatures as peer

    log, *numbers = re.fullmatch(r"(log)?signature-c(\d+)-d(\d+)-b(\d+)-l(\d+)", case).groups()
    channels, depth, batch, length = map(int, numbers)
    paths = 0.3 * torch.randn(2, length, channels)
    with h5py.File(holosig.folder / "paths.h5", "w") as file:
        file["path"] = paths.numpy()
    holosig("signature", "paths.h5", "signatures.h5", "--depth", depth, *(["--log"] if log else []))
    with h5py.File(holosig.folder / "signatures.h5") as file:
        ours = file["signature"][:]
    works, worst = {}, 0.0
    for name, function in peer.peers(channels, depth, bool(log), threads):
        worst = max(worst, difference(name, ours, function(paths), 1e-4))
        works[name] = peer.worker(function, batch, length, channels)
    return works, batch, worst


def deep_signature(holosig, case, threads):
    import deep_signature as peer

    return peer.works(holosig, case, difference)


def network(holosig, case, threads):
    import networks as peer

    return peer.works(holosig, case, difference)


def memory_mb(kind):
    """Resident memory of this process: "VmRSS" now, "VmHWM" at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def seconds(work, enough, processor):
    """Median of calls for about `enough` seconds, two at least, unless one takes longer; the least
    of processor time."""
    clock = time.process_time if processor else time.perf_counter
    taken = []
    while len(taken) < 2 and sum(taken) < 5 or sum(taken) < enough:
        start = clock()
        work()
        taken.append(clock() - start)
    return min(taken) if processor else statistics.median(taken)


def compare(holosig, case, threads, pairs, enough, only, processor):
    """One line of the table. The peer is the fastest of those at hand, or of those in `only`;
    nothing where there is none."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    # Cases have processes of their own, and runs of the same name.
    holosig.folder = Path(tempfile.mkdtemp(dir=holosig.folder))
    libraries = memory_mb("VmRSS")
    kinds = {"hae": hae, "signature": signature, "logsignature": signature, "deep": deep_signature}
    kind = kinds.get(case.split("-")[0], network)
    works, amount, worst = kind(holosig, case, threads)
    works = {name: work for name, work in works.items() if not only or name in only}
    if not works:
        return None
    for work in works.values():
        work()  # warms up
    trial = {n: seconds(work, 0.0, processor) if len(works) > 1 else 0.0
             for n, work in works.items()}
    name = min(trial, key=trial.get)
    work = works.pop(name)
    works.clear()
    ours, theirs = [], []
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(pairs):
        figure = holosig.bench(case, threads)
        memory = figure["peak_memory_mb"]
        ours.append(amount / figure["processor_seconds"] if processor else figure["per_second"])
        theirs.append(amount / seconds(work, enough, processor))
    ratios = [a / b for a, b in zip(ours, theirs)]
    return dict(
        case=case, threads=threads, peer=name, holosig=statistics.median(ours),
        theirs=statistics.median(theirs), ratio=statistics.median(ratios), lowest=min(ratios),
        highest=max(ratios), holosig_mb=memory,
        peer_mb=memory_mb("VmHWM") - libraries,
        difference=worst,
    )


def number(v):
    return f"{v:,.0f}" if v >= 100 else f"{v:.3g}"


def main():
    parser = argparse.ArgumentParser(prog="scripts/peers/run.sh", description=__doc__)
    parser.add_argument("--case", action="append", help="only this case; may be repeated")
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and 2")
    parser.add_argument("--peer", action="append",
                        help="only peers of this name; default: the fastest; may be repeated")
    parser.add_argument("--every", action="store_true",
                        help="a line for each peer, not for the fastest alone")
    parser.add_argument("--pairs", type=int, help="how often each is timed in turn; default 5")
    parser.add_argument("--quick", action="store_true", help="four small cases, under a minute")
    parser.add_argument("--processor", action="store_true",
                        help="least processor time, for a machine that others use too")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    args = parser.parse_args()
    if args.list:
        return print("\n".join(CASES))
    cases = args.case or (QUICK if args.quick else CASES)
    for case in cases:
        if case not in CASES:
            stop(f"no case {case}; --list prints all", 2)
    threads = args.threads or ([1] if args.quick else [1, 2])
    pairs = args.pairs or (2 if args.quick else 5)
    program = os.environ.get("HOLOSIG") or ROOT / "target/release/holosig"
    if not os.access(program, os.X_OK):
        stop(f"no program {program}: build it (cargo build --release) or set HOLOSIG", 2)
    try:
        import e3nn, h5py, pysiglib, safetensors, torch  # noqa: F401
    except ImportError as e:
        stop(f"{e}: run scripts/peers/setup.sh first", 2)

    with tempfile.TemporaryDirectory(prefix="holosig-peers-") as folder:
        table(Holosig(program, folder), cases, threads, pairs, args)


def alone(function, *args):
    """`function(*args)` in a process of its own: memory that an earlier case has freed would hide
    what this one takes."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def table(holosig, cases, threads, pairs, args):
    if not args.json:
        print("| case | threads | peer | holosig /s | peer /s | ratio (lowest, highest) | "
              "peak MB, holosig | peer beyond its libraries | largest difference |")
        print("|---|---|---|---|---|---|---|---|---|")
    for t in threads:
        for case in cases:
            chosen = [args.peer]
            if args.every:
                named = PEERS[case.split("-")[0]]
                chosen = [[name] for name in named if name in (args.peer or named)]
            for only in chosen:
                seconds = 0.5 if args.quick else 2.0
                row = alone(compare, holosig, case, t, pairs, seconds, only, args.processor)
                if row is None and not args.every:
                    stop(f"{case} has no peer {' or '.join(only)}", 2)
                if row is None:
                    continue
                print(json.dumps(row) if args.json else line(row), flush=True)


def line(row):
    """A row of the table."""
    ratio = f"{row['ratio']:.1f} ({row['lowest']:.1f}, {row['highest']:.1f})"
    cells = [row["case"], row["threads"], row["peer"], number(row["holosig"]),
             number(row["theirs"]), ratio, number(row["holosig_mb"]), number(row["peer_mb"]),
             f"{row['difference']:.0e}"]
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
