"""The tasks that a meta-learner can predict: their rows, kept to learn them again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .._tasks import TaskData, TaskPool


@dataclass(frozen=True, eq=False)
class KnownTasks:
    """Rows of tasks, from which adapted models are computed whenever one is asked for.

    Nothing of the adapted models is kept: weights of thousands of tasks take more room
    than the rows that they come from.

    Parameters
    ----------
    data : TaskData
        The rows, in the scaling and the codes of its encoder.
    novel : bool
        Whether each task has classes of its own, in slots.
    by_column : bool, default=None
        Whether each task is a column of y; None is whether there are several columns,
        and no row tasks. A single new column is a task of its own, too.
    """

    data: TaskData
    novel: bool
    by_column: bool | None = None

    def __post_init__(self):
        """Settle what is not said."""
        if self.by_column is None:
            object.__setattr__(self, "by_column", self.pool.column is not None)

    @cached_property
    def pool(self):
        """The entries of the tasks, TaskPool."""
        return TaskPool.from_data(self.data, by_class=self.novel)

    @property
    def slots(self):
        """Classes of each task, ndarray of shape (n_tasks, n_slots), int.

        Codes in the order of the encoder's classes, -1 past the last.
        """
        return self.pool.classes

    def labels(self, entries):
        """Gather targets and weights.

        Parameters
        ----------
        entries : ndarray of shape (n_tasks, n_entries), int
            ``len(self.pool)`` for padding.

        Returns
        -------
        targets, weights : ndarray of shape (n_tasks, n_entries, n_columns)
            Scaled numbers and class codes, or slots; weights are 0 for padding.
        """
        pool, data = self.pool, self.data
        there = entries < len(pool)
        picked = np.where(there, entries, 0)
        rows = pool.rows[picked]
        targets, weights = self._encoded[rows], data.weight[rows]
        if pool.column is not None:
            column = pool.column[picked][..., None]
            targets = np.take_along_axis(targets, column, axis=-1)
            weights = np.take_along_axis(weights, column, axis=-1)
        if self.novel:
            targets = self._entry_slots[picked][..., None].astype(float)
        return targets, np.where(there[..., None], weights, 0.0)

    @cached_property
    def _encoded(self):
        return self.data.encoder.encode(self.data.y)

    @cached_property
    def _entry_slots(self):
        own = self.slots[self.pool.task]
        return (own == self.pool.labels[:, None]).argmax(axis=1)

    @cached_property
    def as_one(self):
        """All rows as those of one task, KnownTasks; rows of several columns stay."""
        return replace(self, data=replace(self.data, task=None, task_names=["all"]))

    def __getstate__(self):
        """Keep what cannot be computed again.

        Returns
        -------
        state : dict
            The fields.
        """
        return {"data": self.data, "novel": self.novel, "by_column": self.by_column}

    def __setstate__(self, state):
        """Take over the fields.

        Parameters
        ----------
        state : dict
            From :meth:`__getstate__`.
        """
        vars(self).update(state)
