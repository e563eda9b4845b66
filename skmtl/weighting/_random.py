"""Random weights."""

import torch

from ._base import Weighting, WeightingModule


class RandomWeighting(Weighting):
    """Draw weights anew in every step: a baseline that is hard to beat.

    The weights are the softmax of independent standard normal numbers.

    See Also
    --------
    Equal : The same in the mean.

    Notes
    -----
    The weights sum to the number of tasks, where in the paper they sum to one.
    Networks with the same random stream get the same weights.

    References
    ----------
    .. [1] B. Lin, F. Ye, Y. Zhang, I. W. Tsang (2022). Reasonable Effectiveness of
       Random Weighting: A Litmus Test for Multi-Task Learning. TMLR.
       https://arxiv.org/abs/2111.10603

    Examples
    --------
    >>> from skmtl.weighting import RandomWeighting
    >>> RandomWeighting()
    RandomWeighting()
    """

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            Source of the weights.

        Returns
        -------
        module : WeightingModule
            Without parameters.
        """
        return RandomWeightingModule(streams)


class RandomWeightingModule(WeightingModule):
    """The module that :class:`RandomWeighting` builds.

    Parameters
    ----------
    streams : Streams or None
        Source of the weights.
    """

    def __init__(self, streams):
        super().__init__()
        self.streams = streams

    def weights(self, losses, gramian, present):
        """Draw weights.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Only its shape is read.
        gramian : None
            Not needed.
        present : Tensor of shape (n_networks, n_tasks), bool
            Absent tasks get zero.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            Positive, of sum 1 over present tasks.
        """
        n_networks, n_tasks = losses.shape

        def draw(key, n_rows):
            if n_rows == 0:
                # The network rests in this slot, and its stream rests with it.
                return torch.zeros(n_tasks)
            generator = self.streams.generator(key, "random weighting")
            return torch.randn(n_tasks, generator=generator)

        rows = self.streams.n_rows or [1] * n_networks
        drawn = torch.stack(self.streams.each(draw, rows)).to(losses)
        absent = ~present & present.any(-1, keepdim=True)
        return torch.softmax(drawn.masked_fill(absent, -torch.inf), dim=-1)
