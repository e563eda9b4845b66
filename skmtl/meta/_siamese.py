"""Siamese networks."""

from numbers import Integral, Real

import numpy as np

from .._constraints import Interval, StrOptions
from ._base import BaseMetaNet
from ._novel_classes import LearnsClasses
from ._prediction import places_of
from ._siamese_learner import SiameseLearner

# Rows whose pairs set the threshold.
_PAIR_ROWS = 500


class SiameseClassifier(LearnsClasses):
    """TODO."""

    _parameter_constraints = {
        **BaseMetaNet._parameter_constraints,
        "loss": [StrOptions({"contrastive", "triplet"})],
        "margin": [Interval(Real, 0, None, closed="neither")],
        "exponent": [Interval(Real, 1, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        architecture=None,
        encoding=None,
        loss="contrastive",
        *,
        task_column=None,
        unknown_task="pooled",
        margin=1.0,
        exponent=2.0,
        n_components=64,
        n_way=None,
        n_support=(1, 5),
        n_query=5,
        meta_batch_size=8,
        max_iter=1000,
        lr=0.001,
        weight_decay=0.0,
        clip_norm=10.0,
        n_estimators=1,
        cv=None,
        early_stopping=True,
        n_iter_no_change=None,
        task_chunk_size=None,
        device="auto",
        dtype="float32",
        skorch_callbacks=None,
        random_state=None,
        verbose=0,
    ):
        self.architecture = architecture
        self.encoding = encoding
        self.loss = loss
        self.task_column = task_column
        self.unknown_task = unknown_task
        self.margin = margin
        self.exponent = exponent
        self.n_components = n_components
        self.n_way = n_way
        self.n_support = n_support
        self.n_query = n_query
        self.meta_batch_size = meta_batch_size
        self.max_iter = max_iter
        self.lr = lr
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.n_estimators = n_estimators
        self.cv = cv
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.task_chunk_size = task_chunk_size
        self.device = device
        self.dtype = dtype
        self.skorch_callbacks = skorch_callbacks
        self.random_state = random_state
        self.verbose = verbose

    def _learner(self):
        return SiameseLearner(
            self.loss, float(self.margin), float(self.exponent), self.n_components
        )

    def _finish(self, data, pool, plans):
        """Set the threshold that tells pairs of held-out rows apart best."""
        plan = plans[0]
        entries = (
            plan.train_entries if plan.valid_entries is None else plan.valid_entries
        )
        entries = entries[np.linspace(0, len(entries) - 1, _PAIR_ROWS).astype(int)]
        entries = np.unique(entries)
        places = places_of(self.net_, data.X[pool.rows[entries]])
        i, j = np.triu_indices(len(entries), 1)
        alike = pool.task[entries[i]] == pool.task[entries[j]]
        i, j = i[alike], j[alike]
        same = pool.labels[entries[i]] == pool.labels[entries[j]]
        self.threshold_ = best_threshold(_distances(places[:, i], places[:, j]), same)

    def pair_distance(self, X1, X2):
        """Measure how far the rows of two tables are from each other, pair by pair.

        Parameters
        ----------
        X1, X2 : array-like of shape (n_pairs, n_features)
            Row i of one and row i of the other are a pair.

        Returns
        -------
        distances : ndarray of shape (n_pairs,), float64
            Euclidean distances in the learned space, means over members.

        Raises
        ------
        ValueError
            If the tables are not of one length.
        """
        left, right = self._places(X1), self._places(X2)
        if left.shape != right.shape:
            raise ValueError(
                f"X1 has {left.shape[1]} rows and X2 has {right.shape[1]}; each row of "
                "one is compared with the same row of the other."
            )
        return _distances(left, right)

    def verify(self, X1, X2):
        """Tell whether the rows of two tables are of one class, pair by pair.

        Parameters
        ----------
        X1, X2 : array-like of shape (n_pairs, n_features)
            Row i of one and row i of the other are a pair.

        Returns
        -------
        same : ndarray of shape (n_pairs,), bool
            Whether the distance is below ``threshold_``.

        Raises
        ------
        ValueError
            If the tables are not of one length.
        """
        return self.pair_distance(X1, X2) < self.threshold_


def _distances(left, right):
    return np.sqrt(np.square(left - right).sum(axis=-1)).mean(axis=0)


def best_threshold(distances, same):
    """Find the distance that separates pairs of one class from others best.

    Parameters
    ----------
    distances : ndarray of shape (n_pairs,)
        Of pairs.
    same : ndarray of shape (n_pairs,), bool
        Whether they are of one class.

    Returns
    -------
    threshold : float
        Where the mean of both error rates is least, in the middle between two
        distances; NaN without pairs of both kinds.
    """
    if not same.any() or same.all():
        return float("nan")
    order = np.argsort(distances)
    hits = np.cumsum(same[order]) / same.sum()
    alarms = np.cumsum(~same[order]) / (~same).sum()
    best = int(np.argmax(hits - alarms))
    ends = distances[order[[best, min(best + 1, len(order) - 1)]]]
    return float(ends.mean())
