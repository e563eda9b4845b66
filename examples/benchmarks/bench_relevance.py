"""Measure what columns that tell nothing cost, and what ``relevance="auto"`` wins back.

Question
--------
Trees leave columns alone that tell nothing; networks listen to all. How much of that
does it win back to scale inputs by what trees find, and what does it cost where every
column counts?

Setting
-------
Drawn tables with two targets, of which a few columns, none or all tell nothing. 400
rows train unless said otherwise, 1,000 test. Numbers have the RMSE over that of
predicting the mean, classes, which are whether a target is above its median, the log
loss over that of predicting shares. Peers are those of scikit-learn: extremely
randomised trees and histogram gradient boosting, a fit for each target, at settings for
small tables.

Reading
-------
Errors are means over draws; the ratio is of the error with ``relevance="auto"`` to that
with None. Below 1 it pays. It is to pay by a tenth over tables with columns that tell
nothing, and to cost no more than two percent over those without.

    OMP_NUM_THREADS=1 python bench_relevance.py
"""

import argparse
import warnings

import numpy as np
from _report import print_setting, print_table
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.metrics import log_loss

from skmtl import MultiTaskNetClassifier, MultiTaskNetRegressor

N_TRAIN, N_TEST = 400, 1000


def friedman(n_columns, noise=1.0):
    """Friedman's first function (1991), which reads five columns, and its square."""

    def draw(rng, n_rows):
        X = rng.uniform(size=(n_rows, n_columns))
        y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2
        y += 10 * X[:, 3] + 5 * X[:, 4]
        y = np.column_stack([y, y**2 / 15])
        return X, y + noise * rng.normal(size=y.shape)

    return draw


def waves(n_columns):
    def draw(rng, n_rows):
        X = rng.normal(size=(n_rows, n_columns))
        y = X[:, :3] @ rng.normal(size=(3, 2)) + np.sin(3 * X[:, :2])
        return X, y + 0.5 * rng.normal(size=y.shape)

    return draw


def products(rng, n_rows):
    """Products of columns of zeros and ones."""
    X = rng.integers(0, 2, size=(n_rows, 30)).astype(float)
    first = X[:, 0] * X[:, 1] + X[:, 2] * (1 - X[:, 3])
    y = np.column_stack([first, 3 * X[:, 4] * X[:, 5] * X[:, 6]])
    return X, y + 0.2 * rng.normal(size=y.shape)


def steps(rng, n_rows):
    X = rng.uniform(-1, 1, size=(n_rows, 6))
    y = [3.0 * (X[:, 0] > 0) * (X[:, 1] > 0.3), np.floor(3 * X[:, 2])]
    y = np.column_stack(y)
    return X, y + 0.2 * rng.normal(size=y.shape)


def wild(rng, n_rows):
    """Signs of columns with heavy tails."""
    X = rng.standard_t(1.5, size=(n_rows, 10))
    y = np.sign(X[:, :3]) @ rng.normal(size=(3, 2))
    return X, y + 0.5 * rng.normal(size=y.shape)


def sums(rng, n_rows):
    """All columns in a linear map, some much more than others."""
    X = rng.normal(size=(n_rows, 20))
    y = X @ (rng.normal(size=(20, 2)) * 2.0 ** -np.arange(0, 5, 0.25)[:, None])
    return X, y + 0.3 * rng.normal(size=y.shape)


def lengths(rng, n_rows):
    X = rng.normal(size=(n_rows, 4))
    y = [np.linalg.norm(X, axis=1), X[:, 0] * X[:, 1] + X[:, 2] * X[:, 3]]
    y = np.column_stack(y)
    return X, y + 0.1 * rng.normal(size=y.shape)


