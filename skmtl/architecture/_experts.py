"""Experts: small networks side by side, and how tasks mix what they give."""

import itertools

import torch
from torch import nn

from .._bank import DropoutBank, LinearBank, StackBank
from ._heads import RowHead


class Experts(nn.Module):
    """Run several small networks in every network of a bank.

    Parameters
    ----------
    n_networks, n_experts, n_in : int
        Sizes.
    sizes : sequence of int
        Units of each hidden layer of an expert; at least one.
    activation : callable
        Behind each layer.
    rates : Tensor of shape (n_networks,)
        Dropout behind each layer.
    dtype : torch.dtype
        Of the parameters.
    purpose : str, default=""
        Put before the names of the layers in the streams.
    apart : bool, default=False
        Whether each expert reads inputs of its own.

    Attributes
    ----------
    first : LinearBank or StackBank
        The first layers of all experts, one product side by side where they read the
        same inputs.
    layers : ModuleList of StackBank
        The further ones.
    """

    def __init__(
        self,
        n_networks,
        n_experts,
        n_in,
        sizes,
        activation,
        rates,
        dtype,
        purpose="",
        apart=False,
    ):
        super().__init__()
        self.activation = activation
        self.purpose = purpose
        if apart:
            self.first = StackBank(n_networks, n_experts, n_in, sizes[0], dtype=dtype)
        else:
            self.first = LinearBank(n_networks, n_in, n_experts * sizes[0], dtype=dtype)
        self.n_first = sizes[0]
        self.layers = nn.ModuleList(
            StackBank(n_networks, n_experts, size, after, dtype=dtype)
            for size, after in itertools.pairwise(sizes)
        )
        self.dropouts = nn.ModuleList(
            DropoutBank(rates.clone(), f"{purpose}dropout {i}")
            for i in range(len(sizes))
        )

    def reset(self, streams, n_in=None):
        """Draw initial weights.

        Parameters
        ----------
        streams : Streams
            Where the numbers come from.
        n_in : sequence of int of length n_networks, optional
            Unpadded widths of the inputs.

        Returns
        -------
        self : Experts
            The experts.
        """
        self.first.reset(streams, f"{self.purpose}layer 0", n_in)
        for i, layer in enumerate(self.layers, start=1):
            layer.reset(streams, f"{self.purpose}layer {i}")
        return self

    def forward(self, inputs):
        """Run all experts on their rows.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_in)
            Or (n_networks, n_experts, n_rows, n_in) where they read inputs of their
            own.

        Returns
        -------
        hidden : Tensor of shape (n_networks, n_experts, n_rows, n_hidden)
            Last hidden layer of each expert.
        """
        # Before the experts are told apart: what follows reads and writes in order.
        hidden = self.activation(self.first(inputs))
        if hidden.ndim == 3:
            hidden = hidden.unflatten(-1, (-1, self.n_first)).transpose(1, 2)
        hidden = dropped(self.dropouts[0], hidden)
        for layer, dropout in zip(self.layers, self.dropouts[1:], strict=True):
            hidden = dropped(dropout, self.activation(layer(hidden)))
        return hidden


def dropped(dropout, hidden):
    """Drop units of maps that lie behind the networks.

    Parameters
    ----------
    dropout : DropoutBank
        It draws for the units of all maps of a row.
    hidden : Tensor of shape (n_networks, n_maps, n_rows, n_hidden)
        By map.

    Returns
    -------
    hidden : Tensor of shape (n_networks, n_maps, n_rows, n_hidden)
        Scaled where kept.
    """
    if not dropout.drops:
        return hidden
    rows = hidden.transpose(1, 2)
    kept = dropout(rows.flatten(2)).unflatten(2, rows.shape[2:])
    return kept.transpose(1, 2)


