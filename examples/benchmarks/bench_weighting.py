"""Measure what weightings cost in a step of training.

Question
--------
Balancing gradients needs the gradient of every task. Done task after task that costs a
backward pass each. What does it cost here, and beside two libraries made for it?

Setting
-------
8 and 64 tasks of numbers, batches of 256 rows, 30 features, scaled, 2 x 128 units,
relu, one network, AdamW, float32, no early stopping, one thread, on the CPU. Six lines,
one function each; ``--only`` picks some.

features
    Every weighting of ``skmtl.weighting`` with default arguments, its gradients at the
    shared representation, against plain training. The line of a method that solves for
    its weights stands twice: whole, and less the time inside its module's ``weights``
    or ``combine``. With 64 tasks that time is the price of the method and not of the
    gradients, so the bar is on what is left; with 8 tasks it is on the whole step. The
    solver inside ``TorchJD`` is not ours and stays out of its bar. Methods that look at
    losses alone have no bar.
exact
    Gradients at the shared parameters, against plain training; the methods that work
    nowhere else for information, and a table of 300 row tasks. Beside the ratio stands
    that of the multiply-adds: a plain step goes forward and has two products a layer on
    the way back, less the one that would reach the inputs; an exact one goes forward
    once, and back through the layers, with a gradient of the weights each, once a task,
    and multiplies the gradients with one another.
held
    ``update_every=10``: weights held for ten steps, against plain training.
torchjd, libmtl
    Exact steps against ``mtl_backward`` and ``jac_to_grad`` of TorchJD with its own
    aggregators, and against ``PCGrad`` of LibMTL called as its trainer calls it: losses
    written into one tensor, ``backward`` of the weighting, step of the optimizer;
    without the trainer's meters. Both on the same network in plain torch with fused
    AdamW and the batch at hand. LibMTL is read from an unpacked copy (``--libmtl
    FOLDER``): its package imports libraries for graphs and convex programs. Without
    one, the line is left out.
memory
    What a fit with exact gradients of 64 tasks adds to the peak of its process, less
    what plain training adds: 64 copies of the shared gradient, and a slack of 16 MB for
    what is worked on meanwhile. Layers of 512 units make the copies the larger part.

Steps are those of ``fit``, timed from the batch on to the updated weights, in blocks
of ten, which hold one computation of weights that are held for ten steps; the first
block is left out, the median block counts. Plain fits run before and after every other
fit, and methods in turn, the order changing every time. All in one process; memory in
processes of its own. Before anything is timed, the Gramian at the parameters and the
direction are compared with those of TorchJD on one batch in float64.

Reading
-------
Each number is the median of the ratios of neighbouring runs; the range over the runs
stands beside it. "x its time" is better when small, "times faster" when large. The
floor is asserted at the end, the stretch is the place we would like to be. ``--quick``
runs everything once, for a few steps, and asserts nothing.
"""

import argparse
import subprocess
import sys
import types
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
import torchjd.aggregation as jd
from _report import print_setting, print_table
from bench_throughput import Line, make_row_tasks, peak_memory
from threadpoolctl import threadpool_limits
from torch import nn
from torchjd.autojac import jac_to_grad, mtl_backward
from torchjd.linalg import QuadprogProjector

import skmtl.weighting
from skmtl import MultiTaskNetRegressor
from skmtl._net._training import BankTraining
from skmtl._shape import BankShape
from skmtl.architecture import HardSharing
from skmtl.encoding import Standard
from skmtl.weighting import Auxiliary, Equal, PCGrad, TorchJD, UPGrad, Weighting

HERE = str(Path(__file__).resolve().parent)

WIDTH, N_FEATURES, BATCH = 128, 30, 256
N_BATCHES = 10  # an epoch, and a block of steps that is averaged

# Floors and stretches. Against plain training, by number of tasks:
FEATURES = {8: (1.3, 1.2), 64: (1.3, 1.2)}
# Less than the ratios of the multiply-adds, which are 5.4 and 33.
EXACT = {8: (5, 2.5), 64: (29, 12)}
# By where gradients are compared, with 8 tasks:
HELD = {"features": (1.1, 1.05), "parameters": (1.6, 1.2)}
# How many times faster:
LIBRARIES = {"torchjd": (2, 3), "LibMTL": (3, 5)}
# MB beyond the copies of the shared gradient:
MEMORY_SLACK = 16, 8


@dataclass
class Cost(Line):
    """One measured row, with a remark."""

    note: str = ""

    def cells(self):
        return (*super().cells(), self.note)


# Data, estimator, and the weightings there are.


