"""Whether the members of an ensemble may each do with a share of the columns."""

import numpy as np

from ._encoder_bank import encoded_rows
from ._ridge_path import STRENGTHS, ridge_predictions

# Rows that are looked at, folds that hold them out, and draws that are averaged.
_MAX_ROWS = 1_000
_N_FOLDS = 4
_N_DRAWS = 16
# Columns that are looked at, and patterns of missing labels.
_MAX_COLUMNS = 200
_MAX_PATTERNS = 8


def cost_of_drawing(places, X, targets, share):
    """Estimate by ridge regressions what it costs to see a share of the columns.

    Where columns tell the same in other words, the mean of regressions on a part of
    them is as good as one on all. Where each tells something of its own, a column that
    only some members see enters the mean with only a share of its weight. Ridge
    regressions see the linear part of that, in some hundredths of a second.

    Parameters
    ----------
    places : EncodedColumns
        Standardised inputs.
    X : ndarray of shape (n_rows, n_columns)
        Raw rows.
    targets : list of ndarray of shape (n_rows, n_predictions)
        Of each task: numbers, or ones and zeros of classes; NaN where a label is
        missing.
    share : float
        Of the columns in a draw, in (0, 1).

    Returns
    -------
    cost : ndarray of shape (n_tasks,)
        Root mean squared error on held-out rows of the mean over draws, over that of
        the regression on all columns, less 1; NaN for tasks that were not compared.
    """
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(X))[:_MAX_ROWS]
    names = rng.permutation(np.unique(places.source))[:_MAX_COLUMNS]
    places = places.taking(np.isin(places.source, names))
    inputs = encoded_rows(places, X[rows]).numpy()
    n_drawn = max(1, round(share * len(names)))
    draws = [
        np.isin(places.source, rng.permutation(names)[:n_drawn])
        for _ in range(_N_DRAWS)
    ]
    targets = [target[rows] for target in targets]
    known = np.stack([~np.isnan(target[:, 0]) for target in targets])
    patterns = np.unique(known, axis=0)
    most = np.argsort(-patterns.sum(axis=1), kind="stable")[:_MAX_PATTERNS]
    cost = np.full(len(targets), np.nan)
    for pattern in patterns[most]:
        if pattern.sum() >= 2 * _N_FOLDS:
            tasks = np.flatnonzero((known == pattern).all(axis=1))
            own = [targets[j][pattern] for j in tasks]
            cost[tasks] = _costs(inputs[pattern], own, draws)
    return cost


def _costs(inputs, targets, draws):
    """Compare for tasks that are labelled in the same rows."""
    starts = np.cumsum([0] + [target.shape[1] for target in targets[:-1]])
    targets = np.concatenate(targets, axis=1)
    errors = np.zeros((2, len(STRENGTHS), len(starts)))
    fold = np.arange(len(inputs)) % _N_FOLDS
    for k in range(_N_FOLDS):
        train, valid = fold != k, fold == k
        mean = targets[train].mean(axis=0)
        parts = inputs[train], targets[train] - mean, inputs[valid]
        whole = ridge_predictions(*parts, STRENGTHS)
        drawn = [
            ridge_predictions(parts[0][:, d], parts[1], parts[2][:, d], STRENGTHS)
            for d in draws
        ]
        for side, found in enumerate((whole, np.mean(drawn, axis=0))):
            squares = ((targets[valid] - mean - found) ** 2).sum(axis=1)
            errors[side] += np.add.reduceat(squares, starts, axis=1)
    whole, drawn = errors.min(axis=1)
    ratio = np.divide(drawn, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return np.sqrt(ratio) - 1
