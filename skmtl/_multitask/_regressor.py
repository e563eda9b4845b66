"""The estimator of tasks whose labels are numbers."""

from numbers import Real

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from .._base import BaseTaskNet
from .._constraints import HasMethods, Interval, StrOptions
from .._net import RowsDataset
from .._tasks import validation_folds
from .._uncertainty import Calibration, member_variance, noise_variance
from ..loss import Loss, Quantile, aliases
from ..metrics import get_scorer


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
        From columns to inputs. None is :class:`~skmtl.encoding.Auto`, or
        :class:`~skmtl.encoding.Raw` for a TorchModule.
    loss : str, Loss, list or dict, default="squared_error"
        Of each labelled cell: "squared_error", "absolute_error", "huber", "poisson",
        "gamma", "quantile" or an object of :mod:`skmtl.loss`; one for all tasks, a
        list with one a task, or a dict by name.
    target_transform : {"log1p", "quantile"}, transformer, list or dict, default=None
        What the networks learn instead of the label: ``log(1 + y)``, the normal scores
        of y, or what a transformer with ``inverse_transform`` makes of it; for all
        tasks, one a task, or by name. Predictions are transformed back.
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
        row is held out by a member, and none for row tasks, with ``warm_start``, or for
        losses that do not predict means. See the notes.
    n_iter_no_change : "auto", int or None, default="auto"
        Epochs without a better validation loss before a member stops; None for never.
        "auto" is a fifth of `max_epochs`, and at least 8.
    lr : float, default=0.004
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
    calibration_size : float, default=None
        Share of the rows, in (0, 0.5], that no network sees; ``predict_interval``
        measures its intervals on them. It is rounded to one part in a whole number.
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
    validation_prediction_ : ndarray in the shape of y
        Predictions of each row by the members that held it out, NaN where none did.
        The same rows chose the members' epochs and had a part in the correction by
        near rows, so scores of it are slightly optimistic.
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

    Predictions are corrected by regression kriging (Hengl et al. 2007) from the nearest
    rows (Vecchia 1988): what the networks got wrong in rows they held out is a Gaussian
    process with an exponential covariance, whose distances have a relevance for each
    input, and the conditional mean at a row is added. Half of the rows chooses the
    covariance, by neighbours that the network of a row was trained on, and nothing is
    added to a column where the loss of the other half does not fall by more than a
    standard error. If new rows are of groups or times that are not in X, pass folds in
    `cv` that keep those together, or set ``n_neighbors=None``. Predictions of training
    rows are close to their labels, and the estimator keeps up to 20,000 of those rows.

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
    .. [2] J. Lei, M. G'Sell, A. Rinaldo, R. Tibshirani, L. Wasserman (2018).
       Distribution-Free Predictive Inference for Regression. JASA 113, 1094-1111.
    .. [3] T. Hengl, G. B. M. Heuvelink, D. G. Rossiter (2007). About
       Regression-Kriging: From Equations to Case Studies. Computers & Geosciences 33,
       1301-1315.
    .. [4] A. V. Vecchia (1988). Estimation and Model Identification for Continuous
       Spatial Processes. Journal of the Royal Statistical Society B 50, 297-312.

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
        "loss": [
            StrOptions(aliases("number")),
            Loss,
            list,
            tuple,
            dict,
        ],
        "target_transform": [
            StrOptions({"log1p", "quantile"}),
            HasMethods("inverse_transform"),
            list,
            tuple,
            dict,
            None,
        ],
        "max_features": [
            StrOptions({"auto"}),
            Interval(Real, 0, 1, closed="right"),
        ],
        "calibration_size": [Interval(Real, 0, 0.5, closed="right"), None],
    }

    def __init__(
        self,
        architecture=None,
        weighting=None,
        encoding=None,
        loss="squared_error",
        *,
        target_transform=None,
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
        lr=0.004,
        weight_decay=0.01,
        batch_size="auto",
        max_epochs="auto",
        clip_norm=None,
        calibration_size=None,
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
        self.target_transform = target_transform
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
        self.calibration_size = calibration_size
        self.device = device
        self.dtype = dtype
        self.skorch_callbacks = skorch_callbacks
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    @property
    def validation_prediction_(self):
        """Predictions of held-out rows, ndarray in the shape of y."""
        columns = self.net_.module_.losses.points(self._held_out_columns())
        return self.net_.blueprint.targets.numbers(columns)

    def predict(self, X, *, task=None, return_std=False):
        """Predict every task of every row, or the row's own task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.
        return_std : bool, default=False
            Whether to return standard deviations, too.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_tasks)
            Means over members, in the shape of the y given to fit.
        std : ndarray of the shape of y
            Standard deviation of a label around its prediction, in units of the label:
            the spread of held-out errors, larger where the members disagree more than
            they usually do. Only if ``return_std`` is True.

        Raises
        ------
        ValueError
            If tasks are needed and not given, or unknown with
            ``unknown_task="error"``; if standard deviations are asked for and no rows
            were held out.
        """
        check_is_fitted(self, "net_")
        rows = self._rows(X, task)
        y = self.net_.predict(rows)
        if not return_std:
            return y
        if self._noise is None:
            raise ValueError(
                f"{type(self).__name__} measures standard deviations on held-out rows, "
                "and it has none: it was fitted with early_stopping=False, or is "
                "adapted or a member."
            )
        variance = self._noise + member_variance(self.net_, rows)
        return y, np.sqrt(variance).reshape(y.shape)

    def predict_interval(self, X, coverage=0.9, *, task=None):
        """Predict intervals that hold the label with a given probability.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        coverage : float, default=0.9
            Share of labels that the intervals are to hold, in (0, 1).
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2) or (n_samples, n_tasks, 2)
            Lower and upper ends, in units of the labels.

        Raises
        ------
        ValueError
            If fit set no rows aside (``calibration_size``), or the coverage is not
            between 0 and 1.

        Notes
        -----
        Split-conformal: the half width is a quantile of the absolute errors on the
        rows set aside, by task. On rows like these it covers at least the share asked
        for, whatever the networks have learned (Lei et al. 2018, algorithm 2). A row
        task with few such rows takes the errors of all tasks.
        """
        check_is_fitted(self, "net_")
        if not 0 < coverage < 1:
            raise ValueError(f"coverage={coverage!r} must be between 0 and 1.")
        if self._calibration is None:
            raise ValueError(
                f"{type(self).__name__} has set no rows aside to measure intervals "
                "on. Fit it with calibration_size=0.2; an adapted estimator or a "
                "member has none."
            )
        rows = self._rows(X, task)
        y = self.net_.predict(rows)
        half = self._calibration.half_width(coverage, rows.task)
        half = np.broadcast_to(half, (len(y), half.shape[1])).reshape(y.shape)
        return np.stack([y - half, y + half], axis=-1)

    def predict_quantiles(self, X, *, task=None):
        """Predict all levels of ``loss=Quantile([...])``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.

        Returns
        -------
        quantiles : ndarray of shape (n_samples, n_levels) or (n_samples, n_tasks, \
                n_levels)
            In units of the labels, ascending.

        Raises
        ------
        ValueError
            If a task has another loss, or the tasks' numbers of levels differ.
        """
        check_is_fitted(self, "net_")
        losses = self.net_.blueprint.losses
        if not all(isinstance(loss, Quantile) for loss in losses):
            raise ValueError(
                "predict_quantiles needs loss=Quantile(...) for every task; got "
                f"{sorted({type(loss).__name__ for loss in losses})}."
            )
        columns = self.net_.columns(self._rows(X, task))
        if len({column.shape[1] for column in columns}) > 1:
            raise ValueError(
                "The tasks have different numbers of quantile levels: "
                f"{[column.shape[1] for column in columns]}. Give them equally many."
            )
        targets = self.net_.blueprint.targets
        columns = [targets.rescale(j, column) for j, column in enumerate(columns)]
        return columns[0] if targets.ndim == 1 else np.stack(columns, axis=1)

    def _set_aside(self, data, random_state):
        if self.calibration_size is None:
            return data, None
        n_parts = round(1 / self.calibration_size)
        rest, aside = validation_folds(n_parts, data, random_state)[0]
        return data.take(rest), data.take(aside)

    def _calibrate(self, data, calibration):
        targets = self.net_.blueprint.targets
        self._noise = self._calibration = None
        if self._held_out is not None:
            numbers = self.validation_prediction_.reshape(data.n_samples, -1)
            errors = data.y - numbers[data.rows]
            rows = RowsDataset(data.X, data.task)
            self._noise = noise_variance(self.net_, rows, errors)
        if calibration is not None:
            rows = RowsDataset(calibration.X, calibration.task)
            errors = calibration.y - targets.numbers(
                self.net_.module_.losses.points(self.net_.columns(rows))
            ).reshape(len(rows), -1)
            self._calibration = Calibration(
                np.abs(errors), calibration.task, data.column_names
            )

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
        scorer = get_scorer("r2")
        return scorer(self, X, y, task=task, sample_weight=sample_weight)
