"""Label tables: any form in, one array of floats with NaN for the missing out."""

import numpy as np
from scipy import sparse

_MISSING_TYPES = {"NAType", "NaTType"}


def label_columns(y):
    """Split a label table into named columns.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        A frame, a series, an array or nested lists.

    Returns
    -------
    names : list
        Column names of a frame, the name of a series, else 0, 1, ...
    columns : list of ndarray of shape (n_samples,)
        Each in its own dtype.
    ndim : {1, 2}
        Of `y`.

    Raises
    ------
    ValueError
        If `y` is None, sparse, not of one or two dimensions, or without columns.
    """
    if sparse.issparse(y):
        raise ValueError("Sparse y is not supported; pass y.toarray().")
    if hasattr(y, "columns"):
        names = list(y.columns)
        columns = [as_array(y[name]) for name in names]
        ndim = 2
    else:
        array = as_array(y)
        ndim = array.ndim
        if ndim not in (1, 2):
            raise ValueError(
                f"y should be a 1d array or a 2d array, one column a task; got an "
                f"array of shape {array.shape} instead."
            )
        name = getattr(y, "name", None)
        names = (
            list(range(array.shape[1])) if ndim == 2 else [0 if name is None else name]
        )
        columns = list(array.T) if ndim == 2 else [array]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(
            f"y has several columns of the name {twice[0]!r}; every task needs a name "
            "of its own. Rename them."
        )
    if not columns:
        raise ValueError("y has 0 columns; every task is a column of y.")
    return names, columns, ndim


def frame_library(y):
    """Name the library of a frame.

    Parameters
    ----------
    y : array-like
        Labels.

    Returns
    -------
    library : str or None
        "pandas" or "polars"; None for what is no frame of them.
    """
    for cls in type(y).__mro__:
        library = cls.__module__.partition(".")[0]
        if cls.__name__ == "DataFrame" and library in ("pandas", "polars"):
            return library
    return None


def as_array(values):
    """Turn labels or ids into an array that keeps what is missing.

    Parameters
    ----------
    values : array-like
        A series, an array or nested lists.

    Returns
    -------
    array : ndarray
        Lists of strings become objects, so that a NaN among them stays a NaN.
    """
    array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if array.dtype.kind == "U" and not isinstance(values, np.ndarray):
        # ["a", None] stays an object array, but ["a", nan] has become "nan".
        array = np.asarray(values, dtype=object)
    return array


def missing_cells(column):
    """Find the cells of a column that hold no label.

    Parameters
    ----------
    column : ndarray of shape (n_samples,)
        Labels of one task.

    Returns
    -------
    missing : ndarray of shape (n_samples,), bool
        True for NaN, None, NaT and pandas' NA.
    """
    if column.dtype.kind == "f":
        return np.isnan(column)
    if column.dtype.kind in "mM":
        return np.isnat(column)
    if column.dtype.kind != "O":
        return np.zeros(len(column), dtype=bool)
    return np.fromiter((_is_missing(value) for value in column), bool, len(column))


def _is_missing(value):
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def number_labels(name, column):
    """Read the labels of a regression task.

    Parameters
    ----------
    name : object
        The task, for messages.
    column : ndarray of shape (n_samples,)
        Labels.

    Returns
    -------
    labels : ndarray of shape (n_samples,), float64
        NaN where a label is missing.

    Raises
    ------
    ValueError
        If a label is complex, infinite or not a number.
    """
    if column.dtype.kind == "c":
        raise ValueError(
            "Complex data not supported\n" + f"y of task {name!r} is complex."
        )
    if column.dtype.kind in "mM":
        raise ValueError(
            f"Task {name!r} holds dates or durations. Turn them into numbers first, "
            "such as days since a date of your choice."
        )
    missing = missing_cells(column)
    labels = np.full(len(column), np.nan)
    try:
        labels[~missing] = column[~missing].astype(np.float64)
    except (TypeError, ValueError) as error:
        found = next(v for v in column[~missing] if not _is_number(v))
        raise ValueError(
            f"Task {name!r} must hold numbers to be a regression task; found "
            f"{found!r}. Encode it as numbers, or fit a classifier on it."
        ) from error
    if np.isinf(labels).any():
        raise ValueError(
            f"Input y contains infinity in task {name!r}. Labels must be finite; use "
            "NaN for a label that is missing."
        )
    return labels


def _is_number(value):
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def class_labels(name, column, classes=None):
    """Read the labels of a classification task.

    Parameters
    ----------
    name : object
        The task, for messages.
    column : ndarray of shape (n_samples,)
        Labels of any type that sorts.
    classes : ndarray of shape (n_classes,), optional
        Known classes; a label outside them is an error. By default the distinct
        labels.

    Returns
    -------
    codes : ndarray of shape (n_samples,), float64
        Positions in `classes`, NaN where a label is missing.
    classes : ndarray of shape (n_classes,)
        In sorted order and in the dtype of the labels.

    Raises
    ------
    ValueError
        If the labels are continuous numbers, infinite, complex, do not sort, or are
        unknown.
    """
    if column.dtype.kind == "c":
        raise ValueError(
            "Complex data not supported\n" + f"y of task {name!r} is complex."
        )
    missing = missing_cells(column)
    labels = column[~missing]
    if labels.dtype.kind == "O":
        labels = _own_dtype(labels)
    _check_discrete(name, labels)
    codes = np.full(len(column), np.nan)
    try:
        found, position = np.unique(labels, return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(label).__name__ for label in labels})
        raise ValueError(
            f"Task {name!r} mixes labels of the types {kinds}, which do not sort. Turn "
            "them into one type."
        ) from error
    if classes is None:
        classes = found
    else:
        known = {label: code for code, label in enumerate(classes.tolist())}
        unknown = [label for label in found.tolist() if label not in known]
        if unknown:
            raise ValueError(
                f"Task {name!r} has labels that it did not have before: {unknown[:5]}. "
                f"Its classes are {classes.tolist()[:10]}."
            )
        position = np.array([known[label] for label in found.tolist()], int)[position]
    codes[~missing] = position
    return codes, classes


def _own_dtype(labels):
    kinds = {type(label) for label in labels}
    if len(kinds) == 1 and kinds <= {int, float, bool, np.int64, np.float64, np.bool_}:
        return np.array(labels.tolist())
    return labels


def _check_discrete(name, labels):
    if labels.dtype.kind != "f":
        return
    if np.isinf(labels).any():
        raise ValueError(
            f"Input y contains infinity in task {name!r}. Use NaN for a label that is "
            "missing."
        )
    if (labels != np.floor(labels)).any():
        found = labels[labels != np.floor(labels)][0]
        raise ValueError(
            f"Unknown label type: continuous. Task {name!r} holds {found!r}; a "
            "classification task needs class labels. Fit a regressor on it."
        )
