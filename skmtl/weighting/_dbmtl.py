"""Balancing losses by their logarithms, and gradients by their norms."""

from numbers import Real

import torch

from .._constraints import Interval
from ._base import Weighting, WeightingModule


class DBMTL(Weighting):
    r"""Dual-balancing: logarithms of losses, and gradients of the largest norm.

    The gradients of :math:`\log \ell_t`, averaged over batches, are all scaled to the
    norm of the largest and summed.

    Parameters
    ----------
    beta : float, default=0.9
        Share of the old average in the new one; 0 takes each batch by itself.

    Attributes
    ----------
    tracked_ : Tensor of shape (n_networks, n_tasks, n_shared)
        Averaged gradients.

    See Also
    --------
    GeometricMean : Logarithms without the norms.
    MoCo : Averages gradients, and looks for their shortest combination.

    Notes
    -----
    Gradients are those at the shared parameters, as batches do not share features; one
    backward pass a task, and memory for the gradients of all tasks. Averages are
    corrected for their start at zero, which libraries leave out. The direction is
    multiplied by the mean loss to have the size of a sum of gradients: a norm of
    :math:`\nabla \log \ell` grows without bound while losses vanish. A task that is
    absent from a batch counts with its average.

    References
    ----------
    .. [1] B. Lin, W. Jiang, F. Ye, Y. Zhang, P. Chen, Y.-C. Chen, S. Liu, J. T. Kwok
       (2023). Dual-Balancing for Multi-Task Learning. Algorithm 1.
       https://arxiv.org/abs/2308.12029

    Examples
    --------
    >>> from skmtl.weighting import DBMTL
    >>> DBMTL(beta=0.5)
    DBMTL(beta=0.5)
    """

    _fusable = ("beta",)
    _parameter_constraints = {"beta": [Interval(Real, 0, 1, closed="left")]}

    def __init__(self, beta=0.9):
        self.beta = beta

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
            Holds the averages as buffers.
        """
        beta = self.per_network("beta", shape.n_networks).to(shape.dtype)
        return DBMTLModule(beta, shape)


class DBMTLModule(WeightingModule):
    """The module that :class:`DBMTL` builds.

    Parameters
    ----------
    beta : Tensor of shape (n_networks,)
        Share of the old average.
    shape : BankShape
        Sizes.
    """

    needs = "jacobian"
    gradients = "parameters"

    def __init__(self, beta, shape):
        super().__init__()
        self.register_buffer("beta", beta[:, None])
        zeros = torch.zeros(shape.n_networks, shape.n_tasks, dtype=shape.dtype)
        self.register_buffer("count_", zeros)

    def prepare(self, n_shared):
        """Make the state that has the size of the gradients.

        Parameters
        ----------
        n_shared : int
            Shared parameters of a network.
        """
        size = *self.count_.shape, n_shared
        self.register_buffer("tracked_", self.count_.new_zeros(size))

    def combine(self, jacobian, losses, present):
        """Average the gradients of logarithms, and sum them at one norm.

        Parameters
        ----------
        jacobian : Tensor of shape (n_networks, n_tasks, n_shared)
            Gradients of the tasks, times the user's task weights.
        losses : Tensor of shape (n_networks, n_tasks)
            Of the batch, by which gradients of logarithms are made.
        present : Tensor of shape (n_networks, n_tasks), bool
            Averages of absent tasks stay as they are.

        Returns
        -------
        gradient : Tensor of shape (n_networks, n_shared)
            Times the mean loss.
        weights : Tensor of shape (n_networks, n_tasks)
            Factors on the averaged gradients of the losses, of sum n_tasks.
        """
        known = present & (losses > 0)
        scale = torch.where(known, 1 / torch.where(known, losses, 1.0), 0.0)
        share = torch.where(known, 1 - self.beta, 0.0).unsqueeze(-1)
        self.tracked_.lerp_(jacobian * scale.unsqueeze(-1), share)
        self.count_ += known
        correction = 1 - self.beta**self.count_
        norm = torch.linalg.vector_norm(self.tracked_, dim=-1)
        norm = norm / torch.where(correction > 0, correction, 1.0)
        largest = norm.amax(-1, keepdim=True)
        factor = torch.where(norm > 0, largest / torch.where(norm > 0, norm, 1.0), 0.0)
        factor = factor / torch.where(correction > 0, correction, 1.0)
        mean = losses.sum(-1, keepdim=True) / known.sum(-1, keepdim=True).clamp(min=1)
        gradient = mean * (factor.unsqueeze(1) @ self.tracked_).squeeze(1)
        weights = factor * scale
        total = weights.sum(-1, keepdim=True)
        weights = weights * weights.shape[1] / torch.where(total > 0, total, 1.0)
        return gradient, weights

    def reset(self):
        """Forget the averages."""
        self.count_.zero_()
        self.tracked_.zero_()
