"""Whether the members of an ensemble may each do with a share of the columns."""

import numpy as np

# Rows that are looked at, folds that hold them out, and draws that are averaged.
_MAX_ROWS = 1_000
_N_FOLDS = 4
_N_DRAWS = 16
# Ridge strengths, over the number of rows; each side takes its best.
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# Columns that are looked at, and patterns of missing labels.
_MAX_COLUMNS = 200
_MAX_PATTERNS = 8


def cost_of_drawing(inputs, source, targets, share):
    """Estimate by ridge regressions what it costs to see a share of the columns.

    Where columns tell the same in other words, the mean of regressions on a part of
    them is as good as one on all. Where each tells something of its own, a column that
    only some members see enters the mean with only a share of its weight. Ridge
    regressions see the linear part of that, in some hundredths of a second.

    Parameters
    ----------
    inputs : ndarray of shape (n_rows, n_inputs)
        Standardised.
    source : ndarray of shape (n_inputs,), int
        Column of the table that each input reads.
    targets : ndarray of shape (n_rows, n_targets)
        Numbers, or ones and zeros of classes; NaN where a label is missing.
    share : float
        Of the columns in a draw, in (0, 1).

    Returns
    -------
    cost : ndarray of shape (n_targets,)
        Root mean squared error on held-out rows of the mean over draws, over that of
        the regression on all columns, less 1; NaN for targets that were not compared.
    """
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(inputs))[:_MAX_ROWS]
    inputs, targets = inputs[rows], targets[rows]
    names = rng.permutation(np.unique(source))[:_MAX_COLUMNS]
    inputs = inputs[:, np.isin(source, names)]
    source = source[np.isin(source, names)]
    n_drawn = max(1, round(share * len(names)))
    draws = [np.isin(source, rng.permutation(names)[:n_drawn]) for _ in range(_N_DRAWS)]
    patterns = {}
    for j, known in enumerate(~np.isnan(targets.T)):
        patterns.setdefault(known.tobytes(), []).append(j)
    cost = np.full(targets.shape[1], np.nan)
    for columns in list(patterns.values())[:_MAX_PATTERNS]:
        known = ~np.isnan(targets[:, columns[0]])
        if known.sum() >= 2 * _N_FOLDS:
            own = targets[np.ix_(known, columns)]
            cost[columns] = _cost(inputs[known], own, draws)
    return cost


def _cost(inputs, targets, draws):
    n_rows = len(inputs)
    errors = np.zeros((2, len(_STRENGTHS), targets.shape[1]))
    for fold in range(_N_FOLDS):
        valid = np.arange(n_rows) % _N_FOLDS == fold
        mean = targets[~valid].mean(axis=0)
        parts = inputs[~valid], targets[~valid] - mean, inputs[valid]
        whole = _ridge(*parts)
        drawn = [_ridge(parts[0][:, d], parts[1], parts[2][:, d]) for d in draws]
        for side, found in enumerate((whole, np.mean(drawn, axis=0))):
            errors[side] += ((targets[valid] - mean - found) ** 2).sum(axis=1)
    whole, drawn = errors.min(axis=1)
    compared = whole > 0
    ratio = drawn / np.where(compared, whole, 1.0)
    return np.where(compared, np.sqrt(ratio) - 1, np.nan)


def _ridge(inputs, targets, new):
    """Predict new rows for every strength, (n_strengths, n_new, n_targets)."""
    n_rows, n_inputs = inputs.shape
    wide = n_inputs > n_rows
    values, vectors = np.linalg.eigh(inputs @ inputs.T if wide else inputs.T @ inputs)
    if wide:
        basis, weights = new @ inputs.T @ vectors, vectors.T @ targets
    else:
        basis, weights = new @ vectors, vectors.T @ (inputs.T @ targets)
    values = values.clip(0)[:, None]
    return np.stack([basis @ (weights / (values + s * n_rows)) for s in _STRENGTHS])
