"""Whether sharing helps: networks of single tasks beside those that share."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ._best_epochs import held_out_means
from ._guard import Guard
from ._held_out import Gains
from ._shares import TrainingShare

# Shares of the networks of single tasks that are tried.
_SHARES = (0.25, 0.5, 0.75, 1.0)


def guard_plans(plans, n_columns):
    """Put a plan for each column and network behind the plans of the networks.

    A network of one column differs from its member in what it learns, and in nothing
    else: it has the member's rows, initial weights and order of rows.

    Parameters
    ----------
    plans : list of NetworkPlan
        Of the members.
    n_columns : int
        Label columns, each a task.

    Returns
    -------
    plans : list of NetworkPlan
        Those of the members, then those of column 0 in the order of members, and so on.
    """
    if n_columns < 2:  # a single task is alone as it is
        return plans
    alone = []
    for column in range(n_columns):
        # The whole loss of the column, where a member has a share of it.
        weights = n_columns * (np.arange(n_columns) == column).astype(float)
        for plan in plans:
            settings = replace(plan.hyperparameters, task_weights=weights)
            alone.append(replace(plan, only_column=column, hyperparameters=settings))
    return [*plans, *alone]


@dataclass(frozen=True, eq=False)
class Verdict:
    """What held-out rows say about sharing.

    Parameters
    ----------
    transfer : ndarray of shape (n_columns,)
        Share of the held-out loss of its own networks that a column is spared by
        sharing, each at the epochs that were best for the column; negative where
        sharing hurts, NaN without held-out labels or with a single class.
    shares : ndarray of shape (n_columns,)
        How much of its own networks each column is to use; 0 for none.
    """

    transfer: np.ndarray
    shares: np.ndarray


def settle_guard(net, training, data):
    """Decide how much of its own networks each column uses, and keep those.

    Parameters
    ----------
    net : BankNet
        The networks of :func:`guard_plans`, trained.
    training : BankTraining or TrainingShare
        Their record.
    data : TaskData
        What they trained on.

    Returns
    -------
    net : BankNet
        The members, with their guard where a column uses it.
    training : TrainingShare
        The record of the members. One whose network of a column diverged counts as
        diverged.
    verdict : Verdict
        About each column.
    """
    shared = [k for k, plan in enumerate(training.plans) if plan.only_column is None]
    n_members = len(shared)
    n_columns = len(training.plans) // n_members - 1
    diverged = {}
    for k, found in training.diverged.items():
        diverged.setdefault(k % n_members, found)
    losses = net.module_.losses.of_networks([0]).cpu()  # all of them have the same
    counted = [k for k in range(n_members) if k not in diverged]
    rows = {k: training.plans[k].valid_rows for k in counted}
    outputs = {
        k: [
            training.best_outputs[c * n_members + k][: len(rows[k])].cpu().double()
            for c in range(n_columns + 1)
        ]
        for k in counted
    }
    verdict = _judge(training.plans, rows, outputs, training.luck, losses, data)
    blended = {
        k: _blended(own, verdict.shares, losses.slices) for k, own in outputs.items()
    }
    record = TrainingShare(
        training.plans[:n_members],
        training.best_epoch[:n_members],
        np.stack(training.weight_history)[:, :n_members],
        diverged,
        held_out_means(blended, rows, losses, len(data.X), torch.zeros(0).double()),
        conflict_history=list(training.conflict_history),
    )
    members = net.take(shared)
    used = np.flatnonzero(verdict.shares)
    if len(used):
        index = [n_members * (c + 1) + k for c in used for k in shared]
        shares = tuple(verdict.shares[used].tolist())
        members.guard = Guard(net.take(index), tuple(used.tolist()), shares)
    return members, record, verdict


def _blended(outputs, shares, slices):
    shared, *alone = outputs
    blended = shared.clone()
    for own, share, where in zip(alone, shares, slices, strict=True):
        blended[:, where] = torch.lerp(shared[:, where], own[:, where], float(share))
    return blended


def _judge(plans, rows, outputs, luck, losses, data):
    """Compare the losses of held-out cells, column by column.

    The same cells chose the epochs, and a network of one column chose by that column
    alone. So the members are taken at the epoch that was best for the column as well:
    both sides are equally lucky.
    """
    n_columns = len(losses.slices)
    transfer, shares = np.full(n_columns, np.nan), np.zeros(n_columns)
    if not outputs:
        return Verdict(transfer, shares)
    targets = torch.from_numpy(plans[0].targets.encode(data.y)).double()
    table = plans[0].weight(data)
    weight = np.concatenate([table[rows[k]] for k in outputs])
    sizes = np.array([table[rows[k]].sum(axis=0) for k in outputs])
    lucks = np.where(sizes > 0, luck[list(outputs)], 0.0)

    def cells(share):
        parts = []
        for k, own in outputs.items():
            blend = _blended(own, [share] * n_columns, losses.slices)
            parts.append(losses.cells(blend[None], targets[rows[k]][None])[0])
        return torch.cat(parts).numpy()

    shared, blends = cells(0.0), {share: cells(share) for share in _SHARES}
    for j in range(n_columns):
        known = weight[:, j] > 0
        if not known.any() or plans[0].targets.n_classes[j] == 1:
            continue
        own = weight[known, j] / weight[known, j].sum()
        together, alone = (own @ found[known, j] for found in (shared, blends[1.0]))
        spared = sizes[:, j] @ lucks[:, j] / sizes[:, j].sum()
        together -= spared
        transfer[j] = (alone - together) / abs(alone) if alone else 0.0
        gains = {share: (shared - found)[known, j] for share, found in blends.items()}
        shares[j] = share_that_pays(gains, own, spared)
    return Verdict(transfer, shares)


def share_that_pays(gains, weight, luck=0.0):
    """Choose how much of its own networks a task uses.

    Held-out rows are few, and a blend that follows their noise costs more than it
    saves. So a task shares unless a blend is better by more than the standard error of
    the difference, as trees are pruned (Breiman, Friedman, Olshen, Stone 1984, section
    3.4.3). And it shares where it would lose alone: two networks are better than one
    whatever they have learned, but a prediction is the mean of all members.

    Parameters
    ----------
    gains : dict of float to ndarray of shape (n_cells,)
        By the share of the task's own networks, what it spares each held-out cell; 1.0
        is among them.
    weight : ndarray of shape (n_cells,)
        Of the cells; sums to 1.
    luck : float, default=0.0
        Gain that is no merit of the task's own networks.

    Returns
    -------
    share : float
        The one with the largest mean gain; 0 if that is luck or within its standard
        error, or if a share of 1 gains nothing but luck.
    """
    means = {share: weight @ gain for share, gain in gains.items()}
    best = max(means, key=means.get)
    pays = Gains.of(gains[best], weight).less(1) > luck and means[1.0] > luck
    return best if pays else 0.0
