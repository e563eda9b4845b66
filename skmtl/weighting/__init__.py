"""Choices for ``weighting=``: how the tasks' gradients are combined."""

from ._aligned_mtl import AlignedMTL
from ._auxiliary import Auxiliary
from ._base import Weighting, WeightingModule
from ._cagrad import CAGrad
from ._dbmtl import DBMTL
from ._dwa import DWA
from ._equal import Equal
from ._excess_risk import ExcessRisk
from ._fairgrad import FairGrad
from ._famo import FAMO
from ._geometric_mean import GeometricMean
from ._grad_drop import GradDrop
from ._grad_norm import GradNorm
from ._gradvac import GradVac
from ._gramian import GramianModule, GramianWeighting
from ._head_rates import HeadRates
from ._impartial_grad import ImpartialGrad
from ._mgda import MGDA
from ._moco import MoCo
from ._nash_mtl import NashMTL
from ._pcgrad import PCGrad
from ._random import RandomWeighting
from ._smooth_tchebycheff import SmoothTchebycheff
from ._torchjd import TorchJD
from ._uncertainty import Uncertainty
from ._upgrad import UPGrad

__all__ = [
    "DBMTL",
    "DWA",
    "FAMO",
    "MGDA",
    "AlignedMTL",
    "Auxiliary",
    "CAGrad",
    "Equal",
    "ExcessRisk",
    "FairGrad",
    "GeometricMean",
    "GradDrop",
    "GradNorm",
    "GradVac",
    "GramianModule",
    "GramianWeighting",
    "HeadRates",
    "ImpartialGrad",
    "MoCo",
    "NashMTL",
    "PCGrad",
    "RandomWeighting",
    "SmoothTchebycheff",
    "TorchJD",
    "UPGrad",
    "Uncertainty",
    "Weighting",
    "WeightingModule",
]
