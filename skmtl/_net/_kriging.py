"""Kriging: a prediction learns from what near rows showed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from .._encoder_bank import encoded_rows

if TYPE_CHECKING:
    from .._encoder_bank import EncodedColumns

UNKNOWN = 1e12  # variance of an error that is not known
TIE = 1e-6  # squared distances that differ by less are equal
# Neighbours looked at for each one that is used, where labels are missing.
_MAX_SPARE = 8
# A probability keeps at least this share of what the networks gave it.
_FLOOR = 0.1
_CHUNK_FLOATS = 2**22


@dataclass(frozen=True, eq=False)
class Kriging:
    """Correct predictions by the labels of the nearest training rows.

    What networks get wrong in rows they held out is taken for a Gaussian process with
    the covariance ``exp(-distance / range)`` and a nugget, a variance of each row
    alone. A correction is the conditional mean given the errors of the nearest rows,
    which is 0 far from all of them. With a trust below 1, an error counts as if the
    networks told only that share of the difference between the two rows; with a trust
    of 0, the label of a near row speaks for itself.

    Parameters
    ----------
    places : EncodedColumns
        From raw rows to inputs.
    scale : ndarray of shape (n_inputs,)
        Of the inputs in distances.
    points : ndarray of shape (n_points, n_inputs)
        Training rows, scaled.
    predicted : ndarray of shape (n_points, n_predictions)
        By networks that did not see the row; 0 where that is not known.
    errors : ndarray of shape (n_points, n_predictions)
        Truth less prediction; 0 where it is not known.
    variance : ndarray of shape (n_points, n_columns)
        Nugget of each cell over that of the column, the inverse of its weight; huge
        where the error is not known.
    slices : tuple of slice, length n_columns
        Predictions of each column.
    are_classes : tuple of bool, length n_columns
        Whether the predictions of a column are probabilities.
    n_neighbors : int
        Rows that a correction looks at.
    ranges, nuggets, trust, limits : ndarray of shape (n_columns,), default=None
        NaN for columns that stay as they are. A limit is of the sum of the weights of a
        row, so that no row is corrected more strongly than was tested.
    """

    places: EncodedColumns
    scale: np.ndarray
    points: np.ndarray
    predicted: np.ndarray
    errors: np.ndarray
    variance: np.ndarray
    slices: tuple
    are_classes: tuple
    n_neighbors: int
    ranges: np.ndarray | None = None
    nuggets: np.ndarray | None = None
    trust: np.ndarray | None = None
    limits: np.ndarray | None = None

    def correct(self, predictions, table):
        """Correct the predictions of raw rows.

        Parameters
        ----------
        predictions : Tensor of shape (n_rows, n_predictions)
            Means over networks.
        table : ndarray of shape (n_rows, n_features)
            The rows.

        Returns
        -------
        predictions : Tensor of shape (n_rows, n_predictions)
            New.
        """
        queries = encoded_rows(self.places, table) * torch.from_numpy(self.scale)
        corrected = predictions.cpu().double().clone()
        for rows in chunks(len(queries), self.floats_a_row):
            found = self.nearest(queries[rows])
            corrected[rows] = self.correct_by(corrected[rows], queries[rows], *found)
        return corrected.to(predictions)

    def correct_by(self, predictions, queries, index, known):
        """Correct predictions by neighbours that were found.

        Parameters
        ----------
        predictions : Tensor of shape (n_queries, n_predictions)
            Means over networks.
        queries : Tensor of shape (n_queries, n_inputs)
            Scaled rows.
        index, known : Tensor of shape (n_queries, n_found)
            From :meth:`nearest`.

        Returns
        -------
        predictions : Tensor of shape (n_queries, n_predictions)
            New.
        """
        after = predictions.clone()
        for columns in self.alike:
            columns = [j for j in columns if np.isfinite(self.ranges[j])]
            if not columns:
                continue
            near = self.neighborhood(queries, index, known, columns[0])
            for j in columns:
                where = self.slices[j]
                weights = near.weights(self.ranges[j], self.nuggets[j])
                weights = limited(weights, self.limits[j])
                shift = self.shift(predictions, near, weights, where, self.trust[j])
                after[:, where] = moved(
                    predictions[:, where], shift, self.are_classes[j]
                )
        return after

    def shift(self, predictions, near, weights, where, trust):
        """Average the errors of neighbours, and what they show of the networks.

        Parameters
        ----------
        predictions : Tensor of shape (n_queries, n_predictions)
            Means over networks.
        near : Neighborhood
            Of the rows.
        weights : Tensor of shape (n_queries, n_neighbors)
            Of the neighbours.
        where : slice
            Predictions to look at.
        trust : float
            Share of the difference between two rows that is left to the networks.

        Returns
        -------
        shift : Tensor of shape (n_queries, n_shifts)
            To be added to the predictions.
        """
        shown = self.errors[:, where] + (1 - trust) * self.predicted[:, where]
        own = (1 - trust) * weights.sum(dim=1, keepdim=True) * predictions[:, where]
        return near.mean(weights, shown) - own

    def nearest(self, queries, excluded=None):
        """Find as many points as a correction needs.

        Parameters
        ----------
        queries : Tensor of shape (n_queries, n_inputs)
            Scaled rows.
        excluded : Tensor of shape (n_queries, n_points), bool, optional
            Which points are not to be neighbours of which row.

        Returns
        -------
        index : Tensor of shape (n_queries, n_found), int
            Positions of points, nearest first.
        known : Tensor of shape (n_queries, n_found), bool
            False where there are not enough of them.
        """
        return nearest(queries, torch.from_numpy(self.points), self.n_found, excluded)

    @property
    def floats_a_row(self):
        """Numbers that a correction of one row works on, int."""
        return max(len(self.points), self.n_found * (self.n_found + len(self.scale)))

    @cached_property
    def n_found(self):
        """Neighbours to look for, so that enough of them are labelled, int."""
        labelled = (self.variance < UNKNOWN).mean(axis=0)
        missing = 1 / labelled[labelled > 0].min(initial=1.0) - 1
        # Twice as many as it takes on average: some rows have more gaps around them.
        spare = min(1 + 2 * missing, _MAX_SPARE)
        return min(int(np.ceil(spare * self.n_neighbors)), len(self.points))

    def neighborhood(self, queries, index, known, column):
        """Look at the nearest points whose error in a column is known.

        Parameters
        ----------
        queries : Tensor of shape (n_queries, n_inputs)
            Scaled rows.
        index, known : Tensor of shape (n_queries, n_found)
            From :meth:`nearest`.
        column : int
            The label column.

        Returns
        -------
        neighborhood : Neighborhood
            Of `n_neighbors` points, or fewer if there are no more.
        """
        variance = torch.from_numpy(self.variance[:, column])[index]
        variance = torch.where(known, variance, UNKNOWN)
        if index.shape[1] > self.n_neighbors:
            order = (variance >= UNKNOWN).to(torch.int8).argsort(dim=1, stable=True)
            order = order[:, : self.n_neighbors]
            index, variance = index.gather(1, order), variance.gather(1, order)
        offsets = torch.from_numpy(self.points)[index] - queries[:, None]
        return Neighborhood(offsets, index, variance)

    @cached_property
    def alike(self):
        """Columns with errors, put together where the variances are equal, list."""
        alike = {}
        for j in np.flatnonzero((self.variance < UNKNOWN).any(axis=0)).tolist():
            alike.setdefault(self.variance[:, j].tobytes(), []).append(j)
        return list(alike.values())


class Neighborhood:
    """The nearest points of some rows, and the weights that kriging gives them.

    Parameters
    ----------
    offsets : Tensor of shape (n_queries, n_neighbors, n_inputs)
        From the row to each point.
    index : Tensor of shape (n_queries, n_neighbors), int
        Positions of the points.
    variance : Tensor of shape (n_queries, n_neighbors)
        Of each error, over the nugget.
    """

    def __init__(self, offsets, index, variance):
        self.index, self.variance = index, variance
        self.distances, self.between = distances(offsets)

    def weights(self, range_, nugget):
        """Solve for the weights of the conditional mean.

        Parameters
        ----------
        range_, nugget : float
            Of the covariance.

        Returns
        -------
        weights : Tensor of shape (n_queries, n_neighbors)
            Of the errors of the neighbours; they shrink, and do not sum to 1.
        """
        covariance = torch.exp(self.between / -range_)
        covariance.diagonal(dim1=1, dim2=2).add_(nugget * self.variance)
        weights = torch.linalg.solve(covariance, torch.exp(self.distances / -range_))
        # Of errors that are not known they are almost zero, but for rounding.
        return torch.where(self.variance < UNKNOWN, weights, 0.0)

    def mean(self, weights, values):
        """Average values of the neighbours.

        Parameters
        ----------
        weights : Tensor of shape (n_queries, n_neighbors)
            From :meth:`weights`.
        values : ndarray of shape (n_points, n_values)
            Of all points.

        Returns
        -------
        mean : Tensor of shape (n_queries, n_values)
            Weighted sums.
        """
        return (weights.unsqueeze(1) @ torch.from_numpy(values)[self.index]).squeeze(1)


def limited(weights, limit):
    """Shrink the weights of rows whose sum is above a limit.

    Parameters
    ----------
    weights : Tensor of shape (n_rows, n_neighbors)
        Of a correction.
    limit : float
        Largest sum.

    Returns
    -------
    weights : Tensor of shape (n_rows, n_neighbors)
        New.
    """
    total = weights.sum(dim=1, keepdim=True)
    return weights * (limit / total.clamp(min=1e-12)).clamp(0, 1)


def moved(predictions, shift, is_class):
    """Add corrections; what comes out for classes is probabilities again.

    Parameters
    ----------
    predictions : Tensor of shape (n_rows, n_predictions)
        Of one column.
    shift : Tensor of shape (n_rows, n_predictions)
        What is added.
    is_class : bool
        Whether the predictions are probabilities.

    Returns
    -------
    moved : Tensor of shape (n_rows, n_predictions)
        New.
    """
    moved = predictions + shift
    if not is_class:
        return moved
    moved = torch.maximum(moved, _FLOOR * predictions)
    return moved / moved.sum(dim=1, keepdim=True)


def nearest(queries, points, n_found, excluded=None):
    """Find the nearest points, of equal ones those that come first.

    Parameters
    ----------
    queries : Tensor of shape (n_queries, n_inputs)
        Scaled rows.
    points : Tensor of shape (n_points, n_inputs)
        Scaled rows, too.
    n_found : int
        Points to find for each row.
    excluded : Tensor of shape (n_queries, n_points), bool, optional
        Which points are not to be found for which row.

    Returns
    -------
    index : Tensor of shape (n_queries, n_found), int
        Positions of points, nearest first.
    known : Tensor of shape (n_queries, n_found), bool
        False for excluded points, which are found where there are too few others.
    """
    squares = points.square().sum(dim=1)
    # Sums are rounded in an order that depends on the other rows; ties must not.
    order = torch.arange(len(points), dtype=points.dtype) / (2 * len(points))
    keys = torch.addmm(squares, queries, points.T, alpha=-2)
    keys += queries.square().sum(dim=1, keepdim=True)
    keys.div_(TIE).round_().add_(order)
    if excluded is not None:
        keys.masked_fill_(excluded, torch.inf)
    nearest, index = keys.topk(n_found, dim=1, largest=False)
    return index, torch.isfinite(nearest)


def distances(offsets, least=0.0):
    """Measure how far points are from their query, and from each other.

    Parameters
    ----------
    offsets : Tensor of shape (n_queries, n_points, n_inputs)
        From the query to each point.
    least : float, default=0.0
        Added to squared distances.

    Returns
    -------
    away : Tensor of shape (n_queries, n_points)
        From the query.
    between : Tensor of shape (n_queries, n_points, n_points)
        From each other.
    """
    squares = offsets.square().sum(dim=-1)
    both = squares.unsqueeze(1) + squares.unsqueeze(2)
    both = torch.baddbmm(both, offsets, offsets.mT, alpha=-2).clamp(min=0)
    return (squares + least).sqrt(), (both + least).sqrt()


def chunks(n_rows, n_floats):
    """Cut rows into parts that a cache or two can hold.

    Parameters
    ----------
    n_rows : int
        How many rows there are.
    n_floats : int
        Numbers that the work on one row needs.

    Returns
    -------
    parts : list of slice
        In order.
    """
    size = max(1, _CHUNK_FLOATS // max(1, n_floats))
    return [slice(start, start + size) for start in range(0, n_rows, size)]
