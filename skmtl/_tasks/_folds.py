"""Folds that keep tasks, classes and patterns of missing labels in proportion."""

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import get_routing_for_object

from ._balance import balanced_folds

DEFAULT_FOLDS = 8


def validation_folds(cv, data, random_state):
    """Split rows for the choice of the best epoch.

    Parameters
    ----------
    cv : None, int, splitter or iterable of (train, test)
        None is 8 folds. None and integers balance row tasks, classes and patterns of
        missing labels over the folds; a row that carries the only label of a task or a
        class is never held out. A TaskKFold sees tasks and all labels, other splitters
        X and the first column of y, and those of groups the row tasks; iterables hold
        rows of the X given to fit.
    data : TaskData
        The checked data.
    random_state : RandomState
        Draws the folds for None, integers, and a TaskKFold without a state of its own.

    Returns
    -------
    folds : list of (train, valid), ndarray of int
        Rows of `data`.

    Raises
    ------
    ValueError
        If a split has no training rows or no rows held out, or rows that are not there.
    """
    if cv is None or isinstance(cv, (int, np.integer)):
        n_folds = DEFAULT_FOLDS if cv is None else int(cv)
        return _balanced(min(n_folds, len(data.X)), data, random_state)
    position = np.full(data.n_samples, -1)
    position[data.rows] = np.arange(len(data.rows))
    if hasattr(cv, "split_task_data"):
        splits = cv.split_task_data(data, random_state)
    elif hasattr(cv, "split"):
        groups = (data.task,) if wants_groups(cv) else ()
        splits = check_cv(cv).split(data.X, data.y[:, 0], *groups)
    else:
        splits = [
            tuple(position[_rows_within(part, data.n_samples)] for part in pair)
            for pair in cv
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


def wants_groups(cv):
    """Tell whether a splitter splits groups of rows.

    Parameters
    ----------
    cv : splitter
        Of scikit-learn, or one like them.

    Returns
    -------
    wants : bool
        By the metadata it asks for.
    """
    request = get_routing_for_object(cv)
    split = getattr(request, "split", None)
    return split is not None and bool(split.requests.get("groups"))


def _rows_within(rows, n_samples):
    rows = _as_rows(rows)
    if len(rows) and max(rows.max(), -1 - rows.min()) >= n_samples:
        raise ValueError(
            f"cv holds out or trains on row {rows[np.abs(rows).argmax()]}, and X has "
            f"{n_samples} rows: splits that are listed are positions in the X given to "
            "fit, of which a search or a cross-validation passes a part. Pass a "
            "splitter, or a number."
        )
    return rows


def _as_rows(rows):
    rows = np.asarray(rows)
    return rows if rows.size else rows.astype(int)


def _balanced(n_folds, data, random_state):
    if n_folds < 2:
        raise ValueError(
            f"cv={n_folds} is not a number of folds; pass at least 2, or "
            "early_stopping=False to train without validation."
        )
    columns = kinds_of_rows(data)
    fold = balanced_folds(columns, len(data.X), n_folds, random_state)
    folds = [
        (np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)
    ]
    everything = np.arange(len(data.X))
    kept = [(train, valid) for train, valid in folds if len(valid)]
    return kept or [(everything, everything)]


def kinds_of_rows(data):
    """List what folds keep in proportion.

    Parameters
    ----------
    data : TaskData
        The checked data.

    Returns
    -------
    columns : list of ndarray of shape (n_rows,), int
        The task of each row, if it has one; then, for each label column, class codes,
        or 0 for a number, and -1 where the label is missing.
    """
    columns = [] if data.task is None else [data.task]
    for column, classes in zip(data.y.T, data.encoder.classes, strict=True):
        codes = np.nan_to_num(column, nan=-1).astype(int)
        columns.append(codes if classes is not None else -np.isnan(column).astype(int))
    return columns
