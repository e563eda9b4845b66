"""The bargaining solution of Nash."""

import numpy as np
import torch

from ._gramian import GramianModule, GramianWeighting
from ._solvers import equilibrium


class NashMTL(GramianWeighting):
    r"""Combine gradients as players bargain: :math:`G w = 1 / w`, element by element.

    The direction maximises the product of the gains of all tasks. No loss rises to
    first order, and the scale of single losses has no effect.

    Parameters
    ----------
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    See Also
    --------
    FairGrad : The family of which this is a member, ``alpha=1``.
    ImpartialGrad : Equal projections.

    Notes
    -----
    The weights minimise a convex function, and are found by a primal-dual method. The
    published code solves a sequence of approximations with a solver that newer versions
    of its library lack, and then keeps equal weights. The weights are scaled to the
    number of tasks; the clipping of the direction's norm is left to ``clip_norm``.
    Where gradients cancel there is no solution, and almost the best direction, of
    almost no length, is taken.

    References
    ----------
    .. [1] A. Navon, A. Shamsian, I. Achituve, H. Maron, K. Kawaguchi, G. Chechik, E.
       Fetaya (2022). Multi-Task Learning as a Bargaining Game. ICML, claim 3.1.
       https://arxiv.org/abs/2202.01017

    Examples
    --------
    >>> from skmtl.weighting import NashMTL
    >>> NashMTL(update_every=5)
    NashMTL(update_every=5)
    """

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
            Remembers the last weights.
        """
        return NashMTLModule(self, shape, streams)


class NashMTLModule(GramianModule):
    """The module that :class:`NashMTL` and :class:`FairGrad` build.

    Parameters
    ----------
    choice : NashMTL or FairGrad
        Hyperparameters.
    shape : BankShape
        Sizes.
    streams : Streams, optional
        Unused.
    """

    def __init__(self, choice, shape, streams=None):
        super().__init__(choice, shape, streams)
        size = shape.n_networks, shape.n_tasks
        self.register_buffer("last_", torch.zeros(size, dtype=torch.float64))
        alpha = torch.ones(size[0], dtype=torch.float64)
        if "alpha" in choice.get_params():
            alpha = choice.per_network("alpha", shape.n_networks)
        self.register_buffer("alpha", alpha[:, None])

    def solve(self, gramian, losses, present, networks):
        """Find the equilibrium.

        Parameters
        ----------
        gramian : ndarray of shape (n, n_tasks, n_tasks)
            Inner products of gradients.
        losses : ndarray of shape (n, n_tasks)
            Not needed.
        present : ndarray of shape (n, n_tasks), bool
            Absent tasks take no part.
        networks : ndarray of shape (n,), int
            Whose last weights are read.

        Returns
        -------
        weights : ndarray of shape (n, n_tasks)
            Positive.
        """
        alpha = self.read("alpha", networks)
        weights = self.read("last_", networks)
        asked = np.flatnonzero(alpha[:, 0] > 0)
        # In the limit of zero the sum of gains counts, and all weights are one.
        weights[alpha[:, 0] == 0] = 1.0
        if len(asked):
            weights[asked], converged = equilibrium(
                gramian[asked], 1 / alpha[asked], weights[asked], self.rounding
            )
            self.check_converged(converged)
        self.write("last_", networks, weights)
        return weights

    def reset(self):
        """Forget the last weights."""
        super().reset()
        self.last_.zero_()
