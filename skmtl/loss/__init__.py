"""Choices for ``loss=``: what one cell of the label table costs."""

from ._base import Loss
from ._cross_entropy import CrossEntropy
from ._squared_error import SquaredError

__all__ = ["CrossEntropy", "Loss", "SquaredError", "resolve"]

_ALIASES = {"squared_error": SquaredError, "log_loss": CrossEntropy}


def resolve(loss):
    """Turn an alias into the default object of its loss.

    Parameters
    ----------
    loss : str or Loss
        ``"squared_error"``, ``"log_loss"`` or an object.

    Returns
    -------
    loss : Loss
        The object itself, or a new default one.
    """
    return _ALIASES[loss]() if isinstance(loss, str) else loss
