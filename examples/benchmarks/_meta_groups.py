"""Held-out groups: schools, counties and patients that training never saw.

Three folds over whole groups; of each held-out group 5, 10 and 20 labelled rows are
given, the rest is predicted, and the root mean squared error over the rest is one
number a group. All methods see the same rows. Reported are means over groups, and the
paired difference to every rival with its interval of 95 % over groups; the asserts say
that no rival is ahead beyond that interval.

Rivals: a pooled model without groups; one model a group; the pooled model plus a shrunk
mean residual; a mixed model with a random intercept by group (statsmodels; the
prediction for a new group is its closed form); and gradient boosting trained anew with
the rows of the group appended, and a column that marks them (on at most 2,000 of the
training rows, one fit a group: it is the slow one). Both targets of parkinsons are
tables of their own; the meta-learner is also trained on both at once.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from _report import print_setting, print_table
from bench_row_tasks import read_groups
from bench_tabular import DATA, read_loader
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.preprocessing import StandardScaler
from statsmodels.regression.mixed_linear_model import MixedLM

from skmtl import MetaRidgeRegressor, MultiTaskNetRegressor
from skmtl.model_selection import few_shot_validate

SHOTS = (5, 10, 20)
OURS = "MetaRidge"
MOST_ROWS = 2_000


class RandomIntercept(RegressorMixin, BaseEstimator):
    """A linear mixed model; a new group gets the best linear unbiased prediction."""

    def fit(self, X, y, *, task):
        self.scaler_ = StandardScaler().fit(X)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = MixedLM(y, self._design(X), groups=task).fit(reml=True)
        self.coef_, self.n_features_in_ = found.fe_params, X.shape[1]
        # Variance of the noise over that of the intercepts.
        self.ratio_ = found.scale / max(float(found.cov_re[0, 0]), 1e-9)
        self.shift_ = 0.0
        return self

    def _design(self, X):
        scaled = self.scaler_.transform(X)
        return np.column_stack([np.ones(len(X)), scaled[:, self.scaler_.var_ > 1e-12]])

    def adapt(self, X, y):
        adapted = RandomIntercept()
        vars(adapted).update(vars(self))
        residual = np.asarray(y) - self.predict(X)
        adapted.shift_ = residual.sum() / (len(residual) + self.ratio_)
        return adapted

    def predict(self, X):
        return self._design(X) @ self.coef_ + self.shift_


class BoostingAppended(RegressorMixin, BaseEstimator):
    """Boosting that is trained anew with the rows of the group, marked by a column."""

    def fit(self, X, y):
        kept = np.random.default_rng(0).permutation(len(X))[:MOST_ROWS]
        self.rows_ = np.asarray(X)[kept], np.asarray(y)[kept]
        self.n_features_in_ = X.shape[1]
        self.model_ = self._model(np.column_stack([X, np.zeros(len(X))]), y)
        return self

    def _model(self, X, y):
        return HistGradientBoostingRegressor(max_iter=50, random_state=0).fit(X, y)

    def adapt(self, X, y):
        adapted = BoostingAppended()
        vars(adapted).update(vars(self))
        old, labels = self.rows_
        table = np.concatenate([old, X])
        own = np.repeat([0.0, 1.0], [len(old), len(X)])
        labels = np.concatenate([labels, y])
        adapted.model_ = self._model(np.column_stack([table, own]), labels)
        adapted.is_new_ = True
        return adapted

    def predict(self, X):
        own = np.full(len(X), float(hasattr(self, "is_new_")))
        return self.model_.predict(np.column_stack([X, own]))


def read_parkinsons(data):
    """Read features, both targets and patients."""
    table = read_loader(data).load("parkinsons")
    _, groups = np.unique(np.asarray(table["task"]), return_inverse=True)
    return np.asarray(table["X"], float), np.asarray(table["Y"], float), groups


def methods():
    """List what is compared, besides the baselines of the package."""
    return {
        OURS: MetaRidgeRegressor(n_estimators=4, random_state=0, device="cpu"),
        "MultiTaskNet": MultiTaskNetRegressor(
            n_estimators=4, max_epochs=100, random_state=0, device="cpu"
        ),
        "random_intercept": RandomIntercept(),
        "boosting_appended": BoostingAppended(),
    }


def compare(name, X, y, groups, n_folds=3):
    """Print the errors of all methods, and how far each rival is from ours."""
    with warnings.catch_warnings():
        # Small groups do not enter the means of many rows; radon has many.
        warnings.filterwarnings("ignore", "[0-9]+ of [0-9]+ held-out tasks")
        result = few_shot_validate(
            methods(),
            X,
            y,
            groups,
            cv=n_folds,
            n_shots=SHOTS,
            n_episodes=1,
            baselines="all",
            random_state=0,
        )
    rows, ahead = [], []
    for method in result.methods:
        row = [method]
        gain = result.gain(OURS, method) if method != OURS else None
        for k, shots in enumerate(SHOTS):
            cell = f"{-result.mean[method][k]:.3f}"
            if gain is not None:
                cell += f" ({gain.lower[k]:+.3f} to {gain.upper[k]:+.3f})"
                if gain.upper[k] < 0:
                    ahead.append(f"{name}: {method} at {shots} rows")
            row.append(cell)
        rows.append(row)
    heads = [f"{k} rows: RMSE (gain of {OURS})" for k in SHOTS]
    print_table([f"{name}, {len(set(groups))} groups", *heads], rows)
    return ahead


def compare_both_targets(X, y, groups):
    """Train the meta-learner on both targets at once, and on each alone."""
    rows = []
    rng = np.random.default_rng(0)
    fold = rng.permutation(groups.max() + 1) % 3
    errors = {"both at once": [], "each alone": []}
    for k in range(3):
        test = fold[groups] == k
        both = methods()[OURS].fit(X[~test], y[~test], task=groups[~test])
        alone = [
            methods()[OURS].fit(X[~test], y[~test, j], task=groups[~test])
            for j in range(2)
        ]
        for group in np.unique(groups[test]):
            own = rng.permutation(np.flatnonzero(groups == group))
            few, rest = own[:10], own[10:]
            found = {
                "both at once": both.adapt(X[few], y[few]).predict(X[rest]),
                "each alone": np.column_stack(
                    [
                        m.adapt(X[few], y[few, j]).predict(X[rest])
                        for j, m in enumerate(alone)
                    ]
                ),
            }
            for name, predicted in found.items():
                squares = (predicted - y[rest]) ** 2
                errors[name].append(np.sqrt(squares.mean(axis=0)))
    for name, found in errors.items():
        rows.append([name, *(f"{e:.3f}" for e in np.mean(found, axis=0))])
    print_table(["parkinsons, 10 rows", "motor_UPDRS", "total_UPDRS"], rows)


def check(data=DATA, quick=False):
    """Run all tables, and say where a rival is ahead."""
    X, y, groups = read_parkinsons(data)
    tables = {"radon": read_groups(data, "radon")}
    if not quick:
        tables["hsb82"] = read_groups(data, "hsb82")
        tables["school"] = read_groups(data, "school")
        tables["parkinsons, motor"] = (X, y[:, 0], groups)
        tables["parkinsons, total"] = (X, y[:, 1], groups)
    ahead = []
    for name, table in tables.items():
        ahead += compare(name, *table)
    if not quick:
        compare_both_targets(X, y, groups)
    assert quick or not ahead, f"ahead of {OURS}: {', '.join(ahead)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    print_setting()
    check(arguments.data, arguments.quick)


if __name__ == "__main__":
    main()
