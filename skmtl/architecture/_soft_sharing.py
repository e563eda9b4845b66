"""A network for each task, held together by a penalty."""

from numbers import Real

import torch
from torch import nn

from .._bank import DropoutBank
from .._constraints import Interval, StrOptions
from ._activations import ACTIVATIONS
from ._apart import ApartModule
from ._base import Architecture
from ._by_task import RowsByTask
from ._experts import dropped
from ._extraction import OwnHead
from ._linear_readout import LinearReadout
from ._sizes import checked_sizes
from ._tied import TiedBank, trace_norm


class SoftSharing(Architecture):
    r"""Give each task a network, and penalise how far these are from a common one.

    The objective gains :math:`\lambda \sum_l \sum_t \|\theta_t^l - \theta_0^l\|^2` over
    the layers l, with common weights :math:`\theta_0` that are learned, too: equation 5
    of [1]_ for networks, as in [2]_. The networks all start alike. Strength 0 gives
    independent networks; a strength that grows without bounds one network: with column
    tasks that of :class:`HardSharing`, with row tasks one that ignores the groups.

    Parameters
    ----------
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        Units of each hidden layer of a task. "auto" is (64, 64).
    activation : {"relu", "silu", "gelu", "tanh"}, default="relu"
        Between layers.
    dropout : float, default=0.0
        Probability that a hidden unit is dropped in training, in [0, 1).
    penalty : {"l2", "trace"}, default="l2"
        "l2" is the squared distance. "trace" is the trace norm, the sum of singular
        values, of the deviations of all tasks stacked as vectors: deviations then lie
        in few directions [3]_.
    strength : float, default=1.0
        How much the penalty counts, in units of the loss of one labelled cell.
    task_shrinkage : float, default=10.0
        Row tasks: ridge strength on the head that ``adapt`` gives a new group, in the
        same units.

    See Also
    --------
    CrossStitch : Networks that exchange features instead of weights.
    TaskConditioned : One network for hundreds of row tasks.

    Notes
    -----
    Hidden layers are tied, and with row tasks the heads, too; heads of column tasks
    are free, because what they tell is not the same. The weights in use are
    :math:`\theta_t = a \varphi_0 + (1 - a) \varphi_t` with
    :math:`\theta_0 = \varphi_0` and :math:`a = \lambda / (1 + \lambda)`, and the
    parameters are :math:`\varphi_0, \varphi_t`. This is the same problem for every
    :math:`\lambda`, and one that Adam solves at both ends, where a penalty alone would
    drown the losses.

    The shared parameters are the common weights :math:`\varphi_0`. The tasks have no
    common representation (``has_features`` is False): weightings compare gradients on
    the shared parameters.

    A row of an unknown task has the mean prediction of all tasks. ``adapt`` puts a
    linear head on the features of all tasks side by side. Each task is a whole
    network: this is for tens of tasks.

    The paper on the trace norm penalises the stacked layers themselves, which at
    infinity are zero; deviations lead to one network instead.

    References
    ----------
    .. [1] T. Evgeniou, M. Pontil (2004). Regularized Multi-Task Learning. KDD.
       https://doi.org/10.1145/1014052.1014067
    .. [2] L. Duong, T. Cohn, S. Bird, P. Cook (2015). Low Resource Dependency Parsing:
       Cross-lingual Parameter Sharing in a Neural Network Parser. ACL.
       https://aclanthology.org/P15-2139
    .. [3] Y. Yang, T. Hospedales (2017). Trace Norm Regularised Deep Multi-Task
       Learning. https://arxiv.org/abs/1606.04038

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import SoftSharing
    >>> X = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = np.stack([X[:, 0], X[:, 0] + np.abs(X[:, 1])], axis=1)
    >>> tied = SoftSharing((8,), strength=3.0)
    >>> model = MultiTaskNetRegressor(tied, n_estimators=2, max_epochs=3)
    >>> model.fit(X, y).predict(X).shape
    (80, 2)
    """

    _fusable = ("dropout", "strength", "task_shrinkage")
    _parameter_constraints = {
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "penalty": [StrOptions({"l2", "trace"})],
        "strength": [Interval(Real, 0, None, closed="left")],
        "task_shrinkage": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes="auto",
        *,
        activation="relu",
        dropout=0.0,
        penalty="l2",
        strength=1.0,
        task_shrinkage=10.0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.penalty = penalty
        self.strength = strength
        self.task_shrinkage = task_shrinkage

    def build(self, shape, streams=None):
        """Make a network for each task, and the common one.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank.
        streams : Streams, optional
            Source of the initial weights.

        Returns
        -------
        module : SoftSharingModule
            The bank.

        Raises
        ------
        ValueError
            If a hidden size is not a positive integer, or there is none.
        """
        sizes = checked_sizes(self, "hidden_layer_sizes", (64, 64), n_least=1)
        return SoftSharingModule(self, sizes, shape, streams)

    def for_new_heads(self, shape):
        """Choose the architecture that ``adapt`` puts linear heads of new tasks on.

        Parameters
        ----------
        shape : BankShape
            What the fitted module was built for.

        Returns
        -------
        architecture : LinearReadout
            Heads on the features of all tasks.
        """
        return LinearReadout.of(self, shape)


class SoftSharingModule(ApartModule):
    """The bank that :class:`SoftSharing` builds.

    Parameters
    ----------
    strategy : SoftSharing
        Where the hyperparameters are read.
    sizes : tuple of int
        Units of each hidden layer.
    shape : BankShape
        Sizes of the bank.
    streams : Streams or None
        Source of the initial weights.

    Attributes
    ----------
    layers : ModuleList of TiedBank
        Hidden layers of all tasks.
    heads : OwnHead or TiedHead
        From the features of a task to its outputs.
    """

    def __init__(self, strategy, sizes, shape, streams):
        super().__init__()
        n_networks, dtype = shape.n_networks, shape.dtype
        self.activation = ACTIVATIONS[strategy.activation]
        self.by_trace = strategy.penalty == "trace"
        rates, strength, shrinkage = (
            strategy.per_network(name, n_networks).to(dtype)
            for name in ("dropout", "strength", "task_shrinkage")
        )
        self.register_buffer("strength", strength)
        self.layers, self.dropouts = nn.ModuleList(), nn.ModuleList()
        width = shape.width
        for i, size in enumerate(sizes):
            sides = shape.n_tasks, width, size
            layer = TiedBank(n_networks, *sides, strength, dtype)
            if streams is not None:
                layer.reset(streams, f"layer {i}", None if i else shape.n_inputs)
            self.layers.append(layer)
            self.dropouts.append(DropoutBank(rates.clone(), f"dropout {i}"))
            width = size
        self.rows = shape.row_tasks
        if self.rows:
            self.heads = TiedHead(shape, width, strength, shrinkage)
        else:
            self.heads = OwnHead(shape, width)
        if streams is not None:
            self.heads.shared.reset(streams, "head")

    @property
    def widest(self):
        """Floats of the widest layer of a row in one network, int."""
        return max(layer.bias[0].numel() for layer in self.layers)

    def forward(self, inputs, task=None):
        """Run the network of each task.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of all column tasks, or of the row's task.
        """
        if task is None:
            return self.heads(self.own_features(inputs))
        inputs = inputs.expand(len(task), -1, -1)
        n_tasks = self.heads.shared.weight.shape[1]
        by_task = RowsByTask(task, n_tasks)
        hidden = by_task.spread(inputs)
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            hidden = self.activation(layer(hidden))
            if dropout.drops:
                hidden = by_task.spread(dropout(by_task.collect(hidden)))
        outputs = by_task.collect(self.heads.shared(hidden))
        unknown = task == n_tasks
        # In training they are padding, and count for nothing.
        if self.training or not unknown.any():
            return outputs
        some = unknown.any(0)
        mean = self.heads.shared(self.own_features(inputs[:, some])).mean(1)
        outputs[:, some] = torch.where(
            unknown[:, some].unsqueeze(-1), mean, outputs[:, some]
        )
        return outputs

    def own_features(self, inputs, task=None):
        """Run every row through the hidden layers of all tasks.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Unused.

        Returns
        -------
        features : Tensor of shape (n_networks, n_tasks, n_rows, n_hidden)
            By task.
        """
        hidden = inputs.unsqueeze(1)
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            hidden = dropped(dropout, self.activation(layer(hidden)))
        return hidden

    def readout(self, inputs):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_tasks * n_hidden)
            Last hidden layers of all tasks side by side.
        """
        return self.own_features(inputs).transpose(1, 2).flatten(2)

    def pooled_head(self):
        """Give the head whose outputs are the means over tasks.

        Returns
        -------
        weight : Tensor of shape (n_networks, n_tasks * n_hidden, n_outputs)
            From the readout to outputs.
        bias : Tensor of shape (n_networks, n_outputs)
            Of the outputs.
        shrinkage : Tensor of shape (n_networks,)
            Ridge strength on the deviation of a new task.
        """
        weight, bias = self.heads.shared.effective()
        weight = weight.flatten(1, 2) / weight.shape[1]
        return weight, bias.mean(1).squeeze(1), self.heads.shrinkage

    def set_output_bias(self, bias):
        """Start the heads at the best constant prediction.

        Parameters
        ----------
        bias : Tensor of shape (n_networks, n_outputs)
            From the loss of each task.
        """
        if self.rows:
            self.heads.shared.set_bias(bias)
        else:
            super().set_output_bias(bias)

    def _tied(self):
        return [*self.layers, self.heads.shared] if self.rows else [*self.layers]

    def shared_parameters(self):
        """List the common weights and biases.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return [p for layer in self._tied() for p in layer.common.parameters()]

    def penalty(self, share):
        """Hold the networks of the tasks together.

        Parameters
        ----------
        share : callable
            See :meth:`ArchitectureModule.penalty`.

        Returns
        -------
        penalty : Tensor of shape (n_networks,)
            In expectation over batches, strength times the sum over layers, over the
            training weight of all tasks.
        """
        away = [layer.deviations() for layer in self._tied()]
        share = share()
        if self.by_trace:
            total = sum(trace_norm(rows) for rows in away) * share.mean(-1)
        else:
            total = (sum(rows.square().sum(-1) for rows in away) * share).sum(-1)
        return self.strength * total


class TiedHead(nn.Module):
    """Heads of row tasks, tied as the hidden layers are.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_hidden : int
        Features of a task.
    strength : Tensor of shape (n_networks,)
        Of the tie.
    shrinkage : Tensor of shape (n_networks,)
        Of the heads of new groups.
    """

    def __init__(self, shape, n_hidden, strength, shrinkage):
        super().__init__()
        sides = shape.n_tasks, n_hidden, shape.n_outputs
        self.shared = TiedBank(shape.n_networks, *sides, strength, shape.dtype)
        self.register_buffer("shrinkage", shrinkage)

    def task_parameters(self):
        """Refuse: the heads are no parameters apart from a tie.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            "HeadRates scales the steps of heads, and the heads of row tasks in "
            "SoftSharing are tied to a common one. Use another weighting, or "
            "HardSharing."
        )
