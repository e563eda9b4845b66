"""The estimator of tasks that are numbers and classes side by side."""

import importlib

from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._base import BaseTaskNet
from .._constraints import HasMethods, StrOptions
from ..loss import Loss, aliases
from ..metrics import get_scorer


def _has_classes(estimator):
    return hasattr(estimator, "net_") and bool(estimator.classes_)


class MixedTaskNet(BaseTaskNet):
    """Predict numbers and classes from one table, with networks that share.

    Each column of y is a task: some hold numbers, some classes, and labels may be
    missing in any pattern. An ensemble of small networks is trained together as one
    bank, each stopping by another fold of held-out rows.

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
    loss : str, Loss, list or dict, default=None
        Of each labelled cell: one for the tasks of its kind, a list with one a task,
        or a dict by name. None, and tasks that are left out, take the squared error
        for numbers and the log loss for classes.
    task_types : "auto", list or dict, default="auto"
        "number" or "class" for each task, in order or by name. "auto", and tasks that
        a dict leaves out, go by the dtype: strings, bools and categories are classes,
        fractions are numbers, and a column of a frame that holds whole numbers raises,
        because it may be either, as does one of an array of objects. Arrays of
        numbers are numbers.
    target_transform : {"log1p", "quantile"}, transformer, list or dict, default=None
        What the networks learn instead of a number: ``log(1 + y)``, the normal scores
        of y, or what a transformer with ``inverse_transform`` makes of it; for all
        numbers, one a task, or by name. Predictions are transformed back.
    class_weight : "balanced", dict, list or dict by name, default=None
        Factor on the weight of each class: "balanced" for classes that count alike, a
        list with one entry a task, or a dict by task name of dicts by class.
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
        is 8 folds balanced over row tasks and missing labels.
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
    weight_decay : float, default=0.01
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
    task_types_ : dict
        "number" or "class" by the name of the column of y.
    classes_ : dict
        Class labels, ndarray of shape (n_classes,), by the name of the class tasks.
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
    validation_prediction_ : dict
        Numbers, or class probabilities in the order of ``classes_``, by the name of
        the task: predictions of each row by the members that held it out, NaN where
        none did. The same rows chose the members' epochs and had a part in the
        correction by near rows, so scores of them are slightly optimistic.
    history_ : skorch.history.History
        Losses of every epoch, in all calls.
    estimators_ : list of MixedTaskNet
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
    MultiTaskNetClassifier : Tasks whose labels are classes.

    Notes
    -----
    For scikit-learn it is neither a classifier nor a regressor, so scorers that are
    strings, stacking and partial dependence do not take it; ``score``, the scorers of
    :mod:`skmtl.metrics` and the views of ``for_task`` do. In a search, pass
    `task_types` yourself: "auto" looks at the rows of one fold. See
    :class:`MultiTaskNetRegressor` for the objective, for sample weights, for the
    correction by near rows, for `warm_start` and for fits that are killed and resumed.

    References
    ----------
    .. [1] R. Caruana (1997). Multitask Learning. Machine Learning 28, 41-75.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.datasets import load_iris
    >>> from skmtl import MixedTaskNet
    >>> iris = load_iris(as_frame=True)
    >>> X = iris.data[["sepal length (cm)", "sepal width (cm)"]]
    >>> y = pd.DataFrame({"petal": iris.data["petal length (cm)"]})
    >>> y["species"] = iris.target_names[iris.target]
    >>> model = MixedTaskNet(n_estimators=2, max_epochs=5, random_state=0)
    >>> model.fit(X, y).predict(X).shape
    (150, 2)
    >>> model.task_types_
    {'petal': 'number', 'species': 'class'}
    """

    _kind = "mixed"
    _decode = "labels"
    _parameter_constraints = {
        **BaseTaskNet._parameter_constraints,
        "loss": [StrOptions(aliases("number", "class")), Loss, list, tuple, dict, None],
        "task_types": [StrOptions({"auto"}), list, tuple, dict],
        "target_transform": [
            StrOptions({"log1p", "quantile"}),
            HasMethods("inverse_transform"),
            list,
            tuple,
            dict,
            None,
        ],
        "class_weight": [StrOptions({"balanced"}), dict, list, tuple, None],
    }

    def __init__(
        self,
        architecture=None,
        weighting=None,
        encoding=None,
        loss=None,
        *,
        task_types="auto",
        target_transform=None,
        class_weight=None,
        task_column=None,
        unknown_task="pooled",
        task_weights=None,
        n_estimators=8,
        relevance="auto",
        stumps="auto",
        cv=None,
        early_stopping=True,
        guard=False,
        n_neighbors="auto",
        n_iter_no_change="auto",
        lr=0.002,
        weight_decay=0.01,
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
        self.task_types = task_types
        self.target_transform = target_transform
        self.class_weight = class_weight
        self.task_column = task_column
        self.unknown_task = unknown_task
        self.task_weights = task_weights
        self.n_estimators = n_estimators
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

    @property
    def task_types_(self):
        """Kind of the labels of each column of y, dict."""
        targets = self._fitted("task_types_").blueprint.targets
        return {
            name: "number" if classes is None else "class"
            for name, classes in zip(targets.names, targets.classes, strict=True)
        }

    @property
    def classes_(self):
        """Class labels of the class tasks, dict."""
        targets = self._fitted("classes_").blueprint.targets
        return {
            name: classes
            for name, classes in zip(targets.names, targets.classes, strict=True)
            if classes is not None
        }

    @property
    def validation_prediction_(self):
        """Held-out numbers and class probabilities, dict."""
        losses = self.net_.module_.losses
        columns = losses.points(self._held_out_columns())
        return self.net_.blueprint.targets.by_name(columns)

    def predict(self, X, *, task=None):
        """Predict every task of every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.

        Returns
        -------
        y : DataFrame or ndarray of shape (n_samples, n_tasks)
            A frame of pandas or polars when fit was given one, with the index of X;
            numbers are means over members, classes the most probable ones.

        Raises
        ------
        ValueError
            If tasks are needed and not given, or unknown with
            ``unknown_task="error"``.
        """
        check_is_fitted(self, "net_")
        net, targets = self.net_, self.net_.blueprint.targets
        rows = self._rows(X, task)
        if targets.frame is None:
            return net.predict(rows)
        columns = targets.decode(net.module_.losses.points(net.columns(rows)))
        library = importlib.import_module(targets.frame)
        frame = library.DataFrame(dict(zip(targets.names, columns, strict=True)))
        index = getattr(X, "index", None)
        if targets.frame == "pandas" and index is not None and not callable(index):
            frame.index = index
        return frame

    @available_if(_has_classes)
    def predict_proba(self, X, *, task=None):
        """Predict class probabilities of the class tasks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.

        Returns
        -------
        proba : dict of str to ndarray of shape (n_samples, n_classes)
            By the name of the task, in the order of ``classes_``.

        Raises
        ------
        ValueError
            If tasks are needed and not given, or unknown with
            ``unknown_task="error"``.
        """
        check_is_fitted(self, "net_")
        net = self.net_
        columns = net.module_.losses.points(net.columns(self._rows(X, task)))
        by_name = net.blueprint.targets.by_name(columns)
        return {name: by_name[name] for name in self.classes_}

    def adapt(self, X, y, *, task_types="auto", sample_weight=None):
        """Fit heads for new tasks on the frozen networks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the new tasks, with the columns known from fit.
        y : array-like of shape (n_samples,) or (n_samples, n_new_tasks)
            Their labels; missing ones are left out.
        task_types : "auto", list or dict, default="auto"
            Types of the new columns. The rows of a new row task have the types known
            from fit.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        adapted : MixedTaskNet
            A new fitted estimator of the new tasks alone.

        Raises
        ------
        ValueError
            If the rows are of several row tasks, the type of a column is not clear, or
            the data is malformed.
        """
        return self._adapt(X, y, sample_weight, task_types)

    def score(self, X, y, *, task=None, sample_weight=None):
        """Average D2 over the tasks: 1 is perfect, 0 the best constant prediction.

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
            Mean over the columns of y of the share of the squared error (numbers) or
            of the log loss (classes) of the best constant prediction that is explained,
            on labelled cells.
        """
        scorer = get_scorer("d2")
        return scorer(self, X, y, task=task, sample_weight=sample_weight)
