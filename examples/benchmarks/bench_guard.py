"""Ask whether networks of single tasks beside the shared ones would pay.

Question
--------
Sharing can hurt a task. Would it help to train each task alone as well, and to take,
per task, the blend of both that does best on held-out rows?

Setting
-------
Development tables and splits of ``search_defaults.py``. The default estimator on all
tasks, the default on each task alone, and per task the weight in [0, 1] between the two
that minimises the squared error of their held-out predictions. The error is that of
``bench_tabular.py``.

Reading
-------
The weight is the share of the single-task networks. ``blend`` below ``shared`` would be
a gain; the last columns are the seconds that each of the two costs.

    python bench_guard.py
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from _report import print_setting, print_table
from _tables import DATA, read_suite_table
from bench_tabular import number_scores
from search_defaults import split_rows

from skmtl import MultiTaskNetRegressor

TABLES = ("mtr_edm", "mtr_jura", "mtr_enb", "student")


def timed_fit(X, y, X_new):
    """Predictions of new and of held-out rows, and seconds."""
    start = time.perf_counter()
    model = MultiTaskNetRegressor(random_state=0).fit(X, y)
    seconds = time.perf_counter() - start
    return model.predict(X_new), model.validation_prediction_, seconds


def alone(X, y, X_new):
    """The same with a fit for each task."""
    new, held_out = np.zeros((len(X_new), y.shape[1])), np.full_like(y, np.nan)
    total = 0.0
    for j, column in enumerate(y.T):
        known = ~np.isnan(column)
        new[:, j], held_out[known, j], seconds = timed_fit(
            X.iloc[known], column[known], X_new
        )
        total += seconds
    return new, held_out, total


def blend_weights(y, shared, single):
    """Share of the second prediction, by least squares on held-out rows."""
    step = single - shared
    best = np.nansum(step * (y - shared), axis=0) / np.nansum(step**2, axis=0)
    return np.clip(best, 0, 1)


def evaluate(table, split):
    train, test = split_rows(table, split)
    X, X_new = table.X.iloc[train], table.X.iloc[test]
    y, truth = table.y[train], table.y[test]
    shared, shared_out, shared_seconds = timed_fit(X, y, X_new)
    single, single_out, single_seconds = alone(X, y, X_new)
    weights = blend_weights(y, shared_out, single_out)

    def error(prediction):
        known = ~np.isnan(truth)
        return np.mean(
            [
                number_scores(truth[k, j], prediction[k, j], y[:, j])[0]
                for j, k in enumerate(known.T)
            ]
        )

    blend = (1 - weights) * shared + weights * single
    errors = [f"{error(p):.4f}" for p in (shared, single, blend)]
    mean = f"{weights.mean():.2f}"
    return [*errors, mean, f"{shared_seconds:.1f}", f"{single_seconds:.1f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    parser.add_argument("--tables", nargs="+", default=TABLES)
    arguments = parser.parse_args()
    print_setting()
    warnings.simplefilter("ignore")
    lines = []
    for name in arguments.tables:
        table = read_suite_table(arguments.data, name)
        lines += [[name, split, *evaluate(table, split)] for split in range(2)]
    header = ["table", "split", "shared", "single", "blend", "weight"]
    print_table([*header, "seconds shared", "seconds single"], lines)


if __name__ == "__main__":
    main()
