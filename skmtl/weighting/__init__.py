"""Choices for ``weighting=``: how the tasks' gradients are combined."""

from ._base import Weighting, WeightingModule
from ._equal import Equal
from ._gramian import GramianModule, GramianWeighting
from ._head_rates import HeadRates
from ._pcgrad import PCGrad
from ._uncertainty import Uncertainty

__all__ = [
    "Equal",
    "GramianModule",
    "GramianWeighting",
    "HeadRates",
    "PCGrad",
    "Uncertainty",
    "Weighting",
    "WeightingModule",
]
