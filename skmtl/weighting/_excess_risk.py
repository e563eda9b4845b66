"""Weights by how far tasks are from what can be learned."""

from numbers import Integral, Real

import torch

from .._constraints import Interval
from ._base import Weighting, WeightingModule


class ExcessRisk(Weighting):
    r"""ExcessMTL: tasks with much left to learn count more, noisy ones do not.

    A loss that noise keeps up says little of what can still be learned. The excess risk
    of a task is estimated by
    :math:`r_t = g_t^T \mathrm{diag}(\sqrt{S_t})^{-1} g_t`, with :math:`S_t` the sum of
    the squares of all its gradients so far, and its weight is multiplied by
    :math:`\exp(\eta r_t / r_t^0)` in every step.

    Parameters
    ----------
    step_size : float, default=0.01
        :math:`\eta`.
    n_warmup : int, default=50
        Steps with equal weights, over which :math:`r_t^0` is the mean.

    Attributes
    ----------
    weights_ : Tensor of shape (n_networks, n_tasks)
        Of sum n_tasks, in the order of ``task_names_``; on the fitted ``weighting_``.

    See Also
    --------
    Uncertainty : Noisy tasks come to count less.
    SmoothTchebycheff : The worst loss counts most, noise or not.

    Notes
    -----
    Gradients are those at the shared parameters, over which squares are summed; one
    backward pass a task, and memory for as many sums. Risks are relative to those of
    the warm-up, so that the scale of a loss does not matter; without that the first
    call decides for ever. Tasks that are absent from a batch keep their weights.

    References
    ----------
    .. [1] Y. He, S. Zhou, G. Zhang, H. Yun, Y. Xu, B. Zeng, T. Chilimbi, H. Zhao
       (2024). Robust Multi-Task Learning with Excess Risks. ICML, algorithm 1.
       https://arxiv.org/abs/2402.02009

    Examples
    --------
    >>> from skmtl.weighting import ExcessRisk
    >>> ExcessRisk(step_size=0.1)
    ExcessRisk(step_size=0.1)
    """

    _fusable = ("step_size",)
    _parameter_constraints = {
        "step_size": [Interval(Real, 0, None, closed="left")],
        "n_warmup": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, step_size=0.01, n_warmup=50):
        self.step_size = step_size
        self.n_warmup = n_warmup

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
            Holds sums and weights as buffers.
        """
        step_size = self.per_network("step_size", shape.n_networks).to(shape.dtype)
        return ExcessRiskModule(step_size, self.n_warmup, shape)


class ExcessRiskModule(WeightingModule):
    """The module that :class:`ExcessRisk` builds.

    Parameters
    ----------
    step_size : Tensor of shape (n_networks,)
        Of the logarithms of the weights.
    n_warmup : int
        Steps with equal weights.
    shape : BankShape
        Sizes.
    """

    needs = "jacobian"
    gradients = "parameters"

    def __init__(self, step_size, n_warmup, shape):
        super().__init__()
        self.register_buffer("step_size", step_size[:, None])
        self.n_warmup = n_warmup
        ones = torch.ones(shape.n_networks, shape.n_tasks, dtype=shape.dtype)
        self.register_buffer("weights_", ones)
        self.register_buffer("count_", torch.zeros_like(ones))
        self.register_buffer("first_", torch.zeros_like(ones))

    def prepare(self, n_shared):
        """Make the state that has the size of the gradients.

        Parameters
        ----------
        n_shared : int
            Shared parameters of a network.
        """
        size = *self.weights_.shape, n_shared
        self.register_buffer("squares_", self.weights_.new_zeros(size))

    def combine(self, jacobian, losses, present):
        """Estimate the risks, and move the weights.

        Parameters
        ----------
        jacobian : Tensor of shape (n_networks, n_tasks, n_shared)
            Gradients of the tasks, times the user's task weights.
        losses : Tensor of shape (n_networks, n_tasks)
            Not needed.
        present : Tensor of shape (n_networks, n_tasks), bool
            Weights of absent tasks stay as they are.

        Returns
        -------
        gradient : Tensor of shape (n_networks, n_shared)
            Of the weighted sum.
        weights : Tensor of shape (n_networks, n_tasks)
            Of sum n_tasks over present tasks.
        """
        self.squares_.addcmul_(jacobian, jacobian)
        root = self.squares_.sqrt()
        risk = jacobian.square() / torch.where(root > 0, root, 1.0)
        risk = risk.sum(-1)
        self.count_ += present
        warm = self.count_ <= self.n_warmup
        self.first_ += torch.where(warm & present, risk / self.n_warmup, 0.0)
        relative = risk / torch.where(self.first_ > 0, self.first_, 1.0)
        grows = present & ~warm & (self.first_ > 0)
        move = torch.where(grows, self.step_size * relative, 0.0)
        # A common factor on all weights has no effect.
        move = move - move.amax(-1, keepdim=True)
        weights = self.weights_ * move.exp()
        weights = weights * weights.shape[1] / weights.sum(-1, keepdim=True)
        some = grows.any(-1, keepdim=True)
        self.weights_.copy_(torch.where(some, weights, self.weights_))
        weights = torch.where(present, self.weights_, 0.0)
        total = weights.sum(-1, keepdim=True)
        weights = weights * weights.shape[1] / torch.where(total > 0, total, 1.0)
        return (weights.unsqueeze(1) @ jacobian).squeeze(1), weights

    def reset(self):
        """Forget risks and weights."""
        self.weights_.fill_(1.0)
        for name in ("count_", "first_", "squares_"):
            getattr(self, name).zero_()
