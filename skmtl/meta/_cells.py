"""Labelled cells of a set of tasks, and the losses over them."""

import torch


class TaskCells:
    """Targets of rows by task, with weights that make sums of losses means.

    Parameters
    ----------
    targets, weights : Tensor of shape (n_networks, n_tasks, n_rows, n_columns)
        Weights are 0 for padding and missing labels.

    Attributes
    ----------
    targets : Tensor of shape (n_networks * n_tasks, n_rows, n_columns)
        The tasks of a network beside each other.
    share : Tensor of the same shape
        Weights that sum to 1 over the rows of a column with labels.
    mean : Tensor of the same shape
        Weights that make of cells the loss of a task: a mean over columns, then rows.
    """

    def __init__(self, targets, weights):
        self.shape = targets.shape[:2]
        self.targets = targets.flatten(0, 1)
        weights = weights.flatten(0, 1)
        self._total = weights.sum(1, keepdim=True)
        least = torch.finfo(weights.dtype).tiny
        self.share = self.mean = weights / self._total.clamp(min=least)
        if weights.shape[-1] > 1:
            columns = (self._total > 0).sum(-1, keepdim=True).clamp(min=1)
            self.mean = self.share / columns

    @property
    def present(self):
        """Whether a column has any label, (n_networks * n_tasks, n_columns), bool."""
        return self._total[:, 0] > 0

    def cells(self, losses, outputs):
        """Compute the loss of every cell.

        Parameters
        ----------
        losses : ColumnLosses
            Of the module.
        outputs : Tensor of shape (n_networks * n_tasks, n_rows, n_outputs)
            Of the tasks' networks.

        Returns
        -------
        cells : Tensor of shape (n_networks * n_tasks, n_rows, n_columns)
            To be weighted by `mean` or `share`.
        """
        return losses.cells(outputs, self.targets)

    def by_column(self, cells):
        """Average the losses of each task and column.

        Parameters
        ----------
        cells : Tensor of shape (n_networks * n_tasks, n_rows, n_columns)
            From :meth:`cells`.

        Returns
        -------
        means : Tensor of shape (n_networks * n_tasks, n_columns)
            0 without labels.
        """
        return (cells * self.share).sum(1)

    def named(self, means):
        """Mark what has no label.

        Parameters
        ----------
        means : Tensor of shape (n_networks * n_tasks, n_columns)
            From :meth:`by_column`.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_tasks, n_columns)
            NaN where there is no label; infinite where the loss is no number.
        """
        found = torch.where(means.isnan(), torch.inf, means)
        found = torch.where(self.present, found, torch.nan)
        return found.unflatten(0, self.shape)


def split_episodes(episodes):
    """Take the support and the query of episodes apart.

    Parameters
    ----------
    episodes : Episodes
        One meta-batch.

    Returns
    -------
    support, query : tuple of (inputs, targets, weights)
        Each Tensor of shape (n_networks, n_episodes, n_rows, ...).
    """
    parts = [
        part.split([episodes.n_support, part.shape[2] - episodes.n_support], dim=2)
        for part in (episodes.inputs, episodes.targets, episodes.weights)
    ]
    return tuple(zip(*parts, strict=True))
