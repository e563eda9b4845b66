"""Multi-objective descent on gradients that are averaged over batches."""

from numbers import Real

import torch

from .._constraints import Interval
from ._base import Weighting, WeightingModule
from ._simplex import on_simplex


class MoCo(Weighting):
    r"""Multi-objective gradient with correction: MGDA on averaged gradients.

    Gradients of single batches are noisy, and the shortest of their combinations is
    biased. MoCo tracks :math:`y_t \leftarrow y_t - \beta_k (y_t - g_t)`, takes one step
    :math:`\lambda \leftarrow \Pi(\lambda - \gamma_k (Y Y^T + \rho I) \lambda)` towards
    their shortest combination, and follows :math:`Y^T \lambda`. :math:`\Pi` projects on
    the simplex.

    Parameters
    ----------
    beta : float, default=0.5
        Share of the new gradient in the tracked one, in the first step.
    beta_decay : float, default=0.5
        Power of the number of the step that divides `beta`.
    gamma : float, default=0.1
        Step size of the weights, in the first step.
    gamma_decay : float, default=0.5
        Power of the number of the step that divides `gamma`.
    rho : float, default=0.0
        Pull of the weights to equal ones.

    Attributes
    ----------
    weights_ : Tensor of shape (n_networks, n_tasks)
        On the simplex, in the order of ``task_names_``; on the fitted ``weighting_``.
    tracked_ : Tensor of shape (n_networks, n_tasks, n_shared)
        Averaged gradients.

    See Also
    --------
    MGDA : The shortest combination of the gradients of one batch.
    DBMTL : Averages gradients of logarithms of losses.

    Notes
    -----
    Gradients are those at the shared parameters, as batches do not share features; one
    backward pass a task, and memory for the gradients of all tasks. :math:`Y Y^T` is
    taken in units of the mean squared norm of its gradients, so that `gamma` and `rho`
    do not depend on the scale of the losses. Tracking starts at the first gradient of a
    task, not at zero. A task that is absent from a batch keeps its tracked gradient,
    and counts with it. The projection is that of the paper; some libraries put a
    softmax in its place, which pulls to equal weights.

    References
    ----------
    .. [1] H. Fernando, H. Shen, M. Liu, S. Chaudhury, K. Murugesan, T. Chen (2023).
       Mitigating Gradient Bias in Multi-Objective Learning: A Provably Convergent
       Stochastic Approach. ICLR, algorithm 1. https://arxiv.org/abs/2210.12624

    Examples
    --------
    >>> from skmtl.weighting import MoCo
    >>> MoCo(gamma=0.01)
    MoCo(gamma=0.01)
    """

    _fusable = ("beta", "beta_decay", "gamma", "gamma_decay", "rho")
    _parameter_constraints = {
        "beta": [Interval(Real, 0, 1, closed="right")],
        "beta_decay": [Interval(Real, 0, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "gamma_decay": [Interval(Real, 0, None, closed="left")],
        "rho": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, beta=0.5, beta_decay=0.5, gamma=0.1, gamma_decay=0.5, rho=0.0):
        self.beta = beta
        self.beta_decay = beta_decay
        self.gamma = gamma
        self.gamma_decay = gamma_decay
        self.rho = rho

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
        return MoCoModule(self, shape)


class MoCoModule(WeightingModule):
    """The module that :class:`MoCo` builds.

    Parameters
    ----------
    choice : MoCo
        Hyperparameters.
    shape : BankShape
        Sizes.
    """

    needs = "jacobian"
    gradients = "parameters"

    def __init__(self, choice, shape):
        super().__init__()
        for name in MoCo._fusable:
            value = choice.per_network(name, shape.n_networks).to(shape.dtype)
            self.register_buffer(name, value[:, None])
        zeros = torch.zeros(shape.n_networks, shape.n_tasks, dtype=shape.dtype)
        self.register_buffer("weights_", zeros)
        self.register_buffer("count_", zeros.clone())
        self.register_buffer("steps_", zeros[:, :1].clone())

    def prepare(self, n_shared):
        """Make the state that has the size of the gradients.

        Parameters
        ----------
        n_shared : int
            Shared parameters of a network.
        """
        size = *self.weights_.shape, n_shared
        self.register_buffer("tracked_", self.weights_.new_zeros(size))

    def combine(self, jacobian, losses, present):
        """Track the gradients, and combine the tracked ones.

        Parameters
        ----------
        jacobian : Tensor of shape (n_networks, n_tasks, n_shared)
            Gradients of the tasks, times the user's task weights.
        losses : Tensor of shape (n_networks, n_tasks)
            Not needed.
        present : Tensor of shape (n_networks, n_tasks), bool
            Tracked gradients of absent tasks stay as they are.

        Returns
        -------
        gradient : Tensor of shape (n_networks, n_shared)
            The tracked gradients by their weights, times the number of tasks.
        weights : Tensor of shape (n_networks, n_tasks)
            Their weights, which sum to n_tasks.
        """
        n_tasks = present.shape[1]
        self.count_ += present
        self.steps_ += present.any(-1, keepdim=True)
        beta = self.beta / self.count_.clamp(min=1) ** self.beta_decay
        beta = torch.where(self.count_ == 1, 1.0, beta) * present
        self.tracked_.lerp_(jacobian, beta.unsqueeze(-1))
        # New tasks begin at the weight that they would have among equals.
        seen = self.count_ > 0
        new = present & (self.count_ == 1)
        weights = torch.where(new, 1 / seen.sum(-1, keepdim=True).clamp(min=1), 0.0)
        weights = torch.where(new, weights, self.weights_)
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)
        gramian = self.tracked_ @ self.tracked_.mT
        mean = gramian.diagonal(dim1=1, dim2=2).sum(-1, keepdim=True)
        mean = mean / seen.sum(-1, keepdim=True).clamp(min=1)
        slope = (gramian @ weights.unsqueeze(-1)).squeeze(-1)
        slope = slope / torch.where(mean > 0, mean, 1.0) + self.rho * weights
        gamma = self.gamma / self.steps_.clamp(min=1) ** self.gamma_decay
        moved = on_simplex(weights - gamma * slope, seen)
        rests = ~present.any(-1, keepdim=True)
        self.weights_.copy_(torch.where(rests, self.weights_, moved))
        weights = n_tasks * self.weights_
        return (weights.unsqueeze(1) @ self.tracked_).squeeze(1), weights

    def reset(self):
        """Forget weights and gradients."""
        for name in ("weights_", "count_", "steps_", "tracked_"):
            getattr(self, name).zero_()
