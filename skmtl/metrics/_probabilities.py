"""Scores of class probabilities, task by task."""

import numpy as np
from sklearn import metrics

from ._average import score_tables
from ._metric import Metric, MetricOfBoth, computed_by
from ._numbers import R2


def _one_against_rest(metric):
    """Average a binary score over the classes present; of two, the last is scored."""

    def function(codes, proba, sample_weight):
        scored = [1] if proba.shape[1] == 2 else np.unique(codes)
        return np.mean(
            [
                metric(codes == c, proba[:, c], sample_weight=sample_weight)
                for c in scored
            ]
        )

    return function


def _log_loss(metric):
    def function(codes, proba, sample_weight):
        if proba.shape[1] == 1:  # scikit-learn asks for two classes at least
            proba = np.hstack([proba, np.zeros_like(proba)])
        labels = np.arange(proba.shape[1])
        return metric(codes, proba, labels=labels, sample_weight=sample_weight)

    return function


def _calibration_error(codes, proba, sample_weight, n_bins=15):
    confidence = proba.max(axis=1)
    # Bins are open at the left and closed at the right, as in [1] of the docstring.
    edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    bins = np.searchsorted(edges, confidence, side="left")
    weight = np.ones(len(codes)) if sample_weight is None else sample_weight
    excess = weight * (confidence - (proba.argmax(axis=1) == codes))
    return np.abs(np.bincount(bins, excess)).sum() / weight.sum()


D2_LOG_LOSS = Metric(
    _log_loss(metrics.d2_log_loss_score), "probabilities", min_labels=2, min_classes=2
)


@computed_by(
    Metric(_one_against_rest(metrics.roc_auc_score), "probabilities", min_classes=2)
)
def roc_auc_score(
    y_true, y_proba, *, classes=None, sample_weight=None, average="macro"
):
    """Compute the area under the ROC curve of each task, or their mean.

    More than two classes are scored each against the rest, and averaged over those that
    are among the labels.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_proba : array-like of shape (n_samples, n_classes), list of them, or dict by task
        Class probabilities as ``predict_proba`` gives them: one array for one task, a
        list of arrays or a dict of arrays by task name for several.
    classes : array-like of shape (n_classes,), list of them, or dict by task, \
            default=None
        Classes in the order of the probabilities, as in ``classes_``. None takes the
        sorted labels of `y_true`. A label that is not among them has probability 0.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
            default=None
        Weights of rows, or of cells.
    average : {"macro", None}, default="macro"
        "macro" is the mean over tasks, where an undefined score is left out with one
        warning; None is one score a task.

    Returns
    -------
    score : float or ndarray of shape (n_tasks,)
        NaN where a task has labels of fewer than two classes.

    Raises
    ------
    ValueError
        If labels and predictions do not fit together; the message names the task.

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl.metrics import roc_auc_score
    >>> y_true = np.array([[0, 1], [1, np.nan], [1, 0]])
    >>> p = np.array([0.1, 0.7, 0.4])
    >>> proba = np.stack([1 - p, p], axis=1)
    >>> roc_auc_score(y_true, [proba, proba], average=None)
    array([1., 0.])
    """
    return score_tables(
        roc_auc_score.metric, y_true, y_proba, sample_weight, average, classes
    )


@computed_by(
    Metric(
        _one_against_rest(metrics.average_precision_score),
        "probabilities",
        min_classes=2,
    )
)
def average_precision_score(
    y_true, y_proba, *, classes=None, sample_weight=None, average="macro"
):
    """Compute the average precision of each task, or their mean.

    More than two classes are scored each against the rest, and averaged over those that
    are among the labels.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_proba : array-like of shape (n_samples, n_classes), list of them, or dict by task
        Class probabilities as ``predict_proba`` gives them: one array for one task, a
        list of arrays or a dict of arrays by task name for several.
    classes : array-like of shape (n_classes,), list of them, or dict by task, \
            default=None
        Classes in the order of the probabilities, as in ``classes_``. None takes the
        sorted labels of `y_true`. A label that is not among them has probability 0.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
            default=None
        Weights of rows, or of cells.
    average : {"macro", None}, default="macro"
        "macro" is the mean over tasks, where an undefined score is left out with one
        warning; None is one score a task.

    Returns
    -------
    score : float or ndarray of shape (n_tasks,)
        NaN where a task has labels of fewer than two classes.

    Raises
    ------
    ValueError
        If labels and predictions do not fit together; the message names the task.
    """
    return score_tables(
        average_precision_score.metric, y_true, y_proba, sample_weight, average, classes
    )