def draw(n_tasks, n_rows=N_BATCHES * BATCH):
    """Draw a noisy linear table."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, N_FEATURES))
    y = X @ rng.normal(size=(N_FEATURES, n_tasks))
    return X, y + rng.normal(size=y.shape)


def make(weighting, n_epochs, width=WIDTH, **params):
    """Build our regressor of one network."""
    fixed = {"batch_size": BATCH, "max_epochs": n_epochs, "early_stopping": False}
    fixed |= {"n_estimators": 1, "random_state": 0, "device": "cpu"}
    return MultiTaskNetRegressor(
        HardSharing((width, width)), weighting, Standard(), **(fixed | params)
    )


def all_weightings():
    """Give every concrete weighting by its name, with default arguments."""
    needed = {Auxiliary: {"main": 0}, TorchJD: {"weighting": jd.UPGradWeighting()}}
    for name in sorted(skmtl.weighting.__all__):
        kind = getattr(skmtl.weighting, name)
        concrete = issubclass(kind, Weighting) and kind.build is not Weighting.build
        if concrete and kind is not Equal:
            yield name, kind(**needed.get(kind, {}))


def module_of(weighting, n_tasks):
    """Build the module, to ask what it needs."""
    return weighting.build(BankShape((N_FEATURES,), n_tasks, n_tasks))


# Our steps.


def our_step(weighting, n_epochs, table, **params):
    """Return milliseconds of a step, and of those inside the weighting."""
    steps, inside = [], [0.0]
    step = BankTraining.train_step

    def timed(ask):
        def work(*args):
            start = perf_counter()
            answer = ask(*args)
            inside[0] += perf_counter() - start
            return answer

        return work

    def timed_step(self, batch):
        asked = self.module.weighting
        if not steps and asked.needs != "losses":
            asked.weights, asked.combine = timed(asked.weights), timed(asked.combine)
        inside[0] = 0.0
        start = perf_counter()
        losses = step(self, batch)
        steps.append((perf_counter() - start, inside[0]))
        return losses

    BankTraining.train_step = timed_step
    try:
        make(weighting, n_epochs, **params).fit(*table)
    finally:
        BankTraining.train_step = step
    usable = len(steps) // N_BATCHES * N_BATCHES
    blocks = np.array(steps[N_BATCHES:usable]).reshape(-1, N_BATCHES, 2).mean(1)
    whole = np.median(blocks[:, 0])
    share = np.median(blocks[:, 1] / blocks[:, 0])
    return 1e3 * whole, 1e3 * whole * share


def beside_plain(choices, table, n_epochs, n_repeats, **params):
    """Time weightings in turn, plain training between them.

    Returns
    -------
    found : dict of str to ndarray of shape (n_repeats, 3)
        Milliseconds of a plain step, of a step, and of those inside the weighting.
    """
    found = {name: [] for name in choices}
    for repeat in range(n_repeats):
        before, _ = our_step(Equal(), n_epochs, table, **params)
        for name in list(choices)[:: -1 if repeat % 2 else 1]:
            step, inside = our_step(choices[name], n_epochs, table, **params)
            after, _ = our_step(Equal(), n_epochs, table, **params)
            found[name].append((0.5 * (before + after), step, inside))
            before = after
    return {name: np.array(times) for name, times in found.items()}


def costs(work, times, bars, bars_less, solver, note=""):
    """Give the lines of a weighting: whole, and less its solver."""
    plain, step, inside = times.T
    line = partial(Cost, theirs=median(plain), note=note)
    ratios = list(step / plain)
    yield line(work, median(step), ratios=ratios, floor=bars[0], stretch=bars[1])
    if solver:
        rest = step - inside
        work, ratios = f"{work}, less its solver", list(rest / plain)
        floor, stretch = bars_less
        yield line(work, median(rest), ratios=ratios, floor=floor, stretch=stretch)


NO_BARS = None, None


def measure_features(arguments):
    """Time every weighting that does not insist on the parameters."""
    for n_tasks in (8, 64):
        choices = {
            name: choice
            for name, choice in all_weightings()
            if module_of(choice, n_tasks).gradients == "features"
        }
        table = draw(n_tasks)
        found = beside_plain(choices, table, arguments.epochs, arguments.repeats)
        for name, times in found.items():
            whole = less = NO_BARS
            needs = module_of(choices[name], n_tasks).needs
            if needs == "jacobian" or (needs == "gramian" and n_tasks == 8):
                whole = FEATURES[n_tasks]
            elif needs == "gramian":
                less = FEATURES[n_tasks]
            if name == "TorchJD":
                whole, less = NO_BARS, FEATURES[n_tasks]
            work = f"{name}, {n_tasks} tasks"
            yield from costs(work, times, whole, less, needs == "gramian")


def measure_exact(arguments):
    """Time gradients at the parameters."""
    for n_tasks in (8, 64):
        choices = {
            "PCGrad": PCGrad(gradients="parameters"),
            "UPGrad": UPGrad(gradients="parameters"),
        }
        barred = set(choices)
        choices |= {
            name: choice
            for name, choice in all_weightings()
            if module_of(choice, n_tasks).gradients == "parameters"
        }
        plain, exact = multiply_adds(n_tasks)
        bars = EXACT[n_tasks]
        found = beside_plain(
            choices, draw(n_tasks), arguments.epochs, arguments.repeats
        )
        for name, times in found.items():
            solver = name in barred
            whole = bars if solver and n_tasks == 8 else NO_BARS
            less = bars if solver and n_tasks == 64 else NO_BARS
            note = f"{exact / plain:.1f} x multiply-adds" if solver else ""
            work = f"{name}, exact, {n_tasks} tasks"
            yield from costs(work, times, whole, less, solver, note)
    yield from measure_row_tasks(arguments)


def measure_row_tasks(arguments):
    """Time 300 row tasks, whose gradients meet at the parameters only."""
    table = make_row_tasks(N_BATCHES * BATCH, 300, N_FEATURES)
    choices = {"PCGrad": PCGrad(gradients="parameters")}
    found = beside_plain(
        choices, table, arguments.epochs, arguments.repeats, task_column=N_FEATURES
    )
    work = "PCGrad, exact, 300 row tasks"
    yield from costs(work, found["PCGrad"], NO_BARS, NO_BARS, True)


def multiply_adds(n_tasks):
    """Count the products of a plain and of an exact step."""
    layers = [(N_FEATURES, WIDTH), (WIDTH, WIDTH)]
    trunk = [BATCH * n_in * n_out for n_in, n_out in layers]
    heads = BATCH * WIDTH * n_tasks
    n_shared = sum((n_in + 1) * n_out for n_in, n_out in layers)
    # Inputs of the first layer need no gradient.
    plain = 3 * (sum(trunk) + heads) - trunk[0]
    # A task's gradient at the features is an outer product: its outputs by its head.
    back = BATCH * WIDTH + sum(trunk[1:])
    gramian = n_tasks**2 * n_shared
    exact = sum(trunk) + 2 * heads + n_tasks * (back + sum(trunk)) + gramian
    return plain, exact + n_tasks * n_shared


def measure_held(arguments):
    """Time weights that are held for ten steps."""
    for n_tasks in (8, 64):
        choices = {
            place: PCGrad(gradients=place, update_every=10)
            for place in ("features", "parameters")
        }
        found = beside_plain(
            choices, draw(n_tasks), arguments.epochs, arguments.repeats
        )
        for place, times in found.items():
            bars = HELD[place] if n_tasks == 8 else NO_BARS
            work = f"PCGrad, {place}, update_every=10, {n_tasks} tasks"
            yield from costs(work, times, bars, NO_BARS, False)


# The other libraries.


class PlainNet(nn.Module):
    """The network as one writes it by hand: a trunk, and a head a task."""

    def __init__(self, n_tasks, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(
            nn.Linear(N_FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()
        )
        self.heads = nn.ModuleList(nn.Linear(WIDTH, 1) for _ in range(n_tasks))
        self.to(dtype)

    def losses(self, features, targets):
        """Compute one loss a task, from targets of shape (n_tasks, n_rows, 1)."""
        return [
            nn.functional.mse_loss(head(features), target)
            for head, target in zip(self.heads, targets, strict=True)
        ]


def their_step(make_backward, n_tasks, n_steps, zero_to_none=True):
    """Return milliseconds of a step of another library."""
    inputs, y = (torch.tensor(a[:BATCH], dtype=torch.float32) for a in draw(n_tasks))
    targets = y.T.contiguous().unsqueeze(-1)
    net = PlainNet(n_tasks)
    backward = make_backward(net)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    times = []
    for _ in range(n_steps):
        start = perf_counter()
        features = net.trunk(inputs)
        losses = net.losses(features, targets)
        optimizer.zero_grad(set_to_none=zero_to_none)
        backward(losses, features)
        optimizer.step()
        times.append(perf_counter() - start)
    blocks = np.array(times[N_BATCHES:]).reshape(-1, N_BATCHES).mean(1)
    return 1e3 * np.median(blocks)


def torchjd_backward(net, aggregator):
    def backward(losses, features):
        mtl_backward(losses, features=features)
        jac_to_grad(net.trunk.parameters(), aggregator)

    return backward


def libmtl_backward(net, folder):
    """Give the backward pass of LibMTL's PCGrad."""
    for name in ("LibMTL", "LibMTL.weighting"):  # without what their __init__ imports
        package = types.ModuleType(name)
        package.__path__ = [str(Path(folder, *name.split(".")))]
        sys.modules.setdefault(name, package)
    from LibMTL.weighting.PCGrad import PCGrad as Theirs

    class Trained(Theirs):
        """What the trainer makes of a weighting and an architecture."""

        task_num, rep_grad, device = len(net.heads), False, "cpu"

        def get_share_params(self):
            return net.trunk.parameters()

        def zero_grad_share_params(self):
            # It writes into gradients, which torch sets to None since 2.0.
            net.trunk.zero_grad(set_to_none=False)

    weighting = Trained()

    def backward(losses, features):
        one = torch.zeros(len(losses))
        for t, loss in enumerate(losses):
            one[t] = loss
        weighting.backward(one)

    return backward


