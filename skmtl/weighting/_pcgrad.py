"""Projection of conflicting gradients."""

import torch

from .._constraints import StrOptions
from ._base import Weighting, WeightingModule, masked


class PCGrad(Weighting):
    """Take out of each task's gradient the parts that hurt another task.

    The gradient of each task is projected, in random order, on the normal plane of
    every other gradient that points against it; the projected gradients are summed.

    Parameters
    ----------
    gradients : {"features", "parameters"}, default="features"
        Where conflicts are measured. "features": at the shared representation, nearly
        free. "parameters": at the shared parameters, as in the paper; one backward
        pass a task. Row tasks need "parameters": each row has one task there, so
        gradients at the features never meet.

    See Also
    --------
    Equal : Count every task alike.

    Notes
    -----
    Everything is computed from the Gramian of the gradients. A projection divides by
    the squared norm of the gradient projected on; gradients that are exactly zero are
    skipped, and there is no absolute epsilon, so the direction does not depend on the
    scale of the losses.

    References
    ----------
    .. [1] T. Yu, S. Kumar, A. Gupta, S. Levine, K. Hausman, C. Finn (2020). Gradient
       Surgery for Multi-Task Learning. NeurIPS, algorithm 1.
       https://arxiv.org/abs/2001.06782

    Examples
    --------
    >>> from skmtl.weighting import PCGrad
    >>> PCGrad(gradients="parameters")
    PCGrad(gradients='parameters')
    """

    _parameter_constraints = {"gradients": [StrOptions({"features", "parameters"})]}

    def __init__(self, gradients="features"):
        self.gradients = gradients

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            Source of the orders of projection.

        Returns
        -------
        module : WeightingModule
            Without parameters.
        """
        return PCGradModule(self.gradients, streams)


class PCGradModule(WeightingModule):
    """The module that :class:`PCGrad` builds.

    Parameters
    ----------
    gradients : {"features", "parameters"}
        Where the Gramian is taken.
    streams : Streams or None
        Source of the orders of projection.
    """

    needs = "gramian"

    def __init__(self, gradients, streams):
        super().__init__()
        self.gradients = gradients
        self.streams = streams

    def weights(self, losses, gramian, present):
        """Project every task's gradient on the others' normal planes.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Not needed.
        gramian : Tensor of shape (n_networks, n_tasks, n_tasks)
            Inner products of gradients.
        present : Tensor of shape (n_networks, n_tasks), bool
            Absent tasks have zero gradients and get zero.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            The sum over tasks of the coefficients of each projected gradient.
        """
        n_networks, n_tasks, _ = gramian.shape
        norms = gramian.diagonal(dim1=-2, dim2=-1)
        # coefficients[k, i]: task i's projected gradient in terms of all gradients
        coefficients = torch.eye(n_tasks, dtype=gramian.dtype, device=gramian.device)
        coefficients = coefficients.expand(n_networks, -1, -1).contiguous()
        order = self._orders(n_tasks, gramian.device)
        tasks = torch.arange(n_tasks, device=gramian.device)
        for step in range(n_tasks):
            other = order[:, :, step]
            along = gramian.gather(1, other.unsqueeze(-1).expand(-1, -1, n_tasks))
            inner = (coefficients * along).sum(-1)
            norm = norms.gather(1, other)
            conflict = (inner < 0) & (norm > 0) & (other != tasks)
            # The second where keeps a zero norm out of the division.
            share = inner / torch.where(norm > 0, norm, 1.0)
            amount = torch.where(conflict, share, 0.0)
            coefficients = coefficients.scatter_add(
                -1, other.unsqueeze(-1), -amount.unsqueeze(-1)
            )
        return masked(coefficients.sum(1), present)

    def _orders(self, n_tasks, device):
        """Draw for each network and task the order of the others."""

        def draw(key, n_rows):
            if n_rows == 0:
                # The network rests in this slot, and its stream rests with it.
                return torch.arange(n_tasks).expand(n_tasks, -1)
            generator = self.streams.generator(key, "pcgrad")
            return torch.rand(n_tasks, n_tasks, generator=generator).argsort(-1)

        rows = self.streams.n_rows or [1] * len(self.streams.keys)
        return torch.stack(self.streams.each(draw, rows)).to(device)
