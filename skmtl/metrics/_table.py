"""Labels, predictions and probabilities: any form in, one task at a time out."""

from dataclasses import dataclass

import numpy as np

from .._tasks import check_sample_weight, label_columns, missing_cells


@dataclass(frozen=True, eq=False)
class Task:
    """One column of the labels and what was predicted for it.

    Parameters
    ----------
    name : object
        Name of the column.
    labels : ndarray of shape (n_samples,)
        In their own dtype; some may be missing.
    predicted : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Numbers or labels, or class probabilities.
    weight : ndarray of shape (n_samples,), float64
        Of each cell.
    classes : ndarray of shape (n_classes,), default=None
        What the columns of `predicted` stand for.
    """

    name: object
    labels: np.ndarray
    predicted: np.ndarray
    weight: np.ndarray
    classes: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class LabelTable:
    """A label table in columns, with a weight for each cell.

    Parameters
    ----------
    names : list, length n_tasks
        Names of the columns.
    columns : list of ndarray of shape (n_samples,)
        Labels.
    weight : ndarray of shape (n_samples, n_tasks), float64
        Of each cell.
    """

    names: list
    columns: list
    weight: np.ndarray

    @classmethod
    def read(cls, y, sample_weight=None):
        """Read labels and weights of any form.

        Parameters
        ----------
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Labels.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
                optional
            Weights.

        Returns
        -------
        table : LabelTable
            In one form.
        """
        names, columns, _ = label_columns(y)
        weight = check_sample_weight(
            sample_weight, len(columns[0]), len(columns), names, every_task=False
        )
        return cls(names, columns, weight)

    def tasks(self, predicted, classes=None):
        """Put labels and predictions side by side.

        Parameters
        ----------
        predicted : list of ndarray
            One array a task.
        classes : list of (ndarray or None), optional
            Classes of each task.

        Returns
        -------
        tasks : list of Task
            In the order of the columns.
        """
        classes = classes or [None] * len(self.names)
        columns = zip(
            self.names, self.columns, predicted, self.weight.T, classes, strict=True
        )
        return [Task(*parts) for parts in columns]

    def labelled(self):
        """Find the cells that count.

        Returns
        -------
        labelled : ndarray of shape (n_samples, n_tasks), bool
            True where there is a label and a positive weight.
        """
        missing = np.stack([missing_cells(column) for column in self.columns], axis=1)
        return ~missing & (self.weight > 0)

    def take(self, columns):
        """Keep some columns.

        Parameters
        ----------
        columns : list of int
            Their positions.

        Returns
        -------
        table : LabelTable
            With the columns in the order asked for.
        """
        return LabelTable(
            [self.names[j] for j in columns],
            [self.columns[j] for j in columns],
            self.weight[:, columns],
        )


def prediction_columns(predicted, table, order=None):
    """Split what ``predict`` gave into one array a task.

    Parameters
    ----------
    predicted : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Frames are read by name when the labels have names.
    table : LabelTable
        The labels.
    order : list, optional
        Names of the tasks in the order of `predicted`, when known.

    Returns
    -------
    columns : list of ndarray of shape (n_samples,)
        In the order of the labels.

    Raises
    ------
    ValueError
        If rows, columns or names do not fit the labels.
    """
    found, columns, _ = label_columns(predicted)
    _check_rows(len(columns[0]), table)
    _check_count(len(columns), table)
    if hasattr(predicted, "columns"):
        order = found
        if set(found) != set(table.names) and not _unnamed(table):
            raise ValueError(
                f"The predictions are of the tasks {found[:10]}, but the columns of y "
                f"are {table.names[:10]}. Give both the same names."
            )
    return _in_order(columns, table, order)


