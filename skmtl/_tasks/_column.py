"""Put one task into the task column of a table."""

import numpy as np
from scipy import sparse

_NUMBERS = "biuf"


def lacks_task_column(estimator, X):
    """Tell whether X is a table that misses nothing but its task column.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : array-like of shape (n_samples, n_features)
        The table.

    Returns
    -------
    lacks : bool
        False when there is no task column to miss.
    """
    column = estimator.task_column
    if column is None:
        return False
    if isinstance(column, str):
        return hasattr(X, "columns") and column not in list(X.columns)
    shape = np.shape(X)
    return len(shape) == 2 and shape[1] == estimator.n_features_in_ - 1


def fill_task_column(estimator, X, task):
    """Say of all rows that they belong to one task.

    Parameters
    ----------
    estimator : estimator
        Fitted with ``task_column``.
    X : array-like of shape (n_samples, n_features)
        The table, with any ids in its task column, or without that column.
    task : object
        The id.

    Returns
    -------
    X : array or frame of shape (n_samples, n_features)
        A copy with the task column in its place. A table that fits in neither way
        comes back as it is, for the checks to complain about.
    """
    if hasattr(X, "columns"):
        return _fill_frame(estimator, X, task)
    X = X if hasattr(X, "shape") else np.asarray(X)
    if isinstance(estimator.task_column, str) or sparse.issparse(X) or X.ndim != 2:
        return X
    n_features = estimator.n_features_in_
    position = estimator.task_column % n_features
    ids = np.asarray([task])
    mixed = not {X.dtype.kind, ids.dtype.kind} <= set(_NUMBERS)
    dtype = object if mixed else np.result_type(X, ids)
    if X.shape[1] == n_features - 1:
        return np.insert(X.astype(dtype), position, task, axis=1)
    if X.shape[1] == n_features:
        X = X.astype(dtype)
        X[:, position] = task
    return X


def _fill_frame(estimator, X, task):
    names, column = list(X.columns), estimator.task_column
    n_features = estimator.n_features_in_
    known = getattr(estimator, "feature_names_in_", np.array([])).tolist()
    position = known.index(column) if isinstance(column, str) else column % n_features
    if known:
        name = known[position]
    else:
        name = names[position] if len(names) == n_features else _unused(names)
    if name not in names:
        names.insert(position, name)
    if hasattr(X, "with_columns"):  # polars
        X = X.with_columns(**{name: np.full(len(X), task)})
    else:
        X = X.copy(deep=False)
        X[name] = task
    return X[names]


def _unused(names):
    """Make up a column name, a string only among strings."""
    number = next(i for i in range(len(names) + 1) if i not in names)
    return "task" if names and all(isinstance(n, str) for n in names) else number


def without_task_column(estimator, names):
    """Leave the task column out of what stands for the columns of X.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    names : sequence of length n_features
        One item a column of X.

    Returns
    -------
    names : ndarray
        Shorter by one when there is a task column.
    """
    names, column = np.asarray(names, dtype=object), estimator.task_column
    if column is None:
        return names
    if isinstance(column, str):
        column = estimator.feature_names_in_.tolist().index(column)
    return np.delete(names, column)
