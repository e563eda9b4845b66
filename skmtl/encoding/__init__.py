"""Choices for ``encoding=``: from the columns of a table to the inputs of a network."""

from .._encoder_bank import EncodedColumns, EncoderBank, Waves
from ._auto import Auto
from ._base import Encoding
from ._periodic import Periodic
from ._piecewise_linear import PiecewiseLinear
from ._raw import Raw
from ._standard import Standard

__all__ = [
    "Auto",
    "EncodedColumns",
    "EncoderBank",
    "Encoding",
    "Periodic",
    "PiecewiseLinear",
    "Raw",
    "Standard",
    "Waves",
]
