"""Scores of several tasks: missing labels are skipped, each task counts alike."""

from ._gain import gain_over_single_task
from ._labels import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
)
from ._names import get_scorer, get_scorer_names
from ._numbers import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_pinball_loss,
    r2_score,
    root_mean_squared_error,
)
from ._per_task import per_task_scores
from ._probabilities import (
    average_precision_score,
    d2_log_loss_score,
    d2_score,
    expected_calibration_error,
    log_loss,
    roc_auc_score,
)
from ._scorer import TaskScorer

__all__ = [
    "TaskScorer",
    "accuracy_score",
    "average_precision_score",
    "balanced_accuracy_score",
    "d2_log_loss_score",
    "d2_score",
    "expected_calibration_error",
    "f1_score",
    "gain_over_single_task",
    "get_scorer",
    "get_scorer_names",
    "log_loss",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_pinball_loss",
    "per_task_scores",
    "precision_score",
    "r2_score",
    "recall_score",
    "roc_auc_score",
    "root_mean_squared_error",
]
