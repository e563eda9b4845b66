"""Linear heads of new tasks on a frozen module of any architecture."""

from dataclasses import replace

import torch

from ._base import Architecture
from ._heads import ColumnHead
from ._trunk import TrunkModule


class LinearReadout(Architecture):
    """Hold a fitted module as it is, and put linear heads on its readout.

    Parameters
    ----------
    architecture : Architecture
        Of the module.
    n_outputs, n_tasks, row_tasks, owners
        What the module was built for; see :class:`BankShape`.
    """

    def __init__(self, architecture, n_outputs, n_tasks, row_tasks, owners):
        self.architecture = architecture
        self.n_outputs = n_outputs
        self.n_tasks = n_tasks
        self.row_tasks = row_tasks
        self.owners = owners

    @classmethod
    def of(cls, architecture, shape):
        """Read the sizes off a shape.

        Parameters
        ----------
        architecture : Architecture
            Of the fitted module.
        shape : BankShape
            What it was built for.

        Returns
        -------
        architecture : LinearReadout
            For new heads.
        """
        sizes = shape.n_outputs, shape.n_tasks, shape.row_tasks, shape.owners
        return cls(architecture, *sizes)

    @property
    def _fusable(self):
        return tuple(f"architecture__{name}" for name in self.architecture._fusable)

    def check(self):
        """Check the hyperparameters of the architecture inside.

        Returns
        -------
        self : LinearReadout
            The object.
        """
        self.architecture.check()
        return self

    def build(self, shape, streams=None):
        """Make the module and its heads.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank, with the new tasks.
        streams : Streams, optional
            Unused: the module is to be loaded.

        Returns
        -------
        module : LinearReadoutModule
            The bank.
        """
        return LinearReadoutModule(self, shape)


class LinearReadoutModule(TrunkModule):
    """The bank that :class:`LinearReadout` builds.

    Parameters
    ----------
    strategy : LinearReadout
        Sizes of the module inside.
    shape : BankShape
        Of the new tasks.
    """

    def __init__(self, strategy, shape):
        super().__init__()
        inside = replace(
            shape,
            n_outputs=strategy.n_outputs,
            n_tasks=strategy.n_tasks,
            row_tasks=strategy.row_tasks,
            owners=strategy.owners,
        )
        self.inner = strategy.architecture.build(inside).eval()
        row = torch.zeros(shape.n_networks, 1, shape.width, dtype=shape.dtype)
        with torch.no_grad():
            self.n_hidden = self.n_features = self.inner.readout(row).shape[-1]
        self.heads = ColumnHead(
            shape.n_networks, self.n_features, shape.n_outputs, shape.dtype
        )

    def features(self, inputs):
        """Run the module up to its readout.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_features)
            What the new heads read.
        """
        return self.inner.readout(inputs)

    def take_trunk(self, other):
        """Copy the module inside, from a bank of it or from one with new heads.

        Parameters
        ----------
        other : ArchitectureModule
            What was adapted.
        """
        inner = other.inner if isinstance(other, LinearReadoutModule) else other
        self.inner.load_state_dict(inner.state_dict())

    def shared_parameters(self):
        """List the parameters of the module inside.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return list(self.inner.parameters())
