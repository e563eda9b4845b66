"""Measure what weightings cost in a step of training.

Question
--------
Balancing gradients needs the gradient of every task. Done task after task that costs a
backward pass each. What does it cost here, and beside two libraries made for it?

Setting
-------
8 and 64 tasks of numbers, batches of 256 rows, 30 features, scaled, 2 x 128 units,
relu, one network, AdamW, float32, one thread.

features
    Gradients are compared at the shared representation. "with its solver" is the whole
    step; "less its solver" takes off the time inside ``GramianModule.weights``, which
    for 64 tasks is the price of the method and not of the gradients.
exact
    Gradients at the shared parameters. Beside the ratio stands the ratio of
    multiply-adds: forward and backward products of plain training, and for the exact
    step one way back through the layers and one gradient of the weights a task.
update_every=10
    Weights held for ten steps.
torchjd, LibMTL
    ``mtl_backward`` and ``jac_to_grad`` of TorchJD, and ``PCGrad`` of LibMTL as its
    trainer calls it, on the same network in plain torch with fused AdamW and the batch
    at hand. LibMTL is read from an unpacked copy (``--libmtl FOLDER``), as its package
    does not import without libraries for graphs and convex programs.
memory
    What a fit with exact gradients of 64 tasks adds to the peak of its process, less
    what plain training adds, in copies of the shared gradient.

Steps are those of ``fit``, timed from the batch on to the updated weights, in blocks
of ten; both sides run in turn. Before anything is timed, the direction is compared with
that of TorchJD in float64.

Reading
-------
Each number is the median of the ratios of neighbouring runs. The floors are asserted at
the end; methods without a floor are there for information.
"""

import argparse
import subprocess
import sys
import types
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from _report import print_setting, print_table
from bench_throughput import peak_memory
from torch import nn
from torchjd.aggregation import PCGrad as JDPCGrad
from torchjd.aggregation import UPGrad as JDUPGrad
from torchjd.autojac import jac_to_grad, mtl_backward

import skmtl.weighting as weightings
from skmtl import MultiTaskNetRegressor
from skmtl._net._training import BankTraining
from skmtl.architecture import HardSharing
from skmtl.encoding import Standard
from skmtl.weighting import Auxiliary, Equal, GramianModule, PCGrad, UPGrad

HERE = str(Path(__file__).resolve().parent)
WIDTH, N_FEATURES, BATCH = 128, 30, 256
FEATURES = 1.3, 1.2
HELD = {"features": (1.1, 1.05), "parameters": (1.6, 1.2)}
STRETCH_EXACT = {8: 2.5, 64: 12.0}
LIBRARIES = {"torchjd": (2, 3), "LibMTL": (3, 5)}
ABSTRACT = {"GramianModule", "GramianWeighting", "Weighting", "WeightingModule"}


def draw(n_tasks, n_rows=10 * BATCH):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, N_FEATURES))
    y = X @ rng.normal(size=(N_FEATURES, n_tasks))
    return X, y + rng.normal(size=y.shape)


def make(weighting, n_epochs):
    return MultiTaskNetRegressor(
        HardSharing((WIDTH, WIDTH)),
        weighting,
        Standard(),
        batch_size=BATCH,
        max_epochs=n_epochs,
        early_stopping=False,
        n_estimators=1,
        random_state=0,
        device="cpu",
    )


def ours(weighting, n_tasks, n_epochs):
    """Milliseconds of a step, and of those inside the solver."""
    steps, solver = [], [0.0]
    step, solve = BankTraining.train_step, GramianModule.weights

    def timed_step(self, batch):
        solver[0] = 0.0
        start = perf_counter()
        losses = step(self, batch)
        steps.append((perf_counter() - start, solver[0]))
        return losses

    def timed_solve(self, *args):
        start = perf_counter()
        weights = solve(self, *args)
        solver[0] += perf_counter() - start
        return weights

    BankTraining.train_step, GramianModule.weights = timed_step, timed_solve
    try:
        make(weighting, n_epochs).fit(*draw(n_tasks))
    finally:
        BankTraining.train_step, GramianModule.weights = step, solve
    # Blocks of ten hold one computation of weights that are held for ten steps.
    blocks = np.array(steps[10:]).reshape(-1, 10, 2).mean(1)
    return 1e3 * np.median(blocks[:, 0]), 1e3 * np.median(blocks[:, 1])


