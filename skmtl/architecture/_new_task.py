"""A new group of rows as one more embedding in a frozen network."""

from dataclasses import replace

import torch
from torch import nn

from .._bank import take_networks
from ._apart import ApartModule
from ._linear_readout import LinearReadout


class NewTask(LinearReadout):
    """Hold a fitted module as it is, and the embedding of a new task.

    Parameters
    ----------
    architecture : TaskConditioned
        Of the module.
    n_outputs, n_tasks, row_tasks, owners
        What the module was built for; see :class:`BankShape`.
    """

    learns_tasks = True

    def build(self, shape, streams=None):
        """Make the module and room for the embedding.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank, with the new task.
        streams : Streams, optional
            Unused: the module is to be loaded.

        Returns
        -------
        module : NewTaskModule
            The bank.
        """
        return NewTaskModule(self, shape)

    def for_new_heads(self, shape):
        """Choose the architecture that ``adapt`` puts linear heads of new tasks on.

        Parameters
        ----------
        shape : BankShape
            What the fitted module was built for.

        Returns
        -------
        architecture : LinearReadout
            Heads on the features under the embedding.
        """
        return LinearReadout.of(self, shape)


class NewTaskModule(ApartModule):
    """The bank that :class:`NewTask` builds.

    Parameters
    ----------
    strategy : NewTask
        Sizes of the module inside.
    shape : BankShape
        Of the new task.
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
        n_numbers = strategy.architecture.embedding_dim
        self.heads = OneEmbedding(shape.n_networks, n_numbers, shape.dtype)

    def forward(self, inputs, task=None):
        """Run the network under the embedding.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        task : None
            There is one.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of the new task.
        """
        return self.inner.conditioned(inputs, self.heads.embedding)

    def readout(self, inputs):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_hidden)
            Last hidden layer under the embedding.
        """
        return self.inner.modulated(inputs, self.heads.embedding)

    def take_trunk(self, other):
        """Copy the module inside.

        Parameters
        ----------
        other : TaskConditionedModule
            What was adapted.
        """
        self.inner.load_state_dict(other.state_dict())

    def learn_task(self, losses, inputs, targets, weight, task):
        """Learn the embedding, for every network by itself.

        It ends at a minimum of the loss plus the ridge, reached from what descriptors
        predict, or zero.

        Parameters
        ----------
        losses : ColumnLosses
            From outputs to the loss of each cell.
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows of the task.
        targets, weight : Tensor of shape (1, n_rows, n_columns)
            Encoded labels, and their weights.
        task : int
            By which the module inside knows the task, if it is described.
        """
        learned = self.heads.embedding
        predicted = self.inner.embedding.predict(task)
        inputs = inputs.expand(len(learned), -1, -1)
        for k in range(len(learned)):
            inner = take_networks(self.inner, [k]).requires_grad_(False)
            alone = losses.of_networks([k])
            start = predicted[[k]]
            deviation = torch.zeros_like(start, requires_grad=True)
            optimizer = torch.optim.LBFGS(
                [deviation], max_iter=200, line_search_fn="strong_wolfe"
            )
            rows = inputs[[k]], targets, weight
            optimizer.step(_Objective(inner, alone, rows, start, deviation))
            with torch.no_grad():
                learned[k] = (start + deviation)[0]

    def shared_parameters(self):
        """List the parameters of the module inside.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return list(self.inner.parameters())


class OneEmbedding(nn.Module):
    """The embedding of one task.

    Parameters
    ----------
    n_networks, n_numbers : int
        Sizes.
    dtype : torch.dtype
        Of the parameters.
    """

    def __init__(self, n_networks, n_numbers, dtype):
        super().__init__()
        sizes = n_networks, 1, n_numbers
        self.embedding = nn.Parameter(torch.zeros(sizes, dtype=dtype))


class _Objective:
    """The loss of one network plus the ridge, for L-BFGS."""

    def __init__(self, module, losses, rows, start, deviation):
        self.module = module
        self.losses = losses
        self.rows = rows
        self.start = start
        self.deviation = deviation

    def __call__(self):
        inputs, targets, weight = self.rows
        self.deviation.grad = None
        outputs = self.module.conditioned(inputs, self.start + self.deviation)
        total = (self.losses.cells(outputs, targets) * weight).sum()
        ridge = self.module.embedding.shrinkage.sum() * self.deviation.square().sum()
        total = total + ridge
        total.backward()
        return total
