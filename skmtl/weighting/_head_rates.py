"""A learning rate for the head of each task."""

from numbers import Real

import torch

from .._constraints import Interval
from ._base import Weighting, WeightingModule
from ._equal import Equal


class HeadRates(Weighting):
    r"""Let the heads of tasks that lag behind learn faster, and those ahead slower.

    The learning rate of the head of task t is multiplied by :math:`r_t^\alpha`, scaled
    to a mean of 1 over tasks, where :math:`r_t` is the training loss of the epoch
    before over that of the first epoch. The shared part is left to another weighting.

    Parameters
    ----------
    weighting : Weighting, default=None
        Combines the gradients of the shared part. None is
        :class:`~skmtl.weighting.Equal`.
    alpha : float, default=0.5
        Strength; 0 gives all heads the same rate.

    Attributes
    ----------
    rates_ : Tensor of shape (n_networks, n_tasks)
        Factors of the next epoch, in the order of ``task_names_``; on the fitted
        ``weighting_``.

    See Also
    --------
    GradNorm : Balances the gradients of the shared part by the same ratio.
    DWA : Weighs the shared part by how fast losses fall.

    Notes
    -----
    The ratio is the inverse training rate of GradNorm [1]_, and its power the weight of
    loss-balanced task weighting [2]_, which multiplies it with the loss. Here it acts
    on the step: AdamW divides gradients by their size, so a factor on the loss of a
    head would be lost on it. Weight decay moves with the rate. A task whose first loss
    is zero keeps a ratio of 1.

    For row tasks the rate is that of the task's own deviation from the head that all
    share.

    References
    ----------
    .. [1] Z. Chen, V. Badrinarayanan, C.-Y. Lee, A. Rabinovich (2018). GradNorm:
       Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks.
       ICML, section 3.1. https://arxiv.org/abs/1711.02257
    .. [2] S. Liu, Y. Liang, A. Gitter (2019). Loss-Balanced Task Weighting to Reduce
       Negative Transfer in Multi-Task Learning. AAAI, student abstracts.

    Examples
    --------
    >>> from skmtl.weighting import HeadRates, PCGrad
    >>> HeadRates(PCGrad(), alpha=1.0)
    HeadRates(alpha=1.0, weighting=PCGrad())
    """

    _fusable = ("alpha",)
    _parameter_constraints = {
        "weighting": [Weighting, None],
        "alpha": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, weighting=None, alpha=0.5):
        self.weighting = weighting
        self.alpha = alpha

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            For the other weighting.

        Returns
        -------
        module : WeightingModule
            Holds that of the other weighting.
        """
        inner = Equal() if self.weighting is None else self.weighting
        alpha = self.per_network("alpha", shape.n_networks).to(shape.dtype)
        return HeadRatesModule(inner.check().build(shape, streams), alpha, shape)


class HeadRatesModule(WeightingModule):
    """The module that :class:`HeadRates` builds.

    Parameters
    ----------
    inner : WeightingModule
        What combines the gradients of the shared part.
    alpha : Tensor of shape (n_networks,)
        Powers.
    shape : BankShape
        Sizes.
    """

    def __init__(self, inner, alpha, shape):
        super().__init__()
        self.inner = inner
        self.needs, self.constant = inner.needs, inner.constant
        self.gradients, self.update_every = inner.gradients, inner.update_every
        ones = torch.ones(shape.n_networks, shape.n_tasks, dtype=shape.dtype)
        self.register_buffer("alpha", alpha)
        self.register_buffer("rates_", ones)
        # Not a number until the first epoch has ended.
        self.register_buffer("first_", torch.full_like(ones, torch.nan))

    @property
    def name(self):
        """What messages call the other weighting, str."""
        return self.inner.name

    @property
    def sees_step_end(self):
        """Whether the other weighting learns from losses after the step, bool."""
        return self.inner.sees_step_end

    def head_rates(self):
        """Give the factors.

        Returns
        -------
        rates : Tensor of shape (n_networks, n_tasks)
            Ones in the first epoch.
        """
        return self.rates_

    def weights(self, losses, gramian, present):
        """Ask the other weighting.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Detached.
        gramian : Tensor of shape (n_networks, n_tasks, n_tasks) or None
            Inner products.
        present : Tensor of shape (n_networks, n_tasks), bool
            Whether the task has labels in the batch.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            For the shared part.
        """
        self.inner.due = self.due
        return self.inner.weights(losses, gramian, present)

    def combine(self, jacobian, losses, present):
        """Ask the other weighting.

        Parameters
        ----------
        jacobian : Tensor of shape (n_networks, n_tasks, n_shared)
            Gradients.
        losses : Tensor of shape (n_networks, n_tasks)
            Detached.
        present : Tensor of shape (n_networks, n_tasks), bool
            Whether the task has labels in the batch.

        Returns
        -------
        gradient : Tensor of shape (n_networks, n_shared)
            For the shared part.
        weights : Tensor of shape (n_networks, n_tasks)
            Of the tasks in it.
        """
        return self.inner.combine(jacobian, losses, present)

    def prepare(self, n_shared):
        """Let the other weighting make its state.

        Parameters
        ----------
        n_shared : int
            Shared parameters of a network.
        """
        self.inner.prepare(n_shared)

    def penalty(self, losses, present):
        """Ask the other weighting.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Detached.
        present : Tensor of shape (n_networks, n_tasks), bool
            Whether the task has labels in the batch.

        Returns
        -------
        penalty : Tensor of shape (n_networks,) or None
            Of its learned weights.
        """
        return self.inner.penalty(losses, present)

    def on_step_end(self, losses_after):
        """Tell the other weighting.

        Parameters
        ----------
        losses_after : Tensor of shape (n_networks, n_tasks)
            Losses of the batch after the step.
        """
        self.inner.on_step_end(losses_after)

    def on_epoch_end(self, losses):
        """Set the rates of the next epoch.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Mean training losses of the epoch.
        """
        self.inner.on_epoch_end(losses)
        self.first_.copy_(torch.where(self.first_.isnan(), losses, self.first_))
        known = self.first_ > 0
        ratio = torch.where(known, losses / torch.where(known, self.first_, 1.0), 1.0)
        rates = ratio ** self.alpha.unsqueeze(-1)
        mean = rates.mean(-1, keepdim=True)
        self.rates_.copy_(torch.where(mean > 0, rates / mean, 1.0))

    def reset(self):
        """Forget all losses."""
        self.inner.reset()
        self.rates_.fill_(1.0)
        self.first_.fill_(torch.nan)