class PlainNet(nn.Module):
    """The network as one writes it by hand: a trunk, and a head a task."""

    def __init__(self, n_tasks, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(
            nn.Linear(N_FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()
        ).to(dtype)
        self.heads = nn.ModuleList(
            nn.Linear(WIDTH, 1, dtype=dtype) for _ in range(n_tasks)
        )


def theirs(library, n_tasks, n_steps, libmtl=None):
    """Milliseconds of a step of another library."""
    X, y = (torch.tensor(a[:BATCH], dtype=torch.float32) for a in draw(n_tasks))
    y = y.T.contiguous().unsqueeze(-1)
    net = PlainNet(n_tasks)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    aggregator = JDPCGrad()
    if library == "LibMTL":
        weighting = read_libmtl(libmtl)(net, n_tasks)
    times = []
    for _ in range(n_steps):
        start = perf_counter()
        optimizer.zero_grad(set_to_none=library != "LibMTL")
        features = net.trunk(X)
        losses = [
            nn.functional.mse_loss(head(features), target)
            for head, target in zip(net.heads, y, strict=True)
        ]
        if library == "LibMTL":
            weighting.backward(losses)
        elif library == "torchjd":
            mtl_backward(losses, features=features)
            jac_to_grad(net.trunk.parameters(), aggregator)
        else:
            torch.stack(losses).sum().backward()
        optimizer.step()
        times.append(perf_counter() - start)
    return 1e3 * median(times[n_steps // 5 :])


def read_libmtl(folder):
    """Give LibMTL's PCGrad, mixed into what its trainer would make of a network."""
    for name in ("LibMTL", "LibMTL.weighting"):
        package = types.ModuleType(name)
        package.__path__ = [str(Path(folder, *name.split(".")))]
        sys.modules.setdefault(name, package)
    from LibMTL.weighting.PCGrad import PCGrad as LibPCGrad

    class Trained(LibPCGrad):
        def __init__(self, net, n_tasks):
            super().__init__()
            self.net = net
            self.task_num, self.rep_grad, self.device = n_tasks, False, "cpu"

        def get_share_params(self):
            return self.net.trunk.parameters()

        def zero_grad_share_params(self):
            self.net.trunk.zero_grad(set_to_none=False)

    return Trained


def multiply_adds(n_tasks):
    """Products of a plain and of an exact step."""
    layers = [(N_FEATURES, WIDTH), (WIDTH, WIDTH)]
    trunk = [BATCH * i * o for i, o in layers]
    heads = BATCH * WIDTH * n_tasks
    # Inputs of the first layer need no gradient.
    plain = 3 * (sum(trunk) + heads) - trunk[0]
    back = sum(trunk[1:]) + BATCH * WIDTH
    gramian = n_tasks * sum(i * o for i, o in layers)
    exact = sum(trunk) + 2 * heads + n_tasks * (back + sum(trunk) + gramian)
    return plain, exact


def check_against_torchjd():
    """The direction of one batch, ours and theirs, in float64."""
    seen = {}
    original = GramianModule.weights

    def weights(self, losses, gramian, present):
        found = original(self, losses, gramian, present)
        seen.setdefault("pair", (gramian[0].clone(), found[0].clone()))
        return found

    GramianModule.weights = weights
    try:
        model = make(UPGrad(gradients="parameters"), 1)
        model.set_params(dtype="float64", batch_size=None).fit(*draw(8))
    finally:
        GramianModule.weights = original
    gramian, found = seen["pair"]
    root = torch.linalg.cholesky(gramian)
    expected = JDUPGrad()(root / root.norm())
    cosine = torch.cosine_similarity(found @ root, expected, dim=0)
    assert cosine > 1 - 1e-4, f"direction differs from torchjd's: cosine {cosine:.6f}"


class Table:
    """Lines, and those that miss their floor."""

    def __init__(self):
        self.rows, self.missed = [], []

    def add(self, work, ratio, floor=None, stretch=None, faster=False, note=""):
        if floor is None:
            verdict = ""
        else:
            reaches = ratio.__ge__ if faster else ratio.__le__
            verdict = "stretch" if reaches(stretch) else "floor"
            if not reaches(floor):
                verdict = "missed"
                self.missed.append(f"{work}: {ratio:.2f}, floor {floor:.2f}")
        bars = "" if floor is None else f"{floor:.3g} / {stretch:.3g}"
        self.rows.append([work, f"{ratio:.2f}", bars, verdict, note])
        print(f"# {work}: {ratio:.2f} {note}", flush=True)


def compare(weighting, n_tasks, n_epochs, repeats):
    """Ratios to plain training, with the solver and without."""
    whole, bare = [], []
    for _ in range(repeats):
        before, _ = ours(Equal(), n_tasks, n_epochs)
        step, solver = ours(weighting, n_tasks, n_epochs)
        after, _ = ours(Equal(), n_tasks, n_epochs)
        base = 0.5 * (before + after)
        whole.append(step / base)
        bare.append((step - solver) / base)
    return median(whole), median(bare), base


def all_weightings():
    for name in sorted(set(weightings.__all__) - ABSTRACT - {"Equal", "TorchJD"}):
        kind = getattr(weightings, name)
        yield Auxiliary(main=0) if kind is Auxiliary else kind()


def run(arguments):
    n_epochs, repeats = (3, 1) if arguments.quick else (12, arguments.repeats)
    table = Table()
    for n_tasks in (8, 64):
        for weighting in all_weightings():
            # Methods from losses, or at the parameters by nature, have no floor.
            floor = FEATURES if hasattr(weighting, "gradients") else ()
            whole, bare, base = compare(weighting, n_tasks, n_epochs, repeats)
            name = type(weighting).__name__
            solved = isinstance(weighting, weightings.GramianWeighting)
            note = f"plain {base:.2f} ms"
            if solved and n_tasks == 64:
                note += f"; {whole:.2f} with its solver"
                table.add(f"{name}, 64 tasks, less its solver", bare, *floor, note=note)
            else:
                note += f"; {bare:.2f} less its solver" if solved else ""
                table.add(f"{name}, {n_tasks} tasks", whole, *floor, note=note)
    for n_tasks in (8, 64):
        plain, exact = multiply_adds(n_tasks)
        weighting = UPGrad(gradients="parameters")
        whole, bare, _ = compare(weighting, n_tasks, n_epochs, repeats)
        note = f"{exact / plain:.1f} times the multiply-adds"
        ratio = whole if n_tasks == 8 else bare
        bars = 1.3 * exact / plain, STRETCH_EXACT[n_tasks]
        which = "" if n_tasks == 8 else ", less its solver"
        table.add(f"exact, {n_tasks} tasks{which}", ratio, *bars, note=note)
    for gradients, bars in HELD.items():
        weighting = PCGrad(gradients=gradients, update_every=10)
        whole, *_ = compare(weighting, 8, n_epochs, repeats)
        table.add(f"{gradients}, update_every=10, 8 tasks", whole, *bars)
    for library, bars in LIBRARIES.items():
        if library == "LibMTL" and arguments.libmtl is None:
            print("# LibMTL is left out: name an unpacked copy with --libmtl FOLDER")
            continue
        for n_tasks in (8, 64):
            ratios = []
            for _ in range(repeats):
                other = theirs(library, n_tasks, 10 * n_epochs, arguments.libmtl)
                mine, _ = ours(PCGrad(gradients="parameters"), n_tasks, n_epochs)
                ratios.append(other / mine)
            work = f"exact against {library}, {n_tasks} tasks, times faster"
            note = f"{other:.2f} against {mine:.2f} ms"
            table.add(work, median(ratios), *bars, faster=True, note=note)
    copies = grown_memory("exact") - grown_memory("plain")
    size = 64 * (N_FEATURES + 1 + WIDTH + 1) * WIDTH * 4 / 2**20
    table.add(
        "memory of 64 tasks, in 64 shared gradients",
        copies / size,
        3.0,
        2.0,
        note=f"{copies:.0f} of {size:.0f} MB",
    )
    return table


def grown_memory(kind):
    """MB that a fit adds to the peak of a fresh process."""
    statements = (
        f"import sys; sys.path.insert(0, {HERE!r})",
        "import bench_weighting as bench",
        f"print(bench.run_for_memory({kind!r}))",
    )
    command = [sys.executable, "-c", "\n".join(statements)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(ran.stdout)


def run_for_memory(kind):
    torch.set_num_threads(1)
    make(Equal(), 1).fit(*draw(8))  # what any fit takes
    weighting = Equal() if kind == "plain" else PCGrad(gradients="parameters")
    before = peak_memory()
    make(weighting, 2).fit(*draw(64))
    return peak_memory() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side")
    parser.add_argument("--libmtl", type=Path, help="folder that holds LibMTL/")
    parser.add_argument("--quick", action="store_true", help="few steps, no asserts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print_setting()
    check_against_torchjd()
    table = run(arguments)
    print()
    print_table(["work", "ratio", "floor / stretch", "", ""], table.rows)
    assert arguments.quick or not table.missed, "; ".join(table.missed)


if __name__ == "__main__":
    main()
