"""The road from arrays to a net that learns from episodes, and to adapted tasks."""

import copy
import warnings
from numbers import Integral

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from .._constraints import Interval
from .._fitting import FitsNetworks
from .._net import EpisodeSettings, EpisodicPlan, Hyperparameters, fit_episodes
from .._planning import PlansNetworks
from .._tasks import TaskPool, check_task_data
from ._adaptation import adapted_tasks
from ._known_tasks import KnownTasks
from ._prediction import TaskPredictor
from ._rows import rows_of_tasks

# Validations of a training; more would cost more than they choose.
_EPOCHS = 50
# Steps between two validations, each of which costs as much as a few steps.
_STEPS = (10, 500)
# Classes of an episode when nothing is said.
_MOST_WAYS = 20

_SHARED = (
    "architecture",
    "encoding",
    "task_column",
    "unknown_task",
    "n_estimators",
    "cv",
    "early_stopping",
    "lr",
    "weight_decay",
    "clip_norm",
    "device",
    "dtype",
    "skorch_callbacks",
    "random_state",
    "verbose",
)


class BaseMetaNet(FitsNetworks):
    """Fit a bank of networks to episodes; subclasses say how tasks are learned.

    Subclasses implement ``_learner``, and say whether the classes of a task are its own
    in ``_is_novel``.
    """

    weighting = None
    loss = None

    _parameter_constraints: dict = {
        **{name: PlansNetworks._parameter_constraints[name] for name in _SHARED},
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
        "n_support": [Interval(Integral, 0, None, closed="left"), tuple, list],
        "n_query": [Interval(Integral, 1, None, closed="left")],
        "n_way": [Interval(Integral, 2, None, closed="left"), None],
        "meta_batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "task_chunk_size": [Interval(Integral, 1, None, closed="left"), None],
    }

    def _learner(self):
        """Say how tasks are learned, a Learner."""
        raise NotImplementedError("abstract method")

    @property
    def _is_novel(self):
        """Whether each task has classes of its own."""
        return getattr(self, "n_way", None) is not None

    # -- fit ---------------------------------------------------------------------

    def _n_epochs(self):
        return -(-self.max_iter // self._n_iter_epoch())

    def _n_iter_epoch(self):
        return int(np.clip(self.max_iter // _EPOCHS, *_STEPS))

    def _learn(self, X, y, task, sample_weight, hook):
        low, high = self._support_range()
        data = check_task_data(self, X, y, task, sample_weight, kind=self._kind)
        self._check_columns(data)
        self._fit_encoder(data)
        random_state = self._random_state()
        pool = TaskPool.from_data(data, by_class=self._is_novel)
        settings = self._episode_settings(pool, low, high)
        plans = self._make_plans(data, pool, settings, random_state)
        net, training = fit_episodes(
            plans,
            data,
            pool,
            self._learner(),
            self._slots(data, settings),
            device=self.device,
            dtype=self.dtype,
            decode=self._decode,
            callbacks=self.skorch_callbacks,
            on_epoch=hook(data),
            verbose=self.verbose,
        )
        kept = self._surviving_members(training, net.interrupted_)
        self._warn_of_lost(training)
        n_epochs = len(training.weight_history)
        per_epoch = settings.n_iter_epoch
        vars(self).update(
            self._names(data)
            | {
                "net_": net if len(kept) == len(plans) else net.take(kept),
                "device_": str(net.device),
                "n_epochs_": n_epochs,
                "n_iter_": np.minimum(
                    training.best_epoch[kept] * per_epoch, self.max_iter
                ),
                "_known": KnownTasks(data, self._is_novel),
            }
        )
        self._finish(training)

    def _finish(self, training):
        """Learn what only the trained net can tell; by default nothing."""

    def _check_columns(self, data):
        """Refuse labels that the learner cannot take; by default none."""

    def _support_range(self):
        sizes = self.n_support
        sizes = (sizes, sizes) if isinstance(sizes, Integral) else tuple(sizes)
        if len(sizes) != 2:
            raise ValueError(self._wrong_support())
        low, high = sizes
        if not (isinstance(low, Integral) and isinstance(high, Integral)):
            raise ValueError(self._wrong_support())
        if not self._least_support <= low <= high:
            raise ValueError(self._wrong_support())
        return int(low), int(high)

    _least_support = 0

    def _wrong_support(self):
        return (
            f"The 'n_support' parameter of {type(self).__name__} must be an int of at "
            f"least {self._least_support}, or two of them, the least and the most "
            f"support rows. Got {self.n_support!r} instead."
        )

    def _episode_settings(self, pool, low, high):
        n_way = None
        if self._is_novel:
            n_way = self.n_way
            if n_way is None:
                n_way = min(pool.classes.shape[1], _MOST_WAYS)
        return EpisodeSettings(
            (low, high),
            self.n_query,
            n_way,
            self.meta_batch_size,
            self.max_iter,
            self._n_iter_epoch(),
            self.task_chunk_size,
        )

    def _slots(self, data, settings):
        """Say how many classes the heads tell apart, by label column of an entry."""
        if settings.n_way is not None:
            return [settings.n_way]
        classes = data.encoder.n_classes
        if data.row_tasks or len(classes) == 1:
            return classes
        # Columns share one head, whatever each one's classes are called.
        return [None if classes[0] is None else max(classes)]

    def _make_plans(self, data, pool, settings, random_state):
        folds = [(np.arange(len(pool)), None)]
        if self.early_stopping:
            n_way = settings.n_way if self._is_novel else None
            folds = pool.folds(self.cv, data, n_way, random_state)
        seeds = random_state.randint(np.iinfo(np.int32).max, size=self.n_estimators)
        choices = self._choices(data, pool, settings)
        fitted, plans = {}, []
        for k, seed in enumerate(seeds):
            fold = k % len(folds)
            train, valid = folds[fold]
            rows = np.unique(pool.rows[train])
            held_out = None if valid is None else np.unique(pool.rows[valid])
            plans.append(
                EpisodicPlan(
                    int(seed),
                    rows,
                    held_out,
                    self._encoder(data, fold, rows, fitted),
                    data.encoder,
                    choices,
                    train_entries=train,
                    valid_entries=valid,
                    episodes=settings,
                )
            )
        return plans

    def _choices(self, data, pool, settings):
        losses = self._losses(data)
        patience = None
        if self.early_stopping and self.n_iter_no_change is not None:
            patience = -(-self.n_iter_no_change // settings.n_iter_epoch)
        return Hyperparameters(
            self._strategy("architecture"),
            self._strategy("weighting"),
            losses if pool.column is None else losses[:1],
            np.ones(pool.n_columns),
            float(self.lr),
            float(self.weight_decay),
            self.meta_batch_size,
            self._network_clip_norm(),
            settings.n_epochs,
            patience,
        )

    def _network_clip_norm(self):
        """Largest norm of a network's gradient; None where the learner clips."""
        return self.clip_norm

    def _warn_of_lost(self, training):
        for k, (epoch, task) in training.lost.items():
            if k not in training.diverged:
                warnings.warn(
                    f"The loss of task {task!r} was not finite after adaptation, first "
                    f"in iteration {epoch * training.settings.n_iter_epoch} or shortly "
                    "before. Such tasks were left out of their steps; "
                    f"{self._remedy}.",
                    ConvergenceWarning,
                    stacklevel=7,
                )
                return

    def _names(self, data):
        return {
            "n_tasks_": len(data.task_names),
            "task_names_": np.array(data.task_names),
            "_reader": data.reader,
            "_adapted_to": None,
            "_is_adapted": False,
            "_adapt_options": {},
        }

    # -- predict -----------------------------------------------------------------

    def predict(self, X, *, task=None):
        """Predict every row by the model of its task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table. Categories that fit did not see count as no category.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_columns)
            In the shape of the y given to fit.

        Raises
        ------
        ValueError
            If tasks are needed and not given, or unknown with
            ``unknown_task="error"``.
        FloatingPointError
            If the adaptation to a task gives no finite numbers.

        Notes
        -----
        The models are computed anew from the rows of the tasks that X names. A task
        that is not known is predicted by the meta-model, with one warning a call.
        """
        columns, _ = self._columns(X, task)
        return getattr(self._known.data.encoder, self._decode)(columns)

    def _columns(self, X, task, want_variance=False):
        """Predict the label columns, for the methods of TaskEncoder."""
        check_is_fitted(self, "net_")
        known = self._known
        table, codes = self._rows(X, task)
        predictor = TaskPredictor(
            self.net_, known, self.task_chunk_size, self._adapt_options, want_variance
        )
        self._check_ways(known, codes)
        if known.by_column:
            columns, variances = predictor.predict_all(table)
            names = known.pool.names
        else:
            predictions, variances = predictor.predict(table, codes)
            self._check_finite_rows(predictions, codes)
            if known.novel:
                columns = [predictions]
            else:
                columns = self.net_.module_.losses.split(predictions)
        if known.by_column:
            for name, column in zip(names, columns, strict=True):
                self._check_finite(name, column)
            variances = np.concatenate(variances, 1) if want_variance else None
        if not known.novel:
            columns = self._points(columns)
        return columns, variances

    def _points(self, columns):
        """Keep the predictions that ``predict`` reports."""
        losses = self.net_.module_.losses
        if not self._known.by_column:
            return losses.points(columns)
        return [losses.points([column])[0] for column in columns]

    def _check_ways(self, known, codes):
        """Refuse tasks with more classes than the head has slots; by default none."""

    def _check_finite_rows(self, predictions, codes):
        lost = ~np.isfinite(predictions).all(axis=1)
        if lost.any():
            code = codes[np.flatnonzero(lost)[0]]
            names = self._known.pool.names
            self._check_finite(names[code] if code >= 0 else "unknown", np.nan)

    def _check_finite(self, name, predictions):
        if not np.isfinite(predictions).all():
            raise FloatingPointError(
                f"The adaptation of {type(self).__name__} to task {name!r} gives no "
                f"finite numbers. To mend it, {self._remedy}."
            )

    def _rows(self, X, task):
        """Check rows, and find the position of each row's task, -1 for unknown."""
        return rows_of_tasks(self, X, task)

    # -- adapt -------------------------------------------------------------------

    def adapt(self, X, y, *, task=None, sample_weight=None):
        """Learn new tasks from a few rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the new task, with the columns known from fit. The task column may
            be left out, for one task.
        y : array-like of shape (n_samples,) or (n_samples, n_columns)
            Their labels; missing ones are left out.
        task : array-like of shape (n_samples,), optional
            The task of each row, for several tasks at once.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        adapted : estimator
            A new fitted estimator of the new tasks alone. With one task it takes X
            alone; with several, ids as fit did.

        Raises
        ------
        ValueError
            If the data is malformed, or has no label.

        Notes
        -----
        The estimator it is called on is unchanged; both share the trained net. Only the
        rows given here count: to update a task that was in fit, pass its rows of fit
        along. Adapting an adapted estimator adds the rows to those it has, and is the
        same as adapting once to all of them.
        """
        return self._adapt(X, y, task, sample_weight, {})

    def _adapt(self, X, y, task, sample_weight, options):
        check_is_fitted(self, "net_")
        adapted = copy.copy(self)
        data, adapted_to = adapted_tasks(self, X, y, task, sample_weight)
        adapted._known = KnownTasks(data, self._is_novel, self._known.by_column)
        adapted._adapted_to = adapted_to
        adapted._is_adapted = True
        adapted._adapt_options = self._adapt_options | options
        adapted.n_tasks_ = len(data.task_names)
        adapted.task_names_ = np.array(data.task_names)
        adapted._check_ways(adapted._known, np.array([0]))
        return adapted
