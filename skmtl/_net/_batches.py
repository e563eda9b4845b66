"""Batches for every network, gathered from the table in memory."""

from typing import NamedTuple

import numpy as np
import torch

# Rows are gathered for several batches at once, up to about this much.
_CHUNK_BYTES = 8 * 2**20


class Batch(NamedTuple):
    """One batch for each network of a bank.

    Parameters
    ----------
    inputs : Tensor of shape (n_networks, n_rows, n_inputs)
        Encoded rows, padded to the longest batch.
    targets, weights : Tensor of shape (n_networks, n_rows, n_columns)
        Weights are 0 for missing labels and padding.
    task : Tensor of shape (n_networks, n_rows), int64, or None
        Row tasks.
    n_rows : list of int or None
        Unpadded rows of each network; None when all are as long as the batch.
    active : Tensor of shape (n_networks,), bool, or None
        Networks that have a batch in this slot; None when all do.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    task: torch.Tensor | None
    n_rows: list | None
    active: torch.Tensor | None


class JointBatches:
    """Iterate over the batches of one epoch, in a new order each time.

    The rows of a network are cut into the fewest batches that keep to its batch size,
    and their sizes differ by at most one. Networks with fewer batches rest in the last
    slots. Episodic training implements the same interface: ``take``, ``len`` and an
    iterator over :class:`Batch`.

    Parameters
    ----------
    table : Table
        Where rows are gathered.
    plans : sequence of NetworkPlan
        Rows and batch sizes.
    streams : Streams
        Draw the order of rows.
    """

    def __init__(self, table, plans, streams):
        self.table = table
        self.streams = streams
        self.device = table.weights.device
        self.take(list(plans))

    def take(self, plans):
        """Prepare the slots of the networks in training.

        Parameters
        ----------
        plans : sequence of NetworkPlan
            Of the networks that are still in the bank.
        """
        self.plans = plans
        self.sizes = [len(plan.train_rows) for plan in plans]
        n_batches = [plan.n_batches for plan in plans]
        # sizes_of_slots[k, s]: rows of network k in slot s
        sizes = np.zeros((len(plans), max(n_batches)), int)
        for k, (n, b) in enumerate(zip(self.sizes, n_batches, strict=True)):
            sizes[k, :b] = n // b + (np.arange(b) < n % b)
        self.slot_sizes = sizes
        length = sizes.max()
        starts = np.cumsum(sizes, axis=1) - sizes
        position = starts[:, :, None] + np.arange(length)
        # Position n of a network's order is the padding row.
        position = np.where(
            np.arange(length) < sizes[:, :, None],
            position,
            np.array(self.sizes)[:, None, None],
        )
        self._position = torch.from_numpy(position).to(self.device)
        self._rows = [
            torch.from_numpy(np.append(p.train_rows, self.table.n_rows)) for p in plans
        ]
        self._longest = max(self.sizes) + 1
        # One batch holds all rows; their order would change nothing but rounding.
        self._shuffled = [
            n if b > 1 else 0 for n, b in zip(self.sizes, n_batches, strict=True)
        ]

    def __len__(self):
        return self.slot_sizes.shape[1]

    def __iter__(self):
        # (n_slots, n_networks, n_rows): a slice of the first axis is one gather
        rows = self._epoch_rows()
        width = self.table.encoder.table.shape[-1]
        per_slot = rows[0].numel() * width * self.table.weights.element_size()
        chunk = max(1, _CHUNK_BYTES // per_slot)
        for start in range(0, len(rows), chunk):
            picked = rows[start : start + chunk]
            inputs = self.table.inputs(picked)
            targets, weights, task = self.table.labels(picked)
            for i in range(len(picked)):
                slot = self.slot_sizes[:, start + i]
                full = (slot == picked.shape[-1]).all()
                yield Batch(
                    inputs[i],
                    targets[i],
                    weights[i],
                    None if task is None else task[i],
                    None if full else slot.tolist(),
                    None if slot.all() else torch.from_numpy(slot > 0).to(self.device),
                )

    def _epoch_rows(self):
        order = torch.full((len(self.plans), self._longest), self.table.n_rows)
        drawn = self.streams.permutations(self._shuffled)
        for k, (rows, permutation) in enumerate(zip(self._rows, drawn, strict=True)):
            size = self.sizes[k]
            order[k, :size] = rows[permutation] if len(permutation) else rows[:size]
        order = order.to(self.device)
        rows = order.gather(1, self._position.flatten(1)).view(self._position.shape)
        return rows.transpose(0, 1).contiguous()


def padded_rows(rows, filler, device):
    """Stack row lists of several networks.

    Parameters
    ----------
    rows : list of ndarray of int
        Rows of each network.
    filler : int
        The padding row.
    device : torch.device
        Where to.

    Returns
    -------
    stacked : Tensor of shape (n_networks, n), int64
        Padded to the longest list.
    """
    stacked = np.full((len(rows), max(len(r) for r in rows)), filler)
    for k, r in enumerate(rows):
        stacked[k, : len(r)] = r
    return torch.from_numpy(stacked).to(device)
