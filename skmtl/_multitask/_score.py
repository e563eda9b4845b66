"""Scores of label tables with missing cells."""

import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning

from .._tasks import check_sample_weight, label_columns, missing_cells


def as_they_are(name, column):
    """Leave labels as they are; accuracy compares them."""
    return column


def accuracy(labels, predicted, sample_weight):
    """Compare labels of any type; one that fit did not see counts as wrong."""
    same = labels.astype(object) == predicted.astype(object)
    return np.average(same.astype(float), weights=sample_weight)


def mean_score(estimator, X, y, task, sample_weight, read, metric, min_labels):
    if y is None:
        raise ValueError("score requires y to be passed, but the target y is None")
    names, columns, _ = label_columns(y)
    predicted = estimator.predict(X, task=task)
    if len(predicted) != len(columns[0]):
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"{[len(predicted), len(columns[0])]}"
        )
    predicted = predicted.reshape(len(predicted), -1)
    if predicted.shape[1] != len(columns):
        raise ValueError(
            f"y has {len(columns)} columns, but there are {predicted.shape[1]} tasks."
        )
    weight = check_sample_weight(sample_weight, len(predicted), len(columns), names)
    scores, left_out = [], []
    for j, (name, column) in enumerate(zip(names, columns, strict=True)):
        labels = read(name, column)
        used = ~missing_cells(labels) & (weight[:, j] > 0)
        if used.sum() < min_labels:
            left_out.append(name)
            continue
        scores.append(
            metric(
                labels[used],
                predicted[used, j],
                sample_weight=weight[used, j],
            )
        )
    if left_out:
        few = "no labels" if min_labels == 1 else f"fewer than {min_labels} labels"
        warnings.warn(
            f"{len(left_out)} task(s) have {few} and are left out of the score, the "
            f"first is {left_out[0]!r}.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
    return float(np.mean(scores)) if scores else float("nan")


def mean_d2(estimator, X, y, task, sample_weight):
    raise NotImplementedError
