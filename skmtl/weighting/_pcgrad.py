"""Projection of conflicting gradients."""

import numpy as np

from ._gramian import GramianWeighting
from ._orders import VisitingModule, Visits


class PCGrad(GramianWeighting):
    """Take out of each task's gradient the parts that hurt another task.

    The gradient of each task is projected, in random order, on the normal plane of
    every other gradient that points against it; the projected gradients are summed.

    Parameters
    ----------
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared. "features": at the shared representation, nearly
        free. "parameters": at the shared parameters, as in the paper; one backward
        pass a task. Row tasks need "parameters": each row has one task there, so
        gradients at the features never meet.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    See Also
    --------
    GradVac : Aims at the usual angle of two tasks in place of a right one.
    UPGrad : Projects on all the other tasks at once.
    CAGrad : Looks for the best worst case near the mean.

    Notes
    -----
    Everything is computed from the Gramian of the gradients. A projection divides by
    the squared norm of the gradient projected on; gradients that are exactly zero are
    skipped, and there is no absolute epsilon, so the direction does not depend on the
    scale of the losses.

    References
    ----------
    .. [1] T. Yu, S. Kumar, A. Gupta, S. Levine, K. Hausman, C. Finn (2020). Gradient
       Surgery for Multi-Task Learning. NeurIPS, algorithm 1.
       https://arxiv.org/abs/2001.06782

    Examples
    --------
    >>> from skmtl.weighting import PCGrad
    >>> PCGrad(gradients="parameters")
    PCGrad(gradients='parameters')
    """

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            Source of the orders of projection.

        Returns
        -------
        module : WeightingModule
            Without parameters.
        """
        return PCGradModule(self, shape, streams)


class PCGradModule(VisitingModule):
    """The module that :class:`PCGrad` builds."""

    def solve(self, gramian, losses, present, networks):
        """Project every task's gradient on the others' normal planes.

        Parameters
        ----------
        gramian : ndarray of shape (n, n_tasks, n_tasks)
            Inner products of gradients.
        losses : ndarray of shape (n, n_tasks)
            Not needed.
        present : ndarray of shape (n, n_tasks), bool
            Absent tasks have zero gradients, and nothing is projected on them.
        networks : ndarray of shape (n,), int
            Whose orders are drawn.

        Returns
        -------
        weights : ndarray of shape (n, n_tasks)
            The sum over tasks of the coefficients of each projected gradient.
        """
        visits = Visits(gramian, self.orders(networks))
        lengths = np.empty(visits.pairs.shape)
        # Nothing is projected on itself, or on a gradient of zero.
        inverse = visits.others / np.where(visits.others, visits.squares, 1.0)
        for visit, length in enumerate(lengths):
            np.minimum(visits.inner(visit), 0.0, out=length)
            length *= -inverse[visit]
            visits.move(visit, length)
        return 1.0 + visits.summed(lengths)
