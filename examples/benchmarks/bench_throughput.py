"""Measure what the comfort of an estimator costs and what the bank buys.

Question
--------
A bank of networks is worth having if one network costs about what a hand-written loop
costs, many cost far less than one after the other, and nothing around the training
(prediction, thousands of row tasks, the import) takes away what was won.

Setting
-------
Six lines, one function each; ``--only`` picks some.

loop
    One network of 2 x 128 units on 10,000 x 30 and 8 targets, a fifth of the labels
    missing, batches of 256, against a bare torch loop with the same masks, in-memory
    batches and fused AdamW. The loop gets its inputs and targets standardised; ours
    checks and standardises the table within its time.
skorch
    The same fit against ``skorch.NeuralNetRegressor`` with its own DataLoader, which
    sees complete labels.
bank
    16 and 64 networks of 32 units on 400 x 20 as one fit, against 16 and 64 fits of one
    network: for a fixed number of epochs, and, for information, with early stopping.
predict
    One row and 100,000 rows, one network, against ``MLPRegressor`` of equal size.
rowtasks
    2,400 row tasks of uneven size over 30,000 rows, 8 networks, against the same
    estimator on the same rows without their tasks: time of the same number of steps,
    and peak memory of a process that does nothing else.
import
    Seconds that ``import skmtl`` takes after torch, skorch and scikit-learn.

Times are whole fits, set-up included. Both sides run in turn in one process, the order
changing every time, after one unmeasured run each; memory and imports are measured in
processes of their own.

Reading
-------
Each number is the median of the ratios of neighbouring runs, so that a slow spell of
the machine meets both sides; the range over the runs stands beside it. "x its time" is
better when small, "times faster" when large. The floor is asserted at the end, the
stretch is the place we would like to be.
"""

import argparse
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _report import print_setting, print_table
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits
from torch import nn

HERE = str(Path(__file__).resolve().parent)

# Epochs of every side of a line: enough steps to see the step and not only the set-up.
N_EPOCHS = {"loop": 15, "bank": 50, "rowtasks": 3}


@dataclass
class Line:
    """One measured row of the table: a ratio, its bars and which way is up."""

    work: str
    ours: float
    theirs: float
    ratios: list
    floor: float | None = None  # None: for information, not asserted
    stretch: float | None = None
    unit: str = "x its time"

    @property
    def ratio(self):
        return median(self.ratios)

    def reaches(self, bar):
        if self.unit == "times faster":
            return self.ratio >= bar
        return self.ratio <= bar

    @property
    def verdict(self):
        if self.floor is None:
            return "information"
        if not self.reaches(self.floor):
            return "BELOW FLOOR"
        return "stretch" if self.reaches(self.stretch) else "floor"

    def cells(self):
        def number(value):
            return "-" if value is None else f"{value:.3g}"

        spread = f"{min(self.ratios):.3g} to {max(self.ratios):.3g}"
        return (
            self.work,
            number(self.ours),
            number(self.theirs),
            f"{number(self.ratio)} {self.unit}",
            spread,
            number(self.floor),
            number(self.stretch),
            self.verdict,
        )


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(ours, theirs, n_repeats, warm_up=True):
    """Seconds of both sides, run one after the other ``n_repeats`` times."""
    if warm_up:
        ours()
        theirs()
    pairs = []
    for repeat in range(n_repeats):
        if repeat % 2:
            other = seconds(theirs)
            pairs.append((seconds(ours), other))
        else:
            pairs.append((seconds(ours), seconds(theirs)))
    return np.array(pairs)


def slower(work, pairs, floor=None, stretch=None):
    """Our time as a multiple of theirs."""
    ours, theirs = np.median(pairs, axis=0)
    return Line(work, ours, theirs, list(pairs[:, 0] / pairs[:, 1]), floor, stretch)


def faster(work, pairs, floor=None, stretch=None):
    """How many times faster than they we are."""
    ours, theirs = np.median(pairs, axis=0)
    ratios = list(pairs[:, 1] / pairs[:, 0])
    return Line(work, ours, theirs, ratios, floor, stretch, "times faster")


# Data and estimators.


