"""One trunk whose layers each task masks for itself."""

from numbers import Integral, Real

import torch
from torch import nn

from .._bank import DropoutBank, LinearBank, StackBank
from .._constraints import Interval, StrOptions
from ._activations import ACTIVATIONS
from ._base import Architecture
from ._extraction import OwnHead, OwnRowHead, summed
from ._heads import RowHead
from ._linear_readout import LinearReadout
from ._sizes import checked_sizes
from ._trunk import TrunkModule


class Attention(Architecture):
    r"""Share a trunk; let each task attend to the units of its layers.

    From the hidden layer :math:`p^l` of the trunk, task t takes
    :math:`\hat a_t^l = a_t^l \odot p^l` with the mask
    :math:`a_t^l = \sigma(h_t^l(g_t^l([p^l; \hat a_t^{l-1}])))`, equations 1 and 2 of
    [1]_ with linear layers in the place of convolutions: :math:`g` is a layer of
    `mask_size` units with relu, :math:`h` is linear. The head of a task reads its last
    masked layer.

    With row tasks :math:`g` is shared, and :math:`h` is a shared map plus a deviation a
    task, which is shrunk as that of the heads.

    Parameters
    ----------
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        Units of each hidden layer of the trunk. "auto" is (128, 128).
    mask_size : int, default=16
        Units between the layers and the logits of a mask.
    activation : {"relu", "silu", "gelu", "tanh"}, default="relu"
        Between layers of the trunk.
    dropout : float, default=0.0
        Probability that a hidden unit of the trunk is dropped in training, in [0, 1).
    task_shrinkage : float, default=10.0
        Row tasks: ridge strength on the deviations of a task, of its masks and its
        head, in units of the loss of one labelled cell.

    See Also
    --------
    TaskConditioned : Units are scaled by the task alone, whatever the row.
    HardSharing : What masks of ones amount to.

    Notes
    -----
    The shared parameters are those of the trunk. Its hidden layers, side by side, are
    the common representation (``has_features``) on which weightings compare gradients;
    masks and heads belong to the tasks. ``adapt`` puts a linear head on all layers, or,
    for a group of rows, on the last layer under the masks of no task.

    The paper's attention reads a convolution before the one that it masks and is
    normalised by batches; here it reads the layer itself.

    References
    ----------
    .. [1] S. Liu, E. Johns, A. Davison (2019). End-to-End Multi-Task Learning with
       Attention. CVPR. https://arxiv.org/abs/1803.10704

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import Attention
    >>> X = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = np.stack([X[:, 0], np.abs(X[:, 1])], axis=1)
    >>> masked = Attention((8, 8), mask_size=4)
    >>> model = MultiTaskNetRegressor(masked, n_estimators=2, max_epochs=3)
    >>> model.fit(X, y).predict(X).shape
    (80, 2)
    """

    _fusable = ("dropout", "task_shrinkage")
    _parameter_constraints = {
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "mask_size": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "task_shrinkage": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes="auto",
        mask_size=16,
        *,
        activation="relu",
        dropout=0.0,
        task_shrinkage=10.0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.mask_size = mask_size
        self.activation = activation
        self.dropout = dropout
        self.task_shrinkage = task_shrinkage

    def build(self, shape, streams=None):
        """Make the trunk, the masks and the heads.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank.
        streams : Streams, optional
            Source of the initial weights.

        Returns
        -------
        module : AttentionModule
            The bank.

        Raises
        ------
        ValueError
            If a hidden size is not a positive integer, or there is none.
        """
        sizes = checked_sizes(self, "hidden_layer_sizes", (128, 128), n_least=1)
        return AttentionModule(self, sizes, shape, streams)

    def for_new_heads(self, shape):
        """Choose the architecture that ``adapt`` puts linear heads of new tasks on.

        Parameters
        ----------
        shape : BankShape
            What the fitted module was built for.

        Returns
        -------
        architecture : LinearReadout
            Heads on the layers of the trunk.
        """
        return LinearReadout.of(self, shape)


class AttentionModule(TrunkModule):
    """The bank that :class:`Attention` builds.

    Parameters
    ----------
    strategy : Attention
        Where the hyperparameters are read.
    sizes : tuple of int
        Units of each hidden layer.
    shape : BankShape
        Sizes of the bank.
    streams : Streams or None
        Source of the initial weights.

    Attributes
    ----------
    layers : ModuleList of LinearBank
        The trunk.
    heads : AttendingHead
        Masks, and heads on what they leave.
    """

    def __init__(self, strategy, sizes, shape, streams):
        super().__init__()
        n_networks, dtype = shape.n_networks, shape.dtype
        self.activation = ACTIVATIONS[strategy.activation]
        rates, shrinkage = (
            strategy.per_network(name, n_networks).to(dtype)
            for name in ("dropout", "task_shrinkage")
        )
        self.layers, self.dropouts = nn.ModuleList(), nn.ModuleList()
        width = shape.width
        for i, size in enumerate(sizes):
            layer = LinearBank(n_networks, width, size, dtype=dtype)
            if streams is not None:
                layer.reset(streams, f"layer {i}", None if i else shape.n_inputs)
            self.layers.append(layer)
            self.dropouts.append(DropoutBank(rates.clone(), f"dropout {i}"))
            width = size
        self.n_hidden = self.n_features = sum(sizes)
        self.heads = AttendingHead(strategy.mask_size, sizes, shape, shrinkage)
        if streams is not None:
            self.heads.reset(streams)

    def features(self, inputs):
        """Run the trunk.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_features)
            All hidden layers side by side.
        """
        found, hidden = [], inputs
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            hidden = dropout(self.activation(layer(hidden)))
            found.append(hidden)
        return torch.cat(found, dim=-1)

    def readout(self, inputs):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_readout)
            All hidden layers; with row tasks the last under the masks of no task.
        """
        return self.heads.readout(self.features(inputs))

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
            See :meth:`ArchitectureModule.task_parameters`; masks are left out.
        """
        return self.heads.head.task_parameters()

    def shared_parameters(self):
        """List the weights and biases of the trunk.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return list(self.layers.parameters())


class AttendingHead(nn.Module):
    """Masks of the layers of a trunk, and linear heads on the last one.

    Parameters
    ----------
    mask_size : int
        Units between layers and masks.
    sizes : tuple of int
        Units of the layers.
    shape : BankShape
        Sizes of the bank.
    shrinkage : Tensor of shape (n_networks,)
        Row tasks: of deviations.
    """

    def __init__(self, mask_size, sizes, shape, shrinkage):
        super().__init__()
        self.sizes = sizes
        kind = RowMask if shape.row_tasks else ColumnMask
        before = (0, *sizes[:-1])
        self.masks = nn.ModuleList(
            kind(mask_size, *pair, shape, shrinkage)
            for pair in zip(sizes, before, strict=True)
        )
        if shape.row_tasks:
            self.head = OwnRowHead(shape, sizes[-1], shrinkage)
        else:
            self.head = OwnHead(shape, sizes[-1])

    @property
    def shared(self):
        """The bank that output biases are set in, LinearBank."""
        return self.head.shared

    def reset(self, streams):
        """Draw initial weights.

        Parameters
        ----------
        streams : Streams
            Where the numbers come from.
        """
        for i, mask in enumerate(self.masks):
            mask.reset(streams, f"mask {i}")
        self.head.shared.reset(streams, "head")

    def forward(self, features, task=None):
        """Mask the layers for each task, and read the outputs off the last.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            Of :meth:`AttentionModule.features`.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of all column tasks, or of the row's task.
        """
        return self.head(self._attended(features, task), task)

    def _attended(self, features, task):
        own = None
        for mask, layer in zip(
            self.masks, features.split(self.sizes, dim=-1), strict=True
        ):
            own = mask(layer, own, task)
        return own

    def readout(self, features):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            Of :meth:`AttentionModule.features`.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_readout)
            See :meth:`AttentionModule.readout`.
        """
        if not hasattr(self.head, "deviation"):
            return features
        n_tasks = self.head.deviation.weight.shape[1] - 1
        nobody = torch.full(features.shape[:2], n_tasks, device=features.device)
        return self._attended(features, nobody).squeeze(1)

    def penalty(self, share):
        """Shrink the deviations of masks and heads of row tasks.

        Parameters
        ----------
        share : callable
            See :meth:`ArchitectureModule.penalty`.

        Returns
        -------
        penalty : Tensor of shape (n_networks,) or None
            None for column tasks.
        """
        parts = [*self.masks, self.head]
        return summed(p.penalty(share) for p in parts)


