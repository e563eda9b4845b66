"""What one network is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._encoder_bank import EncodedColumns

if TYPE_CHECKING:
    from .._tasks import TaskEncoder
    from ..architecture import Architecture
    from ..loss import Loss
    from ..weighting import Weighting


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """Everything about the training of one network that a user may choose.

    Networks of one bank may differ in all numbers here, and in the fusable
    hyperparameters of the strategies.

    Parameters
    ----------
    architecture, weighting : Architecture and Weighting
        Strategies; nested ones that fuse may differ.
    losses : tuple of Loss, length n_columns
        Likewise; columns may share an object.
    task_weights : ndarray of shape (n_tasks,)
        Sum n_tasks.
    lr : float
        Largest learning rate of the schedule.
    weight_decay : float
        Decoupled, a step: weights shrink by ``lr * weight_decay``.
    batch_size : int
        Rows of a batch at most.
    clip_norm : float or None
        Largest norm of the gradient of the mean task loss.
    max_epochs : int
        Length of the schedule.
    n_iter_no_change : int or None
        Epochs without a better validation loss before the network stops.
    class_weights : tuple of (ndarray of shape (n_classes,) or None), default=None
        Factor on the weight of each class, by column; None for all ones.
    """

    architecture: Architecture
    weighting: Weighting
    losses: tuple[Loss, ...]
    task_weights: np.ndarray
    lr: float
    weight_decay: float
    batch_size: int
    clip_norm: float | None
    max_epochs: int
    n_iter_no_change: int | None
    class_weights: tuple | None = None


@dataclass(frozen=True, eq=False)
class NetworkPlan:
    """One network: where its randomness, rows, encoder and settings come from.

    Parameters
    ----------
    seed : int
        Key of its random streams.
    train_rows : ndarray of int
        Rows of the data that it learns from.
    valid_rows : ndarray of int or None
        Rows that choose its best epoch; None trains to the end.
    encoder : EncodedColumns
        Fitted on the training rows. Networks that share the object share its work.
    targets : TaskEncoder
        Fitted scales and classes; shared likewise.
    hyperparameters : Hyperparameters
        The rest.
    only_column : int, default=None
        The one label column that it learns; None for all.
    """

    seed: int
    train_rows: np.ndarray
    valid_rows: np.ndarray | None
    encoder: EncodedColumns
    targets: TaskEncoder
    hyperparameters: Hyperparameters
    only_column: int | None = None

    def weight(self, data):
        """Weigh the cells of the label table as this network does.

        Parameters
        ----------
        data : TaskData
            What it trains on.

        Returns
        -------
        weight : ndarray of shape (n_rows, n_columns)
            Those of the data, times those of the classes; 0 in columns that the network
            does not learn.
        """
        classes = self.hyperparameters.class_weights
        weight = data.weight if classes is None else data.class_weighted(classes)
        if self.only_column is None:
            return weight
        return weight * (np.arange(weight.shape[1]) == self.only_column)

    @property
    def n_batches(self):
        """Batches an epoch, int: the fewest that keep to the batch size."""
        return -(-len(self.train_rows) // self.hyperparameters.batch_size)

    @property
    def key(self):
        """The key of its streams, tuple: the seed, and sizes its draws depend on."""
        return (self.seed, len(self.train_rows), *self.encoder.sizes, self.n_batches)
