"""A smooth maximum of losses."""

from numbers import Real

import torch

from .._constraints import Interval
from ._base import Weighting, WeightingModule


class SmoothTchebycheff(Weighting):
    r"""Train on a smooth maximum of the losses: the worst task counts most.

    The objective is :math:`\mu \log \sum_t \exp(\ell_t / \mu)`; its weights are the
    softmax of :math:`\ell_t / \mu`.

    Parameters
    ----------
    mu : float, default=1.0
        Smoothness, in units of a loss on standardised labels. Towards zero only the
        largest loss counts, towards infinity all count alike.

    See Also
    --------
    GeometricMean : The other extreme; the smallest loss counts most.
    FairGrad : Balances progress in place of losses.

    Notes
    -----
    In the paper's form losses are shifted by an ideal point and multiplied by
    preferences. The ideal point is zero here: losses on standardised labels start
    around one and none is negative. The preferences are the user's ``task_weights``,
    which multiply weights, not losses. Some libraries put in logarithms of losses over
    those of a warm-up, which is another objective under the same name. The method goes
    by the size of losses and claims no invariance to it.

    References
    ----------
    .. [1] X. Lin, X. Zhang, Z. Yang, F. Liu, Z. Wang, Q. Zhang (2024). Smooth
       Tchebycheff Scalarization for Multi-Objective Optimization. ICML, equation 9.
       https://arxiv.org/abs/2402.19078

    Examples
    --------
    >>> from skmtl.weighting import SmoothTchebycheff
    >>> SmoothTchebycheff(mu=0.5)
    SmoothTchebycheff(mu=0.5)
    """

    _fusable = ("mu",)
    _parameter_constraints = {"mu": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, mu=1.0):
        self.mu = mu

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
            Without parameters.
        """
        mu = self.per_network("mu", shape.n_networks).to(shape.dtype)
        return SmoothTchebycheffModule(mu)


class SmoothTchebycheffModule(WeightingModule):
    """The module that :class:`SmoothTchebycheff` builds.

    Parameters
    ----------
    mu : Tensor of shape (n_networks,)
        Smoothness.
    """

    def __init__(self, mu):
        super().__init__()
        self.register_buffer("mu", mu[:, None])

    def weights(self, losses, gramian, present):
        """Weigh by the softmax of the losses.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Of the batch.
        gramian : None
            Not needed.
        present : Tensor of shape (n_networks, n_tasks), bool
            Absent tasks get zero.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            Of sum 1 over present tasks.
        """
        absent = ~present & present.any(-1, keepdim=True)
        return torch.softmax((losses / self.mu).masked_fill(absent, -torch.inf), -1)
