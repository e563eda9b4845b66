"""Rows of a table as skorch sees them."""

import numpy as np
from skorch.dataset import Dataset


class RowsDataset(Dataset):
    """Rows as skorch's callbacks see them.

    Parameters
    ----------
    table : ndarray of shape (n_rows, n_features)
        Raw rows.
    task : ndarray of shape (n_rows,), int, or None
        Row tasks.
    y : ndarray or None
        Labels as the user knows them.
    """

    def __init__(self, table, task=None, y=None):
        # Not skorch's own __init__, which looks into the data.
        self.table = table
        self.task = task
        self.y = y

    @property
    def X(self):
        """The rows, to be handed to ``net.predict``, RowsDataset."""
        return self

    def take(self, index):
        """Keep some rows.

        Parameters
        ----------
        index : ndarray of int
            Their positions.

        Returns
        -------
        rows : RowsDataset
            Without labels.
        """
        task = None if self.task is None else self.task[index]
        return RowsDataset(self.table[index], task)

    def __len__(self):
        return len(self.table)

    def __getitem__(self, index):
        y = np.nan if self.y is None else self.y[index]
        return self.table[index], y
