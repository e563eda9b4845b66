"""Prototypical networks."""

from numbers import Integral

from .._constraints import Interval, StrOptions
from ._base import BaseMetaNet
from ._novel_classes import LearnsClasses
from ._prototype_learner import PrototypeLearner


class PrototypicalClassifier(LearnsClasses):
    """TODO."""

    _parameter_constraints = {
        **BaseMetaNet._parameter_constraints,
        "metric": [StrOptions({"euclidean", "cosine"})],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        architecture=None,
        encoding=None,
        *,
        task_column=None,
        unknown_task="pooled",
        metric="euclidean",
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
        self.task_column = task_column
        self.unknown_task = unknown_task
        self.metric = metric
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
        return PrototypeLearner(self.metric, self.n_components)
