"""When one trunk hurts: which way of sharing wins it back, and what each costs.

Nine targets of 1000 rows: two groups of four that have nothing in common, and an
outlier. The oracle gives each group its trunk. Then the groups that TaskGroups finds,
steps of experts and of tied networks beside hard sharing, and one embedding a group on
2400 groups of rows. Ten minutes on one thread.

With ``--tables`` every architecture is fitted to real tables instead, 2,000 rows each,
beside a network for each task and one trunk for all (``_architecture_tables.py``); ten
minutes for all tables and five splits.
"""

import argparse
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from _architecture_tables import TABLES, compare
from _report import print_setting, print_table
from _tables import DATA
from sklearn.metrics import adjusted_rand_score

from skmtl import MultiTaskNetRegressor
from skmtl._streams import Streams
from skmtl.architecture import (
    CGC,
    PLE,
    Attention,
    BankShape,
    CrossStitch,
    HardSharing,
    HeadChain,
    MMoE,
    SoftSharing,
    TaskConditioned,
    TaskGroups,
)

GROUPS = [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
WIDE = (16, 16)


def draw(seed, n_samples=1000, noise=0.3, n_test=2000):
    """Draw training rows, and test rows whose targets have no noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples + n_test, 10))
    columns = []
    for group in GROUPS[:2]:
        hidden = np.tanh(X @ rng.normal(size=(10, 3)))
        columns += [hidden @ (1 + 0.4 * rng.normal(size=3)) for _ in group]
    direction = rng.normal(size=10)
    # Waves of one length: much shorter ones nobody learns, longer ones everybody.
    direction *= 2.5 / np.linalg.norm(direction)
    columns.append(np.sin(X @ direction))
    truth = np.stack(columns, axis=1)
    truth /= truth.std(axis=0)
    y = truth + noise * rng.normal(size=truth.shape)
    return X[:n_samples], y[:n_samples], X[n_samples:], truth[n_samples:]


ARCHITECTURES = {
    "HardSharing": HardSharing(WIDE),
    "every task alone": TaskGroups([[t] for t in range(9)], hidden_layer_sizes=WIDE),
    "oracle groups": TaskGroups(GROUPS, hidden_layer_sizes=WIDE),
    "TaskGroups": TaskGroups(hidden_layer_sizes=WIDE),
    "MMoE": MMoE(4, WIDE),
    "CGC": CGC(2, 1, WIDE),
    "PLE": PLE(2, 2, 1, WIDE[:1]),
    "SoftSharing": SoftSharing(WIDE),
    "CrossStitch": CrossStitch(WIDE),
    "Attention": Attention(WIDE),
    "TaskConditioned": TaskConditioned(WIDE),
    "HeadChain": HeadChain(hidden_layer_sizes=WIDE),
}


def heal(n_seeds=10):
    """Score every architecture where hard sharing suffers."""
    errors = {name: [] for name in ARCHITECTURES}
    seconds = dict.fromkeys(ARCHITECTURES, 0.0)
    for seed in range(n_seeds):
        X, y, X_test, truth = draw(seed)
        for name, architecture in ARCHITECTURES.items():
            model = MultiTaskNetRegressor(
                architecture,
                n_estimators=4,
                n_neighbors=None,  # networks alone are compared
                random_state=seed,
                device="cpu",
            )
            start = time.perf_counter()
            model.fit(X, y)
            seconds[name] += (time.perf_counter() - start) / n_seeds
            error = (model.predict(X_test) - truth) ** 2
            errors[name].append([error.mean(), error[:, 8].mean()])
    errors = {name: np.mean(rows, axis=0) for name, rows in errors.items()}
    hard, oracle = errors["HardSharing"][0], errors["oracle groups"][0]
    won = {n: (hard - e[0]) / (hard - oracle) for n, e in errors.items()}
    print(f"Mean squared error over {n_seeds} seeds, in variances of the targets\n")
    print_table(
        ["architecture", "all", "outlier", "won back", "seconds"],
        [
            [n, f"{e[0]:.3f}", f"{e[1]:.3f}", f"{won[n]:.0%}", f"{seconds[n]:.1f}"]
            for n, e in errors.items()
        ],
    )
    others = set(ARCHITECTURES) - {"HardSharing", "every task alone", "oracle groups"}
    assert sum(won[name] >= 0.8 for name in others) >= 3
    assert won["TaskGroups"] >= 0.95


def find_groups(n_seeds=10):
    """Compare the groups that are found with the true ones."""
    truth = np.repeat([0, 1, 2], [len(group) for group in GROUPS])
    rows = []
    for noise, (affinity, threshold) in product(
        (0.3, 1.0), (("cosine", 0.02), ("lookahead", 0.05))
    ):
        scores, seconds = [], 0.0
        for seed in range(n_seeds):
            X, y, _, _ = draw(seed, 400, noise)
            model = MultiTaskNetRegressor(
                TaskGroups(
                    affinity=affinity, threshold=threshold, hidden_layer_sizes=(8,)
                ),
                n_estimators=1,
                max_epochs=1,
                random_state=seed,
                device="cpu",
            )
            found = np.zeros(9)
            start = time.perf_counter()
            groups = model.fit(X, y).architecture_.groups_
            seconds += time.perf_counter() - start
            for number, group in enumerate(groups):
                found[group] = number
            scores.append(adjusted_rand_score(truth, found))
        mean, least = np.mean(scores), np.min(scores)
        each = f"{seconds / n_seeds:.2f}"
        rows.append([noise, affinity, f"{mean:.2f}", f"{least:.2f}", each])
        assert noise > 0.5 or mean >= 0.9
    print(f"Adjusted Rand index of the groups found, {n_seeds} seeds, 400 rows\n")
    print_table(["noise", "affinity", "mean", "least", "seconds"], rows)


def step_seconds(kinds, n_rows=256, n_inputs=20):
    """Time forward pass, backward pass and update in turns, the median of many.

    A kind is an architecture, a number of networks and one of tasks. The time is that
    of the process, so that a busy machine matters less.
    """
    steps = []
    for architecture, n_networks, n_tasks in kinds:
        shape = BankShape((n_inputs,) * n_networks, n_tasks, n_tasks)
        streams = Streams([(k,) for k in range(n_networks)])
        module = architecture.build(shape, streams).train()
        optimizer = torch.optim.AdamW(module.parameters(), fused=True)
        steps.append((module, optimizer, torch.randn(n_networks, n_rows, n_inputs)))
    seconds = [[] for _ in kinds]
    for _ in range(60):
        for (module, optimizer, inputs), times in zip(steps, seconds, strict=True):
            start = time.process_time()
            optimizer.zero_grad()
            module(inputs).square().mean().backward()
            optimizer.step()
            times.append(time.process_time() - start)
    return np.median(seconds, axis=1)


def steps():
    """Time experts and tied networks beside the same arithmetic in hard sharing."""
    rows = []
    for n, width in product((1, 8), (16, 32, 64)):
        wide = (HardSharing((4 * width,) * 2), n, 3)
        experts, wide = step_seconds([(MMoE(4, (width,) * 2), n, 3), wide])
        apart = (HardSharing((width,) * 2), 8 * n, 1)
        tied, apart = step_seconds([(SoftSharing((width,) * 2), n, 8), apart])
        rows.append([n, width, f"{experts / wide:.2f}", f"{tied / apart:.2f}"])
        # Narrower experts are less arithmetic than operations.
        assert width < 64 or experts < 1.3 * wide
        assert width < 64 or tied < 1.5 * apart
    print(
        "A step of 4 experts over one of as wide a trunk; of 8 tied networks over one"
    )
    print("of 8 networks\n")
    print_table(["networks", "units", "MMoE", "SoftSharing"], rows)


def many_groups(n_groups=2400, n_rows=10):
    """Fit thousands of groups, with an embedding each and pooled.

    The time is that of the process, so that a busy machine matters less.
    """
    rng = np.random.default_rng(0)
    n_samples = 2 * n_groups * n_rows
    X = rng.normal(size=(n_samples, 10))
    task = rng.permutation(np.arange(n_samples) % n_groups)
    nature = rng.normal(size=(n_groups, 2))[task]
    y = np.sin(X[:, 0]) + nature[:, 0] * X[:, 1] + nature[:, 1]
    y += np.tanh(2 * nature[:, 0] * X[:, 2]) + 0.3 * rng.normal(size=n_samples)
    train = rng.random(n_samples) < 0.5
    rows, times = [], {}
    # The first fit of a process imports parts of torch, outside of what is measured.
    MultiTaskNetRegressor(n_estimators=1, max_epochs=1).fit(X[:100], y[:100])
    for name, architecture, grouped in (
        ("pooled", HardSharing(), False),
        ("HardSharing", HardSharing(), True),
        ("TaskConditioned", TaskConditioned(), True),
    ):
        model = MultiTaskNetRegressor(
            architecture,
            n_estimators=2,
            max_epochs=20,
            n_iter_no_change=None,
            n_neighbors=None,
            random_state=0,
            device="cpu",
        )
        start = time.process_time()
        model.fit(X[train], y[train], task=task[train] if grouped else None)
        times[name] = time.process_time() - start
        found = model.predict(X[~train], task=task[~train] if grouped else None)
        score = 1 - np.mean((found - y[~train]) ** 2) / y[~train].var()
        ratio = times[name] / times["pooled"]
        rows.append([name, f"{score:.3f}", f"{times[name]:.1f}", f"{ratio:.2f}"])
    print(
        f"{n_groups} groups of {n_rows} rows on average, 20 epochs, as a fit does it:"
    )
    print("held-out rows are scored after each\n")
    print_table(["", "R2", "seconds", "over pooled"], rows)
    assert times["TaskConditioned"] < 1.5 * times["pooled"]
    assert float(rows[2][1]) > float(rows[1][1])


def parse_arguments():
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", nargs="*", choices=TABLES, help="none named: all")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    parser.add_argument("--seeds", type=int, default=5, help="number of splits")
    parser.add_argument("--out", type=Path, help="CSV that keeps and resumes scores")
    arguments = parser.parse_args()
    if arguments.tables is not None and not (arguments.data / "load.py").exists():
        print(
            f"Skipped: no tables in {arguments.data}. Name the folder that holds "
            "load.py and the tables with --data FOLDER."
        )
        sys.exit()
    return arguments


def main():
    """Run what was asked for."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    print_setting()
    if arguments.tables is not None:
        tables = arguments.tables or TABLES
        compare(arguments.data, tables, arguments.seeds, arguments.out)
        return
    heal()
    find_groups()
    steps()
    many_groups()


if __name__ == "__main__":
    main()
