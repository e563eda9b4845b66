"""Heads: from features to the outputs of tasks."""

import torch
from torch import nn

from .._bank import LinearBank, RowsBank, join_networks, join_tensors


class ColumnHead(nn.Module):
    """The heads of all column tasks, one matrix product.

    Parameters
    ----------
    n_networks, n_hidden, n_outputs : int
        Sizes.
    dtype : torch.dtype
        Of the parameters.
    """

    def __init__(self, n_networks, n_hidden, n_outputs, dtype):
        super().__init__()
        self.shared = LinearBank(n_networks, n_hidden, n_outputs, dtype=dtype)

    def forward(self, features, task=None):
        """Compute all heads.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_hidden)
            The shared representation.
        task : None
            Column tasks need none.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Side by side.
        """
        return self.shared(features)

    def chain(self):
        """List the banks.

        Returns
        -------
        banks : list of LinearBank
            The only one.
        """
        return [self.shared]

    def penalty(self, share):
        """Add nothing.

        Parameters
        ----------
        share : callable
            Unused.

        Returns
        -------
        penalty : None
            Free heads.
        """
        return None


class RowHead(nn.Module):
    r"""A shared head plus a shrunk deviation a task: partial pooling.

    The outputs of a row of task t are
    :math:`f (W + D_t) + b + c_t`; ``penalty`` adds
    :math:`\lambda (\|D_t\|^2 + \|c_t\|^2)` a task, on the scale on which every labelled
    cell adds its loss, so that a task with few rows stays close to the shared head.

    Parameters
    ----------
    n_networks, n_hidden, n_outputs, n_tasks : int
        Sizes.
    shrinkage : Tensor of shape (n_networks,)
        :math:`\lambda`.
    widths : sequence of int, length n_networks
        Features of each network that are not padding.
    dtype : torch.dtype
        Of the parameters.
    """

    def __init__(
        self, n_networks, n_hidden, n_outputs, n_tasks, shrinkage, widths, dtype
    ):
        super().__init__()
        self.shared = LinearBank(n_networks, n_hidden, n_outputs, dtype=dtype)
        columns = (n_hidden + 1) * n_outputs
        used = [(width + 1) * n_outputs for width in widths]
        self.deviation = RowsBank(n_networks, n_tasks, columns, used, dtype=dtype)
        self.register_buffer("shrinkage", shrinkage.to(dtype))

    def forward(self, features, task):
        """Compute the head of each row's task.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_hidden)
            The shared representation.
        task : Tensor of shape (n_networks, n_rows), int64
            Task of each row; the one past the last reads the shared head.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of each row's own task.
        """
        own = self.deviation(task)
        # A column of ones stands for the shift.
        padded = nn.functional.pad(features, (0, 1), value=1.0)
        if own.shape[-1] == padded.shape[-1]:
            moved = (padded * own).sum(-1, keepdim=True)
        else:
            own = own.unflatten(-1, (padded.shape[-1], -1))
            moved = (padded.unsqueeze(-2) @ own).squeeze(-2)
        return self.shared(features) + moved

    def chain(self):
        """Have no chain: deviations are more than a product.

        Returns
        -------
        banks : None
            Nothing.
        """
        return None

    def penalty(self, share):
        """Shrink the deviations of the tasks in the batch.

        Parameters
        ----------
        share : callable
            See :meth:`ArchitectureModule.penalty`.

        Returns
        -------
        penalty : Tensor of shape (n_networks,)
            In expectation over batches, lambda times the squared norm of all
            deviations over the number of training rows.
        """
        ids, rows = self.deviation.selected
        n_networks, n_slots, _ = self.deviation.weight.shape
        network = torch.div(ids, n_slots, rounding_mode="floor")
        padded = nn.functional.pad(share(), (0, 1)).flatten()
        cost = rows.square().sum(-1) * padded.index_select(0, ids)
        total = cost.new_zeros(n_networks).index_add(0, network, cost)
        return self.shrinkage * total

    def join_networks(self, parts):
        """Copy the heads of several banks into this one.

        Parameters
        ----------
        parts : sequence of RowHead
            Perhaps with fewer features.
        """
        join_networks([part.shared for part in parts], self.shared)
        join_tensors([part.deviation.widths for part in parts], self.deviation.widths)
        join_tensors([part.shrinkage for part in parts], self.shrinkage)
        # The shift of a task stands behind its last feature, padding included.
        whole, *tables = (
            head.deviation.weight.unflatten(-1, (-1, head.shared.weight.shape[-1]))
            for head in (self, *parts)
        )
        join_tensors([table[..., :-1, :] for table in tables], whole[..., :-1, :])
        join_tensors([table[..., -1, :] for table in tables], whole[..., -1, :])
