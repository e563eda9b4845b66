"""Weights of tasks and of rows."""

import numpy as np


def check_sample_weight(sample_weight, n_samples, n_columns, names, *, every_task=True):
    """Bring sample weights into one form.

    Parameters
    ----------
    sample_weight : None, array-like of shape (n_samples,) or (n_samples, n_columns)
        Weights of rows, or of cells when y has several columns.
    n_samples, n_columns : int
        Shape of the label table.
    names : list, length n_columns
        Column names, for messages.
    every_task : bool, default=True
        Whether a column without weight is an error; scores leave it out instead.

    Returns
    -------
    weight : ndarray of shape (n_samples, n_columns), float64
        Weight of every cell.

    Raises
    ------
    ValueError
        If the shape is wrong, a weight is negative or not finite, or all weights of a
        column are zero.
    """
    if sample_weight is None:
        return np.ones((n_samples, n_columns))
    weight = np.asarray(sample_weight)
    if weight.dtype.kind not in "biuf":
        weight = weight.astype(np.float64)
    if weight.ndim == 0:
        weight = np.full(n_samples, weight)
    cells = n_columns > 1 and weight.shape == (n_samples, n_columns)
    if weight.shape != (n_samples,) and not cells:
        wanted = f"({n_samples},)"
        if n_columns > 1:
            wanted += f" or ({n_samples}, {n_columns})"
        raise ValueError(
            f"sample_weight.shape == {weight.shape}, expected {wanted}: one weight a "
            "row" + (", or one a cell of y." if n_columns > 1 else ".")
        )
    if not np.isfinite(weight).all():
        raise ValueError("Input sample_weight contains NaN or infinity.")
    if (weight < 0).any():
        raise ValueError(
            "Negative values in data passed to `sample_weight`: the smallest is "
            f"{weight.min():g}. Weights must be zero or more."
        )
    weight = np.broadcast_to(weight.reshape(n_samples, -1), (n_samples, n_columns))
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    empty = [name for name, w in zip(names, weight.T, strict=True) if not w.any()]
    if empty and every_task:
        raise ValueError(
            f"Task {empty[0]!r} has only zero in sample_weight. Every task needs a row "
            "with weight; drop the column, or weigh some of its rows."
        )
    return weight.astype(np.float64)


def weighted_labels(labels, sample_weight, names):
    """Weigh the cells of a label table; a cell of weight 0 is a missing label.

    Parameters
    ----------
    labels : ndarray of shape (n_samples, n_columns)
        NaN where a label is missing.
    sample_weight : None, array-like of shape (n_samples,) or (n_samples, n_columns)
        Weights of rows or of cells.
    names : list, length n_columns
        Column names, for messages.

    Returns
    -------
    labels : ndarray of shape (n_samples, n_columns)
        NaN where there is no weight.
    weight : ndarray of shape (n_samples, n_columns)
        0 where there is no label.
    """
    weight = check_sample_weight(sample_weight, *labels.shape, names)
    weight = np.where(np.isnan(labels), 0.0, weight)
    return np.where(weight > 0, labels, np.nan), weight


def check_task_weights(task_weights, names, sizes, row_tasks):
    """Turn ``task_weights`` into numbers that sum to the number of tasks.

    Parameters
    ----------
    task_weights : None, "balanced", dict, array-like of shape (n_tasks,), (1, n_tasks)
        As given to the estimator. None counts column tasks alike and row tasks by
        their size; "balanced" counts all alike. A dict may leave tasks out; they count
        1 before normalising.
    names : sequence, length n_tasks
        Task names.
    sizes : ndarray of shape (n_tasks,)
        Labelled weight of each task.
    row_tasks : bool
        Whether the tasks are row tasks.

    Returns
    -------
    weights : ndarray of shape (n_tasks,)
        Positive or zero, with sum n_tasks.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, all are zero, the length is wrong, or a
        name is unknown.
    """
    names = list(names)
    if task_weights is None:
        weights = np.array(sizes, float) if row_tasks else np.ones(len(names))
    elif isinstance(task_weights, str):
        weights = np.ones(len(names))
    elif isinstance(task_weights, dict):
        unknown = [name for name in task_weights if name not in names]
        if unknown:
            raise ValueError(
                f"task_weights names {unknown[0]!r}, which is not a task. The tasks "
                f"are {_few(names)}."
            )
        weights = np.array([task_weights.get(name, 1.0) for name in names], float)
    else:
        weights = np.asarray(task_weights, dtype=float)
        if weights.shape not in ((len(names),), (1, len(names))):
            raise ValueError(
                f"task_weights has shape {weights.shape}, but there are {len(names)} "
                f"tasks: {_few(names)}. Pass one weight a task, or a dict by name."
            )
        weights = weights.ravel()
    if not np.isfinite(weights).all() or (weights < 0).any():
        bad = next(i for i, w in enumerate(weights) if not (np.isfinite(w) and w >= 0))
        raise ValueError(
            f"The weight of task {names[bad]!r} in task_weights is {weights[bad]:g}; "
            "weights must be finite and zero or more."
        )
    if not weights.any():
        raise ValueError("task_weights are all zero; at least one task must count.")
    return weights * (len(names) / weights.sum())


def _few(names):
    shown = ", ".join(repr(name) for name in names[:10])
    return shown + (", ..." if len(names) > 10 else "")
