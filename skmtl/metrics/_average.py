"""From tables of labels and predictions to one score, or one a task."""

import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from ._table import (
    LabelTable,
    class_columns,
    columns_of_both,
    prediction_columns,
    probability_columns,
)

_SPLIT = {"probabilities": probability_columns, "both": columns_of_both}


def score_tables(
    metric, y_true, y_pred, sample_weight, average, classes=None, **kwargs
):
    """Score every task of a table of labels, for the public functions.

    Parameters
    ----------
    metric : Metric or MetricOfBoth
        The metric of one task.
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Labels.
    y_pred : array-like, list or dict
        Predictions.
    sample_weight : array-like or None
        Weights.
    average : {"macro", None}
        Whether to average over tasks.
    classes : array-like, list or dict, optional
        Classes of the probabilities.
    **kwargs : dict
        Arguments of the metric.

    Returns
    -------
    score : float or ndarray of shape (n_tasks,)
        An array when `average` is None.
    """
    if average not in ("macro", None):
        raise ValueError(
            f"average must be 'macro', the mean over tasks, or None, one score a task. "
            f"Got {average!r} instead."
        )
    table = LabelTable.read(y_true, sample_weight)
    split = _SPLIT.get(metric.reads, prediction_columns)
    tasks = table.tasks(split(y_pred, table), class_columns(classes, table))
    cells = [metric.read(task) for task in tasks]
    warn_of_unseen_classes(cells, stacklevel=4)
    scores = np.array([metric.score(c, **kwargs) for c in cells])
    if average is None:
        return scores
    return mean_score(scores, table.names, metric.lack, stacklevel=4)


def mean_score(scores, names, lack, stacklevel=3):
    """Average over the tasks whose score is defined.

    Parameters
    ----------
    scores : ndarray of shape (n_tasks,)
        NaN where undefined.
    names : list, length n_tasks
        Names of the tasks.
    lack : str
        Why a score is undefined.
    stacklevel : int, default=3
        Of the warning.

    Returns
    -------
    score : float
        NaN when no score is defined.
    """
    undefined = np.isnan(scores)
    if undefined.any():
        first = names[np.flatnonzero(undefined)[0]]
        warnings.warn(
            f"{undefined.sum()} task(s) have {lack} and are left out of the score, the "
            f"first is {first!r}.",
            UndefinedMetricWarning,
            stacklevel=stacklevel,
        )
    return float("nan") if undefined.all() else float(np.mean(scores[~undefined]))


def warn_of_unseen_classes(cells, stacklevel=3):
    """Warn once of labels for which no probability was predicted.

    Parameters
    ----------
    cells : list of Cells
        Of each task.
    stacklevel : int, default=3
        Of the warning.
    """
    found = [c for c in cells if c.unseen]
    if found:
        warnings.warn(
            f"{len(found)} task(s) have labels of classes that the model did not see, "
            f"and these get probability 0; the first is {found[0].name!r} with "
            f"{list(found[0].unseen[:5])}.",
            UserWarning,
            stacklevel=stacklevel,
        )
