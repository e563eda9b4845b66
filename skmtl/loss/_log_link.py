"""Losses of positive numbers, predicted on the log scale."""

import numpy as np

from ._base import Loss

# Beyond this log the exponential goes on as a line.
_LARGEST_LOG = 30.0


class LogLink(Loss):
    """Base class of losses that predict the log of the mean of positive numbers."""

    def scaling(self, mean, scale):
        """Measure the labels in units of their mean, and keep zero where it is.

        Parameters
        ----------
        mean, scale : float
            Weighted moments of the labels.

        Returns
        -------
        shift, unit : float
            0 and the mean.
        """
        return 0.0, mean if mean > 0 else 1.0

    def link(self, outputs):
        """Turn logs into means.

        Parameters
        ----------
        outputs : Tensor of shape (..., 1)
            Logs of the scaled mean.

        Returns
        -------
        predictions : Tensor of shape (..., 1)
            Positive.
        """
        return bounded_exp(outputs)

    def initial_bias(self, targets, weights, n_classes):
        """Take the log of the weighted mean.

        Parameters
        ----------
        targets, weights : ndarray of shape (n_samples,)
            Scaled targets and weights.
        n_classes : None
            Numbers have no classes.

        Returns
        -------
        bias : ndarray of shape (1,)
            0 for a task without labels, and for one whose labels are all zero a
            finite number far below.
        """
        mean = super().initial_bias(targets, weights, n_classes)
        return np.log(np.maximum(mean, 1e-6)) if weights.any() else mean


def bounded_exp(logs):
    """Compute the exponential, continued by its tangent where it would overflow.

    Parameters
    ----------
    logs : Tensor
        Any finite numbers.

    Returns
    -------
    values : Tensor
        Finite, and still ascending, so that a step too far can be taken back.
    """
    near = logs.clamp(max=_LARGEST_LOG)
    return near.exp() * (1 + logs - near)
