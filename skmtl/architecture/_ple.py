"""Levels of shared experts and experts of single tasks."""

from numbers import Integral

import torch
from torch import nn

from .._bank import LinearBank
from .._constraints import Interval
from ._activations import ACTIVATIONS
from ._apart import ApartModule
from ._cgc import CGC
from ._experts import ExpertDropout, Experts, mean_gates
from ._extraction import OwnExperts, make_gates, make_own_head, mixed, summed
from ._sizes import checked_sizes


class PLE(CGC):
    r"""Stack levels of :class:`CGC`: extract what tasks share step by step.

    Progressive layered extraction: each level has shared experts and experts of each
    task. A gate of task t mixes its own experts and the shared ones to what its experts
    of the next level read; a shared gate mixes all experts of the level to what the
    shared experts of the next level read, section 4.2 of [1]_. The heads are linear in
    what the tasks' gates mix last.

    With row tasks the shared gate of a row mixes the experts of the row's own task and
    the shared ones, so that no row runs through the experts of all tasks.

    Parameters
    ----------
    n_levels : int, default=2
        Number of levels. One is :class:`CGC`.
    n_shared_experts : int, default=2
        Shared experts of a level.
    n_task_experts : int, default=1
        Experts of each task at a level.
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        Units of each hidden layer of an expert. "auto" is (64,).
    activation : {"relu", "silu", "gelu", "tanh"}, default="relu"
        Between layers.
    dropout : float, default=0.0
        Probability that a hidden unit is dropped in training, in [0, 1).
    expert_dropout : float, default=0.0
        Probability that a row does without an expert in training, in [0, 1), at the
        gates of tasks.
    task_shrinkage : float, default=10.0
        Row tasks: ridge strength on the deviations of a task, of its gates and its
        head, in units of the loss of one labelled cell. Nothing shrinks its experts.

    See Also
    --------
    CGC : One level, with a common representation.

    Notes
    -----
    The shared parameters of column tasks are those of all shared experts and shared
    gates; of the experts of tasks below the last level, which reach the others through
    a shared gate; and of the gates of tasks below the last but one level. With row
    tasks only shared experts and shared gates are. The tasks read mixtures of their
    own, so there is no common representation (``has_features`` is False): weightings
    compare gradients on the shared parameters.

    Each row task has weights of its own for every expert, and moments in the
    optimizer: this is for tens of groups.

    After ``fit``, ``architecture_.gate_weights_`` has the mean gate of each task at the
    last level; its own experts come first.

    References
    ----------
    .. [1] H. Tang, J. Liu, M. Zhao, X. Gong (2020). Progressive Layered Extraction
       (PLE): A Novel Multi-Task Learning Model for Personalized Recommendations.
       RecSys. https://doi.org/10.1145/3383313.3412236

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import PLE
    >>> X = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = np.stack([X[:, 0], np.abs(X[:, 1])], axis=1)
    >>> levels = PLE(2, hidden_layer_sizes=(8,))
    >>> model = MultiTaskNetRegressor(levels, n_estimators=2, max_epochs=3)
    >>> model.fit(X, y).architecture_.gate_weights_.shape
    torch.Size([2, 2, 3])
    """

    _parameter_constraints = {
        "n_levels": [Interval(Integral, 1, None, closed="left")],
        **CGC._parameter_constraints,
    }

    def __init__(
        self,
        n_levels=2,
        n_shared_experts=2,
        n_task_experts=1,
        hidden_layer_sizes="auto",
        *,
        activation="relu",
        dropout=0.0,
        expert_dropout=0.0,
        task_shrinkage=10.0,
    ):
        super().__init__(
            n_shared_experts,
            n_task_experts,
            hidden_layer_sizes,
            activation=activation,
            dropout=dropout,
            expert_dropout=expert_dropout,
            task_shrinkage=task_shrinkage,
        )
        self.n_levels = n_levels

    def build(self, shape, streams=None):
        """Make levels and heads.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank.
        streams : Streams, optional
            Source of the initial weights.

        Returns
        -------
        module : PLEModule
            The bank.

        Raises
        ------
        ValueError
            If a hidden size is not a positive integer, or there is none.
        """
        sizes = checked_sizes(self, "hidden_layer_sizes", (64,), n_least=1)
        return PLEModule(self, sizes, shape, streams)


