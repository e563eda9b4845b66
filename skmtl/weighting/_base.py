"""What every weighting answers."""

import torch
from torch import nn

from .._strategy import Strategy
from .._streams import Streams


class Weighting(Strategy):
    """Base class of the choices for ``weighting=``."""

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            For methods that draw random numbers.

        Returns
        -------
        module : WeightingModule
            Learned weights and state carry the network axis first.
        """
        raise NotImplementedError("abstract method")


class WeightingModule(nn.Module):
    """Base class of what ``Weighting.build`` returns.

    Hooks do nothing by default. A subclass says in ``needs`` what it has to see, and
    the training step computes no more than that.

    Attributes
    ----------
    needs : {"losses", "gramian", "jacobian"}
        "gramian": inner products of the tasks' gradients. "jacobian": the gradients.
    constant : bool
        Whether the weights are always one, which saves the second backward pass.
    gradients : {"features", "parameters"}
        Where the gradients are taken: at the shared representation or at the shared
        parameters.
    update_every : int
        Steps from one look at the gradients to the next.
    due : ndarray of shape (n_networks,), bool, or None
        Networks that have come to their next look in this step; None for all. Set by
        the training step before it asks for weights.
    streams : Streams or None
        Source of random numbers while training.
    """

    needs = "losses"
    constant = False
    gradients = "features"
    update_every = 1
    due = None
    streams: Streams | None = None

    @property
    def name(self):
        """What messages call the method, str."""
        return type(self).__name__.removesuffix("Module")

    @property
    def sees_step_end(self):
        """Whether :meth:`on_step_end` is overridden, bool; it costs a forward pass."""
        return type(self).on_step_end is not WeightingModule.on_step_end

    def weights(self, losses, gramian, present):
        """Weigh the tasks of one batch on the shared parameters.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Detached; 0 where a task is absent.
        gramian : Tensor of shape (n_networks, n_tasks, n_tasks) or None
            Inner products of the tasks' gradients, when ``needs`` says so.
        present : Tensor of shape (n_networks, n_tasks), bool
            Whether the task has labels in the batch.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            Any scale; the training step rescales a positive sum to n_tasks.
        """
        raise NotImplementedError("abstract method")

    def combine(self, jacobian, losses, present):
        """Combine gradients into one, for methods with ``needs = "jacobian"``.

        Parameters
        ----------
        jacobian : Tensor of shape (n_networks, n_tasks, n_shared)
            Gradients of the tasks' losses, times the user's task weights.
        losses : Tensor of shape (n_networks, n_tasks)
            Detached.
        present : Tensor of shape (n_networks, n_tasks), bool
            Whether the task has labels in the batch.

        Returns
        -------
        gradient : Tensor of shape (n_networks, n_shared)
            The direction for the shared part, of the length of a sum over tasks.
        weights : Tensor of shape (n_networks, n_tasks)
            What each task's gradient came to count in it, for ``loss_weights_``.
        """
        raise NotImplementedError("abstract method")

    def prepare(self, n_shared):
        """Make what depends on the number of shared parameters.

        Called once after :meth:`Weighting.build`, of methods that see the jacobian.

        Parameters
        ----------
        n_shared : int
            Shared parameters of a network, columns of the jacobian under
            ``gradients = "parameters"``.
        """

    def penalty(self, losses, present):
        """Compute the term by which learned weights are trained.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Detached: the term trains the weighting and nothing else.
        present : Tensor of shape (n_networks, n_tasks), bool
            Whether the task has labels in the batch.

        Returns
        -------
        penalty : Tensor of shape (n_networks,) or None
            None when nothing is learned by gradient.
        """
        return None

    def head_rates(self):
        """Give a factor on the learning rate of what belongs to one task alone.

        Returns
        -------
        rates : Tensor of shape (n_networks, n_tasks) or None
            None for all ones.
        """
        return None

    def on_step_end(self, losses_after):
        """Learn from the losses after the step; asked only of those that override it.

        Parameters
        ----------
        losses_after : Tensor of shape (n_networks, n_tasks)
            Losses of the same batch after the optimizer's step.
        """

    def on_epoch_end(self, losses):
        """Learn from an epoch.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Mean training losses of the epoch.
        """

    def reset(self):
        """Forget all state; called when a fit begins."""


def masked(weights, present):
    """Zero the weights of absent tasks.

    Parameters
    ----------
    weights : Tensor of shape (n_networks, n_tasks)
        Weights.
    present : Tensor of shape (n_networks, n_tasks), bool
        Whether the task has labels in the batch.

    Returns
    -------
    weights : Tensor of shape (n_networks, n_tasks)
        Zero where absent.
    """
    return torch.where(present, weights, 0.0)
