"""Equal weights."""

import torch

from ._base import Weighting, WeightingModule


class Equal(Weighting):
    """Count every task alike: the baseline that every other method has to beat.

    See Also
    --------
    Uncertainty : Learned noise levels.
    PCGrad : Projection of conflicting gradients.

    Examples
    --------
    >>> from skmtl.weighting import Equal
    >>> Equal()
    Equal()
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
        return EqualModule()


class EqualModule(WeightingModule):
    """The module that :class:`Equal` builds."""

    constant = True

    def weights(self, losses, gramian, present):
        """Give ones.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Only its shape is read.
        gramian : None
            Not needed.
        present : Tensor of shape (n_networks, n_tasks), bool
            Not needed.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            Ones.
        """
        return torch.ones_like(losses)
