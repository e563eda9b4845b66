"""From labels to targets and back."""

import copy

import numpy as np


class TaskEncoder:
    """Scale numbers and remember classes, for each column of the label table.

    Column tasks are scaled each by its own labels. With row tasks the labels of all
    tasks are scaled alike: the standard deviation of a task with two rows means
    nothing.

    Parameters
    ----------
    classes : list of (ndarray or None), length n_columns
        Classes of each column; None for numbers.
    ndim : {1, 2}
        Dimensions of the y given, and of the predictions returned.

    Attributes
    ----------
    shift, scale : ndarray of shape (n_columns,)
        A target is ``(label - shift) / scale``; 0 and 1 for classes.
    """

    def __init__(self, classes, ndim):
        self.classes = classes
        self.ndim = ndim
        self.shift = np.zeros(len(classes))
        self.scale = np.ones(len(classes))

    @property
    def n_classes(self):
        """Number of classes of each column, None for numbers; list."""
        return [None if c is None else len(c) for c in self.classes]

    def column(self, j):
        """Keep one column, whose labels have one dimension from there on.

        Parameters
        ----------
        j : int
            Position of the column.

        Returns
        -------
        encoder : TaskEncoder
            A new encoder.
        """
        one = copy.copy(self)
        one.classes, one.ndim = [self.classes[j]], 1
        one.shift, one.scale = self.shift[[j]], self.scale[[j]]
        return one

    def fit(self, mean, scale):
        """Set the scaling of the columns that hold numbers.

        Parameters
        ----------
        mean, scale : ndarray of shape (n_columns,)
            Weighted moments of the labels; a scale of zero counts as one.

        Returns
        -------
        self : TaskEncoder
            The encoder.
        """
        number = np.array([c is None for c in self.classes])
        self.shift = np.where(number, mean, 0.0)
        self.scale = np.where(number & (scale > 0), scale, 1.0)
        return self

    def encode(self, y):
        """Turn labels into targets.

        Parameters
        ----------
        y : ndarray of shape (n_samples, n_columns)
            Numbers and class codes, NaN where missing.

        Returns
        -------
        targets : ndarray of shape (n_samples, n_columns)
            0 where missing.
        """
        return np.nan_to_num((y - self.shift) / self.scale, nan=0.0)

    def numbers(self, predictions):
        """Turn predicted targets into numbers in units of the labels.

        Parameters
        ----------
        predictions : list of ndarray of shape (n_samples, 1)
            One array a column.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_columns), float64
            In the shape of the y given to fit.
        """
        y = np.concatenate(predictions, axis=1) * self.scale + self.shift
        return y[:, 0] if self.ndim == 1 else y

    def probabilities(self, predictions):
        """Order class probabilities as scikit-learn does.

        Parameters
        ----------
        predictions : list of ndarray of shape (n_samples, n_classes)
            One array a column.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes) or list of them
            A list when y had two dimensions.
        """
        proba = [
            p[:, : len(classes)] / p[:, : len(classes)].sum(axis=1, keepdims=True)
            for p, classes in zip(predictions, self.classes, strict=True)
        ]
        return proba[0] if self.ndim == 1 else proba

    def labels(self, predictions):
        """Name the most probable class of each row.

        Parameters
        ----------
        predictions : list of ndarray of shape (n_samples, n_classes)
            One array a column.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_columns)
            In the dtype of the classes; object when the columns' dtypes do not mix.
        """
        proba = self.probabilities(predictions)
        if self.ndim == 1:
            return self.classes[0][proba.argmax(axis=1)]
        columns = [
            c[p.argmax(axis=1)] for c, p in zip(self.classes, proba, strict=True)
        ]
        kinds = {c.dtype.kind for c in columns}
        if len(kinds) > 1 and not kinds <= set("iuf"):
            columns = [c.astype(object) for c in columns]
        return np.stack(columns, axis=1)
