"""Uncertainty weighting."""

from numbers import Real

import torch
from torch import nn

from .._constraints import Interval, StrOptions
from ._base import Weighting, WeightingModule, masked


class Uncertainty(Weighting):
    r"""Trust each task by a learned noise level.

    Noisy tasks come to count less. The term by which the noise levels are learned is
    :math:`\sum_t c_t e^{-s_t} \ell_t + \tfrac12 s_t`, with :math:`c_t = \tfrac12` for
    numbers and :math:`1` for classes; the shared parameters follow
    :math:`\sum_t c_t e^{-s_t} g_t`, rescaled so that the weights sum to the number of
    tasks.

    Parameters
    ----------
    init_log_var : float, default=0.0
        Starting value of every :math:`s_t`, the natural log of a noise variance
        (squared units of the scaled target); for classes that of a squared temperature.
    form : {"auto", "regression", "classification"}, default="auto"
        Which c tasks have: "auto" goes by the labels of each task, the others take one
        form for all.

    Attributes
    ----------
    log_var_ : Parameter of shape (n_networks, n_tasks)
        The learned :math:`s_t`, in the order of ``task_names_``; on the fitted
        ``weighting_``.

    See Also
    --------
    Equal : Count every task alike.

    Notes
    -----
    Libraries use the factor 1/2 for every task. Where the noise levels have converged
    the forms agree: both weigh a loss by one over twice its size. Heads keep a weight
    of one: a head belongs to its task, and AdamW would undo a constant factor anyway.

    References
    ----------
    .. [1] A. Kendall, Y. Gal, R. Cipolla (2018). Multi-Task Learning Using Uncertainty
       to Weigh Losses for Scene Geometry and Semantics. CVPR, equations 7 and 10.
       https://arxiv.org/abs/1705.07115

    Examples
    --------
    >>> from skmtl.weighting import Uncertainty
    >>> Uncertainty(init_log_var=-1.0)
    Uncertainty(init_log_var=-1.0)
    """

    _fusable = ("init_log_var",)
    _parameter_constraints = {
        "init_log_var": [Interval(Real, None, None, closed="neither")],
        "form": [StrOptions({"auto", "regression", "classification"})],
    }

    def __init__(self, init_log_var=0.0, form="auto"):
        self.init_log_var = init_log_var
        self.form = form

    def build(self, shape, streams=None):
        """Make the module.

        Parameters
        ----------
        shape : BankShape
            Sizes.
        streams : Streams, optional
            Unused.

        Returns
        -------
        module : WeightingModule
            With the parameter ``log_var_``.
        """
        start = self.per_network("init_log_var", shape.n_networks).to(shape.dtype)
        factor = {"regression": 0.5, "classification": 1.0}
        factors = [factor.get(self.form, 0.5)] * shape.n_tasks
        if self.form == "auto" and shape.of_classes is not None:
            factors = [1.0 if classes else 0.5 for classes in shape.of_classes]
        return UncertaintyModule(start, factors)


class UncertaintyModule(WeightingModule):
    """The module that :class:`Uncertainty` builds.

    Parameters
    ----------
    start : Tensor of shape (n_networks,)
        Starting value of the log variances.
    factors : list of float, length n_tasks
        c of each task.
    """

    def __init__(self, start, factors):
        super().__init__()
        self.log_var_ = nn.Parameter(start[:, None].repeat(1, len(factors)))
        factors = torch.tensor(factors, dtype=start.dtype).repeat(len(start), 1)
        self.register_buffer("factors", factors)

    def weights(self, losses, gramian, present):
        """Give the learned precisions.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Not needed.
        gramian : None
            Not needed.
        present : Tensor of shape (n_networks, n_tasks), bool
            Absent tasks get zero.

        Returns
        -------
        weights : Tensor of shape (n_networks, n_tasks)
            :math:`c_t e^{-s_t}`.
        """
        return masked(self.factors * torch.exp(-self.log_var_.detach()), present)

    def penalty(self, losses, present):
        """Compute the negative log-likelihood of the losses.

        Parameters
        ----------
        losses : Tensor of shape (n_networks, n_tasks)
            Detached.
        present : Tensor of shape (n_networks, n_tasks), bool
            Absent tasks add nothing.

        Returns
        -------
        penalty : Tensor of shape (n_networks,)
            Equation 7 of the paper, or 10, summed over tasks.
        """
        term = self.factors * torch.exp(-self.log_var_) * losses + 0.5 * self.log_var_
        return masked(term, present).sum(-1)
