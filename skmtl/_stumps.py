"""Inputs that step at thresholds of decision trees, where labels go in steps."""

from typing import NamedTuple

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from ._encoder_bank import EncodedColumns, encoded_rows
from ._ridge_path import STRENGTHS, ridge_predictions
from ._tree_table import TreeTable

# Of a forest, to find stumps and to ask whether they pay.
_N_TREES, _N_TREES_ASKED = 25, 8
_DEPTH = 4
_MIN_ROWS_LEAF = 3
# One row of so many in a leaf at least.
_ROWS_SHARE = 50
# Columns that a split may choose from: half of them, and not more than that.
_MAX_TRIED = 32
# Rows that are looked at, to find stumps and to ask whether they pay.
_MAX_ROWS = 2_000
_MAX_ROWS_ASKED = 1_000
_N_FOLDS = 3
# Inputs of the regressions end here, so that no wild value decides.
_WILD = 10.0


class Stumps(NamedTuple):
    """Thresholds between two neighbouring values of a column.

    Parameters
    ----------
    source : ndarray of shape (n_stumps,), int
        Columns of X.
    below, above : ndarray of shape (n_stumps,)
        Their values to the left and to the right of the threshold.
    """

    source: np.ndarray
    below: np.ndarray
    above: np.ndarray

    def of_columns(self, columns):
        """Keep those of some columns.

        Parameters
        ----------
        columns : ndarray of int
            Columns of X.

        Returns
        -------
        stumps : Stumps
            In the order they had.
        """
        kept = np.isin(self.source, columns)
        return Stumps(*(values[kept] for values in self))

    def encoded(self):
        """Make inputs that are 0 below and 1 above, and a line between.

        Returns
        -------
        columns : EncodedColumns
            One input a stump; 0 where the value is missing.
        """
        n_stumps = len(self.source)
        slope = 1 / (self.above - self.below)
        zeros = np.zeros(n_stumps)
        kind = np.full(n_stumps, EncodedColumns.STEP)
        return EncodedColumns(
            self.source, self.below, slope, zeros, np.ones(n_stumps), zeros, kind
        )


def found_stumps(X, targets, weight, numbers, n_stumps):
    """Find the thresholds by which a forest of shallow trees gains most.

    Bins between quantiles make a network steep somewhere; the place where labels step
    lies within one of them. The idea of edges by trees is that of [1]_; these come in
    pairs of neighbouring values, so that an input is a step and no ramp.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        Raw rows: numbers and codes of categories, NaN where a value is missing.
    targets : list of ndarray of shape (n_rows, n_predictions)
        Of each task: numbers, or ones and zeros of classes; NaN where a label is
        missing.
    weight : ndarray of shape (n_rows,)
        Weight of each row; rows of weight zero are not looked at.
    numbers : ndarray of shape (n_columns,), bool
        Columns that hold numbers; categories have an input each anyway.
    n_stumps : int
        Stumps at most.

    Returns
    -------
    stumps : Stumps
        The one that gains most first.

    References
    ----------
    .. [1] Y. Gorishniy, I. Rubachev, A. Babenko (2022). On Embeddings for Numerical
       Features in Tabular Deep Learning. NeurIPS, section 3.2.2.
    """
    rng = np.random.default_rng(0)
    X = np.where(numbers, X, 0.0)
    table = TreeTable.of(X, targets, weight, max_rows=_MAX_ROWS, rng=rng)
    return _of_table(X, table, n_stumps)


