"""The one road from arrays to a fitted net."""

import copy
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._adaptation import adapted_net
from ._encoder_fit import fitted_places
from ._fitting import FitsNetworks
from ._incremental import TrainsOn
from ._members import Members
from ._net import RowsDataset, fit_bank, krige, settle_guard
from ._planning import MOST_EPOCHS
from ._tasks import (
    TaskData,
    check_rows,
    check_task_data,
    fill_task_column,
    lacks_task_column,
    without_task_column,
)
from ._views import task_view


class Prepared(NamedTuple):
    """What a fit knows before any network is trained.

    Parameters
    ----------
    data : TaskData
        What the networks train on.
    members : Members
        Who they are.
    calibration : TaskData or None
        Rows that no network sees.
    """

    data: TaskData
    members: Members
    calibration: TaskData | None


class BaseTaskNet(TrainsOn, FitsNetworks):
    """Fit a bank of networks to tasks; subclasses say what labels are."""

    _fusable = (
        "task_weights",
        "lr",
        "weight_decay",
        "class_weight",
        "clip_norm",
        "max_epochs",
        "n_iter_no_change",
        "n_neighbors",
        "random_state",
    )

    # -- fit ---------------------------------------------------------------------

    def _n_epochs(self):
        return MOST_EPOCHS if self.max_epochs == "auto" else self.max_epochs

    def _learn(self, X, y, task, sample_weight, hook):
        calibration = None
        if self.warm_start and self.__sklearn_is_fitted__():
            data = self._fit_more(X, y, task, sample_weight, hook)
        else:
            data = check_task_data(self, X, y, task, sample_weight, kind=self._kind)
            work = self._prepare(data)
            data, calibration = work.data, work.calibration
            plans = self._make_plans(data, work.members)
            found = self._trained(plans, data, work.members, on_epoch=hook(data))
            vars(self).update(self._names(data) | found)
        self._calibrate(data, calibration)

    def _prepare(self, data):
        """Decide who the members are, and what they see of checked data."""
        random_state = self._random_state()
        data, calibration = self._set_aside(data, random_state)
        self._fit_encoder(data)
        members = self._draw_members(data, self.early_stopping, random_state)
        return Prepared(data, members, calibration)

    def _take_over(self, net, training, work):
        """Become fitted by networks that were trained in a larger bank."""
        found = self._found(net, training, work.data, work.members)
        vars(self).update(self._names(work.data) | found)
        self._calibrate(work.data, work.calibration)

    def _set_aside(self, data, random_state):
        """Split off rows that no network sees; by default none."""
        return data, None

    def _calibrate(self, data, calibration):
        """Learn from rows and predictions that no network was trained on."""

    def _names(self, data):
        return {
            "n_tasks_": len(data.task_names),
            "task_names_": np.array(data.task_names),
            "_reader": data.reader,
            "_encoded_by": repr(self._strategy("encoding")),
            "_adapted_to": None,
            "_task_codes": {n: i for i, n in enumerate(data.task_names)}
            if data.row_tasks
            else None,
        }

    def _trained(self, plans, data, members, *, keep_moments=False, **kwargs):
        """Train the networks of some plans, and give the fitted attributes."""
        kwargs = {"callbacks": self.skorch_callbacks} | kwargs
        net, training = fit_bank(
            plans,
            data,
            device=self.device,
            dtype=self.dtype,
            decode=self._decode,
            verbose=self.verbose,
            **kwargs,
        )
        return self._found(net, training, data, members, keep_moments)

    def _found(self, net, training, data, members, keep_moments=False):
        verdict = None
        if len(training.plans) > len(members.numbers):
            net, training, verdict = settle_guard(net, training, data)
        kept = self._surviving_members(training, net.interrupted_)
        found = {
            "net_": net if len(kept) == len(training.plans) else net.take(kept),
            "device_": str(net.device),
            "n_epochs_": len(training.weight_history),
            "n_iter_": training.best_epoch[kept],
            "loss_weights_": np.stack(training.weight_history)[:, kept],
            "_conflict": list(training.conflict_history),
            "_members": members.take(kept),
            "_moments": training.optimizer.moments(kept) if keep_moments else None,
            "_held_out": None,
            "_transfer": None,
            "_guard_shares": None,
            "_corrected": None,
            "_neighbor_gain": np.zeros(len(data.column_names)),
        }
        if self.guard:
            found["_transfer"], found["_guard_shares"] = np.array([np.nan]), np.zeros(1)
            if verdict is not None:  # a single task has nothing to share
                found["_transfer"] = verdict.transfer
                found["_guard_shares"] = verdict.shares
        if training.validates:
            held_out = training.held_out_predictions()
            found["_held_out"] = _of_samples(held_out, data)
            plans = [training.plans[k] for k in kept]
            n_neighbors = self._neighbors(plans, data)
            if n_neighbors is not None:
                losses, places = found["net_"].module_.losses, fitted_places(data)
                fit = krige(plans, data, losses, held_out, places, n_neighbors)
                found["net_"].kriging = fit.kriging
                found["_corrected"] = _of_samples(fit.held_out, data)
                found["_neighbor_gain"] = fit.gain
        return found

    # -- predict -----------------------------------------------------------------

    def predict(self, X, *, task=None):
        """Predict every task of every row, or the row's own task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table. Categories that fit did not see count as no category.
        task : array-like of shape (n_samples,), optional
            The task of each row, when fit was given ``task``.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_tasks)
            In the shape of the y given to fit.

        Raises
        ------
        ValueError
            If tasks are needed and not given, or unknown with
            ``unknown_task="error"``.
        """
        check_is_fitted(self, "net_")
        return self.net_.predict(self._rows(X, task))

    def _rows(self, X, task):
        if self._adapted_to is not None and lacks_task_column(self, X):
            X = fill_task_column(self, X, self._adapted_to)
        table, ids = check_rows(self, X, task)
        if self._task_codes is None:
            self._warn_of_other_tasks(ids)
            if task is not None:
                raise ValueError(
                    f"This {type(self).__name__} was fitted without row tasks, but "
                    "predict got task. Fit it with task or task_column, or leave task "
                    "out."
                )
            return RowsDataset(table)
        if ids is None:
            raise ValueError(
                f"This {type(self).__name__} was fitted with row tasks, and predict "
                "needs the task of each row. Pass task=..., or, so that every tool of "
                "scikit-learn works, put the ids into a column of X and name it by "
                "task_column."
            )
        return RowsDataset(table, self._codes_of(ids))

    def _warn_of_other_tasks(self, ids):
        own = self._adapted_to
        if own is None or ids is None:
            return
        others = sorted({str(i) for i in ids.tolist() if i != own})
        if others:
            warnings.warn(
                f"This {type(self).__name__} is adapted to task {own!r}, and X has "
                f"rows of others, such as {others[0]!r}. They are predicted as {own!r}"
                "; use the estimator it was adapted from for them.",
                UserWarning,
                stacklevel=4,
            )

    def _codes_of(self, ids):
        unknown, known = self.n_tasks_, self._known_codes()
        codes = np.array([known.get(i, unknown) for i in ids.tolist()])
        if (codes == unknown).any():
            names = sorted({str(i) for i in ids[codes == unknown].tolist()})
            found = f"{len(names)} task{'s' * (len(names) > 1)} that fit did not see: "
            found += ", ".join(names[:5])
            found += ", ..." if len(names) > 5 else ""
            if self.unknown_task == "error":
                raise ValueError(
                    f"X has {found}. Use unknown_task='pooled' to predict them by the "
                    "shared head, or adapt to them."
                )
            warnings.warn(
                f"X has {found}. They are predicted by the shared head.",
                UserWarning,
                stacklevel=4,
            )
        return codes

    def _known_codes(self):
        """Number the tasks of fit, and those that only the architecture knows."""
        names = list(self._task_codes)
        others = self.net_.blueprint.architecture.described_tasks(names)
        numbers = {n: self.n_tasks_ + 1 + i for i, n in enumerate(others)}
        return self._task_codes | numbers if numbers else self._task_codes

    # -- adapt -------------------------------------------------------------------

    def adapt(self, X, y, *, sample_weight=None):
        """Fit a head for a new task on the frozen networks.

        Column tasks: y is a new column, and its head is a ridge or logistic regression
        on what the networks know of X. Row tasks: the rows are of one new group, and
        the head is the shared head plus a deviation shrunk as in training.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the new task, with the columns known from fit.
        y : array-like of shape (n_samples,) or (n_samples, n_new_tasks)
            Their labels; missing ones are left out.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        adapted : estimator
            A new fitted estimator of the new task alone; it takes no task. A clone of
            it is an ordinary unfitted estimator.

        Raises
        ------
        ValueError
            If the rows are of several row tasks, or the data is malformed.

        Notes
        -----
        The estimator it is called on is unchanged. Features are computed in float64.
        ``history_``, ``n_iter_`` and ``loss_weights_`` of the result tell of the
        training of its body. A new row task needs a handful of rows; the head of a new
        column starts from nothing and wants ten or twenty, or more where it hangs on
        columns of X that tell nothing about the known ones: fit those with
        ``relevance=None``.
        """
        return self._adapt(X, y, sample_weight)

    def _adapt(self, X, y, sample_weight, task_types="auto"):
        check_is_fitted(self, "net_")
        adapted = copy.copy(self)
        table, ids = check_rows(self, X)
        row_tasks = self._task_codes is not None
        if row_tasks and ids is not None and len(set(ids.tolist())) > 1:
            raise ValueError(
                f"adapt got rows of {len(set(ids.tolist()))} tasks; pass the rows of "
                "one new task a call."
            )
        name = ids.tolist()[0] if row_tasks and ids is not None else None
        code = None if name is None else self._known_codes().get(name)
        net, names = adapted_net(
            self.net_, table, y, sample_weight, self._kind, task_types, code
        )
        if name is not None:
            names = [name]
        adapted.net_ = net
        adapted.n_tasks_ = len(names)
        adapted.task_names_ = np.array(names)
        adapted._task_codes = None
        adapted._adapted_to = name
        adapted._held_out = adapted._noise = adapted._calibration = None
        adapted._members = adapted._moments = None
        adapted._transfer = adapted._guard_shares = None
        adapted._corrected = adapted._neighbor_gain = None
        return adapted

    def for_task(self, name):
        """Show one task as a fitted estimator of a single output.

        Partial dependence, calibration, stacking and the displays of scikit-learn ask
        for one output, and take the view where they do not take the estimator.

        Parameters
        ----------
        name : object
            One of ``task_names_``.

        Returns
        -------
        view : classifier or regressor
            By what the labels of the task are. It shares ``net_`` and has ``predict``
            and ``score``, of a classifier also ``predict_proba``,
            ``decision_function`` and ``classes_``. It takes X and no task: for row
            tasks all rows are of this one, and the task column may be there, with ids
            that are not read, or left out, as it is from its ``n_features_in_``.

        Raises
        ------
        ValueError
            If there is no such task, or row tasks have several columns of y.

        Notes
        -----
        A view cannot be fitted, and a clone of it is not fitted. Where scikit-learn
        clones and fits, as in ``CalibratedClassifierCV``, pass
        ``FrozenEstimator(view)``. Fitting the estimator again leaves its views as they
        are.
        """
        check_is_fitted(self, "net_")
        return task_view(copy.copy(self), name)

    # -- what was learned --------------------------------------------------------

    @property
    def weighting_(self):
        """The fitted weighting, WeightingModule."""
        return self._fitted("weighting_").module_.weighting

    @property
    def estimators_(self):
        """The members as estimators of one network each, list."""
        net = self._fitted("estimators_")
        members = []
        for k in range(len(self.n_iter_)):
            member = copy.copy(self)
            member.n_estimators = 1
            member.net_ = net.take([k])
            member.n_iter_ = self.n_iter_[[k]]
            member.loss_weights_ = self.loss_weights_[:, [k]]
            if self._members is not None:
                member._members = self._members.alone(k)
            member._moments = None
            member._held_out = member._noise = member._calibration = None
            member._corrected = member._neighbor_gain = None
            members.append(member)
        return members

    @property
    def gradient_conflict_(self):
        """Mean cosines between the tasks' gradients, by epoch.

        ndarray of shape (`n_epochs_`, `n_tasks_`, `n_tasks_`). Means over batches and
        members, where the weighting compares gradients; NaN for tasks that never met in
        a batch. Only after a fit with a weighting that looks at gradients.
        """
        self._fitted("gradient_conflict_")
        if not self._conflict:
            raise AttributeError(
                f"{type(self).__name__} has 'gradient_conflict_' only after a fit with "
                "a weighting that looks at gradients, such as "
                "skmtl.weighting.PCGrad()."
            )
        return np.stack(self._conflict)

    @property
    def transfer_(self):
        """How much sharing spares each task, ndarray of shape (`n_tasks_`,).

        Share of the held-out loss of networks of the task alone that the shared ones
        spare it; negative where sharing hurts, NaN where nothing was compared: for a
        task that is alone, has a single class or no held-out labels. Only after a fit
        with ``guard=True``.
        """
        return self._of_guard("_transfer", "transfer_")

    @property
    def guard_shares_(self):
        """Share of a task's own networks in its predictions, ndarray of (`n_tasks_`,).

        0 where the task is predicted by the shared networks alone. Only after a fit
        with ``guard=True``.
        """
        return self._of_guard("_guard_shares", "guard_shares_")

    @property
    def relevance_(self):
        """How large the inputs of each column of X are, ndarray of (`n_features_in_`,).

        Means over the members of a factor on the inputs, whose mean square over the
        columns that a member reads is 1, learned inputs aside; NaN for columns that
        nobody reads. A column counts as 0 for members that do not see it.
        """
        sizes = self._by_column("relevance_", np.maximum, lambda encoder: encoder.size)
        return np.where(sizes > 0, sizes, np.nan)

    @property
    def stumps_(self):
        """How many inputs step in each column of X, ndarray of (`n_features_in_`,).

        Means over the members; 0 everywhere where steps do not pay.
        """
        return self._by_column(
            "stumps_", np.add, lambda encoder: encoder.kind == encoder.STEP
        )

    def _by_column(self, name, ufunc, of_inputs):
        """Reduce something of inputs to one number a column of X, mean over members."""
        self._fitted(name)
        shape = self._input_shape or (self.n_features_in_,)
        names = np.arange(np.prod(shape))
        if len(shape) == 1:
            names = without_task_column(self, names).astype(int)
        encoders = self._known_encoders()
        found = np.zeros((len(encoders), np.prod(shape)))
        for own, encoder in zip(found, encoders, strict=True):
            ufunc.at(own, names[encoder.source], of_inputs(encoder))
        return found.mean(axis=0).reshape(shape)

    @property
    def neighbor_gain_(self):
        """What near rows spare each column of y, ndarray of shape (n_columns,).

        Share of the held-out loss that is spared by adding what near training rows were
        mispredicted by; 0 where nothing is added.
        """
        if getattr(self, "_neighbor_gain", None) is None:
            raise AttributeError(
                f"{type(self).__name__} has 'neighbor_gain_' only after a fit, and "
                "not when it is adapted or a member."
            )
        return self._neighbor_gain

    def _of_guard(self, name, public):
        if vars(self).get(name) is None:
            raise AttributeError(
                f"{type(self).__name__} has {public!r} only after a fit with "
                "guard=True, and not when it is adapted."
            )
        return vars(self)[name]

    def _held_out_columns(self):
        if getattr(self, "_held_out", None) is None:
            raise AttributeError(
                f"{type(self).__name__} has 'validation_prediction_' only after a fit "
                "with early_stopping=True, and not when it is adapted or a member."
            )
        held_out = self._held_out if self._corrected is None else self._corrected
        return self.net_.module_.losses.split(held_out)


def _of_samples(predictions, data):
    """Put predictions of the rows in training where these stood in X."""
    full = np.full((data.n_samples, predictions.shape[1]), np.nan)
    full[data.rows] = predictions
    return full
