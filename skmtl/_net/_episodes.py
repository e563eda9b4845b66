"""Episodes: tasks with support and query rows, drawn for every network."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from ._plan import NetworkPlan
from ._samplers import make_sampler
from ._table import Table

# Rows are gathered for several meta-batches at once, up to about this much.
_CHUNK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class EpisodeSettings:
    """How episodes are drawn.

    Parameters
    ----------
    n_support : tuple of two int
        Least and most support rows of a task, or of a class; drawn anew every time.
    n_query : int
        Query rows of a task, or of a class, at most.
    n_way : int or None
        Classes of an episode, when episodes are drawn by class.
    meta_batch_size : int
        Episodes of a step.
    n_iter : int
        Steps in all.
    n_iter_epoch : int
        Steps from one validation to the next.
    chunk_size : int or None
        Episodes computed at a time; None is all of a step.
    """

    n_support: tuple[int, int]
    n_query: int
    n_way: int | None
    meta_batch_size: int
    n_iter: int
    n_iter_epoch: int
    chunk_size: int | None = None

    @property
    def n_epochs(self):
        """Epochs in all, int; the last one may be shorter."""
        return -(-self.n_iter // self.n_iter_epoch)

    def n_steps(self, epoch):
        """Count the steps of an epoch.

        Parameters
        ----------
        epoch : int
            From 0.

        Returns
        -------
        n_steps : int
            At least 1.
        """
        return min(self.n_iter_epoch, self.n_iter - epoch * self.n_iter_epoch)


@dataclass(frozen=True, eq=False)
class EpisodicPlan(NetworkPlan):
    """One network that is trained on episodes.

    Parameters
    ----------
    train_entries : ndarray of int, default=None
        Entries of the pool that it learns from.
    valid_entries : ndarray of int, default=None
        Entries that choose its best epoch; None trains to the end.
    episodes : EpisodeSettings, default=None
        How episodes are drawn.
    """

    train_entries: np.ndarray = None
    valid_entries: np.ndarray | None = None
    episodes: EpisodeSettings = None

    @property
    def n_batches(self):
        """Steps of a full epoch, int."""
        return self.episodes.n_iter_epoch

    @property
    def key(self):
        """The key of its streams, tuple: the seed, and what its draws depend on."""
        entries = [e for e in (self.train_entries, self.valid_entries) if e is not None]
        marks = [zlib.crc32(np.ascontiguousarray(e, dtype=np.int64)) for e in entries]
        return (self.seed, *marks, *self.encoder.sizes)


class Episodes(NamedTuple):
    """One meta-batch: episodes for each network of a bank.

    The first `n_support` rows of an episode are its support, the others its query.

    Parameters
    ----------
    inputs : Tensor of shape (n_networks, n_episodes, n_rows, n_inputs)
        Encoded rows.
    targets, weights : Tensor of shape (n_networks, n_episodes, n_rows, n_columns)
        Weights are 0 for missing labels and padding. Episodes drawn by class have one
        column, the slot of the class.
    n_support : int
        Rows of the longest support.
    tasks : Tensor of shape (n_networks, n_episodes), int64
        The task of each episode.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    n_support: int
    tasks: torch.Tensor
    # What BankTraining asks of every batch.
    n_rows: list | None = None
    active: torch.Tensor | None = None
    task: torch.Tensor | None = None

    def take(self, index):
        """Keep some networks.

        Parameters
        ----------
        index : Tensor of int64
            Positions of the networks.

        Returns
        -------
        episodes : Episodes
            Of fewer networks.
        """
        return self._replace(**{name: getattr(self, name)[index] for name in _TENSORS})

    def chunks(self, size):
        """Cut a meta-batch into smaller ones.

        Parameters
        ----------
        size : int or None
            Episodes of each; None is all.

        Returns
        -------
        chunks : list of Episodes
            In order.
        """
        if size is None or size >= self.inputs.shape[1]:
            return [self]
        parts = {name: getattr(self, name).split(size, dim=1) for name in _TENSORS}
        return [
            self._replace(**dict(zip(_TENSORS, part, strict=True)))
            for part in zip(*parts.values(), strict=True)
        ]


_TENSORS = ("inputs", "targets", "weights", "tasks")


