"""Choices for ``architecture=``: how tasks share parameters."""

from .._shape import BankShape
from ._attention import Attention
from ._base import Architecture, ArchitectureModule
from ._cgc import CGC
from ._cross_stitch import CrossStitch
from ._hard_sharing import HardSharing
from ._head_chain import HeadChain
from ._mmoe import MMoE
from ._ple import PLE
from ._soft_sharing import SoftSharing
from ._task_conditioned import TaskConditioned
from ._task_groups import TaskGroups
from ._torch_module import TorchModule

__all__ = [
    "CGC",
    "PLE",
    "Architecture",
    "ArchitectureModule",
    "Attention",
    "BankShape",
    "CrossStitch",
    "HardSharing",
    "HeadChain",
    "MMoE",
    "SoftSharing",
    "TaskConditioned",
    "TaskGroups",
    "TorchModule",
]
