"""Multi-task learning and meta-learning for people who live in scikit-learn."""

from ._adapt import Adapted, adapt
from ._multitask import MixedTaskNet, MultiTaskNetClassifier, MultiTaskNetRegressor
from .meta import (
    MAMLClassifier,
    MAMLRegressor,
    MetaRidgeClassifier,
    MetaRidgeRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    SiameseClassifier,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "Adapted",
    "MAMLClassifier",
    "MAMLRegressor",
    "MetaRidgeClassifier",
    "MetaRidgeRegressor",
    "MixedTaskNet",
    "MultiTaskNetClassifier",
    "MultiTaskNetRegressor",
    "PrototypicalClassifier",
    "ReptileClassifier",
    "ReptileRegressor",
    "SiameseClassifier",
    "adapt",
]
