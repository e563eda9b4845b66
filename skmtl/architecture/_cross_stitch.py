"""A network for each task, which exchange features between layers."""

from numbers import Real

import torch
from torch import nn

from .._bank import DropoutBank, StackBank
from .._constraints import Interval, StrOptions
from ._activations import ACTIVATIONS
from ._base import Architecture
from ._experts import dropped
from ._extraction import OwnHead, OwnRowHead
from ._linear_readout import LinearReadout
from ._sizes import checked_sizes
from ._trunk import TrunkModule


class CrossStitch(Architecture):
    r"""Give each task a network; mix their features after each layer.

    After a hidden layer, the network of task t goes on with
    :math:`\tilde x_t = \sum_s \alpha_{ts} x_s`, equation 1 of [1]_, where the stitches
    :math:`\alpha` of each layer are learned. An :math:`\alpha` near the identity keeps
    tasks apart.

    Parameters
    ----------
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        Units of each hidden layer of a task. "auto" is (64, 64).
    activation : {"relu", "silu", "gelu", "tanh"}, default="relu"
        Between layers.
    dropout : float, default=0.0
        Probability that a hidden unit is dropped in training, in [0, 1).
    own_share : float, default=0.9
        Where :math:`\alpha_{tt}` starts, in [0, 1]; the other tasks share the rest.
    task_shrinkage : float, default=10.0
        Row tasks: ridge strength on the deviation of a task from the shared head, in
        units of the loss of one labelled cell.

    See Also
    --------
    SoftSharing : Networks that are tied by their weights.
    MMoE : Experts that belong to no task.

    Notes
    -----
    The shared parameters are those of all hidden layers, and all stitches but the
    last. The features that these mix last, side by side, are the common representation
    (``has_features``): every task reads them all, through its row of the last stitch
    and its head. Weight decay does not act on stitches.

    With row tasks each row runs through the networks of all tasks: this is for a
    handful of groups. A row of an unknown task has the mean of the tasks' last
    stitches, and the shared head.

    The paper has a stitch for each channel of an image and starts from networks that
    were trained alone; here a layer has one, and all is trained together.
    ``architecture_.stitches_`` has them after ``fit``.

    References
    ----------
    .. [1] I. Misra, A. Shrivastava, A. Gupta, M. Hebert (2016). Cross-stitch Networks
       for Multi-task Learning. CVPR. https://arxiv.org/abs/1604.03539

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import CrossStitch
    >>> X = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = np.stack([X[:, 0], np.abs(X[:, 1])], axis=1)
    >>> stitched = CrossStitch((8, 8))
    >>> model = MultiTaskNetRegressor(stitched, n_estimators=2, max_epochs=3)
    >>> model.fit(X, y).architecture_.stitches_[0].shape
    torch.Size([2, 2, 2])
    """

    _fusable = ("dropout", "own_share", "task_shrinkage")
    _parameter_constraints = {
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "own_share": [Interval(Real, 0, 1, closed="both")],
        "task_shrinkage": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes="auto",
        *,
        activation="relu",
        dropout=0.0,
        own_share=0.9,
        task_shrinkage=10.0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.own_share = own_share
        self.task_shrinkage = task_shrinkage

    def build(self, shape, streams=None):
        """Make a network for each task, and the stitches.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank.
        streams : Streams, optional
            Source of the initial weights.

        Returns
        -------
        module : CrossStitchModule
            The bank.

        Raises
        ------
        ValueError
            If a hidden size is not a positive integer, or there is none.
        """
        sizes = checked_sizes(self, "hidden_layer_sizes", (64, 64), n_least=1)
        return CrossStitchModule(self, sizes, shape, streams)

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


class CrossStitchModule(TrunkModule):
    """The bank that :class:`CrossStitch` builds.

    Parameters
    ----------
    strategy : CrossStitch
        Where the hyperparameters are read.
    sizes : tuple of int
        Units of each hidden layer.
    shape : BankShape
        Sizes of the bank.
    streams : Streams or None
        Source of the initial weights.

    Attributes
    ----------
    layers : ModuleList of StackBank
        Hidden layers of all tasks.
    stitches : ModuleList of Stitch
        Behind all layers but the last.
    heads : StitchedHead
        The last stitch, and the heads.
    """

    def __init__(self, strategy, sizes, shape, streams):
        super().__init__()
        n_networks, n_tasks, dtype = shape.n_networks, shape.n_tasks, shape.dtype
        self.activation = ACTIVATIONS[strategy.activation]
        rates, own_share, shrinkage = (
            strategy.per_network(name, n_networks).to(dtype)
            for name in ("dropout", "own_share", "task_shrinkage")
        )
        self.layers, self.stitches = nn.ModuleList(), nn.ModuleList()
        self.dropouts = nn.ModuleList()
        width = shape.width
        for i, size in enumerate(sizes):
            layer = StackBank(n_networks, n_tasks, width, size, dtype=dtype)
            if streams is not None:
                layer.reset(streams, f"layer {i}", None if i else shape.n_inputs)
            self.layers.append(layer)
            self.dropouts.append(DropoutBank(rates.clone(), f"dropout {i}"))
            if i:
                self.stitches.append(Stitch(own_share, n_tasks))
            width = size
        self.n_hidden = self.n_features = n_tasks * width
        self.heads = StitchedHead(shape, width, own_share, shrinkage)
        if streams is not None:
            self.heads.shared.reset(streams, "head")

    @property
    def stitches_(self):
        """Stitches by layer, each (n_networks, n_tasks, n_tasks); a row a reader."""
        stitches = [*self.stitches, self.heads.stitch]
        return [stitch.alpha.detach() for stitch in stitches]

    @property
    def widest(self):
        """Floats of the widest layer of a row in one network, int."""
        return max(layer.bias[0].numel() for layer in self.layers)

    def features(self, inputs):
        """Run the networks of all tasks up to the last stitch.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_tasks * n_hidden)
            Last hidden layers of all tasks side by side.
        """
        hidden = inputs.unsqueeze(1)
        for i, (layer, dropout) in enumerate(
            zip(self.layers, self.dropouts, strict=True)
        ):
            if i:
                hidden = self.stitches[i - 1](hidden)
            hidden = dropped(dropout, self.activation(layer(hidden)))
        return hidden.transpose(1, 2).flatten(2)

    def readout(self, inputs):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_readout)
            The features of all column tasks; with row tasks their mean by the tasks'
            last stitches.
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
            See :meth:`ArchitectureModule.task_parameters`; the last stitch is left out.
        """
        return self.heads.head.task_parameters()

    def shared_parameters(self):
        """List the hidden layers of all tasks, and the stitches but the last.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return [*self.layers.parameters(), *self.stitches.parameters()]


