"""Everything a user may bring, checked and brought into one form."""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.utils.validation import check_consistent_length

from ._encoder import TaskEncoder
from ._ids import distinct_ids
from ._kinds import task_kinds
from ._labels import (
    class_labels,
    frame_library,
    label_columns,
    number_labels,
)
from ._reader import TableReader
from ._rows import check_rows
from ._weights import weighted_labels


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
    input_shape: tuple[int, ...] | None = None
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
    reader = TableReader()
    table, ids = check_rows(
        estimator, X, task, reset=True, min_samples=2, reader=reader
    )
    names, columns, ndim = label_columns(y)
    check_consistent_length(table, columns[0])
    kinds = [kind] * len(names)
    if kind == "mixed":
        kinds = task_kinds(y, names, columns, estimator.task_types)
    labels, classes = encode_columns(names, columns, kinds)
    labels, weight = weighted_labels(labels, sample_weight, names)
    check_every_task_labelled(names, weight, ids)
    rows = np.flatnonzero(weight.any(axis=1))
    if len(rows) < 2:
        raise ValueError(
            f"Found {len(rows)} sample(s) with a label and a positive weight "
            f"(n_samples={len(rows)}) while a minimum of 2 is required."
        )
    labels, weight = labels[rows], weight[rows]
    if "class" in kinds:
        labels, classes = drop_unused_classes(labels, classes, weight)
        _warn_of_single_classes(names, classes)
    encoder = TaskEncoder(names, classes, ndim, frame_library(y))
    codes, task_names = None, names
    if ids is not None:
        task_names, codes = distinct_ids(ids[rows])
        _warn_of_measurements(estimator, task_names, len(rows))
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
        reader,
    )


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
    """Refuse columns without labels, and warn of row tasks without.

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
        If a column has no label.

    Warns
    -----
    UserWarning
        If all rows of a row task have no label. The task is then one that fit has not
        seen, as it is bound to happen in folds of a cross-validation.
    """
    empty = np.flatnonzero(~weight.any(axis=0))
    if len(empty):
        raise ValueError(
            f"Task {names[empty[0]]!r} has no labels in y. Every task needs at least "
            "one; drop the column, pass more rows, or, in a cross-validation, let "
            "cv=TaskKFold() deal the labels."
        )
    if ids is None:
        return
    labelled = weight.any(axis=1)
    if labelled.all():
        return
    without = sorted(set(ids.tolist()) - set(ids[labelled].tolist()), key=str)
    if without:
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        warnings.warn(
            f"Task {without[0]!r}{more} has no labels in y and is left out; its rows "
            "are predicted as those of a task that fit did not see.",
            UserWarning,
            stacklevel=6,
        )


def drop_unused_classes(y, classes, weight):
    """Forget classes whose rows all have weight zero, as if the rows were not there.

    Parameters
    ----------
    y : ndarray of shape (n_rows, n_columns)
        Numbers and class codes, NaN where missing.
    classes : list of (ndarray or None), length n_columns
        Classes of each column; None for numbers.
    weight : ndarray of shape (n_rows, n_columns)
        Of the cells.

    Returns
    -------
    y : ndarray of shape (n_rows, n_columns)
        In the codes of the classes that are left.
    classes : list of (ndarray or None), length n_columns
        Classes with weight.
    """
    y = np.where(weight > 0, y, np.nan)
    kept = []
    for j, known in enumerate(classes):
        if known is None:
            kept.append(None)
            continue
        labelled = ~np.isnan(y[:, j])
        used = np.unique(y[labelled, j]).astype(int)
        new = np.full(len(known), np.nan)
        new[used] = np.arange(len(used))
        y[labelled, j] = new[y[labelled, j].astype(int)]
        kept.append(known[used])
    return y, kept


def _warn_of_measurements(estimator, task_names, n_rows):
    """Warn of ids that look like a column of numbers named by mistake."""
    fractions = any(isinstance(n, float) and not n.is_integer() for n in task_names)
    if fractions and len(task_names) == n_rows:
        source = "task"
        if estimator.task_column is not None:
            source = f"task_column={estimator.task_column!r}"
        warnings.warn(
            f"{source} makes each of the {n_rows} rows a task of its own; name a "
            "column of ids.",
            UserWarning,
            stacklevel=6,
        )


def _warn_of_single_classes(names, classes):
    for name, known in zip(names, classes, strict=True):
        if known is not None and len(known) == 1:
            warnings.warn(
                f"Task {name!r} has a single class, {known.tolist()[0]!r}; it is "
                "predicted everywhere.",
                UserWarning,
                stacklevel=6,
            )
