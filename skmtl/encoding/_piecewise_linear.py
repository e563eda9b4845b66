"""Piecewise-linear encoding of numeric columns."""

from numbers import Integral, Real

import numpy as np

from .._constraints import Interval
from .._encoder_bank import EncodedColumns
from .._moments import weighted_moments
from ._base import MAX_ONEHOT, Encoding, missing_indicators

# With fewer, an effect of a single value is mostly noise: mtr_edm, 115 rows, loses.
ROWS_PER_LEVEL = 10


class PiecewiseLinear(Encoding):
    r"""Cut every column at its quantiles and encode each bin as a ramp.

    The input of bin :math:`[e_b, e_{b+1}]` is :math:`(x - e_b) / (e_{b+1} - e_b)`
    clamped to [0, 1]; the first and the last bin continue beyond the training range,
    as far as `clip` lets them. A network can then be steep in one bin and flat in the
    next, which tables often want.

    Parameters
    ----------
    n_bins : int, default=8
        Bins of a column, between quantiles; fewer where quantiles coincide.
    max_levels : int, default=32
        Columns with at most this many distinct values, each in ten rows on average, get
        an edge at each value instead, so that hours, counts and grades can have any
        effect; 0 for none.
    linear : bool, default=True
        Add the standardised column itself.
    clip : float, default=4.0
        Standard deviations from the mean beyond which a value counts as one at this
        limit; None does not limit it. One broken reading otherwise gets a prediction
        far out. The bins always reach as far as the rows of fit.
    max_onehot : int, default=32
        Columns of more categories get a learned embedding, others an input a category.

    See Also
    --------
    Standard : Scaling only, for wide tables.

    Notes
    -----
    Edges are quantiles of the inverse distribution function, so that integer weights
    give the edges of repeated rows. Rows are counted by weight for `max_levels`, too;
    weights that are not counts should have a mean of about one. A missing value encodes
    as zeros, and columns with missing values get an indicator.

    References
    ----------
    .. [1] Y. Gorishniy, I. Rubachev, A. Babenko (2022). On Embeddings for Numerical
       Features in Tabular Deep Learning. NeurIPS, section 3.2.
       https://arxiv.org/abs/2203.05556

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl.encoding import PiecewiseLinear
    >>> X = np.arange(10.0)[:, None]
    >>> columns = PiecewiseLinear(n_bins=2, linear=False).fit(X, np.ones(10))
    >>> columns.shift
    array([0., 4.])
    """

    _parameter_constraints = {
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "max_levels": [Interval(Integral, 0, None, closed="left")],
        "linear": ["boolean"],
        "clip": [Interval(Real, 0, None, closed="neither"), None],
        "max_onehot": MAX_ONEHOT,
    }

    def __init__(
        self, n_bins=8, *, max_levels=32, linear=True, clip=4.0, max_onehot=32
    ):
        self.n_bins = n_bins
        self.max_levels = max_levels
        self.linear = linear
        self.clip = clip
        self.max_onehot = max_onehot

    def fit_numbers(self, X, sample_weight):
        """Find the weighted quantiles of every column.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Raw rows, NaN where a value is missing.
        sample_weight : ndarray of shape (n_samples,)
            Weight of each row.

        Returns
        -------
        columns : EncodedColumns
            The bins of column 0, then those of column 1 and so on.
        """
        mean, scale = weighted_moments(X, sample_weight)
        reach = np.inf if self.clip is None else self.clip
        parts = []
        for j in np.flatnonzero(scale > 0):
            edges = self._edges(X[:, j], sample_weight)
            # What fit has seen is never cut off by bins, nor where there are none.
            low = min(edges[0], mean[j] - reach * scale[j])
            high = max(edges[-1], mean[j] + reach * scale[j])
            if len(edges) < 3:
                parts.append(_line(j, mean[j], scale[j], low, high))
                continue
            if self.linear:
                limits = mean[j] - reach * scale[j], mean[j] + reach * scale[j]
                parts.append(_line(j, mean[j], scale[j], *limits))
            parts.append(_ramps(j, edges, low, high))
        return EncodedColumns.join([*parts, missing_indicators(X)])

    def _edges(self, column, sample_weight):
        present = ~np.isnan(column)
        there = present & (sample_weight > 0)
        values = np.unique(column[there])
        # Rows are counted by weight, so that integer weights equal repeated rows.
        n_rows = sample_weight[there].sum()
        if len(values) <= min(self.max_levels, n_rows / ROWS_PER_LEVEL):
            return values
        levels = np.linspace(0, 1, self.n_bins + 1)
        return np.unique(
            np.quantile(
                column[present],
                levels,
                weights=sample_weight[present],
                method="inverted_cdf",
            )
        )


def _line(j, mean, scale, low, high):
    bounds = (np.array([low, high]) - mean) / scale
    return EncodedColumns(
        np.array([j]),
        np.array([mean]),
        np.array([1 / scale]),
        bounds[:1],
        bounds[1:],
        np.zeros(1),
    )


def _ramps(j, edges, lowest, highest):
    """Rise from 0 to 1 in each bin; the outer ones go on, as far as the column may."""
    n_bins, widths = len(edges) - 1, np.diff(edges)
    low, high = np.zeros(n_bins), np.ones(n_bins)
    low[0] = (lowest - edges[0]) / widths[0]
    high[-1] = (highest - edges[-2]) / widths[-1]
    return EncodedColumns(
        np.full(n_bins, j), edges[:-1], 1 / widths, low, high, np.zeros(n_bins)
    )