def make_table(n_samples, n_features, n_targets, missing=0.0, seed=0):
    """Draw a smooth nonlinear table, and its labels with some of them missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    hidden = np.tanh(X @ rng.normal(size=(n_features, 16)) / np.sqrt(n_features))
    y = hidden @ rng.normal(size=(16, n_targets))
    y += 0.3 * rng.normal(size=y.shape)
    y[rng.random(y.shape) < missing] = np.nan
    return X, y


def make_skmtl(hidden_layer_sizes, **params):
    """Build our regressor: standardised inputs, a fixed number of epochs."""
    from skmtl import MultiTaskNetRegressor
    from skmtl.architecture import HardSharing
    from skmtl.encoding import Standard

    fixed = {"early_stopping": False, "device": "cpu", "random_state": 0}
    return MultiTaskNetRegressor(
        architecture=HardSharing(hidden_layer_sizes),
        encoding=Standard(),
        **(fixed | params),
    )


def make_mlp(n_inputs, n_outputs):
    return nn.Sequential(
        nn.Linear(n_inputs, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, n_outputs),
    )


def make_single_fit():
    """Return the table of the loop and skorch lines, and our fit of it."""
    X, y = make_table(10_000, 30, 8, missing=0.2)
    ours = make_skmtl(
        (128, 128), n_estimators=1, batch_size=256, max_epochs=N_EPOCHS["loop"]
    )
    return X, y, lambda: ours.fit(X, y)


def fit_bare_loop(inputs, targets, mask, n_epochs, batch_size=256):
    """Train as one would by hand: masked squared error, a mean for each task."""
    torch.manual_seed(0)
    net = make_mlp(inputs.shape[1], targets.shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    for _ in range(n_epochs):
        for rows in torch.randperm(len(inputs)).split(batch_size):
            x, y, labelled = (
                tensor.index_select(0, rows) for tensor in (inputs, targets, mask)
            )
            errors = (net(x) - y) ** 2 * labelled
            loss = (errors.sum(0) / labelled.sum(0).clamp(min=1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net


# The six lines.


def compare_loop(n_repeats):
    X, y, fit_ours = make_single_fit()
    standard = (y - np.nanmean(y, axis=0)) / np.nanstd(y, axis=0)
    inputs = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
    targets = torch.tensor(np.nan_to_num(standard), dtype=torch.float32)
    mask = torch.tensor(~np.isnan(y), dtype=torch.float32)

    def fit_theirs():
        fit_bare_loop(inputs, targets, mask, N_EPOCHS["loop"])

    pairs = in_turn(fit_ours, fit_theirs, n_repeats)
    yield slower("one network / bare torch loop", pairs, 1.25, 1.05)


def compare_skorch(n_repeats):
    from skorch import NeuralNetRegressor

    X, _, fit_ours = make_single_fit()
    _, complete = make_table(10_000, 30, 8)
    inputs = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    targets = ((complete - complete.mean(0)) / complete.std(0)).astype(np.float32)

    def fit_theirs():
        NeuralNetRegressor(
            make_mlp,
            module__n_inputs=30,
            module__n_outputs=8,
            optimizer=torch.optim.AdamW,
            lr=1e-3,
            batch_size=256,
            max_epochs=N_EPOCHS["loop"],
            train_split=None,
            verbose=0,
        ).fit(inputs, targets)

    pairs = in_turn(fit_ours, fit_theirs, n_repeats)
    yield faster("one network / skorch as it comes", pairs, 3, 3.5)


def compare_bank(n_repeats):
    X, y = make_table(400, 20, 4)
    bars = {16: (6, 10), 64: (10, 20)}
    for n_networks, (floor, stretch) in bars.items():
        sides = _bank_and_singles(X, y, n_networks, max_epochs=N_EPOCHS["bank"])
        pairs = in_turn(*sides, max(n_repeats // 2, 1))
        work = f"{n_networks} networks / {n_networks} fits"
        yield faster(f"{work}, {N_EPOCHS['bank']} epochs", pairs, floor, stretch)
    for n_networks in bars:
        sides = _bank_and_singles(X, y, n_networks, early_stopping=True)
        pairs = in_turn(*sides, 1, warm_up=False)
        yield faster(f"{n_networks} networks / {n_networks} fits, stopping", pairs)


def _bank_and_singles(X, y, n_networks, **params):
    def fit_bank():
        make_skmtl((32,), n_estimators=n_networks, **params).fit(X, y)

    def fit_singles():
        for seed in range(n_networks):
            make_skmtl((32,), n_estimators=1, **params, random_state=seed).fit(X, y)

    return fit_bank, fit_singles


def compare_predict(n_repeats):
    X, y = make_table(100_000, 30, 8)
    ours = make_skmtl((128, 128), n_estimators=1, max_epochs=1, batch_size=256)
    theirs = MLPRegressor(
        hidden_layer_sizes=(128, 128), max_iter=1, batch_size=256, random_state=0
    )
    ours.fit(X[:2_000], y[:2_000])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(X[:2_000], y[:2_000])

    def predict(model, rows, n_calls):
        def work():
            for _ in range(n_calls):
                model.predict(rows)

        return work

    # 100 calls a run: one call of one row is too short for the clock and the scheduler.
    one, many = X[:1], X
    pairs = in_turn(predict(ours, one, 100), predict(theirs, one, 100), 2 * n_repeats)
    yield slower("predict 1 row / MLPRegressor", pairs / 100, 5, 2)
    pairs = in_turn(predict(ours, many, 1), predict(theirs, many, 1), 2 * n_repeats)
    yield slower("predict 100,000 rows / MLPRegressor", pairs, 1.3, 1)


def make_row_tasks(n_samples=30_000, n_tasks=2_400, n_features=20, seed=0):
    """Draw rows of tasks of uneven size, none empty; the last column is the task."""
    rng = np.random.default_rng(seed)
    X, y = make_table(n_samples, n_features, 1, seed=seed)
    share = rng.lognormal(size=n_tasks)
    drawn = rng.choice(n_tasks, n_samples - n_tasks, p=share / share.sum())
    task = rng.permutation(np.concatenate([np.arange(n_tasks), drawn]))
    y = y[:, 0] + 0.5 * rng.normal(size=n_tasks)[task]
    return np.column_stack([X, task]), y


def fit_row_tasks(X, y, pooled):
    params = {"batch_size": 256, "max_epochs": N_EPOCHS["rowtasks"]}
    if pooled:
        return make_skmtl((128, 128), n_estimators=8, **params).fit(X[:, :-1], y)
    task_column = X.shape[1] - 1
    model = make_skmtl((128, 128), n_estimators=8, task_column=task_column, **params)
    return model.fit(X, y)


def compare_row_tasks(n_repeats):
    X, y = make_row_tasks()
    pairs = in_turn(
        lambda: fit_row_tasks(X, y, pooled=False),
        lambda: fit_row_tasks(X, y, pooled=True),
        n_repeats,
    )
    yield slower("2,400 row tasks / pooled, time", pairs, 2, 1.3)

    peaks = np.array([_row_task_memory() for _ in range(2)])
    start, peak = peaks[:, 0], peaks[:, 1]
    line = slower("2,400 row tasks / pooled, peak MB", peak, 1.3, 1.1)
    line.unit = "x its memory"
    yield line
    line = slower("2,400 row tasks / pooled, MB grown in fit", peak - start)
    line.unit = "x its memory"
    yield line


def _row_task_memory():
    """((ours, pooled) before fit, (ours, pooled) at the peak), in MB."""
    sides = [
        _run_python(
            f"import sys; sys.path.insert(0, {HERE!r})",
            "import bench_throughput as bench",
            "X, y = bench.make_row_tasks()",
            "import skmtl",
            "before = bench.peak_memory()",
            f"bench.fit_row_tasks(X, y, pooled={pooled})",
            "print(before, bench.peak_memory())",
        )
        for pooled in (False, True)
    ]
    return list(zip(*sides, strict=True))


def peak_memory():
    """Peak resident memory of this process so far, in MB."""
    import resource

    try:
        # ru_maxrss of a child starts at its parent's peak on Linux, VmHWM at zero.
        with open("/proc/self/status") as lines:
            peak = next(line for line in lines if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 2**10
    except (OSError, StopIteration):
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def compare_import(n_repeats):
    _import_seconds()  # writes the byte code, warms the file cache
    base, extra = np.transpose([_import_seconds() for _ in range(n_repeats)])
    pairs = np.column_stack([base + extra, base])
    line = slower("import skmtl over torch, skorch, sklearn", pairs, 0.3, 0.1)
    line.ratios = list(extra)
    line.unit = "s more"
    yield line


def _import_seconds():
    """Return seconds for the three packages, and for skmtl after them."""
    # One process tells both: between processes the three alone vary by +-0.4 s.
    return _run_python(
        "from time import perf_counter; start = perf_counter()",
        "import torch, skorch, sklearn; middle = perf_counter()",
        "import skmtl; end = perf_counter()",
        "print(middle - start, end - middle)",
    )


def _run_python(*statements):
    """Run the statements in a fresh interpreter; return the numbers it prints."""
    command = [sys.executable, "-c", "\n".join(statements)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in ran.stdout.split()]


LINES = {
    "loop": compare_loop,
    "skorch": compare_skorch,
    "bank": compare_bank,
    "predict": compare_predict,
    "rowtasks": compare_row_tasks,
    "import": compare_import,
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=LINES, default=list(LINES))
    parser.add_argument("--repeats", type=int, default=7, help="runs of each side")
    parser.add_argument("--threads", type=int, help="default: what torch chooses")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
        threadpool_limits(arguments.threads)  # numpy, for MLPRegressor
    print_setting()

    lines = []
    for name in arguments.only:
        for line in LINES[name](arguments.repeats):
            print(f"# {line.work}: {line.ratio:.3g} {line.unit}", flush=True)
            lines.append(line)
    print()
    header = (
        "work / against",
        "ours",
        "theirs",
        "median",
        "range",
        "floor",
        "stretch",
        "reached",
    )
    print_table(header, [line.cells() for line in lines])
    missed = [line.work for line in lines if line.verdict == "BELOW FLOOR"]
    assert not missed, f"below the floor: {'; '.join(missed)}"


if __name__ == "__main__":
    main()
