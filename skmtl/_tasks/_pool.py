"""Labelled rows by task, in whatever form the tasks came."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._folds import DEFAULT_FOLDS, validation_folds

# With fewer tasks than this, holding out whole ones costs more than it tells.
_LEAST_TASKS = 5


@dataclass(frozen=True, eq=False)
class TaskPool:
    """The entries that episodes are drawn from: a row, and the task it is an entry of.

    A row of a table with row tasks is one entry. With column tasks every labelled cell
    is one, so a row may be an entry of several tasks. A single column of labels without
    row tasks is one task.

    Parameters
    ----------
    rows : ndarray of shape (n_entries,), int
        Row of the data.
    column : ndarray of shape (n_entries,), int, or None
        Label column of the entry; None when all columns belong to it.
    task : ndarray of shape (n_entries,), int
        Position of the task, in ascending order.
    names : list, length n_tasks
        Of the tasks.
    n_columns : int
        Label columns of an entry.
    labels : ndarray of shape (n_entries,), int, or None
        Class of each entry, where episodes are drawn by class; None otherwise.
    """

    rows: np.ndarray
    column: np.ndarray | None
    task: np.ndarray
    names: list
    n_columns: int
    labels: np.ndarray | None = None

    @classmethod
    def from_data(cls, data, by_class=False):
        """List the entries of checked data.

        Parameters
        ----------
        data : TaskData
            Rows with labels.
        by_class : bool, default=False
            Whether episodes are drawn by class.

        Returns
        -------
        pool : TaskPool
            All of them.
        """
        n_columns, column = data.y.shape[1], None
        if data.row_tasks:
            rows = np.argsort(data.task, kind="stable")
            task = data.task[rows]
        elif n_columns == 1:
            rows = np.arange(len(data.y))
            task = np.zeros(len(rows), int)
        else:
            column, rows = np.nonzero(data.weight.T)
            task, n_columns = column, 1
        labels = None
        if by_class:
            labels = data.y[rows, 0 if column is None else column].astype(int)
        return cls(rows, column, task, list(data.task_names), n_columns, labels)

    @property
    def n_tasks(self):
        """Number of tasks, int."""
        return len(self.names)

    def __len__(self):
        return len(self.rows)

    @cached_property
    def starts(self):
        """Where the entries of each task begin, ndarray of shape (n_tasks + 1,)."""
        sizes = np.bincount(self.task, minlength=self.n_tasks)
        return np.concatenate([[0], np.cumsum(sizes)])

    @cached_property
    def classes(self):
        """Classes of each task, ndarray of shape (n_tasks, n_slots), int.

        In ascending order, -1 past the last. Only where episodes are drawn by class.
        """
        pairs = np.unique(np.stack([self.task, self.labels]), axis=1)
        counts = np.bincount(pairs[0], minlength=self.n_tasks)
        classes = np.full((self.n_tasks, counts.max()), -1)
        rank = np.arange(pairs.shape[1]) - np.repeat(np.cumsum(counts) - counts, counts)
        classes[pairs[0], rank] = pairs[1]
        return classes

    def entries_of(self, tasks):
        """Stack the entries of some tasks, padded to the longest.

        Parameters
        ----------
        tasks : ndarray of int
            Positions of the tasks.

        Returns
        -------
        entries : ndarray of shape (n_tasks, n_entries), int
            ``len(self)`` where a task has no more.
        """
        start, stop = self.starts[tasks], self.starts[np.asarray(tasks) + 1]
        length = int((stop - start).max(initial=0))
        entries = start[:, None] + np.arange(length)
        return np.where(entries < stop[:, None], entries, len(self))

    def folds(self, cv, data, n_way, random_state):
        """Split entries for the choice of the best iteration.

        Parameters
        ----------
        cv : None, int, splitter or iterable of (train, test)
            None and integers hold out whole tasks where there are five or more, whole
            classes where episodes of `n_way` novel ones are drawn from one pool, and
            rows otherwise. Others split rows, see :func:`validation_folds`.
        data : TaskData
            The data of this pool.
        n_way : int or None
            Classes of an episode, when they are novel to it.
        random_state : RandomState
            Draws the folds.

        Returns
        -------
        folds : list of (train, valid), ndarray of int
            Entries.
        """
        if cv is None or isinstance(cv, (int, np.integer)):
            n_folds = DEFAULT_FOLDS if cv is None else int(cv)
            units, least = self._units(n_way)
            n_folds = min(n_folds, (units.max() + 1) // least)
            if units.max() + 1 >= _LEAST_TASKS and n_folds > 1:
                order = random_state.permutation(units.max() + 1)
                fold = (order % n_folds)[units]
                return [
                    (np.flatnonzero(fold != k), np.flatnonzero(fold == k))
                    for k in range(n_folds)
                ]
        return [
            tuple(np.flatnonzero(np.isin(self.rows, rows)) for rows in split)
            for split in validation_folds(cv, data, random_state)
        ]

    def _units(self, n_way):
        """Say what is held out whole, and how much of it a fold needs."""
        if n_way is None or self.n_tasks > 1:
            return self.task, 1
        # Two classes tell whether new ones are told apart; to hold out `n_way` of few
        # would leave too few to learn from, and to hold out rows would tell nothing.
        return self.labels, 2