class PLEModule(ApartModule):
    """The bank that :class:`PLE` builds.

    Parameters
    ----------
    strategy : PLE
        Where the hyperparameters are read.
    sizes : tuple of int
        Units of each hidden layer of an expert.
    shape : BankShape
        Sizes of the bank.
    streams : Streams or None
        Source of the initial weights.

    Attributes
    ----------
    levels : ModuleList of ExtractionLevel
        From the inputs on.
    heads : OwnHead or OwnRowHead
        On what the gates of the tasks mix last.
    """

    def __init__(self, strategy, sizes, shape, streams):
        super().__init__()
        n_levels = strategy.n_levels
        self.levels = nn.ModuleList(
            ExtractionLevel(strategy, sizes, shape, level, level == n_levels - 1)
            for level in range(n_levels)
        )
        shrinkage = strategy.per_network("task_shrinkage", shape.n_networks)
        self.heads = make_own_head(shape, sizes[-1], shrinkage.to(shape.dtype))
        n_experts = strategy.n_task_experts + strategy.n_shared_experts
        mean = shape.n_networks, shape.n_tasks, n_experts
        self.register_buffer("gate_weights_", torch.zeros(mean, dtype=shape.dtype))
        if streams is not None:
            for i, level in enumerate(self.levels):
                level.reset(streams, None if i else shape.n_inputs)
            self.heads.shared.reset(streams, "head")

    def own_features(self, inputs, task=None):
        """Go through all levels.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        features : Tensor of shape (n_networks, n_tasks or 1, n_rows, n_hidden)
            By task.
        """
        inputs = inputs.expand(len(self.heads.shared.weight), -1, -1)
        own = shared = inputs
        for level in self.levels:
            own, shared = level(own, shared, task)
        return own

    def note_rows(self, batches):
        """Average the gates of the last level.

        Parameters
        ----------
        batches : iterator of (inputs, task)
            The rows of training.
        """

        def gates(inputs, task):
            own = shared = inputs
            for level in self.levels[:-1]:
                own, shared = level(own, shared, task)
            found = self.levels[-1].gates(own, task)
            return found if task is None else found.squeeze(2)

        self.gate_weights_.copy_(mean_gates(gates, batches, self.gate_weights_))

    def shared_parameters(self):
        """List what all tasks train; see the notes of :class:`PLE`.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        rows = hasattr(self.heads, "deviation")
        shared, n_after = [], len(self.levels)
        for level in self.levels:
            n_after -= 1
            shared += level.shared.parameters()
            if n_after:
                shared += level.shared_gate.parameters()
            if n_after and not rows:
                shared += level.own.parameters()
            if n_after > 1 and not rows:
                shared += level.gate.parameters()
        return shared

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
        parts = [*(level.gate for level in self.levels), self.heads]
        return summed(p.penalty(share) for p in parts if hasattr(p, "penalty"))


class ExtractionLevel(nn.Module):
    """Experts, and the gates to the next level.

    Parameters
    ----------
    strategy : PLE
        Where the hyperparameters are read.
    sizes : tuple of int
        Units of each hidden layer of an expert.
    shape : BankShape
        Sizes of the bank.
    level : int
        Counted from the inputs.
    last : bool
        Whether no level follows, and nobody reads what a shared gate would mix.
    """

    def __init__(self, strategy, sizes, shape, level, last):
        super().__init__()
        n_networks, n_own = shape.n_networks, strategy.n_task_experts
        n_shared, n_in = strategy.n_shared_experts, sizes[-1] if level else shape.width
        rates, left_out, shrinkage = (
            strategy.per_network(name, n_networks).to(shape.dtype)
            for name in ("dropout", "expert_dropout", "task_shrinkage")
        )
        settings = sizes, ACTIVATIONS[strategy.activation], rates, shape.dtype
        name, apart = f"level {level}", level > 0
        self.shared = Experts(n_networks, n_shared, n_in, *settings, f"{name} shared ")
        self.own = OwnExperts(
            shape, n_own, n_in, *settings, f"{name} own ", apart=apart
        )
        self.gate = make_gates(shape, n_in, n_own, n_own + n_shared, shrinkage, apart)
        self.left_out = ExpertDropout(left_out, f"expert dropout {level}")
        self.shared_gate = None
        if not last:
            n_tasks = 1 if shape.row_tasks else shape.n_tasks
            self.shared_gate = LinearBank(
                n_networks, n_in, n_tasks * n_own + n_shared, dtype=shape.dtype
            )

    def reset(self, streams, n_in):
        """Draw initial weights; gates stay at zero.

        Parameters
        ----------
        streams : Streams
            Where the numbers come from.
        n_in : sequence of int of length n_networks or None
            Unpadded widths of the inputs.
        """
        self.shared.reset(streams, n_in)
        self.own.reset(streams, n_in)

    def gates(self, own, task):
        """Compute the gates of tasks.

        Parameters
        ----------
        own : Tensor of shape (n_networks, n_rows, n_in) or (n_networks, n_tasks, ...)
            What tasks read.
        task : Tensor of shape (n_networks, n_rows), int64, or None
            Task of each row.

        Returns
        -------
        gates : Tensor of shape (n_networks, n_rows, n_tasks or 1, n_experts)
            They sum to 1 over experts.
        """
        if task is not None and own.ndim == 4:
            own = own.squeeze(1)
        return self.gate(own, task)

    def forward(self, own, shared, task=None):
        """Run the experts and mix them.

        Parameters
        ----------
        own : Tensor of shape (n_networks, n_rows, n_in) or (n_networks, n_tasks, ...)
            What tasks read.
        shared : Tensor of shape (n_networks, n_rows, n_in)
            What the shared experts read.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        own : Tensor of shape (n_networks, n_tasks or 1, n_rows, n_hidden)
            For the tasks at the next level.
        shared : Tensor of shape (n_networks, n_rows, n_hidden) or None
            For the shared experts there.
        """
        if task is not None and own.ndim == 4:
            own = own.squeeze(1)
        gates = self.left_out(self.gates(own, task))
        experts = self.own(own, task)
        common = self.shared(shared)
        mixture = mixed(gates, experts, common)
        if self.shared_gate is None:
            return mixture, None
        everything = torch.cat([experts.flatten(1, 2), common], dim=1)
        logits = self.shared_gate(shared)
        if task is not None:
            logits = self.gate.without_strangers(logits, task)
        weights = logits.softmax(-1).mT.unsqueeze(-1)
        return mixture, (weights * everything).sum(1)
