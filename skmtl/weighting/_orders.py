"""Tasks that are visited one after the other, in random order."""

import numpy as np
import torch


def random_orders(n_tasks, generator):
    """Draw an order of all tasks for each task.

    Parameters
    ----------
    n_tasks : int
        Number of tasks.
    generator : torch.Generator
        Source of the orders.

    Returns
    -------
    orders : Tensor of shape (n_tasks, n_tasks), int64
        A permutation a row.
    """
    return torch.rand(n_tasks, n_tasks, generator=generator).argsort(-1)


def ordered(gramian, order):
    """Lay out inner products in the order in which each task visits the others.

    Parameters
    ----------
    gramian : ndarray of shape (n_networks, n_tasks, n_tasks)
        Inner products.
    order : ndarray of shape (n_networks, n_tasks, n_tasks), int
        From :func:`random_orders`.

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
        From :func:`random_orders`.

    Returns
    -------
    total : ndarray of shape (n_networks, n_tasks)
        In the order of the tasks.
    """
    placed = np.empty_like(values)
    np.put_along_axis(placed, order, values, axis=2)
    return placed.sum(1)
