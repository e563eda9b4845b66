"""Searches whose candidates are trained as one network."""

import copy
from numbers import Integral

import numpy as np
from joblib import parallel_config
from sklearn import get_config
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.utils import indexable
from sklearn.utils.metadata_routing import process_routing

from .._constraints import Interval, StrOptions
from ._fused import FusedFits, Replay, tell
from ._splits import KnownSplits, checked_splitter


class _FusesFits:
    """Train first, in banks, and let scikit-learn's search score what was trained."""

    _own_constraints = {
        "max_networks": [Interval(Integral, 1, None, closed="left"), None],
        "fallback": [StrOptions({"warn", "error"})],
    }

    def fit(self, X, y=None, **params):
        """Train all candidates on all splits, score them, and refit the best one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Labels; missing ones as the estimator takes them.
        **params : dict
            For ``fit`` of the estimator, the splitter and the scorer, as in
            scikit-learn. What has one entry a row is split.

        Returns
        -------
        self : search
            Fitted.

        Raises
        ------
        ValueError
            If all fits fail, if all scores are NaN, or with ``fallback="error"`` if a
            candidate cannot be trained in a bank with others.

        Notes
        -----
        A call that raises leaves the search as it was before.
        """
        self._validate_params()
        X, y = indexable(X, y)
        for_fit, for_split = self._routed(params)
        cv = checked_splitter(self.cv, y, self.estimator)
        splits = list(cv.split(X, y, **for_split))
        search, replay = copy.copy(self), Replay(self.estimator)
        search.estimator = replay.estimator
        search.cv = KnownSplits(cv, splits)
        search._replay = replay
        search._fused_fits = FusedFits(
            X,
            y,
            splits,
            for_fit,
            n_jobs=self.n_jobs,
            pre_dispatch=self.pre_dispatch,
            max_networks=self.max_networks,
            fallback=self.fallback,
            verbose=self.verbose,
        )
        if self.verbose == 1:
            search.verbose = 0
        # Fits are handed out in order, in this process; the banks took the workers.
        with parallel_config(backend="sequential"):
            super(_FusesFits, search).fit(X, y, **params)
        replay.end()
        given = self.get_params(deep=False)
        found = {n: v for n, v in vars(search).items() if n not in given}
        del found["_replay"], found["_fused_fits"]
        vars(self).update(found)
        self._checked_cv_orig = cv
        return self

    def _routed(self, params):
        """Decide what goes to ``fit`` and to ``split``, as scikit-learn does."""
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", **params)
            return routed.estimator.fit, routed.splitter.split
        rest = {name: value for name, value in params.items() if name != "groups"}
        return rest, {"groups": params.get("groups")}

    def _run_search(self, evaluate_candidates, *, callback_ctx=None):
        def train_and_evaluate(candidates, **kwargs):
            candidates = list(candidates)
            if self._fused_fits.verbose == 1:
                n_fits = len(candidates) * self.n_splits_
                tell(
                    f"Fitting {self.n_splits_} folds for each of {len(candidates)} "
                    f"candidates, totalling {n_fits} fits"
                )
            fits, seconds = self._fused_fits.run(self._base(), candidates)
            self._replay.add(fits)
            results = evaluate_candidates(candidates, **kwargs)
            # In place: a callable refit is shown these results next.
            results["mean_fit_time"][:] = seconds.mean(axis=1)
            results["std_fit_time"][:] = seconds.std(axis=1)
            self._check_any_score(results)
            return results

        super()._run_search(train_and_evaluate, callback_ctx=callback_ctx)

    def _base(self):
        plain = copy.copy(self.estimator)
        plain.__class__ = self._replay.kind
        return plain

    def _check_any_score(self, results):
        """Refuse to call the first candidate the best when none has a score."""
        if callable(self.refit):
            return
        metric = self.refit if isinstance(self.refit, str) else "score"
        scores = results.get(f"mean_test_{metric}")
        if scores is not None and np.isnan(scores).all():
            raise ValueError(
                f"All {len(scores)} candidates have a mean test score of NaN, and none "
                "is the best. The scorer failed where the estimator did not: with "
                "missing labels pass scoring=None or a scorer of skmtl.metrics, such "
                "as get_scorer('r2')."
            )


class FusedGridSearchCV(_FusesFits, GridSearchCV):
    """Search a grid, all candidates and folds trained as one network."""

    _parameter_constraints = (
        GridSearchCV._parameter_constraints | _FusesFits._own_constraints
    )

    def __init__(
        self,
        estimator,
        param_grid,
        *,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        error_score=np.nan,
        return_train_score=False,
        max_networks=None,
        fallback="warn",
    ):
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.max_networks = max_networks
        self.fallback = fallback


class FusedRandomizedSearchCV(_FusesFits, RandomizedSearchCV):
    """Search random candidates, all of them and all folds trained as one network."""

    _parameter_constraints = (
        RandomizedSearchCV._parameter_constraints | _FusesFits._own_constraints
    )

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        n_iter=10,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        random_state=None,
        error_score=np.nan,
        return_train_score=False,
        max_networks=None,
        fallback="warn",
    ):
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.max_networks = max_networks
        self.fallback = fallback
