"""Poisson deviance."""

import torch

from ._log_link import LogLink, bounded_exp


class Poisson(LogLink):
    """Half the Poisson deviance, for counts and other numbers from zero on.

    The network predicts the log of the mean, so that predictions are positive and
    effects multiply. Targets are measured in units of their mean.

    See Also
    --------
    Gamma : Errors in proportion to the mean.

    References
    ----------
    .. [1] P. McCullagh, J. A. Nelder (1989). Generalized Linear Models, chapter 2.

    Examples
    --------
    >>> import torch
    >>> from skmtl.loss import Poisson
    >>> Poisson().cells(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1))
    tensor([[[1.]]])
    """

    def check_labels(self, name, labels):
        """Refuse negative labels.

        Parameters
        ----------
        name : object
            The task, for messages.
        labels : ndarray of shape (n_labelled,)
            Its labels.

        Raises
        ------
        ValueError
            If a label is negative.
        """
        if (labels < 0).any():
            raise ValueError(
                f"Task {name!r} has labels below zero, the smallest is "
                f"{labels.min():g}; the Poisson loss is for numbers from zero on. Use "
                "another loss for this task, such as 'squared_error'."
            )

    def cells(self, outputs, targets):
        """Compute half the deviance.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_tasks, 1)
            Logs of the scaled mean.
        targets : Tensor of shape (n_networks, n_rows, n_tasks)
            Scaled targets.

        Returns
        -------
        cells : Tensor of shape (n_networks, n_rows, n_tasks)
            0 where the prediction is right.
        """
        logs = outputs.squeeze(-1)
        return bounded_exp(logs) - targets * (logs + 1) + torch.xlogy(targets, targets)