class ColumnMask(nn.Module):
    """The masks of all column tasks on one layer.

    Parameters
    ----------
    mask_size, n_units, n_before : int
        Units of the mask's layer, of the layer, and of the layer before.
    shape : BankShape
        Sizes of the bank.
    shrinkage : Tensor of shape (n_networks,)
        Unused.

    Attributes
    ----------
    first : LinearBank
        From the layer to the hidden units of all masks.
    earlier : StackBank or None
        From what the tasks took of the layer before.
    last : StackBank
        From hidden units to logits.
    """

    def __init__(self, mask_size, n_units, n_before, shape, shrinkage):
        super().__init__()
        n_networks, n_tasks, dtype = shape.n_networks, shape.n_tasks, shape.dtype
        self.first = LinearBank(n_networks, n_units, n_tasks * mask_size, dtype=dtype)
        self.earlier = None
        if n_before:
            sizes = n_tasks, n_before, mask_size
            self.earlier = StackBank(n_networks, *sizes, dtype=dtype)
        self.last = StackBank(n_networks, n_tasks, mask_size, n_units, dtype=dtype)

    def reset(self, streams, purpose):
        """Draw initial weights.

        Parameters
        ----------
        streams : Streams
            Where the numbers come from.
        purpose : str
            Names the mask in the streams.
        """
        self.first.reset(streams, f"{purpose} first")
        if self.earlier is not None:
            self.earlier.reset(streams, f"{purpose} earlier")
        self.last.reset(streams, f"{purpose} last")

    def forward(self, layer, own, task=None):
        """Mask the layer for every task.

        Parameters
        ----------
        layer : Tensor of shape (n_networks, n_rows, n_units)
            Of the trunk.
        own : Tensor of shape (n_networks, n_tasks, n_rows, n_before) or None
            What the tasks took of the layer before.
        task : None
            Column tasks need none.

        Returns
        -------
        own : Tensor of shape (n_networks, n_tasks, n_rows, n_units)
            What the tasks take of this one.
        """
        hidden = self.first(layer).unflatten(-1, (-1, self.last.weight.shape[2]))
        hidden = hidden.transpose(1, 2)
        if own is not None:
            hidden = hidden + self.earlier(own)
        return self.last(hidden.relu()).sigmoid() * layer.unsqueeze(1)

    def penalty(self, share):
        """Add nothing.

        Parameters
        ----------
        share : callable
            Unused.

        Returns
        -------
        penalty : None
            Free masks.
        """
        return None


