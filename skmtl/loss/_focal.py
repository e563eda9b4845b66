"""Focal loss."""

from numbers import Real

import torch
from torch.nn import functional as F

from .._constraints import Interval
from ._classes import ClassLoss


class Focal(ClassLoss):
    r"""Cross-entropy that fades where the labelled class is already probable.

    With the probability :math:`p` of the labelled class the loss is
    :math:`-(1 - p)^\gamma \log p`. Made for classes of very unequal size; the
    probabilities that come out are less extreme than the frequencies.

    Parameters
    ----------
    gamma : float, default=2.0
        How fast the loss fades; 0 is the cross-entropy.

    See Also
    --------
    CrossEntropy : Gives calibrated probabilities.

    Notes
    -----
    The paper's weight alpha by class is the estimators' ``class_weight``.

    References
    ----------
    .. [1] T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar (2017). Focal Loss for
       Dense Object Detection. ICCV, equation 4. https://arxiv.org/abs/1708.02002

    Examples
    --------
    >>> import torch
    >>> from skmtl.loss import Focal
    >>> Focal().cells(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1))
    tensor([[[0.1733]]])
    """

    _fusable = ("gamma",)
    _parameter_constraints = {"gamma": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, gamma=2.0):
        self.gamma = gamma

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
            Between 0 and the cross-entropy.
        """
        if outputs.shape[-1] == 1:
            odds = outputs.squeeze(-1)
            odds = torch.where(targets > 0.5, odds, -odds)
            log_probability = F.logsigmoid(odds)
            log_rest = F.logsigmoid(-odds)
        else:
            codes = targets.long().unsqueeze(-1)
            logs = F.log_softmax(outputs, dim=-1)
            log_probability = logs.gather(-1, codes).squeeze(-1)
            # log(1 - p) from the other classes, exact where p is close to one.
            others = torch.zeros_like(outputs).scatter(-1, codes, -torch.inf) + logs
            log_rest = others.logsumexp(-1)
        return -(self._value("gamma", outputs) * log_rest).exp() * log_probability
