"""Everything a user may bring, checked and brought into one form."""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from ._encoder import TaskEncoder
from ._labels import as_array, class_labels, label_columns, missing_cells, number_labels
from ._reader import TableReader
from ._weights import check_sample_weight

_NUMBERS = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}


@dataclass(frozen=True, eq=False)
class TaskData:
    """Checked training data: rows with weight and at least one label.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features), float64
        Without the task column; NaN where a value is missing.
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
    reader : TableReader, optional
        Knows which columns of X are codes of categories; by default none is.
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
    reader: TableReader = field(default_factory=TableReader)

    @property
    def categories(self):
        """Categories of each column of X, list of (int or None); empty for none."""
        return self.reader.n_categories

    @property
    def category_columns(self):
        """Columns of X that hold codes, list of int."""
        return [j for j, n in enumerate(self.categories) if n is not None]

    @property
    def row_tasks(self):
        """Whether each row belongs to one task, bool."""
        return self.task is not None

    def task_sizes(self, rows=slice(None)):
        """Sum the weights of the labelled cells of each task.

        Parameters
        ----------
        rows : slice or ndarray of int, default=all
            Which rows to count.

        Returns
        -------
        sizes : ndarray of shape (n_tasks,)
            In the order of `task_names`.
        """
        weight = self.weight[rows]
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
    kind : {"number", "class"}
        What the labels are.

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
    reader = TableReader()
    table, ids = check_rows(
        estimator, X, task, reset=True, min_samples=2, reader=reader
    )
    names, columns, ndim = label_columns(y)
    check_consistent_length(table, columns[0])
    y, classes = _encode_columns(names, columns, kind)
    weight = check_sample_weight(sample_weight, len(table), len(names), names)
    weight = np.where(np.isnan(y), 0.0, weight)
    _check_every_task_labelled(names, weight, ids)
    rows = np.flatnonzero(weight.any(axis=1))
    if len(rows) < 2:
        raise ValueError(
            f"Found {len(rows)} sample(s) with a label and a positive weight "
            f"(n_samples={len(rows)}) while a minimum of 2 is required."
        )
    y, weight = y[rows], weight[rows]
    if kind == "class":
        y, classes = _drop_unused_classes(names, y, classes, weight)
    encoder = TaskEncoder(classes, ndim)
    codes, task_names = None, names
    if ids is not None:
        task_names, codes = _distinct_ids(ids[rows])
    return TaskData(
        table[rows],
        y,
        weight,
        codes,
        task_names,
        names,
        encoder,
        rows,
        len(table),
        reader,
    )


def check_rows(estimator, X, task=None, *, reset=False, min_samples=1, reader=None):
    """Check a table and take the task ids out of it.

    Parameters
    ----------
    estimator : estimator
        Its ``task_column`` is read.
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
        Without the task column; categories are codes.
    ids : ndarray of shape (n_samples,) or None
        Task ids; None when there are none.

    Raises
    ------
    ValueError
        If the table is malformed, ids are missing, or given twice.
    """
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
        X, ids = _split_task_column(estimator, X, column, reset)
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
    if ids is not None:
        if ids.ndim != 1:
            raise ValueError(f"task must have shape (n_samples,); got {ids.shape}.")
        check_consistent_length(table, ids)
        missing = missing_cells(ids)
        if missing.any():
            raise ValueError(
                f"task is missing in {missing.sum()} rows, the first at position "
                f"{np.flatnonzero(missing)[0]}. Every row needs a task; drop those "
                "rows or give them a task of their own."
            )
    return table, ids


def _check_table(estimator, X, reader, reset, min_samples):
    if reset:
        reader.fit(X)
    checks = {"ensure_min_samples": min_samples, **_NUMBERS}
    if reader.reads(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        X = reader.read(X)
        return check_array(X, estimator=estimator, input_name="X", **checks)
    with _naming_the_cure(X):
        return validate_data(estimator, X, reset=reset, **checks)


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
            "of strings are read as categories."
        ) from error


def _split_task_column(estimator, X, column, reset):
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    if len(X.shape) != 2:
        raise ValueError(
            f"Expected 2D array, got {len(X.shape)}D array instead. Reshape your data."
        )
    validate_data(estimator, X, reset=reset, skip_check_array=True)
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
        position = names.index(column)
    else:
        position = column
        if not -X.shape[1] <= position < X.shape[1]:
            raise ValueError(
                f"task_column={column} is not a column of X, which has {X.shape[1]} "
                "columns."
            )
    keep = np.delete(np.arange(X.shape[1]), position)
    if hasattr(X, "iloc"):
        return X.iloc[:, keep], X.iloc[:, position].to_numpy()
    if hasattr(X, "columns"):
        names = list(X.columns)
        return X[[names[j] for j in keep]], X[names[position]].to_numpy()
    return X[:, keep], np.asarray(X[:, position])


def _distinct_ids(ids):
    try:
        names, codes = np.unique(ids, return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(i).__name__ for i in ids.tolist()})
        raise ValueError(
            f"task mixes ids of the types {kinds}, which do not sort. Turn them into "
            "one type."
        ) from error
    return names.tolist(), codes


def _encode_columns(names, columns, kind):
    if kind == "number":
        labels = [number_labels(n, c) for n, c in zip(names, columns, strict=True)]
        return np.stack(labels, axis=1), [None] * len(names)
    coded = [class_labels(n, c) for n, c in zip(names, columns, strict=True)]
    return np.stack([codes for codes, _ in coded], axis=1), [c for _, c in coded]


def _check_every_task_labelled(names, weight, ids):
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
    y = np.where(weight > 0, y, np.nan)
    kept = []
    for j, known in enumerate(classes):
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
