"""The shortest combination of gradients."""

import torch

from ._gramian import GramianModule, GramianWeighting
from ._solvers import shortest_combination


class MGDA(GramianWeighting):
    r"""Multiple-gradient descent: follow the shortest convex combination of gradients.

    The weights minimise :math:`\|\sum_t w_t g_t\|` on the simplex. No task's loss rises
    to first order, and the direction vanishes where none can fall without another
    rising.

    Parameters
    ----------
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    See Also
    --------
    CAGrad : Between MGDA and the mean.
    UPGrad : Hurts no task either, and follows large gradients further.
    MoCo : The same on gradients that are averaged over batches.

    Notes
    -----
    Solved exactly, by an active-set method; libraries iterate Frank-Wolfe, and stop
    within a tolerance that small gradients fall below. The weights are scaled to the
    number of tasks. Small gradients get large weights: a task that has converged stops
    the shared part, as the definition wants.

    References
    ----------
    .. [1] J.-A. Desideri (2012). Multiple-Gradient Descent Algorithm (MGDA) for
       Multiobjective Optimization. Comptes Rendus Mathematique 350.
    .. [2] O. Sener, V. Koltun (2018). Multi-Task Learning as Multi-Objective
       Optimization. NeurIPS, equation 3. https://arxiv.org/abs/1810.04650

    Examples
    --------
    >>> from skmtl.weighting import MGDA
    >>> MGDA(update_every=5)
    MGDA(update_every=5)
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
            Remembers which tasks had weight.
        """
        return MGDAModule(self, shape, streams)


class MGDAModule(GramianModule):
    """The module that :class:`MGDA` builds.

    Parameters
    ----------
    choice : MGDA
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

    def solve(self, gramian, losses, present, networks):
        """Find the shortest combination.

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
            On the simplex.
        """
        free = self.read("free_", networks)
        weights, free, converged = shortest_combination(
            gramian, present, free, self.rounding
        )
        self.write("free_", networks, free)
        self.check_converged(converged)
        return weights

    def reset(self):
        """Forget which tasks had weight."""
        super().reset()
        self.free_.fill_(True)
