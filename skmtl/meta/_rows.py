"""Rows to predict, and the tasks that they belong to."""

import warnings

import numpy as np

from .._tasks import check_rows, fill_task_column, lacks_task_column


def rows_of_tasks(estimator, X, task):
    """Check rows, and find the position of each row's task.

    Parameters
    ----------
    estimator : estimator
        Fitted or adapted.
    X : array-like of shape (n_samples, n_features)
        The table.
    task : array-like of shape (n_samples,) or None
        Ids, when they are no column of X.

    Returns
    -------
    table : ndarray of shape (n_samples, n_features)
        Without the task column.
    codes : ndarray of shape (n_samples,), int
        Positions among the known tasks, -1 for one that is not known; 0 without row
        tasks.

    Raises
    ------
    ValueError
        If ids are needed and not given, or given and not needed, or unknown with
        ``unknown_task="error"``.
    """
    single = estimator._adapted_to is not None
    if single and lacks_task_column(estimator, X):
        X = fill_task_column(estimator, X, estimator._adapted_to)
    name = type(estimator).__name__
    if not single and lacks_task_column(estimator, X):
        raise ValueError(
            f"X lacks the task column {estimator.task_column!r}, and this {name} is "
            f"{_how(estimator)} to {estimator.n_tasks_} tasks: each row needs its own."
        )
    table, ids = check_rows(estimator, X, task)
    if single:
        _warn_of_other_tasks(estimator, ids)
        return table, np.zeros(len(table), int)
    if estimator._known.data.task is None:
        if ids is not None:
            raise ValueError(
                f"This {name} was {_how(estimator)} without row tasks, but predict got "
                "task. Fit it with task or task_column, or leave task out."
            )
        return table, np.zeros(len(table), int)
    if ids is None:
        raise ValueError(
            f"This {name} was {_how(estimator)} with row tasks, and predict needs the "
            "task of each row. Pass task=..., or, so that every tool of scikit-learn "
            "works, put the ids into a column of X and name it by task_column."
        )
    return table, _codes(estimator, ids)


def _how(estimator):
    return "adapted" if estimator._is_adapted else "fitted"


def _codes(estimator, ids):
    names = estimator._known.data.task_names
    position = {name: code for code, name in enumerate(names)}
    codes = np.array([position.get(i, -1) for i in ids.tolist()])
    if (codes < 0).any():
        unknown = sorted({str(i) for i in ids[codes < 0].tolist()})
        found = f"{len(unknown)} task{'s' * (len(unknown) > 1)} that "
        found += f"{'adapt' if estimator._is_adapted else 'fit'} did not see: "
        found += ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        if estimator.unknown_task == "error":
            raise ValueError(
                f"X has {found}. Use unknown_task='pooled' to predict them by the "
                "meta-model, or adapt to them."
            )
        warnings.warn(
            f"X has {found}. They are predicted by the meta-model; adapt to them where "
            "some of their rows have labels.",
            UserWarning,
            stacklevel=6,
        )
    return codes


def _warn_of_other_tasks(estimator, ids):
    own = estimator._adapted_to
    if ids is None or own is ANONYMOUS:
        return
    others = sorted({str(i) for i in ids.tolist() if i != own})
    if others:
        warnings.warn(
            f"This {type(estimator).__name__} is adapted to task {own!r}, and X has "
            f"rows of others, such as {others[0]!r}. They are predicted as {own!r}; "
            "adapt the estimator it comes from to them.",
            UserWarning,
            stacklevel=6,
        )


class _Anonymous:
    """The id of a task that adapt was given without any."""

    def __repr__(self):
        return "new"

    def __reduce__(self):
        return "ANONYMOUS"


ANONYMOUS = _Anonymous()
