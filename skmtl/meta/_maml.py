"""Model-agnostic meta-learning."""

from numbers import Integral, Real

from .._constraints import Interval, StrOptions
from ..loss import Loss, aliases
from ._base import BaseMetaNet
from ._gradient_learner import GradientLearner
from ._gradient_steps import AdaptsBySteps
from ._scores import MetaClassifier, MetaRegressor

_CONSTRAINTS = {
    **BaseMetaNet._parameter_constraints,
    "inner_lr": [Interval(Real, 0, None, closed="neither")],
    "n_inner_steps": [Interval(Integral, 1, None, closed="left")],
    "n_adapt_steps": [Interval(Integral, 0, None, closed="left"), None],
    "first_order": ["boolean"],
    "adapted": [StrOptions({"all", "head", "body"})],
    "learn_inner_lr": [StrOptions({"tensor", "weight"}), "boolean"],
    "multi_step_loss": ["boolean"],
}


class MAML(AdaptsBySteps):
    """The learner of both estimators."""

    def _learner(self):
        if self.learn_inner_lr is True:
            raise ValueError(
                f"learn_inner_lr=True of {type(self).__name__} does not say what is "
                "learned. Pass 'tensor' for a rate a parameter tensor, or 'weight' for "
                "one a weight."
            )
        return GradientLearner(
            float(self.inner_lr),
            self.n_inner_steps,
            self.n_inner_steps if self.n_adapt_steps is None else self.n_adapt_steps,
            self.first_order,
            self.adapted,
            self.learn_inner_lr,
            self.multi_step_loss,
            self.clip_norm,
        )


class MAMLRegressor(MAML, MetaRegressor):
    _parameter_constraints = {
        **_CONSTRAINTS,
        "loss": [StrOptions(aliases("number")), Loss],
    }

    def __init__(
        self,
        architecture=None,
        encoding=None,
        loss="squared_error",
        *,
        task_column=None,
        unknown_task="pooled",
        inner_lr=0.1,
        n_inner_steps=3,
        n_adapt_steps=None,
        first_order=False,
        adapted="all",
        learn_inner_lr=False,
        multi_step_loss=False,
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
        self.loss = loss
        self.task_column = task_column
        self.unknown_task = unknown_task
        self.inner_lr = inner_lr
        self.n_inner_steps = n_inner_steps
        self.n_adapt_steps = n_adapt_steps
        self.first_order = first_order
        self.adapted = adapted
        self.learn_inner_lr = learn_inner_lr
        self.multi_step_loss = multi_step_loss
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


class MAMLClassifier(MAML, MetaClassifier):
    _parameter_constraints = {
        **_CONSTRAINTS,
        "loss": [StrOptions(aliases("class")), Loss],
    }

    def __init__(
        self,
        architecture=None,
        encoding=None,
        loss="log_loss",
        *,
        task_column=None,
        unknown_task="pooled",
        n_way=None,
        inner_lr=0.1,
        n_inner_steps=3,
        n_adapt_steps=None,
        first_order=False,
        adapted="all",
        learn_inner_lr=False,
        multi_step_loss=False,
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
        self.loss = loss
        self.task_column = task_column
        self.unknown_task = unknown_task
        self.n_way = n_way
        self.inner_lr = inner_lr
        self.n_inner_steps = n_inner_steps
        self.n_adapt_steps = n_adapt_steps
        self.first_order = first_order
        self.adapted = adapted
        self.learn_inner_lr = learn_inner_lr
        self.multi_step_loss = multi_step_loss
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
