"""Learning classes as means in a learned space."""

import math

import torch
from torch import nn

from .._net import Learner, weighted_means
from ._cells import split_episodes
from ._embedding_learner import (
    EmbeddingLearnerModule,
    cosines,
    one_hot_rows,
    squared_distances,
)

# Initial factor on cosines, which lie between -1 and 1.
_COSINE_SCALE = 10.0


class PrototypeLearner(Learner):
    """Hyperparameters; see :class:`skmtl.PrototypicalClassifier`."""

    reads_features = True

    def __init__(self, metric, n_components):
        self.metric = metric
        self.n_components = n_components

    def build(self, module, streams=None):
        """Make the space.

        Parameters
        ----------
        module : EpisodicModule
            Its architecture gives the features.
        streams : Streams, optional
            Source of the initial projection.

        Returns
        -------
        learner : PrototypeLearnerModule
            With projection and scale.
        """
        return PrototypeLearnerModule(self, module, streams)


class PrototypeLearnerModule(EmbeddingLearnerModule):
    """The space that :class:`PrototypeLearner` builds.

    Parameters
    ----------
    strategy : PrototypeLearner
        Hyperparameters.
    module : EpisodicModule
        Sizes.
    streams : Streams or None
        Source of the initial projection.

    Attributes
    ----------
    log_scale : Parameter of shape (n_networks, 1, 1, 1)
        Log of the factor from distances to logits, an inverse temperature.
    """

    def __init__(self, strategy, module, streams):
        super().__init__(strategy, module, streams)
        self.metric = strategy.metric
        scale = 1 / math.sqrt(self.n_dimensions)
        if self.metric == "cosine":
            scale = _COSINE_SCALE
        weight = module.architecture.heads.shared.weight
        start = weight.new_full((len(weight), 1, 1, 1), math.log(scale))
        self.log_scale = nn.Parameter(start.detach())

    def query_losses(self, module, episodes):
        """Compute the cross entropy of the query over the classes of the support.

        Parameters
        ----------
        module : EpisodicModule
            Of all networks.
        episodes : Episodes
            One meta-batch a network.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_episodes, 1)
            Means over rows.
        """
        support, query = split_episodes(episodes)
        # One pass over all rows, for dropout and running statistics to see them once.
        places = self.embed(module, episodes.inputs)
        own, asked = places.split([support[0].shape[2], query[0].shape[2]], dim=2)
        n_slots = int(episodes.targets.max()) + 1
        state = self._prototypes(own, *support[1:], n_slots)
        codes = query[1][..., 0].long()
        weights = query[2]
        # A class whose only row is in the query has no prototype to be compared with.
        known = state["present"].squeeze(2).gather(2, codes).unsqueeze(-1)
        weights = torch.where(known, weights, 0.0)
        logits = self._logits(state, asked)
        log_proba = logits.log_softmax(-1)
        cells = -log_proba.gather(-1, codes.unsqueeze(-1))
        # Nothing of an unknown class reaches the mean, nor its gradient.
        return weighted_means(torch.where(weights > 0, cells, 0.0), weights)

    def _prototypes(self, places, targets, weights, n_slots=None):
        members = one_hot_rows(targets, weights, n_slots).to(places.dtype)
        total = members.sum(2).unsqueeze(-1)
        means = members.mT @ places / torch.where(total > 0, total, 1.0)
        return {"prototypes": means, "present": (total > 0).mT}

    def _logits(self, state, places):
        if self.metric == "cosine":
            found = cosines(places, state["prototypes"])
        else:
            found = -squared_distances(places, state["prototypes"])
        return torch.where(state["present"], found * self.log_scale.exp(), -torch.inf)

    def adapt(self, module, inputs, targets, weights):
        """Average the rows of each class.

        Parameters
        ----------
        module : EpisodicModule
            In evaluation mode.
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
            Embedded rows.
        targets, weights : Tensor of shape (n_networks, n_tasks, n_rows, 1)
            Slots of the classes; weights are 0 for padding.

        Returns
        -------
        state : dict of str to Tensor of shape (n_networks, n_tasks, ...)
            ``prototypes``, and ``present``, which slots have rows.
        """
        return self._prototypes(self.embed(module, inputs), targets, weights)

    def outputs(self, module, state, inputs):
        """Compare rows with the classes.

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
        logits : Tensor of shape (n_networks, n_tasks, n_rows, n_slots)
            Minus infinity for slots without rows.
        """
        return self._logits(state, self.embed(module, inputs))
