"""Squared error."""

from ._base import Loss


class SquaredError(Loss):
    """Squared difference, for targets that are numbers; predicts means.

    Targets are scaled to unit variance inside, so that tasks in different units count
    alike.

    See Also
    --------
    AbsoluteError, Huber : Less moved by outliers.
    Poisson, Gamma : For counts and for positive numbers.

    Examples
    --------
    >>> import torch
    >>> from skmtl.loss import SquaredError
    >>> SquaredError().cells(torch.tensor([[[[3.0]]]]), torch.tensor([[[1.0]]]))
    tensor([[[4.]]])
    """

    takes_corrections = True

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

    def derivatives(self, outputs, targets):
        """Differentiate the squares.

        Parameters
        ----------
        outputs, targets : Tensor of shape (n_networks, n_rows, n_tasks)
            Predictions and scaled targets.

        Returns
        -------
        derivatives : tuple of (Tensor, float)
            Twice the error, and 2.
        """
        return (outputs - targets).mul_(2.0), 2.0