def beside_library(work, library, choice, make_backward, arguments, **params):
    """Time our exact step and theirs in turn, for both numbers of tasks."""
    for n_tasks in (8, 64):
        table, n_steps = draw(n_tasks), N_BATCHES * arguments.epochs
        sides = {
            "ours": lambda table=table: our_step(choice, arguments.epochs, table)[0],
            "theirs": partial(their_step, make_backward, n_tasks, n_steps, **params),
        }
        pairs = []
        for repeat in range(arguments.repeats):
            order = list(sides)[:: -1 if repeat % 2 else 1]
            times = {name: sides[name]() for name in order}
            pairs.append((times["ours"], times["theirs"]))
        ours, theirs = np.array(pairs).T
        yield Cost(
            f"{work}, exact / {library}, {n_tasks} tasks",
            median(ours),
            median(theirs),
            list(theirs / ours),
            *LIBRARIES[library],
            "times faster",
        )


def measure_torchjd(arguments):
    """Time steps of TorchJD."""
    sides = {PCGrad: jd.PCGrad, UPGrad: jd.UPGrad}
    for ours, theirs in sides.items():
        choice = ours(gradients="parameters")

        def make_backward(net, theirs=theirs):
            return torchjd_backward(net, theirs())

        yield from beside_library(
            ours.__name__, "torchjd", choice, make_backward, arguments
        )


