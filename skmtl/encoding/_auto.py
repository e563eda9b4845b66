"""The default encoding."""

from numbers import Integral

from .._constraints import Interval
from ._base import MAX_ONEHOT, Encoding
from ._piecewise_linear import PiecewiseLinear
from ._standard import Standard


class Auto(Encoding):
    """Bins for tables with few columns, scaling for wide ones.

    Parameters
    ----------
    max_binned_features : int, default=100
        Tables with more columns of numbers than this are standardised; up to it they
        are encoded by :class:`PiecewiseLinear`.
    n_bins : int, default=8
        Passed to :class:`PiecewiseLinear`.
    max_levels : int, default=32
        Passed to :class:`PiecewiseLinear`.
    max_onehot : int, default=32
        Columns of more categories get a learned embedding, others an input a category.

    See Also
    --------
    Standard : Scaling only.
    PiecewiseLinear : Bins between quantiles.

    Notes
    -----
    The limit is by measurement: see ``examples/benchmarks/bench_tabular.py``. The rule
    looks at columns only, so that all folds of a cross-validation agree.

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl.encoding import Auto
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> Auto(n_bins=4).fit(X, np.ones(50)).n_inputs
    15
    """

    _parameter_constraints = {
        "max_binned_features": [Interval(Integral, 0, None, closed="left")],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "max_levels": [Interval(Integral, 0, None, closed="left")],
        "max_onehot": MAX_ONEHOT,
    }

    def __init__(
        self, max_binned_features=100, *, n_bins=8, max_levels=32, max_onehot=32
    ):
        self.max_binned_features = max_binned_features
        self.n_bins = n_bins
        self.max_levels = max_levels
        self.max_onehot = max_onehot

    def fit_numbers(self, X, sample_weight):
        """Fit the encoding that the number of columns asks for.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Raw rows, NaN where a value is missing.
        sample_weight : ndarray of shape (n_samples,)
            Weight of each row.

        Returns
        -------
        columns : EncodedColumns
            Of the encoding chosen.
        """
        wide = X.shape[1] > self.max_binned_features
        ramps = PiecewiseLinear(self.n_bins, max_levels=self.max_levels)
        chosen = Standard() if wide else ramps
        return chosen.fit_numbers(X, sample_weight)
