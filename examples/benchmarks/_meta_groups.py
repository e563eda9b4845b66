"""Held-out groups: schools, counties and patients that training never saw.

Three folds over whole groups, so that every group is held out once. Of a held-out group
5, 10 and 20 rows drawn at random are given, and its other rows are predicted; the root
mean squared error over those is one number a group, the mean of ``N_EPISODES`` draws.
The rows of fewer shots are among those of more, and all methods see the same. On radon,
where most counties have few houses, each number of shots is scored by itself, in all
counties with a house more; elsewhere the query is what 20 shots leave, and the three
schools of hsb82 with no more than 20 pupils are left out. With ``--splits`` the whole
is repeated with other folds and draws, and a group counts by its mean.

Tables print the mean over groups with its interval of 95 % over groups, and after a
semicolon the error of MetaRidge less that of the rival, paired by group, with the
interval of that. Negative is better for MetaRidge. The asserts say that no rival is
ahead beyond that interval.

Ours are ``MetaRidgeRegressor`` of two networks, with its default settings otherwise,
and, for information, ``MultiTaskNetRegressor`` of four, 100 epochs at most, adapted; it
is no rival, and no assert looks at it. The dropout and the initial spread of heads that
are defaults of MetaRidge were chosen on one fold of the splits 100 to 102, which the
tables do not use. Rivals:

- ``pooled``, ``pooled_residual`` and ``per_task``, the baselines of
  ``few_shot_validate``: gradient boosting without groups, the same plus the shrunk mean
  residual of the support, and a ridge regression of the support alone;
- ``random_intercept``: a mixed model by REML (statsmodels), linear in the features, and
  the best linear unbiased prediction for a new group, in closed form;
- ``boosting + support``: gradient boosting with the groups as a column, trained anew
  with the supports appended, those of all held-out groups of a fold at once. The column
  is a category, or the cross-fitted mean of the target (``TargetEncoder``): boosting
  takes no notice of a category of fewer than ten rows.

The targets of parkinsons are scored apart. MetaRidge learns both at once there, from
one fit with ``y`` of two columns; all others learn them one by one. All columns are
features, the time of the visit among them. Labels were interpolated between visits, so
that those of a patient lie on lines in time; that helps all methods alike.
"""

import argparse
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from _report import print_setting, print_table
from _tables import DATA, read_loader
from scipy.linalg import qr
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler, TargetEncoder
from statsmodels.regression.mixed_linear_model import MixedLM

from skmtl import MetaRidgeRegressor, MultiTaskNetRegressor
from skmtl.model_selection import FewShotResult, few_shot_validate
from skmtl.model_selection._episodes import draw_episodes

TABLES = ("radon", "hsb82", "school", "parkinsons")
SHOTS = (5, 10, 20)
N_FOLDS = 3
N_EPISODES = 2
OURS = "MetaRidge"
FIXED = {"random_state": 0, "device": "cpu"}


class Split(NamedTuple):
    """The folds and episodes that ``few_shot_validate`` draws from the same seed."""

    folds: list
    episodes: dict
    shots: tuple

    def held_out(self, fold, groups):
        """List the groups of a fold that have rows enough, with their places."""
        names = set(groups[fold[1]].tolist())
        return [(i, g) for i, g in enumerate(self.episodes) if g in names]

    def empty(self, *more):
        return np.full((len(self.episodes), N_EPISODES, len(self.shots), *more), np.nan)


