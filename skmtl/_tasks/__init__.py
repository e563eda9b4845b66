"""Tasks: labels, missing values, task ids and weights. Nothing else knows of them."""

from ._class_weights import check_class_weight
from ._column import fill_task_column, without_task_column
from ._data import TaskData, check_rows, check_task_data, encode_columns
from ._encoder import TaskEncoder
from ._folds import validation_folds
from ._kinds import task_kinds
from ._labels import (
    class_labels,
    frame_library,
    label_columns,
    missing_cells,
    number_labels,
)
from ._transforms import target_transforms
from ._weights import check_sample_weight, check_task_weights

__all__ = [
    "TaskData",
    "TaskEncoder",
    "check_class_weight",
    "check_rows",
    "check_sample_weight",
    "check_task_data",
    "check_task_weights",
    "class_labels",
    "encode_columns",
    "fill_task_column",
    "frame_library",
    "label_columns",
    "missing_cells",
    "number_labels",
    "target_transforms",
    "task_kinds",
    "validation_folds",
    "without_task_column",
]
