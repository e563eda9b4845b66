"""Weighted means and standard deviations of columns with missing values."""

import numpy as np

# Scales whose squares neither vanish nor overflow; others are computed with care.
_SMALL = 1e-150
# Scales that are a smaller share of the mean may be nothing but rounding of it.
_DOUBTFUL = 1e-9


def weighted_moments(X, sample_weight):
    """Compute the mean and the standard deviation of the present values of each column.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_columns)
        Values, NaN where missing.
    sample_weight : ndarray of shape (n_samples,) or (n_samples, n_columns)
        Weights.

    Returns
    -------
    mean, scale : ndarray of shape (n_columns,)
        In units of the column; the scale is 0 for columns that are constant up to
        rounding, and both are 0 for columns without values.
    """
    if sample_weight.ndim == 1 and not np.isnan(X.sum()):
        mean, scale = _complete_moments(X, sample_weight / sample_weight.sum())
        if ((scale > _SMALL) & (scale < 1 / _SMALL)).all():
            return mean, _without_rounding(mean, scale, X, sample_weight)
    present = ~np.isnan(X)
    weight = np.broadcast_to(sample_weight.reshape(len(X), -1), X.shape) * present
    total = weight.sum(axis=0)
    total = np.where(total > 0, total, 1.0)
    filled = np.where(present, X, 0.0)
    # Shares instead of sums, and units, so that values near 1e300 stay finite.
    share = weight / total
    mean = (share * filled).sum(axis=0)
    centred = np.where(present, filled - mean, 0.0)
    largest = np.abs(centred).max(axis=0, initial=0.0)
    unit = np.where(largest > 0, largest, 1.0)
    scale = unit * np.sqrt((share * (centred / unit) ** 2).sum(axis=0))
    return mean, _without_rounding(mean, scale, X, weight)


def _complete_moments(X, share):
    """Compute the moments of a table without missing values, in few passes."""
    mean = share @ X
    centred = X - mean
    with np.errstate(over="ignore", invalid="ignore"):
        np.square(centred, out=centred)
        return mean, np.sqrt(share @ centred)


def _without_rounding(mean, scale, X, weight):
    """Call a column constant when its scale is no more than rounding of its mean."""
    scale = np.where(scale > 10 * np.finfo(float).eps * np.abs(mean), scale, 0.0)
    weight = weight.reshape(len(X), -1)
    # A mean of many values is rounded more than that, and may be off a single value.
    for j in np.flatnonzero((scale > 0) & (scale < _DOUBTFUL * np.abs(mean))):
        own = weight[:, j if weight.shape[1] > 1 else 0] > 0
        values = X[own, j]
        if np.nanmin(values) == np.nanmax(values):
            scale[j] = 0.0
    return scale
