"""Columns as coordinates, for what is not a network."""

from .._moments import weighted_moments
from ._base import Encoding
from ._standard import Standard

_CLIP = 4.0  # standard deviations
_N_CLIPS = 3  # each takes most of what an outlier adds to a deviation


class Places(Encoding):
    """Scale columns of numbers so that distances between rows make sense.

    As :class:`Standard` with a clip, but for wild values, which must not be the measure
    of the others, and for columns of many categories, whose numbers say nothing: they
    are left out. Not for networks, and not public.
    """

    def fit(self, X, sample_weight, categories=None):
        """Choose the coordinates.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Raw rows, NaN where a value is missing. Categories are codes from 0, and -1
            for an unseen one.
        sample_weight : ndarray of shape (n_samples,)
            Weight of each row.
        categories : sequence of (int or None), length n_features, optional
            Categories of each column, None for numbers; by default all are numbers.

        Returns
        -------
        columns : EncodedColumns
            Numbers alone; none of them is learned.
        """
        columns = super().fit(X, sample_weight, categories)
        return columns.taking(columns.kind != columns.CODE)

    def fit_numbers(self, X, sample_weight):
        """Measure means and standard deviations that outliers hardly move.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_numbers)
            Raw rows, NaN where a value is missing.
        sample_weight : ndarray of shape (n_samples,)
            Weight of each row.

        Returns
        -------
        columns : EncodedColumns
            Those of :class:`Standard` with a clip.
        """
        for _ in range(_N_CLIPS):
            mean, scale = weighted_moments(X, sample_weight)
            X = X.clip(mean - _CLIP * scale, mean + _CLIP * scale)
        return Standard(clip=_CLIP).fit_numbers(X, sample_weight)
