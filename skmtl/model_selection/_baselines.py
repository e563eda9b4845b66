"""What a model that adapts to new tasks has to beat."""

import copy

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.model_selection import GroupKFold
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if

from .._tasks import as_array, label_columns, missing_cells
from ._corrected import Reweighted, Shifted, WithPrior
from ._rows import take


def _estimator_has(method):
    return lambda baseline: hasattr(baseline.estimator, method)


class Pooled(BaseEstimator):
    """Fit one estimator to the labelled rows of all tasks, and ignore the tasks.

    Parameters
    ----------
    estimator : estimator
        Cloned.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def __sklearn_tags__(self):
        return copy.deepcopy(get_tags(self.estimator))

    def fit(self, X, y, *, task):
        """Fit to rows of several tasks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table, without the task.
        y : array-like of shape (n_samples,)
            Labels; some may be missing.
        task : ndarray of shape (n_samples,)
            The task of each row.

        Returns
        -------
        self : Pooled
            Fitted.
        """
        rows, labels = _labelled(y)
        return self._fit_labelled(take(X, rows), labels, task[rows])

    def _fit_labelled(self, X, y, task):
        self.estimator_ = _fitted(self.estimator, X, y)
        return self

    @property
    def classes_(self):
        """Class labels, ndarray."""
        return self.estimator_.classes_

    def predict(self, X):
        """Predict rows of a new task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Numbers or classes.
        """
        return self.estimator_.predict(X)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Predict class probabilities of rows of a new task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return self.estimator_.predict_proba(X)


class PerTask(Pooled):
    """Fit an estimator to the support of the new task alone.

    Before there is a support, predict the mean, or the most frequent class, of the
    training rows. A support of one row, or of one label, is predicted as that label.
    Class probabilities count the training rows as one row more: a class that the
    support lacks is not impossible.
    """

    def _fit_labelled(self, X, y, task):
        self.estimator_ = _constant(self.estimator).fit(X, y)
        return self

    def adapt(self, X, y):
        """Fit to rows of the new task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table, without the task.
        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        model : estimator
            Fitted.
        """
        rows, labels = _labelled(y)
        model = _fitted(self.estimator, take(X, rows), labels)
        if not hasattr(model, "predict_proba"):
            return model
        prior = self.estimator_.class_prior_
        return WithPrior(model, self.classes_, prior / (len(labels) + 1))


class PooledResidual(Pooled):
    """Move the pooled estimator by the shrunk mean residual of the support.

    This is a random intercept, fitted by empirical Bayes. For numbers the shift is the
    sum of the residuals over n + k, with n rows in the support and k the variance of
    residuals within tasks over that between tasks. For classes the residuals are those
    of the indicators of classes, and probabilities are multiplied by what the shift
    makes of their mean: (n_c + k p_c) / (n + k) / p_c, with n_c rows of class c in the
    support and p_c their mean probability of it.
    """

    def _fit_labelled(self, X, y, task):
        super()._fit_labelled(X, y, task)
        self.k_ = shrinkage(_held_out_residuals(self.estimator, X, y, task), task)
        return self

    def adapt(self, X, y):
        """Move predictions by the residuals of the new task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table, without the task.
        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        model : estimator
            Fitted.
        """
        rows, y = _labelled(y)
        X, n = take(X, rows), len(y)
        if not is_classifier(self.estimator):
            residual = y - self.predict(X)
            return Shifted(self.estimator_, residual.sum() / (n + self.k_))
        if np.isinf(self.k_):
            return self.estimator_
        proba = self.predict_proba(X).mean(axis=0)
        count = (y[:, None] == self.classes_).sum(axis=0)
        # A class without rows and without shrinkage keeps a little of its odds.
        factor = (count + self.k_ * proba) / (n + self.k_) / np.maximum(proba, 1e-12)
        return Reweighted(self.estimator_, np.maximum(factor, 1e-6))


def _held_out_residuals(estimator, X, y, task):
    """Compute residuals of tasks by models that have not seen them."""
    n_tasks = len(np.unique(task))
    if n_tasks < 2:
        return np.zeros(len(y))
    if is_classifier(estimator):
        residuals = (y[:, None] == np.unique(y)).astype(float)
    else:
        residuals = y.astype(float)
    for train, test in GroupKFold(min(5, n_tasks)).split(y, groups=task):
        model = _fitted(estimator, take(X, train), y[train])
        if is_classifier(estimator):
            known = np.searchsorted(np.unique(y), model.classes_)
            residuals[np.ix_(test, known)] -= model.predict_proba(take(X, test))
        else:
            residuals[test] -= model.predict(take(X, test))
    return residuals


def shrinkage(residuals, task):
    """Estimate the noise of residuals in units of their variance between tasks.

    The moments are those of a one-way analysis of variance with unequal numbers of rows
    [1]_; with several columns both variances are summed over them.

    Parameters
    ----------
    residuals : ndarray of shape (n_samples,) or (n_samples, n_classes)
        Of rows that the model was not fitted to.
    task : ndarray of shape (n_samples,)
        The task of each row.

    Returns
    -------
    k : float
        Infinite where the means of tasks differ no more than noise lets them.

    References
    ----------
    .. [1] S. R. Searle, G. Casella, C. E. McCulloch (1992). Variance Components. Wiley.
       Chapter 3.6. https://doi.org/10.1002/9780470316856
    """
    residuals = residuals.reshape(len(residuals), -1)
    names, codes, n = np.unique(task, return_inverse=True, return_counts=True)
    n_samples, n_tasks = len(residuals), len(names)
    if n_samples == n_tasks or n_tasks < 2:
        return np.inf
    mean = np.zeros((n_tasks, residuals.shape[1]))
    np.add.at(mean, codes, residuals)
    mean /= n[:, None]
    within = ((residuals - mean[codes]) ** 2).sum() / (n_samples - n_tasks)
    between = (n[:, None] * (mean - residuals.mean(axis=0)) ** 2).sum() / (n_tasks - 1)
    size = (n_samples - (n**2).sum() / n_samples) / (n_tasks - 1)
    variance = (between - within) / size
    return within / variance if variance > 0 else np.inf


def _labelled(y):
    """Find the rows with a label, and the labels as an array."""
    column = label_columns(y)[1][0]
    rows = np.flatnonzero(~missing_cells(column))
    # Objects, such as numbers beside None, become what they are.
    return rows, as_array(column[rows].tolist()) if column.dtype == object else column[
        rows
    ]


def _fitted(estimator, X, y):
    """Fit a clone, or what predicts the only label, which many estimators refuse."""
    varied = len(np.unique(y)) > 1
    return (clone(estimator) if varied else _constant(estimator)).fit(X, y)


def _constant(estimator):
    if is_classifier(estimator):
        return DummyClassifier(strategy="prior")
    return DummyRegressor()
