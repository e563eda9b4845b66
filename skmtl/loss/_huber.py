"""Huber's loss."""

from numbers import Real

import numpy as np
import torch

from .._constraints import Interval
from ._base import Loss, weighted_quantile


class Huber(Loss):
    r"""Squared for small differences and absolute for large ones.

    With the difference :math:`r` the loss is :math:`\tfrac12 r^2` up to
    :math:`|r| = \delta` and :math:`\delta (|r| - \tfrac12 \delta)` beyond.

    Parameters
    ----------
    delta : float, default=1.35
        Where the loss turns, in standard deviations of the labels.

    See Also
    --------
    SquaredError : The limit of a large delta, times one half.
    AbsoluteError : The limit of a small delta, times delta.

    References
    ----------
    .. [1] P. J. Huber (1964). Robust Estimation of a Location Parameter. Annals of
       Mathematical Statistics 35, 73-101.

    Examples
    --------
    >>> import torch
    >>> from skmtl.loss import Huber
    >>> Huber(delta=1.0).cells(torch.tensor([[[[3.0]]]]), torch.tensor([[[1.0]]]))
    tensor([[[1.5000]]])
    """

    _fusable = ("delta",)
    _parameter_constraints = {"delta": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, delta=1.35):
        self.delta = delta

    def cells(self, outputs, targets):
        """Compute the loss of the differences.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_tasks, 1)
            Predictions in units of the scaled target.
        targets : Tensor of shape (n_networks, n_rows, n_tasks)
            Scaled targets.

        Returns
        -------
        cells : Tensor of shape (n_networks, n_rows, n_tasks)
            Losses.
        """
        delta = self._value("delta", outputs)
        size = (outputs.squeeze(-1) - targets).abs()
        # The part below delta is squared, all of it above is linear in slope delta.
        limit = torch.as_tensor(delta, dtype=size.dtype, device=size.device)
        small = torch.minimum(size, limit)
        return 0.5 * small.square() + delta * (size - small)

    def initial_bias(self, targets, weights, n_classes):
        """Take the weighted median of the scaled targets.

        Parameters
        ----------
        targets, weights : ndarray of shape (n_samples,)
            Scaled targets and weights.
        n_classes : None
            Numbers have no classes.

        Returns
        -------
        bias : ndarray of shape (1,)
            Near the best constant; 0 for a task without labels.
        """
        return np.array([weighted_quantile(targets, weights, 0.5)])
