"""Measure how long a fit takes as the estimator comes.

Question
--------
Does ``MultiTaskNetRegressor()`` fit while one waits?

Setting
-------
One drawn table of 1,000 rows, 50 columns and 10 targets, and three real ones, fitted
after a small fit that warms up. Beside it CatBoost's joint loss with 500 trees.

Reading
-------
The bar is five seconds or CatBoost's time, whichever is longer, and ten seconds on the
drawn table. Best of two fits; other work on the machine shows in the numbers. Both have
as many threads as torch takes by itself, or as many as ``OMP_NUM_THREADS`` says.

    python bench_fit_time.py
"""

import argparse
import time
from pathlib import Path

from _report import print_setting, print_table
from _tables import DATA, read_suite_table
from catboost import CatBoostRegressor
from sklearn.datasets import make_regression
from torch import get_num_threads

from skmtl import MultiTaskNetRegressor

TABLES = ("mtr_enb", "mtr_jura", "mtr_wq")


def seconds(make, X, y, repeats=2):
    """Time the fastest of some fits."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        make().fit(X, y)
        found.append(time.perf_counter() - start)
    return min(found)


def catboost():
    return CatBoostRegressor(
        iterations=500,
        loss_function="MultiRMSE",
        thread_count=get_num_threads(),
        verbose=False,
        allow_writing_files=False,
    )


def skmtl():
    return MultiTaskNetRegressor(random_state=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    arguments = parser.parse_args()
    print_setting()
    tables = {
        "drawn": make_regression(1000, 50, n_targets=10, noise=10, random_state=0)
    }
    if (arguments.data / "load.py").exists():
        for name in TABLES:
            table = read_suite_table(arguments.data, name)
            tables[name] = table.X.to_numpy(float), table.y
    X, y = tables["drawn"]
    MultiTaskNetRegressor(n_estimators=2, max_epochs=2).fit(X, y)
    lines, slow = [], []
    for name, (X, y) in tables.items():
        ours, theirs = seconds(skmtl, X, y), seconds(catboost, X, y)
        bar = 10.0 if name == "drawn" else max(5.0, theirs)
        shape = " x ".join(map(str, (*X.shape, y.shape[1])))
        lines.append([name, shape, f"{ours:.1f}", f"{theirs:.1f}", f"{bar:.1f}"])
        slow += [name] * (ours > bar)
    print_table(["table", "shape", "skmtl", "CatBoost, 500 trees", "bar"], lines)
    assert not slow, f"over the bar: {slow}"


if __name__ == "__main__":
    main()
