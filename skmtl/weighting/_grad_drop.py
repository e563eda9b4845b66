"""Dropping the gradients that disagree, coordinate by coordinate."""

from numbers import Real

import torch

from .._constraints import Interval, StrOptions
from ._base import Weighting, WeightingModule

# Of the largest size in a network: a gradient that cancels out is above zero by
# rounding, which depends on how products are summed.
_LEAST_SHARE = 1e-9


class GradDrop(Weighting):
    r"""Keep in each coordinate the positive or the negative gradients, at random.

    With :math:`p = \tfrac12 (1 + \sum_t g_t / \sum_t |g_t|)` of a coordinate, its
    positive parts are kept with probability p, and its negative parts otherwise.

    Parameters
    ----------
    leak : float, default=0.0
        Share of the dropped parts that passes all the same; 1 is equal weighting.
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.

    See Also
    --------
    PCGrad : Takes out the parts that disagree, with no draw.

    Notes
    -----
    The sum of the kept parts has the sum of the gradients as its mean only where all
    agree: a coordinate of p = 1/2 moves at random. Signs are compared for each row and
    feature at the features. The paper multiplies by the sign of the feature and sums
    over the batch before it compares. What is kept is scaled by the share that was
    dropped, so that the weights sum to the number of tasks as those of all methods do.

    References
    ----------
    .. [1] Z. Chen, J. Ngiam, Y. Huang, T. Luong, H. Kretzschmar, Y. Chai, D. Anguelov
       (2020). Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign
       Dropout. NeurIPS, algorithm 1. https://arxiv.org/abs/2010.06808

    Examples
    --------
    >>> from skmtl.weighting import GradDrop
    >>> GradDrop(leak=0.2)
    GradDrop(leak=0.2)
    """

    _fusable = ("leak",)
    _parameter_constraints = {
        "leak": [Interval(Real, 0, 1, closed="both")],
        "gradients": [StrOptions({"features", "parameters"})],
    }

    def __init__(self, leak=0.0, *, gradients="features"):
        self.leak = leak
        self.gradients = gradients

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            Source of the draws.

        Returns
        -------
        module : WeightingModule
            Without parameters.
        """
        leak = self.per_network("leak", shape.n_networks).to(shape.dtype)
        return GradDropModule(leak, self.gradients, streams)


class GradDropModule(WeightingModule):
    """The module that :class:`GradDrop` builds.

    Parameters
    ----------
    leak : Tensor of shape (n_networks,)
        Share that passes.
    gradients : {"features", "parameters"}
        Where gradients are compared.
    streams : Streams or None
        Source of the draws.
    """

    needs = "jacobian"

    def __init__(self, leak, gradients, streams):
        super().__init__()
        self.register_buffer("leak", leak[:, None])
        self.gradients = gradients
        self.streams = streams

    def combine(self, jacobian, losses, present):
        """Drop one sign in every coordinate.

        Parameters
        ----------
        jacobian : Tensor of shape (n_networks, n_tasks, n_shared)
            Gradients of the tasks, times the user's task weights.
        losses : Tensor of shape (n_networks, n_tasks)
            Not needed.
        present : Tensor of shape (n_networks, n_tasks), bool
            Absent tasks have gradients of zero.

        Returns
        -------
        gradient : Tensor of shape (n_networks, n_shared)
            Sum of what is kept, scaled as its weights.
        weights : Tensor of shape (n_networks, n_tasks)
            Shares of gradients that are kept, by absolute size, of sum n_tasks.
        """
        total = jacobian.sum(1)
        positive = jacobian.clamp(min=0).sum(1)
        # Positive less negative parts, in sizes.
        size = 2 * positive - total
        share = total / torch.where(size > 0, size, 1.0)
        keeps = 0.5 * (1 + share) > self._uniform(size)
        kept = torch.where(keeps, positive, total - positive)
        kept = torch.lerp(kept, total, self.leak)
        # What a task keeps is half its size and half its product with the signs kept.
        norm = torch.linalg.vector_norm(jacobian, ord=1, dim=-1)
        sign = torch.where(keeps, 1.0, -1.0).to(jacobian).unsqueeze(-1)
        passed = 0.5 * (norm + (jacobian @ sign).squeeze(-1))
        passed = torch.lerp(passed, norm, self.leak)
        weights = passed / torch.where(norm > 0, norm, 1.0)
        # What is dropped shall not lower the learning rate.
        whole = weights.sum(-1, keepdim=True)
        scale = weights.shape[1] / torch.where(whole > 0, whole, 1.0)
        return scale * kept, scale * weights

    def _uniform(self, size):
        """Draw a number for each coordinate that has a gradient.

        Padding of rows or of inputs has none, and a step begins with a seed: the bank
        decides neither which number a coordinate gets nor how far a stream moves.
        """
        n_networks, n_shared = size.shape
        if not n_shared:
            return size

        def draw(key, n_rows):
            if n_rows == 0:
                # The network rests in this slot, and its stream rests with it.
                return torch.zeros(n_shared)
            generator = self.streams.generator(key, "gradient drop")
            seed = torch.randint(2**62, (1,), generator=generator).item()
            return torch.rand(n_shared, generator=torch.Generator().manual_seed(seed))

        rows = self.streams.n_rows or [1] * n_networks
        drawn = torch.stack(self.streams.each(draw, rows)).to(size)
        counted = size > _LEAST_SHARE * size.amax(-1, keepdim=True)
        return drawn.gather(1, (counted.cumsum(1) - 1).clamp(min=0))
