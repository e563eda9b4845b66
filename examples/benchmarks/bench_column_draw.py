"""Ask whether members that see a share of the columns do so only where it is free.

Question
--------
From 50 columns on each member may see 0.7 of them. On the wide tables of
``bench_tabular.py`` that pays. What does it cost where every column tells something of
its own, and does ``max_features="auto"`` see that before it trains?

Setting
-------
Drawn tables of 600 rows and 60 columns, three targets, 1,000 rows for the test. A share
of the variance of the columns, ``common``, comes from twelve factors; the rest is their
own. Targets are sums of all columns, with a tenth of noise (``dense``), or functions of
four of them (``sparse``). Numbers are judged by the root mean squared error, classes,
the signs of the same sums, by the log loss.

Reading
-------
Ratios to the fit in which all members see all columns, geometric means over seeds;
below 1 a draw pays. ``auto`` is to lose no more than four percent anywhere, wherever
0.7 may lose.

    OMP_NUM_THREADS=1 python bench_column_draw.py
"""

import argparse
import warnings

import numpy as np
from _report import print_setting, print_table
from sklearn.metrics import log_loss

from skmtl import MultiTaskNetClassifier, MultiTaskNetRegressor

N_TRAIN, N_TEST, N_COLUMNS, N_FACTORS = 600, 1000, 60, 12
BAR = 1.04
CASES = [("dense", common) for common in (0.0, 0.5, 0.8, 0.95)] + [("sparse", 0.0)]


def draw(kind, common, seed):
    """Draw rows of X, and targets of unit variance."""
    rng = np.random.default_rng(seed)
    n_rows = N_TRAIN + N_TEST
    factors = rng.normal(size=(n_rows, N_FACTORS))
    loadings = rng.normal(size=(N_FACTORS, N_COLUMNS)) / np.sqrt(N_FACTORS)
    X = np.sqrt(common) * factors @ loadings
    X += np.sqrt(1 - common) * rng.normal(size=X.shape)
    if kind == "dense":
        y = X @ rng.normal(size=(N_COLUMNS, 3))
    else:
        y = [X[:, 0] * X[:, 1], np.sin(2 * X[:, 2]) + X[:, 0], X[:, 0] + X[:, 3] ** 2]
        y = np.column_stack(y)
    y = (y - y.mean(axis=0)) / y.std(axis=0)
    return X, y + 0.3 * rng.normal(size=y.shape)


def error(X, y, share):
    """Mean error over the tasks on the test rows."""
    train, test = slice(N_TRAIN), slice(N_TRAIN, None)
    classes = y.dtype == bool
    kind = MultiTaskNetClassifier if classes else MultiTaskNetRegressor
    model = kind(max_features=share, random_state=0).fit(X[train], y[train])
    if classes:
        proba = model.predict_proba(X[test])
        pairs = zip(y[test].T, proba, strict=True)
        return np.mean([log_loss(truth, each) for truth, each in pairs])
    return np.sqrt(np.mean((model.predict(X[test]) - y[test]) ** 2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    print_setting()
    warnings.simplefilter("ignore")
    lines, worst = [], {0.7: 0.0, "auto": 0.0}
    for kind, common in CASES:
        for labels in ("numbers", "classes"):
            logs = []
            for seed in range(arguments.seeds):
                X, y = draw(kind, common, seed)
                y = y > 0 if labels == "classes" else y
                errors = [error(X, y, share) for share in (1.0, 0.7, "auto")]
                logs.append(np.log(errors))
            whole, *others = np.mean(logs, axis=0)
            ratios = np.exp(np.array(others) - whole)
            for share, ratio in zip(worst, ratios, strict=True):
                worst[share] = max(worst[share], ratio)
            lines.append([kind, common, labels, *(f"{r:.3f}" for r in ratios)])
    print_table(["targets", "common", "labels", "0.7", "auto"], lines)
    for share, ratio in worst.items():
        print(f"{share} costs {ratio - 1:.1%} at most")
    assert worst[0.7] > 1.2, "a draw costs nothing here, so there is nothing to see"
    assert worst["auto"] <= BAR, f"auto costs {worst['auto'] - 1:.1%}"


if __name__ == "__main__":
    main()
