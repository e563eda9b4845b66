"""One network that a learned embedding of the task modulates."""

from numbers import Integral, Real

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .._bank import DropoutBank, LinearBank, RowsBank
from .._constraints import Interval, StrOptions
from ._activations import ACTIVATIONS, OVERWRITING
from ._apart import ApartModule
from ._base import Architecture
from ._experts import dropped
from ._extraction import OwnHead
from ._linear_readout import LinearReadout
from ._new_task import NewTask
from ._sizes import checked_sizes

# Embeddings learn this much faster than weights: those of columns are as much times
# their parameters. Adam's steps are of one size for all, and the few numbers of an
# embedding have a long way to go; by measurement, see
# examples/benchmarks/bench_architecture.py.
_GAIN = 10.0


class TaskConditioned(Architecture):
    r"""Modulate one network by a learned embedding of the task.

    Each task has an embedding :math:`e_t` of a few numbers. It scales and shifts the
    units of every hidden layer l before the activation (feature-wise linear modulation,
    equation 2 of [1]_): :math:`(1 + \Gamma_l e_t) \odot z_l + B_l e_t`. Row tasks share
    a head, whose outputs the embedding shifts, too; column tasks have heads of their
    own.

    Embeddings start at zero, which is no modulation, and shrink towards it: a task
    with few rows stays close to the network of all, and an unknown task is that. A task
    costs as many parameters as its embedding has, so that there may be thousands.

    Parameters
    ----------
    hidden_layer_sizes : "auto" or sequence of int, default="auto"
        Units of each hidden layer. "auto" is (128, 128).
    embedding_dim : int, default=8
        Numbers of an embedding.
    activation : {"relu", "silu", "gelu", "tanh"}, default="relu"
        Between layers.
    dropout : float, default=0.0
        Probability that a hidden unit is dropped in training, in [0, 1).
    descriptors : dict, default=None
        For each task, by name, a sequence of numbers that describe it. They are
        standardised over the tasks of the training, and a learned linear map of them is
        added to the embedding: what then shrinks is the deviation from what the
        descriptors predict. Tasks without rows may be described, too.
    task_shrinkage : float, default=1.0
        Ridge strength on the embedding of a task, in units of the loss of one labelled
        cell.

    See Also
    --------
    HardSharing : Row tasks differ in their heads alone.
    MMoE : Tasks choose among experts.

    Notes
    -----
    The shared parameters are those of the hidden layers, the modulation, the map of
    descriptors, and with row tasks the head. The tasks have features of their own, so
    there is no common representation (``has_features`` is False): weightings compare
    gradients on the shared parameters.

    ``adapt`` learns the embedding of a new group of rows, and nothing else, by L-BFGS
    from zero. For a new column it puts a linear head on the features of all tasks.

    A row task that fit did not see but ``descriptors`` describe is predicted by the
    embedding that they predict, without a warning, and ``adapt`` learns its deviation
    from that. ``adapt`` reads the name of the task from ``task_column``.

    After ``fit``, ``architecture_.embeddings_`` has the embeddings.

    References
    ----------
    .. [1] E. Perez, F. Strub, H. de Vries, V. Dumoulin, A. Courville (2018). FiLM:
       Visual Reasoning with a General Conditioning Layer. AAAI.
       https://arxiv.org/abs/1709.07871

    Examples
    --------
    >>> import numpy as np
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import TaskConditioned
    >>> rng = np.random.default_rng(0)
    >>> X, task = rng.normal(size=(120, 2)), np.arange(120) % 20
    >>> y = X[:, 0] + (task % 3) * X[:, 1]
    >>> conditioned = TaskConditioned((8,), embedding_dim=2)
    >>> model = MultiTaskNetRegressor(conditioned, n_estimators=2, max_epochs=3)
    >>> model.fit(X, y, task=task).architecture_.embeddings_.shape
    torch.Size([2, 20, 2])
    """

    _fusable = ("dropout", "task_shrinkage")
    _parameter_constraints = {
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like"],
        "embedding_dim": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "descriptors": [dict, None],
        "task_shrinkage": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes="auto",
        embedding_dim=8,
        *,
        activation="relu",
        dropout=0.0,
        descriptors=None,
        task_shrinkage=1.0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.embedding_dim = embedding_dim
        self.activation = activation
        self.dropout = dropout
        self.descriptors = descriptors
        self.task_shrinkage = task_shrinkage

    def build(self, shape, streams=None):
        """Make the network, its modulation and the embeddings.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank.
        streams : Streams, optional
            Source of the initial weights.

        Returns
        -------
        module : TaskConditionedModule
            The bank.

        Raises
        ------
        ValueError
            If a hidden size is not a positive integer, there is none, or descriptors
            do not fit the tasks.
        """
        sizes = checked_sizes(self, "hidden_layer_sizes", (128, 128), n_least=1)
        return TaskConditionedModule(self, sizes, shape, streams)

    def for_new_heads(self, shape):
        """Choose the architecture that ``adapt`` makes new tasks with.

        Parameters
        ----------
        shape : BankShape
            What the fitted module was built for.

        Returns
        -------
        architecture : NewTask or LinearReadout
            One embedding for a new group of rows; heads on features for new columns.
        """
        kind = NewTask if shape.row_tasks else LinearReadout
        return kind.of(self, shape)

    def described_tasks(self, task_names):
        """List tasks that are described though they have no rows.

        Parameters
        ----------
        task_names : sequence
            Tasks of the training.

        Returns
        -------
        names : list
            Others, in the order of ``descriptors``.
        """
        known = set(task_names)
        return [name for name in self.descriptors or () if name not in known]

    def described(self, shape):
        """Standardise the descriptors of the tasks.

        Parameters
        ----------
        shape : BankShape
            Names the tasks.

        Returns
        -------
        descriptors : Tensor of shape (n_rows, n_descriptors) or None
            The tasks, a row of zeros for no task, and the tasks that have no rows; None
            without descriptors.

        Raises
        ------
        ValueError
            If a task has none, or they are not equally many finite numbers.
        """
        if self.descriptors is None:
            return None
        names = shape.task_names
        if names is None or len(names) != shape.n_tasks:
            raise ValueError(
                "TaskConditioned(descriptors=...) describes tasks by name, and a "
                "meta-learner learns tasks that it cannot name. Leave it out there."
            )
        lacking = [name for name in names if name not in self.descriptors]
        if lacking:
            raise ValueError(
                f"Task {lacking[0]!r} has no entry in TaskConditioned(descriptors="
                "...). Every task of the training needs one."
            )
        others = self.described_tasks(names)
        rows = [np.atleast_1d(self.descriptors[name]) for name in (*names, *others)]
        if len({row.shape for row in rows}) > 1 or rows[0].ndim > 1:
            raise ValueError(
                "The 'descriptors' parameter of TaskConditioned must have equally many "
                "numbers for every task."
            )
        table = np.asarray(rows, dtype=float)
        if not np.isfinite(table).all():
            raise ValueError(
                "The 'descriptors' parameter of TaskConditioned must be finite numbers."
            )
        own = table[: len(names)]
        scale = own.std(axis=0)
        table = (table - own.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
        table = np.insert(table, len(names), 0.0, axis=0)
        return torch.tensor(table, dtype=shape.dtype)


class TaskConditionedModule(ApartModule):
    """The bank that :class:`TaskConditioned` builds.

    Parameters
    ----------
    strategy : TaskConditioned
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
        Hidden layers of all tasks.
    films : ModuleList of FilmBank
        From embeddings to scales and shifts of the units of a layer.
    shift : MapBank or None
        From embeddings to shifts of the outputs of row tasks.
    embedding : RowEmbedding or ColumnEmbedding
        Of the tasks.
    heads : OwnHead or SharedHead
        From features to outputs.
    """

    def __init__(self, strategy, sizes, shape, streams):
        super().__init__()
        n_networks, dtype = shape.n_networks, shape.dtype
        n_numbers = strategy.embedding_dim
        self.activation = OVERWRITING[strategy.activation]
        rates, shrinkage = (
            strategy.per_network(name, n_networks).to(dtype)
            for name in ("dropout", "task_shrinkage")
        )
        self.layers, self.films = nn.ModuleList(), nn.ModuleList()
        self.dropouts = nn.ModuleList()
        width = shape.width
        for i, size in enumerate(sizes):
            layer = LinearBank(n_networks, width, size, dtype=dtype)
            film = FilmBank(n_networks, n_numbers, size, dtype)
            if streams is not None:
                layer.reset(streams, f"layer {i}", None if i else shape.n_inputs)
                film.reset(streams, f"film {i}")
            self.layers.append(layer)
            self.films.append(film)
            self.dropouts.append(DropoutBank(rates.clone(), f"dropout {i}"))
            width = size
        described = strategy.described(shape)
        kind = RowEmbedding if shape.row_tasks else ColumnEmbedding
        self.embedding = kind(shape, n_numbers, shrinkage, described)
        self.shift = None
        if shape.row_tasks:
            self.shift = MapBank(n_networks, n_numbers, shape.n_outputs, dtype)
            self.heads = SharedHead(n_networks, width, shape.n_outputs, dtype)
        else:
            self.heads = OwnHead(shape, width)
        if streams is not None:
            self.heads.shared.reset(streams, "head")
            if self.shift is not None:
                self.shift.reset(streams, "film of outputs")

    @property
    def embeddings_(self):
        """Embeddings of the tasks, Tensor of shape (n_networks, n_tasks, n_numbers)."""
        return self.embedding.table().detach()

    def forward(self, inputs, task=None):
        """Compute the outputs.

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
        return self.conditioned(inputs, self.embedding(task))

    def conditioned(self, inputs, embedding):
        """Compute the outputs of row tasks for given embeddings.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        embedding : Tensor of shape (n_networks, n_rows or 1, n_numbers)
            Of the tasks of the rows.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of the rows' tasks.
        """
        outputs = self.heads(self.modulated(inputs, embedding))
        if embedding.shape[1] != outputs.shape[1]:
            return outputs + self.shift(embedding)
        return torch.baddbmm(outputs, embedding, self.shift.weight)

    def modulated(self, inputs, embedding):
        """Run the network under embeddings of the rows.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        embedding : Tensor of shape (n_networks, n_rows or 1, n_numbers)
            Of the rows.

        Returns
        -------
        hidden : Tensor of shape (n_networks, n_rows, n_hidden)
            Last hidden layer.
        """
        hidden = inputs
        for layer, film, dropout in zip(
            self.layers, self.films, self.dropouts, strict=True
        ):
            hidden = dropout(self.activation(film(layer(hidden), embedding)))
        return hidden

    def own_features(self, inputs, task=None):
        """Run the network under the embedding of each column task.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        task : None
            Column tasks need none.

        Returns
        -------
        features : Tensor of shape (n_networks, n_tasks, n_rows, n_hidden)
            By task.
        """
        embedding, hidden = self.embedding.table(), inputs
        n_tasks = embedding.shape[1]
        for i, (layer, film, dropout) in enumerate(
            zip(self.layers, self.films, self.dropouts, strict=True)
        ):
            # Inputs are the same for all tasks; later the rows of all tasks lie below
            # each other, for the weights are the same.
            plain = layer(hidden).unsqueeze(1)
            if i:
                plain = plain.squeeze(1).unflatten(1, (n_tasks, -1))
            own = dropped(dropout, self.activation(film.by_task(plain, embedding)))
            hidden = own.flatten(1, 2)
        return own

    def readout(self, inputs):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_readout)
            The features of all column tasks side by side; with row tasks those without
            modulation.
        """
        if self.shift is None:
            return self.own_features(inputs).transpose(1, 2).flatten(2)
        n_networks, n_numbers, _ = self.shift.weight.shape
        nothing = self.shift.weight.new_zeros(n_networks, 1, n_numbers)
        return self.modulated(inputs, nothing)

    def pooled_head(self):
        """Give the head of no task.

        Returns
        -------
        weight, bias, shrinkage : Tensor
            See :meth:`ArchitectureModule.pooled_head`.
        """
        shared = self.heads.shared
        return shared.weight, shared.bias[:, 0], self.embedding.shrinkage

    def shared_parameters(self):
        """List the hidden layers, the modulation, and what else all tasks train.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        parts = [self.layers, self.films]
        if self.embedding.predicted is not None:
            parts.append(self.embedding.predicted)
        if self.shift is not None:
            parts += [self.shift, self.heads]
        return [p for part in parts for p in part.parameters()]

    def task_parameters(self):
        """List the heads of column tasks, or the embeddings of row tasks.

        Returns
        -------
        parameters : list of Parameter
            See :meth:`ArchitectureModule.task_parameters`; the embeddings of column
            tasks are left out.
        """
        if self.shift is None:
            return self.heads.task_parameters()
        return [self.embedding.rows.weight]

    def penalty(self, share):
        """Shrink the embeddings.

        Parameters
        ----------
        share : callable
            See :meth:`ArchitectureModule.penalty`.

        Returns
        -------
        penalty : Tensor of shape (n_networks,)
            In expectation over batches, the shrinkage times the squared norm of all
            embeddings over the training weight of all tasks.
        """
        return self.embedding.penalty(share)


class MapBank(nn.Module):
    """Apply a linear map without bias a network.

    Parameters
    ----------
    n_networks, n_in, n_out : int
        Sizes.
    dtype : torch.dtype
        Of the parameters.

    Attributes
    ----------
    weight : Parameter of shape (n_networks, n_in, n_out)
        One matrix a network.
    """

    def __init__(self, n_networks, n_in, n_out, dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_networks, n_in, n_out, dtype=dtype))

    def reset(self, streams, purpose):
        """Draw initial weights, as :class:`LinearBank` does.

        Parameters
        ----------
        streams : Streams
            Where the numbers come from.
        purpose : str
            Names the map in the streams.
        """
        n_networks, n_in, n_out = self.weight.shape
        drawn = LinearBank(n_networks, n_in, n_out, dtype=self.weight.dtype)
        with torch.no_grad():
            self.weight.copy_(drawn.reset(streams, purpose).weight)

    def forward(self, inputs):
        """Map the rows of every network.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_in)
            By network.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_out)
            ``inputs @ weight``.
        """
        return torch.bmm(inputs, self.weight)


class FilmBank(nn.Module):
    """Scale and shift the units of a layer by an embedding.

    Parameters
    ----------
    n_networks, n_numbers, n_units : int
        Sizes.
    dtype : torch.dtype
        Of the parameters.

    Attributes
    ----------
    scale, shift : MapBank
        From embeddings to what is added to a scale of 1, and to the units.
    """

    def __init__(self, n_networks, n_numbers, n_units, dtype):
        super().__init__()
        self.scale = MapBank(n_networks, n_numbers, n_units, dtype)
        self.shift = MapBank(n_networks, n_numbers, n_units, dtype)

    def reset(self, streams, purpose):
        """Draw initial weights.

        Parameters
        ----------
        streams : Streams
            Where the numbers come from.
        purpose : str
            Names the layer in the streams.
        """
        self.scale.reset(streams, f"{purpose} scale")
        self.shift.reset(streams, f"{purpose} shift")

    def forward(self, hidden, embedding):
        """Modulate rows, each by an embedding of its own or all by one.

        Parameters
        ----------
        hidden : Tensor of shape (n_networks, n_rows, n_units)
            Before the activation.
        embedding : Tensor of shape (n_networks, n_rows or 1, n_numbers)
            Of the rows.

        Returns
        -------
        hidden : Tensor of shape (n_networks, n_rows, n_units)
            ``(1 + scale(embedding)) * hidden + shift(embedding)``.
        """
        if embedding.shape[1] == 1:
            scale, shift = self.scale(embedding), self.shift(embedding)
            return torch.addcmul(hidden + shift, hidden, scale)
        return _Film.apply(hidden, embedding, self.scale.weight, self.shift.weight)

    def by_task(self, hidden, embedding):
        """Modulate all rows by the embedding of every task.

        Parameters
        ----------
        hidden : Tensor of shape (n_networks, n_tasks or 1, n_rows, n_units)
            Before the activation.
        embedding : Tensor of shape (n_networks, n_tasks, n_numbers)
            Of the tasks.

        Returns
        -------
        hidden : Tensor of shape (n_networks, n_tasks, n_rows, n_units)
            By task.
        """
        scale, shift = self.scale(embedding), self.shift(embedding)
        return hidden * (1 + scale).unsqueeze(2) + shift.unsqueeze(2)


class _Film(torch.autograd.Function):
    """Modulate rows by embeddings of their own, in few passes over memory.

    Autograd's gradient of the embedding is a product with a few columns, which takes
    twice as long as the same one turned round; and sums come with the products.
    """

    @staticmethod
    def forward(ctx, hidden, embedding, to_scale, to_shift):
        one = hidden.new_ones(1, 1, 1)
        scale = torch.baddbmm(one, embedding, to_scale)
        ctx.save_for_backward(hidden, scale, embedding, to_scale, to_shift)
        return (hidden * scale).baddbmm_(embedding, to_shift)

    @staticmethod
    @once_differentiable
    def backward(ctx, at_shift):
        hidden, scale, embedding, to_scale, to_shift = ctx.saved_tensors
        at_scale = at_shift * hidden
        turned = torch.bmm(to_scale, at_scale.mT).baddbmm_(to_shift, at_shift.mT)
        return (
            at_shift * scale,
            turned.mT,
            torch.bmm(embedding.mT, at_scale),
            torch.bmm(embedding.mT, at_shift),
        )


class SharedHead(nn.Module):
    """The head that all row tasks share.

    Parameters
    ----------
    n_networks, n_hidden, n_outputs : int
        Sizes.
    dtype : torch.dtype
        Of the parameters.
    """

    def __init__(self, n_networks, n_hidden, n_outputs, dtype):
        super().__init__()
        self.shared = LinearBank(n_networks, n_hidden, n_outputs, dtype=dtype)

    def forward(self, features, task=None):
        """Compute the outputs.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_hidden)
            By row.
        task : optional
            Unused.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            By row.
        """
        return self.shared(features)


class ColumnEmbedding(nn.Module):
    """Embeddings of column tasks.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_numbers : int
        Of an embedding.
    shrinkage : Tensor of shape (n_networks,)
        Ridge strength.
    described : Tensor of shape (n_rows, n_descriptors) or None
        Descriptors; see :meth:`TaskConditioned.described`.
    """

    def __init__(self, shape, n_numbers, shrinkage, described):
        super().__init__()
        sizes = shape.n_networks, shape.n_tasks, n_numbers
        self.own = nn.Parameter(torch.zeros(*sizes, dtype=shape.dtype))
        self.register_buffer("shrinkage", shrinkage)
        _describe(self, shape, n_numbers, described)

    def table(self):
        """Compute the embeddings of all tasks.

        Returns
        -------
        table : Tensor of shape (n_networks, n_tasks, n_numbers)
            With what the descriptors predict.
        """
        own = _GAIN * self.own
        if self.predicted is None:
            return own
        return own + self.predicted(self.described[:, : own.shape[1]])

    def penalty(self, share):
        """Shrink them.

        Parameters
        ----------
        share : callable
            See :meth:`ArchitectureModule.penalty`.

        Returns
        -------
        penalty : Tensor of shape (n_networks,)
            Without what the descriptors predict.
        """
        size = (self.own.square().sum(-1) * share()).sum(-1)
        return _GAIN**2 * self.shrinkage * size


class RowEmbedding(nn.Module):
    """Embeddings of row tasks, most of them untouched by a batch.

    Parameters
    ----------
    shape : BankShape
        Sizes of the bank.
    n_numbers : int
        Of an embedding.
    shrinkage : Tensor of shape (n_networks,)
        Ridge strength.
    described : Tensor of shape (n_rows, n_descriptors) or None
        Descriptors; see :meth:`TaskConditioned.described`.
    """

    def __init__(self, shape, n_numbers, shrinkage, described):
        super().__init__()
        sizes = shape.n_networks, shape.n_tasks, n_numbers
        self.rows = RowsBank(*sizes, speed=_GAIN, dtype=shape.dtype)
        self.register_buffer("shrinkage", shrinkage)
        _describe(self, shape, n_numbers, described)

    def forward(self, task):
        """Look up the embedding of each row's task.

        Parameters
        ----------
        task : Tensor of shape (n_networks, n_rows), int64
            Task of each row.

        Returns
        -------
        embedding : Tensor of shape (n_networks, n_rows, n_numbers)
            Zero for no task, and what descriptors predict for one without rows.
        """
        if self.predicted is None:
            return self.rows(task)
        # Tasks behind the number for no task have descriptors and no rows.
        own = self.rows(task.clamp(max=self.rows.weight.shape[1] - 1))
        # The tasks of all networks are described alike.
        table = self.described[0].index_select(0, task.flatten())
        return own + self.predicted(table.view(*task.shape, -1))

    @torch.no_grad()
    def predict(self, task):
        """Compute what the descriptors of a task predict.

        Parameters
        ----------
        task : int
            Number of the task; that for no task is ``n_tasks``.

        Returns
        -------
        embedding : Tensor of shape (n_networks, 1, n_numbers)
            Zero without descriptors.
        """
        if self.predicted is None:
            return torch.zeros_like(self.rows.weight[:, :1])
        return self.predicted(self.described[:, task : task + 1])

    def table(self):
        """Compute the embeddings of all tasks.

        Returns
        -------
        table : Tensor of shape (n_networks, n_tasks, n_numbers)
            With what the descriptors predict.
        """
        own = self.rows.weight[:, :-1]
        if self.predicted is None:
            return own
        return own + self.predicted(self.described[:, : own.shape[1]])

    def penalty(self, share):
        """Shrink those of the tasks in the batch.

        Parameters
        ----------
        share : callable
            See :meth:`ArchitectureModule.penalty`.

        Returns
        -------
        penalty : Tensor of shape (n_networks,)
            Without what the descriptors predict.
        """
        return self.rows.penalty(share, self.shrinkage)


def _describe(part, shape, n_numbers, described):
    """Give embeddings a map of descriptors, which starts at zero."""
    part.predicted = None
    if described is not None:
        sizes = shape.n_networks, described.shape[1], n_numbers
        part.predicted = MapBank(*sizes, shape.dtype)
        table = described.expand(shape.n_networks, -1, -1).contiguous()
        part.register_buffer("described", table)