class EpisodeTable(Table):
    """The training table, gathered by entries of a pool.

    Entry ``len(pool)`` is padding.

    Parameters
    ----------
    pool : TaskPool
        The entries.
    data : TaskData
        Checked data.
    *args : tuple
        The other arguments of :class:`Table`.
    """

    def __init__(self, pool, data, *args):
        super().__init__(data, *args)
        device = self.weights.device
        self.pool = pool
        rows = np.append(pool.rows, self.n_rows)
        self.entry_rows = torch.from_numpy(rows).to(device)
        self.entry_columns = None
        if pool.column is not None:
            columns = torch.from_numpy(np.append(pool.column, 0))
            self.entry_columns = columns.to(device)

    def gather(self, entries, filled):
        """Gather entries.

        Parameters
        ----------
        entries, filled : Tensor of shape (..., n_networks, n), int64
            Entries of each network; in `filled` with others in place of padding.

        Returns
        -------
        inputs : Tensor of shape (..., n_networks, n, n_inputs)
            By the encoder of each network. Padding is not zeros but rows of `filled`,
            so that running statistics of a module see nothing strange.
        targets, weights : Tensor of shape (..., n_networks, n, n_columns)
            In the scaling of each network; weights are 0 where there is no label.
        """
        rows = self.entry_rows[entries]
        targets, weights, _ = self.labels(rows)
        if self.entry_columns is not None:
            column = self.entry_columns[entries].unsqueeze(-1)
            targets, weights = targets.gather(-1, column), weights.gather(-1, column)
        return self.inputs(self.entry_rows[filled]), targets, weights


class EpisodeBatches:
    """Iterate over the meta-batches of one epoch.

    Parameters
    ----------
    table : EpisodeTable
        Where entries are gathered.
    plans : sequence of EpisodicPlan
        Entries and settings; the settings agree.
    streams : Streams
        Draw the episodes.
    """

    def __init__(self, table, plans, streams):
        self.table = table
        self.streams = streams
        self.epoch = 0
        self.samplers = [make_sampler(table.pool, p.train_entries, p) for p in plans]
        self.settings = plans[0].episodes

    def take(self, index):
        """Keep some networks.

        Parameters
        ----------
        index : sequence of int
            Positions of the networks.
        """
        self.samplers = [self.samplers[k] for k in index]

    def __len__(self):
        return self.settings.n_steps(self.epoch)

    def __iter__(self):
        drawn = self.streams.each(
            lambda key, sampler: sampler.draw(
                self.streams.generator(key, "episodes"), len(self)
            ),
            self.samplers,
        )
        yield from stacked_episodes(self.table, drawn)


def stacked_episodes(table, drawn):
    """Gather the episodes of all networks, some steps at a time.

    Parameters
    ----------
    table : EpisodeTable
        Where entries are gathered.
    drawn : list of Draw, length n_networks
        Of one shape.

    Yields
    ------
    episodes : Episodes
        Step by step.
    """
    device = table.weights.device
    n_support = drawn[0].n_support
    entries = torch.stack([d.entries for d in drawn], dim=1).to(device)
    slots = None
    if drawn[0].slots is not None:
        slots = torch.stack([d.slots for d in drawn], dim=1).to(device)
    tasks = torch.stack([d.tasks for d in drawn], dim=1).to(device)
    filled = _without_padding(entries, len(table.pool))
    n_steps, _, n_episodes, n_rows = entries.shape
    width = table.encoder.table.shape[-1]
    per_step = entries[0].numel() * width * table.weights.element_size()
    chunk = max(1, _CHUNK_BYTES // per_step)
    for start in range(0, n_steps, chunk):
        picked, taken = (e[start : start + chunk] for e in (entries, filled))
        parts = [
            part.unflatten(2, (n_episodes, n_rows))
            for part in table.gather(picked.flatten(2), taken.flatten(2))
        ]
        if slots is not None:
            parts[1] = slots[start : start + chunk].unsqueeze(-1).to(parts[1].dtype)
        for i in range(len(picked)):
            yield Episodes(*(p[i] for p in parts), n_support, tasks[start + i])


def _without_padding(entries, filler):
    """Put the rows of an episode, in turns, where it is padded."""
    there = entries < filler
    if there.all():
        return entries
    first = there.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    n_rows = there.sum(-1, keepdim=True).clamp(min=1)
    turns = torch.arange(entries.shape[-1], device=entries.device) % n_rows
    return torch.where(there, entries, entries.gather(-1, first.gather(-1, turns)))
