"""What networks made of the rows that they held out, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

# A column with fewer held-out labels is left out: they are too few to judge by.
_MIN_LABELS = 60
# An error counts for at most so many times the root mean square of those that are not
# among the largest hundredth: one wrong label must not speak for all rows around it.
_LARGEST_ERROR = 20.0


@dataclass(frozen=True, eq=False)
class Folds:
    """Which networks held each row out, and which were not trained on it.

    There are few such patterns, and many rows of each.

    Parameters
    ----------
    held, untrained : Tensor of shape (n_rows,), int
        The pattern of each row.
    excludes : Tensor of shape (n_held_patterns, n_untrained_patterns), bool
        Whether a network that held the one out was not trained on the other.
    """

    held: torch.Tensor
    untrained: torch.Tensor
    excludes: torch.Tensor

    @classmethod
    def of(cls, plans, n_rows):
        """Read them from plans.

        Parameters
        ----------
        plans : list of NetworkPlan
            Of the networks.
        n_rows : int
            Rows of the data.

        Returns
        -------
        folds : Folds
            Of all rows.
        """
        held = np.zeros((n_rows, len(plans)), bool)
        untrained = np.ones_like(held)
        for k, plan in enumerate(plans):
            held[plan.valid_rows, k] = True
            untrained[plan.train_rows, k] = False
        held_patterns, held = _patterns(held)
        untrained_patterns, untrained = _patterns(untrained)
        excludes = (held_patterns[:, None] & untrained_patterns).any(axis=2)
        return cls(*map(torch.from_numpy, (held, untrained, excludes)))

    def take(self, rows):
        """Keep some rows.

        Parameters
        ----------
        rows : ndarray of int
            Their positions.

        Returns
        -------
        folds : Folds
            In that order.
        """
        return Folds(self.held[rows], self.untrained[rows], self.excludes)

    def exclude(self, rows, points):
        """Say from which points a held-out row is not to learn.

        Parameters
        ----------
        rows, points : ndarray of int, Tensor or slice
            Positions.

        Returns
        -------
        excluded : Tensor of shape (n_chosen, n_points), bool
            Where a network that held the row out was not trained on the point.
        """
        return self.excludes[:, self.untrained[points]][self.held[rows]]


class Gains(NamedTuple):
    """What a change spares cells on average, and the standard error of that.

    Parameters
    ----------
    mean, error : float
        In the units of the gains.
    """

    mean: float
    error: float

    @classmethod
    def of(cls, gains, weight):
        """Average over cells.

        Parameters
        ----------
        gains : ndarray of shape (n_cells,)
            What the change spares each cell.
        weight : ndarray of shape (n_cells,)
            Of the cells; sums to 1.

        Returns
        -------
        gains : Gains
            Weighted.
        """
        mean = weight @ gains
        return cls(mean, np.sqrt(weight**2 @ (gains - mean) ** 2))

    def less(self, n_errors):
        """Give what is left of the gain if so many standard errors of it are luck.

        Parameters
        ----------
        n_errors : float
            How many.

        Returns
        -------
        gain : float
            Perhaps negative.
        """
        return self.mean - n_errors * self.error


@dataclass(frozen=True, eq=False)
class HeldOutCells:
    """What held-out cells were, and what they were predicted as.

    Parameters
    ----------
    truth : ndarray of shape (n_rows, n_predictions)
        The best prediction: the scaled number, or 1 for the class.
    held_out : ndarray of shape (n_rows, n_predictions)
        By networks that held the row out; NaN where none did.
    weight : ndarray of shape (n_rows, n_columns)
        Of the cells; 0 where there is nothing to compare.
    slices : tuple of slice, length n_columns
        Predictions of each column.
    are_classes : tuple of bool, length n_columns
        Whether the predictions of a column are probabilities.
    """

    truth: np.ndarray
    held_out: np.ndarray
    weight: np.ndarray
    slices: tuple
    are_classes: tuple

    @classmethod
    def of(cls, plan, data, losses, held_out):
        """Leave out columns that cannot be corrected, or not be judged.

        Parameters
        ----------
        plan : NetworkPlan
            Of any of the networks.
        data : TaskData
            What they trained on.
        losses : ColumnLosses
            Of the fitted net.
        held_out : ndarray of shape (n_rows, n_predictions)
            Predictions by the networks that held the row out.

        Returns
        -------
        cells : HeldOutCells
            Of all rows.
        """
        slices = tuple(losses.predicted_slices)
        are_classes = tuple(n is not None for n in losses.n_classes)
        weight = plan.weight(data)
        known = (weight > 0) & np.isfinite(held_out[:, [w.start for w in slices]])
        known &= [loss.takes_corrections for loss in plan.hyperparameters.losses]
        known &= known.sum(axis=0) >= _MIN_LABELS
        # A column of one value has nothing to correct.
        lowest = data.y.min(axis=0, where=known, initial=np.inf)
        known &= data.y.max(axis=0, where=known, initial=-np.inf) > lowest
        truth = np.empty_like(held_out)
        columns = zip(slices, plan.targets.perfect(data.y), are_classes, strict=True)
        for j, (where, perfect, is_class) in enumerate(columns):
            truth[:, where] = perfect
            if not is_class:
                own = known[:, j]
                errors = truth[own, where] - held_out[own, where]
                truth[own, where] = held_out[own, where] + _winsorized(errors)
        return cls(truth, held_out, np.where(known, weight, 0.0), slices, are_classes)

    def take(self, rows):
        """Keep some rows.

        Parameters
        ----------
        rows : ndarray of int
            Their positions.

        Returns
        -------
        cells : HeldOutCells
            In that order.
        """
        parts = (self.truth, self.held_out, self.weight)
        return HeldOutCells(
            *(part[rows] for part in parts), self.slices, self.are_classes
        )

    def errors(self):
        """Subtract predictions from the truth.

        Returns
        -------
        errors : ndarray of shape (n_rows, n_predictions)
            0 where nothing is known.
        """
        sizes = [where.stop - where.start for where in self.slices]
        known = np.repeat(self.weight > 0, sizes, axis=1)
        return np.where(known, self.truth - self.held_out, 0.0)

    def gains(self, column, before, after):
        """Compare the losses of two predictions of a column.

        Parameters
        ----------
        column : int
            Of the labels.
        before, after : ndarray of shape (n_rows, n_column_predictions)
            The predictions.

        Returns
        -------
        gains : Gains
            As shares of the loss before; 0 where there is none.
        """
        cells = np.flatnonzero(self.weight[:, column])
        own = self.weight[cells, column] / self.weight[:, column].sum()
        truth, is_class = (
            self.truth[cells, self.slices[column]],
            self.are_classes[column],
        )
        losses, less = (
            _losses(truth, predicted[cells], is_class) for predicted in (before, after)
        )
        loss = own @ losses
        return Gains.of((losses - less) / loss, own) if loss > 0 else Gains(0.0, 0.0)


def _patterns(rows):
    """Find the different rows of a table of bool, and which of them each row is."""
    packed, kinds = np.unique(np.packbits(rows, axis=1), axis=0, return_inverse=True)
    patterns = np.unpackbits(packed, axis=1, count=rows.shape[1]).astype(bool)
    return patterns, kinds.reshape(-1)


def _winsorized(errors):
    """Limit errors to what is usual in a column."""
    squares = np.sort(errors[:, 0] ** 2)[: max(1, int(0.99 * len(errors)))]
    limit = _LARGEST_ERROR * np.sqrt(squares.mean()) if len(squares) else 0.0
    return errors.clip(-limit, limit)


def _losses(truth, predictions, is_class):
    """Compute squared errors, or minus the log probability of the class, by cell."""
    if not is_class:
        return (truth - predictions)[:, 0] ** 2
    own = (truth * predictions).sum(axis=1)
    return -np.log(np.maximum(own, np.finfo(float).tiny))
