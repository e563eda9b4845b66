"""How a whole search is trained in banks, and scored as if fit by fit."""

from ._fits import FusedFits
from ._progress import tell
from ._replay import Replay
from ._workers import Workers

__all__ = ["FusedFits", "Replay", "Workers", "tell"]
