"""Fairness between tasks, of any strictness."""

from numbers import Real

from .._constraints import Interval
from ._gramian import GramianWeighting
from ._nash_mtl import NashMTLModule


class FairGrad(GramianWeighting):
    r"""Alpha-fair gains: :math:`G w = w^{-1/\alpha}`, element by element.

    The direction maximises
    :math:`\sum_t (g_t^T d)^{1-\alpha} / (1 - \alpha)` in a ball.

    Parameters
    ----------
    alpha : float, default=1.0
        Strictness. 0 is the sum of the gradients, 1 is proportional fairness, the
        solution of :class:`NashMTL`, 2 the least potential delay, and large values
        approach the largest worst gain.
    gradients : {"features", "parameters"}, default="features"
        Where gradients are compared; see :class:`PCGrad`.
    update_every : int, default=1
        Steps from one computation of the weights to the next; they are held between.

    See Also
    --------
    NashMTL : The member of ``alpha=1``.
    CAGrad : The largest worst gain near the mean.

    Notes
    -----
    The weights minimise a convex function, and are found by a primal-dual method on
    gradients scaled to norm one; the least squares of the published code stop where
    they start when gradients are small. Away from ``alpha=1`` the direction depends on
    the scale of single losses, and never on that of all.

    References
    ----------
    .. [1] H. Ban, K. Ji (2024). Fair Resource Allocation in Multi-Task Learning. ICML,
       equation 5. https://arxiv.org/abs/2402.15638

    Examples
    --------
    >>> from skmtl.weighting import FairGrad
    >>> FairGrad(alpha=2.0)
    FairGrad(alpha=2.0)
    """

    _fusable = ("alpha",)
    _parameter_constraints = {
        **GramianWeighting._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, alpha=1.0, *, gradients="features", update_every=1):
        super().__init__(gradients=gradients, update_every=update_every)
        self.alpha = alpha

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            Unused.

        Returns
        -------
        module : WeightingModule
            Remembers the last weights.
        """
        return FairGradModule(self, shape, streams)


class FairGradModule(NashMTLModule):
    """The module that :class:`FairGrad` builds."""
