"""Measure what training a whole search as one network buys.

Question
--------
Sixty settings of task weights, learning rate and weight decay, five folds: three
hundred fits. How many times faster is ``FusedGridSearchCV`` than ``GridSearchCV`` on
both cores, and how far is it from what the machine could do?

Setting
-------
Both searches have ``n_jobs=2``, ``refit=False`` and the same estimator: one network,
standardised inputs, 100 epochs of mini-batches (30 at 1,000 rows, 10 at 5,000).
``--only`` picks some cases; ``--sizes`` compares numbers of networks a bank instead.

stopping, plain
    400 x 20, 4 tasks, 32 units, with and without early stopping.
skorch
    The plain case against ``skorch.NeuralNetRegressor`` with a weighted loss, inputs
    and labels standardised beforehand: the same layers, batches, epochs and optimizer.
middle
    1,000 x 30, 8 tasks, 64 units.
large
    5,000 x 50, 4 tasks, 2 x 256 units, where arithmetic is what costs.
bins
    The plain case with the default encoding, nine inputs a column, for information.

Then one fused search of each case runs in this process, on one thread, with stopwatches
around its parts, and its arithmetic is counted: multiplications and additions of the
layers, forwards and backwards. The rate is compared with that of a product of two
large matrices on one thread.

Reading
-------
A factor is the median of the ratios of neighbouring runs, its range stands beside it.
The floor is asserted at the end, the stretch is the place we would like to be. In
single precision split scores of both sides differ by rounding, by what is printed.
"""

import argparse
import time
import warnings
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from itertools import pairwise

import numpy as np
import skorch
import torch
from _report import print_setting, print_table
from bench_throughput import faster, in_turn, make_table
from sklearn.model_selection import GridSearchCV
from torch import nn

from skmtl import MultiTaskNetRegressor
from skmtl._net import _batches, _joint_net, _objective, _optimizer, _training
from skmtl.architecture import HardSharing
from skmtl.encoding import Standard
from skmtl.model_selection import FusedGridSearchCV
from skmtl.model_selection._fused import FusedFits

N_FOLDS = 5
RATES = [3e-4, 1e-3, 3e-3, 1e-2]
DECAYS = [0.0, 1e-2, 1e-1]

# name: (rows, columns, tasks, hidden layers, epochs, early stopping, floor, stretch)
CASES = {
    "stopping": (400, 20, 4, (32,), 100, True, 8, 12),
    "plain": (400, 20, 4, (32,), 100, False, 10, 20),
    "skorch": (400, 20, 4, (32,), 100, False, 25, 60),
    "middle": (1000, 30, 8, (64,), 30, False, 3, 6),
    "large": (5000, 50, 4, (256, 256), 10, False, 0.95, 1.2),
    "bins": (400, 20, 4, (32,), 100, False, None, None),
}


def make_weights(n_tasks):
    """Five ways to weigh the tasks."""
    ones = np.ones(n_tasks)
    first, last = ones.copy(), ones.copy()
    first[0], last[-1] = 2, 2
    return [list(w) for w in (ones, first, last, first**2, last**2)]


def make_case(name):
    """Give the table, the estimator of skmtl and its grid."""
    n_rows, n_columns, n_tasks, hidden, n_epochs, stops, *_ = CASES[name]
    X, y = make_table(n_rows, n_columns, n_tasks)
    estimator = MultiTaskNetRegressor(
        HardSharing(hidden),
        encoding=None if name == "bins" else Standard(),
        n_estimators=1,
        max_epochs=n_epochs,
        early_stopping=stops,
        device="cpu",
        random_state=0,
    )
    grid = {"task_weights": make_weights(n_tasks), "lr": RATES, "weight_decay": DECAYS}
    return X, y, estimator, grid


class WeightedError(nn.Module):
    """Squared error with a weight for each task."""

    def __init__(self, weights):
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))

    def forward(self, output, target):
        return ((output - target) ** 2 * self.weights).mean()


