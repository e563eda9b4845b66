"""Reptile: move the start towards where tasks end."""

from numbers import Integral, Real

from .._constraints import Interval, StrOptions
from ..loss import Loss, aliases
from ._base import BaseMetaNet
from ._gradient_steps import AdaptsBySteps
from ._reptile_learner import ReptileLearner
from ._scores import MetaClassifier, MetaRegressor

_CONSTRAINTS = {
    **BaseMetaNet._parameter_constraints,
    "inner_lr": [Interval(Real, 0, None, closed="neither")],
    "n_inner_steps": [Interval(Integral, 1, None, closed="left")],
    "n_adapt_steps": [Interval(Integral, 0, None, closed="left"), None],
    "inner_batch_size": [Interval(Integral, 1, None, closed="left"), None],
    "inner_optimizer": [StrOptions({"adam", "sgd"})],
}


class Reptile(AdaptsBySteps):
    """The learner of both estimators."""

    weight_decay = 0.0

    def _learner(self):
        return ReptileLearner(
            float(self.inner_lr),
            self.n_inner_steps,
            self.n_inner_steps if self.n_adapt_steps is None else self.n_adapt_steps,
            self.inner_batch_size,
            self.inner_optimizer,
            self.clip_norm,
        )


class ReptileRegressor(Reptile, MetaRegressor):
    r"""Learn a start by moving it towards where gradient steps on tasks end.

    Reptile [1]_ for tasks whose labels are numbers. It needs no query and no derivative
    of a derivative: every meta-step trains on some tasks from the same start, by
    ordinary steps, and moves the start towards the mean of the ends.

    Parameters
    ----------
    architecture : Architecture, default=None
        The network that all tasks start from. None is
        :class:`~skmtl.architecture.HardSharing`.
    encoding : Encoding, default=None
        From columns to inputs. None is :class:`~skmtl.encoding.Auto`, or
        :class:`~skmtl.encoding.Raw` for a TorchModule.
    loss : str or Loss, default="squared_error"
        Of each labelled cell: "squared_error", "absolute_error", "huber", "poisson",
        "gamma", "quantile" or an object of :mod:`skmtl.loss`.
    task_column : str or int, default=None
        Name or position of the column of X that holds the task of each row. It is left
        out of the inputs.
    unknown_task : {"pooled", "error"}, default="pooled"
        What to do with a task that fit did not see: predict it by the meta-model, which
        has adapted to nothing, with a warning a call, or raise.
    inner_lr : float, default=0.02
        Learning rate of the inner optimizer, for labels in scaled units.
    n_inner_steps : int, default=8
        Inner steps on a training task; 1 amounts to joint training.
    n_adapt_steps : int, default=None
        Steps of an adaptation, in validation, prediction and ``adapt``; None is
        `n_inner_steps`.
    inner_batch_size : int, default=10
        Rows of a task that an inner step sees, in turns; None for all.
    inner_optimizer : {"adam", "sgd"}, default="adam"
        "adam" is Adam without a first moment, begun anew for every task; "sgd" is plain
        gradient descent.
    n_support : int or tuple of two int, default=(2, 20)
        The most support rows, together with `n_query`, are the rows of a task that its
        inner steps draw on. In validation, rows are split into support and query as for
        :class:`MAMLRegressor`.
    n_query : int, default=15
        See `n_support`.
    meta_batch_size : int, default=25
        Tasks of a meta-step. Tasks come in turns.
    max_iter : int, default=1000
        Meta-steps at most.
    lr : float, default=1.0
        Share of the way from the start to the mean end of the tasks that a meta-step
        goes, at first; it falls along a cosine over `max_iter`.
    clip_norm : float, default=10.0
        Largest norm of the gradient of each task in its inner steps; None for no limit.
    n_estimators : int, default=1
        Networks in the ensemble; each holds out other tasks. Predictions are means.
    cv : int, cross-validation generator or iterable, default=None
        Folds for early stopping: member k holds out fold k modulo their number. None is
        8 folds. Integers hold out whole tasks, or rows when there are fewer than 5
        tasks; other values split rows.
    early_stopping : bool, default=True
        Whether members hold out tasks and keep their best iteration. If False, all
        tasks are trained on for `max_iter` meta-steps.
    n_iter_no_change : int, default=None
        Meta-steps without a better validation loss before a member stops, rounded up to
        whole epochs; None for never.
    task_chunk_size : int, default=None
        Tasks computed at a time, at most, in training and in prediction: a bound on
        memory, at the price of time. None is all of a meta-step, and goes by memory in
        prediction.
    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps"; "auto" takes CUDA when it is there and the work
        is large enough to gain from it.
    dtype : {"float32", "float64"}, default="float32"
        Of the networks in training. Predictions on the CPU are computed in float64.
    skorch_callbacks : list, default=None
        Callbacks of skorch.
    random_state : int, RandomState instance or None, default=None
        Seeds folds, initial weights and episodes. An int makes fits repeatable.
    verbose : int, default=0
        Whether to print a line an epoch.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        Holds all members as one module.
    n_tasks_ : int
        Number of tasks that ``predict`` knows: those of fit, or those adapted to.
    task_names_ : ndarray of shape (`n_tasks_`,)
        Columns of y, or sorted ids of the row tasks.
    n_iter_ : ndarray of shape (n_estimators,)
        Best iteration of each member: how many meta-steps made its weights.
    n_epochs_ : int
        Epochs run. An epoch is a fiftieth of `max_iter`, at least one and at most 500
        meta-steps; a validation ends it.
    history_ : skorch.history.History
        Losses of every epoch: of queries after adaptation.
    architecture_ : torch module
        The fitted network.
    device_ : str
        Where the networks were trained.
    n_features_in_ : int
        Columns of X, the task column included.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X, when they are strings.

    See Also
    --------
    ReptileClassifier : The same for classes.
    MAMLRegressor : Trains the start through the steps; notes on all of these.
    MetaRidgeRegressor : Heads in closed form: quicker, and with uncertainty.

    Notes
    -----
    From the start :math:`\theta`, `n_inner_steps` of the inner optimizer on task
    :math:`t` lead to :math:`\phi_t`, and the meta-step is :math:`\theta \leftarrow
    \theta + \epsilon \, \mathrm{mean}_t(\phi_t - \theta)`, the batched version of [1]_.
    The share :math:`\epsilon`, `lr`, falls along a cosine, where the paper lets it fall
    along a line. The inner optimizer is Adam with :math:`\beta_1 = 0` as in the paper's
    experiments; its second moments begin anew with every task, in training as in
    ``adapt``.

    The notes of :class:`MAMLRegressor` on tasks, scales, known tasks, the best
    iteration and losses that are not finite hold here as well; a task that is left out
    of a step counts as one that has not moved.

    References
    ----------
    .. [1] A. Nichol, J. Achiam, J. Schulman (2018). On First-Order Meta-Learning
       Algorithms. https://arxiv.org/abs/1803.02999

    Examples
    --------
    >>> from skmtl import ReptileRegressor
    >>> from skmtl.datasets import make_sinusoid_tasks
    >>> X, y, task = make_sinusoid_tasks(n_tasks=30, n_samples=20, random_state=0)
    >>> X_new, y_new, _ = make_sinusoid_tasks(n_tasks=1, n_samples=50, random_state=1)
    >>> model = ReptileRegressor(n_inner_steps=4, max_iter=20, random_state=0)
    >>> model.fit(X, y, task=task).predict(X[:2], task=task[:2]).shape
    (2,)
    >>> adapted = model.adapt(X_new[:10], y_new[:10])
    >>> adapted.predict(X_new[10:]).shape
    (40,)
    """

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
        inner_lr=0.02,
        n_inner_steps=8,
        n_adapt_steps=None,
        inner_batch_size=10,
        inner_optimizer="adam",
        n_support=(2, 20),
        n_query=15,
        meta_batch_size=25,
        max_iter=1000,
        lr=1.0,
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
        self.inner_batch_size = inner_batch_size
        self.inner_optimizer = inner_optimizer
        self.n_support = n_support
        self.n_query = n_query
        self.meta_batch_size = meta_batch_size
        self.max_iter = max_iter
        self.lr = lr
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


