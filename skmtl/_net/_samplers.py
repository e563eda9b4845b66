"""What draws the rows of episodes."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch


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
        # Of the whole pool, so that the shapes of all networks of a bank agree.
        self.settings = replace_sizes(settings, int(np.bincount(pool.task).max()))

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
        # Of the whole pool, so that the shapes of all networks of a bank agree.
        whole = np.stack([pool.task, pool.labels])
        whole, sizes = np.unique(whole, axis=1, return_counts=True)
        self.settings = replace_sizes(settings, int(sizes.max()))
        tasks, where = np.unique(pairs[0], return_inverse=True)
        counts = np.bincount(where)
        # groups_of[t]: the classes of task t, -1 past the last
        groups_of = np.full((len(tasks), np.bincount(whole[0]).max()), -1)
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