class ExpertDropout(DropoutBank):
    """Leave whole experts out of the gates of a row, with one rate a network.

    Parameters
    ----------
    rates : Tensor of shape (n_networks,)
        Probability that an expert is left out.
    purpose : str, default="expert dropout"
        Names it in the streams.

    References
    ----------
    .. [1] Z. Zhao et al. (2019). Recommending What Video to Watch Next: A Multitask
       Ranking System, section 4.2.1 (experts left out, and gates renormalised).
       RecSys. https://doi.org/10.1145/3298689.3346997
    """

    def __init__(self, rates, purpose="expert dropout"):
        super().__init__(rates, purpose)

    def forward(self, gates):
        """Set some gates to zero and scale the others to sum to 1.

        Parameters
        ----------
        gates : Tensor of shape (n_networks, n_rows, ..., n_experts)
            They sum to 1.

        Returns
        -------
        gates : Tensor of shape (n_networks, n_rows, ..., n_experts)
            The same experts are left out for all tasks of a row; where it would be
            all, none is.
        """
        if not self.drops:
            return gates
        n_networks, n_rows, n_experts = *gates.shape[:2], gates.shape[-1]
        kept = super().forward(gates.new_ones(n_networks, n_rows, n_experts)) > 0
        kept |= ~kept.any(-1, keepdim=True)
        kept = kept.view(n_networks, n_rows, *[1] * (gates.ndim - 3), n_experts)
        # A gate of an expert may underflow, and a task may have no other.
        left = gates.clamp(min=1e-6) * kept
        return left / left.sum(-1, keepdim=True)


class ColumnGates(nn.Module):
    """Let each column task choose experts by the inputs, through a softmax.

    Parameters
    ----------
    n_networks, n_in, n_tasks, n_experts : int
        Sizes.
    dtype : torch.dtype
        Of the parameters.

    Attributes
    ----------
    linear : LinearBank
        From inputs to the logits of all tasks. It starts at zero, so that all experts
        count alike at first.
    """

    def __init__(self, n_networks, n_in, n_tasks, n_experts, dtype):
        super().__init__()
        self.linear = LinearBank(n_networks, n_in, n_tasks * n_experts, dtype=dtype)
        self.n_experts = n_experts

    def forward(self, inputs, task=None):
        """Compute the gates.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_in)
            What they choose by.
        task : None
            Column tasks need none.

        Returns
        -------
        gates : Tensor of shape (n_networks, n_rows, n_tasks, n_experts)
            They sum to 1 over experts.
        """
        # A softmax over a few neighbouring numbers is slow; over rows of numbers it is
        # vector operations.
        weight, bias = self.linear.weight.mT, self.linear.bias.mT
        if len(inputs) != len(weight):
            inputs = inputs.expand(len(weight), -1, -1)
        logits = torch.baddbmm(bias, weight, inputs.mT)
        gates = logits.unflatten(1, (-1, self.n_experts)).softmax(2)
        return gates.permute(0, 3, 1, 2)


class RowGates(RowHead):
    """Let each row choose experts by its inputs and its task, through a softmax.

    The logits are those of a gate that all tasks share, plus a deviation of the task
    that is shrunk towards zero.
    """

    def forward(self, inputs, task):
        """Compute the gates.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_in)
            What they choose by.
        task : Tensor of shape (n_networks, n_rows), int64
            Task of each row; the one past the last has the shared gate.

        Returns
        -------
        gates : Tensor of shape (n_networks, n_rows, n_experts)
            They sum to 1.
        """
        return super().forward(inputs, task).softmax(-1)

    def pooled(self, inputs):
        """Compute the gate that all tasks share.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_in)
            What it chooses by.

        Returns
        -------
        gates : Tensor of shape (n_networks, n_rows, n_experts)
            They sum to 1.
        """
        return self.shared(inputs).softmax(-1)


def mean_gates(gates, batches, like):
    """Average gates over the rows of each task.

    Parameters
    ----------
    gates : callable
        From inputs and tasks to gates, by task of columns or of the row's own task.
    batches : iterable of (inputs, task)
        All rows.
    like : Tensor of shape (n_networks, n_tasks, n_experts)
        Of the shape and dtype of the result.

    Returns
    -------
    mean : Tensor of shape (n_networks, n_tasks, n_experts)
        Zero for tasks without rows.
    """
    n_networks, n_tasks, n_experts = like.shape
    total, count = like.new_zeros(n_networks, n_tasks + 1, n_experts), 0.0
    for inputs, task in batches:
        found = gates(inputs.expand(n_networks, -1, -1), task)
        if task is None:
            total[:, :-1] += found.sum(1)
            count += found.shape[1]
            continue
        for k, (own, rows) in enumerate(zip(task, found, strict=True)):
            total[k].index_add_(0, own, rows)
        count = count + torch.nn.functional.one_hot(task, n_tasks + 1).sum(1)
    if torch.is_tensor(count):
        count = count[:, :-1, None].clamp(min=1)
    return total[:, :-1] / count
