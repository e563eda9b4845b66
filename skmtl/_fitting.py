"""The one way a fit runs: checks, callbacks, and what is kept when it fails."""

import warnings
from functools import partial

from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning

from ._incremental import unchanged_by_errors
from ._planning import PlansNetworks
from .encoding import Encoding

# Fitted, and not for users.
_HIDDEN = (
    "_task_codes",
    "_adapted_to",
    "_encoded_by",
    "_reader",
    "_input_shape",
    "_known",
    "_members",
    "_moments",
    "_held_out",
    "_transfer",
    "_guard_shares",
    "_corrected",
    "_neighbor_gain",
    "_noise",
    "_calibration",
)


class FitsNetworks(PlansNetworks, CallbackSupportMixin, BaseEstimator):
    """Run a fit; subclasses say what it learns, in ``_learn``.

    Subclasses set ``_kind`` ("number", "class" or "mixed"), ``_decode``, the method of
    the task encoder that turns predictions into what ``predict`` returns, and
    ``_remedy``, what helps against losses that are not finite.
    """

    __metadata_request__fit = {"task": True}
    __metadata_request__partial_fit = {"task": True}
    __metadata_request__predict = {"task": True}
    __metadata_request__predict_proba = {"task": True}
    __metadata_request__score = {"task": True}

    _kind: str
    _decode: str
    _remedy = "lower lr, or set clip_norm"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        if self.encoding is None or isinstance(self.encoding, Encoding):
            tags.input_tags.allow_nan = self._encoding_trait("allows_missing")
            tags.input_tags.three_d_array = self._encoding_trait("keeps_shape")
        return tags

    # -- fit ---------------------------------------------------------------------

    @with_callbacks
    def fit(self, X, y, *, task=None, sample_weight=None):
        """Fit the networks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table. Missing values are allowed. In a DataFrame, of pandas or polars,
            columns of strings and of category dtype are categories. For a TorchModule
            with ``encoding=None`` an array of any rank, without missing values.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Labels, one column a task. NaN, None, NaT and pandas' NA mean that a label
            is missing.
        task : array-like of shape (n_samples,), optional
            The task of each row, for row tasks. Everything in scikit-learn works with
            ``task_column``; this argument only where metadata is routed.
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
            If the data is malformed; the message names the task or column.
        FloatingPointError
            If the losses of all members diverge.

        Notes
        -----
        A call that raises leaves the estimator as it was before.
        """
        self._validate_params()
        context = self._init_callback_context(max_subtasks=self._n_epochs())
        metadata = {"task": task, "sample_weight": sample_weight}
        metadata = {
            name: given for name, given in metadata.items() if given is not None
        }
        context.call_on_fit_task_begin(estimator=self, X=X, y=y, metadata=metadata)
        hook = partial(self._epoch_hook, context, X, y, metadata)
        with unchanged_by_errors(self):
            self._learn(X, y, task, sample_weight, hook)
        context.call_on_fit_task_end(
            estimator=self,
            X=X,
            y=y,
            metadata=metadata,
            reconstruction_attributes=self._fitted_attributes,
        )
        return self

    def _n_epochs(self):
        """Count the epochs that a fit may take."""
        raise NotImplementedError("abstract method")

    def _learn(self, X, y, task, sample_weight, hook):
        """Set the fitted attributes; ``hook(data)`` is to be called every epoch."""
        raise NotImplementedError("abstract method")

    def _epoch_hook(self, context, X, y, metadata, data):
        """Tell scikit-learn's callbacks about every epoch."""

        def on_epoch(net):
            # Neither pickled nor copied: the callbacks see the net as it is now.
            epoch = context.subcontext(task_name="epoch")
            epoch.call_on_fit_task_begin(estimator=self, X=X, y=y, metadata=metadata)
            return epoch.call_on_fit_task_end(
                estimator=self,
                X=X,
                y=y,
                metadata=metadata,
                reconstruction_attributes=lambda: self._names(data) | {"net_": net},
            )

        return on_epoch

    def _surviving_members(self, training, interrupted):
        n_members = len(training.plans)
        n_epochs = len(training.weight_history)
        if len(training.diverged) == n_members:
            epoch, first = training.diverged[0]
            raise FloatingPointError(
                f"All {n_members} member{'s' * (n_members > 1)} of "
                f"{type(self).__name__} diverged, the first in epoch {epoch}: losses "
                f"are not finite, first in task {first!r}. "
                f"{self._remedy.capitalize()}, or look for huge values in X."
            )
        for member, (epoch, task) in training.diverged.items():
            warnings.warn(
                f"Member {member} of {type(self).__name__} diverged in epoch {epoch}: "
                f"its loss is not finite, first in task {task!r}. It is left out; "
                f"{self._remedy}.",
                ConvergenceWarning,
                stacklevel=7,
            )
        kept = [k for k in range(n_members) if k not in training.diverged]
        began = training.start is not None or (training.best_epoch[kept] > 0).all()
        if not n_epochs or not began:
            raise KeyboardInterrupt("interrupted before the first epoch was complete")
        if interrupted:
            warnings.warn(
                f"Training was interrupted after {n_epochs} of {self._n_epochs()} "
                "epochs; the best weights so far are kept.",
                ConvergenceWarning,
                stacklevel=7,
            )
        return kept

    def _fitted_attributes(self):
        return {
            name: value
            for name, value in vars(self).items()
            if name.endswith("_") or name in _HIDDEN
        }

    # -- what was learned --------------------------------------------------------

    @property
    def history_(self):
        """Losses of every epoch, skorch History."""
        return self._fitted("history_").history

    @property
    def architecture_(self):
        """The fitted architecture, ArchitectureModule."""
        return self._fitted("architecture_").module_.architecture

    def _fitted(self, name):
        if "net_" not in vars(self):
            raise AttributeError(
                f"{type(self).__name__} has no attribute {name!r} before fit."
            )
        return self.net_

    def __sklearn_is_fitted__(self):
        return "net_" in vars(self)