def make_skorch(name, seed=0):
    """Give the same network as a skorch net, and the same grid by its names."""
    n_rows, n_columns, n_tasks, (n_units,), n_epochs, *_ = CASES[name]
    X, y = make_table(n_rows, n_columns, n_tasks)
    X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    y = ((y - y.mean(0)) / y.std(0)).astype(np.float32)
    torch.manual_seed(seed)
    net = skorch.NeuralNetRegressor(
        partial(make_layers, n_columns, n_units, n_tasks),
        criterion=WeightedError,
        optimizer=torch.optim.AdamW,
        optimizer__fused=True,
        batch_size=32,
        iterator_train__shuffle=True,
        max_epochs=n_epochs,
        train_split=None,
        verbose=0,
    )
    grid = {
        "criterion__weights": make_weights(n_tasks),
        "lr": RATES,
        "optimizer__weight_decay": DECAYS,
    }
    return X, y, net, grid


def make_layers(n_inputs, n_units, n_outputs):
    return nn.Sequential(
        nn.Linear(n_inputs, n_units), nn.ReLU(), nn.Linear(n_units, n_outputs)
    )


def search_by(search, estimator, grid, X, y, n_jobs=2, **settings):
    settings |= {"cv": N_FOLDS, "refit": False, "n_jobs": n_jobs}
    return search(estimator, grid, **settings).fit(X, y)


def measure(name, n_repeats):
    """Run both searches in turn; return a line of the table and the score gap."""
    n_rows, n_columns, n_tasks, hidden, *_, floor, stretch = CASES[name]
    X, y, estimator, grid = make_case(name)
    other = make_skorch(name) if name == "skorch" else (X, y, estimator, grid)
    found = {}

    def ours():
        found["ours"] = search_by(FusedGridSearchCV, estimator, grid, X, y)

    def theirs():
        found["theirs"] = search_by(GridSearchCV, *other[2:], *other[:2])

    # Workers start and import torch outside of what is measured.
    few = {key: values[:2] for key, values in grid.items()}
    search_by(FusedGridSearchCV, estimator, few, X, y)
    few = {key: values[:2] for key, values in other[3].items()}
    search_by(GridSearchCV, other[2], few, *other[:2])
    pairs = in_turn(ours, theirs, n_repeats, warm_up=False)
    work = f"{name}: {n_rows} x {n_columns}, {n_tasks} tasks, {hidden} units"
    gap = np.nan
    if name != "skorch":
        scores = [
            [found[side].cv_results_[f"split{k}_test_score"] for k in range(N_FOLDS)]
            for side in ("ours", "theirs")
        ]
        gap = np.abs(np.subtract(*scores)).max()
    return faster(work, pairs, floor, stretch), gap


def report_sizes(name, sizes):
    """Print seconds by the networks that a bank may hold."""
    X, y, estimator, grid = make_case(name)
    few = {key: values[:2] for key, values in grid.items()}
    search_by(FusedGridSearchCV, estimator, few, X, y, max_networks=10)
    lines = []
    for size in (*sizes, None):
        start = time.perf_counter()
        search_by(FusedGridSearchCV, estimator, grid, X, y, max_networks=size)
        lines.append([size or "by itself", f"{time.perf_counter() - start:.1f}"])
    print_table([f"networks a bank, {name}", "s"], lines)


# -- where the time goes ---------------------------------------------------------


@contextmanager
def stopwatches(seconds):
    """Add up the seconds of the parts of a fused search, while in this context."""
    parts = [
        (FusedFits, "_planned", "encoding, folds, plans"),
        (_batches.JointBatches, "__iter__", "gather"),
        (_objective.Objective, "backward", "forward and backward"),
        (_optimizer.BankAdamW, "update", "optimizer"),
        (_optimizer.BankAdamW, "step", "optimizer"),
        (_training.BankTraining, "validate", "early stopping"),
        (_training.BankTraining, "end_epoch", "early stopping"),
        (_joint_net.JointNet, "part", "taking networks out"),
        (MultiTaskNetRegressor, "score", "scoring"),
    ]
    before = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in parts]
    for owner, name, part in parts:
        setattr(owner, name, _timed(getattr(owner, name), part, seconds))
    counted = _training.BankTraining.end_training_epoch

    def count_networks(training):
        seconds["network epochs"] += training.counted.sum()
        return counted(training)

    _training.BankTraining.end_training_epoch = count_networks
    try:
        yield
    finally:
        _training.BankTraining.end_training_epoch = counted
        for owner, name, method in before:
            if method is None:
                delattr(owner, name)
            else:
                setattr(owner, name, method)


