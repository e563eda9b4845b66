"""What every encoding answers, and what all do with categories."""

from numbers import Integral

import numpy as np

from .._constraints import Interval
from .._encoder_bank import EncodedColumns
from .._strategy import Strategy

MAX_ONEHOT = [Interval(Integral, 0, None, closed="left")]


class Encoding(Strategy):
    """Base class of the choices for ``encoding=``.

    A subclass implements ``fit_numbers``, which looks at the columns of numbers and
    returns the :class:`EncodedColumns` that describe the inputs of a network.
    Categories are the same for all encodings: columns of up to ``max_onehot``
    categories get one input a category, those of more a learned embedding.

    Attributes
    ----------
    looks_at_rows : bool
        Whether the columns depend on the rows given; if not, all folds share them.
    allows_missing : bool
        Whether X may have missing values.
    keeps_shape : bool
        Whether X may have more than two dimensions.
    max_onehot : int
        A subclass may make a hyperparameter of it.
    """

    looks_at_rows = True
    allows_missing = True
    keeps_shape = False
    max_onehot = 32

    def fit(self, X, sample_weight, categories=None):
        """Choose the encoded columns from training rows.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Raw rows, NaN where a value is missing. Categories are codes from 0, and -1
            for an unseen one.
        sample_weight : ndarray of shape (n_samples,)
            Weight of each row; integer weights count as repeated rows.
        categories : sequence of (int or None), length n_features, optional
            Categories of each column, None for numbers; by default all are numbers.

        Returns
        -------
        columns : EncodedColumns
            The inputs of the networks trained on these rows.
        """
        if categories is None or all(n is None for n in categories):
            return self.fit_numbers(X, sample_weight)
        numbers = [j for j, n in enumerate(categories) if n is None]
        found = self.fit_numbers(X[:, numbers], sample_weight).reading(numbers)
        weighty = sample_weight > 0
        codes, one_hot = [], []
        for j, n_categories in enumerate(categories):
            if n_categories is not None:
                embedded = n_categories > self.max_onehot
                parts = _category_inputs(j, X[weighty, j], n_categories, embedded)
                (codes if embedded else one_hot).append(parts[0])
                one_hot.append(parts[1])
        # Codes come first: learned inputs that are alike in a bank stand together.
        return EncodedColumns.join([*codes, found, *one_hot])

    def fit_numbers(self, X, sample_weight):
        """Choose the encoded columns of numbers from training rows.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_numbers)
            Raw rows, NaN where a value is missing.
        sample_weight : ndarray of shape (n_samples,)
            Weight of each row.

        Returns
        -------
        columns : EncodedColumns
            Their inputs.
        """
        raise NotImplementedError("abstract method")


def missing_indicators(X):
    """Make indicators for the columns with missing values and with present ones.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Raw training rows.

    Returns
    -------
    columns : EncodedColumns
        One input a column that has both kinds of cells.
    """
    missing = np.isnan(X)
    return EncodedColumns.indicators(
        np.flatnonzero(missing.any(axis=0) & ~missing.all(axis=0))
    )


def _category_inputs(column, values, n_categories, embedded):
    """Encode one column of categories: its inputs, and the indicator of its gaps."""
    gaps = missing_indicators(values[:, None]).reading([column])
    if embedded:
        return EncodedColumns.code(column, n_categories), gaps
    seen, counts = np.unique(values[values >= 0], return_counts=True)
    # A category that every row has, or none, says nothing.
    return EncodedColumns.one_hot(column, seen[counts < len(values)]), gaps
