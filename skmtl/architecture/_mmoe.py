"""Experts that all tasks share, and a gate for each task."""

from numbers import Integral, Real

import torch
from torch import nn

from .._bank import LinearBank
from .._constraints import Interval, StrOptions
from ._activations import ACTIVATIONS
from ._base import Architecture
from ._experts import ColumnGates, ExpertDropout, Experts, RowGates, mean_gates
from ._heads import RowHead
from ._linear_readout import LinearReadout
from ._sizes import checked_sizes
from ._trunk import TrunkModule


class MMoE(Architecture):
    r"""Share experts; let each task mix them by a gate of its own.

    Experts :math:`f_e` are small networks that all tasks train. Task t reads
    :math:`f^t(x) = \sum_e g^t_e(x) f_e(x)` with the gate
    :math:`g^t(x) = \mathrm{softmax}(W_{gt} x)`, equations 5 to 7 of [1]_, and has a
    linear head on that. Tasks that have little in common come to use other experts.

    The gates of row tasks are a shared gate plus a deviation a task, which is shrunk
    as that of the heads.

    Parameters
    ----------
    n_experts : int, default=4
        Number of experts.
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        Units of each hidden layer of an expert. "auto" is (64, 64).
    activation : {"relu", "silu", "gelu", "tanh"}, default="relu"
        Between layers.
    dropout : float, default=0.0
        Probability that a hidden unit is dropped in training, in [0, 1).
    expert_dropout : float, default=0.0
        Probability that a row does without an expert in training, in [0, 1); the other
        gates then sum to 1. It keeps all tasks from leaning on one expert [2]_.
    task_shrinkage : float, default=10.0
        Row tasks: ridge strength on the deviations of a task, of its gate and its
        head, in units of the loss of one labelled cell.

    See Also
    --------
    CGC : Some experts belong to single tasks.
    HardSharing : What one expert amounts to.

    Notes
    -----
    The shared parameters are those of the experts. All tasks read the outputs of the
    experts, side by side, as their common representation (``has_features``), on which
    weightings compare gradients; gates and heads belong to the tasks. ``adapt`` puts a
    linear head on the outputs of all experts, or, for a group of rows, on what the
    shared gate mixes.

    After ``fit``, ``architecture_.gate_weights_`` has the mean gate of each task.

    References
    ----------
    .. [1] J. Ma, Z. Zhao, X. Yi, J. Chen, L. Hong, E. Chi (2018). Modeling Task
       Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts. KDD.
       https://doi.org/10.1145/3219819.3220007
    .. [2] Z. Zhao et al. (2019). Recommending What Video to Watch Next: A Multitask
       Ranking System. RecSys. https://doi.org/10.1145/3298689.3346997

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import MMoE
    >>> X = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = np.stack([X[:, 0], np.abs(X[:, 1])], axis=1)
    >>> experts = MMoE(3, hidden_layer_sizes=(8,))
    >>> model = MultiTaskNetRegressor(experts, n_estimators=2, max_epochs=3)
    >>> model.fit(X, y).architecture_.gate_weights_.shape
    torch.Size([2, 2, 3])
    """

    _fusable = ("dropout", "expert_dropout", "task_shrinkage")
    _parameter_constraints = {
        "n_experts": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "expert_dropout": [Interval(Real, 0, 1, closed="left")],
        "task_shrinkage": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_experts=4,
        hidden_layer_sizes="auto",
        *,
        activation="relu",
        dropout=0.0,
        expert_dropout=0.0,
        task_shrinkage=10.0,
    ):
        self.n_experts = n_experts
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.expert_dropout = expert_dropout
        self.task_shrinkage = task_shrinkage

    def build(self, shape, streams=None):
        """Make experts, gates and heads.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank.
        streams : Streams, optional
            Source of the initial weights.

        Returns
        -------
        module : MMoEModule
            The bank.

        Raises
        ------
        ValueError
            If a hidden size is not a positive integer, or there is none.
        """
        sizes = checked_sizes(self, "hidden_layer_sizes", (64, 64), n_least=1)
        return MMoEModule(self, sizes, shape, streams)

    def for_new_heads(self, shape):
        """Choose the architecture that ``adapt`` puts linear heads of new tasks on.

        Parameters
        ----------
        shape : BankShape
            What the fitted module was built for.

        Returns
        -------
        architecture : LinearReadout
            Heads on the outputs of the experts.
        """
        return LinearReadout.of(self, shape)


