"""A closed-form head a task, on a body learned for it."""

from numbers import Integral

import numpy as np

from .._constraints import Interval
from ._base import BaseMetaNet
from ._ridge_learner import RidgeClassLearner, RidgeLearner
from ._scores import MetaClassifier, MetaRegressor

_CONSTRAINTS = {
    **BaseMetaNet._parameter_constraints,
    "rank": [Interval(Integral, 1, None, closed="left"), None],
}


class MetaRidgeRegressor(MetaRegressor):
    """TODO."""

    _parameter_constraints = _CONSTRAINTS

    def __init__(
        self,
        architecture=None,
        encoding=None,
        *,
        task_column=None,
        unknown_task="pooled",
        rank=None,
        n_support=(2, 20),
        n_query=15,
        meta_batch_size=25,
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
        self.task_column = task_column
        self.unknown_task = unknown_task
        self.rank = rank
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
        return RidgeLearner(self.rank)

    def predict(self, X, *, task=None, return_std=False):
        """Predict every row by the model of its task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table. Categories that fit did not see count as no category.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.
        return_std : bool, default=False
            Whether to return standard deviations, too.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_columns)
            Means, in the shape of the y given to fit.
        std : ndarray of the shape of y
            Standard deviation of a label around its prediction, in units of the label:
            the noise, and what the rows of the task leave open about its head. Only if
            ``return_std`` is True.

        Raises
        ------
        ValueError
            If tasks are needed and not given, or unknown with
            ``unknown_task="error"``.
        FloatingPointError
            If the adaptation to a task gives no finite numbers.
        """
        columns, variances = self._columns(X, task, want_variance=return_std)
        encoder = self._known.data.encoder
        y = encoder.numbers(columns)
        if not return_std:
            return y
        return y, np.sqrt(variances).reshape(y.shape) * encoder.scale


class MetaRidgeClassifier(MetaClassifier):
    """TODO."""

    _parameter_constraints = {
        **_CONSTRAINTS,
        "n_solves": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        architecture=None,
        encoding=None,
        *,
        task_column=None,
        unknown_task="pooled",
        n_way=None,
        rank=None,
        n_solves=3,
        n_support=(2, 20),
        n_query=15,
        meta_batch_size=25,
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
        self.task_column = task_column
        self.unknown_task = unknown_task
        self.n_way = n_way
        self.rank = rank
        self.n_solves = n_solves
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
        return RidgeClassLearner(self.rank, self.n_solves)
