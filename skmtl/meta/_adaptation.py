"""Rows of new tasks, checked and brought into the form of those of fit."""

from dataclasses import replace

import numpy as np
from sklearn.utils.validation import check_consistent_length

from .._tasks import (
    TaskData,
    TaskEncoder,
    check_rows,
    distinct_ids,
    drop_unused_classes,
    encode_columns,
    encode_known,
    fill_task_column,
    frame_library,
    label_columns,
    lacks_task_column,
    weighted_labels,
)
from ._rows import ANONYMOUS


def adapted_tasks(estimator, X, y, task, sample_weight):
    """Check the rows of new tasks, and join them to those of an earlier adaptation.

    Parameters
    ----------
    estimator : estimator
        Fitted or adapted.
    X : array-like of shape (n_samples, n_features)
        Their table.
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        Their labels.
    task : array-like of shape (n_samples,) or None
        Their ids.
    sample_weight : array-like of shape (n_samples,) or None
        Their weights.

    Returns
    -------
    data : TaskData
        All rows.
    adapted_to : object
        The id of a single task, `ANONYMOUS` when it has none; None for several tasks
        or columns.

    Raises
    ------
    ValueError
        If the data is malformed; the message names the task or the column.
    """
    known = estimator._known
    if task is None and lacks_task_column(estimator, X):
        some = estimator.task_names_.tolist()[0]
        table, _ = check_rows(estimator, fill_task_column(estimator, X, some))
        ids = None
    else:
        table, ids = check_rows(estimator, X, task)
    if y is None:
        raise ValueError("adapt needs labels: y is None.")
    names, columns, ndim = label_columns(y)
    check_consistent_length(table, columns[0])
    if known.by_column and ids is not None:
        raise ValueError(
            f"{type(estimator).__name__} was fitted without row tasks, but adapt got "
            "task. New columns of y are its new tasks; leave task out."
        )
    read = _new_columns if known.by_column or known.novel else _known_columns
    data = read(estimator, y, names, columns, ndim, table, sample_weight)
    before = estimator._known.data if estimator._is_adapted else None
    if known.by_column:
        return (
            data if before is None else _more_columns(estimator, before, data)
        ), None
    ids = None if ids is None else ids[data.rows]
    if before is None:
        return _by_id(data, ids)
    return _more_rows(estimator, before, data, ids)


def _known_columns(estimator, y, names, columns, ndim, table, sample_weight):
    """Read labels in the codes and scales of fit."""
    before = estimator._known.data
    encoder = before.encoder
    if len(names) != len(before.column_names):
        raise ValueError(
            f"y has {len(names)} column(s), and fit had {len(before.column_names)}: "
            f"{before.column_names}. Pass the same ones; labels may be missing."
        )
    try:
        labels = encode_known(before.column_names, columns, encoder.classes)
    except ValueError as error:
        if "did not have before" not in str(error):
            raise
        raise ValueError(
            f"{error} The tasks of this {type(estimator).__name__} share their "
            "classes; for tasks with classes of their own fit it with n_way."
        ) from error
    labels, weight = weighted_labels(labels, sample_weight, before.column_names)
    encoder.check(labels, estimator.net_.blueprint.losses)
    return _data(before, labels, weight, encoder, table)


def _new_columns(estimator, y, names, columns, ndim, table, sample_weight):
    """Read labels of new columns, or of new classes."""
    before = estimator._known.data
    kinds = [estimator._kind] * len(names)
    if not estimator._known.by_column and len(names) > 1:
        raise ValueError(f"y has {len(names)} columns; pass the one of the classes.")
    labels, classes = encode_columns(names, columns, kinds)
    labels, weight = weighted_labels(labels, sample_weight, names)
    labels, classes = drop_unused_classes(labels, classes, weight)
    encoder = TaskEncoder(names, classes, ndim, frame_library(y))
    before = replace(before, column_names=names, task_names=names)
    data = _data(before, labels, weight, encoder, table)
    # Rows that join others may lack classes and labels that those have.
    return data if estimator._is_adapted else _scaled(estimator, data)


def _scaled(estimator, data):
    """Scale new columns by their own labels, and refuse classes that do not fit."""
    encoder = data.encoder
    empty = np.flatnonzero(~data.weight.any(axis=0))
    if len(empty):
        raise ValueError(
            f"Task {data.column_names[empty[0]]!r} has no labels in y; adapt needs at "
            "least one."
        )
    if estimator._known.novel:
        for name, classes in zip(data.column_names, encoder.classes, strict=True):
            if len(classes) < 2:
                raise ValueError(
                    f"The support of task {name!r} has a single class, "
                    f"{classes.tolist()[0]!r}. Pass rows of the classes that are to be "
                    "told apart, at least two."
                )
    losses = [estimator.net_.blueprint.losses[0]] * len(data.column_names)
    encoder.fit(data.y, data.weight, losses)
    return data


