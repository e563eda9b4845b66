"""More data for tasks that are known already."""

import numpy as np
from sklearn.utils.validation import check_consistent_length

from ._data import TaskData, check_every_task_labelled
from ._encoder import TaskEncoder
from ._ids import distinct_ids
from ._kinds import task_kinds
from ._labels import (
    as_array,
    class_labels,
    frame_library,
    label_columns,
    number_labels,
)
from ._reader import TableReader
from ._rows import check_rows
from ._weights import weighted_labels


def check_more_data(
    estimator, X, y, task=None, sample_weight=None, *, encoder, names=None
):
    """Check data of which classes, and mostly tasks and columns, are known.

    Parameters
    ----------
    estimator : estimator
        Its ``task_column`` is read; names and number of features are compared.
    X : array-like of shape (n_samples, n_features)
        The table, with the columns that fit saw.
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        Labels. Classes of fit may be absent.
    task : array-like of shape (n_samples,), optional
        Row-task ids; tasks of fit may be absent.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_columns), optional
        Weights.
    encoder : TaskEncoder
        Classes and target scales, which stay.
    names : tuple of (list, list or None), optional
        Names of the label columns, and the ids of the row tasks. Without it this is the
        first data: names and number of features are set, every task needs a label.

    Returns
    -------
    data : TaskData
        In the codes of `encoder`.

    Raises
    ------
    ValueError
        If the columns, the tasks or the classes are others; the message names them.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is "
            "None"
        )
    first = names is None
    reader = TableReader() if first else estimator._reader
    table, ids = check_rows(
        estimator,
        X,
        task,
        reset=first,
        min_samples=2 if first else 1,
        reader=reader,
    )
    known, columns, _ = label_columns(y)
    check_consistent_length(table, columns[0])
    if not first:
        known, task_names = names
        check_row_tasks(estimator, ids, task_names is not None)
        _check_columns(y, known, task_names, encoder)
    labels = encode_known(known, columns, encoder.classes)
    labels, weight = weighted_labels(labels, sample_weight, known)
    if first:
        check_every_task_labelled(known, weight, ids)
    else:
        encoder.check(labels, estimator.net_.blueprint.losses)
    rows = np.flatnonzero(weight.any(axis=1))
    if not len(rows):
        raise ValueError(
            "Found 0 samples with a label and a positive weight; there is nothing to "
            "learn from."
        )
    codes, tasks = None, known
    if ids is not None:
        tasks, codes = distinct_ids(ids[rows]) if first else (task_names, None)
        codes = _known_tasks(ids[rows], tasks) if codes is None else codes
    return TaskData(
        table[rows],
        labels[rows],
        weight[rows],
        codes,
        tasks,
        known,
        encoder,
        rows,
        len(table),
        estimator._input_shape,
        reader,
    )


def check_row_tasks(estimator, ids, row_tasks):
    """Refuse rows with ids where fit had none, and the other way round.

    Parameters
    ----------
    estimator : estimator
        Named in the message.
    ids : ndarray or None
        Found.
    row_tasks : bool
        Whether fit had row tasks.

    Raises
    ------
    ValueError
        If it does not fit together.
    """
    if (ids is not None) == row_tasks:
        return
    now, before = ("row tasks", "none") if ids is not None else ("none", "row tasks")
    raise ValueError(
        f"{type(estimator).__name__} was fitted with {before} and is given {now} now. "
        "Pass task, or task_column, as before; or fit with warm_start=False."
    )


def given_classes(classes, y):
    """Read the argument ``classes`` of partial_fit.

    Parameters
    ----------
    classes : array-like of shape (n_classes,), list of array-like or dict
        Classes of the only column of y, or of each column, in order or by name.
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        Labels.

    Returns
    -------
    encoder : TaskEncoder
        With the classes, sorted, of every column.

    Raises
    ------
    ValueError
        If there is not one set of classes a column, or one is empty.
    """
    names, _, ndim = label_columns(y)
    if isinstance(classes, dict):
        other = set(classes) ^ set(names)
        if other:
            raise ValueError(
                f"classes names {sorted(map(str, classes))[:10]}, and the tasks are "
                f"{names[:10]}. Pass the classes of every task."
            )
        classes = [classes[name] for name in names]
    several = len(classes) > 0 and np.ndim(classes[0]) > 0
    sets = list(classes) if several else [classes]
    if len(sets) != len(names):
        raise ValueError(
            f"classes has the classes of {len(sets)} column(s), and y has "
            f"{len(names)}. Pass a list with one array of classes a column."
        )
    for name, one in zip(names, sets, strict=True):
        if not len(one):
            raise ValueError(f"classes is empty for task {name!r}.")
    return TaskEncoder(names, [np.unique(as_array(one)) for one in sets], ndim)


def given_classes_by_name(classes, y, task_types):
    """Read the argument ``classes`` of partial_fit where some tasks are numbers.

    Parameters
    ----------
    classes : dict or None
        Classes, array-like of shape (n_classes,), by the name of the class tasks.
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        Labels.
    task_types : "auto", list or dict
        What the labels are.

    Returns
    -------
    encoder : TaskEncoder
        With the classes, sorted, of the class tasks.

    Raises
    ------
    ValueError
        If the class tasks are not the names in `classes`.
    """
    names, columns, ndim = label_columns(y)
    kinds = task_kinds(y, names, columns, task_types)
    wanted = [n for n, kind in zip(names, kinds, strict=True) if kind == "class"]
    classes = {} if classes is None else classes
    if not isinstance(classes, dict) or set(classes) != set(wanted):
        raise ValueError(
            "classes must be passed on the first call to partial_fit: a dict with the "
            f"classes of each class task, {wanted}; got {classes!r}."
        )
    sets = [np.unique(as_array(classes[n])) if n in classes else None for n in names]
    return TaskEncoder(names, sets, ndim, frame_library(y))


def encode_known(names, columns, classes):
    """Read label columns whose classes are known.

    Parameters
    ----------
    names : list, length n_columns
        For messages.
    columns : list of ndarray of shape (n_samples,)
        Labels.
    classes : list of (ndarray or None), length n_columns
        None for numbers.

    Returns
    -------
    labels : ndarray of shape (n_samples, n_columns), float64
        Numbers and class codes, NaN where missing.
    """
    labels = [
        number_labels(name, column)
        if known is None
        else class_labels(name, column, known)[0]
        for name, column, known in zip(names, columns, classes, strict=True)
    ]
    return np.stack(labels, axis=1)


def _check_columns(y, known, task_names, encoder):
    names, _, ndim = label_columns(y)
    if ndim != encoder.ndim or len(names) != len(known):
        raise ValueError(
            f"y has {len(names)} column(s) in {ndim} dimension(s) and had {len(known)} "
            f"in {encoder.ndim}. The tasks have to be those of the fit before: {known}."
        )
    if not hasattr(y, "columns") or task_names is not None:
        return
    given, wanted = [str(n) for n in names], [str(n) for n in known]
    if given != wanted and not all(isinstance(n, int) for n in known):
        others = [name for name in given if name not in wanted] or given
        raise ValueError(
            f"y has the columns {given[:20]}, and the tasks of the fit before are "
            f"{wanted[:20]}; {others[0]!r} does not stand there. Pass the same columns "
            "in the same order."
        )


def _known_tasks(ids, task_names):
    position = {name: code for code, name in enumerate(task_names)}
    new = sorted({i for i in ids.tolist() if i not in position}, key=str)
    if new:
        raise ValueError(
            f"task has {len(new)} id(s) that the fit before did not see: "
            f"{', '.join(repr(i) for i in new[:5])}. Heads exist for the tasks of the "
            "first fit only; fit anew with all tasks, or adapt to the new ones."
        )
    return np.array([position[i] for i in ids.tolist()], int)
