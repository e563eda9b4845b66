"""Scaling of numeric columns."""

from numbers import Real

import numpy as np

from .._constraints import Interval
from .._encoder_bank import EncodedColumns
from .._moments import weighted_moments
from ._base import MAX_ONEHOT, Encoding, missing_indicators


class Standard(Encoding):
    """Scale every column to zero mean and unit variance.

    A missing value becomes 0, the mean, and a column with missing values in the
    training rows gets a second input that says so. Columns that are constant over the
    training rows carry nothing and are left out.

    Parameters
    ----------
    clip : float, default=None
        Inputs are limited to +-clip, in standard deviations. None does not limit them:
        clipping loses accuracy on tables with heavy tails.
    max_onehot : int, default=32
        Columns of more categories get a learned embedding, others an input a category.

    See Also
    --------
    PiecewiseLinear : Bins between quantiles, for tables with few columns.
    Auto : Choose between the two.

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl.encoding import Standard
    >>> X = np.array([[1.0, 7.0], [3.0, 7.0], [np.nan, 7.0]])
    >>> Standard().fit(X, np.ones(3)).n_inputs
    2
    """

    _parameter_constraints = {
        "clip": [Interval(Real, 0, None, closed="neither"), None],
        "max_onehot": MAX_ONEHOT,
    }

    def __init__(self, clip=None, *, max_onehot=32):
        self.clip = clip
        self.max_onehot = max_onehot

    def fit_numbers(self, X, sample_weight):
        """Measure weighted means and standard deviations.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Raw rows, NaN where a value is missing.
        sample_weight : ndarray of shape (n_samples,)
            Weight of each row.

        Returns
        -------
        columns : EncodedColumns
            One input a varying column, and one a column with missing values.
        """
        mean, scale = weighted_moments(X, sample_weight)
        kept = np.flatnonzero(scale > 0)
        limit = np.full(len(kept), np.inf if self.clip is None else self.clip)
        scaled = EncodedColumns(
            kept, mean[kept], 1 / scale[kept], -limit, limit, np.zeros(len(kept))
        )
        return EncodedColumns.join([scaled, missing_indicators(X)])
