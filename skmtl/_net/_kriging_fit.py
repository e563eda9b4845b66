"""Learning to krige from what networks made of the rows they held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from .._encoder_bank import encoded_rows
from ._held_out import Folds, HeldOutCells
from ._kriging import UNKNOWN, Kriging, chunks, limited, moved
from ._kriging_scale import learned_scale
from ._threads import threads_for

if TYPE_CHECKING:
    from .._encoder_bank import EncodedColumns

# Training rows that others are compared to at most, and rows that choose ranges,
# nuggets and trust.
_MAX_POINTS = 20_000
_MAX_JUDGES = 2_000
# Rows that confirm what the others chose: a half of them, up to so many.
_MAX_CONFIRM = 2_000
# A column whose loss falls by a smaller share stays as it is: rows are kept and
# searched for it, and what was not tested may be wrong.
_MIN_GAIN = 0.005
# A correction is limited to the strength that one judge in twenty saw at least.
_TESTED = 0.95
# What is tried for each column: ranges in units of the one found with the metric, and
# nuggets in units of the variance that near errors share.
_RANGES = (0.0625, 0.25, 1.0, 4.0, 16.0)
_NUGGETS = (0.02, 0.1, 0.5, 2.0, 8.0, 32.0)
# How much of the difference between two rows is left to the networks. Full trust is
# tried first, and less of it has to gain by two standard errors over what was found
# before: the held-out prediction of one network errs more than the mean of all does.
_TRUST = (1.0, 0.75, 0.5, 0.25, 0.0)
_ERRORS = 1.0, 2.0


@dataclass(frozen=True, eq=False)
class KrigingFit:
    """What kriging makes of the predictions for the rows of training.

    Parameters
    ----------
    kriging : Kriging or None
        None where no column gains.
    held_out : ndarray of shape (n_rows, n_predictions)
        Predictions by the networks that held the row out, corrected by rows that those
        networks were trained on.
    gain : ndarray of shape (n_columns,)
        Share of the held-out loss that the correction spares a column, on rows that had
        no part in choosing it and but for wild labels; 0 for columns that stay as they
        are.
    """

    kriging: Kriging | None
    held_out: np.ndarray
    gain: np.ndarray


def krige(plans, data, losses, held_out, places, n_neighbors):
    """Learn to correct predictions by the errors on held-out rows.

    A held-out row is predicted from rows that its network was trained on: what is near
    it in its own fold counts no more than a new row would have near it, if the folds
    keep together what new rows come without. A half of the rows chooses distances and
    covariances among themselves, and the other half confirms them or not. Then all rows
    choose anew.

    Parameters
    ----------
    plans : list of NetworkPlan
        Of the networks.
    data : TaskData
        What they trained on.
    losses : ColumnLosses
        Of the fitted net.
    held_out : ndarray of shape (n_rows, n_predictions)
        Predictions of each row by the networks that held it out, NaN where none did.
    places : EncodedColumns
        From rows to the inputs that distances are measured in.
    n_neighbors : int
        Rows that a correction looks at.

    Returns
    -------
    fit : KrigingFit
        With a kriging for the columns that gain by more than a standard error.

    References
    ----------
    .. [1] T. Hengl, G. B. M. Heuvelink, D. G. Rossiter (2007). About
       Regression-Kriging: From Equations to Case Studies. Computers & Geosciences 33,
       1301-1315.
    .. [2] A. V. Vecchia (1988). Estimation and Model Identification for Continuous
       Spatial Processes. Journal of the Royal Statistical Society B 50, 297-312.
    """
    rng = np.random.default_rng(plans[0].seed)
    cells = HeldOutCells.of(plans[0], data, losses, held_out)
    stays = KrigingFit(None, held_out, np.zeros(len(cells.slices)))
    there = rng.permutation(np.flatnonzero(cells.weight.any(axis=1)))
    if not len(there):
        return stays
    n_confirm = min(len(there) // 2, _MAX_CONFIRM)
    confirm, choose = np.sort(there[:n_confirm]), np.sort(there[n_confirm:])
    points = np.sort(there[:_MAX_POINTS])
    inputs, folds = encoded_rows(places, data.X), Folds.of(plans, len(data.X))
    table = _Table(places, inputs, folds, cells, n_neighbors)
    with threads_for(table.work(points)):
        fit = _learned(table, choose[:_MAX_POINTS], confirm, points, rng)
    return stays if fit is None else fit


def _learned(table, choose, confirm, points, rng):
    """Learn from some rows what others confirm; None where no column gains."""
    kriging = table.learn(choose, points, rng)
    if kriging is None:
        return None
    after = table.correct(kriging, confirm, points)
    gain = _gain(kriging, table.cells.take(confirm), after)
    if gain.any() and len(choose) < 2 * len(confirm):
        kriging = table.learn(points, points, rng)  # once it is known to pay
    ranges = np.nan if kriging is None else kriging.ranges
    gain = np.where(np.isfinite(ranges), gain, 0.0)
    if not gain.any():
        return None
    kriging = replace(kriging, ranges=np.where(gain > 0, ranges, np.nan))
    every = np.arange(len(table.inputs))
    return KrigingFit(kriging, table.correct(kriging, every, points), gain)


_CHOSEN = ("ranges", "nuggets", "trust", "limits")


@dataclass(frozen=True, eq=False)
class _Table:
    """Rows with their places, folds and predictions, from which kriging is learned."""

    places: EncodedColumns
    inputs: torch.Tensor
    folds: Folds
    cells: HeldOutCells
    n_neighbors: int

    def work(self, points):
        """Count the multiply-adds that judges cost with one range and nugget."""
        n_points, n_inputs = len(points), self.inputs.shape[1]
        n_near = self.n_neighbors
        a_row = n_points * n_inputs + n_near**2 * (n_near + n_inputs)
        return min(n_points, _MAX_JUDGES) * a_row

    def learn(self, rows, points, rng):
        """Learn from some rows a kriging that looks at points; None if none pays."""
        own = self.cells.take(rows)
        scale = learned_scale(self.inputs[rows], own, self.folds.take(rows), rng)
        judges = np.sort(rng.permutation(rows)[:_MAX_JUDGES])
        chosen = _choose(
            self.kriging(scale, rows),
            self.inputs[judges] * scale,
            self.cells.take(judges),
            self.folds.exclude(judges, rows),
        )
        if chosen is None:
            return None
        return replace(
            self.kriging(scale, points), **dict(zip(_CHOSEN, chosen, strict=True))
        )

    def kriging(self, scale, points):
        """Make a kriging that looks at points, with nothing chosen."""
        own = self.cells.take(points)
        return Kriging(
            self.places,
            scale.numpy(),
            (self.inputs[points] * scale).numpy(),
            np.nan_to_num(own.held_out),
            own.errors(),
            _variance(self.cells.weight)[points],
            own.slices,
            own.are_classes,
            self.n_neighbors,
        )

    def correct(self, kriging, rows, points):
        """Correct held-out predictions by points that their networks had."""
        queries = self.inputs[rows] * torch.from_numpy(kriging.scale)
        corrected = []
        for part in chunks(len(rows), kriging.floats_a_row):
            excluded = self.folds.exclude(rows[part], points)
            found = kriging.nearest(queries[part], excluded)
            before = torch.from_numpy(self.cells.held_out[rows[part]])
            corrected.append(kriging.correct_by(before, queries[part], *found))
        return torch.cat(corrected).numpy()


def _choose(kriging, queries, cells, excluded):
    """Choose ranges, nuggets, trust and limits of columns; None where none gains."""
    chosen = np.full((len(_CHOSEN), len(kriging.slices)), np.nan)
    held_out = torch.from_numpy(cells.held_out)
    index, known = kriging.nearest(queries, excluded)
    for columns in kriging.alike:
        found = kriging.neighborhood(queries, index, known, columns[0])
        weights = {}
        for range_ in _RANGES:
            for nugget in _NUGGETS:
                own = found.weights(range_, nugget)
                limit = own.sum(dim=1).quantile(_TESTED).item()
                weights[range_, nugget, limit] = limited(own, limit)
        for j in columns:
            where, is_class = kriging.slices[j], kriging.are_classes[j]
            best = cells.held_out[:, where]
            for trust in _TRUST:
                n_errors = _ERRORS[trust < 1]
                highest, before = 0.0, best
                for (range_, nugget, limit), own in weights.items():
                    shift = kriging.shift(held_out, found, own, where, trust)
                    after = moved(held_out[:, where], shift, is_class).numpy()
                    gain = cells.gains(j, before, after).less(n_errors)
                    if gain > highest:
                        highest, best = gain, after
                        chosen[:, j] = range_, nugget, trust, limit
    return None if np.isnan(chosen).all() else chosen


def _gain(kriging, cells, corrected):
    """Compute the gains of rows that had no part in the choice; 0 for doubtful ones."""
    gain = np.zeros(len(kriging.slices))
    for j in np.flatnonzero(np.isfinite(kriging.ranges)):
        where = kriging.slices[j]
        gains = cells.gains(j, cells.held_out[:, where], corrected[:, where])
        if gains.less(_ERRORS[0]) > 0 and gains.mean > _MIN_GAIN:
            gain[j] = gains.mean
    return gain


def _variance(weight):
    """Give each cell the inverse of its weight, which is 1 on average."""
    known = weight > 0
    mean = weight.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    variance = np.broadcast_to(mean, weight.shape) / np.where(known, weight, 1.0)
    return np.where(known, np.minimum(variance, UNKNOWN / 2), UNKNOWN)