def _data(before, labels, weight, encoder, table):
    rows = np.flatnonzero(weight.any(axis=1))
    if not len(rows):
        raise ValueError(
            "Found 0 rows with a label and a positive weight; adapt needs at least one."
        )
    return TaskData(
        table[rows],
        labels[rows],
        weight[rows],
        None,
        before.task_names,
        before.column_names,
        encoder,
        rows,
        len(table),
        before.input_shape,
        before.reader,
    )


def _by_id(data, ids):
    """Say which row is of which task."""
    if ids is None:
        one = np.zeros(len(data.y), int)
        return replace(data, task=one, task_names=[repr(ANONYMOUS)]), ANONYMOUS
    names, codes = distinct_ids(ids)
    single = names[0] if len(names) == 1 else None
    return replace(data, task=codes, task_names=names), single


def _more_rows(estimator, before, data, ids):
    """Join rows to those of an earlier adaptation, task by task."""
    to = estimator._adapted_to
    if to is None and ids is None:
        raise ValueError(
            f"This {type(estimator).__name__} is adapted to {len(before.task_names)} "
            "tasks; pass the task of each row, as in the adaptation before."
        )
    if estimator._known.novel:
        data, before = _with_common_classes(data, before)
    joined = replace(
        before,
        X=np.concatenate([before.X, data.X]),
        y=np.concatenate([before.y, data.y]),
        weight=np.concatenate([before.weight, data.weight]),
        rows=np.concatenate([before.rows, before.n_samples + data.rows]),
        n_samples=before.n_samples + data.n_samples,
    )
    old = np.array(before.task_names)[before.task]
    if ids is None or to is ANONYMOUS:
        # Rows without an id are of the one task there is.
        if ids is not None and len(set(ids.tolist())) > 1:
            raise ValueError(
                f"This {type(estimator).__name__} is adapted to one task without an "
                f"id, and is given rows of {len(set(ids.tolist()))}. Adapt the "
                "estimator it comes from to them."
            )
        name = to if ids is None else ids.tolist()[0]
        if name is ANONYMOUS:
            return _by_id(joined, None)
        return _by_id(joined, np.full(len(joined.y), name))
    return _by_id(joined, np.concatenate([old, ids]))


def _with_common_classes(data, before):
    """Bring the class codes of two sets of rows together."""
    known = [before.encoder.classes[0], data.encoder.classes[0]]
    classes = np.unique(np.concatenate(known))
    encoder = TaskEncoder(
        before.column_names, [classes], data.encoder.ndim, data.encoder.frame
    )
    parts = []
    for part, own in zip((data, before), reversed(known), strict=True):
        codes = np.searchsorted(classes, own)[part.y.astype(int)]
        parts.append(replace(part, y=codes.astype(float), encoder=encoder))
    return parts


def _more_columns(estimator, before, data):
    """Join the labels of columns to those of an earlier adaptation."""
    if data.column_names != before.column_names:
        raise ValueError(
            f"y has the columns {data.column_names[:10]}, and this "
            f"{type(estimator).__name__} is adapted to {before.column_names[:10]}. "
            "Pass the same ones; labels may be missing."
        )
    columns, classes = [], []
    for j, (old, new) in enumerate(
        zip(before.encoder.classes, data.encoder.classes, strict=True)
    ):
        column = [before.y[:, j], data.y[:, j]]
        both = None
        if old is not None:
            both = np.unique(np.concatenate([old, new]))
            column = [
                _recoded(codes, np.searchsorted(both, own))
                for codes, own in zip(column, (old, new), strict=True)
            ]
        columns.append(np.concatenate(column))
        classes.append(both)
    encoder = data.encoder
    encoder = TaskEncoder(encoder.names, classes, encoder.ndim, encoder.frame)
    joined = replace(
        before,
        X=np.concatenate([before.X, data.X]),
        y=np.stack(columns, axis=1),
        weight=np.concatenate([before.weight, data.weight]),
        encoder=encoder,
        rows=np.concatenate([before.rows, before.n_samples + data.rows]),
        n_samples=before.n_samples + data.n_samples,
    )
    return _scaled(estimator, joined)


def _recoded(codes, positions):
    """Replace class codes, and keep missing ones."""
    labelled = ~np.isnan(codes)
    found = np.full(len(codes), np.nan)
    found[labelled] = positions[codes[labelled].astype(int)]
    return found
