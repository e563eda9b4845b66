"""The estimator of tasks whose labels are classes."""

from numbers import Real

from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .._base import BaseTaskNet
from .._constraints import Interval, StrOptions
from ..loss import Loss, aliases
from ..metrics import get_scorer


class MultiTaskNetClassifier(ClassifierMixin, BaseTaskNet):
    """Predict several class labels from one table, with networks that share.

    Each column of y is a task of two or more classes, and labels may be missing in any
    pattern; or each row belongs to one of many tasks, named by a column of X. An
    ensemble of small networks is trained together as one bank, each stopping by
    another fold of held-out rows.

    Parameters
    ----------
    architecture : Architecture, default=None
        How tasks share. None is :class:`~skmtl.architecture.HardSharing`.
    weighting : Weighting, default=None
        How the tasks' gradients are combined. None is
        :class:`~skmtl.weighting.Equal`.
    encoding : Encoding, default=None
        From columns to inputs. None is :class:`~skmtl.encoding.Auto`, or
        :class:`~skmtl.encoding.Raw` for a TorchModule.
    loss : str, Loss, list or dict, default="log_loss"
        Of each labelled cell: "log_loss", "focal" or an object of :mod:`skmtl.loss`;
        one for all tasks, a list with one a task, or a dict by name.
    class_weight : "balanced", dict, list or dict by name, default=None
        Factor on the weight of each class: a dict by class, or "balanced" for classes
        that count alike; for several tasks a list of them or a dict by task name.
    task_column : str or int, default=None
        Name or position of the column of X that holds the task of each row. It is left
        out of the inputs.
    unknown_task : {"pooled", "error"}, default="pooled"
        What to do with a row task that fit did not see: predict it by the shared head
        with a warning a call, or raise.
    task_weights : "balanced", dict or array-like of shape (n_tasks,), default=None
        How much each task counts, rescaled to sum to n_tasks. None counts column tasks
        alike and row tasks by their number of rows; "balanced" counts all tasks alike;
        a dict may leave out tasks that count 1.
    n_estimators : int, default=8
        Networks in the ensemble.
    max_features : "auto" or float, default="auto"
        Share of the columns of X, in (0, 1], that each member sees, drawn anew for
        each. "auto" is 0.7 for an ensemble on a table of at least 50 columns that tell
        the same in other words, so that ridge regressions lose nothing by it, and all
        columns otherwise, for a single network, a TorchModule and the encoding Raw.
        The encoding of a member counts the columns that it sees.
    relevance : "auto" or None, default="auto"
        How large the inputs of a column of X are. "auto" makes those larger that
        randomised trees find to tell more about y than shuffled columns do, and the
        others smaller, so that networks are not led astray by columns that tell
        nothing. Tasks count alike for it. None treats all columns alike, as a first
        ``partial_fit``, a TorchModule and the encoding Raw do; so should networks that
        are to be adapted to columns of y that hang on other columns of X.
    stumps : "auto", int or None, default="auto"
        Inputs that are 0 on one side of a threshold of a column of X and 1 on the
        other (decision stumps), as many as are given here at most: those by which
        shallow trees tell most about y. They are 0 where the value is missing. "auto"
        is 32 where ridge regressions on held-out rows gain a percent and more by them,
        over all tasks together, as where y goes in steps, and none elsewhere. None for
        none, as with a first ``partial_fit``, a TorchModule and the encoding Raw.
    cv : int, cross-validation generator or iterable, default=None
        Folds for early stopping: member k holds out fold k modulo their number. None
        is 8 folds balanced over row tasks, classes and missing labels.
    early_stopping : bool, default=True
        Whether members hold out rows and keep their best epoch. If False, all rows are
        trained on for `max_epochs`.
    guard : bool, default=False
        Whether networks of single tasks are trained in the same bank, against negative
        transfer: a task whose own networks do better on held-out rows, by more than
        the standard error of the difference, is predicted by a blend of both. Costs
        `n_estimators` networks more a task; column tasks only, without `warm_start`.
    n_neighbors : "auto", int or None, default="auto"
        Training rows near a row, at most 100, by whose held-out errors its prediction
        is corrected (kriging), in the columns of y where that lowers the held-out loss
        by more than a standard error; None for no correction. "auto" is 16 where every
        row is held out by a member, and none for row tasks, with ``warm_start`` or
        ``class_weight``, or for losses that do not predict means. See the notes.
    n_iter_no_change : "auto", int or None, default="auto"
        Epochs without a better validation loss before a member stops; None for never.
        "auto" is a fifth of `max_epochs`, and at least 8.
    lr : float, default=0.002
        Largest learning rate of AdamW; it falls along a cosine over `max_epochs`.
    weight_decay : float, default=3.0
        Decoupled weight decay.
    batch_size : "auto", int or None, default="auto"
        Rows of a batch at most; None for all. "auto" is 32 to 256, by the number of
        rows.
    max_epochs : "auto" or int, default="auto"
        Passes over the rows at most. "auto" is 200 on up to 1,500 rows that a member
        trains on, and on more as many as visit 300,000 rows, but at least 10. Targets
        without noise, such as the results of simulations, gain from 200 on tables of
        any size.
    clip_norm : float, default=None
        Largest norm of each network's gradient of the mean task loss.
    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps"; "auto" takes CUDA when it is there and the work
        is large enough to gain from it.
    dtype : {"float32", "float64"}, default="float32"
        Of the networks in training. Predictions on the CPU are computed in float64.
    skorch_callbacks : list, default=None
        Callbacks of skorch.
    random_state : int, RandomState instance or None, default=None
        Seeds folds, initial weights and row orders. An int makes fits repeatable.
    verbose : int, default=0
        Whether to print a line an epoch.
    warm_start : bool, default=False
        Whether another call of ``fit`` goes on from the members there are: with the
        same `n_estimators` all train on for `max_epochs` more, with a larger one new
        members are added. See the notes.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,) or list of ndarray
        Class labels; a list, one array a column, when y has two dimensions.
    net_ : skorch.NeuralNet
        Holds all members as one module.
    n_tasks_ : int
        Number of tasks.
    task_names_ : ndarray of shape (`n_tasks_`,)
        Columns of y, or sorted ids of the row tasks.
    n_iter_ : ndarray of shape (n_estimators,)
        Best epoch of each member, from 1: how many epochs made its weights, those of
        earlier calls included.
    n_epochs_ : int
        Epochs run, in all calls.
    loss_weights_ : ndarray of shape (`n_epochs_`, n_estimators, `n_tasks_`)
        Mean weights that the weighting gave; NaN for members that had no part in a
        call.
    gradient_conflict_ : ndarray of shape (`n_epochs_`, `n_tasks_`, `n_tasks_`)
        Mean cosines between the tasks' gradients, with weightings that look at
        gradients; NaN for tasks that never met.
    transfer_ : ndarray of shape (`n_tasks_`,)
        Share of the held-out loss of a task's own networks that sharing spares it, with
        ``guard=True``; negative where sharing hurts.
    guard_shares_ : ndarray of shape (`n_tasks_`,)
        Share of its own networks in the predictions of each task, with ``guard=True``.
    relevance_ : ndarray of shape (`n_features_in_`,)
        How large the inputs of each column of X are, by `relevance`, the mean over the
        members; NaN for columns that are not read, as they do not vary, hold the tasks
        or are drawn by no member. 1 where inputs are learned.
    stumps_ : ndarray of shape (`n_features_in_`,)
        How many inputs step in each column of X, the mean over the members; 0 for
        columns without any, and everywhere where `stumps` do not pay.
    neighbor_gain_ : ndarray of shape (n_columns,)
        Share of their loss that near rows spare held-out rows, for each column of y; 0
        for columns that are not corrected.
    validation_prediction_ : ndarray or list of ndarray
        Class probabilities of each row by the members that held it out, in the form of
        ``predict_proba``, NaN where none did. The same rows chose the members' epochs
        and had a part in the correction by near rows, so scores of it are slightly
        optimistic.
    history_ : skorch.history.History
        Losses of every epoch, in all calls.
    estimators_ : list of MultiTaskNetClassifier
        The members.
    architecture_, weighting_ : torch modules
        The fitted parts.
    device_ : str
        Where the networks were trained.
    n_features_in_ : int
        Columns of X, the task column included.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X, when they are strings.

    See Also
    --------
    MultiTaskNetRegressor : Tasks whose labels are numbers.

    Notes
    -----
    A task that has a single class is predicted as that class everywhere, with a
    warning in fit. See :class:`MultiTaskNetRegressor` for the objective, for sample
    weights, for the correction by near rows, for `warm_start` and for fits that are
    killed and resumed.

    References
    ----------
    .. [1] R. Caruana (1997). Multitask Learning. Machine Learning 28, 41-75.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skmtl import MultiTaskNetClassifier
    >>> X, species = load_iris(return_X_y=True)
    >>> y = np.stack([species, X[:, 3] > 1.3], axis=1).astype(float)
    >>> y[::3, 1] = np.nan
    >>> model = MultiTaskNetClassifier(n_estimators=2, max_epochs=5, random_state=0)
    >>> [p.shape for p in model.fit(X[:, :3], y).predict_proba(X[:, :3])]
    [(150, 3), (150, 2)]
    """

    _kind = "class"
    _decode = "labels"
    _parameter_constraints = {
        **BaseTaskNet._parameter_constraints,
        "loss": [
            StrOptions(aliases("class")),
            Loss,
            list,
            tuple,
            dict,
        ],
        "class_weight": [StrOptions({"balanced"}), dict, list, tuple, None],
        "max_features": [
            StrOptions({"auto"}),
            Interval(Real, 0, 1, closed="right"),
        ],
    }

    def __init__(
        self,
        architecture=None,
        weighting=None,
        encoding=None,
        loss="log_loss",
        *,
        class_weight=None,
        task_column=None,
        unknown_task="pooled",
        task_weights=None,
        n_estimators=8,
        max_features="auto",
        relevance="auto",
        stumps="auto",
        cv=None,
        early_stopping=True,
        guard=False,
        n_neighbors="auto",
        n_iter_no_change="auto",
        lr=0.002,
        weight_decay=3.0,
        batch_size="auto",
        max_epochs="auto",
        clip_norm=None,
        device="auto",
        dtype="float32",
        skorch_callbacks=None,
        random_state=None,
        verbose=0,
        warm_start=False,
    ):
        self.architecture = architecture
        self.weighting = weighting
        self.encoding = encoding
        self.loss = loss
        self.class_weight = class_weight
        self.task_column = task_column
        self.unknown_task = unknown_task
        self.task_weights = task_weights
        self.n_estimators = n_estimators
        self.max_features = max_features
        self.relevance = relevance
        self.stumps = stumps
        self.cv = cv
        self.early_stopping = early_stopping
        self.guard = guard
        self.n_neighbors = n_neighbors
        self.n_iter_no_change = n_iter_no_change
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.clip_norm = clip_norm
        self.device = device
        self.dtype = dtype
        self.skorch_callbacks = skorch_callbacks
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @property
    def classes_(self):
        """Class labels, ndarray or list of them."""
        classes = self._fitted("classes_").blueprint.targets.classes
        ndim = self.net_.blueprint.targets.ndim
        return classes[0] if ndim == 1 else list(classes)

    @property
    def validation_prediction_(self):
        """Class probabilities of held-out rows, in the form of predict_proba."""
        columns = self._held_out_columns()
        return self.net_.blueprint.targets.probabilities(columns)

    def predict_proba(self, X, *, task=None):
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes) or list of ndarray
            Means over members, in the order of ``classes_``; a list, one array a
            column, when y had two dimensions.

        Raises
        ------
        ValueError
            If tasks are needed and not given, or unknown with
            ``unknown_task="error"``.
        """
        check_is_fitted(self, "net_")
        return self.net_.predict_proba(self._rows(X, task))

    def score(self, X, y, *, task=None, sample_weight=None):
        """Average the accuracies of the tasks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            True labels; missing ones do not count.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
                optional
            Weights.

        Returns
        -------
        score : float
            Mean over the columns of y of the accuracy on labelled cells: not the
            subset accuracy of scikit-learn's multi-label classifiers.
        """
        scorer = get_scorer("accuracy")
        return scorer(self, X, y, task=task, sample_weight=sample_weight)
