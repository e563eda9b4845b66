"""Learning tasks in closed form: a ridge head on features that all tasks share."""

import math

import torch
from torch import nn

from .._net import Learner, LearnerModule, weighted_means
from ._closed_form import Posterior, spread

# Initial noise variance, in units of the variance of the labels.
_INITIAL_NOISE = 0.3
# AdamW moves a parameter by its rate at most; the log of a variance has far to go.
_PACE = 10.0
# Least noise variance: the float32 of training cannot tell less from none.
_LEAST_LOG_NOISE = math.log(1e-6)
# What the query, predicted without any support, counts in the loss: without it the
# prior mean is learned only as far as supports do not correct it.
PRIOR_SHARE = 0.1


class RidgeLearner(Learner):
    """Hyperparameters of the closed-form head; see :class:`skmtl.MetaRidgeRegressor`.

    Parameters
    ----------
    rank : int or None
        Dimensions in which heads differ; None is all of them.
    """

    reads_features = True

    def __init__(self, rank=None):
        self.rank = rank

    def build(self, module, streams=None):
        """Make the prior of the heads.

        Parameters
        ----------
        module : EpisodicModule
            Its architecture gives the features, and its head is the prior mean.
        streams : Streams, optional
            Source of the initial covariance.

        Returns
        -------
        learner : RidgeLearnerModule
            With the covariance and the noise.
        """
        return self._module_class(self, module, streams)

    @property
    def _module_class(self):
        return RidgeLearnerModule


