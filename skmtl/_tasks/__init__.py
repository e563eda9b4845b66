"""Tasks: labels, missing values, task ids and weights. Nothing else knows of them."""

from ._balance import balanced_folds, grouped_folds
from ._class_weights import check_class_weight
from ._column import fill_task_column, lacks_task_column, without_task_column
from ._data import TaskData, check_task_data, drop_unused_classes, encode_columns
from ._encoder import TaskEncoder
from ._folds import kinds_of_rows, validation_folds
from ._ids import check_ids, distinct_ids, task_ids
from ._kinds import task_kinds
from ._kinds_of_labels import kinds_of_labels, mean_ranks
from ._labels import (
    as_array,
    class_labels,
    frame_library,
    label_columns,
    missing_cells,
    number_labels,
)
from ._more_data import (
    check_more_data,
    encode_known,
    given_classes,
    given_classes_by_name,
)
from ._pool import TaskPool
from ._reader import TableReader
from ._rows import check_rows
from ._shared_rows import SharedRows
from ._transforms import target_transforms
from ._weights import check_sample_weight, check_task_weights, weighted_labels

__all__ = [
    "SharedRows",
    "TableReader",
    "TaskData",
    "TaskEncoder",
    "TaskPool",
    "as_array",
    "balanced_folds",
    "check_class_weight",
    "check_ids",
    "check_more_data",
    "check_rows",
    "check_sample_weight",
    "check_task_data",
    "check_task_weights",
    "class_labels",
    "distinct_ids",
    "drop_unused_classes",
    "encode_columns",
    "encode_known",
    "fill_task_column",
    "frame_library",
    "given_classes",
    "given_classes_by_name",
    "grouped_folds",
    "kinds_of_labels",
    "kinds_of_rows",
    "label_columns",
    "lacks_task_column",
    "mean_ranks",
    "missing_cells",
    "number_labels",
    "target_transforms",
    "task_ids",
    "task_kinds",
    "validation_folds",
    "weighted_labels",
    "without_task_column",
]
