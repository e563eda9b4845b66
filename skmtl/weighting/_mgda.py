"""The shortest combination of gradients."""

import numpy as np
import torch

from .._constraints import StrOptions
from ._gramian import GramianModule, GramianWeighting
from ._solvers import shortest_combination


class MGDA(GramianWeighting):
    r"""Multiple-gradient descent: follow the shortest convex combination of gradients.

    The weights minimise :math:`\|\sum_t w_t g_t\|` on the simplex. No task's loss rises
    to first order, and the direction vanishes where none can fall without another
    rising.

    Parameters
    ----------
    normalization : {"none", "l2", "loss", "loss+"}, default="none"
        What gradients are divided by first: their norms, the losses of the batch, or
        the products of both. The shortest combination is that of the divided ones, and
        losses of other units no longer count by these.
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

    After ``normalization`` the direction is the shortest combination itself, so that
    still no loss rises; its weights on gradients that were not divided would not do.
    Losses that are not positive are taken for the largest.

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

    _parameter_constraints = {
        **GramianWeighting._parameter_constraints,
        "normalization": [StrOptions({"none", "l2", "loss", "loss+"})],
    }

    def __init__(self, normalization="none", *, gradients="features", update_every=1):
        super().__init__(gradients=gradients, update_every=update_every)
        self.normalization = normalization

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
        self.normalization = choice.normalization
        size = shape.n_networks, shape.n_tasks
        self.register_buffer("free_", torch.ones(size, dtype=torch.bool))

    def solve(self, gramian, losses, present, networks):
        """Find the shortest combination.

        Parameters
        ----------
        gramian : ndarray of shape (n, n_tasks, n_tasks)
            Inner products of gradients.
        losses : ndarray of shape (n, n_tasks)
            What gradients may be divided by.
        present : ndarray of shape (n, n_tasks), bool
            Absent tasks take no part.
        networks : ndarray of shape (n,), int
            Whose last active sets are read.

        Returns
        -------
        weights : ndarray of shape (n, n_tasks)
            On the simplex.
        """
        scale = None
        if self.normalization != "none":
            scale = self._scale(gramian, losses)
            gramian = gramian / (scale[:, :, None] * scale[:, None])
        free = self.read("free_", networks)
        weights, free, converged = shortest_combination(
            gramian, present, free, self.rounding
        )
        self.write("free_", networks, free)
        self.check_converged(converged)
        return weights if scale is None else weights / scale

    def _scale(self, gramian, losses):
        """Give what gradients are divided by: (n, n_tasks), positive."""
        scale = np.ones(losses.shape)
        if self.normalization != "l2":
            largest = losses.max(1, keepdims=True)
            scale = np.where(losses > 0, losses, np.where(largest > 0, largest, 1.0))
        if self.normalization != "loss":
            norm = np.sqrt(gramian.diagonal(axis1=1, axis2=2))
            scale = scale * np.where(norm > 0, norm, 1.0)
        return scale

    def reset(self):
        """Forget which tasks had weight."""
        super().reset()
        self.free_.fill_(True)
