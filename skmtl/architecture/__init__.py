"""Choices for ``architecture=``: how tasks share parameters."""

from .._shape import BankShape
from ._base import Architecture, ArchitectureModule
from ._hard_sharing import HardSharing

__all__ = ["Architecture", "ArchitectureModule", "BankShape", "HardSharing"]