class RandomIntercept(RegressorMixin, BaseEstimator):
    """A linear mixed model; a new group gets the best linear unbiased prediction."""

    def fit(self, X, y, *, task):
        self.scaler_ = StandardScaler().fit(X)
        # Columns that repeat others, as those of all classes do, leave no one solution.
        _, r, order = qr(self.scaler_.transform(X), mode="economic", pivoting=True)
        size = np.abs(np.diag(r))
        self.columns_ = np.sort(order[size > 1e-6 * size[0]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = MixedLM(y, self._design(X), groups=task).fit(reml=True)
        self.coef_, self.n_features_in_ = found.fe_params, X.shape[1]
        # Variance of the noise over that of the intercepts.
        self.ratio_ = found.scale / max(float(found.cov_re[0, 0]), 1e-9)
        self.shift_ = 0.0
        return self

    def _design(self, X):
        scaled = self.scaler_.transform(X)[:, self.columns_]
        return np.column_stack([np.ones(len(X)), scaled])

    def adapt(self, X, y):
        adapted = RandomIntercept()
        vars(adapted).update(vars(self))
        residual = np.asarray(y) - self.predict(X)
        adapted.shift_ = residual.sum() / (len(residual) + self.ratio_)
        return adapted

    def predict(self, X):
        return self._design(X) @ self.coef_ + self.shift_


def read_groups(data, name):
    """Return features, target and group codes of a table."""
    table = read_loader(data).load(name)
    X, y, groups = table["X"], table["Y"], table["task"]
    X = pd.get_dummies(pd.DataFrame(X), drop_first=True).to_numpy(float)
    return X, np.asarray(y, float)[:, 0], pd.factorize(np.asarray(groups))[0]


def read_parkinsons(data):
    """Read features, both targets and patients."""
    table = read_loader(data).load("parkinsons")
    _, groups = np.unique(np.asarray(table["task"]), return_inverse=True)
    return np.asarray(table["X"], float), np.asarray(table["Y"], float), groups


def make_meta_ridge(quick):
    size = {"n_estimators": 1, "max_iter": 50} if quick else {"n_estimators": 2}
    return MetaRidgeRegressor(**size, **FIXED)


def make_net(quick):
    n_networks, n_epochs = (1, 10) if quick else (4, 100)
    return MultiTaskNetRegressor(n_estimators=n_networks, max_epochs=n_epochs, **FIXED)


def make_boosting(encoder, n_features):
    """Make boosting of a table whose last column is the group."""
    column = [n_features]
    encoding = make_column_transformer((encoder, column), remainder="passthrough")
    categories = [0] if isinstance(encoder, OrdinalEncoder) else None
    boosting = HistGradientBoostingRegressor(
        categorical_features=categories, random_state=0
    )
    return make_pipeline(encoding, boosting)


def score_boosting(encoder, X, y, groups, split):
    """Train with the supports of all held-out groups of a fold appended."""
    table = np.column_stack([X, groups])
    errors = split.empty()
    for fold in split.folds:
        held_out = split.held_out(fold, groups)
        for e in range(N_EPISODES):
            for k, n in enumerate(split.shots):
                supports = [split.episodes[g][e].support[:n] for _, g in held_out]
                rows = np.concatenate([fold[0], *supports])
                model = make_boosting(encoder, X.shape[1]).fit(table[rows], y[rows])
                for i, g in held_out:
                    query = split.episodes[g][e].query
                    found = model.predict(table[query])
                    errors[i, e, k] = root_mean_squared_error(y[query], found)
    return -errors.mean(axis=1)


def score_joint(X, y, groups, split, quick):
    """Train the meta-learner on all targets at once; targets are the last axis."""
    errors = split.empty(y.shape[1])
    for fold in split.folds:
        train = fold[0]
        model = make_meta_ridge(quick).fit(X[train], y[train], task=groups[train])
        for i, g in split.held_out(fold, groups):
            for e, (support, query) in enumerate(split.episodes[g]):
                for k, n in enumerate(split.shots):
                    adapted = model.adapt(X[support[:n]], y[support[:n]])
                    errors[i, e, k] = root_mean_squared_error(
                        y[query], adapted.predict(X[query]), multioutput="raw_values"
                    )
    return -errors.mean(axis=1)


def make_split(X, groups, shots, seed):
    folds = GroupKFold(N_FOLDS, shuffle=True, random_state=seed)
    draws = {"n_shots": max(shots), "n_episodes": N_EPISODES, "seed": seed}
    episodes = draw_episodes(np.zeros(len(X)), groups, classifier=False, **draws)
    return Split(list(folds.split(X, groups=groups)), episodes, tuple(shots))


def validate(X, y, groups, shots, seed, quick, joint=None):
    """Score all methods for one target; ``joint`` has scores of ours, if there are."""
    split = make_split(X, groups, shots, seed)
    models = {"MultiTaskNet": make_net(quick), "random_intercept": RandomIntercept()}
    if joint is None:
        models = {OURS: make_meta_ridge(quick)} | models
    result = few_shot_validate(
        models,
        X,
        y,
        groups,
        cv=split.folds,
        n_shots=shots,
        n_episodes=N_EPISODES,
        baselines="all",
        random_state=seed,
    )
    scores = result.scores if joint is None else {OURS: joint} | result.scores
    for name, encoder in {
        "boosting + support, category": OrdinalEncoder(),
        "boosting + support, encoded": TargetEncoder(
            target_type="continuous", cv=KFold(5, shuffle=True, random_state=0)
        ),
    }.items():
        scores[name] = score_boosting(encoder, X, y, groups, split)
    assert list(split.episodes) == result.tasks.tolist()
    return FewShotResult(
        result.n_shots, result.tasks, scores, result.scoring, N_EPISODES
    )


def average(results):
    """Average the scores of each group over splits."""
    first = results[0]
    scores = {m: np.mean([r.scores[m] for r in results], 0) for m in first.methods}
    return FewShotResult(first.n_shots, first.tasks, scores, first.scoring, N_EPISODES)


def report(name, results):
    """Print errors and differences; return what is ahead of ours."""
    heads, ahead = [], []
    rows = {method: [method] for method in results[0].methods}
    for result in results:
        for k, n in enumerate(result.n_shots):
            heads.append(f"{n} rows, {len(result.tasks)} groups")
            for method, row in rows.items():
                mean = -result.mean[method][k]
                half = result.upper[method][k] - result.mean[method][k]
                cell = f"{mean:.3f} ± {half:.3f}"
                if method != OURS:
                    gain = result.gain(OURS, method)
                    mean, lower, upper = -gain.mean[k], -gain.upper[k], -gain.lower[k]
                    cell += f"; {mean:+.3f} [{lower:+.3f}, {upper:+.3f}]"
                    if lower > 0 and method != "MultiTaskNet":
                        ahead.append(f"{name}, {n} rows: {method} ({lower:+.3f})")
                row.append(cell)
    print_table([name, *heads], rows.values())
    return ahead


def compare(name, X, y, groups, splits, quick):
    """Compare all methods on one table with one target."""
    # Most counties of radon have fewer than 20 houses.
    runs = [(n,) for n in SHOTS] if name == "radon" else [SHOTS]
    found = [
        average([validate(X, y, groups, n, seed, quick) for seed in range(splits)])
        for n in runs
    ]
    return report(name, found)


def compare_both_targets(names, X, y, groups, splits, quick):
    """Compare on each target, ours having learned them at once."""
    results = {name: [] for name in names}
    for seed in range(splits):
        split = make_split(X, groups, SHOTS, seed)
        joint = score_joint(X, y, groups, split, quick)
        for j, name in enumerate(names):
            own = (X, y[:, j], groups, SHOTS, seed, quick, joint[..., j])
            results[name].append(validate(*own))
    return [a for n in names for a in report(n, [average(results[n])])]


def check(data=DATA, quick=False, splits=1, tables=TABLES):
    """Run the tables, and say where a rival is ahead."""
    start, ahead = time.perf_counter(), []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ of [0-9]+ held-out tasks")
        for name in ("radon",) if quick else tables:
            if name == "parkinsons":
                names = ("parkinsons, motor", "parkinsons, total")
                own = read_parkinsons(data)
                ahead += compare_both_targets(names, *own, splits, quick)
            else:
                ahead += compare(name, *read_groups(data, name), splits, quick)
    print(f"{time.perf_counter() - start:.0f} s")
    assert quick or not ahead, f"ahead of {OURS}: {'; '.join(ahead)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--quick", action="store_true", help="radon, hardly trained")
    arguments = parser.parse_args()
    print_setting()
    check(arguments.data, arguments.quick, arguments.splits, arguments.tables)


if __name__ == "__main__":
    main()
