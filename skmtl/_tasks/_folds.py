"""Folds that keep tasks, classes and patterns of missing labels in proportion."""

import numpy as np
from sklearn.model_selection import check_cv

DEFAULT_FOLDS = 8


def validation_folds(cv, data, random_state):
    """Split rows for the choice of the best epoch.

    Parameters
    ----------
    cv : None, int, splitter or iterable of (train, test)
        None is 8 folds. None and integers balance row tasks, classes and patterns of
        missing labels over the folds; a row that carries the only label of a task or a
        class is never held out. Splitters see X and y; iterables hold rows of the X
        given to fit.
    data : TaskData
        The checked data.
    random_state : RandomState
        Draws the folds for None and integers.

    Returns
    -------
    folds : list of (train, valid), ndarray of int
        Rows of `data`.

    Raises
    ------
    ValueError
        If a split has no training rows or no rows held out.
    """
    if cv is None or isinstance(cv, (int, np.integer)):
        n_folds = DEFAULT_FOLDS if cv is None else int(cv)
        return _balanced(min(n_folds, len(data.X)), data, random_state)
    position = np.full(data.n_samples, -1)
    position[data.rows] = np.arange(len(data.rows))
    if hasattr(cv, "split"):
        splits = check_cv(cv).split(data.X, data.y[:, 0])
    else:
        splits = [
            (position[_as_rows(train)], position[_as_rows(test)]) for train, test in cv
        ]
    folds = []
    for i, (train, valid) in enumerate(splits):
        train, valid = np.sort(train[train >= 0]), np.sort(valid[valid >= 0])
        if not len(train) or not len(valid):
            raise ValueError(
                f"Split {i} of cv has {len(train)} training and {len(valid)} held-out "
                "rows with labels and weight; each needs at least one. Pass fewer "
                "splits or early_stopping=False."
            )
        folds.append((train, valid))
    if not folds:
        raise ValueError(
            "cv gave no splits; pass at least one, or early_stopping=False."
        )
    return folds


def _as_rows(rows):
    rows = np.asarray(rows)
    return rows if rows.size else rows.astype(int)


def _balanced(n_folds, data, random_state):
    if n_folds < 2:
        raise ValueError(
            f"cv={n_folds} is not a number of folds; pass at least 2, or "
            "early_stopping=False to train without validation."
        )
    shuffled = random_state.permutation(len(data.X))
    keys = [np.nan_to_num(column, nan=-1) for column in _strata(data)]
    order = (
        shuffled[np.lexsort([key[shuffled] for key in reversed(keys)])]
        if keys
        else shuffled
    )
    fold = np.empty(len(order), int)
    fold[order] = np.arange(len(order)) % n_folds
    fold[_only_of_their_kind(data)] = -1
    everything = np.arange(len(order))
    folds = [(everything[fold != k], everything[fold == k]) for k in range(n_folds)]
    kept = [(train, valid) for train, valid in folds if len(valid)]
    return kept or [(everything, everything)]


def _strata(data):
    """List the columns to balance: task, then class codes or presence of a label."""
    columns = [] if data.task is None else [data.task]
    for column, classes in zip(data.y.T, data.encoder.classes, strict=True):
        columns.append(np.isnan(column) if classes is None else column)
    return columns


def _only_of_their_kind(data):
    """Find rows whose loss would leave a task or a class without training rows."""
    alone = np.zeros(len(data.X), dtype=bool)
    for column, classes in zip(data.y.T, data.encoder.classes, strict=True):
        labelled = np.flatnonzero(~np.isnan(column))
        codes = np.zeros(len(labelled)) if classes is None else column[labelled]
        _, code, counts = np.unique(codes, return_inverse=True, return_counts=True)
        alone[labelled[counts[code] == 1]] = True
    if data.task is not None:
        alone |= np.bincount(data.task)[data.task] == 1
    return alone
