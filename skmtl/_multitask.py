"""Multi-task networks for tables."""

import warnings

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from ._base import BaseTaskNet
from ._constraints import StrOptions
from ._tasks import check_sample_weight, label_columns, missing_cells, number_labels
from .loss import CrossEntropy, SquaredError


class MultiTaskNetRegressor(RegressorMixin, BaseTaskNet):
    """Predict several numbers from one table, with networks that share what they learn.

    Each column of y is a task, and labels may be missing in any pattern; or each row
    belongs to one of many tasks, named by a column of X. An ensemble of small networks
    is trained together as one bank, each stopping by another fold of held-out rows.

    Parameters
    ----------
    architecture : Architecture, default=None
        How tasks share. None is :class:`~skmtl.architecture.HardSharing`.
    weighting : Weighting, default=None
        How the tasks' gradients are combined. None is
        :class:`~skmtl.weighting.Equal`.
    encoding : Encoding, default=None
        From columns to inputs. None is :class:`~skmtl.encoding.Auto`.
    loss : {"squared_error"} or Loss, default="squared_error"
        Of each labelled cell, in units of the scaled target.
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
    cv : int, cross-validation generator or iterable, default=None
        Folds for early stopping: member k holds out fold k modulo their number. None
        is 8 folds balanced over row tasks and missing labels.
    early_stopping : bool, default=True
        Whether members hold out rows and keep their best epoch. If False, all rows are
        trained on for `max_epochs`.
    n_iter_no_change : int, default=40
        Epochs without a better validation loss before a member stops; None for never.
    lr : float, default=0.002
        Largest learning rate of AdamW; it falls along a cosine over `max_epochs`.
    weight_decay : float, default=0.01
        Decoupled weight decay.
    batch_size : "auto", int or None, default="auto"
        Rows of a batch at most; None for all. "auto" is 32 to 256, by the number of
        rows.
    max_epochs : int, default=200
        Passes over the rows at most.
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
    validation_prediction_ : ndarray in the shape of y
        Predictions of each row by the members that held it out, NaN where none did.
        The same rows chose the members' epochs, so scores of it are slightly
        optimistic.
    history_ : skorch.history.History
        Losses of every epoch, in all calls.
    estimators_ : list of MultiTaskNetRegressor
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
    MultiTaskNetClassifier : Tasks whose labels are classes.

    Notes
    -----
    The loss of a task is the weighted mean over its labelled cells, and the networks
    minimise the weighted mean over tasks. Integer sample weights equal repeated rows
    with ``batch_size=None, early_stopping=False``; otherwise weights are importances,
    because folds and batches are drawn over rows.

    ``warm_start=True`` and ``partial_fit`` keep encoders, target scales and classes of
    the first call; known columns, tasks and classes may be absent from the new data,
    others are refused. With the same `n_estimators` schedule and moments begin anew,
    the weights there are count as epoch 0, so that no member ends worse on its held-out
    rows, and while the number of rows is the same each member holds out the same ones,
    whatever `random_state` and `cv` are by then. Members added with a larger
    `n_estimators` come out as one fit of all would have made them.

    A fit that a ``Checkpoint(dirname=..., monitor=None)`` of skorch writes down goes on
    where it was killed when the same fit is run again with ``LoadInitState`` of that
    checkpoint among `skorch_callbacks` too, and ends where it would have ended. It
    needs an int as `random_state`. Callbacks that score come before the checkpoint,
    those that change learning rates behind ``LoadInitState``.

    References
    ----------
    .. [1] R. Caruana (1997). Multitask Learning. Machine Learning 28, 41-75.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_linnerud
    >>> from skmtl import MultiTaskNetRegressor
    >>> X, y = load_linnerud(return_X_y=True)
    >>> y[3, 0] = np.nan
    >>> model = MultiTaskNetRegressor(n_estimators=2, max_epochs=5, random_state=0)
    >>> model.fit(X, y).predict(X).shape
    (20, 3)
    """

    _kind = "number"
    _decode = "numbers"
    _parameter_constraints = {
        **BaseTaskNet._parameter_constraints,
        "loss": [StrOptions({"squared_error"}), SquaredError],
    }

    def __init__(
        self,
        architecture=None,
        weighting=None,
        encoding=None,
        loss="squared_error",
        *,
        task_column=None,
        unknown_task="pooled",
        task_weights=None,
        n_estimators=8,
        cv=None,
        early_stopping=True,
        n_iter_no_change=40,
        lr=0.002,
        weight_decay=0.01,
        batch_size="auto",
        max_epochs=200,
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
        self.task_column = task_column
        self.unknown_task = unknown_task
        self.task_weights = task_weights
        self.n_estimators = n_estimators
        self.cv = cv
        self.early_stopping = early_stopping
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
    def validation_prediction_(self):
        """Predictions of held-out rows, ndarray in the shape of y."""
        columns = self._held_out_columns()
        return self.net_.blueprint.targets.numbers(columns)

    def score(self, X, y, *, task=None, sample_weight=None):
        """Average the coefficients of determination of the tasks.

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
            Mean over the columns of y of R2 on labelled cells; with row tasks the rows
            of all tasks enter one R2. Columns with fewer than two labels are left out
            with one warning.
        """
        return _mean_score(
            self, X, y, task, sample_weight, number_labels, r2_score, min_labels=2
        )


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
        From columns to inputs. None is :class:`~skmtl.encoding.Auto`.
    loss : {"log_loss"} or Loss, default="log_loss"
        Of each labelled cell, in nats.
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
    cv : int, cross-validation generator or iterable, default=None
        Folds for early stopping: member k holds out fold k modulo their number. None
        is 8 folds balanced over row tasks, classes and missing labels.
    early_stopping : bool, default=True
        Whether members hold out rows and keep their best epoch. If False, all rows are
        trained on for `max_epochs`.
    n_iter_no_change : int, default=40
        Epochs without a better validation loss before a member stops; None for never.
    lr : float, default=0.002
        Largest learning rate of AdamW; it falls along a cosine over `max_epochs`.
    weight_decay : float, default=0.01
        Decoupled weight decay.
    batch_size : "auto", int or None, default="auto"
        Rows of a batch at most; None for all. "auto" is 32 to 256, by the number of
        rows.
    max_epochs : int, default=200
        Passes over the rows at most.
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
    validation_prediction_ : ndarray or list of ndarray
        Class probabilities of each row by the members that held it out, in the form of
        ``predict_proba``, NaN where none did. The same rows chose the members' epochs,
        so scores of it are slightly optimistic.
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
    weights, for `warm_start` and for fits that are killed and resumed.

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
        "loss": [StrOptions({"log_loss"}), CrossEntropy],
    }

    def __init__(
        self,
        architecture=None,
        weighting=None,
        encoding=None,
        loss="log_loss",
        *,
        task_column=None,
        unknown_task="pooled",
        task_weights=None,
        n_estimators=8,
        cv=None,
        early_stopping=True,
        n_iter_no_change=40,
        lr=0.002,
        weight_decay=0.01,
        batch_size="auto",
        max_epochs=200,
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
        self.task_column = task_column
        self.unknown_task = unknown_task
        self.task_weights = task_weights
        self.n_estimators = n_estimators
        self.cv = cv
        self.early_stopping = early_stopping
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
        return _mean_score(
            self, X, y, task, sample_weight, _as_they_are, _accuracy, min_labels=1
        )


def _as_they_are(name, column):
    """Leave labels as they are; accuracy compares them."""
    return column


def _accuracy(labels, predicted, sample_weight):
    """Compare labels of any type; one that fit did not see counts as wrong."""
    same = labels.astype(object) == predicted.astype(object)
    return np.average(same.astype(float), weights=sample_weight)


def _mean_score(estimator, X, y, task, sample_weight, read, metric, min_labels):
    if y is None:
        raise ValueError("score requires y to be passed, but the target y is None")
    names, columns, _ = label_columns(y)
    predicted = estimator.predict(X, task=task)
    if len(predicted) != len(columns[0]):
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"{[len(predicted), len(columns[0])]}"
        )
    predicted = predicted.reshape(len(predicted), -1)
    if predicted.shape[1] != len(columns):
        raise ValueError(
            f"y has {len(columns)} columns, but there are {predicted.shape[1]} tasks."
        )
    weight = check_sample_weight(sample_weight, len(predicted), len(columns), names)
    scores, left_out = [], []
    for j, (name, column) in enumerate(zip(names, columns, strict=True)):
        labels = read(name, column)
        used = ~missing_cells(labels) & (weight[:, j] > 0)
        if used.sum() < min_labels:
            left_out.append(name)
            continue
        scores.append(
            metric(
                labels[used],
                predicted[used, j],
                sample_weight=weight[used, j],
            )
        )
    if left_out:
        few = "no labels" if min_labels == 1 else f"fewer than {min_labels} labels"
        warnings.warn(
            f"{len(left_out)} task(s) have {few} and are left out of the score, the "
            f"first is {left_out[0]!r}.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
    return float(np.mean(scores)) if scores else float("nan")
