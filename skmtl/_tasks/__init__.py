"""Tasks: labels, missing values, task ids and weights. Nothing else knows of them."""

from ._balance import balanced_folds, grouped_folds
from ._data import (
    TaskData,
    check_ids,
    check_rows,
    check_task_data,
    distinct_ids,
    task_ids,
)
from ._encoder import TaskEncoder
from ._folds import kinds_of_rows, validation_folds
from ._labels import as_array, class_labels, label_columns, missing_cells, number_labels
from ._weights import check_sample_weight, check_task_weights

__all__ = [
    "TaskData",
    "TaskEncoder",
    "as_array",
    "balanced_folds",
    "check_ids",
    "check_rows",
    "check_sample_weight",
    "check_task_data",
    "check_task_weights",
    "class_labels",
    "distinct_ids",
    "grouped_folds",
    "kinds_of_rows",
    "label_columns",
    "missing_cells",
    "number_labels",
    "task_ids",
    "validation_folds",
]