class ReptileClassifier(Reptile, MetaClassifier):
    """Learn a start for new classes by moving it to where tasks end.

    Reptile [1]_ for tasks whose labels are classes, the same in all tasks or, with
    `n_way`, each task's own. It needs no query and no derivative of a derivative.

    Parameters
    ----------
    architecture : Architecture, default=None
        The network that all tasks start from. None is
        :class:`~skmtl.architecture.HardSharing`.
    encoding : Encoding, default=None
        From columns to inputs. None is :class:`~skmtl.encoding.Auto`, or
        :class:`~skmtl.encoding.Raw` for a TorchModule.
    loss : str or Loss, default="log_loss"
        Of each labelled cell: "log_loss", "focal" or an object of :mod:`skmtl.loss`.
    task_column : str or int, default=None
        Name or position of the column of X that holds the task of each row. It is left
        out of the inputs.
    unknown_task : {"pooled", "error"}, default="pooled"
        What to do with a task that fit did not see: predict it by the meta-model, which
        has adapted to nothing, with a warning a call, or raise. With `n_way`, the
        meta-model is adapted to the rows of all tasks as one.
    n_way : int, default=None
        None when a class means the same in all tasks. An int when tasks have classes of
        their own: each episode draws that many classes of a task into slots of the
        head, in random order, and a new task may have at most so many.
    inner_lr : float, default=0.02
        Learning rate of the inner optimizer, for labels in scaled units.
    n_inner_steps : int, default=8
        Inner steps on a training task; 1 amounts to joint training.
    n_adapt_steps : int, default=None
        Steps of an adaptation, in validation, prediction and ``adapt``; None is
        `n_inner_steps`.
    inner_batch_size : int, default=10
        Rows of a task that an inner step sees, in turns; None for all.
    inner_optimizer : {"adam", "sgd"}, default="adam"
        "adam" is Adam without a first moment, begun anew for every task; "sgd" is plain
        gradient descent.
    n_support : int or tuple of two int, default=(2, 20)
        The most support rows, together with `n_query`, are the rows of a task, or of
        each of its classes with `n_way`, that its inner steps draw on. In validation,
        rows are split into support and query as for :class:`MAMLClassifier`.
    n_query : int, default=15
        See `n_support`.
    meta_batch_size : int, default=25
        Tasks of a meta-step. Tasks come in turns.
    max_iter : int, default=1000
        Meta-steps at most.
    lr : float, default=1.0
        Share of the way from the start to the mean end of the tasks that a meta-step
        goes, at first; it falls along a cosine over `max_iter`.
    clip_norm : float, default=10.0
        Largest norm of the gradient of each task in its inner steps; None for no limit.
    n_estimators : int, default=1
        Networks in the ensemble; each holds out other tasks. Predictions are means.
    cv : int, cross-validation generator or iterable, default=None
        Folds for early stopping: member k holds out fold k modulo their number. None is
        8 folds. Integers hold out whole tasks; whole classes, where tasks have their
        own and all rows are of one task; or rows, when there are fewer than 5 of these.
        Other values split rows.
    early_stopping : bool, default=True
        Whether members hold out tasks and keep their best iteration. If False, all
        tasks are trained on for `max_iter` meta-steps.
    n_iter_no_change : int, default=None
        Meta-steps without a better validation loss before a member stops, rounded up to
        whole epochs; None for never.
    task_chunk_size : int, default=None
        Tasks computed at a time, at most, in training and in prediction: a bound on
        memory, at the price of time. None is all of a meta-step, and goes by memory in
        prediction.
    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps"; "auto" takes CUDA when it is there and the work
        is large enough to gain from it.
    dtype : {"float32", "float64"}, default="float32"
        Of the networks in training. Predictions on the CPU are computed in float64.
    skorch_callbacks : list, default=None
        Callbacks of skorch.
    random_state : int, RandomState instance or None, default=None
        Seeds folds, initial weights and episodes. An int makes fits repeatable.
    verbose : int, default=0
        Whether to print a line an epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,) or list of ndarray
        Class labels, of all tasks together; a list, one array a column, when y has two
        dimensions.
    net_ : skorch.NeuralNet
        Holds all members as one module.
    n_tasks_ : int
        Number of tasks that ``predict`` knows: those of fit, or those adapted to.
    task_names_ : ndarray of shape (`n_tasks_`,)
        Columns of y, or sorted ids of the row tasks.
    n_iter_ : ndarray of shape (n_estimators,)
        Best iteration of each member: how many meta-steps made its weights.
    n_epochs_ : int
        Epochs run. An epoch is a fiftieth of `max_iter`, at least one and at most 500
        meta-steps; a validation ends it.
    history_ : skorch.history.History
        Losses of every epoch: of queries after adaptation.
    architecture_ : torch module
        The fitted network.
    device_ : str
        Where the networks were trained.
    n_features_in_ : int
        Columns of X, the task column included.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X, when they are strings.

    See Also
    --------
    ReptileRegressor : The same for numbers, with the formula.
    MAMLClassifier : Trains the start through the steps; notes on `n_way`.
    PrototypicalClassifier : New classes by distances: quicker, any number.

    Notes
    -----
    See :class:`ReptileRegressor` for the meta-step, :class:`MAMLClassifier` for
    `n_way`, and :class:`MAMLRegressor` for tasks, known tasks, the best iteration and
    losses that are not finite.

    References
    ----------
    .. [1] A. Nichol, J. Achiam, J. Schulman (2018). On First-Order Meta-Learning
       Algorithms. https://arxiv.org/abs/1803.02999

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skmtl import ReptileClassifier
    >>> X, digit = load_digits(return_X_y=True)
    >>> old = digit < 6
    >>> model = ReptileClassifier(
    ...     n_way=2, n_support=5, n_inner_steps=2, max_iter=5, random_state=0
    ... )
    >>> model = model.fit(X[old], digit[old])
    >>> seven, nine = X[digit == 7], X[digit == 9]
    >>> support = np.concatenate([seven[:5], nine[:5]])
    >>> model.adapt(support, [7] * 5 + [9] * 5).predict_proba(seven[5:]).shape
    (174, 2)
    """

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
        inner_lr=0.02,
        n_inner_steps=8,
        n_adapt_steps=None,
        inner_batch_size=10,
        inner_optimizer="adam",
        n_support=(2, 20),
        n_query=15,
        meta_batch_size=25,
        max_iter=1000,
        lr=1.0,
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
        self.inner_batch_size = inner_batch_size
        self.inner_optimizer = inner_optimizer
        self.n_support = n_support
        self.n_query = n_query
        self.meta_batch_size = meta_batch_size
        self.max_iter = max_iter
        self.lr = lr
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
