"""Putting predictions of folds together."""

from typing import NamedTuple

import numpy as np

from .._tasks import class_labels, frame_library, label_columns

# What a fold says of a class that its training rows lack.
_ABSENT = {"predict_proba": 0.0, "predict_log_proba": -np.inf}


class Fold(NamedTuple):
    """What one fitted estimator predicts.

    Parameters
    ----------
    test : ndarray of int
        The rows predicted.
    predictions : ndarray, list, dict or DataFrame
        In the form of the estimator.
    classes : ndarray, list, dict or None
        The classes that columns of `predictions` belong to.
    names : sequence or None
        Names of the tasks, for predictions that come by name.
    """

    test: np.ndarray
    predictions: object
    classes: object
    names: object


def put_together(folds, X, y, n_samples, method):
    """Put the predictions of folds into the order of the rows.

    Parameters
    ----------
    folds : list of Fold
        Predictions of rows that do not overlap.
    X, y : array-like
        The table and the labels.
    n_samples : int
        Number of rows.
    method : str
        The method that predicted.

    Returns
    -------
    predictions : ndarray, list of ndarray, dict of ndarray or DataFrame
        In the form of the folds' predictions.

    Raises
    ------
    ValueError
        If columns cannot be told apart where a training set lacks a class.
    """
    place = np.full(n_samples, -1)
    tests = np.concatenate([fold.test for fold in folds])
    place[tests] = np.arange(len(tests))
    first = folds[0].predictions
    names, columns, _ = label_columns(y)
    if isinstance(first, dict):
        labels = {name: columns[names.index(name)] for name in first}
    elif isinstance(first, list):
        labels = dict(enumerate(columns))
    else:
        parts = [fold.predictions for fold in folds]
        classes = [fold.classes for fold in folds]
        label = columns[0] if len(columns) == 1 else None
        return _one_output(parts, classes, label, X, place, method)
    outputs = {
        key: _one_output(
            [fold.predictions[key] for fold in folds],
            [_classes_of(fold, key) for fold in folds],
            label,
            X,
            place,
            method,
        )
        for key, label in labels.items()
    }
    return outputs if isinstance(first, dict) else list(outputs.values())


def _classes_of(fold, key):
    """Find the classes of one output: a list or a dict holds them, in its way."""
    if fold.classes is None or isinstance(fold.classes, dict):
        return None if fold.classes is None else fold.classes[key]
    by_name = isinstance(fold.predictions, dict)
    return fold.classes[list(fold.names).index(key) if by_name else key]


def _one_output(parts, classes, label, X, place, method):
    """Put the predictions of one output, or of all in one array, in order."""
    if label is not None and method != "predict" and _one_array(classes):
        parts = _aligned(parts, classes, label, method)
    library = frame_library(parts[0])
    if library == "pandas":
        return _ordered_frame(parts, X, place)
    if library == "polars":
        return _ordered_polars_frame(parts, place)
    return _ordered(np.concatenate(parts), place)


def _one_array(classes):
    """Whether columns of predictions belong to classes of one task."""
    return all(isinstance(own, np.ndarray) for own in classes)


def _aligned(parts, classes, y, method):
    """Give every part a column for every class of y."""
    everything = class_labels("y", y)[1]
    everything = np.unique(np.concatenate([everything, *classes]))
    if all(len(own) == len(everything) for own in classes):
        return parts
    if method not in _ABSENT:
        raise ValueError(
            f"A training set of cv lacks some of the classes {everything.tolist()}, "
            f"for which {method} has no value. Pass cv=TaskKFold(), fewer splits, or "
            "method='predict_proba'."
        )
    aligned = []
    for part, own in zip(parts, classes, strict=True):
        full = np.full((len(part), len(everything)), _ABSENT[method], part.dtype)
        full[:, np.searchsorted(everything, own)] = part
        aligned.append(full)
    return aligned


def _ordered(values, place):
    """Put values in the order of the rows; rows without one have a missing value."""
    if (place >= 0).all():
        return values[place]
    if values.dtype.kind in "iu":
        values = values.astype(float)
    elif values.dtype.kind != "f":
        values = values.astype(object)
    ordered = values[place]
    ordered[place < 0] = np.nan if values.dtype.kind == "f" else None
    return ordered


def _ordered_frame(parts, X, place):
    import pandas as pd

    frame = pd.concat(parts, ignore_index=True)
    ordered = frame.reindex(place)
    ordered.index = X.index if hasattr(X, "iloc") else range(len(place))
    return ordered


def _ordered_polars_frame(parts, place):
    import polars as pl

    rows = pl.Series([int(row) if row >= 0 else None for row in place])
    return pl.concat(parts).select(pl.all().gather(rows))
