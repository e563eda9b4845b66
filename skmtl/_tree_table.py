"""Rows and labels as trees are shown them, whatever their order, units and weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

# Targets that are looked at.
_MAX_TARGETS = 32


@dataclass(frozen=True, eq=False)
class TreeTable:
    """Some rows with known labels, in an order that their content gives them.

    Parameters
    ----------
    rows : ndarray of shape (n_rows,), int
        Rows of X; one that is weighted as two is there twice.
    places : ndarray of shape (n_rows, n_varying)
        Ranks of the values of the columns that vary, NaN where one is missing.
    y : ndarray of shape (n_rows, n_targets)
        Standardised, so that each task has one variance in all; 0 where a label is
        missing. More than 32 columns are sums of them with random weights, which vary
        with a column of X as much as the targets do.
    known : ndarray of shape (n_rows, n_targets), bool
        Where a label is not missing; everywhere where columns are sums.
    weight : ndarray of shape (n_rows,)
        Of the rows, with a mean of about 1.
    varying : ndarray of shape (n_columns,), bool
        Columns of X that have two values, or a value and a hole.
    """

    rows: np.ndarray
    places: np.ndarray
    y: np.ndarray
    known: np.ndarray
    weight: np.ndarray
    varying: np.ndarray

    @classmethod
    def of(cls, X, targets, weight, *, max_rows, rng):
        """Prepare a table.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_columns)
            Raw rows: numbers and codes of categories, NaN where a value is missing.
        targets : list of ndarray of shape (n_samples, n_predictions)
            Of each task: numbers, or ones and zeros of classes; NaN where a label is
            missing.
        weight : ndarray of shape (n_samples,)
            Weight of each row; rows of weight zero are left out.
        max_rows : int
            More rows are drawn from.
        rng : numpy.random.Generator
            Draws rows and their order.

        Returns
        -------
        table : TreeTable
            Without columns in y where nothing varies.
        """
        n_predictions = np.array([target.shape[1] for target in targets])
        share = np.repeat(1 / np.sqrt(n_predictions), n_predictions)
        rows, weight = _counted(weight)
        if len(rows) > max_rows:
            kept = rng.permutation(len(rows))[:max_rows]
            rows, weight = rows[kept], weight[kept]
        y, known = _standardised(np.concatenate(targets, axis=1)[rows], weight, share)
        places = rankdata(X[rows], axis=0, nan_policy="omit")
        varying = _varying(places)
        places = places[:, varying]
        order = rng.permutation(_in_order(np.hstack([places, y])))
        y, known = y[order], known[order]
        if y.shape[1] > _MAX_TARGETS:
            y = y @ rng.normal(size=(y.shape[1], _MAX_TARGETS))
            known = np.ones(y.shape, bool)
        return cls(rows[order], places[order], y, known, weight[order], varying)

    @property
    def labels(self):
        """`y` as scikit-learn's trees take it, a single target without its axis."""
        return self.y[:, 0] if self.y.shape[1] == 1 else self.y

    def taking(self, positions):
        """Keep some of the rows.

        Parameters
        ----------
        positions : ndarray of int
            Which.

        Returns
        -------
        table : TreeTable
            In the order asked for.
        """
        parts = (self.rows, self.places, self.y, self.known, self.weight)
        return TreeTable(*(part[positions] for part in parts), self.varying)


def _counted(weight):
    """List the rows that count, and their weights.

    Where weights count rows, each is listed as often, so that integer weights equal
    repeated rows; others are rounded, so that their unit does not matter.
    """
    rows = np.flatnonzero(weight > 0)
    if len(rows) == 0:
        return rows, weight[rows]
    weight = weight[rows]
    times = weight / weight.min()
    counts = np.rint(times)
    if np.allclose(times, counts, rtol=1e-9) and times.sum() <= 4 * len(rows):
        rows = np.repeat(rows, counts.astype(int))
        weight = np.ones(len(rows))
    weight = np.round(weight / weight.mean(), 6)
    return rows[weight > 0], weight[weight > 0]


def _varying(places):
    """Tell which columns have two values, or a value and a hole."""
    missing = np.isnan(places)
    filled = np.where(missing, -1.0, places)
    return filled.min(axis=0, initial=np.inf) < filled.max(axis=0, initial=-np.inf)


def _in_order(table):
    """Sort rows by what stands in them, so that their order does not matter."""
    if table.shape[1] == 0:
        return np.arange(len(table))
    table = np.ascontiguousarray(table + 0.0)  # of the two zeros one
    return np.argsort(table.view(f"V{table.strides[0]}")[:, 0], kind="stable")


def _standardised(y, weight, share):
    """Scale targets to a given deviation, and tell which are known.

    What is missing is put at the mean.
    """
    missing = np.isnan(y)
    low = np.where(missing, np.inf, y).min(axis=0, initial=np.inf)
    high = np.where(missing, -np.inf, y).max(axis=0, initial=-np.inf)
    varying = low < high
    known = np.where(missing, 0.0, weight[:, None])[:, varying]
    filled = np.nan_to_num(y[:, varying], nan=0.0)
    mean = (known * filled).sum(axis=0) / known.sum(axis=0)
    filled = np.where(known > 0, filled - mean, 0.0)
    scale = np.sqrt((known * filled**2).sum(axis=0) / known.sum(axis=0))
    return (filled / scale).round(6) * share[varying], known > 0
