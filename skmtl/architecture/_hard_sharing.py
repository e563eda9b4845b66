"""One trunk for all tasks."""

from numbers import Integral, Real

import torch
from torch import nn

from .._bank import DropoutBank, LinearBank
from .._constraints import Interval, StrOptions
from ._base import Architecture
from ._trunk import TrunkModule

_ACTIVATIONS = {
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh,
}


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
    task_shrinkage : float, default=10.0
        Row tasks: ridge strength on the deviation of a task from the shared head, in
        units of the loss of one labelled cell. Large values ignore the groups.

    See Also
    --------
    skmtl.MultiTaskNetRegressor : Where it is used.

    References
    ----------
    .. [1] R. Caruana (1997). Multitask Learning. Machine Learning 28, 41-75.
    .. [2] A. Gelman, J. Hill (2006). Data Analysis Using Regression and
       Multilevel/Hierarchical Models, chapter 12 (partial pooling).

    Examples
    --------
    >>> from skmtl.architecture import HardSharing
    >>> HardSharing((64,), dropout=0.1)
    HardSharing(dropout=0.1, hidden_layer_sizes=(64,))
    """

    _fusable = ("dropout", "task_shrinkage")
    _parameter_constraints = {
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "activation": [StrOptions(set(_ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "linear_skip": [StrOptions({"auto"}), "boolean"],
        "task_shrinkage": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes="auto",
        *,
        activation="relu",
        dropout=0.0,
        linear_skip="auto",
        task_shrinkage=10.0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.linear_skip = linear_skip
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
            If a hidden size is not a positive integer.
        """
        sizes = self.hidden_layer_sizes
        sizes = (128, 128) if isinstance(sizes, str) else tuple(sizes)
        if not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(
                "The 'hidden_layer_sizes' parameter of HardSharing must hold positive "
                f"integers. Got {self.hidden_layer_sizes!r} instead."
            )
        return HardSharingModule(self, sizes, shape, streams)

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

    is_chain = True

    def __init__(self, strategy, sizes, shape, streams):
        super().__init__()
        self.activation = _ACTIVATIONS[strategy.activation]
        # By the network's own width, so that its bank does not matter.
        skips = [not sizes or strategy.skips(n) for n in shape.n_inputs]
        self.skip = any(skips)
        self.mixed = self.skip and not all(skips)
        self.register_buffer("skips", torch.tensor(skips, dtype=shape.dtype))
        rates = strategy.per_network("dropout", shape.n_networks).to(shape.dtype)
        self.layers = nn.ModuleList()
        self.dropouts = nn.ModuleList()
        width = shape.width
        for i, size in enumerate(sizes):
            layer = LinearBank(shape.n_networks, width, size, dtype=shape.dtype)
            if streams is not None:
                layer.reset(streams, f"layer {i}", shape.n_inputs if i == 0 else None)
            self.layers.append(layer)
            self.dropouts.append(DropoutBank(rates.clone(), f"dropout {i}"))
            width = size
        self.n_hidden = n_hidden = width if sizes else 0
        self.n_features = n_hidden + (shape.width if self.skip else 0)
        widths = [
            n_hidden + n * skip for n, skip in zip(shape.n_inputs, skips, strict=True)
        ]
        self.make_heads(strategy, shape, widths, streams)

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
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            hidden = dropout(self.activation(layer(hidden)))
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
            None with another activation than relu, a linear skip, dropout in training,
            or row tasks.
        """
        heads = self.heads.chain()
        plain = self.activation is nn.functional.relu and not self.skip
        if heads is None or not plain or any(d.drops for d in self.dropouts):
            return None
        return [*self.layers, *heads]

    def shared_parameters(self):
        """List the weights and biases of the hidden layers.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return list(self.layers.parameters())
