"""Learning tasks of classes by linear solves, on features that all tasks share."""

import torch
from torch import nn

from .._net import weighted_means
from ._cells import split_episodes
from ._closed_form import Posterior
from ._ridge_learner import PRIOR_SHARE, RidgeLearner, RidgeLearnerModule

# Bounds on the second derivative of a row's loss in its logits, from Boehning (1992):
# of the softmax, and of the logistic function of a single output.
_CURVATURE = (0.5, 0.25)


class RidgeClassLearner(RidgeLearner):
    """Hyperparameters of the closed-form head; see :class:`skmtl.MetaRidgeClassifier`.

    Parameters
    ----------
    rank : int or None
        Dimensions in which heads differ; None is all of them.
    n_solves : int
        Ridge solutions on the way to the logistic head.
    novel : bool
        Whether tasks have classes of their own, in slots.
    """

    def __init__(self, rank=None, n_solves=1, novel=False):
        self.rank = rank
        self.n_solves = n_solves
        self.novel = novel

    @property
    def _module_class(self):
        return RidgeClassLearnerModule


class RidgeClassLearnerModule(RidgeLearnerModule):
    r"""A prior over logistic heads, and the heads that rows make of it.

    Each solve is a step that minimises an upper bound of the penalised logistic loss:
    the Hessian of the loss of a row is at most one half, so a ridge on the residuals
    ``one_hot - probability`` with that curvature never raises the loss. The first
    solve is R2-D2's ridge on one-hot labels, around the prior mean.

    Parameters
    ----------
    strategy : RidgeClassLearner
        Hyperparameters.
    module : EpisodicModule
        Sizes.
    streams : Streams or None
        Source of the initial covariance.

    Attributes
    ----------
    log_scale : Parameter of shape (n_networks, 1, 1, 1)
        Log of the factor on what the deviation adds to the logits.
    """

    # One factor on the logits, learned with the rest, sees to the size.
    initial_spread = 1.0

    def __init__(self, strategy, module, streams):
        super().__init__(strategy, module, streams)
        del self.raw_noise
        self.n_solves = strategy.n_solves
        # Slots have no meaning before a support gives them one.
        self.prior_share = 0.0 if strategy.novel else PRIOR_SHARE
        n_networks = len(self.factor)
        self.log_scale = nn.Parameter(self.factor.new_zeros(n_networks, 1, 1, 1))
        self.slices = module.losses.slices

    def standard_errors(self, module, episodes):
        """Expect nothing of errors: classes are right or wrong.

        Parameters
        ----------
        module : EpisodicModule
            Unused.
        episodes : Episodes
            Unused.

        Returns
        -------
        errors : None
            There are none.
        """
        return None

    def query_losses(self, module, episodes):
        """Compute the cross entropy of the query, given the support.

        Parameters
        ----------
        module : EpisodicModule
            Of all networks.
        episodes : Episodes
            One meta-batch a network.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_episodes, n_columns)
            Means over rows.
        """
        support, query = split_episodes(episodes)
        # One pass over all rows, for dropout and running statistics to see them once.
        features = module.task_features(episodes.inputs)
        own, asked = features.split([support[0].shape[2], query[0].shape[2]], dim=2)
        deviation = self._deviation(module, own, *support[1:])
        informed, blind = (
            module.losses.cells(outputs.flatten(0, 1), query[1].flatten(0, 1))
            for outputs in (
                self._logits(module, asked, deviation),
                self.prior(module, asked),
            )
        )
        cells = torch.lerp(informed, blind, self.prior_share)
        return weighted_means(cells.unflatten(0, query[1].shape[:2]), query[2])

    def _logits(self, module, features, deviation):
        moved = self.basis(features) @ deviation
        return self.prior(module, features) + self.log_scale.exp() * moved

    def _deviation(self, module, features, targets, weights):
        basis, prior = self.basis(features), self.prior(module, features)
        parts = []
        for j, where in enumerate(self.slices):
            n_outputs = where.stop - where.start
            bound = _CURVATURE[n_outputs == 1]
            # The bound acts as a weight of the rows.
            posterior = Posterior(basis, bound * weights[..., [j]])
            start = prior[..., where]
            moved = torch.zeros_like(start)
            for _ in range(self.n_solves):
                slope = _slope(start + moved, targets[..., j])
                # The residual of the bound's quadratic model, around where it is.
                deviation = posterior.solve(slope / bound + moved)
                moved = basis @ deviation
            parts.append(deviation)
        return torch.cat(parts, dim=-1)

    def adapt(self, module, inputs, targets, weights):
        """Find the head of each task.

        Parameters
        ----------
        module : EpisodicModule
            In evaluation mode.
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
            Embedded rows.
        targets, weights : Tensor of shape (n_networks, n_tasks, n_rows, n_columns)
            Weights are 0 for padding and missing labels.

        Returns
        -------
        state : dict of str to Tensor of shape (n_networks, n_tasks, ...)
            ``deviation``.
        """
        features = module.task_features(inputs)
        return {"deviation": self._deviation(module, features, targets, weights)}

    def outputs(self, module, state, inputs):
        """Predict logits.

        Parameters
        ----------
        module : EpisodicModule
            In evaluation mode.
        state : dict of str to Tensor
            From :meth:`adapt`.
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
            Embedded rows.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_tasks, n_rows, n_outputs)
            Of all columns.
        """
        features = module.task_features(inputs)
        return self._logits(module, features, state["deviation"])


def _slope(logits, codes):
    """Compute by how much the labels exceed the probabilities."""
    if logits.shape[-1] == 1:
        return codes.unsqueeze(-1) - logits.sigmoid()
    hot = nn.functional.one_hot(codes.long(), logits.shape[-1])
    return hot - logits.softmax(-1)
