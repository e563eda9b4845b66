"""Squared error."""

import numpy as np

from ._base import Loss


class SquaredError(Loss):
    """Squared difference, for targets that are numbers.

    Targets are scaled to unit variance inside, so that tasks in different units count
    alike.

    See Also
    --------
    CrossEntropy : For targets that are classes.

    Examples
    --------
    >>> import torch
    >>> from skmtl.loss import SquaredError
    >>> SquaredError().cells(torch.tensor([[[[3.0]]]]), torch.tensor([[[1.0]]]))
    tensor([[[4.]]])
    """

    scales_targets = True

    def n_outputs(self, n_classes):
        """Give the one output of a number.

        Parameters
        ----------
        n_classes : None
            Numbers have no classes.

        Returns
        -------
        n_outputs : int
            1.
        """
        return 1

    def cells(self, outputs, targets):
        """Square the differences.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_tasks, 1)
            Predictions in units of the scaled target.
        targets : Tensor of shape (n_networks, n_rows, n_tasks)
            Scaled targets.

        Returns
        -------
        cells : Tensor of shape (n_networks, n_rows, n_tasks)
            Squared errors.
        """
        return (outputs.squeeze(-1) - targets).square()

    def link(self, outputs):
        """Pass the outputs on.

        Parameters
        ----------
        outputs : Tensor of shape (..., 1)
            Of one task.

        Returns
        -------
        predictions : Tensor of shape (..., 1)
            The outputs.
        """
        return outputs

    def initial_bias(self, targets, weights, n_classes):
        """Average the scaled targets.

        Parameters
        ----------
        targets, weights : ndarray of shape (n_samples,)
            Scaled targets and weights.
        n_classes : None
            Numbers have no classes.

        Returns
        -------
        bias : ndarray of shape (1,)
            The weighted mean, 0 for a task without labels.
        """
        total = weights.sum()
        return np.array([(targets * weights).sum() / total if total > 0 else 0.0])
