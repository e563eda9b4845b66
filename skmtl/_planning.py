"""What the arguments of an estimator mean: strategies, and plans of networks."""

from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state

from ._column_draw import cost_of_drawing
from ._constraints import Interval, StrOptions
from ._encoder_fit import (
    fitted_encoder,
    fitted_places,
    relevance_of,
    stumps_of,
    stumps_pay,
)
from ._members import Members
from ._net import Hyperparameters, NetworkPlan, guard_plans
from ._pilot import run_pilot
from ._relevance import scaled_by_relevance
from ._tasks import check_class_weight, check_task_weights, target_transforms
from .architecture import Architecture, HardSharing
from .encoding import Auto, Encoding, Raw
from .loss import by_alias, resolve
from .weighting import Equal, Weighting

_DEFAULTS = {"architecture": HardSharing, "weighting": Equal, "encoding": Auto}
# Members of a table with this many columns see a share of them, by measurement: see
# search_defaults.py. With 64 and more it pays, with 28 it is even, with 13 it costs.
_MANY_COLUMNS = 50
_SHARE = 0.7
# Unless it costs ridge regressions more than that share of the error. Most of the
# squared error of ones and zeros is noise, whoever sees what.
_DRAW_COSTS = {"number": 0.02, "class": 0.001}
_NEIGHBORS = 16  # that "auto" stands for
_STUMPS = 32  # that "auto" stands for where they pay, by measurement
# Epochs that "auto" stands for: as many as visit so many rows, within limits. On
# thousands of rows more of them gained nothing where labels have noise, and near rows
# correct networks better that have trained for less; see search_defaults.py.
_ROW_VISITS = 300_000
FEWEST_EPOCHS, MOST_EPOCHS = 10, 200
_LEAST_PATIENCE = 8
_FAMILIES = {
    "architecture": (Architecture, "skmtl.architecture.HardSharing()"),
    "weighting": (Weighting, "skmtl.weighting.PCGrad()"),
    "encoding": (Encoding, "skmtl.encoding.Standard()"),
}


