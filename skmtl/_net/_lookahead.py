"""What a step for one task does to the losses of the others."""

import numpy as np
import torch

from ._batches import Batch

# Rows that are looked at, at most.
_MOST_ROWS = 2048
# Length of a step, as a share of the norm of all shared parameters. Near a minimum a
# long one is a loss to the task that it is for, too.
_SHARE = 0.002


class Lookahead:
    """Look ahead after each epoch of a training; an ``on_epoch``.

    Parameters
    ----------
    plan : NetworkPlan
        Its training rows, some thousand of them at most, and its seed.

    Attributes
    ----------
    seen : list of ndarray of shape (n_networks, n_tasks, n_tasks)
        See :func:`lookahead_gains`.
    """

    def __init__(self, plan):
        rows = np.random.default_rng(plan.seed).permutation(plan.train_rows)
        self.rows = rows[:_MOST_ROWS]
        self.seen = []

    def __call__(self, net):
        """Look ahead.

        Parameters
        ----------
        net : JointNet
            In training.

        Returns
        -------
        ends : bool
            False: training goes on.
        """
        self.seen.append(self._look(net._training))
        return False

    def mean(self):
        """Average over networks and epochs.

        Returns
        -------
        gains : ndarray of shape (n_tasks, n_tasks)
            0 where a task has no labels among the rows. Networks that have diverged
            are left out.
        """
        seen = np.concatenate(self.seen)
        sound = np.isfinite(seen).all(axis=(1, 2))
        return seen[sound].sum(axis=0) / max(1, sound.sum())

    def _look(self, training):
        module, table = training._live_module, training.table
        shared = module.shared_parameters()
        rows = torch.from_numpy(np.tile(self.rows, (len(shared[0]), 1)))
        rows = rows.to(training.device)
        batch = Batch(table.inputs(rows), *table.labels(rows), None, None)

        def losses():
            outputs = module(batch.inputs, batch.task)
            return training.objective.losses(outputs, batch)

        size = sum(p.detach().flatten(1).square().sum(1) for p in shared).sqrt()
        module.eval()
        gains = lookahead_gains(losses, shared, _SHARE * size)
        module.train()
        return gains.cpu().double().numpy()


def lookahead_gains(losses, parameters, length):
    r"""Measure by how much the loss of each task falls in a step for each other.

    A step for task i goes along :math:`-g_i` and has the same length for all tasks. The
    gain of task j is :math:`L_j(\theta) - L_j(\theta - \eta g_i / |g_i|)`.

    Parameters
    ----------
    losses : callable
        Computes the losses, Tensor of shape (n_networks, n_tasks).
    parameters : list of Parameter
        Those that step, each of shape (n_networks, ...). They end as they were.
    length : Tensor of shape (n_networks,)
        :math:`\eta`, of a step of all parameters of a network.

    Returns
    -------
    gains : Tensor of shape (n_networks, n_tasks, n_tasks)
        Entry (i, j) for a step of i and the loss of j.
    """
    before = losses()
    gradients = [
        torch.autograd.grad(
            task.sum(), parameters, retain_graph=True, materialize_grads=True
        )
        for task in before.unbind(1)
    ]
    start = [parameter.detach().clone() for parameter in parameters]
    gains = []
    with torch.no_grad():
        for gradient in gradients:
            size = sum(part.flatten(1).square().sum(1) for part in gradient).sqrt()
            rate = torch.where(size > 0, length / size, 0.0)
            for parameter, old, part in zip(parameters, start, gradient, strict=True):
                rates = rate.view(-1, *[1] * (part.ndim - 1))
                parameter.copy_(old - rates * part)
            gains.append(before - losses())
        for parameter, old in zip(parameters, start, strict=True):
            parameter.copy_(old)
    return torch.stack(gains, dim=1)
