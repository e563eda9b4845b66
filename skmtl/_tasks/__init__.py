"""Tasks: labels, missing values, task ids and weights. Nothing else knows of them."""

from ._column import fill_task_column, without_task_column
from ._data import TaskData, check_rows, check_task_data
from ._encoder import TaskEncoder
from ._folds import validation_folds
from ._labels import class_labels, label_columns, missing_cells, number_labels
from ._weights import check_sample_weight, check_task_weights

__all__ = [
    "TaskData",
    "TaskEncoder",
    "check_rows",
    "check_sample_weight",
    "check_task_data",
    "check_task_weights",
    "class_labels",
    "fill_task_column",
    "label_columns",
    "missing_cells",
    "number_labels",
    "validation_folds",
    "without_task_column",
]
