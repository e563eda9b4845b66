"""Choices for ``weighting=``: how the tasks' gradients are combined."""

from ._base import Weighting, WeightingModule
from ._equal import Equal
from ._pcgrad import PCGrad
from ._uncertainty import Uncertainty

__all__ = ["Equal", "PCGrad", "Uncertainty", "Weighting", "WeightingModule"]
