"""Cross-entropy."""

import numpy as np
import torch
from torch.nn import functional as F

from ._base import Loss


class CrossEntropy(Loss):
    """Minus the log probability of the labelled class, in nats.

    A task of two classes has one output, the log odds of the second class; a task of
    more classes has one output a class. Both kinds stand side by side in one network.

    See Also
    --------
    SquaredError : For targets that are numbers.

    Examples
    --------
    >>> import torch
    >>> from skmtl.loss import CrossEntropy
    >>> CrossEntropy().cells(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1))
    tensor([[[0.6931]]])
    """

    def n_outputs(self, n_classes):
        """Give one output for two classes, one a class for more.

        Parameters
        ----------
        n_classes : int
            Classes of the task.

        Returns
        -------
        n_outputs : int
            Number of outputs.
        """
        return 1 if n_classes <= 2 else n_classes

    def cells(self, outputs, targets):
        """Compare outputs with class codes.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_tasks, n_outputs)
            Log odds, or unnormalised log probabilities.
        targets : Tensor of shape (n_networks, n_rows, n_tasks)
            Class codes 0 to n_classes - 1.

        Returns
        -------
        cells : Tensor of shape (n_networks, n_rows, n_tasks)
            In nats.
        """
        if outputs.shape[-1] == 1:
            odds = outputs.squeeze(-1)
            return F.softplus(odds) - targets * odds
        log_probability = F.log_softmax(outputs, dim=-1)
        codes = targets.long().unsqueeze(-1)
        return -log_probability.gather(-1, codes).squeeze(-1)

    def link(self, outputs):
        """Turn outputs into probabilities.

        Parameters
        ----------
        outputs : Tensor of shape (..., n_outputs)
            Of one task.

        Returns
        -------
        probabilities : Tensor of shape (..., n_classes)
            Sum to 1 over classes.
        """
        if outputs.shape[-1] == 1:
            return torch.cat([torch.sigmoid(-outputs), torch.sigmoid(outputs)], dim=-1)
        return torch.softmax(outputs, dim=-1)

    def initial_bias(self, targets, weights, n_classes):
        """Take the logs of the class frequencies.

        Parameters
        ----------
        targets, weights : ndarray of shape (n_samples,)
            Class codes and weights.
        n_classes : int
            Classes of the task.

        Returns
        -------
        bias : ndarray of shape (n_outputs,)
            Frequencies are shrunk by one part in a thousand, so that a class that the
            rows lack keeps a finite logit.
        """
        n_classes = max(n_classes, 2)
        counts = np.bincount(targets.astype(int), weights, minlength=n_classes)
        total = counts.sum()
        share = counts / total if total > 0 else np.full(n_classes, 1 / n_classes)
        logs = np.log(0.999 * share + 0.001 / n_classes)
        return logs[1:] - logs[:1] if n_classes == 2 else logs