@computed_by(Metric(_log_loss(metrics.log_loss), "probabilities"))
def log_loss(y_true, y_proba, *, classes=None, sample_weight=None, average="macro"):
    """Compute the log loss in nats of each task, or their mean.

    Probabilities are clipped as in scikit-learn.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_proba : array-like of shape (n_samples, n_classes), list of them, or dict by task
        Class probabilities as ``predict_proba`` gives them: one array for one task, a
        list of arrays or a dict of arrays by task name for several.
    classes : array-like of shape (n_classes,), list of them, or dict by task, \
            default=None
        Classes in the order of the probabilities, as in ``classes_``. None takes the
        sorted labels of `y_true`. A label that is not among them has probability 0.
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
        log_loss.metric, y_true, y_proba, sample_weight, average, classes
    )


@computed_by(D2_LOG_LOSS)
def d2_log_loss_score(
    y_true, y_proba, *, classes=None, sample_weight=None, average="macro"
):
    """Compute the share of the log loss explained in each task, or the mean share.

    1 is perfect, and 0 is the class frequencies of the labels.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_proba : array-like of shape (n_samples, n_classes), list of them, or dict by task
        Class probabilities as ``predict_proba`` gives them: one array for one task, a
        list of arrays or a dict of arrays by task name for several.
    classes : array-like of shape (n_classes,), list of them, or dict by task, \
            default=None
        Classes in the order of the probabilities, as in ``classes_``. None takes the
        sorted labels of `y_true`. A label that is not among them has probability 0.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
            default=None
        Weights of rows, or of cells.
    average : {"macro", None}, default="macro"
        "macro" is the mean over tasks, where an undefined score is left out with one
        warning; None is one score a task.

    Returns
    -------
    score : float or ndarray of shape (n_tasks,)
        NaN where a task has labels of fewer than two classes.

    Raises
    ------
    ValueError
        If labels and predictions do not fit together; the message names the task.
    """
    return score_tables(
        d2_log_loss_score.metric, y_true, y_proba, sample_weight, average, classes
    )


@computed_by(Metric(_calibration_error, "probabilities"))
def expected_calibration_error(
    y_true, y_proba, *, classes=None, n_bins=15, sample_weight=None, average="macro"
):
    """Compute how far confidence is from accuracy in each task, or on average.

    The confidence of a row is its largest probability. Rows are put into bins of equal
    width by confidence, and the gaps between mean confidence and accuracy are averaged
    by the weight of the bins [1]_, [2]_.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_proba : array-like of shape (n_samples, n_classes), list of them, or dict by task
        Class probabilities as ``predict_proba`` gives them: one array for one task, a
        list of arrays or a dict of arrays by task name for several.
    classes : array-like of shape (n_classes,), list of them, or dict by task, \
            default=None
        Classes in the order of the probabilities, as in ``classes_``. None takes the
        sorted labels of `y_true`. A label that is not among them has probability 0.
    n_bins : int, default=15
        Number of bins.
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

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017). On Calibration of Modern
       Neural Networks. ICML. https://arxiv.org/abs/1706.04599
    .. [2] M. P. Naeini, G. F. Cooper, M. Hauskrecht (2015). Obtaining Well Calibrated
       Probabilities Using Bayesian Binning. AAAI.
    """
    return score_tables(
        expected_calibration_error.metric,
        y_true,
        y_proba,
        sample_weight,
        average,
        classes,
        n_bins=n_bins,
    )


@computed_by(MetricOfBoth(R2, D2_LOG_LOSS))
def d2_score(y_true, y_pred, *, classes=None, sample_weight=None, average="macro"):
    """Compute the share of deviance explained in tasks of numbers and of classes.

    R2 for numbers, and the share of the log loss explained for classes. In both, 1 is
    perfect and 0 is the best constant prediction, so that a mean over tasks of both
    kinds means something.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_tasks)
        True labels; NaN, None, NaT and pandas' NA are not labelled and do not count.
    y_pred : array-like, list of array-like, or dict by task
        Numbers, as ``predict`` gives them, or probabilities, as ``predict_proba`` gives
        them. In a dict, arrays of one dimension hold numbers and arrays of two
        dimensions probabilities.
    classes : array-like of shape (n_classes,), list of them, or dict by task, \
            default=None
        Classes in the order of the probabilities, as in ``classes_``. None takes the
        sorted labels of `y_true`. A label that is not among them has probability 0.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
            default=None
        Weights of rows, or of cells.
    average : {"macro", None}, default="macro"
        "macro" is the mean over tasks, where an undefined score is left out with one
        warning; None is one score a task.

    Returns
    -------
    score : float or ndarray of shape (n_tasks,)
        NaN where a task has fewer than two labels, or labels of a single class.

    Raises
    ------
    ValueError
        If labels and predictions do not fit together; the message names the task.

    See Also
    --------
    r2_score : For numbers alone.
    d2_log_loss_score : For classes alone.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmtl.metrics import d2_score
    >>> y_true = pd.DataFrame({"age": [1.0, 2.0, 3.0], "sick": ["no", "yes", None]})
    >>> y_pred = {"age": [1.0, 2.0, 2.0], "sick": [[0.7, 0.3], [0.3, 0.7], [0.5, 0.5]]}
    >>> d2_score(y_true, y_pred, average=None)
    array([0.5       , 0.48542683])
    """
    return score_tables(
        d2_score.metric, y_true, y_pred, sample_weight, average, classes
    )
