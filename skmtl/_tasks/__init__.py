"""Tasks: labels, missing values, task ids and weights. Nothing else knows of them."""

from ._data import TaskData, check_rows, check_task_data
from ._encoder import TaskEncoder
from ._folds import validation_folds
from ._labels import class_labels, label_columns, missing_cells, number_labels
from ._reader import TableReader
from ._weights import check_sample_weight, check_task_weights

__all__ = [
    "TableReader",
    "TaskData",
    "TaskEncoder",
    "check_rows",
    "check_sample_weight",
    "check_task_data",
    "check_task_weights",
    "class_labels",
    "label_columns",
    "missing_cells",
    "number_labels",
    "validation_folds",
]
