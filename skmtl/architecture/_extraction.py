"""Experts of single tasks beside shared ones, and what a task extracts from both."""

import torch
from torch import nn

from .._bank import StackBank
from ._by_task import RowsByTask
from ._experts import ColumnGates, Experts, RowGates
from ._heads import OwnOutputs, RowHead


class OwnExperts(Experts):
    """Run the experts that belong to single tasks.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_own : int
        Experts of a task.
    n_in : int
        What they read.
    *settings
        Sizes, activation, rates, dtype and purpose; see :class:`Experts`.
    apart : bool, default=False
        Whether column tasks read inputs of their own.
    """

    def __init__(self, shape, n_own, n_in, *settings, apart=False):
        sizes = shape.n_networks, shape.n_tasks * n_own, n_in
        apart = apart or shape.row_tasks
        super().__init__(*sizes, *settings, apart=apart)
        self.n_own = n_own

    def forward(self, inputs, task=None):
        """Run the experts of all column tasks, or of each row's task.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_in)
            Or (n_networks, n_tasks, n_rows, n_in) of column tasks apart.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        hidden : Tensor of shape (n_networks, n_tasks, n_own, n_rows, n_hidden)
            One instead of n_tasks for row tasks; zero for rows of no task.
        """
        if task is None:
            if inputs.ndim == 4:
                inputs = inputs.repeat_interleave(self.n_own, dim=1)
            return super().forward(inputs).unflatten(1, (-1, self.n_own))
        by_task = RowsByTask(task, self.first.weight.shape[1] // self.n_own)
        hidden = by_task.spread(inputs).repeat_interleave(self.n_own, dim=1)
        for layer, dropout in zip(
            (self.first, *self.layers), self.dropouts, strict=True
        ):
            hidden = self.activation(layer(hidden))
            if dropout.drops:
                rows = dropout(self._collected(by_task, hidden).flatten(2))
                hidden = by_task.spread(rows).unflatten(-1, (self.n_own, -1))
                hidden = hidden.transpose(2, 3).flatten(1, 2)
        return self._collected(by_task, hidden).transpose(1, 2).unsqueeze(1)

    def _collected(self, by_task, hidden):
        """Lay out as (n_networks, n_rows, n_own, n_hidden)."""
        blocks = hidden.unflatten(1, (-1, self.n_own)).transpose(2, 3)
        return by_task.collect(blocks.flatten(3)).unflatten(-1, (self.n_own, -1))


class StackedGates(nn.Module):
    """Let each column task choose experts by inputs of its own.

    Parameters
    ----------
    n_networks, n_in, n_tasks, n_experts : int
        Sizes.
    dtype : torch.dtype
        Of the parameters.
    """

    def __init__(self, n_networks, n_in, n_tasks, n_experts, dtype):
        super().__init__()
        self.linear = StackBank(n_networks, n_tasks, n_in, n_experts, dtype=dtype)

    def forward(self, inputs, task=None):
        """Compute the gates.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_in)
            By task.
        task : None
            Column tasks need none.

        Returns
        -------
        gates : Tensor of shape (n_networks, n_rows, n_tasks, n_experts)
            They sum to 1 over experts.
        """
        return self.linear(inputs).softmax(-1).transpose(1, 2)


class OwnRowGates(RowGates):
    """Let each row choose among the experts of its task and the shared ones.

    A row of no task has the shared gate, and shared experts alone.

    Parameters
    ----------
    n_own : int
        Experts of a task; they come first.
    *settings
        See :class:`RowHead`.
    """

    def __init__(self, n_own, *settings):
        super().__init__(*settings)
        self.n_own = n_own

    def forward(self, inputs, task):
        """Compute the gates.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_in)
            What they choose by.
        task : Tensor of shape (n_networks, n_rows), int64
            Task of each row.

        Returns
        -------
        gates : Tensor of shape (n_networks, n_rows, 1, n_experts)
            They sum to 1 over experts.
        """
        logits = RowHead.forward(self, inputs, task)
        return self.without_strangers(logits, task).softmax(-1).unsqueeze(2)

    def without_strangers(self, logits, task):
        """Close the gates of experts that a row of no task does not have.

        Parameters
        ----------
        logits : Tensor of shape (n_networks, n_rows, n_experts)
            Own experts first.
        task : Tensor of shape (n_networks, n_rows), int64
            Task of each row.

        Returns
        -------
        logits : Tensor of shape (n_networks, n_rows, n_experts)
            Minus infinity for own experts of no task.
        """
        unknown = task == self.deviation.weight.shape[1] - 1
        own = torch.arange(logits.shape[-1], device=task.device) < self.n_own
        return logits.masked_fill(unknown.unsqueeze(-1) & own, -torch.inf)


def make_gates(shape, n_in, n_own, n_experts, shrinkage, apart=False):
    """Make the gates of tasks on their own experts and the shared ones.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_in : int
        What they choose by.
    n_own, n_experts : int
        Experts of a task, and those with the shared ones.
    shrinkage : Tensor of shape (n_networks,)
        Row tasks: of deviations.
    apart : bool, default=False
        Whether tasks choose by inputs of their own.

    Returns
    -------
    gates : Module
        From inputs and tasks to (n_networks, n_rows, n_tasks or 1, n_experts).
    """
    sizes = shape.n_networks, n_in
    if shape.row_tasks:
        widths = [n_in] * shape.n_networks if apart else shape.n_inputs
        sizes = *sizes, n_experts, shape.n_tasks, shrinkage, widths
        return OwnRowGates(n_own, *sizes, shape.dtype)
    kind = StackedGates if apart else ColumnGates
    return kind(*sizes, shape.n_tasks, n_experts, shape.dtype)


def mixed(gates, own, shared):
    """Mix the experts of each task and the shared ones.

    Parameters
    ----------
    gates : Tensor of shape (n_networks, n_rows, n_tasks, n_own + n_shared)
        Own experts first.
    own : Tensor of shape (n_networks, n_tasks, n_own, n_rows, n_hidden)
        Outputs of the experts of tasks.
    shared : Tensor of shape (n_networks, n_shared, n_rows, n_hidden)
        Outputs of the shared experts.

    Returns
    -------
    hidden : Tensor of shape (n_networks, n_tasks, n_rows, n_hidden)
        By task.
    """
    gates = gates.transpose(1, 2).unsqueeze(-1).unbind(3)
    parts = [*own.unbind(2), *shared.unsqueeze(1).unbind(2)]
    # Few experts: a sum of products is quicker than many small matrix products.
    return sum(gate * part for gate, part in zip(gates, parts, strict=True))


class OwnHead(nn.Module):
    """Linear heads of column tasks, each on features of its own.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_hidden : int
        Features of a task.
    """

    def __init__(self, shape, n_hidden):
        super().__init__()
        self.shared = OwnOutputs(shape, n_hidden)

    def forward(self, hidden, task=None):
        """Compute the outputs.

        Parameters
        ----------
        hidden : Tensor of shape (n_networks, n_tasks, n_rows, n_hidden)
            By task.
        task : None
            Column tasks need none.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Side by side.
        """
        return self.shared(hidden)

    def task_parameters(self):
        """List the heads.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ..., n_outputs).
        """
        return list(self.shared.parameters())

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


class OwnRowHead(RowHead):
    """Heads of row tasks, on features of each row's task.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_hidden : int
        Features of a row.
    shrinkage : Tensor of shape (n_networks,)
        Of deviations.
    """

    def __init__(self, shape, n_hidden, shrinkage):
        sizes = shape.n_networks, n_hidden, shape.n_outputs, shape.n_tasks
        widths = [n_hidden] * shape.n_networks
        super().__init__(*sizes, shrinkage, widths, shape.dtype)

    def forward(self, hidden, task):
        """Compute the outputs.

        Parameters
        ----------
        hidden : Tensor of shape (n_networks, 1, n_rows, n_hidden)
            Of each row's task.
        task : Tensor of shape (n_networks, n_rows), int64
            Task of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of each row's own task.
        """
        return super().forward(hidden.squeeze(1), task)

    def task_parameters(self):
        """List the deviations.

        Returns
        -------
        parameters : list of Parameter
            Of shape (n_networks, n_tasks + 1, n_columns).
        """
        return [self.deviation.weight]


def make_own_head(shape, n_hidden, shrinkage):
    """Make linear heads on features of single tasks.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_hidden : int
        Features of a task.
    shrinkage : Tensor of shape (n_networks,)
        Row tasks: of deviations.

    Returns
    -------
    head : OwnHead or OwnRowHead
        It has ``shared``, the bank that output biases are set in.
    """
    if shape.row_tasks:
        return OwnRowHead(shape, n_hidden, shrinkage)
    return OwnHead(shape, n_hidden)


def summed(penalties):
    """Add the penalties that there are.

    Parameters
    ----------
    penalties : iterable of (Tensor or None)
        By part.

    Returns
    -------
    total : Tensor or None
        None if there are none.
    """
    found = [penalty for penalty in penalties if penalty is not None]
    return sum(found) if found else None
