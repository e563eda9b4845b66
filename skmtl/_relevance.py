"""How much each column of X tells about the labels, by trees beside shuffled rows."""

from dataclasses import replace

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

from ._encoder_bank import EncodedColumns
from ._tree_table import TreeTable

# Of a forest: enough, as the networks of all folds have one each.
_N_TREES = 25
_MIN_ROWS_LEAF = 3
# Columns that a split may choose from: a third, and not more than that.
_MAX_TRIED = 64
# Rows that are looked at.
_MAX_ROWS = 2_000
# Inputs of a column that tells nothing are a fifth of those of one that tells much.
# Trees do not see all that a network can, so that nothing is taken away. Many such
# columns together get no more than a share of what the others have, in squares. By
# measurement: see search_defaults.py and bench_relevance.py.
_LEAST = 0.2
_SHARE = 0.03
_SMALLEST = 0.02


def column_relevance(X, targets, weight):
    r"""Estimate what share of the importance of each column is no chance.

    Extremely randomised trees [1]_ are grown on the columns and on a copy of them with
    its rows shuffled, which tells nothing [2]_. With the impurity decrease
    :math:`m_j` of column j, and that of the shuffled ones :math:`m_0`, half their mean
    and half that of column j, the relevance is :math:`\max(0, 1 - m_0 / m_j)`: what is
    left of an estimate after what noise alone adds to it.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        Raw rows: numbers and codes of categories, NaN where a value is missing.
    targets : list of ndarray of shape (n_rows, n_predictions)
        Of each task: numbers, or ones and zeros of classes; NaN where a label is
        missing.
    weight : ndarray of shape (n_rows,)
        Weight of each row; rows of weight zero are not looked at.

    Returns
    -------
    relevance : ndarray of shape (n_columns,)
        In [0, 1]; ones where there is nothing to learn from.

    References
    ----------
    .. [1] P. Geurts, D. Ernst, L. Wehenkel (2006). Extremely Randomized Trees. Machine
       Learning 63.
    .. [2] M. Kursa, W. Rudnicki (2010). Feature Selection with the Boruta Package,
       section 2. Journal of Statistical Software 36.
    """
    rng = np.random.default_rng(0)
    table = TreeTable.of(X, targets, weight, max_rows=_MAX_ROWS, rng=rng)
    n_columns, places = np.count_nonzero(table.varying), table.places
    if n_columns < 2 or table.y.shape[1] == 0 or len(places) < 2 * _MIN_ROWS_LEAF:
        return np.ones(X.shape[1])
    shuffled = places[rng.permutation(len(places))]
    forest = ExtraTreesRegressor(
        _N_TREES,
        min_samples_leaf=_MIN_ROWS_LEAF,
        max_features=min(_MAX_TRIED, max(1, 2 * n_columns // 3)),
        random_state=0,
        n_jobs=1,
    )
    # Thresholds are drawn between the extremes, so that one wild value would take all:
    # trees see ranks.
    both = np.hstack([places, shuffled])
    forest.fit(both, table.labels, sample_weight=table.weight)
    own, chance = forest.feature_importances_.reshape(2, n_columns)
    chance = (chance + chance.mean()) / 2
    relevance = np.zeros(X.shape[1])
    relevance[table.varying] = 1 - np.divide(
        chance, own, out=np.ones(n_columns), where=own > 0
    )
    return relevance.clip(0, 1)


def scaled_by_relevance(columns, relevance):
    """Make inputs larger whose columns are relevant, and the others smaller.

    The first layer of a network starts with weights of one size, and steps of one size
    are taken in all: it listens to what is large, and learns that first. The mean
    square over columns stays 1.

    Parameters
    ----------
    columns : EncodedColumns
        Fitted.
    relevance : ndarray of shape (n_columns,)
        Of the columns of X, in [0, 1].

    Returns
    -------
    columns : EncodedColumns
        With other sizes; learned embeddings are left as they are.
    """
    read = np.unique(columns.source)
    if len(read) == 0:
        return columns
    least, told = _LEAST, relevance[read]
    n_idle = np.count_nonzero(told < _LEAST)
    if n_idle:
        share = np.sqrt(_SHARE * np.sum(told**2) / n_idle)
        least = np.clip(share, _SMALLEST, _LEAST)
    size = np.maximum(relevance, least)
    size = size / np.sqrt(np.mean(size[read] ** 2))
    learned = np.isin(columns.kind, (EncodedColumns.CODE, EncodedColumns.WAVE))
    return replace(columns, size=np.where(learned, 1.0, size[columns.source]))
