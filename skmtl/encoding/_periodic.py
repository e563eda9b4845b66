"""Periodic embeddings of numeric columns."""

from dataclasses import replace
from numbers import Integral, Real

import numpy as np

from .._constraints import Interval
from .._encoder_bank import EncodedColumns, Waves
from ._base import MAX_ONEHOT, Encoding
from ._standard import Standard


class Periodic(Encoding):
    r"""Embed every column by sines and cosines of frequencies that are learned.

    The standardised column x becomes :math:`\sin(2 \pi c_i x), \cos(2 \pi c_i x)` with
    learned :math:`c_i`, and a layer of the column's own turns these into units:
    periodic, linear, ReLU, the "PLR" of [1]_. Functions that wiggle become easy to
    learn; with a small `sigma` the embedding starts out smooth.

    Parameters
    ----------
    n_frequencies : int, default=16
        Frequencies of each column.
    n_units : int, default=4
        Inputs of the network that a column becomes.
    sigma : float, default=0.1
        Standard deviation of the initial frequencies, in periods per standard deviation
        of the column. The one hyperparameter that is worth a search, between 0.01 and
        10.
    linear : bool, default=True
        Add the standardised column itself.
    max_onehot : int, default=32
        Columns of more categories get a learned embedding, others an input a category.

    See Also
    --------
    PiecewiseLinear : Bins between quantiles, with nothing to learn and cheaper.

    Notes
    -----
    A missing value is embedded as the mean, and columns with missing values get an
    indicator. The embedding belongs to the shared part of a network.

    References
    ----------
    .. [1] Y. Gorishniy, I. Rubachev, A. Babenko (2022). On Embeddings for Numerical
       Features in Tabular Deep Learning. NeurIPS, section 3.3.
       https://arxiv.org/abs/2203.05556

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.encoding import Periodic
    >>> X = np.linspace(0, 1, 200)[:, None]
    >>> y = np.sin(20 * X[:, 0])
    >>> model = MultiTaskNetRegressor(
    ...     encoding=Periodic(sigma=1.0), n_estimators=2, max_epochs=20, random_state=0
    ... )
    >>> model.fit(X, y).score(X, y) > 0.9
    True
    """

    _fusable = ("sigma",)
    _parameter_constraints = {
        "n_frequencies": [Interval(Integral, 1, None, closed="left")],
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "sigma": [Interval(Real, 0, None, closed="neither")],
        "linear": ["boolean"],
        "max_onehot": MAX_ONEHOT,
    }

    def __init__(
        self, n_frequencies=16, *, n_units=4, sigma=0.1, linear=True, max_onehot=32
    ):
        self.n_frequencies = n_frequencies
        self.n_units = n_units
        self.sigma = sigma
        self.linear = linear
        self.max_onehot = max_onehot

    def fit_numbers(self, X, sample_weight):
        """Standardise the columns that the embeddings read.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_numbers)
            Raw rows, NaN where a value is missing.
        sample_weight : ndarray of shape (n_samples,)
            Weight of each row.

        Returns
        -------
        columns : EncodedColumns
            A wave for each column that varies, then its own value, then indicators.
        """
        standard = Standard().fit_numbers(X, sample_weight)
        scaled = standard.slope != 0
        kind = np.where(scaled, EncodedColumns.WAVE, EncodedColumns.LINE)
        sizes = Waves(self.n_frequencies, self.n_units, float(self.sigma))
        waves = replace(standard, kind=kind, waves=sizes).taking(scaled)
        plain = standard if self.linear else standard.taking(~scaled)
        return EncodedColumns.join([waves, plain])
