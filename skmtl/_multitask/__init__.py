"""Multi-task networks for tables."""

from ._classifier import MultiTaskNetClassifier
from ._regressor import MultiTaskNetRegressor

__all__ = ["MultiTaskNetClassifier", "MultiTaskNetRegressor"]
