"""Gradients that keep to the usual angles between tasks."""

from numbers import Real

import numpy as np
import torch

from .._constraints import Interval
from ._gramian import GramianWeighting
from ._orders import VisitingModule, Visits


class GradVac(GramianWeighting):
    r"""Gradient vaccine: bring gradients back to the usual cosine of their tasks.

    Where the cosine of two gradients is below its moving average, the first is moved
    towards the second until it is at the average. Tasks are visited in random order, as
    by PCGrad.

    Parameters
    ----------
    beta : float, default=0.01
        Share of the new cosine in the average.
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    Attributes
    ----------
    cosines_ : Tensor of shape (n_networks, n_tasks, n_tasks)
        The averages, in the order of ``task_names_``; on the fitted ``weighting_``.

    See Also
    --------
    PCGrad : The same with right angles as the aim.

    Notes
    -----
    Averages start at zero, so that the first step is that of PCGrad. The cosine is that
    of the moved gradient, as in the algorithm of the paper. Pairs of which one has no
    gradient in a batch keep their average, and neither moves.

    References
    ----------
    .. [1] Z. Wang, Y. Tsvetkov, O. Firat, Y. Cao (2021). Gradient Vaccine:
       Investigating and Improving Multi-task Optimization in Massively Multilingual
       Models. ICLR, equation 2 and algorithm 1. https://arxiv.org/abs/2010.05874

    Examples
    --------
    >>> from skmtl.weighting import GradVac
    >>> GradVac(beta=0.1)
    GradVac(beta=0.1)
    """

    _fusable = ("beta",)
    _parameter_constraints = {
        **GramianWeighting._parameter_constraints,
        "beta": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, beta=0.01, *, gradients="features", update_every=1):
        super().__init__(gradients=gradients, update_every=update_every)
        self.beta = beta

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            Source of the orders of visits.

        Returns
        -------
        module : WeightingModule
            Holds the averages as a buffer.
        """
        return GradVacModule(self, shape, streams)


class GradVacModule(VisitingModule):
    """The module that :class:`GradVac` builds.

    Parameters
    ----------
    choice : GradVac
        Hyperparameters.
    shape : BankShape
        Sizes.
    streams : Streams, optional
        Source of the orders of visits.
    """

    def __init__(self, choice, shape, streams=None):
        super().__init__(choice, shape, streams)
        size = shape.n_networks, shape.n_tasks, shape.n_tasks
        self.register_buffer("cosines_", torch.zeros(size, dtype=torch.float64))
        beta = choice.per_network("beta", shape.n_networks)
        self.register_buffer("beta", beta[:, None])

    def solve(self, gramian, losses, present, networks):
        """Move every task's gradient towards the others.

        Parameters
        ----------
        gramian : ndarray of shape (n, n_tasks, n_tasks)
            Inner products of gradients.
        losses : ndarray of shape (n, n_tasks)
            Not needed.
        present : ndarray of shape (n, n_tasks), bool
            Absent tasks have gradients of zero, and nothing moves to them.
        networks : ndarray of shape (n,), int
            Whose orders are drawn, and averages kept.

        Returns
        -------
        weights : ndarray of shape (n, n_tasks)
            The sum over tasks of the coefficients of each moved gradient.
        """
        # In units of the norms: cosines, and moves along gradients of norm one.
        norm = np.sqrt(gramian.diagonal(axis1=1, axis2=2))
        inverse = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
        cosines = gramian * (inverse[:, :, None] * inverse[:, None])
        visits = Visits(cosines, self.orders(networks))
        meets = visits.others & (norm.ravel() > 0)
        kept = self.read("cosines_", networks)
        usual = kept.ravel().take(visits.pairs)
        # No finite move reaches a cosine of one, and parallel gradients are below it by
        # rounding. The aim is a cotangent.
        aim = np.minimum(usual, 1 - 4 * self.rounding)
        sine = np.sqrt(np.maximum(1 - aim**2, 0.0))
        moves = meets & (sine > 0)
        aim = np.divide(aim, sine, out=np.zeros_like(sine), where=moves)
        inner, size = np.empty_like(aim), np.empty_like(aim)
        lengths = np.empty_like(aim)
        own = np.ones(len(visits.pairs[0]))
        for visit, length in enumerate(lengths):
            now = inner[visit] = visits.inner(visit)
            size[visit] = own
            across = np.sqrt(np.maximum(own - now * now, 0.0))
            # Positive where the cosine is below its aim.
            np.maximum(aim[visit] * across - now, 0.0, out=length)
            length *= moves[visit]
            visits.move(visit, length)
            own = own + length * (2 * now + length)
            # What is left of opposite gradients is rounding.
            own = np.where(own > self.rounding, own, 0.0)
        meets &= size > 0
        cosine = np.divide(inner, np.sqrt(size), out=usual.copy(), where=meets)
        beta = np.repeat(self.read("beta", networks), len(aim), axis=0)[:, 0]
        usual += beta * (np.clip(cosine, -1.0, 1.0) - usual)
        np.put(kept, visits.pairs, usual)
        self.write("cosines_", networks, kept)
        # Back in units of the gradients.
        lengths *= norm.ravel()
        return 1.0 + visits.summed(lengths) * inverse

    def reset(self):
        """Forget the averages."""
        super().reset()
        self.cosines_.zero_()
