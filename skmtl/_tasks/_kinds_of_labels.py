"""What the labels of rows have in common, for folds that keep it in proportion."""

import numpy as np
from scipy.stats import rankdata

from ._labels import class_labels, label_columns, missing_cells

# More distinct whole numbers than this are counts or amounts, not classes.
_MOST_CLASSES = 20


def kinds_of_labels(y):
    """List what folds keep in proportion, going by the labels alone.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Labels. Text, bools and few distinct whole numbers are classes.

    Returns
    -------
    columns : list of ndarray of shape (n_rows,), int
        Class codes, or 0 for a number, and -1 where the label is missing.
    values : ndarray of shape (n_rows,) or None
        Mean ranks of the numbers of each row; None where all columns are classes.
    """
    columns, numbers = [], []
    for name, column in zip(*label_columns(y)[:2], strict=True):
        missing = missing_cells(column)
        labels = _as_numbers(column[~missing])
        if labels is None:
            codes = class_labels(name, column)[0]
            columns.append(np.nan_to_num(codes, nan=-1).astype(int))
        else:
            columns.append(-missing.astype(int))
            numbers.append(np.full(len(column), np.nan))
            numbers[-1][~missing] = labels
    return columns, mean_ranks(np.stack(numbers, axis=1)) if numbers else None


def _as_numbers(labels):
    """Turn labels into floats; None where they are classes."""
    if labels.dtype.kind == "O":
        kinds = {type(label) for label in labels}
        if any(issubclass(k, (bool, np.bool_, str, bytes)) for k in kinds):
            return None
        try:
            labels = labels.astype(float)
        except (TypeError, ValueError):
            return None
    if labels.dtype.kind not in "iufmM":
        return None
    labels = labels.astype(float)
    distinct = np.unique(labels)
    if len(distinct) <= _MOST_CLASSES and (distinct == np.floor(distinct)).all():
        return None
    return labels


def mean_ranks(y):
    """Average the ranks of the numbers of each row.

    Parameters
    ----------
    y : ndarray of shape (n_rows, n_columns)
        Numbers, NaN where missing.

    Returns
    -------
    ranks : ndarray of shape (n_rows,)
        From 0 to 1; 1/2 where a row has none.
    """
    present = ~np.isnan(y)
    ranks = np.full(y.shape, 0.5)
    for j, labelled in enumerate(present.T):
        ranks[labelled, j] = (rankdata(y[labelled, j]) - 0.5) / max(labelled.sum(), 1)
    return ranks.sum(axis=1) / y.shape[1]
