"""The geometric mean of losses."""

import torch

from ._base import Weighting, WeightingModule, masked

# Losses count as this share of the network's largest, at least.
_LEAST_SHARE = 1e-6


class GeometricMean(Weighting):
    r"""Train on the geometric mean of the losses, whatever their scales.

    The gradient of :math:`(\prod_t \ell_t)^{1/T}` is that of the losses with weights
    in proportion to :math:`1 / \ell_t`.

    See Also
    --------
    Uncertainty : Comes to the same weights where it converges.
    SmoothTchebycheff : The other extreme; the largest loss counts most.

    Notes
    -----
    The product itself is never formed: with many tasks it leaves the range of numbers.
    Weights sum to the number of tasks, so that the mean's own size is no part of the
    learning rate. A loss below a millionth of the largest counts as that, since a task
    without loss would otherwise silence all others.

    References
    ----------
    .. [1] S. Chennupati, G. Sistu, S. Yogamani, S. Rawashdeh (2019). MultiNet++:
       Multi-Stream Feature Aggregation and Geometric Loss Strategy for Multi-Task
       Learning. CVPR Workshops, equation 4. https://arxiv.org/abs/1904.08492

    Examples
    --------
    >>> from skmtl.weighting import GeometricMean
    >>> GeometricMean()
    GeometricMean()
    """

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
        return GeometricMeanModule()


class GeometricMeanModule(WeightingModule):
    """The module that :class:`GeometricMean` builds."""

    def weights(self, losses, gramian, present):
        """Weigh by the inverse of the losses.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Of the batch, not negative.
        gramian : None
            Not needed.
        present : Tensor of shape (n_networks, n_tasks), bool
            Absent tasks get zero.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            Largest 1e6; all ones where all losses are zero.
        """
        largest = losses.amax(-1, keepdim=True)
        largest = torch.where(largest > 0, largest, 1.0)
        return masked(1 / (losses / largest).clamp(min=_LEAST_SHARE), present)
