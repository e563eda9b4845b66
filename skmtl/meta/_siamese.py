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
    r"""Learn a space in which rows of one class are close, and others far.

    Siamese networks [1]_: the same network places both rows of a pair. A row is of the
    class of its nearest known row; a pair of rows can be told to be of one class or two
    (``verify``), though neither class was ever seen. ``transform`` gives the places of
    rows in the space.

    Parameters
    ----------
    architecture : Architecture, default=None
        The network whose features all tasks share. None is
        :class:`~skmtl.architecture.HardSharing`.
    encoding : Encoding, default=None
        From columns to inputs. None is :class:`~skmtl.encoding.Auto`, or
        :class:`~skmtl.encoding.Raw` for a TorchModule.
    loss : {"contrastive", "triplet"}, default="contrastive"
        Over all pairs of an episode [1]_, or over the hardest pair of each kind for
        each row [2]_.
    task_column : str or int, default=None
        Name or position of the column of X that holds the task of each row. It is left
        out of the inputs.
    unknown_task : {"pooled", "error"}, default="pooled"
        What to do with a task that fit did not see: compare its rows with the classes
        of all known tasks, with a warning a call, or raise.
    margin : float, default=1.0
        Distance from which pairs of two classes are left alone; by how much the nearest
        row of another class is to be farther than the farthest of its own, for
        triplets.
    exponent : float, default=2.0
        Of distance and shortfall in the contrastive loss. 1 is more forgiving of pairs
        that cannot be mended.
    n_components : int, default=64
        Dimensions of the learned space; None takes the features of the architecture as
        they are.
    n_way : int, default=None
        Classes of a training episode; None is as many as the task with most classes
        has, at most 20. New tasks may have more.
    n_support : int or tuple of two int, default=(1, 5)
        The most support rows, together with `n_query`, are the rows of each class in an
        episode, all of which make pairs.
    n_query : int, default=5
        See `n_support`.
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
    threshold_ : float
        Distance below which ``verify`` takes two rows for one class: where the mean of
        both error rates is least on pairs of held-out rows; NaN without pairs of both
        kinds.
    n_features_in_ : int
        Columns of X, the task column included.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X, when they are strings.

    See Also
    --------
    PrototypicalClassifier : A mean for each class; as a rule better at few shots.

    Notes
    -----
    With the distance :math:`D` of the places of two rows and the margin :math:`m`,
    pairs of one class cost :math:`\tfrac12 D^p` and pairs of two :math:`\tfrac12
    \max(0, m - D)^p`; with :math:`p = 2`, `exponent`, it is the loss of [1]_. The means
    over both kinds of pairs are added, so that the kind of which there are more does
    not rule. For triplets the loss of a row is :math:`\max(0, D_+ - D_- + m)`, with its
    farthest row of the same class and its nearest of another in the episode [2]_.

    ``predict_proba`` is the softmax over classes of minus the distance to the nearest
    row, in margins. It ranks classes, and is not calibrated. ``sample_weight`` acts as
    a mark: rows of weight 0 are left out, others count alike.

    See :class:`MAMLRegressor` for tasks, scales of inputs, known tasks and the best
    iteration. With a single task whole classes are held out, if there are at least 5.

    References
    ----------
    .. [1] R. Hadsell, S. Chopra, Y. LeCun (2006). Dimensionality Reduction by Learning
       an Invariant Mapping. CVPR.
    .. [2] A. Hermans, L. Beyer, B. Leibe (2017). In Defense of the Triplet Loss for
       Person Re-Identification. https://arxiv.org/abs/1703.07737

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skmtl import SiameseClassifier
    >>> X, digit = load_digits(return_X_y=True)
    >>> old = digit < 6
    >>> model = SiameseClassifier(max_iter=100, random_state=0)
    >>> model = model.fit(X[old], digit[old])
    >>> X_new, new = X[~old], digit[~old]
    >>> model.adapt(X_new[:20], new[:20]).predict(X_new[20:]).shape
    (694,)
    >>> model.verify(X_new[:3], X_new[1:4]).shape
    (3,)
    """

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

    def _finish(self, training):
        """Set the threshold that tells pairs of rows apart best."""
        data, pool, plan = training.data, training.pool, training.plans[0]
        self.threshold_ = float("nan")
        # Few held-out rows may hold no two of one class; then the others have to do.
        for entries in (plan.valid_entries, plan.train_entries):
            if entries is not None and np.isnan(self.threshold_):
                self.threshold_ = self._threshold(data, pool, entries)

    def _threshold(self, data, pool, entries):
        entries = entries[np.linspace(0, len(entries) - 1, _PAIR_ROWS).astype(int)]
        entries = np.unique(entries)
        places = places_of(self.net_, data.X[pool.rows[entries]])
        i, j = np.triu_indices(len(entries), 1)
        alike = pool.task[entries[i]] == pool.task[entries[j]]
        i, j = i[alike], j[alike]
        same = pool.labels[entries[i]] == pool.labels[entries[j]]
        return best_threshold(_distances(places[:, i], places[:, j]), same)

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
            If the tables are not of one length, or no task of fit had pairs of one
            class and of two, so that there is no threshold.
        """
        distances = self.pair_distance(X1, X2)
        if np.isnan(self.threshold_):
            raise ValueError(
                "There is no threshold: no task of fit had both pairs of one class and "
                "pairs of two. Use pair_distance, or fit on such tasks."
            )
        return distances < self.threshold_


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
        distances; the least of all if none tells them apart; NaN without pairs of both
        kinds.
    """
    if not same.any() or same.all():
        return float("nan")
    values, place = np.unique(distances, return_inverse=True)
    hits = np.cumsum(np.bincount(place, same)) / same.sum()
    alarms = np.cumsum(np.bincount(place, ~same)) / (~same).sum()
    # How many of the least values lie below the threshold.
    best = int(np.argmax(np.append(0.0, hits - alarms)))
    return float(values[max(best - 1, 0) : best + 1].mean())
