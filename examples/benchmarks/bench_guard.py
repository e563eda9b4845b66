"""Ask whether the guard against negative transfer pays, and what it costs.

Question
--------
Sharing can hurt a task. Does ``guard=True``, which trains networks of single tasks
beside the shared ones and blends them in where held-out rows ask for it, win back what
sharing costs, and does it keep its hands off where sharing helps?

Setting
-------
Development tables and splits of ``search_defaults.py``, and the drawn table of
``bench_architecture.py``: two groups of tasks and an outlier, which have nothing in
common, in a trunk of two layers of 16 units. The default estimator, the same with the
guard, and the default on each task alone, one after the other. The error is that of
``bench_tabular.py``.

Reading
-------
``guard`` below ``shared`` is a gain. The last columns are ``transfer_``, averaged over
tasks, how many tasks use networks of their own, and CPU seconds of the fits. The guard
is to be no worse than the shared networks by more than one percent anywhere, and to win
back a good part of what sharing costs on the drawn table.

    OMP_NUM_THREADS=1 python bench_guard.py
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from _report import print_setting, print_table
from _tables import DATA, SuiteTable, read_suite_table
from bench_architecture import WIDE, draw
from bench_tabular import number_scores
from search_defaults import split_rows

from skmtl import MultiTaskNetRegressor
from skmtl.architecture import HardSharing

TABLES = ("mtr_edm", "mtr_jura", "mtr_enb", "student")
DRAWN = "crowded"


def crowded(split):
    """Give the generator of bench_architecture.py the form of a table, and its rows."""
    X, y, X_new, truth = draw(split)
    table = SuiteTable(
        pd.DataFrame(np.concatenate([X, X_new])),
        np.concatenate([y, truth]),
        tuple(range(y.shape[1])),
        "number",
    )
    rows = np.arange(len(table.X))
    return table, rows[: len(X)], rows[len(X) :]


def fit(X, y, **settings):
    """Fit, and say how many CPU seconds it took."""
    start = time.process_time()
    # Networks are compared, so nothing is added to their predictions.
    fixed = {"random_state": 0, "n_neighbors": None}
    model = MultiTaskNetRegressor(**fixed | settings).fit(X, y)
    return model, time.process_time() - start


def alone(X, y, X_new, **settings):
    """Predict each task by a fit of its own."""
    columns, total = [], 0.0
    for column in y.T:
        known = ~np.isnan(column)
        model, seconds = fit(X.iloc[known], column[known], **settings)
        columns.append(model.predict(X_new))
        total += seconds
    return np.column_stack(columns), total


def evaluate(table, train, test, **settings):
    X, X_new = table.X.iloc[train], table.X.iloc[test]
    y, truth = table.y[train], table.y[test]
    shared, shared_seconds = fit(X, y, **settings)
    guarded, guard_seconds = fit(X, y, guard=True, **settings)
    single, single_seconds = alone(X, y, X_new, **settings)

    def error(prediction):
        known = ~np.isnan(truth)
        return np.mean(
            [
                number_scores(truth[k, j], prediction[k, j], y[:, j])[0]
                for j, k in enumerate(known.T)
            ]
        )

    errors = [error(m.predict(X_new)) for m in (shared, guarded)] + [error(single)]
    used = f"{(guarded.guard_shares_ > 0).sum()} of {y.shape[1]}"
    seconds = [f"{s:.1f}" for s in (shared_seconds, guard_seconds, single_seconds)]
    return errors, [f"{np.nanmean(guarded.transfer_):.3f}", used, *seconds]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    parser.add_argument("--tables", nargs="+", default=[DRAWN, *TABLES])
    parser.add_argument("--splits", type=int, default=2)
    arguments = parser.parse_args()
    print_setting()
    warnings.simplefilter("ignore")
    lines, ratios = [], {}
    for name in arguments.tables:
        for split in range(arguments.splits):
            if name == DRAWN:
                narrow = {"architecture": HardSharing(WIDE)}
                errors, others = evaluate(*crowded(split), **narrow)
            else:
                table = read_suite_table(arguments.data, name)
                errors, others = evaluate(table, *split_rows(table, split))
            ratios.setdefault(name, []).append(np.log(errors[1] / errors[0]))
            lines.append([name, split, *(f"{e:.4f}" for e in errors), *others])
    header = ["table", "split", "shared", "guard", "single", "transfer", "guarded"]
    print_table([*header, "s shared", "s guard", "s single"], lines)
    ratios = {name: np.exp(np.mean(found)) for name, found in ratios.items()}
    for name, ratio in ratios.items():
        print(f"guard / shared on {name}: {ratio:.3f}")
        assert ratio <= 1.01, f"the guard costs {ratio - 1:.1%} on {name}"
    if DRAWN in ratios:
        assert ratios[DRAWN] < 0.95, "the guard does not win back what sharing costs"


if __name__ == "__main__":
    main()
