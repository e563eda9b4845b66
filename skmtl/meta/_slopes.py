"""The derivative of a loss by the outputs, and how it moves when they do."""

import torch


def slope_of(losses, cells, mean, outputs, twice):
    """Differentiate the mean loss of tasks by their outputs.

    Parameters
    ----------
    losses : ColumnLosses
        Of the module.
    cells : TaskCells
        The targets.
    mean : Tensor of shape (n_networks, n_rows, n_columns)
        What each cell counts.
    outputs : Tensor of shape (n_networks, n_rows, n_outputs)
        Without a graph.
    twice : bool
        Whether the slope will be differentiated, too.

    Returns
    -------
    slope : WrittenSlope or GraphSlope
        With `value`, and ``bend(turn)``.
    """
    written = losses.derivatives(outputs, cells.targets)
    if written is not None:
        return WrittenSlope(mean, *written)
    return GraphSlope(losses, cells, mean, outputs, twice)


class WrittenSlope:
    """The slope of a loss that has its derivatives written out.

    Parameters
    ----------
    mean : Tensor of shape (n_networks, n_rows, n_outputs)
        What each cell counts.
    first, second : Tensor of the same shape, or float
        Derivatives of each cell by its output.

    Attributes
    ----------
    value : Tensor of shape (n_networks, n_rows, n_outputs)
        The slope.
    """

    def __init__(self, mean, first, second):
        self.value = first * mean
        self._mean, self._second = mean, second

    def bend(self, turn):
        """Say how the slope moves.

        Parameters
        ----------
        turn : Tensor of shape (n_networks, n_rows, n_outputs)
            How the outputs move.

        Returns
        -------
        bend : Tensor of the same shape
            The second derivative times it.
        """
        return (turn * self._mean).mul_(self._second)


class GraphSlope:
    """The slope of any loss, by autograd.

    Parameters
    ----------
    losses, cells, mean, outputs, twice
        See :func:`slope_of`.

    Attributes
    ----------
    value : Tensor of shape (n_networks, n_rows, n_outputs)
        The slope.
    """

    def __init__(self, losses, cells, mean, outputs, twice):
        self._outputs = outputs.detach().requires_grad_()
        with torch.enable_grad():
            found = cells.cells(losses, self._outputs)
            (self._slope,) = torch.autograd.grad(
                found, self._outputs, mean, create_graph=twice
            )
        self.value = self._slope.detach()

    def bend(self, turn):
        """Say how the slope moves.

        Parameters
        ----------
        turn : Tensor of shape (n_networks, n_rows, n_outputs)
            How the outputs move.

        Returns
        -------
        bend : Tensor of the same shape
            The second derivative times it.
        """
        if not self._slope.requires_grad:
            return torch.zeros_like(turn)
        (bend,) = torch.autograd.grad(
            self._slope, self._outputs, turn, materialize_grads=True
        )
        return bend
