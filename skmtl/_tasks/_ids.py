"""Ids of row tasks."""

import numpy as np
from sklearn.utils.validation import validate_data

from ._labels import missing_cells


def split_task_column(estimator, X, column, reset):
    """Take the task column out of a table.

    Parameters
    ----------
    estimator : estimator
        Feature names and counts are set on it, or compared.
    X : array-like of shape (n_samples, n_features)
        The table.
    column : str or int
        Name or position of the column.
    reset : bool
        Whether to set names and counts.

    Returns
    -------
    X : array or frame of shape (n_samples, n_features - 1)
        The other columns.
    ids : ndarray of shape (n_samples,)
        In their own dtype.

    Raises
    ------
    ValueError
        If the table has not two dimensions, or no such column.
    """
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    if len(X.shape) != 2:
        raise ValueError(
            f"Expected 2D array, got {len(X.shape)}D array instead. Reshape your data, "
            "or pass the ids as the argument task: task_column names a column of a "
            "table."
        )
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    if reset:
        estimator._input_shape = None
    position = _position(X, column)
    keep = np.delete(np.arange(X.shape[1]), position)
    if hasattr(X, "iloc"):
        return X.iloc[:, keep], task_ids(X, position)
    if hasattr(X, "columns"):
        names = list(X.columns)
        return X[[names[j] for j in keep]], task_ids(X, position)
    return X[:, keep], task_ids(X, position)


def task_ids(X, column):
    """Take the task ids out of a table.

    Parameters
    ----------
    X : array or frame of shape (n_samples, n_features)
        The table.
    column : str or int
        Name or position of the column.

    Returns
    -------
    ids : ndarray of shape (n_samples,)
        In their own dtype.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    position = _position(X, column)
    if hasattr(X, "iloc"):
        return X.iloc[:, position].to_numpy()
    if hasattr(X, "columns"):
        return X[list(X.columns)[position]].to_numpy()
    return np.asarray(X[:, position])


def _position(X, column):
    if isinstance(column, str):
        names = list(getattr(X, "columns", []))
        if column not in names:
            raise ValueError(
                f"task_column={column!r} is not a column of X"
                + (
                    f"; its columns are {names[:20]}."
                    if names
                    else ", which has no names."
                )
                + " Name a column, or pass its position. Behind a ColumnTransformer, "
                "let it keep frames and names: verbose_feature_names_out=False and "
                ".set_output(transform='pandas')."
            )
        return names.index(column)
    if not -X.shape[1] <= column < X.shape[1]:
        raise ValueError(
            f"task_column={column} is not a column of X, which has {X.shape[1]} "
            "columns."
        )
    return column


def check_ids(ids):
    """Refuse ids that are not one id a row.

    Parameters
    ----------
    ids : ndarray
        Task ids.

    Raises
    ------
    ValueError
        If there are several columns of ids, or rows without one.
    """
    if ids.ndim != 1:
        raise ValueError(f"task must have shape (n_samples,); got {ids.shape}.")
    missing = missing_cells(ids)
    if missing.any():
        raise ValueError(
            f"task is missing in {missing.sum()} rows, the first at position "
            f"{np.flatnonzero(missing)[0]}. Every row needs a task; drop those "
            "rows or give them a task of their own."
        )


def distinct_ids(ids):
    """Number the tasks that rows belong to.

    Parameters
    ----------
    ids : ndarray of shape (n_samples,)
        Task ids.

    Returns
    -------
    names : list, length n_tasks
        The sorted ids.
    codes : ndarray of shape (n_samples,), int
        The position of each row's id among them.

    Raises
    ------
    ValueError
        If the ids do not sort.
    """
    try:
        names, codes = np.unique(ids, return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(i).__name__ for i in ids.tolist()})
        raise ValueError(
            f"task mixes ids of the types {kinds}, which do not sort. Turn them into "
            "one type."
        ) from error
    return names.tolist(), codes
