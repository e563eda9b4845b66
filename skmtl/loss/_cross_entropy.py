"""Cross-entropy."""

from numbers import Real

from torch.nn import functional as F

from .._constraints import Interval
from ._classes import ClassLoss


class CrossEntropy(ClassLoss):
    """Minus the log probability of the labelled class, in nats.

    A task of two classes has one output, the log odds of the second class; a task of
    more classes has one output a class. Both kinds stand side by side in one network.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        Share of each label that is spread evenly over all classes, in [0, 1). It acts
        in training only: held-out rows are scored by the plain loss.

    See Also
    --------
    Focal : Look more at rows that are hard to classify.
    SquaredError : For targets that are numbers.

    References
    ----------
    .. [1] C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna (2016). Rethinking
       the Inception Architecture for Computer Vision. CVPR, section 7.
       https://arxiv.org/abs/1512.00567

    Examples
    --------
    >>> import torch
    >>> from skmtl.loss import CrossEntropy
    >>> CrossEntropy().cells(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1))
    tensor([[[0.6931]]])
    """

    _fusable = ("label_smoothing",)
    _parameter_constraints = {"label_smoothing": [Interval(Real, 0, 1, closed="left")]}

    def __init__(self, label_smoothing=0.0):
        self.label_smoothing = label_smoothing

    @property
    def takes_corrections(self):
        """Whether errors may be added, bool: not to probabilities that are smoothed."""
        return self.label_smoothing == 0

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

    def training_cells(self, outputs, targets):
        """Compare outputs with smoothed labels.

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
        share = self._value("label_smoothing", outputs)
        if isinstance(share, Real) and share == 0:
            return self.cells(outputs, targets)
        if outputs.shape[-1] == 1:
            return self.cells(outputs, (1 - share) * targets + share / 2)
        spread = -F.log_softmax(outputs, dim=-1).mean(-1)
        return (1 - share) * self.cells(outputs, targets) + share * spread