class RidgeLearnerModule(LearnerModule):
    r"""A Gaussian prior over heads, and the heads that rows make of it.

    The head of a task is :math:`W_0 + A V` with the prior mean :math:`W_0`, which is
    the head of the architecture, and V standard normal in units of the noise: the
    prior covariance is :math:`\sigma^2 A A^T`.

    Parameters
    ----------
    strategy : RidgeLearner
        Hyperparameters.
    module : EpisodicModule
        Sizes.
    streams : Streams or None
        Source of the initial covariance.

    Attributes
    ----------
    factor : Parameter of shape (n_networks, n_features + 1, n_basis)
        A; the last row is that of the intercept.
    raw_noise : Parameter of shape (n_networks, 1, 1, n_columns)
        Log of the noise variance, in units of the scaled labels, over `_PACE`.
    """

    # What the tasks do not ask for has to be unlearned, and early stopping comes before
    # that; by measurement, see examples/benchmarks/_meta_groups.py.
    initial_spread = 0.3

    def __init__(self, strategy, module, streams):
        super().__init__()
        shared = module.architecture.heads.shared.weight
        n_networks, n_features, _ = shared.shape
        n_basis = strategy.rank or n_features + 1
        n_basis = min(n_basis, n_features + 1)
        factor = shared.new_zeros(n_networks, n_features + 1, n_basis).detach()
        if streams is not None:

            def draw(key):
                generator = streams.generator(key, "init covariance")
                size = (n_features + 1, n_basis)
                return torch.randn(size, generator=generator, dtype=torch.float64)

            for k, drawn in enumerate(streams.each(draw)):
                scale = self.initial_spread / math.sqrt(n_features + 1)
                factor[k] = (drawn * scale).to(factor)
        self.factor = nn.Parameter(factor)
        n_columns = len(module.losses.slices)
        start = math.log(_INITIAL_NOISE) / _PACE
        noise = shared.new_full((n_networks, 1, 1, n_columns), start)
        self.raw_noise = nn.Parameter(noise.detach())

    @property
    def log_noise(self):
        """Log of the noise variance, Tensor of shape (n_networks, 1, 1, n_columns)."""
        return (_PACE * self.raw_noise).clamp(min=_LEAST_LOG_NOISE)

    def basis(self, features):
        """Turn features into the directions in which heads differ.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_tasks, n_rows, n_features)
            Of any rows.

        Returns
        -------
        basis : Tensor of shape (n_networks, n_tasks, n_rows, n_basis)
            Features and a constant, times A.
        """
        factor = self.factor.unsqueeze(1)
        return features @ factor[..., :-1, :] + factor[..., -1:, :]

    def prior(self, module, features):
        """Compute what the prior mean says.

        Parameters
        ----------
        module : EpisodicModule
            Its head is the prior mean.
        features : Tensor of shape (n_networks, n_tasks, n_rows, n_features)
            Of any rows.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_tasks, n_rows, n_outputs)
            The same for all tasks.
        """
        outputs = module.architecture.head(features.flatten(1, 2))
        return outputs.unflatten(1, features.shape[1:3])

    def query_losses(self, module, episodes):
        """Compute the negative log density of the query, given the support.

        Parameters
        ----------
        module : EpisodicModule
            Of all networks.
        episodes : Episodes
            One meta-batch a network.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_episodes, n_columns)
            Means over rows, without the constant.
        """
        informed, unasked = self._errors(module, episodes)
        cells = torch.lerp(_density(*informed), _density(*unasked), PRIOR_SHARE)
        return weighted_means(cells, episodes.weights[:, :, episodes.n_support :])

    def standard_errors(self, module, episodes):
        """Measure the errors of the query in standard deviations.

        Parameters
        ----------
        module : EpisodicModule
            In evaluation mode.
        episodes : Episodes
            Of held-out entries.

        Returns
        -------
        errors : Tensor of shape (n_networks, n_episodes, n_rows, n_columns)
            NaN where there is no label.
        """
        (errors, log_variance), _ = self._errors(module, episodes)
        there = episodes.weights[:, :, episodes.n_support :] > 0
        return torch.where(there, errors * torch.exp(-0.5 * log_variance), torch.nan)

    def _errors(self, module, episodes):
        """Predict the query, from the support and from nothing.

        Of each the errors, and the logs of their variances.
        """
        features = module.task_features(episodes.inputs)
        basis, prior = self.basis(features), self.prior(module, features)
        cut = episodes.n_support
        posterior = Posterior(basis[:, :, :cut], episodes.weights[:, :, :cut])
        residuals = episodes.targets - prior
        deviation = posterior.solve(residuals[:, :, :cut])
        asked = basis[:, :, cut:]
        errors = residuals[:, :, cut:] - asked @ deviation
        head = spread(asked, posterior.rotated, posterior.dual)
        blind = asked.square().sum(-1, keepdim=True)
        return (
            (errors, self.log_noise + torch.log1p(head)),
            (residuals[:, :, cut:], self.log_noise + torch.log1p(blind)),
        )

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
            ``deviation``, and ``primal`` or ``dual``, what :func:`spread` needs.
        """
        features = module.task_features(inputs)
        basis = self.basis(features)
        posterior = Posterior(basis, weights)
        deviation = posterior.solve(targets - self.prior(module, features))
        name = "dual" if posterior.dual else "primal"
        return {"deviation": deviation, name: posterior.rotated}

    def outputs(self, module, state, inputs):
        """Predict means.

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
        outputs : Tensor of shape (n_networks, n_tasks, n_rows, n_columns)
            In units of the scaled labels.
        """
        features = module.task_features(inputs)
        deviation = self.basis(features) @ state["deviation"]
        return self.prior(module, features) + deviation

    def variances(self, module, state, inputs):
        """Predict variances of labels around the means.

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
        variances : Tensor of shape (n_networks, n_tasks, n_rows, n_columns)
            Of noise and head, in squared units of the scaled labels.
        """
        basis = self.basis(module.task_features(inputs))
        dual = "dual" in state
        head = spread(basis, state["dual" if dual else "primal"], dual)
        return self.log_noise.exp() * (1 + head)


def _density(errors, log_variance):
    """Compute negative log densities of a normal, without the constant."""
    return 0.5 * (log_variance + errors.square() * torch.exp(-log_variance))
