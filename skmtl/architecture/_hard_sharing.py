"""One trunk for all tasks."""

from numbers import Real

import torch
from torch import nn

from .._bank import DropoutBank, LinearBank, NormBank
from .._constraints import Interval, StrOptions
from ._activations import ACTIVATIONS
from ._base import Architecture
from ._heads import TowerHead
from ._linear_readout import LinearReadout
from ._sizes import checked_sizes
from ._trunk import TrunkModule

# Strength of pooling while training, where held-out rows have the last word; by
# measurement, see "auto" pooling in the design notes.
_TRAINED_WITH = 10.0


class HardSharing(Architecture):
    r"""Share all hidden layers; give each task a head.

    Column tasks have linear heads, computed together. Row tasks share one head plus a
    deviation a task that is shrunk towards it.

    Parameters
    ----------
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        Units of each hidden layer. "auto" is (128, 128).
    activation : {"relu", "silu", "gelu", "tanh"}, default="relu"
        Between layers.
    dropout : float, default=0.0
        Probability that a hidden unit is dropped in training, in [0, 1).
    linear_skip : "auto" or bool, default="auto"
        Whether the heads also read the encoded inputs, so that a linear model is a
        special case. "auto" is True for more than 100 inputs.
    layer_norm : bool, default=False
        Whether the units of each hidden layer are normalised in each row, before the
        activation.
    residual : bool, default=False
        Whether a hidden layer as wide as the one before it is added to that one.
    head_layer_sizes : sequence of int, default=()
        Column tasks: units of hidden layers that each task has of its own, between the
        shared layers and its outputs.
    task_shrinkage : "auto" or float, default="auto"
        Row tasks: ridge strength on the deviation of a task from the shared head, in
        units of the loss of one labelled cell. Large values ignore the groups. "auto"
        trains with 10; then the rows held out for early stopping choose how much of the
        deviations to keep, from all to nothing, and how far the level of each task
        moves beyond that, see Notes.

    See Also
    --------
    skmtl.MultiTaskNetRegressor : Where it is used.

    Notes
    -----
    With "auto" each network chooses, by the rows that it holds out, a share :math:`a`
    of its deviations :math:`D_t, c_t` and a strength :math:`\lambda`. It then predicts
    a row of task t by :math:`f (W + a D_t) + b + a c_t + r_t / (n_t + \lambda)`, where
    :math:`r_t` is the sum of what the rest leaves of the training labels of the task,
    and :math:`n_t` their number, as in a model with a random intercept [2]_. The share
    may be zero and the strength infinite, so that groups that hardly differ are pooled.
    With other losses than squared errors the last term is missing. Without
    held-out rows, as with ``early_stopping=False`` or in ``partial_fit``, heads stay as
    they were trained; ``adapt`` uses the strength of training.

    References
    ----------
    .. [1] R. Caruana (1997). Multitask Learning. Machine Learning 28, 41-75.
    .. [2] A. Gelman, J. Hill (2006). Data Analysis Using Regression and
       Multilevel/Hierarchical Models, chapter 12 (partial pooling).
    .. [3] J. Ba, J. Kiros, G. Hinton (2016). Layer Normalization.
       https://arxiv.org/abs/1607.06450
    .. [4] Y. Gorishniy, I. Rubachev, V. Khrulkov, A. Babenko (2021). Revisiting Deep
       Learning Models for Tabular Data, section 3.2 (residual layers for tables).
       NeurIPS. https://arxiv.org/abs/2106.11959

    Examples
    --------
    >>> from skmtl.architecture import HardSharing
    >>> HardSharing((64,), dropout=0.1)
    HardSharing(dropout=0.1, hidden_layer_sizes=(64,))
    """

    _fusable = ("dropout", "task_shrinkage")
    _parameter_constraints = {
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "linear_skip": [StrOptions({"auto"}), "boolean"],
        "layer_norm": ["boolean"],
        "residual": ["boolean"],
        "head_layer_sizes": ["array-like"],
        "task_shrinkage": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
        ],
    }

    def __init__(
        self,
        hidden_layer_sizes="auto",
        *,
        activation="relu",
        dropout=0.0,
        linear_skip="auto",
        layer_norm=False,
        residual=False,
        head_layer_sizes=(),
        task_shrinkage="auto",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.linear_skip = linear_skip
        self.layer_norm = layer_norm
        self.residual = residual
        self.head_layer_sizes = head_layer_sizes
        self.task_shrinkage = task_shrinkage

    def build(self, shape, streams=None):
        """Make the trunk and the heads.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank.
        streams : Streams, optional
            Source of the initial weights.

        Returns
        -------
        module : HardSharingModule
            The bank.

        Raises
        ------
        ValueError
            If a size is not a positive integer, or row tasks are to have hidden
            layers of their own.
        """
        sizes = checked_sizes(self, "hidden_layer_sizes", (128, 128))
        towers = checked_sizes(self, "head_layer_sizes")
        if towers and shape.row_tasks:
            raise ValueError(
                "HardSharing(head_layer_sizes=...) gives hidden layers to column "
                "tasks, and these are row tasks, whose heads deviate from a shared "
                "one. Pass head_layer_sizes=(), or an architecture with more of its "
                "own for each task."
            )
        return HardSharingModule(self, sizes, shape, streams)

    def for_new_heads(self, shape):
        """Choose the architecture that ``adapt`` puts linear heads of new tasks on.

        Parameters
        ----------
        shape : BankShape
            What the fitted module was built for.

        Returns
        -------
        architecture : Architecture
            Itself, if its heads are linear.
        """
        return LinearReadout.of(self, shape) if len(self.head_layer_sizes) else self

    def per_network(self, name, n_networks):
        """Read a continuous hyperparameter as one value a network.

        Parameters
        ----------
        name : str
            The hyperparameter.
        n_networks : int
            Length of the network axis.

        Returns
        -------
        values : Tensor of shape (n_networks,), float64
            For a strength of pooling of "auto", that of the training.
        """
        if name == "task_shrinkage" and self.validates_pooling:
            return torch.full((n_networks,), _TRAINED_WITH, dtype=torch.float64)
        return super().per_network(name, n_networks)

    @property
    def validates_pooling(self):
        """Whether held-out rows choose how strongly row tasks are pooled, bool."""
        return isinstance(self.task_shrinkage, str)

    def skips(self, n_inputs):
        """Tell whether the heads read the inputs.

        Parameters
        ----------
        n_inputs : int
            Number of inputs.

        Returns
        -------
        skips : bool
            By the rule for "auto".
        """
        if isinstance(self.linear_skip, str):
            # By measurement: see bench_tabular.py, mtr_oes97.
            return n_inputs > 100
        return bool(self.linear_skip)


class HardSharingModule(TrunkModule):
    """The bank that :class:`HardSharing` builds.

    Parameters
    ----------
    strategy : HardSharing
        Where the hyperparameters are read.
    sizes : tuple of int
        Units of each hidden layer.
    shape : BankShape
        Sizes of the bank.
    streams : Streams or None
        Source of the initial weights.
    """

    def __init__(self, strategy, sizes, shape, streams):
        super().__init__()
        self.activation = ACTIVATIONS[strategy.activation]
        # By the network's own width, so that its bank does not matter.
        skips = [not sizes or strategy.skips(n) for n in shape.n_inputs]
        self.skip = any(skips)
        self.mixed = self.skip and not all(skips)
        self.register_buffer("skips", torch.tensor(skips, dtype=shape.dtype))
        rates = strategy.per_network("dropout", shape.n_networks).to(shape.dtype)
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleList()
        self.dropouts = nn.ModuleList()
        self.residual = strategy.residual
        self.is_chain = not strategy.layer_norm and not strategy.residual
        width = shape.width
        for i, size in enumerate(sizes):
            layer = LinearBank(shape.n_networks, width, size, dtype=shape.dtype)
            if streams is not None:
                layer.reset(streams, f"layer {i}", shape.n_inputs if i == 0 else None)
            self.layers.append(layer)
            if strategy.layer_norm:
                self.norms.append(NormBank(shape.n_networks, size, dtype=shape.dtype))
            self.dropouts.append(DropoutBank(rates.clone(), f"dropout {i}"))
            width = size
        self.n_hidden = n_hidden = width if sizes else 0
        self.n_features = n_hidden + (shape.width if self.skip else 0)
        widths = [
            n_hidden + n * skip for n, skip in zip(shape.n_inputs, skips, strict=True)
        ]
        towers = tuple(strategy.head_layer_sizes)
        if not towers:
            self.make_heads(strategy, shape, widths, streams)
            return
        self.heads = TowerHead(shape, self.n_features, towers, self.activation)
        if streams is not None:
            self.heads.reset(streams, [n_hidden or n for n in shape.n_inputs])

    def features(self, inputs):
        """Run the trunk.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_features)
            The last hidden layer, and the inputs behind it with a linear skip.
        """
        hidden = inputs
        for i, (layer, dropout) in enumerate(
            zip(self.layers, self.dropouts, strict=True)
        ):
            new = layer(hidden)
            if self.norms:
                new = self.norms[i](new)
            new = dropout(self.activation(new))
            # By the layers and not by the tensors: inputs may be as wide by chance.
            adds = self.residual and i and new.shape[-1] == hidden.shape[-1]
            hidden = hidden + new if adds else new
        if not self.skip:
            return hidden
        if not self.layers:
            return inputs
        if self.mixed:
            inputs = inputs * self.skips[:, None, None]
        return torch.cat([hidden, inputs.expand(len(hidden), -1, -1)], dim=-1)

    def chain(self):
        """List hidden layers and heads.

        Returns
        -------
        banks : list of LinearBank or None
            None with another activation than relu, a linear skip, layer norm, residual
            layers, dropout in training, layers of single tasks, or row tasks.
        """
        heads = self.heads.chain()
        plain = self.activation is nn.functional.relu and not self.skip
        plain = plain and self.is_chain
        if heads is None or not plain or any(d.drops for d in self.dropouts):
            return None
        return [*self.layers, *heads]

    def shared_parameters(self):
        """List the weights and biases of the shared layers, and of their norms.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return [*self.layers.parameters(), *self.norms.parameters()]
