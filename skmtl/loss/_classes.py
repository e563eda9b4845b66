"""What losses of classes have in common."""

import numpy as np
import torch

from ._base import Loss


class ClassLoss(Loss):
    """Base class of losses of classes.

    A task of two classes has one output, the log odds of the second class; a task of
    more classes has one output a class.
    """

    kind = "class"

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

    def n_predictions(self, n_classes):
        """Give one probability a class.

        Parameters
        ----------
        n_classes : int
            Classes of the task.

        Returns
        -------
        n_predictions : int
            At least 2.
        """
        return max(n_classes, 2)

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
