"""What learners have in common that compare rows in a learned space."""

import torch
from torch import nn

from .._bank import LinearBank
from .._net import LearnerModule


class EmbeddingLearnerModule(LearnerModule):
    """Embed rows; classes are told apart by distances alone.

    Parameters
    ----------
    strategy : Learner
        Its ``n_components`` is read: dimensions of the space, None for the features of
        the architecture as they are.
    module : EpisodicModule
        Sizes.
    streams : Streams or None
        Source of the initial projection.

    Attributes
    ----------
    projection : LinearBank or None
        From features to the space.
    """

    def __init__(self, strategy, module, streams):
        super().__init__()
        weight = module.architecture.heads.shared.weight
        n_networks, self.n_dimensions, _ = weight.shape
        self.projection = None
        if strategy.n_components is not None:
            sizes = n_networks, self.n_dimensions, strategy.n_components
            self.projection = LinearBank(*sizes, dtype=weight.dtype)
            self.n_dimensions = strategy.n_components
            if streams is not None:
                self.projection.reset(streams, "projection")

    def embed(self, module, inputs):
        """Place rows in the learned space.

        Parameters
        ----------
        module : EpisodicModule
            Of all networks.
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_inputs)
            Embedded rows.

        Returns
        -------
        places : Tensor of shape (n_networks, n_tasks, n_rows, n_dimensions)
            In the space of each network.
        """
        features = module.task_features(inputs)
        if self.projection is None:
            return features
        placed = self.projection(features.flatten(1, 2))
        return placed.unflatten(1, features.shape[1:3])

    def predictions(self, module, outputs):
        """Turn outputs into class probabilities.

        Parameters
        ----------
        module : EpisodicModule
            Unused.
        outputs : Tensor of shape (n_networks, n_tasks, n_rows, n_slots)
            Minus infinity for slots without support.

        Returns
        -------
        probabilities : Tensor of the same shape
            Sum to 1 over slots.
        """
        return outputs.softmax(-1)


def one_hot_rows(codes, weights, n_slots=None):
    """Mark the slot of each row.

    Parameters
    ----------
    codes, weights : Tensor of shape (n_networks, n_tasks, n_rows, 1)
        Slots, and weights, 0 for padding.
    n_slots : int, optional
        Number of slots; by default as many as there are.

    Returns
    -------
    members : Tensor of shape (n_networks, n_tasks, n_rows, n_slots)
        The weight of the row in its slot, 0 elsewhere.
    """
    codes = codes[..., 0].long()
    n_slots = int(codes.max()) + 1 if n_slots is None else n_slots
    return nn.functional.one_hot(codes, n_slots) * weights


def squared_distances(left, right):
    """Compute squared Euclidean distances.

    Parameters
    ----------
    left : Tensor of shape (..., n_left, n_dimensions)
        Places.
    right : Tensor of shape (..., n_right, n_dimensions)
        Others.

    Returns
    -------
    distances : Tensor of shape (..., n_left, n_right)
        Not negative.
    """
    norms = left.square().sum(-1, keepdim=True) + right.square().sum(-1).unsqueeze(-2)
    return (norms - 2 * left @ right.mT).clamp(min=0.0)


def cosines(left, right):
    """Compute cosines.

    Parameters
    ----------
    left : Tensor of shape (..., n_left, n_dimensions)
        Places.
    right : Tensor of shape (..., n_right, n_dimensions)
        Others.

    Returns
    -------
    cosines : Tensor of shape (..., n_left, n_right)
        From -1 to 1.
    """
    normalize = nn.functional.normalize
    return normalize(left, dim=-1) @ normalize(right, dim=-1).mT


def nothing(shape, like):
    """Make a tensor of minus infinity.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    like : Tensor
        Its device and dtype.

    Returns
    -------
    tensor : Tensor
        Of logits that count for nothing.
    """
    return torch.full(shape, -torch.inf, device=like.device, dtype=like.dtype)
