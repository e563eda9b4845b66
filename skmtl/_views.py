"""One task of a fitted estimator, as tools for a single output want it."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from ._tasks import fill_task_column, without_task_column
from .metrics import get_scorer


def task_view(estimator, task):
    """Make the view of one task of a fitted estimator.

    Parameters
    ----------
    estimator : BaseTaskNet
        Fitted.
    task : object
        Name of a column of y, or a row-task id.

    Returns
    -------
    view : TaskClassifierView or TaskRegressorView
        By what the labels of the task are.

    Raises
    ------
    ValueError
        If there is no such task, or row tasks have several label columns.
    """
    names = _names(estimator)
    if task not in names:
        listed = ", ".join(repr(name) for name in names[:20])
        raise ValueError(
            f"There is no task {task!r} in this {type(estimator).__name__}; its tasks "
            f"are {listed}{', ...' if len(names) > 20 else ''}."
        )
    task = names[names.index(task)]
    classes = estimator.net_.blueprint.targets.classes
    if estimator._task_codes is not None and len(classes) > 1:
        raise ValueError(
            f"Every row task of this {type(estimator).__name__} has {len(classes)} "
            "columns of y, and a view has one. Fit one column of y to look at it."
        )
    if classes[_position(estimator, task)] is None:
        return TaskRegressorView(estimator, task)
    return TaskClassifierView(estimator, task)


def _names(estimator):
    codes = estimator._task_codes
    return estimator.task_names_.tolist() if codes is None else list(codes)


def _position(estimator, task):
    """Find the label column; all row tasks are in one."""
    return 0 if estimator._task_codes is not None else _names(estimator).index(task)


class _TaskView(BaseEstimator):
    """Predict one task by the networks of a fitted estimator.

    Parameters
    ----------
    estimator : BaseTaskNet
        Fitted; the view looks into its net and copies nothing.
    task : object
        Name of a column of y, or a row-task id.

    Notes
    -----
    A view cannot be fitted, since one task does not make the estimator behind it.
    ``clone`` of a view is therefore a view of an unfitted estimator, good for nothing
    but its parameters; FrozenEstimator keeps a view as it is where scikit-learn clones
    and fits.
    """

    def __init__(self, estimator, task):
        self.estimator = estimator
        self.task = task

    def fit(self, X, y=None):
        """Refuse: a view shows what is fitted.

        Parameters
        ----------
        X, y : object
            Unused.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(
            f"A view of task {self.task!r} cannot be fitted. Wrap it in "
            "sklearn.frozen.FrozenEstimator to keep it as it is inside tools that fit; "
            f"or fit a {type(self.estimator).__name__} and call for_task on it."
        )

    def __sklearn_is_fitted__(self):
        return self.estimator.__sklearn_is_fitted__()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags

    @property
    def net_(self):
        """The net of the estimator, skorch.NeuralNet."""
        return self.estimator._fitted("net_")

    @property
    def n_features_in_(self):
        """Columns of X without the task column, int."""
        return len(
            without_task_column(self.estimator, range(self.estimator.n_features_in_))
        )

    @property
    def feature_names_in_(self):
        """Names of the columns of X without the task column, ndarray."""
        return without_task_column(self.estimator, self.estimator.feature_names_in_)

    def _predict(self, X, decode):
        """Predict the one column, decoded by that method of the target encoder."""
        check_is_fitted(self)
        estimator, task = self.estimator, None
        if estimator.task_column is not None:
            X = fill_task_column(estimator, X, self.task)
        elif estimator._task_codes is not None:
            n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
            task = np.full(n_samples, self.task)
        columns = self.net_.columns(estimator._rows(X, task))
        columns = self.net_.module_.losses.points(columns)
        j = _position(estimator, self.task)
        return getattr(self.net_.blueprint.targets.column(j), decode)([columns[j]])


class TaskRegressorView(RegressorMixin, _TaskView):
    __doc__ = _TaskView.__doc__

    def predict(self, X):
        """Predict the task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table, with or without the task column; ids in it are not read.

        Returns
        -------
        y : ndarray of shape (n_samples,), float64
            As the estimator predicts it.
        """
        return self._predict(X, "numbers")

    def score(self, X, y, sample_weight=None):
        """Compute the coefficient of determination.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,)
            Labels of the task; missing ones do not count.
        sample_weight : array-like of shape (n_samples,), optional
            Weights.

        Returns
        -------
        score : float
            R2.
        """
        return get_scorer("r2")(self, X, y, sample_weight=sample_weight)


class TaskClassifierView(ClassifierMixin, _TaskView):
    __doc__ = _TaskView.__doc__

    @property
    def classes_(self):
        """Class labels of the task, ndarray."""
        j = _position(self.estimator, self.task)
        return self.net_.blueprint.targets.classes[j]

    def predict(self, X):
        """Predict the task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table, with or without the task column; ids in it are not read.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The most probable class of each row.
        """
        return self._predict(X, "labels")

    def predict_proba(self, X):
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table, with or without the task column; ids in it are not read.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return self._predict(X, "probabilities")

    def decision_function(self, X):
        """Compute log-odds, on which calibrators of scikit-learn work best.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table, with or without the task column; ids in it are not read.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes the logarithm of the odds of the second; log-probabilities
            otherwise.
        """
        proba = self.predict_proba(X)
        # A probability that underflowed is not minus infinity to a calibrator.
        decision = np.log(np.maximum(proba, np.finfo(np.float64).tiny))
        return decision[:, 1] - decision[:, 0] if proba.shape[1] == 2 else decision

    def score(self, X, y, sample_weight=None):
        """Compute the accuracy.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,)
            Labels of the task; missing ones do not count.
        sample_weight : array-like of shape (n_samples,), optional
            Weights.

        Returns
        -------
        score : float
            Share of right labels.
        """
        return get_scorer("accuracy")(self, X, y, sample_weight=sample_weight)
