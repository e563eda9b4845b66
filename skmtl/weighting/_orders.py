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


class Visits:
    """Inner products of gradients that move along those that they visit.

    All tasks of all networks visit at once, each in its own order.

    Parameters
    ----------
    gramian : ndarray of shape (n_networks, n_tasks, n_tasks)
        Inner products before the first visit.
    order : ndarray of shape (n_networks, n_tasks, n_tasks), int
        From :meth:`VisitingModule.orders`.

    Attributes
    ----------
    pairs : ndarray of shape (n_tasks, n_networks * n_tasks), int
        By visit and visitor, where the pair stands in a raveled Gramian.
    squares : ndarray of shape (n_tasks, n_networks * n_tasks)
        Squared norms of the visited gradients.
    others : ndarray of shape (n_tasks, n_networks * n_tasks), bool
        Whether the visited gradient is another one, and not zero.
    """

    def __init__(self, gramian, order):
        n_networks, n_tasks, _ = gramian.shape
        visitors = np.arange(n_networks * n_tasks)
        first = n_tasks * np.arange(n_networks)[:, None, None]
        # By visit first: then each visit reads numbers that stand together.
        self._visited = (order + first).reshape(-1, n_tasks).T.copy()
        self.pairs = (order.reshape(-1, n_tasks) + n_tasks * visitors[:, None]).T.copy()
        self._rows = gramian.reshape(-1, n_tasks)
        square = gramian.diagonal(axis1=1, axis2=2).ravel()
        self.squares = square.take(self._visited)
        self.others = (self._visited != visitors) & (self.squares > 0)
        self._inner = self._rows.copy()

    def inner(self, visit):
        """Read the inner products with those that are visited.

        Parameters
        ----------
        visit : int
            Its number.

        Returns
        -------
        inner : ndarray of shape (n_networks * n_tasks,)
            By visitor.
        """
        return self._inner.ravel().take(self.pairs[visit])

    def move(self, visit, length):
        """Move along those that are visited.

        Parameters
        ----------
        visit : int
            Its number.
        length : ndarray of shape (n_networks * n_tasks,)
            In units of the gradients that are visited.
        """
        self._inner += length[:, None] * self._rows.take(self._visited[visit], axis=0)

    def summed(self, lengths):
        """Sum over the visitors how far they moved along each gradient.

        Parameters
        ----------
        lengths : ndarray of shape (n_tasks, n_networks * n_tasks)
            By visit and visitor.

        Returns
        -------
        total : ndarray of shape (n_networks, n_tasks)
            By gradient.
        """
        size, n_tasks = self._rows.shape
        total = np.bincount(self._visited.ravel(), lengths.ravel(), minlength=size)
        return total.reshape(-1, n_tasks)
