"""Tasks that are visited one after the other, in random order."""

import numpy as np
import torch

from ._gramian import GramianModule


class VisitingModule(GramianModule):
    """Base class of the modules in which each task visits the others in turn."""

    def keys(self, networks):
        """Draw the numbers by whose size tasks are visited.

        They are drawn for all tasks, absent ones included, so that the order of those
        that are present does not depend on what other networks have in their batches.

        Parameters
        ----------
        networks : ndarray of shape (n,), int
            Positions in the bank.

        Returns
        -------
        keys : ndarray of shape (n, n_tasks, n_tasks)
            A row for each task that visits.
        """
        n_tasks = self.held_.shape[1]

        def make(generator):
            return torch.rand(n_tasks, n_tasks, generator=generator)

        return self.draw(f"visits {self.name}", networks, make)

    def orders(self, networks):
        """Draw for each network and task the order of the others.

        Parameters
        ----------
        networks : ndarray of shape (n,), int
            Positions in the bank.

        Returns
        -------
        orders : ndarray of shape (n, n_tasks, n_tasks), int
            A permutation of the tasks that are asked for, a row.
        """
        keys = self.keys(networks)
        if self._asked is not None:
            keys = keys[:, self._asked[:, None], self._asked]
        return keys.argsort(-1)


def ordered(gramian, order):
    """Lay out inner products in the order in which each task visits the others.

    Parameters
    ----------
    gramian : ndarray of shape (n_networks, n_tasks, n_tasks)
        Inner products.
    order : ndarray of shape (n_networks, n_tasks, n_tasks), int
        From :meth:`VisitingModule.orders`.

    Returns
    -------
    towards : ndarray of shape (n_networks, n_tasks, n_tasks)
        Of each task with those that it visits.
    between : ndarray of shape (n_networks, n_tasks, n_tasks, n_tasks)
        Of those among each other.
    """
    every = np.arange(len(gramian))[:, None, None, None]
    towards = np.take_along_axis(gramian, order, axis=2)
    return towards, gramian[every, order[..., None], order[..., None, :]]


def summed_back(values, order):
    """Sum over all tasks what each did to those that it visited.

    Parameters
    ----------
    values : ndarray of shape (n_networks, n_tasks, n_tasks)
        In the order of the visits.
    order : ndarray of shape (n_networks, n_tasks, n_tasks), int
        From :meth:`VisitingModule.orders`.

    Returns
    -------
    total : ndarray of shape (n_networks, n_tasks)
        In the order of the tasks.
    """
    placed = np.empty_like(values)
    np.put_along_axis(placed, order, values, axis=2)
    return placed.sum(1)