class PlansNetworks:
    """Turn the arguments of an estimator and its data into plans of networks."""

    # Arguments in which the networks of one bank may differ. With an empty tuple, the
    # estimator is never trained in a bank with others.
    _fusable: tuple[str, ...] = ()
    # Arguments that not every estimator has.
    class_weight = None
    target_transform = None
    guard = False
    n_neighbors = None
    max_features = 1.0
    relevance = None
    stumps = None

    _parameter_constraints: dict = {
        "architecture": [Architecture, None],
        "weighting": [Weighting, None],
        "encoding": [Encoding, None],
        "task_column": [str, Integral, None],
        "unknown_task": [StrOptions({"pooled", "error"})],
        "task_weights": [StrOptions({"balanced"}), dict, "array-like", None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "relevance": [StrOptions({"auto"}), None],
        "stumps": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            None,
        ],
        "cv": ["cv_object", None],
        "early_stopping": ["boolean"],
        "guard": ["boolean"],
        "n_neighbors": [
            StrOptions({"auto"}),
            Interval(Integral, 1, 100, closed="both"),
            None,
        ],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
            None,
        ],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
            None,
        ],
        "max_epochs": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "device": [str],
        "dtype": [StrOptions({"float32", "float64"})],
        "skorch_callbacks": [list, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
    }

    def set_params(self, **params):
        """Set parameters, reaching into strategies that are None as well.

        ``None`` stands for the default object, so ``architecture__dropout=0.1`` on an
        estimator whose architecture is None first puts the default object there, and
        ``loss__delta=2.0`` one in place of the string ``"huber"``.

        Parameters
        ----------
        **params : dict
            Estimator parameters.

        Returns
        -------
        self : estimator
            The estimator.
        """
        plain = {name: value for name, value in params.items() if "__" not in name}
        nested = {name: value for name, value in params.items() if "__" in name}
        super().set_params(**plain)
        for name in {name.partition("__")[0] for name in nested}:
            if name in _DEFAULTS and getattr(self, name) is None:
                setattr(self, name, self._default(name))
            elif name == "loss" and isinstance(self.loss, str):
                self.loss = by_alias(self.loss)
        return super().set_params(**nested)

    def _validate_params(self):
        if hasattr(self.architecture, "forward"):
            raise ValueError(
                "architecture is a torch module; wrap it: architecture=TorchModule("
                f"{type(self.architecture).__name__}(...))."
            )
        for name, (family, example) in _FAMILIES.items():
            value = getattr(self, name)
            # scikit-learn's own message would name a private module.
            if value is not None and not isinstance(value, family):
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} must be an "
                    f"object such as {example}, or None. Got {value!r} instead."
                )
        super()._validate_params()

    def _default(self, name):
        """Make the object that None stands for."""
        if name == "encoding" and getattr(self.architecture, "reads_raw", False):
            return Raw()
        return _DEFAULTS[name]()

    def _bank_settings(self):
        """Give all arguments in which estimators of one bank have to agree.

        Returns
        -------
        settings : dict
            Checked, with strategies in place of None.

        Raises
        ------
        ValueError
            If an argument is not valid.
        """
        self._validate_params()
        settings = self.get_params(deep=False)
        settings |= {name: self._strategy(name) for name in _DEFAULTS}
        for name in self._fusable:
            settings.pop(name, None)
        return settings

    def _strategy(self, name):
        value = getattr(self, name)
        return (self._default(name) if value is None else value).check()

    def _encoding_trait(self, name):
        """Ask the encoding, or the one that None stands for, about X."""
        value = self.encoding
        return getattr(self._default("encoding") if value is None else value, name)

    def _fit_encoder(self, data):
        """Fit transforms and scales of the labels."""
        names, kinds = data.column_names, data.kinds
        transforms = target_transforms(self.target_transform, names, kinds)
        data.encoder.fit(data.y, data.weight, self._losses(data), transforms)

    def _losses(self, data):
        return tuple(resolve(self.loss, data.column_names, data.kinds))

    def _draw_members(self, data, early_stopping, random_state=None):
        if random_state is None:
            random_state = self._random_state()
        return Members.draw(
            self.n_estimators,
            data,
            early_stopping,
            self.cv,
            self._column_share(data),
            random_state,
        )

    def _make_plans(
        self, data, members, encoders=None, *, goes_on=False, weighs_columns=True
    ):
        """Decide on rows, seeds, encoders and settings of every member.

        Members whose encoder is not given share one that is fitted on their fold, or
        have one each where they do not see the same columns.
        """
        rows = {fold: members.rows(fold, data) for fold in set(members.fold_numbers)}
        # Trees are asked where an encoder is to be fitted, and not for those there are.
        asks = weighs_columns and (encoders is None or None in encoders)
        weighs = asks and self.relevance is not None and self._encodes_by_fold()
        n_stumps = self._n_stumps(data) if asks else 0
        told = {}  # by trees, of each fold
        choices = self._choices(data)
        fitted, plans = {}, []
        for k, (seed, fold) in enumerate(
            zip(members.seeds, members.fold_numbers, strict=True)
        ):
            train, valid = rows[fold]
            encoder = None if encoders is None else encoders[k]
            if encoder is None:
                if fold not in told:
                    told[fold] = {
                        "relevance": relevance_of(data, train) if weighs else None,
                        "stumps": stumps_of(data, train, n_stumps)
                        if n_stumps
                        else None,
                    }
                encoder = self._encoder(
                    data,
                    fold,
                    train,
                    fitted,
                    share=members.column_share,
                    seed=seed,
                    **told[fold],
                )
            settings = replace(choices, **self._course(len(train)))
            plans.append(
                NetworkPlan(seed, train, valid, encoder, data.encoder, settings)
            )
        self._check_neighbors(data)
        return self._guarded(self._settled(plans, data, goes_on), data)

    def _guarded(self, plans, data):
        """Let networks of single tasks ride beside those that share."""
        if not self.guard:
            return plans
        if data.row_tasks:
            raise ValueError(
                "guard=True is for columns of y, and these are row tasks. Set "
                "guard=False; how far a row task may go from the others is a matter of "
                "HardSharing(task_shrinkage=...)."
            )
        if self.warm_start:
            raise ValueError(
                "The networks of a guard cannot be trained on. Set guard=False or "
                "warm_start=False."
            )
        if plans[0].valid_rows is None:
            raise ValueError(
                "guard=True compares networks on held-out rows, and there are none. "
                "Fit with early_stopping=True, or set guard=False."
            )
        return guard_plans(plans, len(data.task_names))

    def _check_neighbors(self, data):
        """Say what kriging cannot do before anything is trained."""
        if self.n_neighbors in (None, "auto"):
            return
        reason = self._why_no_neighbors(data)
        if reason:
            raise ValueError(
                f"n_neighbors={self.n_neighbors!r} corrects predictions by errors on "
                f"held-out rows near by, and {reason} Pass n_neighbors='auto', which "
                "does so where it can, or None."
            )

    def _why_no_neighbors(self, data):
        if data.row_tasks:
            return "that is for columns of y, not for row tasks."
        if not self.early_stopping:
            return "early_stopping=False holds no rows out."
        if self.warm_start:
            return "errors change where networks are trained on by warm_start=True."
        if not self._encodes_by_fold():
            return (
                "there are no distances between rows of a TorchModule or of an "
                "encoding such as Raw()."
            )
        if self.class_weight is not None:
            return (
                "those of labels as they are would undo class_weight="
                f"{self.class_weight!r}."
            )
        losses = self._losses(data)
        if not any(loss.takes_corrections for loss in losses):
            return (
                f"the predictions of {losses[0]!r} are not means that errors can be "
                "added to."
            )
        return ""

    def _neighbors(self, plans, data):
        """Decide how many neighbours a correction looks at; None for no correction."""
        if self.n_neighbors is None or self._why_no_neighbors(data):
            return None
        if self.n_neighbors != "auto":
            return int(self.n_neighbors)
        held_out = np.zeros(len(data.X), bool)
        for plan in plans:
            held_out[plan.valid_rows] = True
        return _NEIGHBORS if held_out.all() else None

    def _settled(self, plans, data, goes_on):
        """Let an architecture that asks see how the tasks get on."""
        architecture = plans[0].hyperparameters.architecture
        architecture.check_tasks(data.row_tasks)
        if not architecture.asks_pilot:
            return plans
        if goes_on:
            settled = architecture.as_before(self.net_.blueprint.architecture)
        else:
            pilot = run_pilot(
                plans[0],
                data,
                device=self.device,
                dtype=self.dtype,
                looks_ahead=architecture.looks_ahead,
            )
            settled = architecture.after_pilot(pilot, data.task_names)
        return [
            replace(
                plan,
                hyperparameters=replace(plan.hyperparameters, architecture=settled),
            )
            for plan in plans
        ]

    def _encoder(
        self,
        data,
        fold,
        rows,
        fitted,
        *,
        share=1.0,
        seed=None,
        relevance=None,
        stumps=None,
    ):
        """Fit the encoder of a fold or of a member, or take the one that is there."""
        encoding = self._strategy("encoding")
        by_fold = self._encodes_by_fold()
        fold = fold if by_fold else None
        told = {"relevance": relevance, "stumps": stumps}
        columns = None if seed is None else self._drawn_columns(share, data, seed)
        if columns is None:
            if fold not in fitted:
                rows = rows if by_fold else slice(None)
                fitted[fold] = fitted_encoder(encoding, data, rows, **told)
            return fitted[fold]
        return fitted_encoder(encoding, data, rows, columns, **told)

    def _n_stumps(self, data):
        """Decide how many inputs step at thresholds of trees."""
        if self.stumps is None:
            return 0
        if not self._encodes_by_fold():
            if self.stumps == "auto":
                return 0
            raise ValueError(
                f"stumps={self.stumps!r} adds inputs to the encoding, and "
                f"{type(self).__name__} hands X over as it is, by a TorchModule or an "
                "encoding such as Raw(). Pass stumps='auto' or None."
            )
        if self.stumps != "auto":
            return self.stumps
        pays = stumps_pay(data, with_relevance=self.relevance is not None)
        return _STUMPS if pays else 0

    def _encodes_by_fold(self):
        # The modules of users see the same inputs in all members, whatever folds lack.
        shared = self._strategy("architecture").reads_raw
        return self._strategy("encoding").looks_at_rows and not shared

    def _column_share(self, data):
        """Decide what share of the columns of X each member sees."""
        share = self.max_features
        if share == "auto":
            return _SHARE if self._may_draw_columns(data) else 1.0
        if share < 1 and not self._encodes_by_fold():
            raise ValueError(
                f"max_features={share!r} draws the columns that each member sees, and "
                f"{type(self).__name__} hands X over as it is, by a TorchModule or an "
                "encoding such as Raw(). Pass max_features='auto' or 1.0."
            )
        return share

    def _may_draw_columns(self, data):
        """Ask whether many columns tell the same in other words."""
        # A lone network has nobody to tell what the other columns say.
        many = data.X.shape[1] >= _MANY_COLUMNS and self.n_estimators > 1
        if not (many and self._encodes_by_fold()):
            return False
        targets, places = data.encoder.perfect(data.y), fitted_places(data)
        if self.relevance is not None:
            # The networks will know, too, which columns it would cost to miss.
            places = scaled_by_relevance(places, relevance_of(data))
        costs = cost_of_drawing(places, data.X, targets, _SHARE)
        limits = np.array([_DRAW_COSTS[kind] for kind in data.kinds])
        known = np.isfinite(costs)
        return bool(known.any()) and np.mean((costs / limits)[known]) <= 1

    def _drawn_columns(self, share, data, seed):
        """Draw the columns of X that a member sees; None for all."""
        n_columns = data.X.shape[1]
        n_drawn = max(1, round(share * n_columns))
        if n_drawn == n_columns:
            return None
        # Of the member alone, so that it does not matter which others there are.
        drawn = np.random.default_rng(seed).permutation(n_columns)[:n_drawn]
        return np.sort(drawn)

    def _random_state(self):
        if self.random_state is None:
            # Fresh entropy rather than NumPy's global state, which a fit leaves alone.
            return np.random.RandomState(np.random.SeedSequence().generate_state(4))
        return check_random_state(self.random_state)

    def _choices(self, data):
        """Collect the hyperparameters that the members have in common."""
        course = self._course(len(data.X))  # that of a member is by its own rows
        return Hyperparameters(
            self._strategy("architecture"),
            self._strategy("weighting"),
            self._losses(data),
            check_task_weights(
                self.task_weights, data.task_names, data.task_sizes(), data.row_tasks
            ),
            float(self.lr),
            float(self.weight_decay),
            course["batch_size"],
            self.clip_norm,
            course["max_epochs"],
            course["n_iter_no_change"],
            check_class_weight(
                self.class_weight,
                data.column_names,
                data.encoder.classes,
                data.y,
                data.weight,
            ),
        )

    def _course(self, n_rows):
        """Decide how long a network trains on its rows, and in which batches."""
        max_epochs, patience = self.max_epochs, self.n_iter_no_change
        if max_epochs == "auto":
            wanted = round(_ROW_VISITS / n_rows)
            max_epochs = min(max(wanted, FEWEST_EPOCHS), MOST_EPOCHS)
        if patience == "auto":
            patience = max(_LEAST_PATIENCE, -(-max_epochs // 5))
        return {
            "batch_size": self._batch_size(n_rows),
            "max_epochs": max_epochs,
            "n_iter_no_change": patience if self.early_stopping else None,
        }

    def _batch_size(self, n_rows):
        if self.batch_size is None:
            return n_rows
        if self.batch_size == "auto":
            # About 16 batches an epoch for small tables; see bench_tabular.py.
            return int(np.clip(2 ** np.round(np.log2(n_rows / 16)), 32, 256))
        return self.batch_size
