"""Training on: warm starts, and one pass at a time."""

import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from ._net import joined_history
from ._tasks import (
    TaskEncoder,
    check_more_data,
    given_classes,
    given_classes_by_name,
    label_columns,
    target_transforms,
)


class TrainsOn:
    """Go on from the networks that an estimator has.

    The estimator says how networks are planned (``_draw_members``, ``_make_plans``),
    how they are trained (``_trained``), and what its labels are (``_kind``).
    """

    def partial_fit(self, X, y, *, classes=None, task=None, sample_weight=None):
        """Take one pass over some rows with every member.

        All rows are trained on, with the constant learning rate `lr`; nothing is held
        out. The moments of the optimizer are kept from call to call, also in a pickle.
        After ``fit`` it goes on from the fitted weights, with new moments.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Labels.
        classes : array-like of shape (n_classes,), list of them or dict, optional
            All classes there will be; one array a column when y has two dimensions,
            and a dict by task name for a MixedTaskNet. Needed in the first call for
            tasks of classes, when ``fit`` was not called.
        task : array-like of shape (n_samples,), optional
            The task of each row, for row tasks.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
                optional
            Weight of each row, or of each cell of y.

        Returns
        -------
        self : estimator
            Fitted.

        Raises
        ------
        ValueError
            If the data is malformed, or has columns, tasks or classes that the first
            call did not have. The estimator is then as it was before the call.
        FloatingPointError
            If the losses of all members diverge.

        Notes
        -----
        The first call fits encoders and target scales to its rows, and they stay: let
        its rows be representative, or call ``fit`` first. It also has to hold every
        task; later calls may leave tasks out. Callbacks, of scikit-learn or skorch, are
        not called, and there is no ``validation_prediction_`` afterwards.
        """
        self._validate_params()
        with unchanged_by_errors(self):
            if self.__sklearn_is_fitted__():
                self._check_goes_on("partial_fit")
                self._check_same_classes(classes, y)
                data = self._more_data(X, y, task, sample_weight)
                members = self._members.without_folds().trained_on()
                plans = self._make_plans(
                    data, members, self._known_encoders(), goes_on=True
                )
                found = self._passed(plans, data, members, self.net_, self._moments)
                found = self._accumulated(found)
            else:
                self._check_sets_nothing_aside("partial_fit")
                if self.guard:
                    raise ValueError(
                        "partial_fit holds no rows out, and a guard compares networks "
                        "on such rows. Set guard=False."
                    )
                encoder = self._first_encoder(classes, y)
                data = check_more_data(self, X, y, task, sample_weight, encoder=encoder)
                self._fit_encoder(data)
                members = self._draw_members(data, early_stopping=False)
                # What a column tells in the first rows may not be what it tells later.
                plans = self._make_plans(data, members, weighs_columns=False)
                found = self._names(data) | self._passed(plans, data, members)
            vars(self).update(found | {"_noise": None, "_calibration": None})
        return self

    def _passed(self, plans, data, members, start=None, moments=None):
        # A schedule of one epoch consists of its first, full learning rate.
        plans = [
            replace(
                plan,
                hyperparameters=replace(
                    plan.hyperparameters, max_epochs=1, n_iter_no_change=None
                ),
            )
            for plan in plans
        ]
        return self._trained(
            plans,
            data,
            members,
            keep_moments=True,
            callbacks=None,
            start=start,
            moments=moments,
        )

    def _first_encoder(self, classes, y):
        if self._kind == "number":
            names, _, ndim = label_columns(y)
            return TaskEncoder(names, [None] * len(names), ndim)
        if classes is None and self._kind == "class":
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return self._encoder_of(classes, y)

    def _encoder_of(self, classes, y):
        if self._kind == "mixed":
            return given_classes_by_name(classes, y, self.task_types)
        return given_classes(classes, y)

    def _check_same_classes(self, classes, y):
        if classes is None or self._kind == "number":
            return
        known = self.net_.blueprint.targets.classes
        given = self._encoder_of(classes, y).classes
        if len(given) != len(known) or not all(map(np.array_equal, given, known)):
            raise ValueError(
                f"classes={classes!r} is not the same as on last call to partial_fit, "
                f"was: {[None if c is None else c.tolist() for c in known]}"
            )

    # -- warm starts -------------------------------------------------------------

    def _fit_more(self, X, y, task, sample_weight, hook):
        """Fit on from the members there are, and give the data."""
        self._check_goes_on("fit with warm_start=True")
        n_before = self._members.n_members
        if self.n_estimators < n_before:
            raise ValueError(
                f"n_estimators={self.n_estimators} is smaller than the {n_before} "
                "members of the fit before, and warm_start=True only adds to them. "
                "Take some of estimators_, or fit with warm_start=False."
            )
        data = self._more_data(X, y, task, sample_weight)
        before = self._with_folds_for(data)
        if self.n_estimators == n_before:
            found = self._train_on(data, before.trained_on(), hook(data))
        else:
            found = self._add(data, before, hook(data))
        vars(self).update(found)
        return data

    def _train_on(self, data, members, on_epoch):
        encoders = self._known_encoders()
        plans = self._make_plans(data, members, encoders, goes_on=True)
        found = self._trained(plans, data, members, on_epoch=on_epoch, start=self.net_)
        return self._accumulated(found)

    def _accumulated(self, found):
        """Put what was there before in front of what the same members did now."""
        kept = np.isin(self._members.numbers, found["_members"].numbers)
        weights = [self.loss_weights_[:, kept], found["loss_weights_"]]
        net = found["net_"]
        net.history = joined_history([self.net_.history, net.history])
        return found | {
            "n_epochs_": self.n_epochs_ + found["n_epochs_"],
            "n_iter_": self.n_iter_[kept] + found["n_iter_"],
            "loss_weights_": np.concatenate(weights),
            "_conflict": self._conflict + found["_conflict"],
        }

    def _add(self, data, before, on_epoch):
        n_new = self.n_estimators - before.n_members
        new = before.added(n_new)
        # Members of one fold have one encoder, as in a fit of all of them, unless each
        # has columns of its own.
        known = {}
        share = before.column_share
        own = self._drawn_columns(share, data, new.seeds[0]) is not None
        if before.folds is self._members.folds and not own:
            known = dict(zip(before.fold_numbers, self._known_encoders(), strict=True))
        if self._strategy("architecture").reads_raw:
            known = dict.fromkeys(new.fold_numbers, self._known_encoders()[0])
        encoders = [known.get(fold) for fold in new.fold_numbers]
        plans = self._make_plans(data, new, encoders, goes_on=True)
        self.net_.blueprint.with_settings(plans, self.dtype)  # or they cannot be joined
        found = self._trained(plans, data, new, on_epoch=on_epoch)
        held_out = found["_held_out"]
        if before.folds is self._members.folds:
            held_out = _joined_means(
                (self._held_out, self._members), (held_out, found["_members"])
            )
        return found | {
            "net_": type(self.net_).join([self.net_, found["net_"]]),
            "_members": before.joined(found["_members"]),
            "n_epochs_": self.n_epochs_ + found["n_epochs_"],
            "n_iter_": np.concatenate([self.n_iter_, found["n_iter_"]]),
            "loss_weights_": _side_by_side(self.loss_weights_, found["loss_weights_"]),
            "_conflict": self._conflict + found["_conflict"],
            "_held_out": held_out,
        }

    def _with_folds_for(self, data):
        """Hold out the rows of the fit before, as long as there are as many."""
        members = self._members
        if not self.early_stopping:
            return members.without_folds()
        if members.folds is not None and members.folds.shape[1] == data.n_samples:
            return members
        held = "trained on all of its rows"
        if members.folds is not None:
            held = f"had {members.folds.shape[1]} rows"
        warnings.warn(
            f"X has {data.n_samples} rows, and the call before {held}: the rows are "
            "dealt to folds anew, and some that are held out now may have been trained "
            "on. Validation losses and validation_prediction_ look too good then.",
            UserWarning,
            stacklevel=6,
        )
        return members.with_folds_of(self._draw_members(data, early_stopping=True))

    # -- what is known -----------------------------------------------------------

    def _check_goes_on(self, what):
        if getattr(self, "_members", None) is None:
            raise ValueError(
                f"This {type(self).__name__} was adapted to a new task; {what} does "
                "not train its networks on. Call adapt again with more rows, or train "
                "the estimator that it was adapted from."
            )
        self._check_sets_nothing_aside(what)
        if self.guard or self.net_.guard is not None:
            raise ValueError(
                f"{what} does not train the networks of a guard on. Fit anew with "
                "warm_start=False, with or without guard=True."
            )
        self._check_same_inputs_and_targets(what)

    def _check_same_inputs_and_targets(self, what):
        targets = self.net_.blueprint.targets
        kinds = ["number" if c is None else "class" for c in targets.classes]
        transforms = target_transforms(self.target_transform, targets.names, kinds)
        fitted = [None if t is None else t.transform for t in targets.transforms]
        for name, before, now in (
            ("encoding", self._encoded_by, repr(self._strategy("encoding"))),
            ("target_transform", repr(fitted), repr(transforms)),
        ):
            if before != now:
                raise ValueError(
                    f"{what} keeps the {name} of the fit before, {before}, and it is "
                    f"{now} now. Set it back, or fit with warm_start=False."
                )

    def _check_sets_nothing_aside(self, what):
        if getattr(self, "calibration_size", None) is not None:
            raise ValueError(
                f"{what} would train on the rows that calibration_size="
                f"{self.calibration_size} keeps from the networks. Set it to None, or "
                "fit anew with warm_start=False."
            )

    def _known_encoders(self):
        blueprint = self.net_.blueprint
        return [blueprint.encoders[e] for e in blueprint.encoder_index]

    def _more_data(self, X, y, task, sample_weight):
        targets = self.net_.blueprint.targets
        names = self.task_names_.tolist(), None
        if self._task_codes is not None:
            names = list(range(len(targets.classes))), list(self._task_codes)
        return check_more_data(
            self, X, y, task, sample_weight, encoder=targets, names=names
        )


@contextmanager
def unchanged_by_errors(estimator):
    """Leave an estimator as it was when something goes wrong.

    Parameters
    ----------
    estimator : estimator
        Its attributes are put back.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _joined_means(*parts):
    """Average held-out predictions over the members of several trainings."""
    parts = [(mean, m.n_holding_out()) for mean, m in parts if mean is not None]
    if not parts:
        return None
    counts = [np.where(np.isnan(mean), 0, count[:, None]) for mean, count in parts]
    total = sum(
        np.where(count > 0, mean * count, 0.0)
        for (mean, _), count in zip(parts, counts, strict=True)
    )
    n_members = sum(counts)
    return np.where(n_members > 0, total / np.maximum(n_members, 1), np.nan)


def _side_by_side(before, new):
    """Join weights of other members in other epochs."""
    n_epochs, n_members = len(before) + len(new), before.shape[1] + new.shape[1]
    weights = np.full((n_epochs, n_members, before.shape[2]), np.nan)
    weights[: len(before), : before.shape[1]] = before
    weights[len(before) :, before.shape[1] :] = new
    return weights