# name: (how to draw, rows that train, whether columns tell nothing)
CASES = {
    "friedman, 5 of 5": (friedman(5), N_TRAIN, False),
    "friedman, 5 of 5, no noise": (friedman(5, 0.0), N_TRAIN, False),
    "friedman, 5 of 10": (friedman(10), N_TRAIN, True),
    "friedman, 5 of 50": (friedman(50), N_TRAIN, True),
    "friedman, 5 of 50, 1600 rows": (friedman(50), 1600, True),
    "waves, 3 of 100": (waves(100), N_TRAIN, True),
    "waves, 3 of 200, 60 rows": (waves(200), 60, True),
    "products, 7 of 30": (products, N_TRAIN, True),
    "steps, 3 of 6": (steps, N_TRAIN, True),
    "wild, 3 of 10": (wild, N_TRAIN, True),
    "sums, 20 of 20": (sums, N_TRAIN, False),
    "lengths, 4 of 4": (lengths, N_TRAIN, False),
}


def error(model, X, y, n_train, by_target=False):
    """Mean error over the targets on the test rows, of the best guess without X."""
    train, test = slice(n_train), slice(n_train, None)
    if by_target:
        return np.mean([error(model, X, column, n_train) for column in y.T])
    model.fit(X[train], y[train])
    labels, known = y[test].reshape(N_TEST, -1), y[train].reshape(n_train, -1)
    if y.dtype == bool:
        found = model.predict_proba(X[test])
        found = [found] if y.ndim == 1 else found
        pairs = zip(labels.T, found, known.mean(axis=0), strict=True)
        return np.mean(
            [
                log_loss(truth, each) / log_loss(truth, np.full(N_TEST, share))
                for truth, each, share in pairs
            ]
        )
    squares = (labels - model.predict(X[test]).reshape(labels.shape)) ** 2
    guess = (labels - known.mean(axis=0)) ** 2
    return np.mean(np.sqrt(squares.mean(axis=0) / guess.mean(axis=0)))


def mean_errors(draw, n_train, models, classes, n_seeds):
    """Average the errors of some models over draws of a table."""
    errors = []
    for seed in range(n_seeds):
        X, y = draw(np.random.default_rng(seed), n_train + N_TEST)
        y = y > np.median(y, axis=0) if classes else y
        errors.append(
            [error(model, X, y, n_train, by_target) for model, by_target in models]
        )
    return np.mean(errors, axis=0)


def models(classes):
    """List models, and whether each is fitted target by target."""
    net = MultiTaskNetClassifier if classes else MultiTaskNetRegressor
    trees = ExtraTreesClassifier if classes else ExtraTreesRegressor
    boosting = (
        HistGradientBoostingClassifier if classes else (HistGradientBoostingRegressor)
    )
    slow = {"learning_rate": 0.05, "max_leaf_nodes": 15, "random_state": 0}
    leaf = {"min_samples_leaf": 3} if classes else {}
    return {
        "auto": (net(random_state=0), False),
        "None": (net(random_state=0, relevance=None), False),
        "extra trees": (trees(300, max_features=0.5, random_state=0, **leaf), True),
        "hist. boosting": (boosting(max_iter=150, **slow), True),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    print_setting()
    warnings.simplefilter("ignore")
    for classes in (False, True):
        lines, logs = [], {False: [], True: []}
        for name, (draw, n_train, idle) in CASES.items():
            found = models(classes).values()
            means = mean_errors(draw, n_train, found, classes, arguments.seeds)
            logs[idle].append(np.log(means[0] / means[1]))
            ratio = f"{means[0] / means[1]:.3f}"
            lines.append([name, *(f"{mean:.3f}" for mean in means), ratio])
        print("Classes\n" if classes else "Numbers\n")
        print_table(["table", *models(classes), "auto / None"], lines)
        pays, costs = (np.exp(np.mean(logs[idle])) for idle in (True, False))
        print(f"with columns that tell nothing {pays:.3f}, without {costs:.3f}\n")
        assert pays < (0.97 if classes else 0.9), f"wins back too little: {pays:.3f}"
        assert costs < 1.02, f"costs {costs - 1:.1%} where all columns count"


if __name__ == "__main__":
    main()
