"""A closed-form head a task, on a body learned for it."""

from numbers import Integral

import numpy as np
from scipy.stats import norm

from .._constraints import Interval
from ..architecture import HardSharing
from ._base import BaseMetaNet
from ._ridge_class_learner import RidgeClassLearner
from ._ridge_learner import RidgeLearner
from ._scores import MetaClassifier, MetaRegressor

# Held-out errors that a quantile takes.
_LEAST_ERRORS = 30

_CONSTRAINTS = {
    **BaseMetaNet._parameter_constraints,
    "rank": [Interval(Integral, 1, None, closed="left"), None],
}


class MetaRidgeRegressor(MetaRegressor):
    r"""Learn features on which the head of a new task is a ridge solution.

    The network that all tasks share is trained for features, and for a Gaussian prior
    over heads, with which a few rows of a task predict its other rows well. The head of
    a task is then Bayesian linear regression, solved exactly: adaptation takes no steps
    and has no learning rate, and predictions come with standard deviations.

    Parameters
    ----------
    architecture : Architecture, default=None
        The network whose features all tasks share. None is
        :class:`~skmtl.architecture.HardSharing` with a dropout of 0.3.
    encoding : Encoding, default=None
        From columns to inputs. None is :class:`~skmtl.encoding.Auto`, or
        :class:`~skmtl.encoding.Raw` for a TorchModule.
    task_column : str or int, default=None
        Name or position of the column of X that holds the task of each row. It is left
        out of the inputs.
    unknown_task : {"pooled", "error"}, default="pooled"
        What to do with a task that fit did not see: predict it by the meta-model, which
        has adapted to nothing, with a warning a call, or raise.
    rank : int, default=None
        Directions in which the heads of tasks differ, the columns of A in the notes;
        None is as many as there are features, and one for the intercept.
    n_support : int or tuple of two int, default=(2, 20)
        Support rows of a training task, the rows it learns from; two numbers are the
        least and the most, drawn anew every time. A task with too few rows keeps one
        for the query.
    n_query : int, default=15
        Query rows of a task at most, on which what was learned from the support is
        scored.
    meta_batch_size : int, default=25
        Tasks of a meta-step. Tasks come in turns.
    max_iter : int, default=1000
        Meta-steps at most.
    lr : float, default=0.001
        Largest learning rate of AdamW; it falls along a cosine over `max_iter`.
    weight_decay : float, default=0.0
        Decoupled weight decay.
    clip_norm : float, default=10.0
        Largest norm of each network's gradient; None for no limit.
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

    std_scale_ : ndarray of shape (n_columns,)
        Factor on the standard deviations of the model, by which 90 % of the query
        labels of held-out episodes lay within the normal band of 90 %; 1 where nothing
        was held out. Column tasks have one in common.

    See Also
    --------
    MetaRidgeClassifier : The same for classes.
    MAMLRegressor : Moves the features, too; notes on all of these.
    MultiTaskNetRegressor : Adapts heads on features of ordinary training.

    Notes
    -----
    With the features :math:`h(x)` of a row, a constant among them, the head of a task
    is :math:`w = w_0 + A v`. The prior mean :math:`w_0` is the head of the
    architecture, the columns of :math:`A` are the directions in which tasks differ, and
    :math:`v` is normal with mean 0 and covariance :math:`\sigma^2 I`, :math:`\sigma^2`
    the variance of the noise. From the rows :math:`\Psi = H A` of a task, their weights
    :math:`D` and what the prior mean leaves over, :math:`r = y - H w_0`, follow

    .. math::

        \hat v = (\Psi^T D \Psi + I)^{-1} \Psi^T D r
        \qquad\text{and}\qquad
        \sigma^2 (1 + \psi^T (\Psi^T D \Psi + I)^{-1} \psi),

    a ridge solution, and the variance of a new label. The smaller of two systems is
    solved, that of the directions or, by the identity of Woodbury, that of the rows.
    Features, :math:`w_0`, :math:`A` and :math:`\sigma` are trained together, on the
    negative log density of the query (ALPaCA [1]_; with :math:`w_0 = 0`, a multiple of
    the identity as :math:`A`, and squared error it is the ridge head of R2-D2 [2]_). A
    tenth of the loss asks about the query without any support, so that the prior mean
    is a model for rows of tasks that nothing is known of.

    Dropout keeps the features from learning the tasks of the training by heart. Where
    tasks are smooth functions of a column or two it costs accuracy; ``HardSharing()``
    has none.

    There is no strength of the ridge to choose. It is frozen by fit, as scales are:
    adapting again is the same as adapting once to all rows. Columns of y under row
    tasks have :math:`A` in common, and each its own noise.

    The standard deviation is that of a label around its prediction, noise included, and
    the spread of the members is added. It takes features and noise for known, and for
    column tasks the scale of the labels, too: where a new column brings a handful of
    labels it is far too small. One factor, ``std_scale_``, serves all numbers of rows,
    so bands are narrow with no row or one and wide with many, the more so with dropout:
    on sinusoids, bands of 90 % without a row held 73 % with a dropout of 0.3 and 87 %
    without.

    The notes of :class:`MAMLRegressor` on tasks, scales, known tasks and the best
    iteration hold here as well.

    References
    ----------
    .. [1] J. Harrison, A. Sharma, M. Pavone (2018). Meta-Learning Priors for Efficient
       Online Bayesian Regression. WAFR. https://arxiv.org/abs/1807.08912
    .. [2] L. Bertinetto, J. F. Henriques, P. H. S. Torr, A. Vedaldi (2019).
       Meta-Learning with Differentiable Closed-Form Solvers. ICLR.
       https://arxiv.org/abs/1805.08136

    Examples
    --------
    >>> from skmtl import MetaRidgeRegressor
    >>> from skmtl.datasets import make_sinusoid_tasks
    >>> X, y, task = make_sinusoid_tasks(n_tasks=30, n_samples=20, random_state=0)
    >>> X_new, y_new, _ = make_sinusoid_tasks(n_tasks=1, n_samples=50, random_state=1)
    >>> model = MetaRidgeRegressor(max_iter=100, random_state=0)
    >>> model.fit(X, y, task=task).predict(X[:2], task=task[:2]).shape
    (2,)
    >>> adapted = model.adapt(X_new[:10], y_new[:10])
    >>> mean, std = adapted.predict(X_new[10:], return_std=True)
    >>> mean.shape, std.shape
    ((40,), (40,))
    >>> bool(adapted.score(X_new[10:], y_new[10:]) > 0.8)
    True
    """

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

    def _default(self, name):
        # By measurement: see examples/benchmarks/_meta_groups.py.
        if name == "architecture":
            return HardSharing(dropout=0.3)
        return super()._default(name)

    def _learner(self):
        return RidgeLearner(self.rank)

    def _finish(self, training):
        """Let the band hold as many held-out labels as a normal one would."""
        found = [e for e in training.best.predictions if e is not None]
        n_columns = training.pool.n_columns
        errors = [e.flatten(0, 1).cpu().double().numpy() for e in found]
        errors = np.concatenate([np.empty((0, n_columns)), *errors])
        self.std_scale_ = band_scale(errors)

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
            the noise, and what the rows of the task leave open about its head, times
            ``std_scale_``. Only if ``return_std`` is True.

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
        variances = variances * self.std_scale_**2
        return y, np.sqrt(variances).reshape(y.shape) * encoder.scale


