"""Prototypical networks."""

from numbers import Integral

from .._constraints import Interval, StrOptions
from ._base import BaseMetaNet
from ._novel_classes import LearnsClasses
from ._prototype_learner import PrototypeLearner


class PrototypicalClassifier(LearnsClasses):
    r"""Learn a space in which each class is the mean of a few of its rows.

    Prototypical networks [1]_: a new class needs a few rows and no training. Classes
    are those of the rows a task has, any number of them; a table with one column of
    labels and no tasks will do, and its classes are drawn into episodes. ``transform``
    gives the places of rows in the space.

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
        What to do with a task that fit did not see: compare its rows with the classes
        of all known tasks, with a warning a call, or raise.
    metric : {"euclidean", "cosine"}, default="euclidean"
        Squared Euclidean distance, or cosine.
    n_components : int, default=64
        Dimensions of the learned space; None takes the features of the architecture as
        they are.
    n_way : int, default=None
        Classes of a training episode; None is as many as the task with most classes
        has, at most 20. New tasks may have more.
    n_support : int or tuple of two int, default=(1, 5)
        Support rows of each class of a training episode; two numbers are the least and
        the most, drawn anew every time. A class with too few rows keeps one for the
        query.
    n_query : int, default=5
        Query rows of each class of an episode, at most.
    meta_batch_size : int, default=8
        Episodes of a meta-step. Tasks come in turns.
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
    SiameseClassifier : Nearest rows in a space learned from pairs; verifies pairs.
    MetaRidgeClassifier : A linear head for each task.
    MAMLClassifier : Gradient steps for each task.

    Notes
    -----
    With the place :math:`f(x)` of a row, class :math:`c` has the prototype :math:`m_c`,
    the weighted mean of the places of its rows, and the probabilities of a row are the
    softmax over classes of :math:`-s \, \|f(x) - m_c\|^2` (equations 1 and 2 of [1]_),
    or of :math:`s` times the cosine. The factor :math:`s` is learned, so that the size
    of the space does not matter. Features of the architecture, a linear map to
    `n_components` dimensions and :math:`s` are trained on the cross entropy of the
    query. The number of classes in training need not be that of new tasks; more of them
    make training harder, which the paper found to help.

    The rows adapted to are the only ones that the new estimator knows: to keep old
    classes beside new ones, adapt to rows of both. A class may have a single row.

    See :class:`MAMLRegressor` for tasks, scales of inputs, known tasks and the best
    iteration. With a single task whole classes are held out, if there are at least 5.

    References
    ----------
    .. [1] J. Snell, K. Swersky, R. Zemel (2017). Prototypical Networks for Few-Shot
       Learning. NeurIPS. https://arxiv.org/abs/1703.05175

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skmtl import PrototypicalClassifier
    >>> X, digit = load_digits(return_X_y=True)
    >>> old = digit < 6
    >>> model = PrototypicalClassifier(max_iter=100, random_state=0)
    >>> model = model.fit(X[old], digit[old])
    >>> X_new, new = X[~old], digit[~old]
    >>> adapted = model.adapt(X_new[:20], new[:20])
    >>> adapted.classes_
    array([6, 7, 8, 9])
    >>> adapted.predict_proba(X_new[20:]).shape
    (694, 4)
    >>> model.transform(X_new).shape
    (714, 64)
    """

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
