"""What architectures have in common whose tasks read no common representation."""

import torch

from ._base import ArchitectureModule


class ApartModule(ArchitectureModule):
    """Tasks with features of their own; subclasses implement ``own_features``.

    Attributes
    ----------
    heads : OwnHead or OwnRowHead
        From the features of a task to its outputs.
    """

    has_features = False

    def own_features(self, inputs, task=None):
        """Compute what the head of each task reads.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row.

        Returns
        -------
        features : Tensor of shape (n_networks, n_tasks, n_rows, n_hidden)
            Of all column tasks; of row tasks (n_networks, 1, n_rows, n_hidden), those
            of the row's own.
        """
        raise NotImplementedError("abstract method")

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
        return self.heads(self.own_features(inputs, task), task)

    def features(self, inputs):
        """Refuse: there are none.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            f"{self.name} has no representation that all tasks read, and what was "
            "asked for is learned on one. Take HardSharing, or another architecture "
            "that has one."
        )

    def readout(self, inputs):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_readout)
            The features of all column tasks side by side; with row tasks those of a
            row of no task.
        """
        n_networks = len(self.heads.shared.weight)
        inputs = inputs.expand(n_networks, -1, -1)
        task = None
        if hasattr(self.heads, "deviation"):
            n_tasks = self.heads.deviation.weight.shape[1] - 1
            task = torch.full(inputs.shape[:2], n_tasks, device=inputs.device)
        own = self.own_features(inputs, task)
        return own.transpose(1, 2).flatten(2)

    def set_output_bias(self, bias):
        """Start the heads at the best constant prediction.

        Parameters
        ----------
        bias : Tensor of shape (n_networks, n_outputs)
            From the loss of each task.
        """
        with torch.no_grad():
            self.heads.shared.bias.copy_(bias[:, None, :])

    def pooled_head(self):
        """Give the head that row tasks share, and how strongly they hold to it.

        Returns
        -------
        weight, bias, shrinkage : Tensor
            See :meth:`ArchitectureModule.pooled_head`.
        """
        shared = self.heads.shared
        return shared.weight, shared.bias[:, 0], self.heads.shrinkage

    def task_parameters(self):
        """List the heads of column tasks, or their deviations of row tasks.

        Returns
        -------
        parameters : list of Parameter
            See :meth:`ArchitectureModule.task_parameters`; what else belongs to one
            task is left out.
        """
        return self.heads.task_parameters()

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
        return self.heads.penalty(share)
