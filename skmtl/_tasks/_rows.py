"""A table of rows, checked and brought into one form."""

from contextlib import contextmanager

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from ._ids import check_ids, split_task_column
from ._labels import as_array
from ._reader import TableReader

_NUMBERS = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
# Images are large, and come in float32 or bytes: their dtype stays below float64.
_ANY_RANK = _NUMBERS | {"dtype": [np.float32, np.float64], "allow_nd": True}


def check_rows(estimator, X, task=None, *, reset=False, min_samples=1, reader=None):
    """Check a table and take the task ids out of it.

    Parameters
    ----------
    estimator : estimator
        Its ``task_column`` is read, and the traits of its encoding.
    X : array-like of shape (n_samples, n_features)
        The table.
    task : array-like of shape (n_samples,), optional
        Row-task ids.
    reset : bool, default=False
        Whether to remember names and number of features, or compare with them.
    min_samples : int, default=1
        Fewer rows are an error.
    reader : TableReader, optional
        Learns the columns when `reset`; by default the estimator's own reads them.

    Returns
    -------
    table : ndarray of shape (n_samples, n_features), float64
        Without the task column; categories are codes. X of more than two dimensions is
        flattened, and stays float32 if it is no float64.
    ids : ndarray of shape (n_samples,) or None
        Task ids; None when there are none.

    Raises
    ------
    ValueError
        If the table is malformed, ids are missing, or given twice.
    """
    _refuse_sparse(X)
    if hasattr(X, "detach"):  # a tensor of torch
        X = X.detach().cpu().numpy()
    column = estimator.task_column
    if reader is None:
        reader = getattr(estimator, "_reader", None) or TableReader()
    if column is None:
        table = _check_table(estimator, X, reader, reset, min_samples)
        ids = None if task is None else as_array(task)
    else:
        if task is not None:
            raise ValueError(
                f"The task is given twice: task_column={column!r} and the argument "
                "task. Keep one of them."
            )
        X, ids = split_task_column(estimator, X, column, reset)
        if reset:
            reader.fit(X)
        with _naming_the_cure(X):
            table = check_array(
                reader.read(X) if reader.reads(X) else X,
                ensure_min_samples=min_samples,
                estimator=estimator,
                input_name="X",
                **_NUMBERS,
            )
    _check_missing(estimator, table)
    if ids is not None:
        check_ids(ids)
        check_consistent_length(table, ids)
    return table, ids


def _refuse_sparse(X):
    # pandas has the accessor on frames whose columns are all sparse.
    if sparse.issparse(X) or hasattr(X, "sparse"):
        dense = "X.toarray()" if sparse.issparse(X) else "X.sparse.to_dense()"
        raise TypeError(
            "Sparse X is not supported: the networks read every cell of the table. "
            f"Pass {dense}, or reduce the columns by TruncatedSVD in a Pipeline, or "
            "let encoders give arrays, as OneHotEncoder(sparse_output=False) does."
        )


def _check_table(estimator, X, reader, reset, min_samples):
    if reset:
        reader.fit(X)
    numbers = _ANY_RANK if getattr(X, "ndim", 2) > 2 else _NUMBERS | {"allow_nd": True}
    checks = {"ensure_min_samples": min_samples, **numbers}
    if reader.reads(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        X = reader.read(X)
        table = check_array(X, estimator=estimator, input_name="X", **checks)
    else:
        with _naming_the_cure(X):
            table = validate_data(estimator, X, reset=reset, **checks)
    return _flat_rows(estimator, table, reset)


def _flat_rows(estimator, table, reset):
    """Flatten rows of any shape, and remember the shape or compare with it."""
    shape = table.shape[1:] if table.ndim > 2 else None
    name = type(estimator).__name__
    if shape is not None and not estimator._encoding_trait("keeps_shape"):
        raise ValueError(
            f"Found array with dim {table.ndim}, while dim <= 2 is required by {name}. "
            "Rows of more dimensions are read by architecture=TorchModule(...) with "
            "encoding=None; or flatten them: X.reshape(len(X), -1)."
        )
    if reset:
        estimator._input_shape = shape
    elif shape != estimator._input_shape:
        known = estimator._input_shape or (estimator.n_features_in_,)
        raise ValueError(
            f"X has rows of shape {table.shape[1:]}, but {name} is expecting rows of "
            f"shape {known}, as in fit."
        )
    if shape is None:
        return table
    if 0 in shape:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={table.shape}) while a minimum of 1 "
            f"is required by {name}."
        )
    return table.reshape(len(table), -1)


def _check_missing(estimator, table):
    if estimator._encoding_trait("allows_missing") or not np.isnan(table).any():
        return
    rows = np.flatnonzero(np.isnan(table).any(axis=1))
    raise ValueError(
        f"Input X contains NaN in {len(rows)} rows, the first at position {rows[0]}, "
        "and encoding=Raw(), the default of TorchModule, hands X to the module as it "
        "is. Pass encoding=Standard(), which fills in and adds an input that says so, "
        "or impute X before."
    )


@contextmanager
def _naming_the_cure(X):
    """Add the cure to scikit-learn's complaint about text in an array."""
    try:
        yield
    except ValueError as error:
        if "could not convert string" not in str(error) or hasattr(X, "columns"):
            raise
        raise ValueError(
            f"{error}. An array X is read as numbers. Bring a DataFrame, whose columns "
            "of strings are read as categories; behind a ColumnTransformer "
            ".set_output(transform='pandas') keeps it one."
        ) from error
