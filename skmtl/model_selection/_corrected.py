"""Fitted models, and what a few rows of a new task add to them."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin


class Shifted(RegressorMixin, BaseEstimator):
    """Predict as a fitted regressor does, plus a number.

    Parameters
    ----------
    model : estimator
        Fitted.
    shift : float
        The number.
    """

    def __init__(self, model, shift):
        self.model = model
        self.shift = shift

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        """Predict.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Numbers.
        """
        return self.model.predict(X) + self.shift


class _ByProbability(ClassifierMixin, BaseEstimator):
    """Predict the class of the highest probability."""

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        """Predict classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Classes.
        """
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class Reweighted(_ByProbability):
    """Predict as a fitted classifier does, with a factor for each class.

    Parameters
    ----------
    model : estimator
        Fitted.
    factor : ndarray of shape (n_classes,)
        Positive.
    """

    def __init__(self, model, factor):
        self.model = model
        self.factor = factor

    @property
    def classes_(self):
        """Class labels, ndarray."""
        return self.model.classes_

    def predict_proba(self, X):
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        proba = self.model.predict_proba(X) * self.factor
        return proba / proba.sum(axis=1, keepdims=True)


class WithPrior(_ByProbability):
    """Mix the probabilities of a fitted classifier with those of other classes, too.

    Parameters
    ----------
    model : estimator
        Fitted; it may lack classes.
    classes : ndarray of shape (n_classes,)
        Sorted; those of the model that are not among them are added.
    share : ndarray of shape (n_classes,)
        What of the probabilities is fixed; it sums to less than one.
    """

    def __init__(self, model, classes, share):
        self.model = model
        self.classes = classes
        self.share = share

    @property
    def classes_(self):
        """Class labels, ndarray."""
        return np.union1d(self.classes, self.model.classes_)

    def predict_proba(self, X):
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        everything = self.classes_
        fixed = np.zeros(len(everything))
        fixed[np.searchsorted(everything, self.classes)] = self.share
        own = self.model.predict_proba(X)
        proba = np.tile(fixed, (len(own), 1))
        places = np.searchsorted(everything, self.model.classes_)
        proba[:, places] += (1 - self.share.sum()) * own
        return proba
