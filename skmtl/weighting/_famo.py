"""Balancing how fast losses fall, from the losses alone."""

from numbers import Real

import torch

from .._constraints import Interval
from ._base import Weighting, WeightingModule, masked

_BETAS = 0.9, 0.999
_EPS = 1e-8
# A loss that small has been learned; its logarithm must not run away.
_LEAST_LOSS = 1e-12


class FAMO(Weighting):
    r"""Fast adaptive multitask optimization: let all losses fall at the same rate.

    With :math:`z` the softmax of learned logits, the weights are in proportion to
    :math:`z_t / \ell_t`, which approximates the direction of the largest worst-case
    decrease of the logarithms of losses. After each step the logits of tasks whose
    logarithm fell more than others' go down.

    Parameters
    ----------
    lr : float, default=0.025
        Learning rate of the logits, by Adam.
    weight_decay : float, default=1e-3
        Strength of the pull of the logits to zero.

    Attributes
    ----------
    logits_ : Tensor of shape (n_networks, n_tasks)
        In the order of ``task_names_``; on the fitted ``weighting_``.

    See Also
    --------
    NashMTL : A like aim from the gradients.
    DWA : Looks at the losses of whole epochs.

    Notes
    -----
    The losses after a step cost a second forward pass, without dropout. Logits of tasks
    that are absent from a batch stay where they are. The weights do not depend on the
    scale of any loss, as long as it is above 1e-12. The weight decay is that of the
    paper's experiments; the official code has 1e-5 in places.

    References
    ----------
    .. [1] B. Liu, Y. Feng, P. Stone, Q. Liu (2023). FAMO: Fast Adaptive Multitask
       Optimization. NeurIPS, algorithm 1. https://arxiv.org/abs/2306.03792

    Examples
    --------
    >>> from skmtl.weighting import FAMO
    >>> FAMO(lr=0.01)
    FAMO(lr=0.01)
    """

    _fusable = ("lr", "weight_decay")
    _parameter_constraints = {
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, lr=0.025, weight_decay=1e-3):
        self.lr = lr
        self.weight_decay = weight_decay

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            Unused.

        Returns
        -------
        module : WeightingModule
            Holds the logits and their moments as buffers.
        """
        values = [
            self.per_network(name, shape.n_networks).to(shape.dtype)
            for name in self._fusable
        ]
        return FAMOModule(*values, shape)


class FAMOModule(WeightingModule):
    """The module that :class:`FAMO` builds.

    Parameters
    ----------
    lr, weight_decay : Tensor of shape (n_networks,)
        Of the logits.
    shape : BankShape
        Sizes.
    """

    def __init__(self, lr, weight_decay, shape):
        super().__init__()
        self.register_buffer("lr", lr[:, None])
        self.register_buffer("weight_decay", weight_decay[:, None])
        zeros = torch.zeros(shape.n_networks, shape.n_tasks, dtype=shape.dtype)
        for name in ("logits_", "first_", "second_"):
            self.register_buffer(name, zeros.clone())
        self.register_buffer("count_", torch.zeros_like(zeros[:, :1]))
        self._seen = None

    def _shares(self, present):
        absent = ~present & present.any(-1, keepdim=True)
        return torch.softmax(self.logits_.masked_fill(absent, -torch.inf), dim=-1)

    def weights(self, losses, gramian, present):
        """Divide the shares of the tasks by their losses.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Of the batch, not negative.
        gramian : None
            Not needed.
        present : Tensor of shape (n_networks, n_tasks), bool
            Absent tasks get zero.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            In proportion to the shares over the losses.
        """
        known = losses.clamp(min=_LEAST_LOSS)
        self._seen = known.log(), present
        least = torch.where(present, known, torch.inf).amin(-1, keepdim=True)
        return masked(self._shares(present) * (least / known), present)

    def on_step_end(self, losses_after):
        """Move the logits by what the step did to the logarithms of the losses.

        Parameters
        ----------
        losses_after : Tensor of shape (n_networks, n_tasks)
            Losses of the batch after the step.
        """
        before, present = self._seen
        fell = before - losses_after.clamp(min=_LEAST_LOSS).log()
        shares = masked(self._shares(present), present)
        gradient = shares * (fell - (shares * fell).sum(-1, keepdim=True))
        gradient = gradient + self.weight_decay * self.logits_
        # A network that went astray must not lose its logits to it as well.
        moves = present & gradient.isfinite()
        self.count_ += present.any(-1, keepdim=True)
        beta1, beta2 = _BETAS
        first = torch.lerp(gradient, self.first_, beta1)
        second = torch.lerp(gradient.square(), self.second_, beta2)
        count = self.count_.clamp(min=1)
        root = (second / (1 - beta2**count)).sqrt() + _EPS
        moved = self.logits_ - self.lr * first / (1 - beta1**count) / root
        for name, new in (("first_", first), ("second_", second), ("logits_", moved)):
            old = getattr(self, name)
            old.copy_(torch.where(moves, new, old))

    def reset(self):
        """Forget logits and moments."""
        for name in ("logits_", "first_", "second_", "count_"):
            getattr(self, name).zero_()
