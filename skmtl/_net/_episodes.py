"""Episodes: tasks with support and query rows, drawn for every network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from ._plan import NetworkPlan
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
        """The key of its streams, tuple: the seed, and sizes its draws depend on."""
        return (self.seed, len(self.train_entries), *self.encoder.sizes)


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

    def gather(self, entries):
        """Gather entries.

        Parameters
        ----------
        entries : Tensor of shape (..., n_networks, n), int64
            Entries of each network.

        Returns
        -------
        inputs : Tensor of shape (..., n_networks, n, n_inputs)
            By the encoder of each network.
        targets, weights : Tensor of shape (..., n_networks, n, n_columns)
            In the scaling of each network; weights are 0 where there is no label.
        """
        rows = self.entry_rows[entries]
        targets, weights, _ = self.labels(rows)
        if self.entry_columns is not None:
            column = self.entry_columns[entries].unsqueeze(-1)
            targets, weights = targets.gather(-1, column), weights.gather(-1, column)
        return self.inputs(rows), targets, weights


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


class Draw(NamedTuple):
    """Episodes of one network, by entries.

    Parameters
    ----------
    entries : Tensor of shape (n_steps, n_episodes, n_rows), int64
        Entries of the pool.
    slots : Tensor of the same shape, int64, or None
        The slot of the class of each row.
    tasks : Tensor of shape (n_steps, n_episodes), int64
        The task of each episode.
    n_support : int
        Rows of the longest support.
    """

    entries: torch.Tensor
    slots: torch.Tensor | None
    tasks: torch.Tensor
    n_support: int


def stacked_episodes(table, drawn):
    """Gather the episodes of all networks, some steps at a time.

    Parameters
    ----------
    table : EpisodeTable
        Where entries are gathered.
    drawn : list of Draw, length n_networks
        Of one shape but for padding.

    Yields
    ------
    episodes : Episodes
        Step by step.
    """
    device = table.weights.device
    n_support = max(d.n_support for d in drawn)
    padded = [_padded(d, n_support, drawn, len(table.pool)) for d in drawn]
    entries = torch.stack([p[0] for p in padded], dim=1).to(device)
    slots = None
    if drawn[0].slots is not None:
        slots = torch.stack([p[1] for p in padded], dim=1).to(device)
    tasks = torch.stack([d.tasks for d in drawn], dim=1).to(device)
    n_steps, _, n_episodes, n_rows = entries.shape
    width = table.encoder.table.shape[-1]
    per_step = entries[0].numel() * width * table.weights.element_size()
    chunk = max(1, _CHUNK_BYTES // per_step)
    for start in range(0, n_steps, chunk):
        picked = entries[start : start + chunk]
        parts = [
            part.unflatten(2, (n_episodes, n_rows))
            for part in table.gather(picked.flatten(2))
        ]
        if slots is not None:
            parts[1] = slots[start : start + chunk].unsqueeze(-1).to(parts[1].dtype)
        for i in range(len(picked)):
            yield Episodes(*(p[i] for p in parts), n_support, tasks[start + i])


def _padded(draw, n_support, drawn, filler):
    """Pad the support and the query of one network to those of the longest."""
    n_query = max(d.entries.shape[-1] - d.n_support for d in drawn)
    own = draw.n_support, draw.entries.shape[-1] - draw.n_support
    if own == (n_support, n_query):
        return draw.entries, draw.slots

    def pad(tensor, value):
        if tensor is None:
            return None
        parts = zip(tensor.split(own, dim=-1), (n_support, n_query), strict=True)
        return torch.cat(
            [
                torch.nn.functional.pad(part, (0, size - part.shape[-1]), value=value)
                for part, size in parts
            ],
            dim=-1,
        )

    return pad(draw.entries, filler), pad(draw.slots, 0)


def make_sampler(pool, entries, plan):
    """Make what draws the episodes of one network.

    Parameters
    ----------
    pool : TaskPool
        All entries.
    entries : ndarray of int
        Those of the network, in ascending order.
    plan : EpisodicPlan
        Names the settings.

    Returns
    -------
    sampler : TaskSampler or ClassSampler
        With a method ``draw(generator, n_steps)``.
    """
    kind = TaskSampler if plan.episodes.n_way is None else ClassSampler
    return kind(pool, entries, plan.episodes)


class _Windows:
    """Draw rows of groups without replacement: windows of a shuffled order.

    The order within a group is shuffled anew for every call of :meth:`shuffle`; a
    window starts anywhere and goes around, so that a draw costs nothing per row of the
    group.

    Parameters
    ----------
    entries : ndarray of shape (n_entries,), int
        Entries of the pool, sorted by group.
    group : ndarray of shape (n_entries,), int
        Their groups, from 0.
    filler : int
        The entry that pads.
    """

    def __init__(self, entries, group, filler):
        self.entries = torch.from_numpy(np.ascontiguousarray(entries))
        self.group = torch.from_numpy(np.ascontiguousarray(group))
        self.sizes = torch.bincount(self.group)
        self.starts = self.sizes.cumsum(0) - self.sizes
        self.filler = filler
        self.order = self.entries

    def shuffle(self, generator):
        """Put the entries of every group into a new order."""
        keys = torch.rand(len(self.entries), generator=generator, dtype=torch.float64)
        self.order = self.entries[(self.group + keys).argsort()]

    def draw(self, groups, n_support, most, n_query, generator):
        """Draw support and query rows of groups.

        Parameters
        ----------
        groups : Tensor of any shape, int64
            Which group; -1 gives padding only.
        n_support : Tensor of the same shape, int64
            Support rows wanted; at least one row is left for the query.
        most : int
            Rows that the support is padded to.
        n_query : int
            Query rows at most.
        generator : Generator
            Draws.

        Returns
        -------
        entries : Tensor of shape (..., most + n_query), int64
            Support first.
        """
        known = groups >= 0
        groups = groups.clamp(min=0)
        sizes = torch.where(known, self.sizes[groups], 0)
        offset = torch.rand(groups.shape, generator=generator, dtype=torch.float64)
        offset = (offset * sizes).long().unsqueeze(-1)
        sizes, start = sizes.unsqueeze(-1), self.starts[groups].unsqueeze(-1)
        support = torch.minimum(n_support.unsqueeze(-1), (sizes - 1).clamp(min=0))
        slot = torch.arange(most + n_query)
        in_support = slot < most
        position = torch.where(in_support, slot, slot - most + support)
        used = torch.where(in_support, position < support, position < sizes)
        found = self.order[start + (offset + position) % sizes.clamp(min=1)]
        return torch.where(used, found, self.filler)


def _support_sizes(settings, shape, generator):
    low, high = settings.n_support
    return torch.randint(low, high + 1, shape, generator=generator)


class TaskSampler:
    """Draw episodes of tasks, their rows whatever class they have.

    Parameters
    ----------
    pool : TaskPool
        All entries.
    entries : ndarray of int
        Those to draw from.
    settings : EpisodeSettings
        Sizes.
    """

    def __init__(self, pool, entries, settings):
        self.tasks, group = np.unique(pool.task[entries], return_inverse=True)
        self.windows = _Windows(entries, group, len(pool))
        self.tasks = torch.from_numpy(self.tasks)
        self.settings = replace_sizes(settings, int(self.windows.sizes.max()))

    def draw(self, generator, n_steps):
        """Draw meta-batches.

        Parameters
        ----------
        generator : Generator
            Of the network.
        n_steps : int
            How many.

        Returns
        -------
        draw : Draw
            Tasks come in turns, in a new order each time round.
        """
        shape = (n_steps, self.settings.meta_batch_size)
        groups = _in_turns(len(self.tasks), shape, generator)
        return self.of_groups(groups, generator)

    def of_groups(self, groups, generator):
        """Draw the rows of given tasks.

        Parameters
        ----------
        groups : Tensor of shape (n_steps, n_episodes), int64
            Positions in `tasks`.
        generator : Generator
            Of the network.

        Returns
        -------
        draw : Draw
            Their episodes.
        """
        self.windows.shuffle(generator)
        sizes = _support_sizes(self.settings, groups.shape, generator)
        most = self.settings.n_support[1]
        entries = self.windows.draw(
            groups, sizes, most, self.settings.n_query, generator
        )
        return Draw(entries, None, self.tasks[groups], most)


class ClassSampler:
    """Draw episodes of a few classes of a task, in slots of random order.

    Parameters
    ----------
    pool : TaskPool
        All entries, with labels.
    entries : ndarray of int
        Those to draw from.
    settings : EpisodeSettings
        Sizes; support and query rows are those of a class.
    """

    def __init__(self, pool, entries, settings):
        task, label = pool.task[entries], pool.labels[entries]
        order = np.lexsort((label, task))
        pairs = np.stack([task[order], label[order]])
        pairs, group = np.unique(pairs, axis=1, return_inverse=True)
        self.windows = _Windows(entries[order], group.ravel(), len(pool))
        self.settings = replace_sizes(settings, int(self.windows.sizes.max()))
        tasks, where = np.unique(pairs[0], return_inverse=True)
        counts = np.bincount(where)
        # groups_of[t]: the classes of task t, -1 past the last
        groups_of = np.full((len(tasks), counts.max()), -1)
        rank = np.arange(len(where)) - np.repeat(np.cumsum(counts) - counts, counts)
        groups_of[where, rank] = np.arange(len(where))
        self.groups_of = torch.from_numpy(groups_of)
        self.tasks = torch.from_numpy(tasks)

    def draw(self, generator, n_steps):
        """Draw meta-batches.

        Parameters
        ----------
        generator : Generator
            Of the network.
        n_steps : int
            How many.

        Returns
        -------
        draw : Draw
            With the slot of each row.
        """
        shape = (n_steps, self.settings.meta_batch_size)
        return self.of_groups(_in_turns(len(self.tasks), shape, generator), generator)

    def of_groups(self, groups, generator):
        """Draw classes and rows of given tasks.

        Parameters
        ----------
        groups : Tensor of shape (n_steps, n_episodes), int64
            Positions in `tasks`.
        generator : Generator
            Of the network.

        Returns
        -------
        draw : Draw
            Their episodes.
        """
        self.windows.shuffle(generator)
        n_way, (_, most) = self.settings.n_way, self.settings.n_support
        candidates = self.groups_of[groups]
        keys = torch.rand(candidates.shape, generator=generator, dtype=torch.float64)
        keys = torch.where(candidates >= 0, keys, 2.0)
        width = min(n_way, candidates.shape[-1])
        chosen = keys.topk(width, dim=-1, largest=False).indices
        classes = candidates.gather(-1, chosen)
        # Slots are shuffled, too: topk gives an order of random keys.
        sizes = _support_sizes(self.settings, groups.shape, generator)
        sizes = sizes.unsqueeze(-1).expand_as(classes)
        n_query = self.settings.n_query
        entries = self.windows.draw(classes, sizes, most, n_query, generator)
        slots = torch.arange(width).view(-1, 1).expand_as(entries)
        # (n_way, most + n_query) to all supports, then all queries
        entries, slots = (
            torch.cat([x[..., :most].flatten(-2), x[..., most:].flatten(-2)], dim=-1)
            for x in (entries, slots)
        )
        return Draw(entries, slots, self.tasks[groups], width * most)


def replace_sizes(settings, largest):
    """Cut the sizes of episodes to what the largest group can fill.

    Parameters
    ----------
    settings : EpisodeSettings
        As asked for.
    largest : int
        Rows of the largest task, or class.

    Returns
    -------
    settings : EpisodeSettings
        Without rows that would always be padding.
    """
    low, high = (min(n, max(largest - 1, 0)) for n in settings.n_support)
    n_query = max(1, min(settings.n_query, largest - low))
    return replace(settings, n_support=(low, high), n_query=n_query)


def _in_turns(n_groups, shape, generator):
    """Deal groups to episodes so that each comes once before any comes again."""
    n_episodes = int(np.prod(shape))
    rounds = -(-n_episodes // n_groups)
    keys = torch.rand((rounds, n_groups), generator=generator, dtype=torch.float64)
    return keys.argsort(dim=1).flatten()[:n_episodes].view(shape)
