"""Gamma deviance."""

import torch

from ._log_link import LogLink, bounded_exp


class Gamma(LogLink):
    """Half the gamma deviance, for positive numbers with errors in proportion to them.

    The network predicts the log of the mean. Targets are measured in units of their
    mean.

    See Also
    --------
    Poisson : Errors that grow with the root of the mean.

    References
    ----------
    .. [1] P. McCullagh, J. A. Nelder (1989). Generalized Linear Models, chapter 8.

    Examples
    --------
    >>> import torch
    >>> from skmtl.loss import Gamma
    >>> Gamma().cells(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1), 2.0))
    tensor([[[0.3069]]])
    """

    def check_labels(self, name, labels):
        """Refuse labels that are not positive.

        Parameters
        ----------
        name : object
            The task, for messages.
        labels : ndarray of shape (n_labelled,)
            Its labels.

        Raises
        ------
        ValueError
            If a label is zero or negative.
        """
        if (labels <= 0).any():
            raise ValueError(
                f"Task {name!r} has labels that are not positive, the smallest is "
                f"{labels.min():g}; the gamma loss is for positive numbers. Use "
                "another loss for this task, such as 'poisson' or 'squared_error'."
            )

    def cells(self, outputs, targets):
        """Compute half the deviance.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_tasks, 1)
            Logs of the scaled mean.
        targets : Tensor of shape (n_networks, n_rows, n_tasks)
            Scaled targets; 0 where a label is missing.

        Returns
        -------
        cells : Tensor of shape (n_networks, n_rows, n_tasks)
            0 where the prediction is right.
        """
        logs = outputs.squeeze(-1)
        # Labels are positive: the floor only meets cells that are masked afterwards.
        known = targets.clamp(min=torch.finfo(targets.dtype).tiny)
        return targets * bounded_exp(-logs) + logs - known.log() - 1
