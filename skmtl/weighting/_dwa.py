"""Weights by how fast losses fall."""

from numbers import Real

import torch

from .._constraints import Interval
from ._base import Weighting, WeightingModule, masked


class DWA(Weighting):
    r"""Dynamic weight averaging: tasks whose loss falls slowly count more.

    The weights of an epoch are the softmax of :math:`r_t / \tau`, where :math:`r_t` is
    the training loss of the last epoch over that of the one before.

    Parameters
    ----------
    temperature : float, default=2.0
        :math:`\tau`; the larger, the more alike are the weights.

    Attributes
    ----------
    weights_ : Tensor of shape (n_networks, n_tasks)
        Weights of the next epoch, in the order of ``task_names_``; on the fitted
        ``weighting_``.

    See Also
    --------
    HeadRates : Gives heads that lag behind a larger learning rate.
    GradNorm : Balances training rates through the norms of gradients.

    Notes
    -----
    The first two epochs count all tasks alike, as in the paper. A loss of zero has no
    ratio, and counts as one that stands still. The weights do not depend on the scale
    of any loss.

    References
    ----------
    .. [1] S. Liu, E. Johns, A. J. Davison (2019). End-to-End Multi-Task Learning with
       Attention. CVPR, equation 7. https://arxiv.org/abs/1803.10704

    Examples
    --------
    >>> from skmtl.weighting import DWA
    >>> DWA(temperature=1.0)
    DWA(temperature=1.0)
    """

    _fusable = ("temperature",)
    _parameter_constraints = {
        "temperature": [Interval(Real, 0, None, closed="neither")]
    }

    def __init__(self, temperature=2.0):
        self.temperature = temperature

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
        temperature = self.per_network("temperature", shape.n_networks)
        return DWAModule(temperature.to(shape.dtype), shape)


class DWAModule(WeightingModule):
    """The module that :class:`DWA` builds.

    Parameters
    ----------
    temperature : Tensor of shape (n_networks,)
        Of the softmax.
    shape : BankShape
        Sizes.
    """

    def __init__(self, temperature, shape):
        super().__init__()
        ones = torch.ones(shape.n_networks, shape.n_tasks, dtype=shape.dtype)
        self.register_buffer("temperature", temperature[:, None])
        self.register_buffer("weights_", ones)
        # Not a number before the first epoch has ended.
        self.register_buffer("last_", torch.full_like(ones, torch.nan))

    def weights(self, losses, gramian, present):
        """Give the weights of the epoch.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Not needed.
        gramian : None
            Not needed.
        present : Tensor of shape (n_networks, n_tasks), bool
            Absent tasks get zero.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            They sum to n_tasks when all are present.
        """
        return masked(self.weights_, present)

    def on_epoch_end(self, losses):
        """Compare the losses with those of the epoch before.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Mean training losses of the epoch.
        """
        known = self.last_ > 0
        ratio = torch.where(known, losses / torch.where(known, self.last_, 1.0), 1.0)
        shares = torch.softmax(ratio / self.temperature, dim=-1)
        self.weights_.copy_(losses.shape[-1] * shares)
        self.last_.copy_(losses)

    def reset(self):
        """Forget all losses."""
        self.weights_.fill_(1.0)
        self.last_.fill_(torch.nan)
