"""Everything a user may bring, checked and brought into one form."""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from ._encoder import TaskEncoder
from ._kinds import task_kinds
from ._labels import (
    as_array,
    class_labels,
    frame_library,
    label_columns,
    missing_cells,
    number_labels,
)
from ._weights import check_sample_weight

_NUMBERS = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
# Images are large, and come in float32 or bytes: their dtype stays below float64.
_ANY_RANK = _NUMBERS | {"dtype": [np.float32, np.float64], "allow_nd": True}


@dataclass(frozen=True, eq=False)
class TaskData:
    """Checked training data: rows with weight and at least one label.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features), float64
        Without the task column; NaN where a value is missing. Rows of more than one
        dimension are flattened and may be float32.
    y : ndarray of shape (n_rows, n_columns), float64
        Numbers or class codes; NaN where a label is missing.
    weight : ndarray of shape (n_rows, n_columns), float64
        Weight of each cell; 0 where a label is missing.
    task : ndarray of shape (n_rows,), int, or None
        Position in `task_names` of each row's task; None for column tasks.
    task_names : list, length n_tasks
        Names of the columns, or the sorted ids of the row tasks.
    column_names : list, length n_columns
        Names of the label columns.
    encoder : TaskEncoder
        Scales and classes.
    rows : ndarray of shape (n_rows,), int
        Where the rows stood in the X given.
    n_samples : int
        Number of rows given.
    input_shape : tuple of int, default=None
        Shape of a row of X before it was flattened; None for the rows of a table.
    """

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    task: np.ndarray | None
    task_names: list
    column_names: list
    encoder: TaskEncoder
    rows: np.ndarray
    n_samples: int
    input_shape: tuple[int, ...] | None = None

    @property
    def row_tasks(self):
        """Whether each row belongs to one task, bool."""
        return self.task is not None

    def take(self, index):
        """Keep some rows.

        Parameters
        ----------
        index : ndarray of int
            Their positions.

        Returns
        -------
        data : TaskData
            With the same tasks.
        """
        return replace(
            self,
            X=self.X[index],
            y=self.y[index],
            weight=self.weight[index],
            task=None if self.task is None else self.task[index],
            rows=self.rows[index],
        )

    @property
    def kinds(self):
        """What the labels of each column are, list of {"number", "class"}."""
        return ["number" if c is None else "class" for c in self.encoder.classes]

    def class_weighted(self, factors):
        """Weigh cells by their classes, too.

        Parameters
        ----------
        factors : sequence of (ndarray of shape (n_classes,) or None)
            By column.

        Returns
        -------
        weight : ndarray of shape (n_rows, n_columns)
            0 where a label is missing.
        """
        weight = self.weight.copy()
        for j, factor in enumerate(factors):
            if factor is not None:
                labelled = ~np.isnan(self.y[:, j])
                weight[labelled, j] *= factor[self.y[labelled, j].astype(int)]
        return weight

    def task_sizes(self, rows=slice(None), weight=None):
        """Sum the weights of the labelled cells of each task.

        Parameters
        ----------
        rows : slice or ndarray of int, default=all
            Which rows to count.
        weight : ndarray of shape (n_rows, n_columns), default=None
            Weights to use instead of those of the data.

        Returns
        -------
        sizes : ndarray of shape (n_tasks,)
            In the order of `task_names`.
        """
        weight = (self.weight if weight is None else weight)[rows]
        if self.task is None:
            return weight.sum(axis=0)
        return np.bincount(
            self.task[rows], weight.sum(axis=1), minlength=len(self.task_names)
        )


