"""Multi-task networks for tables."""

from ._classifier import MultiTaskNetClassifier
from ._mixed import MixedTaskNet
from ._regressor import MultiTaskNetRegressor

__all__ = ["MixedTaskNet", "MultiTaskNetClassifier", "MultiTaskNetRegressor"]
