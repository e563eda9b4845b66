"""Peers tuned by a random search inside the training rows.

The search
----------
Twelve settings, the untuned one of ``_peers.py`` first, are compared by three folds of
the training rows and the RMSE relative to the spread of a target, averaged over
targets. The best of them is fitted to all training rows. A search that would not end
within five minutes of CPU time, its last fit included, stops and keeps the best of the
settings that were tried on all folds; the results say how many these were. The time
that a fit has left is judged by the longest so far, so a search may end a little late.
A model whose first setting is not through in time has no result.

The spaces are what one writes down before having seen the tables: around the defaults,
by powers where a power is the scale.
"""

import time
from dataclasses import dataclass

import numpy as np
from _peers import catboost, coded, fit_predict, forest, n_threads, xgboost
from scipy.stats import loguniform, randint, uniform
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold, ParameterSampler

N_CANDIDATES = 12
N_FOLDS = 3
SECONDS = 300.0
# A refit has half as many rows again as the fit of a fold.
REFIT = N_FOLDS / (N_FOLDS - 1)

CATBOOST = {
    "iterations": [250, 500, 1000],
    "learning_rate": loguniform(0.02, 0.3),
    "depth": randint(3, 9),
    "l2_leaf_reg": loguniform(0.5, 20),
    "random_strength": loguniform(0.1, 10),
    "bagging_temperature": uniform(0, 1),
}
XGBOOST = {
    "n_estimators": [100, 200, 400, 800],
    "learning_rate": loguniform(0.01, 0.3),
    "max_depth": randint(2, 9),
    "min_child_weight": loguniform(0.5, 20),
    "subsample": uniform(0.5, 0.5),
    "colsample_bytree": uniform(0.3, 0.7),
    "reg_lambda": loguniform(0.1, 30),
    # A tree a target, or one for all of them.
    "joint": [False, True],
}
EXTRA_TREES = {
    "max_features": ["sqrt", 0.3, 0.5, 0.7, 1.0],
    "min_samples_leaf": [1, 2, 3, 5, 10],
    "max_depth": [None, 6, 10, 15],
    "bootstrap": [False, True],
    # A forest for all targets, or one each.
    "joint": [True, False],
}


def fit_xgboost(table, train, joint=False, **settings):
    if joint:
        settings |= {"multi_strategy": "multi_output_tree", "tree_method": "hist"}
    make = xgboost("XGBRegressor", **settings)
    return fit_predict(lambda table: make(), coded, joint)(table, train)


def fit_extra_trees(table, train, joint=True, **settings):
    make = forest(ExtraTreesRegressor, **settings)
    return fit_predict(lambda table: make(), joint=joint)(table, train)


@dataclass(frozen=True)
class Tuned:
    """The prediction of the best setting, and what the search saw."""

    predict: object
    settings: dict
    n_candidates: int

    def __call__(self, X):
        return self.predict(X)


def search(fit, table, train, candidates, limit=SECONDS):
    """Fit the best candidate, of as many as there is time for.

    Parameters
    ----------
    fit : callable
        ``fit(table, train, **settings)``, which returns a function from inputs to one
        prediction a target.
    table : SuiteTable
        Of numbers, all labels there.
    train : ndarray of shape (n_train,)
        Positions of the rows that may be looked at.
    candidates : list of dict
        Settings.
    limit : float, default=300.0
        Seconds of CPU time over the number of threads.

    Returns
    -------
    tuned : Tuned

    Raises
    ------
    TimeoutError
        If the time is over before the first candidate was tried on all folds.
    """
    folds = list(KFold(N_FOLDS, shuffle=True, random_state=0).split(train))
    scale = table.y[train].std(axis=0)
    start = last = time.process_time()
    longest, errors = 0.0, []

    def enough():
        left = limit * n_threads() - (last - start)
        return left < longest * REFIT

    for settings in candidates:
        fold_errors = []
        for kept, held_out in folds:
            if enough():
                break
            predict = fit(table, train[kept], **settings)
            rows = train[held_out]
            wrong = table.y[rows] - np.column_stack(predict(table.X.iloc[rows]))
            fold_errors.append(np.mean(np.sqrt(np.mean(wrong**2, axis=0)) / scale))
            now = time.process_time()
            longest, last = max(longest, now - last), now
        if len(fold_errors) < N_FOLDS:
            break
        errors.append(np.mean(fold_errors))
    if not errors:
        raise TimeoutError(f"no setting was tried within {limit:g} s")
    best = candidates[int(np.argmin(errors))]
    return Tuned(fit(table, train, **best), best, len(errors))


def tuned(fit, space):
    """Make a peer of a fit and the distributions of its settings."""

    def peer(table, train):
        drawn = ParameterSampler(space, N_CANDIDATES - 1, random_state=0)
        return search(fit, table, train, [{}, *drawn])

    return peer


TUNED = {
    "catboost_tuned": tuned(catboost, CATBOOST),
    "xgboost_tuned": tuned(fit_xgboost, XGBOOST),
    "extra_trees_tuned": tuned(fit_extra_trees, EXTRA_TREES),
}
