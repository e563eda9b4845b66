"""The best worst case near the mean gradient."""

from numbers import Real

import numpy as np
import torch

from .._constraints import Interval
from ._gramian import GramianModule, GramianWeighting
from ._solvers import conflict_averse


class CAGrad(GramianWeighting):
    r"""Conflict-averse gradient: the best for the worst task, in a ball at the mean.

    The direction d maximises :math:`\min_t g_t^T d` over
    :math:`\|d - g_0\| \le c \|g_0\|`, with the mean :math:`g_0` of the gradients.

    Parameters
    ----------
    c : float, default=0.5
        Radius of the ball in units of the mean's norm. 0 is the mean; from 1 on no
        task's loss rises to first order, and large values approach MGDA.
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    See Also
    --------
    MGDA : No ball.
    PCGrad : Projections in place of an optimum.

    Notes
    -----
    Solved exactly, by an active-set method on the optimality conditions; libraries call
    a general optimiser, and one of them returns zero weights where gradients are small,
    which ends training without a word. The direction is not divided by
    :math:`1 + c^2`; the weights are scaled to the number of tasks. A task whose
    gradient is exactly zero gains nothing in any direction, and is not the worst one.

    References
    ----------
    .. [1] B. Liu, X. Liu, X. Jin, P. Stone, Q. Liu (2021). Conflict-Averse Gradient
       Descent for Multi-task Learning. NeurIPS, equation 3.
       https://arxiv.org/abs/2110.14048

    Examples
    --------
    >>> from skmtl.weighting import CAGrad
    >>> CAGrad(c=0.4)
    CAGrad(c=0.4)
    """

    _fusable = ("c",)
    _parameter_constraints = {
        **GramianWeighting._parameter_constraints,
        "c": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, c=0.5, *, gradients="features", update_every=1):
        super().__init__(gradients=gradients, update_every=update_every)
        self.c = c

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
            Remembers which tasks were the worst.
        """
        return CAGradModule(self, shape, streams)


class CAGradModule(GramianModule):
    """The module that :class:`CAGrad` builds.

    Parameters
    ----------
    choice : CAGrad
        Hyperparameters.
    shape : BankShape
        Sizes.
    streams : Streams, optional
        Unused.
    """

    def __init__(self, choice, shape, streams=None):
        super().__init__(choice, shape, streams)
        size = shape.n_networks, shape.n_tasks
        self.register_buffer("free_", torch.ones(size, dtype=torch.bool))
        self.register_buffer("c", choice.per_network("c", shape.n_networks))

    def solve(self, gramian, losses, present, networks):
        """Find the direction whose worst gain is largest.

        Parameters
        ----------
        gramian : ndarray of shape (n, n_tasks, n_tasks)
            Inner products of gradients.
        losses : ndarray of shape (n, n_tasks)
            Not needed.
        present : ndarray of shape (n, n_tasks), bool
            Absent tasks take no part.
        networks : ndarray of shape (n,), int
            Whose last active sets are read.

        Returns
        -------
        weights : ndarray of shape (n, n_tasks)
            Of the mean and of what is added to it.
        """
        weights = present / present.sum(1, keepdims=True)
        c = self.read("c", networks)
        # A ball without size holds nothing but the mean.
        asked = np.flatnonzero(c > 1e-9)
        if len(asked):
            free = self.read("free_", networks)
            added, free[asked], converged = conflict_averse(
                gramian[asked], weights[asked], c[asked], free[asked], self.rounding
            )
            weights[asked] += added
            self.write("free_", networks, free)
            self.check_converged(converged)
        return weights

    def reset(self):
        """Forget which tasks were the worst."""
        super().reset()
        self.free_.fill_(True)
