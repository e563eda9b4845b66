"""Multi-task learning and meta-learning for people who live in scikit-learn."""

from ._adapt import Adapted, adapt
from ._multitask import MixedTaskNet, MultiTaskNetClassifier, MultiTaskNetRegressor

__version__ = "0.1.0.dev0"

__all__ = [
    "Adapted",
    "MixedTaskNet",
    "MultiTaskNetClassifier",
    "MultiTaskNetRegressor",
    "adapt",
]