def _of_table(X, table, n_stumps, n_trees=_N_TREES):
    nothing = Stumps(np.zeros(0, int), np.zeros(0), np.zeros(0))
    n_rows, n_columns = table.places.shape
    if n_columns == 0 or table.y.shape[1] == 0 or n_rows < 4 * _MIN_ROWS_LEAF:
        return nothing
    forest = RandomForestRegressor(
        n_trees,
        max_depth=_DEPTH,
        min_samples_leaf=max(_MIN_ROWS_LEAF, n_rows // _ROWS_SHARE),
        max_features=min(_MAX_TRIED, max(1, n_columns // 2)),
        bootstrap=False,
        random_state=0,
        n_jobs=1,
    )
    forest.fit(table.places, table.labels, sample_weight=table.weight)
    splits = [_splits(tree.tree_) for tree in forest.estimators_]
    column, threshold, gain = map(np.concatenate, zip(*splits, strict=True))
    names = np.flatnonzero(table.varying)
    found = {}
    for j in np.unique(column):
        places, first = np.unique(table.places[:, j], return_index=True)
        places, first = places[~np.isnan(places)], first[: (~np.isnan(places)).sum()]
        values = X[table.rows[first], names[j]]
        own = column == j
        above = np.searchsorted(places, threshold[own], side="right")
        with np.errstate(over="ignore", divide="ignore"):
            slopes = 1 / np.diff(values)
        for i, amount in zip(above, gain[own], strict=True):
            # Beyond the values, it tells missing ones from others.
            if 0 < i < len(places) and 0 < slopes[i - 1] < np.inf:
                key = names[j], values[i - 1], values[i]
                found[key] = found.get(key, 0.0) + amount
    if not found:
        return nothing
    # Sums are rounded, so that ties do not hang on the order of additions.
    best = sorted(found, key=lambda key: (-round(found[key], 9), key))[:n_stumps]
    source, below, above = map(np.array, zip(*best, strict=True))
    return Stumps(source, below, above)


def _splits(tree):
    """Column, threshold and decrease in impurity of each split of a tree."""
    inner = np.flatnonzero(tree.children_left >= 0)
    left, right = tree.children_left[inner], tree.children_right[inner]
    left_over = tree.weighted_n_node_samples * tree.impurity
    gain = left_over[inner] - left_over[left] - left_over[right]
    share = gain / tree.weighted_n_node_samples[0]
    return tree.feature[inner], tree.threshold[inner], share


def gain_of_stumps(encoder_of, X, targets, weight, numbers, n_stumps):
    """Ask ridge regressions whether labels go in steps that the inputs lack.

    Parameters
    ----------
    encoder_of : callable
        From rows of X, an ndarray of int, to EncodedColumns that are fitted on them.
    X, targets, weight, numbers, n_stumps : object
        As for :func:`found_stumps`.

    Returns
    -------
    ratio : float
        Root mean squared error on held-out rows with stumps that training rows gave,
        over that without, the geometric mean over targets; 1 where nothing was
        compared.
    """
    rng = np.random.default_rng(0)
    X_seen = np.where(numbers, X, 0.0)
    table = TreeTable.of(X_seen, targets, weight, max_rows=_MAX_ROWS_ASKED, rng=rng)
    n_rows, n_targets = table.y.shape
    if n_rows < _N_FOLDS * 4 * _MIN_ROWS_LEAF or n_targets == 0:
        return 1.0
    fold = np.arange(n_rows) % _N_FOLDS
    squares = np.zeros((2, len(STRENGTHS), n_targets))
    for k in range(_N_FOLDS):
        train, valid = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        own = table.taking(train)
        stumps = _of_table(X_seen, own, n_stumps, _N_TREES_ASKED)
        columns = encoder_of(np.unique(own.rows))
        columns = columns.taking(columns.kind != EncodedColumns.CODE)
        mean = table.y[train].mean(axis=0)
        for side, parts in enumerate(([columns], [columns, stumps.encoded()])):
            inputs = encoded_rows(EncodedColumns.join(parts), X[table.rows]).numpy()
            inputs = inputs.clip(-_WILD, _WILD)
            inputs = inputs - inputs[train].mean(axis=0)
            found = ridge_predictions(
                inputs[train], table.y[train] - mean, inputs[valid], STRENGTHS
            )
            errors = (table.y[valid] - mean - found) ** 2
            squares[side] += (errors * table.known[valid]).sum(axis=1)
    without, with_stumps = squares.min(axis=1)
    there = (without > 0) & (with_stumps > 0)
    if not there.any():
        return 1.0
    return float(np.exp(np.mean(np.log(with_stumps[there] / without[there])) / 2))
