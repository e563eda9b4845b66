"""Learning to krige from what networks made of the rows they held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from .._encoder_bank import encoded_rows
from ._kriging import (
    TIE,
    UNKNOWN,
    Kriging,
    chunks,
    distances,
    limited,
    moved,
    nearest,
)

if TYPE_CHECKING:
    from .._encoder_bank import EncodedColumns

# Training rows that others are compared to at most, and rows that choose ranges,
# nuggets and trust.
_MAX_POINTS = 20_000
_MAX_JUDGES = 2_000
# Rows that confirm what the others chose: a half of them, up to so many.
_MAX_CONFIRM = 2_000
# A column with fewer held-out labels stays as it is, and one whose loss falls by less:
# rows are kept and searched for it, and what was not tested may be wrong.
_MIN_LABELS = 60
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
# How the metric is learned, and for how many rows an input.
_N_STEPS = 100
_STEP_ROWS = 256
_STEP_NEIGHBORS = 16
_LR = 0.1
_ROWS_AN_INPUT = 5
# An error counts for at most so many times the root mean square of those that are not
# among the largest hundredth: one wrong label must not speak for all rows around it.
_LARGEST_ERROR = 20.0


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


def krige(plans, data, losses, held_out, encoder, n_neighbors):
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
    encoder : EncodedColumns
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
    cells = _Cells.of(plans[0], data, losses, held_out)
    stays = KrigingFit(None, held_out, np.zeros(len(cells.slices)))
    there = rng.permutation(np.flatnonzero(cells.weight.any(axis=1)))
    if not len(there):
        return stays
    n_confirm = min(len(there) // 2, _MAX_CONFIRM)
    confirm, choose = np.sort(there[:n_confirm]), np.sort(there[n_confirm:])
    points = np.sort(there[:_MAX_POINTS])
    inputs, folds = encoded_rows(encoder, data.X), _Folds.of(plans, len(data.X))
    table = _Table(encoder, inputs, folds, cells, n_neighbors)
    kriging = table.learn(choose[:_MAX_POINTS], points, rng)
    if kriging is None:
        return stays
    gain = _gain(kriging, cells.take(confirm), table.correct(kriging, confirm, points))
    if len(choose) < 2 * n_confirm and gain.any():
        kriging = table.learn(points, points, rng)  # once it is known to pay
    if kriging is None or not gain.any():
        return stays
    ranges = np.where(gain > 0, kriging.ranges, np.nan)
    gain = np.where(np.isfinite(ranges), gain, 0.0)
    if not gain.any():
        return stays
    kriging = replace(kriging, ranges=ranges)
    every = np.arange(len(inputs))
    return KrigingFit(kriging, table.correct(kriging, every, points), gain)


_CHOSEN = ("ranges", "nuggets", "trust", "limits")


@dataclass(frozen=True, eq=False)
class _Table:
    """Rows with their places, folds and predictions, from which kriging is learned."""

    encoder: EncodedColumns
    inputs: torch.Tensor
    folds: _Folds
    cells: _Cells
    n_neighbors: int

    def learn(self, rows, points, rng):
        """Learn from some rows a kriging that looks at points; None if none pays."""
        own = self.cells.take(rows)
        scale = _metric(self.inputs[rows], own, self.folds.take(rows), rng)
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
            self.encoder,
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
            corrected.append(kriging.corrected(before, queries[part], *found))
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
        if gains.less(_ERRORS[0]) > 0 and gains.mean > _MIN_GAIN * gains.loss:
            gain[j] = gains.mean / gains.loss
    return gain


@dataclass(frozen=True, eq=False)
class _Folds:
    """Which networks held each row out, and which were not trained on it."""

    held: torch.Tensor
    untrained: torch.Tensor

    @classmethod
    def of(cls, plans, n_rows):
        """Read them from plans; ones and zeros of shape (n_rows, n_networks)."""
        held = torch.zeros(n_rows, len(plans), dtype=torch.float64)
        untrained = torch.ones_like(held)
        for k, plan in enumerate(plans):
            held[plan.valid_rows, k] = 1.0
            untrained[plan.train_rows, k] = 0.0
        return cls(held, untrained)

    def take(self, rows):
        """Keep some rows."""
        return _Folds(self.held[rows], self.untrained[rows])

    def exclude(self, rows, points):
        """Say which points a network that held the row out was not trained on."""
        return self.held[rows] @ self.untrained[points].T > 0


@dataclass(frozen=True, eq=False)
class _Cells:
    """What held-out cells were and are predicted as.

    ``truth``, of shape (n_rows, n_predictions), is the best prediction: the scaled
    number, or 1 for the class. ``weight``, of shape (n_rows, n_columns), is 0 where
    there is nothing to compare.
    """

    truth: np.ndarray
    held_out: np.ndarray
    weight: np.ndarray
    slices: tuple
    are_classes: tuple

    @classmethod
    def of(cls, plan, data, losses, held_out):
        """Leave out columns that cannot be corrected, or not be judged."""
        slices = tuple(losses.predicted_slices)
        weight = plan.weight(data)
        known = (weight > 0) & np.isfinite(held_out[:, [w.start for w in slices]])
        known &= [loss.takes_corrections for loss in plan.hyperparameters.losses]
        known &= known.sum(axis=0) >= _MIN_LABELS
        targets = plan.targets.encode(data.y)
        # A column of one value has nothing to correct.
        lowest, highest = (
            limit(targets, axis=0, where=known, initial=first)
            for limit, first in ((np.min, np.inf), (np.max, -np.inf))
        )
        known &= highest > lowest
        truth = np.empty_like(held_out)
        for j, (where, n_classes) in enumerate(
            zip(slices, losses.n_classes, strict=True)
        ):
            if n_classes is not None:
                truth[:, where] = targets[:, [j]] == np.arange(n_classes)
                continue
            own = known[:, j]
            truth[:, where] = targets[:, [j]]
            errors = truth[own, where] - held_out[own, where]
            truth[own, where] = held_out[own, where] + _winsorized(errors)
        are_classes = tuple(n is not None for n in losses.n_classes)
        return cls(truth, held_out, np.where(known, weight, 0.0), slices, are_classes)

    def take(self, rows):
        """Keep some rows."""
        parts = (self.truth, self.held_out, self.weight)
        return _Cells(*(part[rows] for part in parts), self.slices, self.are_classes)

    def errors(self):
        """Subtract predictions from the truth; 0 where nothing is known."""
        sizes = [where.stop - where.start for where in self.slices]
        known = np.repeat(self.weight > 0, sizes, axis=1)
        return np.where(known, self.truth - self.held_out, 0.0)

    def gains(self, column, before, after):
        """Compare the losses of two predictions of a column."""
        cells = np.flatnonzero(self.weight[:, column])
        if not len(cells):
            return _Gains(0.0, 0.0, 1.0)
        own = self.weight[cells, column] / self.weight[cells, column].sum()
        truth, is_class = self.truth[:, self.slices[column]], self.are_classes[column]
        losses, less = (
            _losses(truth[cells], predicted[cells], is_class)
            for predicted in (before, after)
        )
        mean = own @ (losses - less)
        error = np.sqrt(own**2 @ (losses - less - mean) ** 2)
        return _Gains(mean, error, own @ losses)


class _Gains(NamedTuple):
    """Mean gain in loss, its standard error, and the loss before."""

    mean: float
    error: float
    loss: float

    def less(self, n_errors):
        """Give what is left of the gain if so many standard errors of it are luck."""
        return self.mean - n_errors * self.error


def _winsorized(errors):
    """Limit errors to what is usual in a column."""
    squares = np.sort(errors[:, 0] ** 2)[: max(1, int(0.99 * len(errors)))]
    limit = _LARGEST_ERROR * np.sqrt(squares.mean()) if len(squares) else 0.0
    return errors.clip(-limit, limit)


def _variance(weight):
    """Give each cell the inverse of its weight, which is 1 on average."""
    known = weight > 0
    mean = weight.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    variance = np.broadcast_to(mean, weight.shape) / np.where(known, weight, 1.0)
    return np.where(known, np.minimum(variance, UNKNOWN / 2), UNKNOWN)


def _losses(truth, predictions, is_class):
    """Compute squared errors, or minus the log probability of the class, by cell."""
    if not is_class:
        return (truth - predictions)[:, 0] ** 2
    own = (truth * predictions).sum(axis=1)
    return -np.log(np.maximum(own, np.finfo(float).tiny))


def _metric(inputs, cells, folds, rng):
    """Learn how much each input counts in distances.

    The relevances of the inputs descend the error of kriging on rows that are drawn for
    each step (automatic relevance determination). Their logarithms have a standard
    normal prior, so that few rows leave distances as they are. Range and nugget are
    learned in the second half of the steps only: where nothing is near yet, they would
    rather make the correction vanish. All columns count alike; range and nugget of each
    column are chosen afterwards.

    Returns
    -------
    scale : Tensor of shape (n_inputs,)
        Of the inputs, so that the range is 1.
    """
    rows, errors = _largest_block(cells)
    inputs, folds = inputs[rows], folds.take(rows)
    n_rows, n_inputs = inputs.shape
    log_scale = inputs.new_zeros(n_inputs)
    log_range, log_nugget = inputs.new_ones(()), inputs.new_zeros(())
    if n_rows >= _ROWS_AN_INPUT * n_inputs and errors.shape[1]:
        log_scale = _serial_relevance(inputs, errors, rng).requires_grad_()
        errors = torch.from_numpy(errors)
        parameters = [log_scale]
        for step in range(_N_STEPS):
            if step % (_N_STEPS // 2) == 0:
                if step:
                    parameters += [
                        log_range.requires_grad_(),
                        log_nugget.requires_grad_(),
                    ]
                optimizer = torch.optim.Adam(parameters, lr=_LR)
            progress = 2 * step / _N_STEPS % 1
            for group in optimizer.param_groups:
                group["lr"] = _LR * (1 + np.cos(np.pi * progress)) / 2
            drawn = torch.from_numpy(rng.permutation(n_rows)[:_STEP_ROWS])
            left = _left_over(
                log_scale, log_range, log_nugget, drawn, inputs, errors, folds
            )
            loss = left.log() + log_scale.square().sum() / n_rows
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    scale = log_scale.detach().exp()
    points = inputs * scale
    second = nearest(points[:_STEP_ROWS], points, min(2, n_rows))[0][:, -1]
    gaps = (points[second] - points[:_STEP_ROWS]).norm(dim=1)
    return scale / (_reach(gaps) * log_range.detach().exp())


def _reach(gaps):
    """Take the usual distance to the nearest row, but for rows that are equal."""
    gaps = gaps[gaps > np.sqrt(TIE)]
    return gaps.median() if len(gaps) else torch.ones(())


def _serial_relevance(inputs, errors, rng):
    """Guess relevances from how alike errors are in rows that follow in an input.

    Relevances that start alike stay where they are when errors are alike only in rows
    that are near in two inputs out of twenty.
    """
    n_rows, n_inputs = inputs.shape
    guess = inputs.new_zeros(n_inputs)
    if errors.shape[1]:
        shuffled = rng.permutation(n_rows)  # or ties would be in the order of the table
        for i, column in enumerate(inputs.T):
            order = shuffled[np.argsort(column.numpy()[shuffled], kind="stable")]
            alike = (errors[order[1:]] * errors[order[:-1]]).mean()
            # About normal with variance 1 where they are independent.
            guess[i] = np.log1p(max(np.sqrt(n_rows) * alike - 1, 0))
    return guess


def _largest_block(cells):
    """Find rows and columns without gaps; give their errors, of unit variance."""
    known = cells.weight > 0
    order = np.argsort(-known.sum(axis=0), kind="stable")
    complete = np.cumprod(known[:, order], axis=1).sum(axis=0)
    n_columns = 1 + np.argmax(complete * np.arange(1, len(order) + 1))
    columns = np.sort(order[:n_columns])
    rows = np.flatnonzero(known[:, columns].all(axis=1))
    errors = cells.take(rows).errors()
    errors = np.concatenate([errors[:, cells.slices[j]] for j in columns], axis=1)
    spread = errors.std(axis=0)
    return rows, errors[:, spread > 0] / spread[spread > 0]


def _left_over(log_scale, log_range, log_nugget, rows, inputs, errors, folds):
    """Compute what share of the squared errors of some rows kriging leaves."""
    with torch.no_grad():
        points = inputs * log_scale.exp()
        excluded = folds.exclude(rows, slice(None))
        n_used = min(_STEP_NEIGHBORS, len(inputs))
        index, known = nearest(points[rows], points, n_used, excluded)
    offsets = (inputs[index] - inputs[rows, None]) * log_scale.exp()
    # The root of 0 has no slope; rows that are equal are all but equal here.
    away, between = distances(offsets, least=1e-12)
    range_ = _reach(away[:, 0]) * log_range.exp()
    away, between = away / range_, between / range_
    own = log_nugget.exp() + torch.where(known, 0.0, UNKNOWN)
    covariance = torch.exp(-between) + torch.diag_embed(own)
    weights = torch.linalg.solve(covariance, torch.exp(-away))
    shift = (weights.unsqueeze(1) @ errors[index]).squeeze(1)
    truth = errors[rows]
    return (truth - shift).square().sum() / truth.square().sum()