def measure_libmtl(arguments):
    """Time steps of LibMTL, where there is a copy."""
    folder = arguments.libmtl
    if folder is None or not (folder / "LibMTL/weighting/PCGrad.py").exists():
        reason = "--libmtl is not given" if folder is None else f"none in {folder}"
        print(f"# no LibMTL: {reason}; the line is left out", flush=True)
        return
    yield from beside_library(
        "PCGrad",
        "LibMTL",
        PCGrad(gradients="parameters"),
        partial(libmtl_backward, folder=folder),
        arguments,
        zero_to_none=False,
    )


# Memory.


def measure_memory(arguments):
    """Measure what exact gradients of 64 tasks add to the peak of a process."""
    for width in (WIDTH, 512):
        sides = {}
        for weighting in ("Equal()", "PCGrad(gradients='parameters')"):
            runs = range(min(arguments.repeats, 3))
            sides[weighting] = np.array([grown_memory(weighting, width) for _ in runs])
        plain, exact = sides.values()
        copies = 64 * (N_FEATURES + 1 + width + 1) * width * 4 / 2**20
        floor, stretch = MEMORY_SLACK
        bar = copies + floor
        added = exact - median(plain)
        yield Cost(
            f"exact / plain, 2 x {width}, MB added / copies + {floor}",
            median(added),
            bar,
            list(added / bar),
            1.0,
            (copies + stretch) / bar,
            "x its memory",
            f"64 copies are {copies:.0f} MB",
        )