class MMoEModule(TrunkModule):
    """The bank that :class:`MMoE` builds.

    Parameters
    ----------
    strategy : MMoE
        Where the hyperparameters are read.
    sizes : tuple of int
        Units of each hidden layer of an expert.
    shape : BankShape
        Sizes of the bank.
    streams : Streams or None
        Source of the initial weights.

    Attributes
    ----------
    experts : Experts
        What all tasks share.
    heads : MixedColumns or MixedRows
        Gates, and heads on what they mix.
    """

    def __init__(self, strategy, sizes, shape, streams):
        super().__init__()
        n_networks, n_experts = shape.n_networks, strategy.n_experts
        rates = {
            name: strategy.per_network(name, n_networks).to(shape.dtype)
            for name in ("dropout", "expert_dropout", "task_shrinkage")
        }
        self.experts = Experts(
            n_networks,
            n_experts,
            shape.width,
            sizes,
            ACTIVATIONS[strategy.activation],
            rates["dropout"],
            shape.dtype,
        )
        self.n_hidden = n_experts * sizes[-1]
        self.n_features = self.n_hidden + shape.width
        left_out = ExpertDropout(rates["expert_dropout"])
        kind = MixedRows if shape.row_tasks else MixedColumns
        self.heads = kind(
            shape, n_experts, sizes[-1], rates["task_shrinkage"], left_out
        )
        if streams is not None:
            self.experts.reset(streams, shape.n_inputs)
            self.heads.shared.reset(streams, "head")

    @property
    def gate_weights_(self):
        """Mean gates over the rows of training, (n_networks, n_tasks, n_experts)."""
        return self.heads.gate_weights_

    def features(self, inputs):
        """Run the experts.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_features)
            The last hidden layers of all experts, and behind them the inputs, which
            the gates read.
        """
        hidden = self.experts(inputs).transpose(1, 2).flatten(2)
        return torch.cat([hidden, inputs.expand(len(hidden), -1, -1)], dim=-1)

    def forward(self, inputs, task=None):
        """Compute the outputs, without laying the features side by side.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            ``head(features(inputs), task)``.
        """
        hidden = self.experts(inputs)
        if len(inputs) != len(hidden):
            inputs = inputs.expand(len(hidden), -1, -1)
        return self.heads.mix(hidden, inputs, task)

    def readout(self, inputs):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_readout)
            The outputs of the experts: side by side, or with row tasks mixed by the
            gate that all tasks share.
        """
        return self.heads.readout(self.features(inputs))

    def note_rows(self, batches):
        """Average the gates.

        Parameters
        ----------
        batches : iterator of (inputs, task)
            The rows of training.
        """
        self.heads.gate_weights_.copy_(
            mean_gates(self.heads.gate, batches, self.heads.gate_weights_)
        )

    def task_parameters(self):
        """List the heads of column tasks, or all deviations of row tasks.

        Returns
        -------
        parameters : list of Parameter
            See :meth:`ArchitectureModule.task_parameters`; the gates of column tasks
            are left out.
        """
        return self.heads.task_parameters()

    def shared_parameters(self):
        """List the weights and biases of the experts.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return list(self.experts.parameters())


class MixedColumns(nn.Module):
    """Gates and linear heads of column tasks.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_experts, n_hidden : int
        Number of experts, and the features of one.
    shrinkage : Tensor of shape (n_networks,)
        Not used.
    left_out : ExpertDropout
        Acts on the gates.
    """

    def __init__(self, shape, n_experts, n_hidden, shrinkage, left_out):
        super().__init__()
        sizes = shape.n_networks, shape.width, shape.n_tasks, n_experts
        self.gate = ColumnGates(*sizes, shape.dtype)
        self.left_out = left_out
        self.shared = LinearBank(
            shape.n_networks, n_hidden, shape.n_outputs, dtype=shape.dtype
        )
        self.one_each = list(shape.task_of_output) == list(range(shape.n_tasks))
        owners = torch.tensor([shape.task_of_output] * shape.n_networks)
        self.register_buffer("owners", owners, persistent=False)
        mean = torch.zeros(
            shape.n_networks, shape.n_tasks, n_experts, dtype=shape.dtype
        )
        self.register_buffer("gate_weights_", mean)

    def split(self, features):
        """Take features apart.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            Of :meth:`MMoEModule.features`.

        Returns
        -------
        hidden : Tensor of shape (n_networks, n_rows, n_experts, n_hidden)
            Of the experts.
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            For the gates.
        """
        n_hidden = self.shared.weight.shape[1]
        n_first = features.shape[-1] - self.gate.linear.weight.shape[1]
        hidden, inputs = features[..., :n_first], features[..., n_first:]
        return hidden.unflatten(-1, (-1, n_hidden)), inputs

    def forward(self, features, task=None):
        """Mix the experts for each task, and read the outputs off.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            Of :meth:`MMoEModule.features`.
        task : None
            Column tasks need none.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Side by side.
        """
        hidden, inputs = self.split(features)
        return self.mix(hidden.transpose(1, 2), inputs)

    def mix(self, hidden, inputs, task=None):
        """Mix experts, and read the outputs off.

        Parameters
        ----------
        hidden : Tensor of shape (n_networks, n_experts, n_rows, n_hidden)
            Of the experts.
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            For the gates.
        task : None
            Column tasks need none.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Side by side.
        """
        gates = self.left_out(self.gate(inputs)).permute(0, 2, 3, 1)
        if not self.one_each:
            gates = gates.index_select(1, self.owners[0])
        # A linear head of a mixture is the mixture of linear heads, and these are one
        # product for all tasks.
        heads = torch.bmm(self.shared.weight.mT, hidden.flatten(1, 2).mT)
        mixed = (gates * heads.unflatten(2, hidden.shape[1:3])).sum(2)
        return (mixed + self.shared.bias.mT).mT

    def readout(self, features):
        """Leave the gates out.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            Of :meth:`MMoEModule.features`.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_experts * n_hidden)
            Of the experts.
        """
        return self.split(features)[0].flatten(2)

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


