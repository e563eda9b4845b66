"""Many subsets of one table, brought together again."""

from dataclasses import replace

import numpy as np


class SharedRows:
    """Hold the rows of several checked data sets once.

    The training sets of the folds of a cross-validation are subsets of one table. A row
    that reads the same in all of them is held once, and each set knows where its rows
    stand. What reads otherwise, as after a scaler that was fitted on each fold, is held
    apart.
    """

    def __init__(self):
        self._first = None
        self._parts = []
        self._places = []

    def takes(self, data):
        """Say whether networks of this data can share a bank with those before.

        Parameters
        ----------
        data : TaskData
            To be added.

        Returns
        -------
        takes : bool
            Whether tasks, classes and columns are as many.
        """
        return self._first is None or _sizes(self._first) == _sizes(data)

    def add(self, data, rows=None):
        """Add a data set.

        Parameters
        ----------
        data : TaskData
            One that :meth:`takes` agrees to.
        rows : ndarray of shape (data.n_samples,), int, optional
            Where the rows given stood in the table that all sets were taken from;
            unknown by default.

        Returns
        -------
        number : int
            Of the data set, for :meth:`places`.
        """
        self._first = data if self._first is None else self._first
        rows = None if rows is None else rows[data.rows]
        known = () if rows is None else enumerate(self._parts)
        part = next((k for k, part in known if part.fits(data, rows)), None)
        if part is None:
            part = len(self._parts)
            self._parts.append(_Part(data))
        self._places.append((part, self._parts[part].put(data, rows)))
        return len(self._places) - 1

    def places(self, number):
        """Tell where the rows of a data set stand.

        Parameters
        ----------
        number : int
            From :meth:`add`.

        Returns
        -------
        places : ndarray of int
            Positions in the data of :meth:`joined`, once all sets are added.
        """
        part, places = self._places[number]
        return places + sum(len(before) for before in self._parts[:part])

    def joined(self):
        """Put everything into one data set.

        Returns
        -------
        data : TaskData
            With the scales and classes of the first; those of a network are in its
            plan.
        """
        columns = {
            name: np.concatenate([getattr(part, name) for part in self._parts])
            for name in ("X", "y", "weight")
        }
        task = None
        if self._first.row_tasks:
            task = np.concatenate([part.task for part in self._parts])
        n_rows = len(columns["X"])
        rows = np.arange(n_rows)
        first = self._first
        return replace(first, task=task, rows=rows, n_samples=n_rows, **columns)


def _sizes(data):
    return (
        [str(name) for name in data.task_names],
        [str(name) for name in data.column_names],
        data.encoder.n_classes,
        data.encoder.ndim,
        data.row_tasks,
        data.X.shape[1],
        data.X.dtype,
        data.categories,
        data.input_shape,
    )


class _Part:
    """Rows of one table; those that no set has are zero and without weight."""

    _names = ("X", "y", "weight", "task")

    def __init__(self, data):
        self._has_tasks = data.row_tasks
        self._n_rows = 0
        self._known = np.zeros(0, bool)
        for name in self._names:
            like = getattr(data, name)
            setattr(self, name, None if like is None else like[:0])

    def __len__(self):
        return self._n_rows

    def fits(self, data, rows):
        """Say whether rows that are known read as here."""
        within = rows < self._n_rows
        known = np.flatnonzero(within)[self._known[rows[within]]]
        return all(
            getattr(data, name) is None
            or np.array_equal(
                getattr(self, name)[rows[known]],
                getattr(data, name)[known],
                equal_nan=True,
            )
            for name in self._names
        )

    def put(self, data, rows):
        """Put rows in their places, and tell these."""
        rows = np.arange(len(data.X)) if rows is None else rows
        missing = rows.max(initial=-1) + 1 - self._n_rows
        if missing > 0:
            self._grow(missing)
        for name in self._names:
            if getattr(self, name) is not None:
                getattr(self, name)[rows] = getattr(data, name)
        self._known[rows] = True
        return rows

    def _grow(self, missing):
        self._n_rows += missing
        self._known = np.append(self._known, np.zeros(missing, bool))
        for name in self._names:
            now = getattr(self, name)
            if now is not None:
                more = np.zeros((missing, *now.shape[1:]), now.dtype)
                setattr(self, name, np.concatenate([now, more]))
