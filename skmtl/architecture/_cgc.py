"""Experts that all tasks share, and experts of single tasks."""

from numbers import Integral, Real

import torch
from torch import nn

from .._constraints import Interval, StrOptions
from ._activations import ACTIVATIONS
from ._base import Architecture
from ._experts import ExpertDropout, Experts, mean_gates
from ._extraction import (
    OwnExperts,
    make_gates,
    make_own_head,
    mixed,
    summed,
)
from ._linear_readout import LinearReadout
from ._sizes import checked_sizes
from ._trunk import TrunkModule


class CGC(Architecture):
    r"""Share some experts, and give each task some of its own.

    Customized gate control: task t mixes its own experts and the shared ones by
    a gate :math:`g^t(x) = \mathrm{softmax}(W_{gt} x)` over both, equations 1 to 3 of
    [1]_, and has a linear head on that. Unlike in :class:`MMoE`, what a task keeps for
    itself cannot be disturbed by the others.

    The gates of row tasks are a shared gate plus a deviation a task, which is shrunk
    as that of the heads; a row of an unknown task has the shared experts alone.

    Parameters
    ----------
    n_shared_experts : int, default=2
        Experts that all tasks train.
    n_task_experts : int, default=1
        Experts of each task.
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        Units of each hidden layer of an expert. "auto" is (64, 64).
    activation : {"relu", "silu", "gelu", "tanh"}, default="relu"
        Between layers.
    dropout : float, default=0.0
        Probability that a hidden unit is dropped in training, in [0, 1).
    expert_dropout : float, default=0.0
        Probability that a row does without an expert in training, in [0, 1); the other
        gates then sum to 1.
    task_shrinkage : float, default=10.0
        Row tasks: ridge strength on the deviations of a task, of its gate and its
        head, in units of the loss of one labelled cell. Nothing shrinks its experts.

    See Also
    --------
    MMoE : All experts are shared.
    PLE : Several levels of this.

    Notes
    -----
    The shared parameters are those of the shared experts, whose outputs are the common
    representation (``has_features``) on which weightings compare gradients. ``adapt``
    puts a linear head on the outputs of all experts, or, for a group of rows, on what
    the shared gate mixes.

    Each row task has weights of its own for every expert, and moments in the
    optimizer: this is for tens of groups. For hundreds take :class:`MMoE`.

    After ``fit``, ``architecture_.gate_weights_`` has the mean gate of each task; its
    own experts come first.

    References
    ----------
    .. [1] H. Tang, J. Liu, M. Zhao, X. Gong (2020). Progressive Layered Extraction
       (PLE): A Novel Multi-Task Learning Model for Personalized Recommendations.
       RecSys. https://doi.org/10.1145/3383313.3412236

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import CGC
    >>> X = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = np.stack([X[:, 0], np.abs(X[:, 1])], axis=1)
    >>> experts = CGC(2, 1, hidden_layer_sizes=(8,))
    >>> model = MultiTaskNetRegressor(experts, n_estimators=2, max_epochs=3)
    >>> model.fit(X, y).architecture_.gate_weights_.shape
    torch.Size([2, 2, 3])
    """

    _fusable = ("dropout", "expert_dropout", "task_shrinkage")
    _parameter_constraints = {
        "n_shared_experts": [Interval(Integral, 1, None, closed="left")],
        "n_task_experts": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "expert_dropout": [Interval(Real, 0, 1, closed="left")],
        "task_shrinkage": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_shared_experts=2,
        n_task_experts=1,
        hidden_layer_sizes="auto",
        *,
        activation="relu",
        dropout=0.0,
        expert_dropout=0.0,
        task_shrinkage=10.0,
    ):
        self.n_shared_experts = n_shared_experts
        self.n_task_experts = n_task_experts
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
        module : CGCModule
            The bank.

        Raises
        ------
        ValueError
            If a hidden size is not a positive integer, or there is none.
        """
        sizes = checked_sizes(self, "hidden_layer_sizes", (64, 64), n_least=1)
        return CGCModule(self, sizes, shape, streams)

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


class CGCModule(TrunkModule):
    """The bank that :class:`CGC` builds.

    Parameters
    ----------
    strategy : CGC
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
    heads : ExtractionHead
        Experts of the tasks, gates, and heads on what they mix.
    """

    def __init__(self, strategy, sizes, shape, streams):
        super().__init__()
        n_networks, n_shared = shape.n_networks, strategy.n_shared_experts
        rates = strategy.per_network("dropout", n_networks).to(shape.dtype)
        settings = sizes, ACTIVATIONS[strategy.activation], rates, shape.dtype
        self.experts = Experts(
            n_networks, n_shared, shape.width, *settings, "level 0 shared "
        )
        self.n_hidden = n_shared * sizes[-1]
        self.n_features = self.n_hidden + shape.width
        self.heads = ExtractionHead(strategy, settings, shape)
        if streams is not None:
            self.experts.reset(streams, shape.n_inputs)
            self.heads.own.reset(streams, shape.n_inputs)
            self.heads.shared.reset(streams, "head")

    @property
    def gate_weights_(self):
        """Mean gates over the rows of training, (n_networks, n_tasks, n_experts)."""
        return self.heads.gate_weights_

    def features(self, inputs):
        """Run the shared experts.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_features)
            The last hidden layers of the shared experts, and behind them the inputs,
            which the gates and the experts of tasks read.
        """
        hidden = self.experts(inputs).transpose(1, 2).flatten(2)
        return torch.cat([hidden, inputs.expand(len(hidden), -1, -1)], dim=-1)

    def readout(self, inputs):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_readout)
            The outputs of all experts side by side, or with row tasks what a row of an
            unknown task has.
        """
        return self.heads.readout(self.features(inputs))

    def note_rows(self, batches):
        """Average the gates.

        Parameters
        ----------
        batches : iterator of (inputs, task)
            The rows of training.
        """

        def gates(inputs, task):
            found = self.heads.gate(inputs, task)
            return found if task is None else found.squeeze(2)

        kept = self.heads.gate_weights_
        kept.copy_(mean_gates(gates, batches, kept))

    def pooled_head(self):
        """Give the head that row tasks share, and how strongly they hold to it.

        Returns
        -------
        weight, bias, shrinkage : Tensor
            See :meth:`ArchitectureModule.pooled_head`.
        """
        head = self.heads.head
        return head.shared.weight, head.shared.bias[:, 0], head.shrinkage

    def task_parameters(self):
        """List the heads of column tasks, or their deviations of row tasks.

        Returns
        -------
        parameters : list of Parameter
            See :meth:`ArchitectureModule.task_parameters`; gates and experts are left
            out.
        """
        return self.heads.head.task_parameters()

    def shared_parameters(self):
        """List the weights and biases of the shared experts.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return list(self.experts.parameters())


class ExtractionHead(nn.Module):
    """The experts of the tasks, their gates, and linear heads on what these mix.

    Parameters
    ----------
    strategy : CGC
        Where the hyperparameters are read.
    settings : tuple
        Sizes, activation, rates and dtype of the experts.
    shape : BankShape
        Sizes of the bank.
    """

    def __init__(self, strategy, settings, shape):
        super().__init__()
        n_networks, n_own = shape.n_networks, strategy.n_task_experts
        n_experts, n_hidden = n_own + strategy.n_shared_experts, settings[0][-1]
        left_out, shrinkage = (
            strategy.per_network(name, n_networks).to(shape.dtype)
            for name in ("expert_dropout", "task_shrinkage")
        )
        self.own = OwnExperts(shape, n_own, shape.width, *settings, "level 0 own ")
        self.gate = make_gates(shape, shape.width, n_own, n_experts, shrinkage)
        self.left_out = ExpertDropout(left_out, "expert dropout 0")
        self.head = make_own_head(shape, n_hidden, shrinkage)
        mean = torch.zeros(n_networks, shape.n_tasks, n_experts, dtype=shape.dtype)
        self.register_buffer("gate_weights_", mean)

    @property
    def shared(self):
        """The bank that output biases are set in, LinearBank."""
        return self.head.shared

    def forward(self, features, task=None):
        """Run the experts of the tasks, mix, and read the outputs off.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            Of :meth:`CGCModule.features`.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of all column tasks, or of the row's task.
        """
        return self.head(self._mixed(features, task), task)

    def _mixed(self, features, task):
        shared, inputs = self._split(features)
        gates = self.left_out(self.gate(inputs, task))
        return mixed(gates, self.own(inputs, task), shared)

    def _split(self, features):
        n_in, n_hidden = self.own.first.weight.shape[-2], self.shared.weight.shape[1]
        n_first = features.shape[-1] - n_in
        shared = features[..., :n_first].unflatten(-1, (-1, n_hidden))
        return shared.transpose(1, 2), features[..., n_first:]

    def readout(self, features):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            Of :meth:`CGCModule.features`.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_readout)
            See :meth:`CGCModule.readout`.
        """
        if hasattr(self.gate, "deviation"):
            n_tasks = self.gate.deviation.weight.shape[1] - 1
            nobody = torch.full(features.shape[:2], n_tasks, device=features.device)
            return self._mixed(features, nobody).squeeze(1)
        shared, inputs = self._split(features)
        everything = torch.cat([self.own(inputs).flatten(1, 2), shared], dim=1)
        return everything.transpose(1, 2).flatten(2)

    def penalty(self, share):
        """Shrink the deviations of gates and heads of row tasks.

        Parameters
        ----------
        share : callable
            See :meth:`ArchitectureModule.penalty`.

        Returns
        -------
        penalty : Tensor of shape (n_networks,) or None
            None for column tasks.
        """
        parts = [self.gate, self.head]
        return summed(p.penalty(share) for p in parts if hasattr(p, "penalty"))
