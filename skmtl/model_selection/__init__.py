"""Cross-validation and search where labels may be missing and rows have tasks."""

from ._cross_val_predict import cross_val_predict
from ._task_kfold import TaskKFold
from ._task_weights import TaskWeights, task_weight_grid

__all__ = ["TaskKFold", "TaskWeights", "cross_val_predict", "task_weight_grid"]
