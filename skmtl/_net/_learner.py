"""What every way of learning from episodes answers."""

import torch
from torch import nn

from .._strategy import Strategy
from ._optimizer import BankAdamW


class Learner(Strategy):
    """Base class of the ways to learn from episodes: hyperparameters only.

    Attributes
    ----------
    reads_features : bool
        Whether it puts heads of its own on the features, in the place of linear ones.
    """

    reads_features = False

    def build(self, module, streams=None):
        """Make the module that works.

        Parameters
        ----------
        module : EpisodicModule
            Its architecture and losses are there already.
        streams : Streams, optional
            Source of initial weights; without it they are zero, to be loaded.

        Returns
        -------
        learner : LearnerModule
            Its parameters carry the network axis first.
        """
        raise NotImplementedError("abstract method")


class LearnerModule(nn.Module):
    """Base class of what ``Learner.build`` returns.

    Adapted tasks lie behind the networks: arrays that begin with
    (n_networks, n_tasks) become banks of ``n_networks * n_tasks`` networks.

    Attributes
    ----------
    optimizer_class : type
        Of the optimizer that takes the steps.
    """

    optimizer_class = BankAdamW

    def backward(self, module, episodes, progress, share):
        """Add the gradients of some episodes to those of the parameters.

        Parameters
        ----------
        module : EpisodicModule
            In training.
        episodes : Episodes
            One meta-batch a network.
        progress : float
            Share of the training that is done, from 0 to 1.
        share : float
            What one episode counts in the step.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_episodes, n_columns)
            Detached; NaN where an episode has no query labels in a column, infinite
            where the loss is no number.
        """
        losses = self.query_losses(module, episodes)
        (masked_mean(losses, -1, 0.0) * share).sum().backward()
        return losses.detach()

    def query_losses(self, module, episodes):
        """Learn the supports, and compute the losses of the queries.

        Parameters
        ----------
        module : EpisodicModule
            Of all networks.
        episodes : Episodes
            One meta-batch a network.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_episodes, n_columns)
            Means over the labelled query cells; NaN where there are none, infinite
            where the mean is no number.
        """
        raise NotImplementedError("abstract method")

    def validation_losses(self, module, episodes):
        """Compute the losses that choose the best epoch.

        Parameters
        ----------
        module : EpisodicModule
            In evaluation mode; gradients are off.
        episodes : Episodes
            Of held-out entries.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_episodes, n_columns)
            As :meth:`query_losses`.
        """
        return self.query_losses(module, episodes)

    def standard_errors(self, module, episodes):
        """Measure the errors of the query in units of what was expected of them.

        Parameters
        ----------
        module : EpisodicModule
            In evaluation mode; gradients are off.
        episodes : Episodes
            Of held-out entries.

        Returns
        -------
        errors : Tensor of shape (n_networks, n_episodes, n_rows, n_columns) or None
            NaN where there is no label; None where nothing is expected of errors.
        """
        return None

    def adapt(self, module, inputs, targets, weights, **options):
        """Learn tasks from their rows.

        Parameters
        ----------
        module : EpisodicModule
            In evaluation mode.
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
            Encoded and embedded rows.
        targets, weights : Tensor of shape (n_networks, n_tasks, n_rows, n_columns)
            Weights are 0 for padding and missing labels.
        **options : dict
            Settings of this adaptation.

        Returns
        -------
        state : dict of str to Tensor of shape (n_networks, n_tasks, ...)
            For :meth:`outputs`.
        """
        raise NotImplementedError("abstract method")

    def outputs(self, module, state, inputs):
        """Apply adapted tasks to rows.

        Parameters
        ----------
        module : EpisodicModule
            In evaluation mode.
        state : dict of str to Tensor
            From :meth:`adapt`.
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
            Encoded and embedded rows, by task.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_tasks, n_rows, n_outputs)
            For the losses of the module.
        """
        raise NotImplementedError("abstract method")

    def predictions(self, module, outputs):
        """Turn outputs into predictions.

        Parameters
        ----------
        module : EpisodicModule
            Its losses have links.
        outputs : Tensor of shape (n_networks, n_tasks, n_rows, n_outputs)
            From :meth:`outputs`.

        Returns
        -------
        predictions : Tensor of shape (n_networks, n_tasks, n_rows, n_predictions)
            Scaled numbers, or probabilities.
        """
        linked = module.losses.link(outputs.flatten(0, 1))
        return linked.unflatten(0, outputs.shape[:2])


def masked_mean(values, dim, empty):
    """Average what is not NaN; no gradient reaches what is.

    Parameters
    ----------
    values : Tensor
        With NaN where there is nothing.
    dim : int
        Averaged over.
    empty : float
        The mean of nothing.

    Returns
    -------
    mean : Tensor
        Of one dimension less.
    """
    there = ~values.isnan()
    count = there.sum(dim)
    total = torch.where(there, values, 0.0).sum(dim)
    return torch.where(count > 0, total / count.clamp(min=1), empty)


def weighted_means(cells, weights):
    """Average the losses of cells over rows.

    Parameters
    ----------
    cells, weights : Tensor of shape (..., n_rows, n_columns)
        Weights are 0 for padding and missing labels.

    Returns
    -------
    losses : Tensor of shape (..., n_columns)
        NaN where all weights are 0; infinite where the loss is no number.
    """
    total = weights.sum(-2)
    mean = (cells * weights).sum(-2) / torch.where(total > 0, total, 1.0)
    mean = torch.where(mean.isnan(), torch.inf, mean)
    return torch.where(total > 0, mean, torch.nan)
