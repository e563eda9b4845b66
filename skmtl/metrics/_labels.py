"""Scores of predicted labels, task by task; scikit-learn computes each of them."""

import numpy as np
from sklearn import metrics

from ._average import score_tables
from ._metric import Metric, computed_by


def _balanced_accuracy(codes, predicted, sample_weight):
    # Recall over the classes present: scikit-learn's balanced accuracy, which warns
    # of predictions of any other class.
    return metrics.recall_score(
        codes,
        predicted,
        labels=np.unique(codes),
        average="macro",
        sample_weight=sample_weight,
    )


def _averaging_classes(metric):
    def function(
        codes, predicted, sample_weight, class_average="macro", zero_division=0.0
    ):
        return metric(
            codes,
            predicted,
            average=class_average,
            sample_weight=sample_weight,
            zero_division=zero_division,
        )

    return function


@computed_by(Metric(metrics.accuracy_score, "labels"))
def accuracy_score(y_true, y_pred, *, sample_weight=None, average="macro"):
    """Compute the accuracy of each task, or their mean.

    The mean over tasks is not the subset accuracy that scikit-learn gives for several
    columns.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_pred : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Predicted labels.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
            default=None
        Weights of rows, or of cells.
    average : {"macro", None}, default="macro"
        "macro" is the mean over tasks, where an undefined score is left out with one
        warning; None is one score a task.

    Returns
    -------
    score : float or ndarray of shape (n_tasks,)
        NaN where a task has no labels.

    Raises
    ------
    ValueError
        If labels and predictions do not fit together; the message names the task.

    Examples
    --------
    >>> from skmtl.metrics import accuracy_score
    >>> y_true = [["a", "x"], ["b", None], ["b", "y"]]
    >>> y_pred = [["a", "y"], ["b", "y"], ["b", "y"]]
    >>> accuracy_score(y_true, y_pred)
    0.75
    """
    return score_tables(accuracy_score.metric, y_true, y_pred, sample_weight, average)


@computed_by(Metric(_balanced_accuracy, "labels"))
def balanced_accuracy_score(y_true, y_pred, *, sample_weight=None, average="macro"):
    """Compute the mean recall over classes of each task, or their mean.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_pred : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Predicted labels.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
            default=None
        Weights of rows, or of cells.
    average : {"macro", None}, default="macro"
        "macro" is the mean over tasks, where an undefined score is left out with one
        warning; None is one score a task.

    Returns
    -------
    score : float or ndarray of shape (n_tasks,)
        NaN where a task has no labels.

    Raises
    ------
    ValueError
        If labels and predictions do not fit together; the message names the task.
    """
    return score_tables(
        balanced_accuracy_score.metric, y_true, y_pred, sample_weight, average
    )


@computed_by(Metric(_averaging_classes(metrics.f1_score), "labels"))
def f1_score(
    y_true,
    y_pred,
    *,
    class_average="macro",
    zero_division=0.0,
    sample_weight=None,
    average="macro",
):
    """Compute the F1 score of each task, or their mean.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_pred : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Predicted labels.
    class_average : {"macro", "micro", "weighted"}, default="macro"
        How the classes of one task are averaged, scikit-learn's ``average``.
    zero_division : {0.0, 1.0, np.nan}, default=0.0
        Score of a class for which it would be 0 / 0; NaN leaves the class out.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
            default=None
        Weights of rows, or of cells.
    average : {"macro", None}, default="macro"
        "macro" is the mean over tasks, where an undefined score is left out with one
        warning; None is one score a task.

    Returns
    -------
    score : float or ndarray of shape (n_tasks,)
        NaN where a task has no labels.

    Raises
    ------
    ValueError
        If labels and predictions do not fit together; the message names the task.
    """
    return score_tables(
        f1_score.metric,
        y_true,
        y_pred,
        sample_weight,
        average,
        class_average=class_average,
        zero_division=zero_division,
    )


@computed_by(Metric(_averaging_classes(metrics.recall_score), "labels"))
def recall_score(
    y_true,
    y_pred,
    *,
    class_average="macro",
    zero_division=0.0,
    sample_weight=None,
    average="macro",
):
    """Compute the recall of each task, or their mean.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_pred : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Predicted labels.
    class_average : {"macro", "micro", "weighted"}, default="macro"
        How the classes of one task are averaged, scikit-learn's ``average``.
    zero_division : {0.0, 1.0, np.nan}, default=0.0
        Score of a class for which it would be 0 / 0; NaN leaves the class out.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
            default=None
        Weights of rows, or of cells.
    average : {"macro", None}, default="macro"
        "macro" is the mean over tasks, where an undefined score is left out with one
        warning; None is one score a task.

    Returns
    -------
    score : float or ndarray of shape (n_tasks,)
        NaN where a task has no labels.

    Raises
    ------
    ValueError
        If labels and predictions do not fit together; the message names the task.
    """
    return score_tables(
        recall_score.metric,
        y_true,
        y_pred,
        sample_weight,
        average,
        class_average=class_average,
        zero_division=zero_division,
    )


@computed_by(Metric(_averaging_classes(metrics.precision_score), "labels"))
def precision_score(
    y_true,
    y_pred,
    *,
    class_average="macro",
    zero_division=0.0,
    sample_weight=None,
    average="macro",
):
    """Compute the precision of each task, or their mean.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_pred : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Predicted labels.
    class_average : {"macro", "micro", "weighted"}, default="macro"
        How the classes of one task are averaged, scikit-learn's ``average``.
    zero_division : {0.0, 1.0, np.nan}, default=0.0
        Score of a class for which it would be 0 / 0; NaN leaves the class out.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
            default=None
        Weights of rows, or of cells.
    average : {"macro", None}, default="macro"
        "macro" is the mean over tasks, where an undefined score is left out with one
        warning; None is one score a task.

    Returns
    -------
    score : float or ndarray of shape (n_tasks,)
        NaN where a task has no labels.

    Raises
    ------
    ValueError
        If labels and predictions do not fit together; the message names the task.
    """
    return score_tables(
        precision_score.metric,
        y_true,
        y_pred,
        sample_weight,
        average,
        class_average=class_average,
        zero_division=zero_division,
    )
