"""Cross-validation and search where labels may be missing and rows have tasks."""

from ._adaptation_curve import AdaptationCurveDisplay
from ._cross_val_predict import cross_val_predict
from ._few_shot_result import FewShotResult
from ._few_shot_scorer import make_few_shot_scorer
from ._few_shot_validate import few_shot_validate
from ._fused_search import FusedGridSearchCV, FusedRandomizedSearchCV
from ._task_kfold import TaskKFold
from ._task_weights import TaskWeights, task_weight_grid

__all__ = [
    "AdaptationCurveDisplay",
    "FewShotResult",
    "FusedGridSearchCV",
    "FusedRandomizedSearchCV",
    "TaskKFold",
    "TaskWeights",
    "cross_val_predict",
    "few_shot_validate",
    "make_few_shot_scorer",
    "task_weight_grid",
]
