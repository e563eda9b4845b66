"""Scores of numbers, task by task; scikit-learn computes each of them."""

from sklearn import metrics

from ._average import score_tables
from ._metric import Metric, computed_by

R2 = Metric(metrics.r2_score, "numbers", min_labels=2)


@computed_by(R2)
def r2_score(y_true, y_pred, *, sample_weight=None, average="macro"):
    """Compute the coefficient of determination of each task, or their mean.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True numbers; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_pred : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Predicted numbers.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
            default=None
        Weights of rows, or of cells.
    average : {"macro", None}, default="macro"
        "macro" is the mean over tasks, where an undefined score is left out with one
        warning; None is one score a task.

    Returns
    -------
    score : float or ndarray of shape (n_tasks,)
        NaN where a task has fewer than two labels.

    Raises
    ------
    ValueError
        If labels and predictions do not fit together; the message names the task.

    See Also
    --------
    d2_score : The same for tables that also hold classes.

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl.metrics import r2_score
    >>> y_true = np.array([[1.0, 5.0], [2.0, np.nan], [3.0, 7.0]])
    >>> y_pred = np.array([[1.0, 5.0], [2.0, 0.0], [2.0, 6.0]])
    >>> r2_score(y_true, y_pred, average=None)
    array([0.5, 0.5])
    """
    return score_tables(r2_score.metric, y_true, y_pred, sample_weight, average)


@computed_by(Metric(metrics.root_mean_squared_error, "numbers"))
def root_mean_squared_error(y_true, y_pred, *, sample_weight=None, average="macro"):
    """Compute the root mean squared error of each task, or their mean.

    The root is taken within each task.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True numbers; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_pred : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Predicted numbers.
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
        root_mean_squared_error.metric, y_true, y_pred, sample_weight, average
    )


@computed_by(Metric(metrics.mean_absolute_error, "numbers"))
def mean_absolute_error(y_true, y_pred, *, sample_weight=None, average="macro"):
    """Compute the mean absolute error of each task, or their mean.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True numbers; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_pred : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Predicted numbers.
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
        mean_absolute_error.metric, y_true, y_pred, sample_weight, average
    )


@computed_by(Metric(metrics.mean_absolute_percentage_error, "numbers"))
def mean_absolute_percentage_error(
    y_true, y_pred, *, sample_weight=None, average="macro"
):
    """Compute the mean absolute error relative to the label, by task or on average.

    As in scikit-learn, 1 stands for an error of 100 %, and a label of zero makes it
    huge.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True numbers; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_pred : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Predicted numbers.
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
        mean_absolute_percentage_error.metric, y_true, y_pred, sample_weight, average
    )


@computed_by(Metric(metrics.mean_pinball_loss, "numbers"))
def mean_pinball_loss(
    y_true, y_pred, *, alpha=0.5, sample_weight=None, average="macro"
):
    """Compute the pinball loss of each task, or their mean.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True numbers; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_pred : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Predicted numbers.
    alpha : float, default=0.5
        The quantile that is predicted.
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
        mean_pinball_loss.metric, y_true, y_pred, sample_weight, average, alpha=alpha
    )