class Stitch(nn.Module):
    """Mix the features of all tasks for each of them.

    Parameters
    ----------
    own_share : Tensor of shape (n_networks,)
        Where the diagonal starts.
    n_tasks : int
        Number of tasks.

    Attributes
    ----------
    alpha : Parameter of shape (n_networks, n_tasks, n_tasks)
        What each task, by row, takes of each, by column.
    """

    def __init__(self, own_share, n_tasks):
        super().__init__()
        # A single task has nobody to share with.
        own = own_share[:, None, None] if n_tasks > 1 else own_share.new_ones(1, 1, 1)
        own = own.expand(len(own_share), 1, 1)
        eye = torch.eye(n_tasks, dtype=own.dtype)
        rest = (1 - own) / max(n_tasks - 1, 1)
        self.alpha = nn.Parameter(own * eye + rest * (1 - eye))

    def forward(self, hidden):
        """Mix.

        Parameters
        ----------
        hidden : Tensor of shape (n_networks, n_tasks, n_rows, n_hidden)
            By task.

        Returns
        -------
        hidden : Tensor of shape (n_networks, n_tasks, n_rows, n_hidden)
            By task.
        """
        mixed = self.alpha @ hidden.flatten(2)
        return mixed.unflatten(2, hidden.shape[2:])


class StitchedHead(nn.Module):
    """The last stitch, and linear heads on what it mixes.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_hidden : int
        Features of a task.
    own_share : Tensor of shape (n_networks,)
        Where the diagonal of the stitch starts.
    shrinkage : Tensor of shape (n_networks,)
        Row tasks: of deviations.
    """

    def __init__(self, shape, n_hidden, own_share, shrinkage):
        super().__init__()
        self.stitch = Stitch(own_share, shape.n_tasks)
        self.rows = shape.row_tasks
        if self.rows:
            self.head = OwnRowHead(shape, n_hidden, shrinkage)
        else:
            self.head = OwnHead(shape, n_hidden)

    @property
    def shared(self):
        """The bank that output biases are set in, LinearBank."""
        return self.head.shared

    def forward(self, features, task=None):
        """Mix the features of all tasks, and read the outputs off.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_tasks * n_hidden)
            Of :meth:`CrossStitchModule.features`.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of all column tasks, or of the row's task.
        """
        hidden = features.unflatten(-1, (self.stitch.alpha.shape[-1], -1))
        if task is None:
            return self.head(self.stitch(hidden.transpose(1, 2)))
        alpha = self.stitch.alpha
        # A row more for no task.
        table = torch.cat([alpha, alpha.mean(1, keepdim=True)], dim=1)
        offsets = torch.arange(len(task), device=task.device) * table.shape[1]
        ids = (task + offsets[:, None]).flatten()
        own = table.flatten(0, 1).index_select(0, ids).view(*task.shape, -1)
        mixed = (own.unsqueeze(-1) * hidden).sum(2)
        return self.head(mixed.unsqueeze(1), task)

    def readout(self, features):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_tasks * n_hidden)
            Of :meth:`CrossStitchModule.features`.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_readout)
            See :meth:`CrossStitchModule.readout`.
        """
        if not self.rows:
            return features
        hidden = features.unflatten(-1, (self.stitch.alpha.shape[-1], -1))
        return (self.stitch.alpha.mean(1)[:, None, :, None] * hidden).sum(2)

    def penalty(self, share):
        """Shrink the deviations of the heads of row tasks.

        Parameters
        ----------
        share : callable
            See :meth:`ArchitectureModule.penalty`.

        Returns
        -------
        penalty : Tensor of shape (n_networks,) or None
            None for column tasks.
        """
        return self.head.penalty(share)