def grown_memory(weighting, width):
    """MB that a fit adds to the peak of a fresh process."""
    statements = (
        f"import sys; sys.path.insert(0, {HERE!r})",
        "import bench_weighting as bench",
        f"print(bench.run_for_memory({weighting!r}, {width}))",
    )
    command = [sys.executable, "-c", "\n".join(statements)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(ran.stdout)


def run_for_memory(weighting, width):
    """Fit 64 tasks; return how the peak has grown, in MB."""
    torch.set_num_threads(1)
    table, few = draw(64), draw(8)
    for warm in (Equal(), PCGrad(gradients="parameters")):  # what any fit takes
        make(warm, 1).fit(*few)
    choice = {"Equal()": Equal()}.get(weighting, PCGrad(gradients="parameters"))
    before = peak_memory()
    make(choice, 2, width).fit(*table)
    return peak_memory() - before


# Both sides compute the same.


def check_against_torchjd(n_tasks=8):
    """Compare Gramian and direction of one batch, in float64."""
    seen = {}
    step = BankTraining.train_step

    def watched(self, batch):
        module, asked = self.module, self.module.weighting
        ask = asked.weights

        def weights(losses, gramian, present):
            seen["gramian"] = gramian[0].clone()
            return ask(losses, gramian, present)

        asked.weights = weights
        seen["batch"] = batch.inputs[0], batch.targets[0]
        seen["before"] = [p.detach()[0].clone() for p in module.parameters()]
        losses = step(self, batch)
        seen["gradient"] = [p.grad[0].clone() for p in module.shared_parameters()]
        return losses

    BankTraining.train_step = watched
    try:
        choice = UPGrad(gradients="parameters")
        params = {"dtype": "float64", "batch_size": None}
        make(choice, 1, **params).fit(*draw(n_tasks, BATCH))
    finally:
        BankTraining.train_step = step

    net = PlainNet(n_tasks, torch.float64)
    copy_weights(net, seen["before"])
    inputs, targets = seen["batch"]
    features = net.trunk(inputs)
    losses = net.losses(features, targets.T.unsqueeze(-1))
    mtl_backward(losses, features=features)
    shared = list(net.trunk.parameters())
    jacobian = torch.cat([p.jac.flatten(1) for p in shared], dim=1)
    assert torch.allclose(seen["gramian"], jacobian @ jacobian.mT), (
        "the Gramians differ"
    )
    assert (seen["gramian"] < 0).any(), "no conflict: the check is void"
    # Their default adds 1e-4 to the diagonal, which shows in the fourth digit.
    jac_to_grad(shared, jd.UPGrad(projector=QuadprogProjector(reg_eps=1e-10)))
    theirs = torch.cat([p.grad.flatten() for p in shared])
    # A bank multiplies from the right.
    ours = torch.cat(
        [
            (g.T if p.ndim == 2 else g).flatten()
            for g, p in zip(seen["gradient"], shared, strict=True)
        ]
    )
    off = (ours / ours.norm() - theirs / theirs.norm()).norm()
    assert off < 1e-6, f"the directions are {off:.1e} apart"


def copy_weights(net, ours):
    """Put the weights of a bank into a network written by hand."""
    layers = [part for part in net.trunk if isinstance(part, nn.Linear)]
    *trunk, weight, bias = ours
    with torch.no_grad():
        for layer, w, b in zip(layers, trunk[::2], trunk[1::2], strict=True):
            layer.weight.copy_(w.T)
            layer.bias.copy_(b[0])
        for t, head in enumerate(net.heads):
            head.weight.copy_(weight[:, t])
            head.bias.copy_(bias[0, t])


LINES = {
    "features": measure_features,
    "exact": measure_exact,
    "held": measure_held,
    "torchjd": measure_torchjd,
    "libmtl": measure_libmtl,
    "memory": measure_memory,
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=LINES, default=list(LINES))
    parser.add_argument("--repeats", type=int, default=7, help="runs of each side")
    parser.add_argument("--libmtl", type=Path, help="folder that holds LibMTL/")
    parser.add_argument("--quick", action="store_true", help="few steps, no asserts")
    arguments = parser.parse_args()
    arguments.epochs = 2 if arguments.quick else 11
    if arguments.quick:
        arguments.repeats = 1
    return arguments


def main():
    arguments = parse_arguments()
    torch.set_num_threads(1)
    threadpool_limits(1)  # numpy, in solvers
    print_setting()
    print(f"# torchjd {version('torchjd')}")
    check_against_torchjd()
    print("# the Gramian and the direction are those of torchjd", flush=True)

    lines = []
    for name in arguments.only:
        for line in LINES[name](arguments):
            print(f"# {line.work}: {line.ratio:.3g} {line.unit}", flush=True)
            lines.append(line)
    print()
    header = ("work, ms", "ours", "theirs", "median", "range")
    header += ("floor", "stretch", "reached", "")
    print_table(header, [line.cells() for line in lines])
    missed = [line.work for line in lines if line.verdict == "BELOW FLOOR"]
    assert arguments.quick or not missed, f"below the floor: {'; '.join(missed)}"


if __name__ == "__main__":
    main()
