"""Rows of row tasks laid out task by task."""

import torch
from torch import nn


class RowsByTask:
    """Give each task its own rows of a batch, as one padded block a task.

    Parameters
    ----------
    task : Tensor of shape (n_networks, n_rows), int64
        Task of each row; ``n_tasks`` for none.
    n_tasks : int
        Number of tasks.
    """

    def __init__(self, task, n_tasks):
        self.shape = task.shape
        self.n_tasks = n_tasks
        one_hot = nn.functional.one_hot(task, n_tasks + 1)
        before = one_hot.cumsum(1).gather(2, task.unsqueeze(-1)).squeeze(-1) - 1
        # Rows of no task need no room; they go where nobody looks.
        known = task < n_tasks
        self.n_slots = max(1, int(torch.where(known, before, 0).max()) + 1)
        before = torch.where(known, before, 0)
        networks = torch.arange(len(task), device=task.device)[:, None]
        place = (networks * (n_tasks + 1) + task) * self.n_slots + before
        self.place = place.flatten()

    def spread(self, rows):
        """Lay rows out.

        Parameters
        ----------
        rows : Tensor of shape (n_networks, n_rows, n_columns)
            In the order of the batch.

        Returns
        -------
        blocks : Tensor of shape (n_networks, n_tasks, n_slots, n_columns)
            Zero where a task has fewer rows.
        """
        n_networks, _, width = rows.shape
        n_places = n_networks * (self.n_tasks + 1) * self.n_slots
        table = rows.new_zeros(n_places, width)
        table = table.index_copy(0, self.place, rows.flatten(0, 1))
        blocks = table.view(n_networks, self.n_tasks + 1, self.n_slots, width)
        return blocks[:, :-1]

    def collect(self, blocks):
        """Put rows back in the order of the batch.

        Parameters
        ----------
        blocks : Tensor of shape (n_networks, n_tasks, n_slots, n_columns)
            By task.

        Returns
        -------
        rows : Tensor of shape (n_networks, n_rows, n_columns)
            Zero for rows of no task.
        """
        table = nn.functional.pad(blocks, (0, 0, 0, 0, 0, 1)).flatten(0, 2)
        return table.index_select(0, self.place).view(*self.shape, -1)
