"""Gradients projected on what hurts no task."""

import numpy as np
import torch

from ._gramian import GramianModule, GramianWeighting
from ._solvers import cosines, minimize_nonnegative


class UPGrad(GramianWeighting):
    r"""Unconflicting projection of gradients: project each on the dual cone, and sum.

    The dual cone holds the directions in which no task's loss rises to first order.
    Each gradient is replaced by the nearest direction in it.

    Parameters
    ----------
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    See Also
    --------
    PCGrad : Projects on one other task at a time; the same for two tasks.
    MGDA : Hurts no task either, and is as short as its shortest gradient.

    Notes
    -----
    One quadratic program a task, all solved at once by an active-set method that starts
    where the last batch ended. Gradients of any scale are told apart; a library that
    adds a fixed number to the Gramian turns to plain averages when gradients are small.

    References
    ----------
    .. [1] P. Quinton, V. Rey (2024). Jacobian Descent for Multi-Objective Optimization.
       Section 3. https://arxiv.org/abs/2406.16232

    Examples
    --------
    >>> from skmtl.weighting import UPGrad
    >>> UPGrad(gradients="parameters")
    UPGrad(gradients='parameters')
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
            Remembers the last active sets.
        """
        return UPGradModule(self, shape, streams)


class UPGradModule(GramianModule):
    """The module that :class:`UPGrad` builds.

    Parameters
    ----------
    choice : UPGrad
        Hyperparameters.
    shape : BankShape
        Sizes.
    streams : Streams, optional
        Unused.
    """

    def __init__(self, choice, shape, streams=None):
        super().__init__(choice, shape, streams)
        size = shape.n_networks, shape.n_tasks, shape.n_tasks
        self.register_buffer("free_", torch.zeros(size, dtype=torch.bool))

    def solve(self, gramian, losses, present, networks):
        """Project every gradient, and sum.

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
            One, and what the projections add.
        """
        weights = np.ones(present.shape)
        asked = np.flatnonzero((gramian < 0).any((1, 2)))
        if not len(asked):
            return weights
        # What is added to gradient i is a combination x of all; its conditions start
        # from the inner products of gradient i with the others.
        gramian, networks = gramian[asked], networks[asked]
        free = self.read("free_", networks)
        matrix, norm = cosines(gramian, self.rounding)
        scaled, free, converged = minimize_nonnegative(
            matrix, gramian / norm[:, None], free
        )
        self.write("free_", networks, free)
        self.check_converged(converged.all(-1))
        weights[asked] += scaled.sum(1) / norm
        return weights

    def reset(self):
        """Forget the last active sets."""
        super().reset()
        self.free_.fill_(False)
