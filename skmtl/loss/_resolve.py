"""From the argument ``loss`` to one loss a column."""

from .._per_task import per_task
from ._absolute_error import AbsoluteError
from ._base import Loss
from ._cross_entropy import CrossEntropy
from ._focal import Focal
from ._gamma import Gamma
from ._huber import Huber
from ._poisson import Poisson
from ._quantile import Quantile
from ._squared_error import SquaredError

_ALIASES = {
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "poisson": Poisson,
    "gamma": Gamma,
    "quantile": Quantile,
    "log_loss": CrossEntropy,
    "focal": Focal,
}
_DEFAULTS = {"number": SquaredError, "class": CrossEntropy}


def aliases(*kinds):
    """List the strings that stand for losses.

    Parameters
    ----------
    *kinds : {"number", "class"}
        Of the labels.

    Returns
    -------
    names : set of str
        Each stands for the default object of its loss.
    """
    return {name for name, loss in _ALIASES.items() if loss.kind in kinds}


def by_alias(name):
    """Make the loss that a string stands for.

    Parameters
    ----------
    name : str
        One of :func:`aliases`.

    Returns
    -------
    loss : Loss
        With its default hyperparameters.

    Raises
    ------
    ValueError
        If there is no such loss.
    """
    if not isinstance(name, str) or name not in _ALIASES:
        raise ValueError(
            f"loss={name!r} is not a loss. Pass one of {sorted(_ALIASES)}, or an "
            "object of skmtl.loss."
        )
    return _ALIASES[name]()


def resolve(loss, names, kinds):
    """Choose the loss of every column.

    Parameters
    ----------
    loss : None, str, Loss, list or dict
        One for all columns, one a column, or some by name. None, and columns that a
        dict leaves out, take the default of their kind. When the columns are of both
        kinds, one loss serves the columns of its own kind, and the others take their
        default.
    names : sequence, length n_columns
        Of the columns.
    kinds : sequence of {"number", "class"}, length n_columns
        What their labels are.

    Returns
    -------
    losses : list of Loss, length n_columns
        Columns with equal losses share an object.

    Raises
    ------
    ValueError
        If a name or an alias is unknown, a list has the wrong length, or a loss does
        not fit the labels of its task.
    """
    defaults = {kind: default() for kind, default in _DEFAULTS.items()}
    if loss is None or isinstance(loss, (str, Loss)):
        one = _as_loss(loss)
        mixed = len(set(kinds)) > 1
        chosen = [
            None if mixed and one is not None and one.kind != kind else one
            for kind in kinds
        ]
    else:
        chosen = per_task("loss", loss, names)
    known = {}
    losses = []
    for name, kind, choice in zip(names, kinds, chosen, strict=True):
        own = defaults[kind] if choice is None else _as_loss(choice, known)
        _check_kind(name, kind, own)
        losses.append(own.check())
    return losses


def _as_loss(loss, known=None):
    if loss is None or isinstance(loss, Loss):
        return loss
    known = {} if known is None else known
    if not isinstance(loss, str) or loss not in known:
        made = by_alias(loss)
        known[loss] = made
    return known[loss]


def _check_kind(name, kind, loss):
    if loss.kind == kind:
        return
    labels = {"number": "numbers", "class": "classes"}
    raise ValueError(
        f"Task {name!r} holds {labels[kind]}, and {type(loss).__name__} is a loss for "
        f"{labels[loss.kind]}. Losses for {labels[kind]} are "
        f"{sorted(aliases(kind))}."
    )
