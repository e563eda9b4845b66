"""Measure what inputs that step at thresholds of trees win where labels go in steps.

Question
--------
Trees find the place where a label jumps; the bins of a network are cut at quantiles,
wherever that is. How much does ``stumps="auto"`` win back, and does it leave smooth
tables alone?

Setting
-------
Drawn tables with two targets that step in a few columns, step in some and curve in
others, or are smooth, with little noise and with much. Numbers have the RMSE over that
of predicting the mean, classes, which are whether a target is above its median, the log
loss over that of predicting shares. Peers are those of ``bench_relevance.py``.

Reading
-------
Errors are means over draws; the ratio is of the error with ``stumps="auto"`` to that
with None. It is to pay by a tenth over the tables of numbers in steps, and to cost no
more than a percent over the smooth ones.

    OMP_NUM_THREADS=1 python bench_stumps.py
"""

import argparse
import warnings

import numpy as np
from _report import print_setting, print_table
from bench_relevance import mean_errors, models

STEPS, BOTH, SMOOTH = "steps", "both", "smooth"


def nested(rng, X):
    """Steps within steps, as a tree grows them."""
    del rng
    first = (X[:, 0] > 0) + (X[:, 1] > 0.5) * (X[:, 2] > 0)
    return np.column_stack([first, (X[:, 0] > 0) * (X[:, 3] > -0.5)])


def added(rng, X):
    """Sums of a step in each of six columns, which no tree finds at once."""
    inside = X[:, :6] > rng.uniform(-0.8, 0.8, size=6)
    return inside @ rng.normal(size=(6, 2))


def both(rng, X):
    del rng
    first = np.sin(2 * X[:, 0]) + (X[:, 1] > 0.3)
    return np.column_stack([first, X[:, 2] * X[:, 0] + (X[:, 3] > 0)])


def curves(rng, X):
    del rng
    return np.column_stack(
        [np.sin(2 * X[:, 0]) + X[:, 1] ** 2, X[:, 1] + np.tanh(2 * X[:, 0])]
    )


def lines(rng, X):
    return X @ rng.normal(size=(X.shape[1], 2))


def draw(make, n_columns, noise):
    def table(rng, n_rows):
        X = rng.normal(size=(n_rows, n_columns))
        y = make(rng, X)
        return X, y / y.std(axis=0) + noise * rng.normal(size=y.shape)

    return table


# name: (how to draw, rows that train, what it is like)
CASES = {
    f"{make.__name__}, {n_train} x {n_columns}, noise {noise}": (
        draw(make, n_columns, noise),
        n_train,
        kind,
    )
    for make, kind in (
        (nested, STEPS),
        (added, STEPS),
        (both, BOTH),
        (curves, SMOOTH),
        (lines, SMOOTH),
    )
    for n_train, n_columns, noise in ((200, 10, 0.2), (1000, 10, 0.7), (1000, 60, 0.2))
}


def contestants(classes):
    """As in the benchmark of relevance, with stumps or without."""
    found = models(classes)
    net, _ = found["auto"]
    del found["None"]
    return {
        "auto": (net, False),
        "None": (type(net)(random_state=0, stumps=None), False),
    } | {name: pair for name, pair in found.items() if name != "auto"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    print_setting()
    warnings.simplefilter("ignore")
    for classes in (False, True):
        found, logs = [], {STEPS: [], BOTH: [], SMOOTH: []}
        for name, (table, n_train, kind) in CASES.items():
            nets = contestants(classes).values()
            means = mean_errors(table, n_train, nets, classes, arguments.seeds)
            ratio = means[0] / means[1]
            logs[kind].append(np.log(ratio))
            best = means[0] / means[2:].min()
            found.append(
                [name, *(f"{m:.3f}" for m in means), f"{ratio:.3f}", f"{best:.3f}"]
            )
        print("Classes\n" if classes else "Numbers\n")
        header = ["table", *contestants(classes), "auto / None", "auto / best trees"]
        print_table(header, found)
        means = {kind: np.exp(np.mean(each)) for kind, each in logs.items()}
        print(", ".join(f"{kind} {mean:.3f}" for kind, mean in means.items()), "\n")
        assert means[STEPS] < (0.97 if classes else 0.9), "wins back too little"
        assert means[SMOOTH] < 1.01, "costs too much where nothing steps"


if __name__ == "__main__":
    main()
