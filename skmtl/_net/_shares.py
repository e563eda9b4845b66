"""What single estimators take out of a bank that trained the networks of many."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter

import numpy as np

from ._bank_net import BankNet
from ._best_epochs import held_out_means
from ._fit import fit_bank


@dataclass(frozen=True, eq=False)
class TrainingShare:
    """What stays known of the training of some networks, as if they trained alone.

    It answers what an estimator asks its training. Cosines between gradients are means
    over a whole bank and are not among it.

    Parameters
    ----------
    plans : list of NetworkPlan
        Of these networks.
    best_epoch : ndarray of shape (n_networks,), int
        Counted from 1.
    weight_history : ndarray of shape (n_epochs, n_networks, n_tasks)
        Mean weights by epoch, up to the last one that any of the networks trained in.
    diverged : dict
        From network to (epoch, task) where its loss was first not finite.
    held_out : ndarray of shape (n_rows, n_predictions) or None
        Predictions of the networks that held a row out; None without validation.
    start : None
        These networks did not go on from others.
    conflict_history : list
        Empty where other networks were in the bank.
    best_outputs : list of (Tensor of shape (n_own, n_outputs) or None), default=None
        Raw outputs of each network for its held-out rows at its best epoch, where a
        guard asks for them.
    luck : ndarray of shape (n_networks, n_tasks), default=None
        What each task would be spared by an epoch of its own, in loss on held-out rows;
        where a guard asks for it.
    """

    plans: list
    best_epoch: np.ndarray
    weight_history: np.ndarray
    diverged: dict
    held_out: np.ndarray | None
    start: None = None
    conflict_history: list = field(default_factory=list)
    best_outputs: list | None = None
    luck: np.ndarray | None = None

    @property
    def validates(self):
        """Whether rows were held out, bool."""
        return self.held_out is not None

    def held_out_predictions(self):
        """Predict every row by the networks that held it out, at their best epochs.

        Returns
        -------
        predictions : ndarray of shape (n_rows, n_predictions), float64
            Means over networks; NaN for rows that none held out.
        """
        return self.held_out


@dataclass(frozen=True, eq=False)
class SharedBank:
    """A trained bank, and how its networks fall to the estimators they belong to.

    Parameters
    ----------
    net : BankNet
        All networks.
    shares : list of TrainingShare
        One an estimator.
    places : list of ndarray of int
        Positions of the networks of each share.
    seconds : float
        Wall-clock time of the training.
    """

    net: BankNet
    shares: list
    places: list
    seconds: float

    @cached_property
    def _arrays(self):
        return self.net.__getstate__()["arrays"]

    def net_of(self, number):
        """Make the net of one share.

        Parameters
        ----------
        number : int
            Of the share.

        Returns
        -------
        net : BankNet
            With copies of the weights. Its history is that of the bank.
        """
        targets = self.shares[number].plans[0].targets
        return self.net.part(self.places[number], self._arrays, targets)


def fit_shares(shares, data, *, device, dtype, decode, on_epoch=None):
    """Train the networks of several estimators as one bank.

    Parameters
    ----------
    shares : list of (list of NetworkPlan, rows)
        The networks of each estimator, with positions in its own data, and where the
        rows of that stand in `data`.
    data : TaskData
        Holds the rows of all of them.
    device, dtype, decode, on_epoch : object
        As for :func:`fit_bank`.

    Returns
    -------
    bank : SharedBank
        Trained.

    Raises
    ------
    KeyboardInterrupt
        If the training is interrupted: a part of the estimators would not have been
        trained to the end.
    """
    start = perf_counter()
    plans = [_moved(plan, rows) for own, rows in shares for plan in own]
    # Networks with as many batches an epoch step and rest together; side by side, one
    # call of the optimizer's kernel moves them all.
    order = np.argsort([plan.n_batches for plan in plans], kind="stable")
    net, training = fit_bank(
        [plans[k] for k in order],
        _writable(data),
        device=device,
        dtype=dtype,
        decode=decode,
        on_epoch=on_epoch,
    )
    if net.interrupted_:
        raise KeyboardInterrupt
    place = np.argsort(order)
    ends = np.cumsum([len(own) for own, _ in shares])
    places = np.split(place, ends[:-1])
    weights = np.stack(training.weight_history)
    found = [
        _share(training, weights, index, own, len(rows))
        for index, (own, rows) in zip(places, shares, strict=True)
    ]
    return SharedBank(net, found, places, perf_counter() - start)


def _writable(data):
    """Copy what joblib mapped into this process for reading; torch wants to own it."""
    columns = {name: getattr(data, name) for name in ("X", "y", "weight", "task")}
    read_only = {n: c.copy() for n, c in columns.items() if _is_read_only(c)}
    return replace(data, **read_only) if read_only else data


def _is_read_only(column):
    return column is not None and not column.flags.writeable


def _moved(plan, rows):
    valid = None if plan.valid_rows is None else rows[plan.valid_rows]
    return replace(plan, train_rows=rows[plan.train_rows], valid_rows=valid)


def _share(training, weights, index, plans, n_rows):
    n_epochs = int(training.last_epoch[index].max())
    diverged = {
        k: training.diverged[i] for k, i in enumerate(index) if i in training.diverged
    }
    held_out = outputs = luck = None
    if any(plan.valid_rows is not None for plan in plans):
        rows = {
            i: plan.valid_rows
            for k, (i, plan) in enumerate(zip(index, plans, strict=True))
            if k not in diverged and plan.only_column is None
        }
        held_out = held_out_means(
            training.best_outputs,
            rows,
            training.module.losses,
            n_rows,
            training.table.weights,
        )
    if any(plan.only_column is not None for plan in plans):
        outputs = [training.best_outputs[i] for i in index]
        luck = training.luck[index]
    return TrainingShare(
        plans,
        training.best_epoch[index],
        weights[:n_epochs, index],
        diverged,
        held_out,
        best_outputs=outputs,
        luck=luck,
    )
