"""The module of a bank: encoder, architecture, weighting and losses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from .._bank import RowsBank
from .._embedding_bank import EmbeddingBank
from .._encoder_bank import EncodedColumns, EncoderBank
from .._shape import BankShape
from .._strategy import Strategy
from ._column_losses import ColumnLosses
from ._optimizer import BankAdamW

if TYPE_CHECKING:
    from .._tasks import TaskEncoder
    from ..architecture import Architecture
    from ..loss import Loss
    from ..weighting import Weighting


@dataclass(frozen=True, eq=False)
class Blueprint:
    """All that it takes to build the module of a bank, without torch objects.

    Parameters
    ----------
    architecture, weighting : Architecture and Weighting
        Strategies of the whole bank.
    losses : list of Loss, length n_columns
        Of the whole bank; columns may share an object.
    encoders : list of EncodedColumns
        Distinct encoders.
    encoder_index : list of int, length n_networks
        The encoder of each network.
    targets : TaskEncoder
        Scales and classes that predictions are decoded by.
    n_tasks : int
        Number of tasks.
    row_tasks : bool
        Whether each row belongs to one task.
    dtype : {"float32", "float64"}
        Of the parameters.
    input_shape : tuple of int, default=None
        Shape of a row of X before it was flattened; None for the rows of a table.
    task_names : tuple, default=None
        Names of the tasks.
    """

    architecture: Architecture
    weighting: Weighting
    losses: list[Loss]
    encoders: list[EncodedColumns]
    encoder_index: list[int]
    targets: TaskEncoder
    n_tasks: int
    row_tasks: bool
    dtype: str
    input_shape: tuple[int, ...] | None = None
    task_names: tuple | None = None

    @classmethod
    def from_plans(cls, plans, data, dtype):
        """Join the plans of the networks of a bank.

        Parameters
        ----------
        plans : sequence of NetworkPlan
            One a network.
        data : TaskData
            What they train on.
        dtype : {"float32", "float64"}
            Of the parameters.

        Returns
        -------
        blueprint : Blueprint
            Of the bank.

        Raises
        ------
        ValueError
            If strategies differ in hyperparameters that do not fuse.
        """
        choices = [plan.hyperparameters for plan in plans]
        encoders, index = distinct([plan.encoder for plan in plans])
        return cls(
            Strategy.stack([c.architecture for c in choices]),
            Strategy.stack([c.weighting for c in choices]),
            stacked_losses([c.losses for c in choices]),
            encoders,
            index,
            plans[0].targets,
            len(data.task_names),
            data.row_tasks,
            dtype,
            data.input_shape,
            tuple(data.task_names),
        )

    @property
    def n_classes(self):
        """Classes that the heads tell apart by column, None for numbers; list."""
        return self.targets.n_classes

    def with_settings(self, plans, dtype):
        """Keep the networks, encoders and targets, and take over new settings.

        Parameters
        ----------
        plans : sequence of NetworkPlan
            One a network.
        dtype : {"float32", "float64"}
            Of the parameters.

        Returns
        -------
        blueprint : Blueprint
            Of networks of the same shapes.

        Raises
        ------
        ValueError
            If a strategy changed in more than hyperparameters that fuse.
        """
        choices = [plan.hyperparameters for plan in plans]
        new = {
            name: _fused(name, getattr(self, name), [getattr(c, name) for c in choices])
            for name in ("architecture", "weighting")
        }
        for old, *chosen in zip(
            self.losses, *[choice.losses for choice in choices], strict=True
        ):
            _fused("loss", old, chosen)
        new["losses"] = stacked_losses([choice.losses for choice in choices])
        return replace(self, dtype=dtype, **new)

    def take(self, index):
        """Keep some networks.

        Parameters
        ----------
        index : sequence of int
            Positions of the networks.

        Returns
        -------
        blueprint : Blueprint
            Of the smaller bank.
        """
        strategies = {
            name: getattr(self, name).take(index)
            for name in ("architecture", "weighting")
        }
        taken = {id(loss): loss.take(index) for loss in self.losses}
        strategies["losses"] = [taken[id(loss)] for loss in self.losses]
        # All encoders stay: the widest one sets the padded width of the weights.
        kept = [self.encoder_index[k] for k in index]
        return replace(self, encoder_index=kept, **strategies)

    def build(self, streams=None):
        """Make the module.

        Parameters
        ----------
        streams : Streams, optional
            Source of the initial weights; without it they are zero, to be loaded.

        Returns
        -------
        module : BankModule
            On the CPU.
        """
        return BankModule(self, streams)


def _fused(name, bank, choices):
    """Join new choices, after a look at whether they go on from the old ones."""
    old = bank.of_network(0)
    try:
        Strategy.stack([old, choices[0]])
    except ValueError as error:
        raise ValueError(
            f"warm_start goes on from networks with {name}={old!r}, and {name} is "
            f"{choices[0]!r} now. Set it back, or fit with warm_start=False."
        ) from error
    return Strategy.stack(choices)


def stacked_losses(losses):
    """Join the losses of the networks, column by column.

    Parameters
    ----------
    losses : list of (sequence of Loss), length n_networks
        Of the columns.

    Returns
    -------
    losses : list of Loss, length n_columns
        Of the bank.
    """
    stacked = {}
    joined = []
    for column in zip(*losses, strict=True):
        key = tuple(id(loss) for loss in column)
        if key not in stacked:
            stacked[key] = Strategy.stack(column)
        joined.append(stacked[key])
    return joined


def distinct(objects):
    """List distinct objects, by identity, and where each one stands in the list.

    Parameters
    ----------
    objects : sequence
        With repetitions.

    Returns
    -------
    found : list
        In the order of first appearance.
    index : list of int, length of `objects`
        Positions in `found`.
    """
    position = {}
    for thing in objects:
        position.setdefault(id(thing), len(position))
    found = list({id(thing): thing for thing in objects}.values())
    return found, [position[id(thing)] for thing in objects]


class BankModule(nn.Module):
    """Encoder, embedding, architecture and weighting of a bank.

    Parameters
    ----------
    blueprint : Blueprint
        What to build.
    streams : Streams or None
        Source of the initial weights.

    Attributes
    ----------
    encoder : EncoderBank
        From raw rows to inputs.
    embedding : EmbeddingBank
        From inputs to inputs with learned embeddings in place.
    architecture : ArchitectureModule
        From inputs to outputs.
    weighting : WeightingModule
        From losses and gradients to weights.
    losses : ColumnLosses
        From outputs to the loss of each cell.
    shape : BankShape
        What the parts were built for.
    optimizer_class : type
        What trains it.
    """

    optimizer_class = BankAdamW

    def __init__(self, blueprint, streams=None):
        super().__init__()
        self.encoder = EncoderBank(blueprint.encoders, blueprint.encoder_index)
        self.losses = ColumnLosses(blueprint.losses, blueprint.n_classes)
        dtype = getattr(torch, blueprint.dtype)
        self.embedding = EmbeddingBank(
            blueprint.encoders, blueprint.encoder_index, streams, dtype
        )
        of_classes = tuple(n is not None for n in blueprint.n_classes)
        if blueprint.row_tasks:
            of_classes = of_classes[:1] * blueprint.n_tasks
        shape = BankShape(
            tuple(self.embedding.n_inputs),
            self.losses.n_outputs,
            blueprint.n_tasks,
            blueprint.row_tasks,
            dtype,
            self.embedding.width,
            blueprint.input_shape,
            blueprint.task_names,
            of_classes,
            None if blueprint.row_tasks else tuple(self.losses.owners),
        )
        self.shape = shape
        self.architecture = blueprint.architecture.check().build(shape, streams)
        self.weighting = blueprint.weighting.check().build(shape, streams)
        if self.weighting.needs == "jacobian":
            shared = self.shared_parameters()
            self.weighting.prepare(sum(p[0].numel() for p in shared))
        self.use_streams(streams)

    def use_streams(self, streams):
        """Give random streams to the parts that draw while training.

        Parameters
        ----------
        streams : Streams or None
            None takes them away.
        """
        for part in self.modules():
            if hasattr(part, "streams"):
                part.streams = streams

    def undecayed_parameters(self):
        """List the parameters beside embedding and architecture; no decay acts on them.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return list(self.weighting.parameters())

    def forward(self, inputs, task=None):
        """Compute outputs from encoded rows.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            From the encoder.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of the architecture.
        """
        return self.architecture(self.embedding(inputs), task)

    def features(self, inputs):
        """Compute the shared representation of encoded rows.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            From the encoder.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_hidden)
            What the heads of the architecture read.
        """
        return self.architecture.features(self.embedding(inputs))

    def shared_parameters(self):
        """List the parameters that every task trains: embedding and trunk.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        shared = self.architecture.shared_parameters()
        return [*self.embedding.parameters(), *shared]

    def leaves(self):
        """List the tensors that gradients of the last pass go to.

        Returns
        -------
        shared, own : list of Tensor
            What every task trains, and the rest of the architecture. In place of the
            rows of a table that is updated lazily, those that the pass selected.
        """
        ids = {id(parameter) for parameter in self.shared_parameters()}
        shared, own = [], []
        for part in (self.embedding, self.architecture):
            for bank in part.modules():
                selected = isinstance(bank, RowsBank) and bank.selected
                for parameter in bank.parameters(recurse=False):
                    leaf = selected[1] if selected else parameter
                    if leaf.requires_grad:
                        (shared if id(parameter) in ids else own).append(leaf)
        return shared, own
