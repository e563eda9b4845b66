"""A short training that tells how the tasks get on, for architectures that ask."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ._net import Lookahead, fit_bank, initial_bias
from .architecture import HardSharing
from .weighting import Equal, Weighting, WeightingModule

# Networks and epochs; by measurement, see examples/benchmarks/bench_architecture.py.
_N_NETWORKS = 4
_N_EPOCHS = 30
# A fast training is over before much is seen; and what is found should not depend on
# the learning rate, over which one searches.
_LR = 0.002


@dataclass(frozen=True, eq=False)
class Pilot:
    """What one trunk for all tasks tells about them.

    Parameters
    ----------
    affinity : ndarray of shape (n_tasks, n_tasks)
        Mean cosine between the gradients of two tasks at the shared parameters, over
        steps and networks; 0 where two tasks never met. Or, for those who look ahead,
        the gain of each by a step for the other over its gain by a step of its own,
        the mean of both ways. Of row tasks either is corrected for noise, see
        :func:`corrected`.
    unexplained : ndarray of shape (n_tasks,)
        Loss on the held-out rows, or else on those of training, over that of the best
        constant; small for tasks that are easy to tell. Ones for row tasks.
    """

    affinity: np.ndarray
    unexplained: np.ndarray


def run_pilot(plan, data, *, device, dtype, looks_ahead=False):
    """Train a few small networks on the rows of one plan, and watch the tasks.

    Parameters
    ----------
    plan : NetworkPlan
        Its rows, encoder and settings; the networks have seeds of their own.
    data : TaskData
        What it trains on.
    device, dtype : str
        As for :func:`fit_bank`.
    looks_ahead : bool, default=False
        Whether affinity is what steps do to losses, rather than cosines.

    Returns
    -------
    pilot : Pilot
        What was seen.
    """
    if data.row_tasks:
        plan, data = halved(plan, data)
    settings = replace(
        plan.hyperparameters,
        # Its heads are not asked for: nothing is to be chosen for them.
        architecture=HardSharing((64,), task_shrinkage=10.0),
        weighting=Equal() if looks_ahead else Watch(),
        lr=_LR,
        max_epochs=_N_EPOCHS,
        n_iter_no_change=None,
    )
    plans = [
        replace(plan, seed=plan.seed + 1 + k, hyperparameters=settings)
        for k in range(_N_NETWORKS)
    ]
    look = Lookahead(plans[0]) if looks_ahead else None
    net, training = fit_bank(plans, data, device=device, dtype=dtype, on_epoch=look)
    found = look.mean() if looks_ahead else mean_cosines(training.conflict_history)
    if data.row_tasks:
        affinity = corrected(found)
        return Pilot(affinity, np.ones(len(affinity)))
    affinity = relative_gains(found) if looks_ahead else found
    held_out = training.validates
    kind = "valid_losses" if held_out else "train_losses"
    losses = np.array([row[kind] for row in net.history], float)
    # Tasks without held-out labels come last.
    losses = np.where(np.isfinite(losses), losses, np.inf).min(axis=0)
    rows = plan.valid_rows if held_out else plan.train_rows
    constant = _constant_losses(plan, data, net.module_.losses, rows)
    return Pilot(affinity, losses / constant)


def halved(plan, data):
    """Make two row tasks of each, with every other row of it.

    Parameters
    ----------
    plan : NetworkPlan
        Its training rows are dealt out, and so are the others.
    data : TaskData
        Of row tasks.

    Returns
    -------
    plan : NetworkPlan
        With weights for the halves.
    data : TaskData
        Tasks 2t and 2t + 1 are the halves of t.
    """
    half = np.zeros(len(data.task), int)
    trains = np.zeros(len(data.task), bool)
    trains[plan.train_rows] = True
    for part in (trains, ~trains):
        rows = np.flatnonzero(part)
        rows = rows[np.argsort(data.task[rows], kind="stable")]
        # Places within a task, whose rows now stand together.
        _, start, size = np.unique(
            data.task[rows], return_index=True, return_counts=True
        )
        half[rows] = (np.arange(len(rows)) - np.repeat(start, size)) % 2
    names = list(range(2 * len(data.task_names)))
    weights = np.repeat(plan.hyperparameters.task_weights, 2)
    settings = replace(plan.hyperparameters, task_weights=weights)
    return (
        replace(plan, hyperparameters=settings),
        replace(data, task=2 * data.task + half, task_names=names),
    )


def corrected(agreement):
    """Correct the agreement of tasks for the noise of few rows.

    Gradients from a few rows are mostly noise, and agree little even if the tasks are
    one. How little shows in the halves of one task. The agreement of two tasks over
    that of halves is Spearman's correction for attenuation, with the mean over tasks in
    the denominator, for single ones are too noisy.

    Parameters
    ----------
    agreement : ndarray of shape (2 * n_tasks, 2 * n_tasks)
        Between the halves that :func:`halved` makes.

    Returns
    -------
    affinity : ndarray of shape (n_tasks, n_tasks)
        Symmetric; 1 on the diagonal. Ones where halves do not agree, either: nothing
        then tells the tasks apart.

    References
    ----------
    .. [1] C. Spearman (1904). The Proof and Measurement of Association between Two
       Things. American Journal of Psychology 15, 72-101.
    """
    n_tasks = len(agreement) // 2
    blocks = agreement.reshape(n_tasks, 2, n_tasks, 2)
    between = blocks.mean(axis=(1, 3))
    own = (blocks[:, 0, :, 1] + blocks[:, 1, :, 0]).diagonal().mean() / 2
    if own <= 0:
        return np.ones((n_tasks, n_tasks))
    affinity = (between + between.T) / (2 * own)
    np.fill_diagonal(affinity, 1.0)
    return affinity


def mean_cosines(history):
    """Average cosines over epochs.

    Parameters
    ----------
    history : list of ndarray of shape (n_tasks, n_tasks)
        NaN where two tasks never met.

    Returns
    -------
    affinity : ndarray of shape (n_tasks, n_tasks)
        Symmetric; 1 on the diagonal.
    """
    cosines = np.stack(history)
    met = np.isfinite(cosines)
    affinity = np.where(met, cosines, 0.0).sum(0) / np.maximum(met.sum(0), 1)
    np.fill_diagonal(affinity, 1.0)
    return (affinity + affinity.T) / 2


def relative_gains(gains):
    """Compare what a task gains by the steps of others with its own steps.

    Parameters
    ----------
    gains : ndarray of shape (n_tasks, n_tasks)
        Entry (i, j): what a step for i gains j.

    Returns
    -------
    affinity : ndarray of shape (n_tasks, n_tasks)
        Symmetric; 1 on the diagonal. A task that gains nothing by its own steps has no
        measure, and the other way counts alone; 0 where neither has one.
    """
    own = gains.diagonal()
    share = np.full(gains.shape, np.nan)
    np.divide(gains, own, out=share, where=np.broadcast_to(own > 0, gains.shape))
    both = np.stack([share, share.T])
    known = np.isfinite(both)
    affinity = np.where(known, both, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    np.fill_diagonal(affinity, 1.0)
    return affinity


def _constant_losses(plan, data, losses, rows):
    """Compute the losses of the best constants on some rows, by task."""
    weight = plan.weight(data)
    train = plan.train_rows
    bias = torch.tensor(initial_bias(plan, data.y[train], weight[train]))
    targets = torch.tensor(plan.targets.encode(data.y[rows]))[None].double()
    outputs = bias.double().expand(1, len(rows), -1)
    cells = losses.double().cells(outputs, targets)[0].numpy()
    own = np.where(weight[rows] > 0, weight[rows], 0.0)
    total = np.maximum(own.sum(axis=0), 1e-300)
    return np.maximum((np.where(own > 0, cells, 0.0) * own).sum(0) / total, 1e-12)


class Watch(Weighting):
    """Let every task count alike, and see the gradients."""

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Unused.
        streams : Streams, optional
            Unused.

        Returns
        -------
        module : WatchModule
            Without parameters.
        """
        return WatchModule()


class WatchModule(WeightingModule):
    """The module that :class:`Watch` builds."""

    needs = "gramian"
    gradients = "parameters"

    def weights(self, losses, gramian, present):
        """Give ones.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Only its shape is read.
        gramian : Tensor of shape (n_networks, n_tasks, n_tasks)
            Noted by whoever asks.
        present : Tensor of shape (n_networks, n_tasks), bool
            Unused.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            Ones.
        """
        return torch.ones_like(losses)
