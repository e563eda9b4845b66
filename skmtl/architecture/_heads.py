"""Heads: from features to the outputs of tasks."""

import itertools

import torch
from torch import nn

from .._bank import LinearBank, RowsBank, StackBank, join_networks, join_tensors


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


class TowerHead(nn.Module):
    """Hidden layers of each column task, and its outputs from the last of them.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_features : int
        What all tasks read.
    sizes : sequence of int
        Units of each hidden layer of a task; at least one.
    activation : callable
        Behind each hidden layer.

    Attributes
    ----------
    first : LinearBank
        The first hidden layers of all tasks side by side.
    layers : ModuleList of StackBank
        The further ones, a map a task.
    shared : LinearBank
        From the last hidden layer of a task to its outputs, side by side.
    """

    def __init__(self, shape, n_features, sizes, activation):
        super().__init__()
        n_networks, n_tasks, dtype = shape.n_networks, shape.n_tasks, shape.dtype
        self.activation = activation
        self.first = LinearBank(n_networks, n_features, n_tasks * sizes[0], dtype=dtype)
        pairs = itertools.pairwise(sizes)
        self.layers = nn.ModuleList(
            StackBank(n_networks, n_tasks, *pair, dtype=dtype) for pair in pairs
        )
        self.shared = OwnOutputs(shape, sizes[-1])
        self.n_first = sizes[0]

    def reset(self, streams, fed):
        """Draw initial weights.

        Parameters
        ----------
        streams : Streams
            Where the numbers come from.
        fed : sequence of int, length n_networks
            Features that are fed at first; the rest starts at zero.
        """
        self.first.reset(streams, "head layer 0", fed)
        for i, layer in enumerate(self.layers, start=1):
            layer.reset(streams, f"head layer {i}")
        self.shared.reset(streams, "head")

    def forward(self, features, task=None):
        """Compute the towers of all tasks.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            The shared representation.
        task : None
            Column tasks need none.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Side by side.
        """
        hidden = self.activation(self.first(features))
        hidden = hidden.unflatten(-1, (-1, self.n_first)).transpose(1, 2)
        for layer in self.layers:
            hidden = self.activation(layer(hidden))
        return self.shared(hidden)

    def chain(self):
        """Have no chain: the tasks have layers of their own.

        Returns
        -------
        banks : None
            Nothing.
        """
        return None

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


class OwnOutputs(LinearBank):
    """Read each output of column tasks off the features of its own task.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_hidden : int
        Features of a task.

    Attributes
    ----------
    weight : Parameter of shape (n_networks, n_hidden, n_outputs)
        One column an output.
    bias : Parameter of shape (n_networks, 1, n_outputs)
        One number an output.
    """

    def __init__(self, shape, n_hidden):
        super().__init__(shape.n_networks, n_hidden, shape.n_outputs, dtype=shape.dtype)
        owners = shape.task_of_output
        # An index for each network, because that is the first axis of every buffer.
        self.register_buffer(
            "owners", torch.tensor([owners] * shape.n_networks), persistent=False
        )
        self.single = list(owners) == list(range(shape.n_tasks))

    def forward(self, hidden):
        """Compute the outputs.

        Parameters
        ----------
        hidden : Tensor of shape (n_networks, n_tasks, n_rows, n_hidden)
            By task.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Side by side.
        """
        if not self.single:
            hidden = hidden.index_select(1, self.owners[0])
        by_output = hidden @ self.weight.mT.unsqueeze(-1)
        return by_output.squeeze(-1).mT + self.bias


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
        # A copy: what two parts hold would count as one.
        self.register_buffer("shrinkage", shrinkage.to(dtype, copy=True))

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
        return self.shared(features) + moved(features, self.deviation(task))

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
        return self.deviation.penalty(share, self.shrinkage)

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


def moved(features, own):
    """Compute what deviations of the heads add to the outputs.

    Parameters
    ----------
    features : Tensor of shape (n_networks, n_rows, n_hidden)
        What heads read.
    own : Tensor of shape (n_networks, n_rows, (n_hidden + 1) * n_outputs)
        The deviation of each row's task; the shift stands behind the features.

    Returns
    -------
    moved : Tensor of shape (n_networks, n_rows, n_outputs)
        By row.
    """
    # A column of ones stands for the shift.
    padded = nn.functional.pad(features, (0, 1), value=1.0)
    if own.shape[-1] == padded.shape[-1]:
        return (padded * own).sum(-1, keepdim=True)
    own = own.unflatten(-1, (padded.shape[-1], -1))
    return (padded.unsqueeze(-2) @ own).squeeze(-2)
