"""Learning a space in which rows of one class are close: Siamese networks."""

import torch

from .._net import Learner
from ._embedding_learner import EmbeddingLearnerModule, nothing, squared_distances

# Keeps the root of a squared distance differentiable at 0.
_EPS = 1e-12


class SiameseLearner(Learner):
    """Hyperparameters; see :class:`skmtl.SiameseClassifier`."""

    reads_features = True

    def __init__(self, loss, margin, exponent, n_components):
        self.loss = loss
        self.margin = margin
        self.exponent = exponent
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
        learner : SiameseLearnerModule
            With the projection.
        """
        return SiameseLearnerModule(self, module, streams)


class SiameseLearnerModule(EmbeddingLearnerModule):
    """The space that :class:`SiameseLearner` builds.

    Parameters
    ----------
    strategy : SiameseLearner
        Hyperparameters.
    module : EpisodicModule
        Sizes.
    streams : Streams or None
        Source of the initial projection.
    """

    def __init__(self, strategy, module, streams):
        super().__init__(strategy, module, streams)
        self.settings = strategy

    def query_losses(self, module, episodes):
        """Compute the loss over the pairs, or triplets, of each episode.

        Parameters
        ----------
        module : EpisodicModule
            Of all networks.
        episodes : Episodes
            One meta-batch a network; support and query are one set here.

        Returns
        -------
        losses : Tensor of shape (n_networks, n_episodes, 1)
            NaN for an episode without pairs of both kinds, infinite where the loss is
            no number.
        """
        places = self.embed(module, episodes.inputs)
        distances = (squared_distances(places, places) + _EPS).sqrt()
        codes = episodes.targets[..., 0]
        there = episodes.weights[..., 0] > 0
        valid = there.unsqueeze(-1) & there.unsqueeze(-2)
        valid = valid & ~torch.eye(codes.shape[-1], dtype=torch.bool).to(valid.device)
        same = (codes.unsqueeze(-1) == codes.unsqueeze(-2)) & valid
        other = valid & ~same
        of_pairs = triplet_loss if self.settings.loss == "triplet" else pair_loss
        options = (
            {}
            if self.settings.loss == "triplet"
            else {"exponent": self.settings.exponent}
        )
        losses = of_pairs(distances, same, other, self.settings.margin, **options)
        losses = torch.where(losses.isnan(), torch.inf, losses)
        both = same.flatten(2).any(-1) & other.flatten(2).any(-1)
        return torch.where(both, losses, torch.nan).unsqueeze(-1)

    def adapt(self, module, inputs, targets, weights):
        """Keep the rows as a gallery.

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
            ``gallery``, and ``slots``, -1 for padding.
        """
        slots = torch.where(weights > 0, targets, -1.0)[..., 0].long()
        return {"gallery": self.embed(module, inputs), "slots": slots}

    def outputs(self, module, state, inputs):
        """Measure how far the nearest row of each class is.

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
            Minus the distance in margins; minus infinity for slots without rows.
        """
        places = self.embed(module, inputs)
        # As in training: at a row of the gallery itself a root would blow up rounding.
        distances = (squared_distances(places, state["gallery"]) + _EPS).sqrt()
        slots = state["slots"]
        n_slots = int(slots.max()) + 1
        distances = torch.where(slots.unsqueeze(2) >= 0, distances, torch.inf)
        index = slots.clamp(min=0).unsqueeze(2).expand_as(distances)
        found = nothing((*distances.shape[:-1], n_slots), distances)
        nearest = found.scatter_reduce(-1, index, -distances, "amax")
        return nearest / self.settings.margin


def pair_loss(distances, same, other, margin, exponent):
    r"""Pull pairs of one class together, and push others apart up to a margin.

    Parameters
    ----------
    distances : Tensor of shape (..., n_rows, n_rows)
        Euclidean.
    same, other : Tensor of shape (..., n_rows, n_rows), bool
        Pairs of one class, and of two.
    margin : float
        Distance from which pairs of two classes are left alone.
    exponent : float
        Of distance and shortfall.

    Returns
    -------
    losses : Tensor of shape (...)
        Both kinds of pairs count alike, however many there are:
        :math:`\tfrac12 \overline{D^p} + \tfrac12 \overline{\max(0, m - D)^p}`.
    """
    pull = _mean(distances.pow(exponent), same)
    push = _mean((margin - distances).clamp(min=0.0).pow(exponent), other)
    return 0.5 * (pull + push)


def triplet_loss(distances, same, other, margin):
    """Want the farthest row of a class nearer than the nearest other, by a margin.

    Parameters
    ----------
    distances : Tensor of shape (..., n_rows, n_rows)
        Euclidean.
    same, other : Tensor of shape (..., n_rows, n_rows), bool
        Pairs of one class, and of two.
    margin : float
        Wanted difference of distances.

    Returns
    -------
    losses : Tensor of shape (...)
        Mean over rows that have pairs of both kinds.
    """
    anchor = same.any(-1) & other.any(-1)
    farthest = torch.where(same, distances, 0.0).amax(-1)
    nearest = torch.where(other, distances, torch.inf).amin(-1)
    nearest = torch.where(anchor, nearest, 0.0)
    return _mean((farthest - nearest + margin).clamp(min=0.0), anchor, 1)


def _mean(values, there, n_dims=2):
    dims = tuple(range(-n_dims, 0))
    count = there.sum(dims).clamp(min=1)
    return torch.where(there, values, 0.0).sum(dims) / count
