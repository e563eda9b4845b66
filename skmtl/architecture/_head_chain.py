"""One trunk, and heads that see the predictions of the heads before them."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from .._bank import DropoutBank, LinearBank
from .._constraints import Interval, StrOptions
from ._activations import ACTIVATIONS
from ._base import Architecture
from ._heads import OwnOutputs
from ._linear_readout import LinearReadout
from ._sizes import checked_sizes
from ._trunk import TrunkModule


class HeadChain(Architecture):
    r"""Let the head of a task see the predictions of the tasks before it.

    Tasks share a trunk with the last hidden layer z. Along the chain, the head of task
    t has a hidden layer on z and on the outputs of the tasks before it,
    :math:`h_t = f(A_t z + B_t \hat y_{<t} + a_t)`, and is linear in that: a chain of
    classifiers [1]_ or of regressions [2]_ with shared features, for targets that
    follow one another. The B start at zero.

    What a head sees are predictions, in training, too, so that missing labels do not
    matter; and no gradient flows back through them, so that a head is trained by its
    own task alone.

    Parameters
    ----------
    order : "auto" or sequence, default="auto"
        The names of the tasks, first to last. "auto" puts tasks first that a short
        training with one trunk for all tells best, by the loss on held-out rows over
        that of the best constant.
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        Units of each hidden layer of the trunk. "auto" is (128, 128).
    head_size : int, default=32
        Units of the hidden layer of a head.
    activation : {"relu", "silu", "gelu", "tanh"}, default="relu"
        Between layers.
    dropout : float, default=0.0
        Probability that a hidden unit of the trunk is dropped in training, in [0, 1).

    See Also
    --------
    HardSharing : With ``head_layer_sizes``, what no chain amounts to.
    sklearn.multioutput.RegressorChain : A chain of estimators.

    Notes
    -----
    This is for column tasks. The shared parameters are those of the trunk, whose last
    hidden layer is the common representation (``has_features``). Outputs are seen as
    the networks give them: numbers scaled as the targets are, logits for classes.

    ``adapt`` puts a new task at the end of the chain: a linear head on the features
    and on the outputs of all tasks. ``architecture_.order_`` has the order after
    ``fit``. The pilot behind "auto" costs 30 epochs of four small networks.

    References
    ----------
    .. [1] J. Read, B. Pfahringer, G. Holmes, E. Frank (2011). Classifier Chains for
       Multi-label Classification. Machine Learning 85, 333-359.
       https://doi.org/10.1007/s10994-011-5256-5
    .. [2] E. Spyromitros-Xioufis, G. Tsoumakas, W. Groves, I. Vlahavas (2016).
       Multi-target Regression via Input Space Expansion: Treating Targets as Inputs.
       Machine Learning 104, 55-98. https://arxiv.org/abs/1211.6581

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import HeadChain
    >>> X = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = np.stack([X[:, 0] ** 2, np.abs(X[:, 0] ** 2 - 1)], axis=1)
    >>> chain = HeadChain([0, 1], hidden_layer_sizes=(8,))
    >>> model = MultiTaskNetRegressor(chain, n_estimators=2, max_epochs=3)
    >>> model.fit(X, y).architecture_.order_
    [0, 1]
    """

    _fusable = ("dropout",)
    _parameter_constraints = {
        "order": [StrOptions({"auto"}), "array-like"],
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "head_size": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        order="auto",
        *,
        hidden_layer_sizes="auto",
        head_size=32,
        activation="relu",
        dropout=0.0,
    ):
        self.order = order
        self.hidden_layer_sizes = hidden_layer_sizes
        self.head_size = head_size
        self.activation = activation
        self.dropout = dropout

    @property
    def asks_pilot(self):
        """Whether the order is to be found, bool."""
        return isinstance(self.order, str)

    def check_tasks(self, row_tasks):
        """Refuse row tasks.

        Parameters
        ----------
        row_tasks : bool
            Whether each row has one task.

        Raises
        ------
        ValueError
            If it has.
        """
        if row_tasks:
            raise ValueError(
                "HeadChain passes the predictions of a row from column to column, and "
                "with row tasks each row has one task. Take TaskConditioned or MMoE."
            )

    def after_pilot(self, pilot, task_names):
        """Put first what the pilot told best.

        Parameters
        ----------
        pilot : Pilot
            Of the tasks.
        task_names : sequence
            Their names.

        Returns
        -------
        architecture : HeadChain
            A clone.
        """
        if not self.asks_pilot:
            return self
        ranks = np.argsort(pilot.unexplained, kind="stable")
        return clone(self).set_params(order=[task_names[i] for i in ranks])

    def as_before(self, earlier):
        """Take over the order of networks that are trained on.

        Parameters
        ----------
        earlier : Architecture
            Of these networks.

        Returns
        -------
        architecture : HeadChain
            A clone.
        """
        return clone(self).set_params(order=getattr(earlier, "order", "auto"))

    def build(self, shape, streams=None):
        """Make the trunk and the chain.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank.
        streams : Streams, optional
            Source of the initial weights.

        Returns
        -------
        module : HeadChainModule
            The bank.

        Raises
        ------
        ValueError
            If a hidden size is not a positive integer, the order does not fit the
            tasks, or there are row tasks.
        """
        self.check_tasks(shape.row_tasks)
        sizes = checked_sizes(self, "hidden_layer_sizes", (128, 128))
        return HeadChainModule(self, sizes, shape, streams)

    def for_new_heads(self, shape):
        """Choose the architecture that ``adapt`` puts linear heads of new tasks on.

        Parameters
        ----------
        shape : BankShape
            What the fitted module was built for.

        Returns
        -------
        architecture : LinearReadout
            Heads at the end of the chain.
        """
        return LinearReadout.of(self, shape)

    def positions(self, shape):
        """Say in which order the tasks come.

        Parameters
        ----------
        shape : BankShape
            Names the tasks.

        Returns
        -------
        order : list of int, length n_tasks
            Positions of the tasks, first to last.

        Raises
        ------
        ValueError
            See :meth:`build`.
        """
        names = shape.names
        if not isinstance(self.order, str):
            order = list(self.order)
            if len(order) != len(names) or any(name not in order for name in names):
                raise ValueError(
                    "HeadChain(order=...) must name each task once. The tasks are "
                    f"{list(names)}. Got {order} instead."
                )
            return [names.index(name) for name in order]
        if len(names) == 1:
            return [0]
        raise ValueError(
            "HeadChain(order='auto') finds the order in the fit of an estimator of "
            "known tasks. Pass the order here."
        )


class HeadChainModule(TrunkModule):
    """The bank that :class:`HeadChain` builds.

    Parameters
    ----------
    strategy : HeadChain
        Where the hyperparameters are read.
    sizes : tuple of int
        Units of each hidden layer.
    shape : BankShape
        Sizes of the bank.
    streams : Streams or None
        Source of the initial weights.

    Attributes
    ----------
    order_ : list
        Names of the tasks, first to last.
    layers : ModuleList of LinearBank
        The trunk.
    heads : ChainHead
        The chain.
    """

    is_chain = True

    def __init__(self, strategy, sizes, shape, streams):
        super().__init__()
        order = strategy.positions(shape)
        self.order_ = [shape.names[t] for t in order]
        self.activation = ACTIVATIONS[strategy.activation]
        rates = strategy.per_network("dropout", shape.n_networks).to(shape.dtype)
        self.layers, self.dropouts = nn.ModuleList(), nn.ModuleList()
        width = shape.width
        for i, size in enumerate(sizes):
            layer = LinearBank(shape.n_networks, width, size, dtype=shape.dtype)
            if streams is not None:
                layer.reset(streams, f"layer {i}", None if i else shape.n_inputs)
            self.layers.append(layer)
            self.dropouts.append(DropoutBank(rates.clone(), f"dropout {i}"))
            width = size
        self.n_features = width
        self.n_hidden = width if sizes else 0
        self.heads = ChainHead(shape, width, strategy.head_size, self.activation, order)
        if streams is not None:
            fed = None if sizes else shape.n_inputs
            self.heads.first.reset(streams, "head layer 0", fed)
            self.heads.shared.reset(streams, "head")

    def features(self, inputs):
        """Run the trunk.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_features)
            The last hidden layer.
        """
        hidden = inputs
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            hidden = dropout(self.activation(layer(hidden)))
        return hidden

    def readout(self, inputs):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_features + n_outputs)
            The last hidden layer, and the outputs of all tasks.
        """
        features = self.features(inputs)
        outputs = self.heads(features)
        features = features.expand(len(outputs), -1, -1)
        return torch.cat([features, outputs], dim=-1)

    def shared_parameters(self):
        """List the weights and biases of the trunk.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return list(self.layers.parameters())


class ChainHead(nn.Module):
    """Heads of column tasks, one after the other.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_features : int
        What all tasks read.
    n_hidden : int
        Units of the hidden layer of a head.
    activation : callable
        Behind it.
    order : list of int
        Positions of the tasks, first to last.

    Attributes
    ----------
    first : LinearBank
        From features to the hidden units of all heads.
    weight : Parameter of shape (n_networks, n_tasks, n_outputs, n_hidden)
        From the outputs of earlier tasks to hidden units. What belongs to later ones
        stays zero.
    shared : OwnOutputs
        From the hidden units of a head to its outputs.
    """

    def __init__(self, shape, n_features, n_hidden, activation, order):
        super().__init__()
        n_networks, n_tasks, dtype = shape.n_networks, shape.n_tasks, shape.dtype
        self.activation = activation
        self.order = order
        owners = shape.task_of_output
        self.outputs_of = [
            [o for o, owner in enumerate(owners) if owner == t] for t in range(n_tasks)
        ]
        self.first = LinearBank(n_networks, n_features, n_tasks * n_hidden, dtype=dtype)
        sizes = n_networks, n_tasks, shape.n_outputs, n_hidden
        self.weight = nn.Parameter(torch.zeros(sizes, dtype=dtype))
        self.shared = OwnOutputs(shape, n_hidden)

    def forward(self, features, task=None):
        """Go along the chain.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            The shared representation.
        task : None
            Column tasks need none.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Side by side, in the order of the columns.
        """
        base = self.first(features).unflatten(-1, (len(self.order), -1))
        found, seen, places = {}, None, []
        for t in self.order:
            hidden, own = base[:, :, t], self.outputs_of[t]
            if seen is not None:
                hidden = torch.baddbmm(hidden, seen, self.weight[:, t, places])
            weight, bias = self.shared.weight[..., own], self.shared.bias[..., own]
            outputs = torch.baddbmm(bias, self.activation(hidden), weight)
            # Seen without a gradient: an early head serves its own task alone.
            shown = outputs.detach()
            seen = shown if seen is None else torch.cat([seen, shown], dim=-1)
            places = places + own
            found.update(zip(own, outputs.unbind(-1), strict=True))
        return torch.stack([found[o] for o in range(len(found))], dim=-1)

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
