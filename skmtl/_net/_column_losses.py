"""The losses of all label columns, computed together where they can be."""

import copy

import numpy as np
import torch
from torch import nn


class ColumnLosses(nn.Module):
    """Compute losses, links and predictions of the label columns side by side.

    Parameters
    ----------
    losses : list of Loss, length n_columns
        Of the whole bank; columns with equal losses are computed in one call.
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
    predicted_slices : list of slice, length n_columns
        The predictions of each column.
    """

    def __init__(self, losses, n_classes):
        super().__init__()
        self.losses = list(losses)
        self.n_classes = n_classes
        pairs = list(zip(self.losses, n_classes, strict=True))
        sizes = [loss.n_outputs(n) for loss, n in pairs]
        self.widths = [loss.n_predictions(n) for loss, n in pairs]
        self.slices = _side_by_side(sizes)
        self.predicted_slices = _side_by_side(self.widths)
        self.n_outputs = self.slices[-1].stop
        # Columns with equal losses and equally many outputs are one group.
        groups = {}
        for j, (loss, size) in enumerate(zip(self.losses, sizes, strict=True)):
            groups.setdefault((_signature(loss), size), []).append(j)
        self._groups = [(size, columns) for (_, size), columns in groups.items()]
        alike = len(self._groups) == 1 and self._groups[0][0] == 1
        self._has_derivatives = alike and self.losses[0].has_derivatives

    @property
    def owners(self):
        """Column of each output, list of int of length n_outputs."""
        columns = enumerate(self.slices)
        return [j for j, where in columns for _ in range(where.start, where.stop)]

    def take_networks(self, index):
        """Keep the hyperparameters of some networks.

        Parameters
        ----------
        index : sequence of int or Tensor
            Positions of the networks.
        """
        index = [int(k) for k in index]
        taken = {id(loss): loss.take(index) for loss in self.losses}
        self.losses = [taken[id(loss)] for loss in self.losses]

    def of_networks(self, index):
        """Copy the losses of some networks, for prediction.

        Parameters
        ----------
        index : sequence of int
            Positions of the networks.

        Returns
        -------
        losses : ColumnLosses
            In evaluation mode: the loss that is reported.
        """
        taken = copy.deepcopy(self).eval()
        taken.take_networks(index)
        return taken

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
            To be weighted. In training mode, what training minimises.
        """
        if len(self._groups) == 1:
            size, columns = self._groups[0]
            return self._cells(
                columns[0], outputs.unflatten(-1, (len(columns), size)), targets
            )
        cells = [None] * len(self.slices)
        for size, columns in self._groups:
            picked = torch.cat([outputs[..., self.slices[j]] for j in columns], dim=-1)
            some = self._cells(
                columns[0],
                picked.unflatten(-1, (len(columns), size)),
                targets[..., columns],
            )
            for j, cell in zip(columns, some.unbind(-1), strict=True):
                cells[j] = cell
        return torch.stack(cells, dim=-1)

    def derivatives(self, outputs, targets):
        """Differentiate every cell twice by its output, where that is written out.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of the architecture.
        targets : Tensor of shape (n_networks, n_rows, n_columns)
            Encoded labels, 0 where missing.

        Returns
        -------
        derivatives : tuple of (Tensor, Tensor or float) or None
            First and second; None for autograd.
        """
        if not self._has_derivatives:
            return None
        return self.losses[0].derivatives(outputs, targets)

    @property
    def is_quadratic(self):
        """Whether :meth:`derivatives` gives one curvature for all outputs, bool."""
        nothing = torch.zeros(1, 1, len(self.slices))
        derivatives = self.derivatives(nothing, nothing)
        return derivatives is not None and isinstance(derivatives[1], float)

    def _cells(self, column, outputs, targets):
        loss = self.losses[column]
        compute = loss.training_cells if self.training else loss.cells
        return compute(outputs, targets)

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
        linked = self.link(outputs)
        return linked[0] if len(linked) == 1 else linked.mean(0)

    def link(self, outputs):
        """Turn the outputs of every network into its predictions.

        Parameters
        ----------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of the architecture.

        Returns
        -------
        predictions : Tensor of shape (n_networks, n_rows, n_predictions)
            Of all columns side by side.
        """
        if len(self._groups) == 1:
            size, columns = self._groups[0]
            outputs = outputs.unflatten(-1, (len(columns), size))
            return self.losses[0].link(outputs).flatten(2)
        links = [
            loss.link(outputs[..., where])
            for loss, where in zip(self.losses, self.slices, strict=True)
        ]
        return torch.cat(links, dim=-1)

    def split(self, predictions):
        """Cut predictions into columns.

        Parameters
        ----------
        predictions : ndarray of shape (..., n_predictions)
            From :meth:`predict` or :meth:`link`.

        Returns
        -------
        columns : list of ndarray, length n_columns
            For the methods of TaskEncoder.
        """
        return [predictions[..., where] for where in self.predicted_slices]

    def points(self, columns):
        """Keep of each column the predictions that ``predict`` reports.

        Parameters
        ----------
        columns : list of ndarray of shape (..., n_predictions)
            From :meth:`split`.

        Returns
        -------
        columns : list of ndarray
            One number for a task of numbers; all probabilities of classes.
        """
        triples = zip(columns, self.losses, self.n_classes, strict=True)
        return [
            column[..., [loss.point]] if n is None else column
            for column, loss, n in triples
        ]


def initial_bias(plan, y, weight):
    """Find the outputs of the best constant prediction on some rows.

    Parameters
    ----------
    plan : NetworkPlan
        Its losses and target scaling are used.
    y, weight : ndarray of shape (n_rows, n_columns)
        Labels and their weights.

    Returns
    -------
    bias : ndarray of shape (n_outputs,)
        Of all columns side by side.
    """
    encoded = plan.targets.encode(y)
    columns = zip(
        plan.hyperparameters.losses,
        encoded.T,
        weight.T,
        plan.targets.n_classes,
        strict=True,
    )
    return np.concatenate([loss.initial_bias(*column) for loss, *column in columns])


def _side_by_side(sizes):
    ends = [int(end) for end in np.cumsum(sizes)]
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _signature(loss):
    """Tell equal losses by; a copy of a loss is the same loss."""
    return type(loss), repr(sorted(loss.get_params().items()))
