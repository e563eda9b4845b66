"""Scores of single tasks on their labelled cells."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .._tasks import class_labels, missing_cells, number_labels


@dataclass(frozen=True, eq=False)
class Cells:
    """The labelled cells of one task, in the form that a metric reads.

    Parameters
    ----------
    name : object
        The task.
    rows : ndarray of shape (n_cells,), int
        Where the cells stood in the table.
    labels : ndarray of shape (n_cells,)
        Numbers, or codes of classes.
    predicted : ndarray of shape (n_cells,) or (n_cells, n_classes)
        Numbers, codes, or probabilities in the order of the codes.
    weight : ndarray of shape (n_cells,)
        Positive.
    unseen : tuple, default=()
        Classes among the labels for which there is no probability.
    """

    name: object
    rows: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    weight: np.ndarray
    unseen: tuple = ()

    def take(self, cells):
        """Keep some cells.

        Parameters
        ----------
        cells : ndarray
            Positions or a mask.

        Returns
        -------
        cells : Cells
            Of the same task.
        """
        return replace(
            self,
            rows=self.rows[cells],
            labels=self.labels[cells],
            predicted=self.predicted[cells],
            weight=self.weight[cells],
        )


@dataclass(frozen=True)
class Metric:
    """A score of one task, and what it asks of the data.

    Parameters
    ----------
    function : callable
        Called with labels, predictions and ``sample_weight``, all complete; returns a
        number.
    reads : {"numbers", "labels", "probabilities", "own"}
        The form of labels and predictions; "own" hands over labels as the user has
        them.
    min_labels, min_classes : int, default=1
        With fewer labelled cells, or fewer classes among them, the score is undefined.
    """

    function: Callable
    reads: str
    min_labels: int = 1
    min_classes: int = 1

    @property
    def kind(self):
        """Tasks it is for, {"number", "class", None}; None is for all."""
        kinds = {"numbers": "number", "labels": "class", "probabilities": "class"}
        return kinds.get(self.reads)

    @property
    def lack(self):
        """What makes it undefined, in words."""
        if self.min_classes > 1:
            return f"labels of fewer than {self.min_classes} classes"
        few = f"fewer than {self.min_labels} labels"
        return few if self.min_labels > 1 else "no labels"

    def read(self, task):
        """Find the labelled cells of a task.

        Parameters
        ----------
        task : Task
            Labels and predictions.

        Returns
        -------
        cells : Cells
            Those with a label and a positive weight.

        Raises
        ------
        ValueError
            If labels or predictions are malformed; the message names the task.
        """
        return _READERS[self.reads](task)

    def score(self, cells, **kwargs):
        """Score a task.

        Parameters
        ----------
        cells : Cells
            Labelled cells.
        **kwargs : dict
            Arguments of the function.

        Returns
        -------
        score : float
            NaN where undefined.
        """
        too_few = len(cells.labels) < self.min_labels
        if too_few or (
            self.min_classes > 1 and len(np.unique(cells.labels)) < self.min_classes
        ):
            return np.nan
        # No weights rather than ones: sums then round as without weights.
        weight = None if (cells.weight == 1).all() else cells.weight
        labels, predicted = cells.labels, cells.predicted
        return float(self.function(labels, predicted, sample_weight=weight, **kwargs))


@dataclass(frozen=True)
class MetricOfBoth:
    """A score for numbers and one for classes that mean the same.

    Parameters
    ----------
    numbers, probabilities : Metric
        The one for each kind of task.
    """

    numbers: Metric
    probabilities: Metric
    reads: str = "both"
    kind: None = None
    lack: str = "too few labels, or labels of one class"

    def read(self, task):
        """Find the labelled cells of a task; see ``Metric.read``."""
        return self._of(task.predicted).read(task)

    def score(self, cells, **kwargs):
        """Score a task; see ``Metric.score``."""
        return self._of(cells.predicted).score(cells, **kwargs)

    def _of(self, predicted):
        return self.probabilities if predicted.ndim == 2 else self.numbers


def computed_by(metric):
    """Tie a public function to the metric of one task that it computes.

    Parameters
    ----------
    metric : Metric or MetricOfBoth
        The metric.

    Returns
    -------
    decorator : callable
        Sets the attribute ``metric`` of the function.
    """

    def decorator(function):
        function.metric = metric
        return function

    return decorator


# -- readers ---------------------------------------------------------------------


def _read_numbers(task):
    labels = number_labels(task.name, task.labels)
    cells = _labelled(task, labels, ~np.isnan(labels))
    try:
        predicted = cells.predicted.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The predictions of task {task.name!r} must be numbers; found "
            f"{cells.predicted[0]!r}. Use a metric for classes."
        ) from error
    _check_complete(task, ~np.isfinite(predicted))
    return replace(cells, predicted=predicted)


def _read_labels(task):
    codes, classes = class_labels(task.name, task.labels)
    cells = _labelled(task, codes, ~np.isnan(codes))
    _check_complete(task, missing_cells(cells.predicted))
    known = _code_by_label(classes)
    # A prediction that is no label gets a code of its own, and is wrong everywhere.
    predicted = [
        known.setdefault(label, len(known)) for label in cells.predicted.tolist()
    ]
    return replace(
        cells, labels=cells.labels.astype(int), predicted=np.array(predicted, int)
    )


def _read_probabilities(task):
    codes, found = class_labels(task.name, task.labels)
    n_columns = task.predicted.shape[1]
    classes = found if task.classes is None else task.classes
    if len(classes) != n_columns:
        raise ValueError(
            f"Task {task.name!r} has probabilities of {n_columns} classes, but "
            f"{len(classes)} classes {'in y' if task.classes is None else 'are given'}:"
            f" {classes.tolist()[:10]}. Pass classes=..., the classes_ of the model."
        )
    known = _code_by_label(classes)
    cells = _labelled(task, codes, ~np.isnan(codes))
    _check_complete(task, ~np.isfinite(cells.predicted).all(axis=1))
    used = {found.tolist()[code] for code in np.unique(cells.labels).astype(int)}
    unseen = sorted(used - set(known))
    union = _sorted_union(task.name, known, unseen) if unseen else list(known)
    new = _code_by_label(union)
    predicted = np.zeros((len(cells.rows), len(union)))
    predicted[:, [new[label] for label in known]] = cells.predicted
    position = np.array([new.get(label, -1) for label in found.tolist()], int)
    return replace(
        cells,
        labels=position[cells.labels.astype(int)],
        predicted=predicted,
        unseen=tuple(unseen),
    )


def _sorted_union(name, known, unseen):
    """Keep the classes in order: the last of two is the positive one."""
    try:
        return sorted([*known, *unseen])
    except TypeError as error:
        raise ValueError(
            f"Task {name!r} has labels such as {unseen[0]!r} in y, but the classes "
            f"{list(known)[:10]} are of another type. Turn them into one type."
        ) from error


def _read_own(task):
    """Leave labels in their own values, for functions that are not of this package."""
    missing = missing_cells(task.labels)
    cells = _labelled(task, task.labels, ~missing)
    plain = np.array(cells.labels.tolist())
    predicted = cells.predicted
    if predicted.dtype.kind == "O":
        predicted = np.array(predicted.tolist())
    return replace(cells, labels=plain, predicted=predicted)


_READERS = {
    "numbers": _read_numbers,
    "labels": _read_labels,
    "probabilities": _read_probabilities,
    "own": _read_own,
}


def _labelled(task, labels, present):
    rows = np.flatnonzero(present & (task.weight > 0))
    return Cells(task.name, rows, labels[rows], task.predicted[rows], task.weight[rows])


def _code_by_label(classes):
    labels = classes.tolist() if isinstance(classes, np.ndarray) else classes
    return {label: code for code, label in enumerate(labels)}


def _check_complete(task, missing):
    if missing.any():
        raise ValueError(
            f"Task {task.name!r} has {missing.sum()} labelled cell(s) whose prediction "
            "is NaN, infinite or missing. Predict them, or hide their labels."
        )
