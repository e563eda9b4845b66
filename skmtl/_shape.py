"""The sizes of a bank."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class BankShape:
    """The sizes that an architecture and a weighting are built for.

    Parameters
    ----------
    n_inputs : tuple of int, length n_networks
        Unpadded widths of the encoded table, by network.
    n_outputs : int
        Outputs of all column tasks side by side, or of one row task.
    n_tasks : int
        Number of tasks.
    row_tasks : bool, default=False
        Whether each row belongs to one task.
    dtype : torch.dtype, default=torch.float32
        Of the parameters.
    padded_width : int, default=None
        Width of the encoded table; None is the widest network's.
    input_shape : tuple of int, default=None
        Shape of a row of X before it was flattened; None for the rows of a table.
    task_names : tuple, default=None
        Names of the tasks, for strategies whose arguments name some; None where nobody
        knows them.
    of_classes : tuple of bool, length n_tasks, default=None
        Whether the labels of each task are classes; None for numbers everywhere.
    owners : tuple of int, length n_outputs, default=None
        Task of each output of column tasks; None for equally many a task.
    """

    n_inputs: tuple[int, ...]
    n_outputs: int
    n_tasks: int
    row_tasks: bool = False
    dtype: torch.dtype = torch.float32
    padded_width: int | None = None
    input_shape: tuple[int, ...] | None = None
    task_names: tuple | None = None
    of_classes: tuple[bool, ...] | None = None
    owners: tuple[int, ...] | None = None

    @property
    def n_networks(self):
        """Length of the network axis, int."""
        return len(self.n_inputs)

    @property
    def width(self):
        """Padded number of inputs, int."""
        return self.padded_width or max(1, *self.n_inputs)

    @property
    def task_of_output(self):
        """Task of each output of column tasks, tuple of int of length n_outputs."""
        if self.owners is not None:
            return self.owners
        return tuple(o * self.n_tasks // self.n_outputs for o in range(self.n_outputs))

    @property
    def names(self):
        """Names of the tasks, tuple; positions where nobody knows names."""
        fits = self.task_names is not None and len(self.task_names) == self.n_tasks
        return tuple(self.task_names) if fits else tuple(range(self.n_tasks))