class RowMask(nn.Module):
    """The mask of each row's task on one layer.

    Parameters
    ----------
    mask_size, n_units, n_before : int
        Units of the mask's layer, of the layer, and of the layer before.
    shape : BankShape
        Sizes of the bank.
    shrinkage : Tensor of shape (n_networks,)
        Of the deviations of tasks.

    Attributes
    ----------
    first : LinearBank
        From both layers to the hidden units of the mask.
    last : RowHead
        From hidden units to logits: shared, plus a deviation a task.
    """

    def __init__(self, mask_size, n_units, n_before, shape, shrinkage):
        super().__init__()
        n_networks, dtype = shape.n_networks, shape.dtype
        self.first = LinearBank(n_networks, n_units + n_before, mask_size, dtype=dtype)
        sizes = n_networks, mask_size, n_units, shape.n_tasks
        widths = [mask_size] * n_networks
        self.last = RowHead(*sizes, shrinkage, widths, dtype)

    def reset(self, streams, purpose):
        """Draw initial weights.

        Parameters
        ----------
        streams : Streams
            Where the numbers come from.
        purpose : str
            Names the mask in the streams.
        """
        self.first.reset(streams, f"{purpose} first")
        self.last.shared.reset(streams, f"{purpose} last")

    def forward(self, layer, own, task):
        """Mask the layer for the task of every row.

        Parameters
        ----------
        layer : Tensor of shape (n_networks, n_rows, n_units)
            Of the trunk.
        own : Tensor of shape (n_networks, 1, n_rows, n_before) or None
            What the rows' tasks took of the layer before.
        task : Tensor of shape (n_networks, n_rows), int64
            Task of each row.

        Returns
        -------
        own : Tensor of shape (n_networks, 1, n_rows, n_units)
            What they take of this one.
        """
        read = layer if own is None else torch.cat([layer, own.squeeze(1)], dim=-1)
        mask = self.last(self.first(read).relu(), task).sigmoid()
        return (mask * layer).unsqueeze(1)

    def penalty(self, share):
        """Shrink the deviations.

        Parameters
        ----------
        share : callable
            See :meth:`ArchitectureModule.penalty`.

        Returns
        -------
        penalty : Tensor of shape (n_networks,)
            Of the tasks in the batch.
        """
        return self.last.penalty(share)