def _timed(method, part, seconds):
    def timed(self, *args, **kwargs):
        start = time.perf_counter()
        try:
            return method(self, *args, **kwargs)
        finally:
            seconds[part] += time.perf_counter() - start

    def timed_items(self):
        items = method(self)
        while True:
            start = time.perf_counter()
            item = next(items, None)
            seconds[part] += time.perf_counter() - start
            if item is None:
                return
            yield item

    return timed_items if method.__name__ == "__iter__" else timed


def flops_of_epoch(name):
    """Count additions and multiplications of one epoch of one network."""
    n_rows, n_columns, n_tasks, hidden, *_ = CASES[name]
    n_columns *= 9 if name == "bins" else 1
    sizes = [n_columns, *hidden, n_tasks]
    products = [a * b for a, b in pairwise(sizes)]
    # Forwards, weights' gradient, and inputs' gradient but for the first layer.
    per_row = 2 * (3 * sum(products) - products[0])
    return per_row * n_rows * (N_FOLDS - 1) / N_FOLDS


def profile(name):
    """Run one fused search on one thread; return seconds by part and GFLOP/s."""
    X, y, estimator, grid = make_case(name)
    seconds = defaultdict(float)
    search_by(FusedGridSearchCV, estimator, {"lr": RATES}, X, y, n_jobs=1)
    with stopwatches(seconds):
        start = time.perf_counter()
        search_by(FusedGridSearchCV, estimator, grid, X, y, n_jobs=1)
        whole = time.perf_counter() - start
    n_epochs = seconds.pop("network epochs")
    rate = n_epochs * flops_of_epoch(name) / whole / 1e9
    seconds["the rest"] = whole - sum(seconds.values())
    return whole, dict(seconds), rate, n_epochs


def peak():
    """Measure the GFLOP/s of one large product on one thread."""
    a = torch.randn(1024, 1024)
    best = np.inf
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best / 1e9


def report_profile(names):
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        top = peak()
        found = {name: profile(name) for name in names}
    finally:
        torch.set_num_threads(n_threads)
    parts = list(dict.fromkeys(part for _, each, *_ in found.values() for part in each))
    lines = []
    for name, (whole, seconds, rate, n_epochs) in found.items():
        shares = [f"{100 * seconds.get(part, 0) / whole:.0f}" for part in parts]
        measured = (f"{whole:.1f}", f"{n_epochs:.0f}", f"{rate:.1f}")
        lines.append([name, *measured, f"{100 * rate / top:.0f}", *shares])
    print(f"One thread; a large product runs at {top:.0f} GFLOP/s. Shares in percent.")
    head = ["case", "s", "network epochs", "GFLOP/s", "% of peak"]
    print_table([*head, *parts], lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", type=int, help="of banks, and no more")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print_setting()
    if arguments.sizes:
        for name in arguments.only:
            report_sizes(name, arguments.sizes)
        return
    lines, gaps = [], []
    for name in arguments.only:
        line, gap = measure(name, arguments.repeats)
        print(f"# {line.work}: {line.ratio:.2f}", flush=True)
        lines.append(line)
        gaps.append(gap)
    head = ["search", "fused s", "grid s", "ratio", "range", "floor", "stretch"]
    cells = [
        [*line.cells(), f"{gap:.1e}"] for line, gap in zip(lines, gaps, strict=True)
    ]
    print_table([*head, "reached", "largest gap of a split score"], cells)
    report_profile([name for name in arguments.only if name != "skorch"])
    for line in lines:
        if line.floor is not None:
            assert line.reaches(line.floor), f"{line.work}: {line.ratio:.2f}"


if __name__ == "__main__":
    main()
