"""What architectures have in common that put linear heads on one trunk."""

import torch

from ._base import ArchitectureModule
from ._heads import ColumnHead, RowHead


class TrunkModule(ArchitectureModule):
    """One trunk for all tasks, and a linear head a task; subclasses are the trunk.

    A subclass sets ``n_hidden`` and ``n_features``, calls :meth:`make_heads`, and
    implements ``features`` and ``shared_parameters``.

    Attributes
    ----------
    n_hidden : int
        Features that shared parameters feed; they come first.
    n_features : int
        All features.
    heads : ColumnHead or RowHead
        From features to outputs.
    """

    def make_heads(self, strategy, shape, widths, streams):
        """Put heads on the features.

        Parameters
        ----------
        strategy : Architecture
            Its ``task_shrinkage`` is read.
        shape : BankShape
            Sizes of the bank.
        widths : sequence of int, length n_networks
            Features of each network that are not padding.
        streams : Streams or None
            Source of the initial weights. What reads features that no shared parameter
            feeds starts at zero.
        """
        sizes = shape.n_networks, self.n_features, shape.n_outputs
        if shape.row_tasks:
            shrinkage = strategy.per_network("task_shrinkage", shape.n_networks)
            self.heads = RowHead(*sizes, shape.n_tasks, shrinkage, widths, shape.dtype)
        else:
            self.heads = ColumnHead(*sizes, shape.dtype)
        if streams is not None:
            fed = [self.n_hidden] * shape.n_networks
            self.heads.shared.reset(streams, "head", fed)

    def head(self, features, task=None):
        """Read the outputs off the features.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_features)
            From :meth:`features`.
        task : Tensor of shape (n_networks, n_rows), int64, optional
            Task of each row; row tasks only.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_outputs)
            Of all column tasks, or of the row's task.
        """
        return self.heads(features, task)

    def set_output_bias(self, bias):
        """Start the heads at the best constant prediction.

        Parameters
        ----------
        bias : Tensor of shape (n_networks, n_outputs)
            From the loss of each task.
        """
        with torch.no_grad():
            self.heads.shared.bias.copy_(bias[:, None, :])

    def set_linear_head(self, weight, bias):
        """Set the heads of column tasks.

        Parameters
        ----------
        weight : Tensor of shape (n_networks, n_features, n_outputs)
            From features to outputs.
        bias : Tensor of shape (n_networks, n_outputs)
            Of the outputs.
        """
        with torch.no_grad():
            self.heads.shared.weight.copy_(weight)
            self.heads.shared.bias.copy_(bias[:, None, :])

    def pooled_head(self):
        """Give the head that row tasks share, and how strongly they hold to it.

        Returns
        -------
        weight : Tensor of shape (n_networks, n_features, n_outputs)
            From features to outputs.
        bias : Tensor of shape (n_networks, n_outputs)
            Of the outputs.
        shrinkage : Tensor of shape (n_networks,)
            Ridge strength on the deviation of a task.
        """
        shared = self.heads.shared
        return shared.weight, shared.bias[:, 0], self.heads.shrinkage

    def pool(self, share, shift):
        """Keep a share of the deviations of row tasks, and move the levels of tasks.

        Parameters
        ----------
        share : Tensor of shape (n_networks,)
            Factor on the deviations.
        shift : Tensor of shape (n_networks, n_tasks, n_outputs)
            Added to the outputs of the rows of each task.
        """
        deviation = self.heads.deviation.weight
        with torch.no_grad():
            deviation.mul_(share.to(deviation).view(-1, 1, 1))
            # The shift of a task stands behind its last feature; the slot behind the
            # last task is of none.
            deviation[:, :-1, -shift.shape[-1] :] += shift.to(deviation)

    def task_parameters(self):
        """List the heads of column tasks, or the deviations of row tasks.

        Of heads with hidden layers it is the last layer.

        Returns
        -------
        parameters : list of Parameter
            See :meth:`ArchitectureModule.task_parameters`.
        """
        if not isinstance(self.heads, RowHead):
            return list(self.heads.shared.parameters())
        return [self.heads.deviation.weight]

    def linear_head(self):
        """Give the matrix of the heads of column tasks.

        Returns
        -------
        weight : Tensor of shape (n_networks, n_features, n_outputs) or None
            None for row tasks.
        """
        return self.heads.shared.weight if isinstance(self.heads, ColumnHead) else None

    @property
    def n_shared_features(self):
        """Features that shared parameters feed, int."""
        return self.n_hidden

    def penalty(self, share):
        """Shrink row-task deviations.

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