def probability_columns(proba, table, order=None):
    """Split what ``predict_proba`` gave into one array a task.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes), list of them, or dict by name
        Class probabilities.
    table : LabelTable
        The labels.
    order : list, optional
        Names of the tasks in the order of `proba`, when known.

    Returns
    -------
    columns : list of ndarray of shape (n_samples, n_classes), float64
        In the order of the labels.

    Raises
    ------
    ValueError
        If the form, the rows or the tasks do not fit the labels.
    """
    if isinstance(proba, dict):
        proba = _by_name(proba, table, "predict_proba")
    elif isinstance(proba, (list, tuple)) and np.ndim(proba[0]) == 2:
        _check_count(len(proba), table)
        proba = _in_order(proba, table, order)
    else:
        proba = [proba]
    columns = [np.asarray(p, dtype=np.float64) for p in proba]
    if len(columns) != len(table.names) or any(p.ndim != 2 for p in columns):
        raise ValueError(
            f"Class probabilities of {len(table.names)} task(s) must be "
            + (
                "one array of shape (n_samples, n_classes)"
                if len(table.names) == 1
                else "a list of arrays of shape (n_samples, n_classes), one a task"
            )
            + f", or a dict of such arrays by task name; got shape {columns[0].shape}. "
            "Pass what predict_proba of a scikit-learn forest would give."
        )
    for p in columns:
        _check_rows(len(p), table)
    return columns


def columns_of_both(predicted, table):
    """Split predictions of which some are numbers and some class probabilities.

    Parameters
    ----------
    predicted : array-like, list or dict by name
        In a dict, numbers have one dimension and probabilities two. An array is of
        numbers, or, beside a single task, of the probabilities of several classes.
    table : LabelTable
        The labels.

    Returns
    -------
    columns : list of ndarray
        In the order of the labels.
    """
    if isinstance(predicted, dict):
        columns = [np.asarray(p) for p in _by_name(predicted, table, "The prediction")]
        for p in columns:
            _check_rows(len(p), table)
        return columns
    listed = isinstance(predicted, (list, tuple)) and np.ndim(predicted[0]) == 2
    one_task = len(table.names) == 1 and np.ndim(predicted) == 2
    if listed or (one_task and np.shape(predicted)[1] > 1):
        return probability_columns(predicted, table)
    return prediction_columns(predicted, table)


def class_columns(classes, table, order=None):
    """Split ``classes_`` into one array a task.

    Parameters
    ----------
    classes : None, array-like of shape (n_classes,), list of them, or dict by name
        Class labels in the order of the probabilities.
    table : LabelTable
        The labels.
    order : list, optional
        Names of the tasks in the order of `classes`, when known.

    Returns
    -------
    columns : list of (ndarray of shape (n_classes,) or None)
        In the order of the labels.
        None where nothing is given.

    Raises
    ------
    ValueError
        If there are more or fewer than tasks.
    """
    if classes is None:
        return [None] * len(table.names)
    if isinstance(classes, dict):
        found = [classes.get(name) for name in table.names]
        return [None if c is None else np.asarray(c) for c in found]
    if len(classes) and np.ndim(classes[0]) == 0:
        classes = [classes]
    if len(classes) != len(table.names):
        raise ValueError(
            f"classes are given for {len(classes)} task(s), but y has "
            f"{len(table.names)} columns. Pass a list of arrays, one a column."
        )
    return [np.asarray(c) for c in _in_order(classes, table, order)]


def _by_name(items, table, what):
    absent = [name for name in table.names if name not in items]
    if absent:
        raise ValueError(
            f"{what} has no entry for task {absent[0]!r}; its entries are "
            f"{list(items)[:10]}. Name the columns of y as the entries."
        )
    return [items[name] for name in table.names]


def _in_order(items, table, order):
    """Bring what is in another order of names into that of the labels."""
    if order is None or _unnamed(table) or set(order) != set(table.names):
        return list(items)
    position = {name: j for j, name in enumerate(order)}
    return [items[position[name]] for name in table.names]


def _unnamed(table):
    return table.names == list(range(len(table.names)))


def _check_rows(n_rows, table):
    if n_rows != len(table.columns[0]):
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"{[n_rows, len(table.columns[0])]}"
        )


def _check_count(n_tasks, table):
    if n_tasks != len(table.names):
        raise ValueError(
            f"y has {len(table.names)} columns, but there are {n_tasks} tasks. Pass "
            "one column of y for each task that is predicted."
        )
