"""Gradient norms that follow the training rates of tasks."""

from numbers import Real

import numpy as np
import torch

from .._constraints import Interval
from ._gramian import GramianModule, GramianWeighting

# Least weight of a task before the weights are scaled.
_LEAST = 1e-3


class GradNorm(GramianWeighting):
    r"""Learn weights that give tasks gradients of like size, larger for those behind.

    Weights are moved downhill on :math:`\sum_t |w_t \|g_t\| - \bar n r_t^\alpha|`,
    where :math:`\bar n` is the mean of :math:`w_t \|g_t\|`, and :math:`r_t` the loss
    over the first loss, in units of its mean over tasks.

    Parameters
    ----------
    alpha : float, default=1.5
        How much larger the gradients of tasks that lag behind shall be; 0 makes all
        alike.
    lr : float, default=0.025
        Learning rate of the weights.
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    Attributes
    ----------
    weights_ : Tensor of shape (n_networks, n_tasks)
        In the order of ``task_names_``; on the fitted ``weighting_``.

    See Also
    --------
    HeadRates : Learning rates of heads by the same ratio.
    DWA : Weights by how fast losses fall.
    ImpartialGrad : Like projections in place of like norms.

    Notes
    -----
    Norms are taken in units of their mean, so that the weights do not depend on the
    scale of all losses. The step on the weights is plain gradient descent, as the
    derivative of the paper's objective is a norm times a sign; the target is held
    constant in it, and the weights are scaled to the number of tasks after it. The
    first loss of a task is that of the first batch that has it.

    References
    ----------
    .. [1] Z. Chen, V. Badrinarayanan, C.-Y. Lee, A. Rabinovich (2018). GradNorm:
       Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks.
       ICML, equation 2. https://arxiv.org/abs/1711.02257

    Examples
    --------
    >>> from skmtl.weighting import GradNorm
    >>> GradNorm(alpha=0.5)
    GradNorm(alpha=0.5)
    """

    _fusable = ("alpha", "lr")
    _parameter_constraints = {
        **GramianWeighting._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, alpha=1.5, lr=0.025, *, gradients="features", update_every=1):
        super().__init__(gradients=gradients, update_every=update_every)
        self.alpha = alpha
        self.lr = lr

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
            Holds the weights as a buffer.
        """
        return GradNormModule(self, shape, streams)


class GradNormModule(GramianModule):
    """The module that :class:`GradNorm` builds.

    Parameters
    ----------
    choice : GradNorm
        Hyperparameters.
    shape : BankShape
        Sizes.
    streams : Streams, optional
        Unused.
    """

    def __init__(self, choice, shape, streams=None):
        super().__init__(choice, shape, streams)
        ones = torch.ones(shape.n_networks, shape.n_tasks, dtype=torch.float64)
        self.register_buffer("weights_", ones)
        # Not a number before the task was seen.
        self.register_buffer("first_", torch.full_like(ones, torch.nan))
        for name in ("alpha", "lr"):
            value = choice.per_network(name, shape.n_networks)[:, None]
            self.register_buffer(name, value)

    def solve(self, gramian, losses, present, networks):
        """Take one step on the weights.

        Parameters
        ----------
        gramian : ndarray of shape (n, n_tasks, n_tasks)
            Inner products of gradients.
        losses : ndarray of shape (n, n_tasks)
            Of the batch.
        present : ndarray of shape (n, n_tasks), bool
            Weights of absent tasks stay as they are.
        networks : ndarray of shape (n,), int
            Whose weights are moved.

        Returns
        -------
        weights : ndarray of shape (n, n_tasks)
            They sum to n_tasks.
        """
        losses = losses.astype(np.float64)
        first = self.read("first_", networks)
        first = np.where(present & np.isnan(first), losses, first)
        self.write("first_", networks, first)
        counted = np.maximum(present.sum(1, keepdims=True), 1)
        ratio = np.divide(losses, first, out=np.ones_like(losses), where=first > 0)
        ratio = np.where(present, ratio, 0.0)
        mean = ratio.sum(1, keepdims=True) / counted
        ratio = np.divide(ratio, mean, out=np.ones_like(ratio), where=mean > 0)
        norm = np.sqrt(gramian.diagonal(axis1=1, axis2=2)) * present
        norm = norm * counted / norm.sum(1, keepdims=True)
        before = self.read("weights_", networks)
        size = before * norm
        target = size.sum(1, keepdims=True) / counted
        target = target * ratio ** self.read("alpha", networks)
        step = self.read("lr", networks) * np.sign(size - target) * norm
        after = np.maximum(before - step, _LEAST)
        # So that all weights go on to sum to the number of tasks.
        whole, moved = (w.sum(1, keepdims=True, where=present) for w in (before, after))
        after = np.where(present, after * whole / moved, before)
        self.write("weights_", networks, after)
        return after

    def reset(self):
        """Forget weights and first losses."""
        super().reset()
        self.weights_.fill_(1.0)
        self.first_.fill_(torch.nan)
