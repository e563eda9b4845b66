"""The methods that a cross-validation over tasks compares."""

from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from .._tasks import label_columns
from ._baseline_estimators import pooled_estimator, task_estimator
from ._baselines import PerTask, Pooled, PooledResidual
from ._inner_tasks import innermost, task_argument
from ._rows import own_rows, take, without_column
from ._shots import can_adapt, expected_warnings_off, score_shots

_BASELINES = {"per_task": PerTask, "pooled": Pooled, "pooled_residual": PooledResidual}


class Method(NamedTuple):
    """An estimator and what it is given.

    Parameters
    ----------
    name : str
        In the result.
    estimator : estimator
        Not fitted.
    X : array-like of shape (n_samples, n_features)
        The table.
    params : dict
        Arguments of ``fit``; what has one entry a row is split with the rows.
    """

    name: str
    estimator: object
    X: object
    params: dict


class Trial(NamedTuple):
    """What all methods are scored on.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        Labels.
    ids : ndarray of shape (n_samples,)
        The task of each row.
    episodes : dict of list of Episode by task
        Of the tasks that have rows enough.
    scorer : callable
        Of estimator, X and y.
    n_shots : list of int
        Numbers of rows to adapt to.
    """

    y: object
    ids: np.ndarray
    episodes: dict
    scorer: object
    n_shots: list


def given_methods(estimator, X, ids, column, params):
    """Name the estimators that a user gives, and hand tasks to those that ask.

    Parameters
    ----------
    estimator : estimator or dict of estimators by name
        What is given.
    X : array-like of shape (n_samples, n_features)
        The table.
    ids : ndarray of shape (n_samples,)
        The task of each row.
    column : str, int or None
        Of X, where the ids are from.
    params : dict
        Arguments of ``fit``.

    Returns
    -------
    methods : list of Method
        One an estimator.

    Raises
    ------
    ValueError
        If an estimator would read a column of ids as a feature.
    """
    if not isinstance(estimator, dict):
        estimator = {type(innermost(estimator)).__name__: estimator}
    methods = []
    for name, own in estimator.items():
        argument = task_argument(own)
        if argument is not None and column is not None:
            raise ValueError(
                f"task={column!r} is a column of X, and {name} would learn from it as "
                f"from any other, for its task_column is None. Set task_column="
                f"{column!r}, or take the column out of X and pass its values as task."
            )
        tasks = {} if argument is None else {argument: ids}
        methods.append(Method(name, own, X, params | tasks))
    return methods


def baseline_methods(names, estimator, given, y, ids, column, classifier, seed):
    """Make the baselines that are asked for.

    Parameters
    ----------
    names : "all" or sequence of str
        Which.
    estimator : estimator or None
        Of all baselines; None is a choice.
    given : list of Method
        The methods they stand beside.
    y : array-like of shape (n_samples,)
        Labels.
    ids : ndarray of shape (n_samples,)
        The task of each row.
    column : str, int or None
        Of X, where the ids are from.
    classifier : bool
        Whether labels are classes.
    seed : int
        Random state of the default estimators.

    Returns
    -------
    methods : list of Method
        Their tables are without the ids.

    Raises
    ------
    ValueError
        If a name is unknown or taken, or y has several columns.
    """
    names = list(_BASELINES) if isinstance(names, str) and names == "all" else names
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in _BASELINES]
    if unknown:
        raise ValueError(
            f"baselines has {unknown[0]!r}; there are {list(_BASELINES)}, or 'all'."
        )
    taken = [name for name in names if name in {method.name for method in given}]
    if taken:
        raise ValueError(
            f"An estimator is named {taken[0]!r}, as a baseline; rename it."
        )
    if not names:
        return []
    n_columns = len(label_columns(y)[1])
    if n_columns > 1:
        raise ValueError(
            f"Baselines are for one column of y, which has {n_columns}. Validate the "
            "columns one by one, or pass baselines=()."
        )
    X = _without_ids(given, column)
    if estimator is None:
        own = {name: pooled_estimator(X, classifier, seed) for name in names}
        own["per_task"] = task_estimator(X, classifier)
    else:
        own = dict.fromkeys(names, estimator)
    return [
        Method(name, _BASELINES[name](own[name]), X, {"task": ids}) for name in names
    ]


def score_fold(method, train, held_out, trial):
    """Fit a method to the tasks of a fold, and score it on those held out.

    Parameters
    ----------
    method : Method
        The method.
    train : ndarray of int
        Rows to fit.
    held_out : list
        Tasks.
    trial : Trial
        Labels, episodes and scorer.

    Returns
    -------
    scores : dict of ndarray of shape (n_episodes, n_shots) by task
        Of those that have rows enough.
    """
    X, y, ids, n_samples = method.X, trial.y, trial.ids, len(trial.ids)
    params = {k: own_rows(v, train, n_samples) for k, v in method.params.items()}
    fitted = clone(method.estimator).fit(take(X, train), take(y, train), **params)
    # Without adaptation all numbers of shots have the score of none.
    shots = trial.n_shots if can_adapt(fitted) else [0]
    scores = {}
    with expected_warnings_off():
        for name in held_out:
            found = [
                score_shots(trial.scorer, fitted, X, y, ids, episode, shots)
                for episode in trial.episodes.get(name, [])
            ]
            if found:
                size = (len(found), len(trial.n_shots))
                scores[name] = np.broadcast_to(np.array(found, dtype=float), size)
    return scores


def _without_ids(given, column):
    """Find the table without the ids, which baselines are not to learn from."""
    X = given[0].X
    if column is not None:
        return without_column(X, column)
    for method in given:
        model = innermost(method.estimator)
        column = getattr(model, "task_column", None)
        if column is None:
            continue
        # A position may be another one before the steps of a pipeline.
        if isinstance(column, str) or model is method.estimator:
            return without_column(X, column)
        raise ValueError(
            "Baselines are not to learn from the ids, and it is not known which column "
            f"of X becomes column {column} inside {method.name}. Pass the name or the "
            "position of the column as task."
        )
    return X
