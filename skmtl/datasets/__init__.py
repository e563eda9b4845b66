"""Data with known answers: related targets, groups of tasks, sinusoids."""

from ._classification import make_multitask_classification
from ._regression import make_multitask_regression
from ._sinusoids import make_sinusoid_tasks

__all__ = [
    "make_multitask_classification",
    "make_multitask_regression",
    "make_sinusoid_tasks",
]