def check_task_data(estimator, X, y, task=None, sample_weight=None, *, kind):
    """Check everything given to ``fit``.

    Parameters
    ----------
    estimator : estimator
        Its ``task_column`` is read; feature names and counts are set on it.
    X : array-like of shape (n_samples, n_features)
        The table.
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        Labels.
    task : array-like of shape (n_samples,), optional
        Row-task ids.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_columns), optional
        Weights.
    kind : {"number", "class", "mixed"}
        What the labels are; of both kinds by the estimator's ``task_types``.

    Returns
    -------
    data : TaskData
        The data in one form.

    Raises
    ------
    ValueError
        For everything that is wrong with the data, naming task or column.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is "
            "None"
        )
    table, ids = check_rows(estimator, X, task, reset=True, min_samples=2)
    names, columns, ndim = label_columns(y)
    check_consistent_length(table, columns[0])
    kinds = [kind] * len(names)
    if kind == "mixed":
        kinds = task_kinds(y, names, columns, estimator.task_types)
    labels, classes = encode_columns(names, columns, kinds)
    weight = check_sample_weight(sample_weight, len(table), len(names), names)
    weight = np.where(np.isnan(labels), 0.0, weight)
    check_every_task_labelled(names, weight, ids)
    rows = np.flatnonzero(weight.any(axis=1))
    if len(rows) < 2:
        raise ValueError(
            f"Found {len(rows)} sample(s) with a label and a positive weight "
            f"(n_samples={len(rows)}) while a minimum of 2 is required."
        )
    labels, weight = labels[rows], weight[rows]
    if "class" in kinds:
        labels, classes = _drop_unused_classes(names, labels, classes, weight)
    encoder = TaskEncoder(names, classes, ndim, frame_library(y))
    codes, task_names = None, names
    if ids is not None:
        task_names, codes = distinct_ids(ids[rows])
    return TaskData(
        table[rows],
        labels,
        weight,
        codes,
        task_names,
        names,
        encoder,
        rows,
        len(table),
        estimator._input_shape,
    )


def check_rows(estimator, X, task=None, *, reset=False, min_samples=1):
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

    Returns
    -------
    table : ndarray of shape (n_samples, n_features), float64
        Without the task column. X of more than two dimensions is flattened, and stays
        float32 if it is no float64.
    ids : ndarray of shape (n_samples,) or None
        Task ids; None when there are none.

    Raises
    ------
    ValueError
        If the table is malformed, ids are missing, or given twice.
    """
    _refuse_sparse(X)
    column = estimator.task_column
    if column is None:
        table = _check_table(estimator, X, reset, min_samples)
        ids = None if task is None else as_array(task)
    else:
        if task is not None:
            raise ValueError(
                f"The task is given twice: task_column={column!r} and the argument "
                "task. Keep one of them."
            )
        X, ids = _split_task_column(estimator, X, column, reset)
        with _naming_text_columns(X):
            table = check_array(
                X,
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


def _check_table(estimator, X, reset, min_samples):
    numbers = _ANY_RANK if getattr(X, "ndim", 2) > 2 else _NUMBERS | {"allow_nd": True}
    with _naming_text_columns(X):
        table = validate_data(
            estimator, X, reset=reset, ensure_min_samples=min_samples, **numbers
        )
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
def _naming_text_columns(X):
    """Add the column and the cure to scikit-learn's complaint about text."""
    try:
        yield
    except ValueError as error:
        if "could not convert string" not in str(error) or not hasattr(X, "columns"):
            raise
        text = [name for name in X.columns if not _holds_numbers(X[name])]
        raise ValueError(
            f"{error}. Column {text[0]!r} of X holds text; encode it first, for "
            "example by OneHotEncoder(sparse_output=False) in a ColumnTransformer."
        ) from error


def _holds_numbers(column):
    try:
        column.to_numpy().astype(np.float64)
    except (TypeError, ValueError):
        return False
    return True


def _split_task_column(estimator, X, column, reset):
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


def encode_columns(names, columns, kinds):
    """Read the label columns, each by its kind.

    Parameters
    ----------
    names : list, length n_columns
        Of the columns, for messages.
    columns : list of ndarray of shape (n_samples,)
        Labels.
    kinds : list of {"number", "class"}, length n_columns
        What the labels are.

    Returns
    -------
    labels : ndarray of shape (n_samples, n_columns), float64
        Numbers and class codes, NaN where missing.
    classes : list of (ndarray or None), length n_columns
        Classes of each column; None for numbers.
    """
    labels, classes = [], []
    for name, column, kind in zip(names, columns, kinds, strict=True):
        if kind == "number":
            labels.append(number_labels(name, column))
            classes.append(None)
        else:
            codes, known = class_labels(name, column)
            labels.append(codes)
            classes.append(known)
    return np.stack(labels, axis=1), classes


def check_every_task_labelled(names, weight, ids):
    """Refuse tasks without labels.

    Parameters
    ----------
    names : list, length n_columns
        Label columns.
    weight : ndarray of shape (n_rows, n_columns)
        0 where a label is missing.
    ids : ndarray of shape (n_rows,) or None
        Row tasks.

    Raises
    ------
    ValueError
        If a column, or all rows of a row task, have no label.
    """
    empty = np.flatnonzero(~weight.any(axis=0))
    if len(empty):
        raise ValueError(
            f"Task {names[empty[0]]!r} has no labels in y. Every task needs at least "
            "one; drop the column or pass more rows."
        )
    if ids is None:
        return
    labelled = weight.any(axis=1)
    if labelled.all():
        return
    without = sorted(set(ids.tolist()) - set(ids[labelled].tolist()), key=str)
    if without:
        raise ValueError(
            f"Task {without[0]!r} has no labels in y. Every task needs at least one; "
            "drop its rows or pass more."
        )


def _drop_unused_classes(names, y, classes, weight):
    """Forget classes whose rows all have weight zero, as if the rows were not there."""
    is_class = np.array([known is not None for known in classes])
    y = np.where((weight > 0) | ~is_class, y, np.nan)
    kept = []
    for j, known in enumerate(classes):
        if known is None:
            kept.append(None)
            continue
        used = np.unique(y[~np.isnan(y[:, j]), j]).astype(int)
        new = np.full(len(known), np.nan)
        new[used] = np.arange(len(used))
        labelled = ~np.isnan(y[:, j])
        y[labelled, j] = new[y[labelled, j].astype(int)]
        kept.append(known[used])
        if len(used) == 1:
            warnings.warn(
                f"Task {names[j]!r} has a single class, {known[used].tolist()[0]!r}; "
                "it is predicted everywhere.",
                UserWarning,
                stacklevel=5,
            )
    return y, kept
