"""Meta-learning: fit on many tasks, adapt to a new one from a few rows."""

from ._maml import MAMLClassifier, MAMLRegressor
from ._meta_ridge import MetaRidgeClassifier, MetaRidgeRegressor
from ._prototypical import PrototypicalClassifier
from ._reptile import ReptileClassifier, ReptileRegressor
from ._siamese import SiameseClassifier

__all__ = [
    "MAMLClassifier",
    "MAMLRegressor",
    "MetaRidgeClassifier",
    "MetaRidgeRegressor",
    "PrototypicalClassifier",
    "ReptileClassifier",
    "ReptileRegressor",
    "SiameseClassifier",
]
