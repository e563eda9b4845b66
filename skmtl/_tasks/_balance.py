"""Dealing rows to folds so that every kind of row is in proportion.

A kind is what rows have in common in one column: a task, a class, a label that is
there, a label that is missing. The idea is iterative stratification [1]_: the rarest
kind is dealt first, each row to the fold that wants it most. Here rows are dealt by
hands, one row a fold, so that fold sizes never drift, and rows of the same kinds in all
columns are dealt at once, so that large tables take no loop.

.. [1] K. Sechidis, G. Tsoumakas, I. Vlahavas (2011). On the Stratification of
   Multi-Label Data. ECML PKDD. https://doi.org/10.1007/978-3-642-23808-6_10
"""

import numpy as np
from scipy.optimize import linear_sum_assignment


def balanced_folds(columns, n_rows, n_folds, random_state=None, *, values=None):
    """Deal rows to folds of equal size that hold every kind of row in proportion.

    Parameters
    ----------
    columns : list of ndarray of shape (n_rows,), int
        Kinds of the rows: a code from 0 in each column, -1 where a label is missing.
    n_rows : int
        Number of rows.
    n_folds : int
        Number of folds, at least 2.
    random_state : RandomState, optional
        Draws the order of dealing; the order of the rows when there is none.
    values : ndarray of shape (n_rows,), optional
        Numbers that are to be in proportion within rows of the same kinds.

    Returns
    -------
    fold : ndarray of shape (n_rows,), int
        The fold of each row, -1 for rows that no fold holds: without them the rows
        outside some fold would lack a code of a column.
    """
    kinds, totals, needed = _number_kinds(columns, n_rows)
    free = np.flatnonzero(~(needed & (totals == 1))[kinds].any(axis=1))
    fold = np.full(n_rows, -1)
    order = _order(len(free), random_state, None if values is None else values[free])
    dealt = _deal(kinds[free], totals, n_folds, order, random_state)
    fold[free] = _renamed(dealt, n_folds, random_state)
    for kind in _endangered(kinds, needed & (totals > 0), fold, n_folds):
        rows = np.flatnonzero((kinds == kind).any(axis=1))
        if (fold[rows] >= 0).all():
            fold[rows[0]] = -1
    return fold


def grouped_folds(columns, group, n_folds, random_state=None):
    """Deal whole groups to folds, the largest first, each to the smallest fold.

    Parameters
    ----------
    columns : list of ndarray of shape (n_rows,), int
        Kinds of the rows, as in `balanced_folds`; they decide between folds of equal
        size.
    group : ndarray of shape (n_rows,), int
        Group of each row, codes from 0 without gaps.
    n_folds : int
        Number of folds, at least 2.
    random_state : RandomState, optional
        Draws the order of groups of equal size.

    Returns
    -------
    fold : ndarray of shape (n_rows,), int
        The fold of each row, -1 for groups that no fold holds: without them the rows
        outside some fold would lack a code of a column.
    """
    kinds, totals, needed = _number_kinds(columns, len(group))
    size = np.bincount(group)
    share = np.zeros((len(size), len(totals)))
    np.add.at(share, (group[:, None], kinds), 1.0)
    has = share > 0
    share /= np.maximum(totals, 1)
    alone = has[:, needed & (has.sum(axis=0) == 1)].any(axis=1)
    fold = np.full(len(size), -1)
    filled, held = np.zeros(n_folds), np.zeros((len(totals), n_folds))
    order = _order(len(size), random_state)
    order = order[np.argsort(-size[order], kind="stable")]
    for g in order[~alone[order]]:
        smallest = np.flatnonzero(filled == filled.min())
        k = smallest[(share[g] @ held[:, smallest]).argmin()]
        fold[g] = k
        filled[k] += size[g]
        held[:, k] += share[g]
    fold = _renamed(fold, n_folds, random_state)
    for kind in np.flatnonzero(needed & has.any(axis=0)):
        own = np.flatnonzero(has[:, kind])
        if fold[own[0]] >= 0 and (fold[own] == fold[own[0]]).all():
            fold[own[size[own].argmin()]] = -1
    return fold[group]


def _number_kinds(columns, n_rows):
    """Number the kinds of all columns through, the rarest first.

    Returns the kinds of the rows (n_rows, n_columns), the rows of each kind (n_kinds,),
    and which kinds training rows need: all but missing labels.
    """
    kinds = np.zeros((n_rows, len(columns)), dtype=int)
    totals, needed = [], []
    for j, column in enumerate(columns):
        kinds[:, j] = column + 1 + sum(len(total) for total in totals)
        totals.append(np.bincount(column + 1))
        needed.append(np.arange(len(totals[-1])) > 0)
    totals = np.concatenate([*totals, np.zeros(0, dtype=int)])
    needed = np.concatenate([*needed, np.zeros(0, dtype=bool)])
    by_size = np.argsort(totals, kind="stable")
    rank = np.empty_like(by_size)
    rank[by_size] = np.arange(len(by_size))
    return rank[kinds], totals[by_size], needed[by_size]


def _order(n_rows, random_state, values=None):
    order = np.arange(n_rows)
    if random_state is not None:
        order = random_state.permutation(n_rows)
    if values is not None:
        order = order[np.argsort(values[order], kind="stable")]
    return order


def _deal(kinds, totals, n_folds, order, random_state):
    """Deal rows in hands of one row a fold, the rarest kinds first."""
    varied = [j for j, kind in enumerate(kinds.T) if (kind != kind[:1]).any()]
    kinds = np.sort(kinds[:, varied], axis=1)
    if varied:
        order = order[np.lexsort(kinds[order].T[::-1])]
    whole = _whole_hands(kinds[order], n_folds)
    fold = np.empty(len(order), dtype=int)
    hands = order[whole].reshape(-1, n_folds)
    fold[hands] = np.arange(n_folds)
    if random_state is not None:
        fold[hands] = random_state.uniform(size=hands.shape).argsort(axis=1)
    rest = order[~whole]
    # By 1 / total rare kinds leave no choice to common ones, and with equal weights
    # they are not spread: halfway the worst kind differs least between folds.
    weight = np.maximum(totals, 1) ** -0.5
    held = np.zeros((len(totals), n_folds))  # weighted rows of the kinds in the folds
    for start in range(0, len(rest), n_folds):
        hand = rest[start : start + n_folds]
        own = kinds[hand]
        _, chosen = linear_sum_assignment(held[own].sum(axis=1))
        fold[hand] = chosen
        held[own, chosen[:, None]] += weight[own]
    return fold


def _whole_hands(kinds, n_folds):
    """Find the rows, n_folds at a time, that are of the same kinds in all columns."""
    index = np.arange(len(kinds))
    new = np.ones(len(kinds), dtype=bool)
    new[1:] = (kinds[1:] != kinds[:-1]).any(axis=1)
    starts = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    length = np.diff(starts, append=len(kinds))[run]
    return index - starts[run] < length - length % n_folds


def _renamed(fold, n_folds, random_state):
    """Give folds numbers by chance; the first ones are served first."""
    if random_state is None:
        return fold
    names = np.append(random_state.permutation(n_folds), -1)
    return names[fold]


def _endangered(kinds, needed, fold, n_folds):
    """List the kinds whose rows all lie in one fold."""
    counts = np.zeros((len(needed), n_folds + 1), dtype=int)
    for kind in kinds.T:
        pairs = kind * (n_folds + 1) + fold + 1
        counts += np.bincount(pairs, minlength=counts.size).reshape(counts.shape)
    alone = counts[:, 1:].max(axis=1, initial=0) == counts.sum(axis=1)
    return np.flatnonzero(needed & alone)