def band_scale(errors):
    """Find the factor that gives a normal band the coverage that it promises.

    Parameters
    ----------
    errors : ndarray of shape (n_rows, n_columns)
        Held-out errors in standard deviations, NaN where there is no label.

    Returns
    -------
    scale : ndarray of shape (n_columns,)
        By which the standard deviations are multiplied, so that 90 % of the errors lie
        within their normal band; 1 with fewer than 30 errors.
    """
    scale = np.ones(errors.shape[1])
    for j, column in enumerate(np.abs(errors.T)):
        column = column[~np.isnan(column)]
        if len(column) >= _LEAST_ERRORS:
            scale[j] = np.quantile(column, 0.9) / norm.ppf(0.95)
    return scale


class MetaRidgeClassifier(MetaClassifier):
    """Learn features on which the head of a new task takes a few linear solves.

    The network that all tasks share is trained for features, and for a prior over
    heads, with which a few rows of a task classify its other rows well. Classes are the
    same in all tasks or, with `n_way`, each task's own. Adaptation is exact linear
    algebra and has no learning rate.

    Parameters
    ----------
    architecture : Architecture, default=None
        The network whose features all tasks share. None is
        :class:`~skmtl.architecture.HardSharing`.
    encoding : Encoding, default=None
        From columns to inputs. None is :class:`~skmtl.encoding.Auto`, or
        :class:`~skmtl.encoding.Raw` for a TorchModule.
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
    rank : int, default=None
        Directions in which the heads of tasks differ, the columns of A in the notes;
        None is as many as there are features, and one for the intercept.
    n_solves : int, default=3
        Ridge solutions on the way to the logistic head; 1 is a ridge on the labels.
    n_support : int or tuple of two int, default=(2, 20)
        Support rows of a training task, the rows it learns from, or of each of its
        classes with `n_way`; two numbers are the least and the most, drawn anew every
        time. What has too few rows keeps one for the query.
    n_query : int, default=15
        Query rows of a task at most, or of each of its classes with `n_way`, on which
        what was learned from the support is scored.
    meta_batch_size : int, default=25
        Tasks of a meta-step. Tasks come in turns.
    max_iter : int, default=1000
        Meta-steps at most.
    lr : float, default=0.001
        Largest learning rate of AdamW; it falls along a cosine over `max_iter`.
    weight_decay : float, default=0.0
        Decoupled weight decay.
    clip_norm : float, default=10.0
        Largest norm of each network's gradient; None for no limit.
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
    MetaRidgeRegressor : The same for numbers, with the prior.
    PrototypicalClassifier : New classes by distances: any number of them.
    MAMLClassifier : Moves the features, too; notes on `n_way`.

    Notes
    -----
    As for :class:`MetaRidgeRegressor`, the head of a task is :math:`W_0 + A V`, with a
    normal prior on :math:`V`. The posterior of a logistic head has no closed form. Its
    loss in the logits of a row has second derivatives of at most one half, or a quarter
    with a single logit [1]_, and with this bound in their place every Newton step is a
    ridge solution, which never raises the penalised loss. `n_solves` of them are taken,
    from :math:`V = 0`; the first is a ridge on one-hot labels less the probabilities of
    the prior mean, as in R2-D2 [2]_. The query logits are those of the prior mean plus
    a learned multiple of what :math:`V` adds, and features, :math:`W_0`, :math:`A` and
    the multiple are trained on their cross entropy, through the solutions.

    See :class:`MAMLClassifier` for `n_way`, and :class:`MAMLRegressor` for tasks, known
    tasks and the best iteration.

    References
    ----------
    .. [1] D. Boehning (1992). Multinomial Logistic Regression Algorithm. Annals of the
       Institute of Statistical Mathematics 44, 197-200.
    .. [2] L. Bertinetto, J. F. Henriques, P. H. S. Torr, A. Vedaldi (2019).
       Meta-Learning with Differentiable Closed-Form Solvers. ICLR.
       https://arxiv.org/abs/1805.08136

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skmtl import MetaRidgeClassifier
    >>> X, digit = load_digits(return_X_y=True)
    >>> old = digit < 6
    >>> model = MetaRidgeClassifier(n_way=2, n_support=5, max_iter=20, random_state=0)
    >>> model = model.fit(X[old], digit[old])
    >>> seven, nine = X[digit == 7], X[digit == 9]
    >>> support = np.concatenate([seven[:5], nine[:5]])
    >>> adapted = model.adapt(support, [7] * 5 + [9] * 5)
    >>> bool(adapted.score(seven[5:], [7] * 174) > 0.8)
    True
    """

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
        return RidgeClassLearner(self.rank, self.n_solves, self._is_novel)
