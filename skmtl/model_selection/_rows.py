"""Rows and columns of any table."""

import numpy as np


def take(values, rows):
    """Select rows of an array, a frame or a list.

    Parameters
    ----------
    values : array-like of shape (n_samples, ...)
        The table.
    rows : ndarray of int
        Which rows.

    Returns
    -------
    values : array-like
        In the form given.
    """
    if hasattr(values, "iloc"):
        return values.iloc[rows]
    if hasattr(values, "shape"):
        return values[rows]
    return [values[i] for i in rows]


def own_rows(value, rows, n_samples):
    """Select rows of what has one entry a row; leave what has not.

    Parameters
    ----------
    value : object
        An argument of ``fit`` or ``predict``.
    rows : ndarray of int
        Which rows.
    n_samples : int
        Number of rows of the whole table.

    Returns
    -------
    value : object
        In the form given.
    """
    if isinstance(value, (str, bytes, dict)) or value is None:
        return value
    shape = getattr(value, "shape", None)
    if shape is None:
        shape = (len(value),) if hasattr(value, "__len__") else ()
    return take(value, rows) if len(shape) and shape[0] == n_samples else value


def without_column(X, column):
    """Leave a column out of a table.

    Parameters
    ----------
    X : array or frame of shape (n_samples, n_features)
        The table.
    column : str or int
        Name or position of a column that is there.

    Returns
    -------
    X : array or frame of shape (n_samples, n_features - 1)
        In the form given.
    """
    if hasattr(X, "columns"):
        names = list(X.columns)
        gone = names.index(column) if isinstance(column, str) else column % len(names)
        return X[[name for j, name in enumerate(names) if j != gone]]
    X = X if hasattr(X, "shape") else np.asarray(X)
    return np.delete(X, column, axis=1)
