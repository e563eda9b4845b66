"""Tasks: labels, missing values, task ids and weights. Nothing else knows of them."""

from ._data import TaskData, check_rows, check_task_data
from ._encoder import TaskEncoder
from ._folds import validation_folds
from ._labels import class_labels, label_columns, missing_cells, number_labels
from ._more_data import check_more_data, given_classes
from ._weights import check_sample_weight, check_task_weights

__all__ = [
    "TaskData",
    "TaskEncoder",
    "check_more_data",
    "check_rows",
    "check_sample_weight",
    "check_task_data",
    "check_task_weights",
    "class_labels",
    "given_classes",
    "label_columns",
    "missing_cells",
    "number_labels",
    "validation_folds",
]
