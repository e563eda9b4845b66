"""The module of a bank: encoder, architecture, weighting and losses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from .._bank import DropoutBank
from .._embedding_bank import EmbeddingBank
from .._encoder_bank import EncodedColumns, EncoderBank
from .._shape import BankShape
from .._strategy import Strategy

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
    architecture, weighting, loss : Architecture, Weighting and Loss
        Strategies of the whole bank.
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
    """

    architecture: Architecture
    weighting: Weighting
    loss: Loss
    encoders: list[EncodedColumns]
    encoder_index: list[int]
    targets: TaskEncoder
    n_tasks: int
    row_tasks: bool
    dtype: str

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
            Strategy.stack([c.loss for c in choices]),
            encoders,
            index,
            plans[0].targets,
            len(data.task_names),
            data.row_tasks,
            dtype,
        )

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
            for name in ("architecture", "weighting", "loss")
        }
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
    """

    def __init__(self, blueprint, streams=None):
        super().__init__()
        self.encoder = EncoderBank(blueprint.encoders, blueprint.encoder_index)
        self.losses = ColumnLosses(blueprint.loss, blueprint.targets.n_classes)
        dtype = getattr(torch, blueprint.dtype)
        self.embedding = EmbeddingBank(
            blueprint.encoders, blueprint.encoder_index, streams, dtype
        )
        shape = BankShape(
            tuple(self.embedding.n_inputs),
            self.losses.n_outputs,
            blueprint.n_tasks,
            blueprint.row_tasks,
            dtype,
            self.embedding.width,
        )
        self.architecture = blueprint.architecture.check().build(shape, streams)
        self.weighting = blueprint.weighting.check().build(shape, streams)
        self.use_streams(streams)

    def use_streams(self, streams):
        """Give random streams to the parts that draw while training.

        Parameters
        ----------
        streams : Streams or None
            None takes them away.
        """
        self.weighting.streams = streams
        for part in self.modules():
            if isinstance(part, DropoutBank):
                part.streams = streams

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


class ColumnLosses:
    """The losses of the label columns, computed together where they can be.

    Parameters
    ----------
    loss : Loss
        Of every column.
    n_classes : list of (int or None), length n_columns
        Classes of each column.

    Attributes
    ----------
    n_outputs : int
        Of all columns.
    slices : list of slice, length n_columns
        The outputs of each column.
    widths : list of int, length n_columns
        Numbers that a prediction of each column has.
    """

    def __init__(self, loss, n_classes):
        self.loss = loss
        self.n_classes = n_classes
        sizes = [loss.n_outputs(n) for n in n_classes]
        ends = np.cumsum(sizes)
        self.n_outputs = int(ends[-1])
        self.widths = [1 if n is None else max(n, 2) for n in n_classes]
        self._predicted = [
            slice(int(e - w), int(e))
            for w, e in zip(self.widths, np.cumsum(self.widths), strict=True)
        ]
        self.slices = [slice(e - s, e) for s, e in zip(sizes, ends, strict=True)]
        # Columns with equally many outputs are one group, and one call of the loss.
        self._groups = [
            (size, [j for j, s in enumerate(sizes) if s == size])
            for size in sorted(set(sizes))
        ]

    def cells(self, outputs, targets):
        """Compute the loss of every cell.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of the architecture.
        targets : Tensor of shape (n_networks, n_rows, n_columns)
            Encoded labels, 0 where missing.

        Returns
        -------
        cells : Tensor of shape (n_networks, n_rows, n_columns)
            To be weighted.
        """
        if len(self._groups) == 1:
            size, columns = self._groups[0]
            return self.loss.cells(outputs.unflatten(-1, (len(columns), size)), targets)
        cells = [None] * len(self.slices)
        for size, columns in self._groups:
            picked = torch.cat([outputs[..., self.slices[j]] for j in columns], dim=-1)
            some = self.loss.cells(
                picked.unflatten(-1, (len(columns), size)), targets[..., columns]
            )
            for j, cell in zip(columns, some.unbind(-1), strict=True):
                cells[j] = cell
        return torch.stack(cells, dim=-1)

    def membership(self, device, dtype):
        """Say which outputs belong to which column.

        Parameters
        ----------
        device, dtype : torch.device and torch.dtype
            Of the result.

        Returns
        -------
        membership : Tensor of shape (n_outputs, n_columns)
            Ones and zeros.
        """
        matrix = torch.zeros(
            self.n_outputs, len(self.slices), device=device, dtype=dtype
        )
        for j, where in enumerate(self.slices):
            matrix[where, j] = 1
        return matrix

    def predict(self, outputs):
        """Average the predictions of the members.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of the architecture.

        Returns
        -------
        predictions : Tensor of shape (n_rows, n_predictions)
            Scaled numbers, or probabilities of all columns side by side.
        """
        if len(self._groups) == 1:
            size, columns = self._groups[0]
            linked = self.loss.link(outputs.unflatten(-1, (len(columns), size)))
            linked = linked.flatten(2)
            return linked[0] if len(linked) == 1 else linked.mean(0)
        links = [self.loss.link(outputs[..., where]).mean(0) for where in self.slices]
        return torch.cat(links, dim=-1)

    def split(self, predictions):
        """Cut predictions into columns.

        Parameters
        ----------
        predictions : ndarray of shape (n_rows, n_predictions)
            From :meth:`predict`.

        Returns
        -------
        columns : list of ndarray, length n_columns
            For the methods of TaskEncoder.
        """
        return [predictions[:, where] for where in self._predicted]

    def initial_bias(self, y, weight, targets):
        """Find the outputs of the best constant prediction on some rows.

        Parameters
        ----------
        y, weight : ndarray of shape (n_rows, n_columns)
            Labels and their weights.
        targets : TaskEncoder
            Encodes the labels.

        Returns
        -------
        bias : ndarray of shape (n_outputs,)
            Of all columns side by side.
        """
        encoded = targets.encode(y)
        columns = zip(encoded.T, weight.T, self.n_classes, strict=True)
        return np.concatenate([self.loss.initial_bias(*column) for column in columns])