class MixedRows(nn.Module):
    """Gates and linear heads of row tasks, each shared plus a shrunk deviation.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_experts, n_hidden : int
        Number of experts, and the features of one.
    shrinkage : Tensor of shape (n_networks,)
        Of both deviations.
    left_out : ExpertDropout
        Acts on the gates.
    """

    def __init__(self, shape, n_experts, n_hidden, shrinkage, left_out):
        super().__init__()
        n_networks, n_tasks, dtype = shape.n_networks, shape.n_tasks, shape.dtype
        sizes = n_networks, shape.width, n_experts, n_tasks
        self.gate = RowGates(*sizes, shrinkage, shape.n_inputs, dtype)
        sizes = n_networks, n_hidden, shape.n_outputs, n_tasks
        self.own = RowHead(*sizes, shrinkage, [n_hidden] * n_networks, dtype)
        self.left_out = left_out
        mean = torch.zeros(n_networks, n_tasks, n_experts, dtype=dtype)
        self.register_buffer("gate_weights_", mean)

    @property
    def shared(self):
        """The head that all tasks share, LinearBank."""
        return self.own.shared

    @property
    def shrinkage(self):
        """Ridge strength on deviations, Tensor of shape (n_networks,)."""
        return self.own.shrinkage

    def split(self, features):
        """Take features apart.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            Of :meth:`MMoEModule.features`.

        Returns
        -------
        hidden : Tensor of shape (n_networks, n_rows, n_experts, n_hidden)
            Of the experts.
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            For the gates.
        """
        n_hidden = self.shared.weight.shape[1]
        n_first = features.shape[-1] - self.gate.shared.weight.shape[1]
        hidden, inputs = features[..., :n_first], features[..., n_first:]
        return hidden.unflatten(-1, (-1, n_hidden)), inputs

    def forward(self, features, task):
        """Mix the experts for each row, and read the outputs off.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            Of :meth:`MMoEModule.features`.
        task : Tensor of shape (n_networks, n_rows), int64
            Task of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of each row's own task.
        """
        hidden, inputs = self.split(features)
        return self.mix(hidden.transpose(1, 2), inputs, task)

    def mix(self, hidden, inputs, task):
        """Mix experts for each row, and read the outputs off.

        Parameters
        ----------
        hidden : Tensor of shape (n_networks, n_experts, n_rows, n_hidden)
            Of the experts.
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            For the gates.
        task : Tensor of shape (n_networks, n_rows), int64
            Task of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of each row's own task.
        """
        gates = self.left_out(self.gate(inputs, task)).mT
        return self.own((gates.unsqueeze(-1) * hidden).sum(1), task)

    def readout(self, features):
        """Mix the experts by the gate that all tasks share.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            Of :meth:`MMoEModule.features`.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_hidden)
            What the shared head reads.
        """
        hidden, inputs = self.split(features)
        return (self.gate.pooled(inputs).unsqueeze(-1) * hidden).sum(2)

    def task_parameters(self):
        """List the deviations.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, n_tasks + 1, n_columns).
        """
        return [self.gate.deviation.weight, self.own.deviation.weight]

    def penalty(self, share):
        """Shrink the deviations of gates and heads.

        Parameters
        ----------
        share : callable
            See :meth:`ArchitectureModule.penalty`.

        Returns
        -------
        penalty : Tensor of shape (n_networks,)
            Of both.
        """
        return self.gate.penalty(share) + self.own.penalty(share)
