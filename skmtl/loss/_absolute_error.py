"""Absolute error."""

import numpy as np

from ._base import Loss, weighted_quantile


class AbsoluteError(Loss):
    """Absolute difference, for targets that are numbers; predicts medians.

    Targets are scaled to unit variance inside.

    See Also
    --------
    Huber : Between this and the squared error.
    Quantile : Other quantiles than the median.

    Examples
    --------
    >>> import torch
    >>> from skmtl.loss import AbsoluteError
    >>> AbsoluteError().cells(torch.tensor([[[[3.0]]]]), torch.tensor([[[1.0]]]))
    tensor([[[2.]]])
    """

    def cells(self, outputs, targets):
        """Take the sizes of the differences.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_tasks, 1)
            Predictions in units of the scaled target.
        targets : Tensor of shape (n_networks, n_rows, n_tasks)
            Scaled targets.

        Returns
        -------
        cells : Tensor of shape (n_networks, n_rows, n_tasks)
            Absolute errors.
        """
        return (outputs.squeeze(-1) - targets).abs()

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
            0 for a task without labels.
        """
        return np.array([weighted_quantile(targets, weights, 0.5)])
