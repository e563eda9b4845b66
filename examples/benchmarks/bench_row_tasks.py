"""Row tasks on real groups: does a head for each group beat ignoring the groups?

Setting: one target over many groups (schools, counties), a quarter of the rows of each
group held out at random, R2 over all held-out rows, mean of ``--splits`` splits. Beside
the default estimator with ``task_column`` stand the same estimator without it (pooled),
and the pooled one plus a shrunk mean residual of each group, its shrinkage chosen on
the held-out rows themselves: a bar that is a little too high.

Reading: row tasks should not fall behind pooling where groups hardly differ (radon),
and should win where they do (school, hsb82).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from _report import print_setting, print_table
from _tables import DATA, read_loader
from sklearn.metrics import r2_score

from skmtl import MultiTaskNetRegressor
from skmtl.architecture import HardSharing

TABLES = ("radon", "hsb82", "school")
SHRINKAGES = (1, 3, 10, 30, 100)
SETTING = {"n_estimators": 4, "max_epochs": 100, "random_state": 0, "device": "cpu"}


def read_groups(data, name):
    """Return features, target and group codes of a table."""
    table = read_loader(data).load(name)
    X, y, groups = table["X"], table["Y"], table["task"]
    X = pd.get_dummies(pd.DataFrame(X), drop_first=True).to_numpy(float)
    return X, np.asarray(y, float)[:, 0], pd.factorize(np.asarray(groups))[0]


def hold_out(groups, seed):
    """Mark a quarter of the rows of each group."""
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(groups), bool)
    for group in np.unique(groups):
        rows = rng.permutation(np.flatnonzero(groups == group))
        held_out[rows[: len(rows) // 4]] = True
    return held_out


def score_row_tasks(X, y, groups, test, strength):
    """Fit with a head for each group."""
    model = MultiTaskNetRegressor(
        HardSharing(task_shrinkage=strength), task_column=X.shape[1], **SETTING
    )
    table = np.column_stack([X, groups])
    model.fit(table[~test], y[~test])
    return r2_score(y[test], model.predict(table[test]))


def score_pooled(X, y, groups, test):
    """Fit without the groups; then add each group's shrunk mean residual."""
    model = MultiTaskNetRegressor(**SETTING).fit(X[~test], y[~test])
    held_out = model.validation_prediction_
    known = np.where(np.isnan(held_out), model.predict(X[~test]), held_out)
    residual = pd.Series(y[~test] - known).groupby(groups[~test]).agg(["sum", "size"])
    prediction = model.predict(X[test])
    best = max(
        r2_score(y[test], prediction + shift.reindex(groups[test]).to_numpy())
        for shift in (residual["sum"] / (residual["size"] + k) for k in SHRINKAGES)
    )
    return r2_score(y[test], prediction), best


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--splits", type=int, default=2)
    parser.add_argument("--strengths", type=float, nargs="+", default=[10.0])
    arguments = parser.parse_args()
    print_setting()
    rows, gains = [], {}
    for name in TABLES:
        X, y, groups = read_groups(arguments.data, name)
        scores = []
        for seed in range(arguments.splits):
            test = hold_out(groups, seed)
            own = [score_row_tasks(X, y, groups, test, s) for s in arguments.strengths]
            scores.append([*score_pooled(X, y, groups, test), *own])
        means = np.mean(scores, axis=0)
        gains[name] = means[2] - means[0]
        rows.append([name, len(set(groups)), *(f"{mean:.4f}" for mean in means)])
    heads = [f"row tasks, shrinkage {s:g}" for s in arguments.strengths]
    print_table(["table", "groups", "pooled", "shrunk residual", *heads], rows)
    assert gains["radon"] > -0.02, "row tasks fall behind pooling on radon"
    assert gains["hsb82"] > 0, "row tasks do not gain on hsb82"
    assert gains["school"] > 0, "row tasks do not gain on school"


if __name__ == "__main__":
    main()
