"""Pinball loss."""

from numbers import Real

import numpy as np
import torch

from .._constraints import Interval
from .._strategy import PerNetwork
from ._base import Loss, weighted_quantile


class Quantile(Loss):
    r"""Pinball loss, for quantiles of targets that are numbers.

    At the level :math:`q` the loss of a difference :math:`r = y - \hat y` is
    :math:`\max(q r, (q - 1) r)`; with several levels it is their mean.

    Parameters
    ----------
    level : float or sequence of float, default=0.5
        In (0, 1). With several levels a task has as many outputs, ``predict`` reports
        the one nearest to the median, and ``predict_quantiles`` all of them.

    See Also
    --------
    AbsoluteError : Twice this loss at the level 0.5.

    Notes
    -----
    Predictions of several levels are sorted, so that they never cross; sorting cannot
    raise the loss [2]_.

    References
    ----------
    .. [1] R. Koenker, G. Bassett (1978). Regression Quantiles. Econometrica 46, 33-50.
    .. [2] V. Chernozhukov, I. Fernandez-Val, A. Galichon (2010). Quantile and
       Probability Curves Without Crossing. Econometrica 78, 1093-1125.

    Examples
    --------
    >>> import torch
    >>> from skmtl.loss import Quantile
    >>> Quantile(0.9).cells(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1))
    tensor([[[0.9000]]])
    """

    orders = True
    _fusable = ("level",)
    _parameter_constraints = {
        "level": [Interval(Real, 0, 1, closed="neither"), "array-like"]
    }

    def __init__(self, level=0.5):
        self.level = level

    def check(self):
        """Check the levels.

        Returns
        -------
        self : Quantile
            The loss itself.

        Raises
        ------
        ValueError
            If a level is not between 0 and 1.
        """
        super().check()
        levels = self.levels
        if (
            levels.ndim != 1
            or not len(levels)
            or not ((levels > 0) & (levels < 1)).all()
        ):
            raise ValueError(
                "The 'level' parameter of Quantile must hold numbers between 0 and 1. "
                f"Got {self.level!r} instead."
            )
        return self

    @property
    def levels(self):
        """The levels, ndarray of shape (n_levels,)."""
        if isinstance(self.level, PerNetwork):
            return np.array([np.mean(self.level.values)])
        return np.atleast_1d(np.asarray(self.level, dtype=float))

    def n_outputs(self, n_classes):
        """Give one output a level.

        Parameters
        ----------
        n_classes : None
            Numbers have no classes.

        Returns
        -------
        n_outputs : int
            Number of levels.
        """
        return len(self.levels)

    n_predictions = n_outputs

    @property
    def point(self):
        """Position of the level nearest to the median, int."""
        order = np.argsort(self.levels, kind="stable")
        return int(np.abs(self.levels[order] - 0.5).argmin())

    def cells(self, outputs, targets):
        """Compute the pinball loss, averaged over levels.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_tasks, n_levels)
            Predictions in units of the scaled target.
        targets : Tensor of shape (n_networks, n_rows, n_tasks)
            Scaled targets.

        Returns
        -------
        cells : Tensor of shape (n_networks, n_rows, n_tasks)
            Losses.
        """
        above = targets.unsqueeze(-1) - outputs
        if isinstance(self.level, PerNetwork):
            level = self._value("level", outputs).unsqueeze(-1)
        else:
            level = outputs.new_tensor(np.sort(self.levels))
        return torch.maximum(level * above, (level - 1) * above).mean(-1)

    def link(self, outputs):
        """Sort the predictions of several levels.

        Parameters
        ----------
        outputs : Tensor of shape (..., n_levels)
            Of one task.

        Returns
        -------
        predictions : Tensor of shape (..., n_levels)
            Ascending.
        """
        return outputs.sort(dim=-1).values if outputs.shape[-1] > 1 else outputs

    def initial_bias(self, targets, weights, n_classes):
        """Take the weighted quantiles of the scaled targets.

        Parameters
        ----------
        targets, weights : ndarray of shape (n_samples,)
            Scaled targets and weights.
        n_classes : None
            Numbers have no classes.

        Returns
        -------
        bias : ndarray of shape (n_levels,)
            Ascending; 0 for a task without labels.
        """
        return np.array(
            [weighted_quantile(targets, weights, q) for q in np.sort(self.levels)]
        )
