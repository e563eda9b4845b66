"""From labels to targets and back."""

import copy

import numpy as np

from .._moments import weighted_moments
from ._transforms import LabelTransform


class TaskEncoder:
    """Scale numbers and remember classes, for each column of the label table.

    Column tasks are scaled each by its own labels. With row tasks the labels of all
    tasks are scaled alike: the standard deviation of a task with two rows means
    nothing.

    Parameters
    ----------
    names : list, length n_columns
        Of the columns.
    classes : list of (ndarray or None), length n_columns
        Classes of each column; None for numbers.
    ndim : {1, 2}
        Dimensions of the y given, and of the predictions returned.
    frame : {"pandas", "polars"}, default=None
        Library of the y given, when it was a frame.

    Attributes
    ----------
    shift, scale : ndarray of shape (n_columns,)
        A target is ``(transform(label) - shift) / scale``; 0 and 1 for classes.
    transforms : list of (LabelTransform or None), length n_columns
        What labels are turned into before scaling.
    """

    def __init__(self, names, classes, ndim, frame=None):
        self.names = names
        self.classes = classes
        self.ndim = ndim
        self.frame = frame
        self.shift = np.zeros(len(classes))
        self.scale = np.ones(len(classes))
        self.transforms = [None] * len(classes)

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
        one.names, one.classes = [self.names[j]], [self.classes[j]]
        one.ndim, one.frame = 1, None
        one.shift, one.scale = self.shift[[j]], self.scale[[j]]
        one.transforms = [self.transforms[j]]
        return one

    def fit(self, y, weight, losses, transforms=None):
        """Fit the transforms and the scaling of the columns that hold numbers.

        Parameters
        ----------
        y, weight : ndarray of shape (n_samples, n_columns)
            Numbers and class codes, NaN where missing, and weights.
        losses : sequence of Loss, length n_columns
            Choose the scaling, and refuse labels they cannot take.
        transforms : list of (str, transformer or None), optional
            By column.

        Returns
        -------
        self : TaskEncoder
            The encoder.

        Raises
        ------
        ValueError
            If labels are outside the range of a loss or a transform.
        """
        if transforms is not None:
            self.transforms = [
                None if choice is None else LabelTransform(name, choice).fit(column)
                for name, choice, column in zip(
                    self.names, transforms, y.T, strict=True
                )
            ]
        self.check(y, losses)
        mean, scale = weighted_moments(self._transform(y), weight)
        for j, loss in enumerate(losses):
            if self.classes[j] is None:
                self.shift[j], self.scale[j] = loss.scaling(mean[j], scale[j])
        return self

    def check(self, y, losses):
        """Refuse labels that the transforms or the losses cannot take.

        Parameters
        ----------
        y : ndarray of shape (n_samples, n_columns)
            Numbers and class codes, NaN where missing.
        losses : sequence of Loss, length n_columns
            By column.

        Raises
        ------
        ValueError
            If labels are outside the range of a loss or a transform.
        """
        for transform, column in zip(self.transforms, y.T, strict=True):
            if transform is not None:
                transform.check(column)
        for j, (loss, labels) in enumerate(
            zip(losses, self._transform(y).T, strict=True)
        ):
            if self.classes[j] is None:
                self._check_labels(loss, j, labels[~np.isnan(labels)])

    def _check_labels(self, loss, column, labels):
        transform = self.transforms[column]
        if loss.orders and transform is not None and not transform.increasing_:
            raise ValueError(
                f"target_transform={transform.transform!r} of task "
                f"{self.names[column]!r} does not ascend with the labels, and "
                f"{type(loss).__name__} predicts positions in their order. Use an "
                "ascending transform, or another loss."
            )
        try:
            loss.check_labels(self.names[column], labels)
        except ValueError as error:
            if self.transforms[column] is None:
                raise
            raise ValueError(
                f"{error} Labels are looked at after target_transform="
                f"{self.transforms[column].transform!r}."
            ) from error

    def _transform(self, y):
        if not any(self.transforms):
            return y
        columns = [
            column if transform is None else transform.forward(column)
            for column, transform in zip(y.T, self.transforms, strict=True)
        ]
        return np.stack(columns, axis=1)

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
        scaled = (self._transform(y) - self.shift) / self.scale
        return np.nan_to_num(scaled, nan=0.0)

    def perfect(self, y):
        """Write labels as the predictions of somebody who knows them.

        Parameters
        ----------
        y : ndarray of shape (n_samples, n_columns)
            Numbers and class codes, NaN where missing.

        Returns
        -------
        columns : list of ndarray of shape (n_samples, n_predictions)
            Targets of :meth:`encode`, or a one for the class and zeros for others; NaN
            where missing.
        """
        columns = []
        encoded = np.where(np.isnan(y), np.nan, self.encode(y))
        for column, n_classes in zip(encoded.T, self.n_classes, strict=True):
            perfect = column[:, None]
            if n_classes is not None:
                ones = (perfect == np.arange(n_classes)).astype(float)
                perfect = np.where(np.isnan(perfect), np.nan, ones)
            columns.append(perfect)
        return columns

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
        columns = [self.rescale(j, p[:, 0]) for j, p in enumerate(predictions)]
        return columns[0] if self.ndim == 1 else np.stack(columns, axis=1)

    def rescale(self, column, predictions):
        """Turn predicted targets of one column into numbers in units of its labels.

        Parameters
        ----------
        column : int
            Position of the column.
        predictions : ndarray of any shape
            Scaled targets.

        Returns
        -------
        numbers : ndarray of the same shape, float64
            In units of the labels.
        """
        numbers = predictions * self.scale[column] + self.shift[column]
        transform = self.transforms[column]
        return numbers if transform is None else transform.inverse(numbers)

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
        pairs = zip(predictions, self.classes, strict=True)
        proba = [_normalised(p, classes) for p, classes in pairs]
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
        columns = self.decode(predictions)
        if self.ndim == 1:
            return columns[0]
        kinds = {c.dtype.kind for c in columns}
        if len(kinds) > 1 and not kinds <= set("iuf"):
            columns = [c.astype(object) for c in columns]
        return np.stack(columns, axis=1)

    def decode(self, predictions):
        """Turn predictions of each column into labels of its kind.

        Parameters
        ----------
        predictions : list of ndarray of shape (n_samples, n_predictions)
            One array a column.

        Returns
        -------
        columns : list of ndarray of shape (n_samples,)
            Numbers, or the most probable classes in their own dtype.
        """
        return [
            self.rescale(j, p[:, 0])
            if self.classes[j] is None
            else self.classes[j][_normalised(p, self.classes[j]).argmax(axis=1)]
            for j, p in enumerate(predictions)
        ]

    def by_name(self, predictions):
        """Name the predictions of each column.

        Parameters
        ----------
        predictions : list of ndarray of shape (n_samples, n_predictions)
            One array a column.

        Returns
        -------
        predictions : dict of ndarray
            Numbers of shape (n_samples,), or class probabilities of shape
            (n_samples, n_classes).
        """
        columns = zip(self.names, self.classes, predictions, strict=True)
        return {
            name: self.rescale(j, p[:, 0])
            if classes is None
            else _normalised(p, classes)
            for j, (name, classes, p) in enumerate(columns)
        }


def _normalised(proba, classes):
    """Drop the second class that a task with a single one does not have."""
    proba = proba[:, : len(classes)]
    return proba / proba.sum(axis=1, keepdims=True)
