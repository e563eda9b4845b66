"""Choices for ``loss=``: what one cell of the label table costs."""

from ._absolute_error import AbsoluteError
from ._base import Loss
from ._cross_entropy import CrossEntropy
from ._focal import Focal
from ._gamma import Gamma
from ._huber import Huber
from ._poisson import Poisson
from ._quantile import Quantile
from ._resolve import aliases, by_alias, resolve
from ._squared_error import SquaredError

__all__ = [
    "AbsoluteError",
    "CrossEntropy",
    "Focal",
    "Gamma",
    "Huber",
    "Loss",
    "Poisson",
    "Quantile",
    "SquaredError",
    "aliases",
    "by_alias",
    "resolve",
]
