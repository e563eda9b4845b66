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
    r"""Learn a start from which a few gradient steps reach a new task.

    Model-agnostic meta-learning (MAML [1]_) for tasks whose labels are numbers: many
    groups of rows, or many columns of y. The start is trained for what it is used for:
    from a few rows of a task, its support, take gradient steps; the loss on other rows
    of the task, its query, is what counts. All tasks of a step are one bank of
    networks.

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
        "gamma", "quantile" or an object of :mod:`skmtl.loss`, in the inner steps and on
        the query.
    task_column : str or int, default=None
        Name or position of the column of X that holds the task of each row. It is left
        out of the inputs.
    unknown_task : {"pooled", "error"}, default="pooled"
        What to do with a task that fit did not see: predict it by the meta-model, which
        has adapted to nothing, with a warning a call, or raise.
    inner_lr : float, default=0.1
        Step length of the inner loop, for labels in scaled units. The starting value
        where it is learned.
    n_inner_steps : int, default=3
        Inner steps on the support in training. Time, and without `first_order` memory,
        grow with them.
    n_adapt_steps : int, default=None
        Steps of an adaptation, in validation, prediction and ``adapt``; None is
        `n_inner_steps`.
    first_order : bool, default=False
        Whether to leave out the second derivatives of the meta-gradient.
    adapted : {"all", "head", "body"}, default="all"
        What the inner steps move: all parameters (MAML), the head alone (ANIL [2]_) or
        the body alone (BOIL [3]_).
    learn_inner_lr : {False, "tensor", "weight"}, default=False
        Whether step lengths are learned along with the start: no; one for each
        parameter tensor, as in MAML++ [4]_; or one for each weight, as in Meta-SGD
        [5]_.
    multi_step_loss : bool, default=False
        Whether the query losses after earlier inner steps count too, and fade out over
        the first tenth of the training, as in MAML++ [4]_.
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
        Largest norm of the gradient of each task, in the inner steps and in the
        meta-gradient before tasks are averaged; None for no limit.
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
    MAMLClassifier : The same for classes.
    MetaRidgeRegressor : Heads in closed form: quicker, and with uncertainty.
    ReptileRegressor : A start without derivatives of derivatives.
    MultiTaskNetRegressor : For tasks that are all known, or a new head.
    skmtl.model_selection.few_shot_validate : Scores against shots.

    Notes
    -----
    With the mean loss :math:`L_S` of a task on its support and :math:`L_Q` on its
    query, the inner loop is :math:`\phi_{k+1} = \phi_k - \alpha \nabla L_S(\phi_k)`
    from :math:`\phi_0 = \theta`, and the mean of :math:`L_Q(\phi_K)` over tasks is
    minimised in :math:`\theta` with AdamW, by differentiating through the inner steps
    (algorithm 2 of [1]_). ``first_order=True`` takes the gradient of :math:`L_Q` at
    :math:`\phi_K` for that of :math:`\theta`.

    What follows holds for all estimators of :mod:`skmtl.meta`.

    *Tasks.* Ids name groups of rows (`task_column` or ``task``). Without ids each
    column of y is a task; the columns share one head, so that a new column can be
    learned, too.

    *Scales.* Inputs are encoded and labels scaled, to mean 0 and variance 1 unless the
    loss wants otherwise: row tasks by all rows together, columns each by itself. Both
    are frozen by fit. A new group is read in the scales of fit; a new column is scaled
    by the labels that are passed.

    *Known tasks.* Nothing of an adapted model is kept, only the rows. ``predict``
    adapts to all rows of the tasks that X names, each time it is called. Adapting again
    joins the rows, and is the same as adapting once to all of them.

    *The best iteration.* Each member holds out tasks and keeps the iteration after
    which supports of theirs predict their queries best, after as many steps as an
    adaptation takes. With fewer than 5 tasks rows are held out instead.

    *Losses that are not finite.* Each task of a step has a gradient of its own here,
    clipped by itself to `clip_norm`. A task whose loss or gradient is not finite is
    left out of the step, with a warning when the fit ends.

    References
    ----------
    .. [1] C. Finn, P. Abbeel, S. Levine (2017). Model-Agnostic Meta-Learning for Fast
       Adaptation of Deep Networks. ICML. https://arxiv.org/abs/1703.03400
    .. [2] A. Raghu, M. Raghu, S. Bengio, O. Vinyals (2020). Rapid Learning or Feature
       Reuse? Towards Understanding the Effectiveness of MAML. ICLR.
       https://arxiv.org/abs/1909.09157
    .. [3] J. Oh, H. Yoo, C. Kim, S.-Y. Yun (2021). BOIL: Towards Representation Change
       for Few-shot Learning. ICLR. https://arxiv.org/abs/2008.08882
    .. [4] A. Antoniou, H. Edwards, A. Storkey (2019). How to Train Your MAML. ICLR.
       https://arxiv.org/abs/1810.09502
    .. [5] Z. Li, F. Zhou, F. Chen, H. Li (2017). Meta-SGD: Learning to Learn Quickly
       for Few-Shot Learning. https://arxiv.org/abs/1707.09835

    Examples
    --------
    >>> from skmtl import MAMLRegressor
    >>> from skmtl.datasets import make_sinusoid_tasks
    >>> X, y, task = make_sinusoid_tasks(n_tasks=30, n_samples=20, random_state=0)
    >>> X_new, y_new, _ = make_sinusoid_tasks(n_tasks=1, n_samples=50, random_state=1)
    >>> model = MAMLRegressor(n_inner_steps=1, max_iter=50, random_state=0)
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
    """Learn a start from which a few gradient steps reach new classes.

    Model-agnostic meta-learning (MAML [1]_) for tasks whose labels are classes, the
    same in all tasks or, with `n_way`, each task's own.

    Parameters
    ----------
    architecture : Architecture, default=None
        The network that all tasks start from. None is
        :class:`~skmtl.architecture.HardSharing`.
    encoding : Encoding, default=None
        From columns to inputs. None is :class:`~skmtl.encoding.Auto`, or
        :class:`~skmtl.encoding.Raw` for a TorchModule.
    loss : str or Loss, default="log_loss"
        Of each labelled cell: "log_loss", "focal" or an object of :mod:`skmtl.loss`, in
        the inner steps and on the query.
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
    inner_lr : float, default=0.1
        Step length of the inner loop, for labels in scaled units. The starting value
        where it is learned.
    n_inner_steps : int, default=3
        Inner steps on the support in training. Time, and without `first_order` memory,
        grow with them.
    n_adapt_steps : int, default=None
        Steps of an adaptation, in validation, prediction and ``adapt``; None is
        `n_inner_steps`.
    first_order : bool, default=False
        Whether to leave out the second derivatives of the meta-gradient.
    adapted : {"all", "head", "body"}, default="all"
        What the inner steps move: all parameters (MAML), the head alone (ANIL [2]_) or
        the body alone (BOIL [3]_).
    learn_inner_lr : {False, "tensor", "weight"}, default=False
        Whether step lengths are learned along with the start: no; one for each
        parameter tensor, as in MAML++ [4]_; or one for each weight, as in Meta-SGD
        [5]_.
    multi_step_loss : bool, default=False
        Whether the query losses after earlier inner steps count too, and fade out over
        the first tenth of the training, as in MAML++ [4]_.
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
        Largest norm of the gradient of each task, in the inner steps and in the
        meta-gradient before tasks are averaged; None for no limit.
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
    MAMLRegressor : The same for numbers; its notes hold here, too.
    PrototypicalClassifier : New classes by distances: quicker, any number.
    MetaRidgeClassifier : Heads in closed form.

    Notes
    -----
    The notes of :class:`MAMLRegressor` on tasks, scales of inputs, known tasks, the
    best iteration and losses that are not finite hold here as well.

    With `n_way`, the slots of the head are dealt to the classes of an episode at
    random: what a slot means is learned from the support alone. A new task fills the
    slots in the order of its classes, and how well it does depends on that order a
    little [6]_. If all rows are of one task, `n_way` makes tasks of its classes:
    episodes draw some of them, and other classes are held out to choose the best
    iteration.

    References
    ----------
    .. [1] C. Finn, P. Abbeel, S. Levine (2017). Model-Agnostic Meta-Learning for Fast
       Adaptation of Deep Networks. ICML. https://arxiv.org/abs/1703.03400
    .. [2] A. Raghu, M. Raghu, S. Bengio, O. Vinyals (2020). Rapid Learning or Feature
       Reuse? Towards Understanding the Effectiveness of MAML. ICLR.
       https://arxiv.org/abs/1909.09157
    .. [3] J. Oh, H. Yoo, C. Kim, S.-Y. Yun (2021). BOIL: Towards Representation Change
       for Few-shot Learning. ICLR. https://arxiv.org/abs/2008.08882
    .. [4] A. Antoniou, H. Edwards, A. Storkey (2019). How to Train Your MAML. ICLR.
       https://arxiv.org/abs/1810.09502
    .. [5] Z. Li, F. Zhou, F. Chen, H. Li (2017). Meta-SGD: Learning to Learn Quickly
       for Few-Shot Learning. https://arxiv.org/abs/1707.09835
    .. [6] H.-J. Ye, W.-L. Chao (2021). How to Train Your MAML to Excel in Few-Shot
       Classification. https://arxiv.org/abs/2106.16245

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skmtl import MAMLClassifier
    >>> X, digit = load_digits(return_X_y=True)
    >>> old = digit < 6
    >>> model = MAMLClassifier(n_way=2, n_support=5, max_iter=10, random_state=0)
    >>> model = model.fit(X[old], digit[old])
    >>> seven, nine = X[digit == 7], X[digit == 9]
    >>> support = np.concatenate([seven[:5], nine[:5]])
    >>> adapted = model.adapt(support, [7] * 5 + [9] * 5)
    >>> adapted.classes_
    array([7, 9])
    >>> adapted.predict_proba(seven[5:]).shape
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
