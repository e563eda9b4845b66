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
from ._fused import FusedFits, Replay, Workers, tell
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
            workers=Workers(self.n_jobs, self.pre_dispatch),
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
        if scores is None or not np.isnan(scores).all():
            return
        error = self._replay.error
        if error is not None:
            raise ValueError(
                f"All {len(scores)} candidates failed on some of the {self.n_splits_} "
                "splits, and none is the best. The first error was "
                f"{type(error).__name__}: {error}"
            ) from error
        raise ValueError(
            f"All {len(scores)} candidates have a mean test score of NaN, and none is "
            "the best. The estimators were fitted; the scorer gave NaN, or failed with "
            "the warnings 'Scoring failed' above. Pass error_score='raise' to see "
            "where. Labels that are missing need scoring=None or a scorer of "
            "skmtl.metrics, such as get_scorer('r2')."
        )


class FusedGridSearchCV(_FusesFits, GridSearchCV):
    """Search a grid, all candidates and folds trained as one network.

    Use it in the place of :class:`~sklearn.model_selection.GridSearchCV` over an
    estimator of this package. Candidates x splits x members become the networks of one
    bank: one call of a kernel moves hundreds of small networks, where fits one after
    the other pay for hundreds of calls.

    Parameters
    ----------
    estimator : estimator
        One of this package; or a Pipeline that ends in one, or a
        TransformedTargetRegressor around one.
    param_grid : dict or list of dict
        Parameters and the values to try.
    scoring : str, callable, list, tuple or dict, default=None
        As in scikit-learn. None is ``score`` of the estimator, which skips missing
        labels; by name such scores come from :func:`skmtl.metrics.get_scorer`.
    n_jobs : int, default=None
        Workers of joblib over which banks, and fits outside of banks, are spread; a
        backend of dask or ray spreads them over machines.
    refit : bool, str or callable, default=True
        Whether the best candidate is fitted on all rows in the end, and by which
        metric it is the best.
    cv : int, splitter or iterable, default=None
        As in scikit-learn; a number is fine also where labels of classes are missing.
    verbose : int, default=0
        With 1 the progress of the banks is printed, with more also the scores of each
        fit.
    pre_dispatch : int or str, default="2*n_jobs"
        How many banks are sent to workers ahead.
    error_score : "raise" or float, default=nan
        Score of a candidate whose networks all diverge or whose parameters are not
        valid. The others are not touched.
    return_train_score : bool, default=False
        Whether rows that were trained on are scored, too.
    max_networks : int or None, default=None
        Networks of one bank at most, a fit counting ``n_estimators``. None chooses: as
        many as the cache holds on CPU, as many as the memory holds elsewhere, and no
        fewer banks than workers when there are hundreds. 1 trains every fit on its own
        in a worker.
    fallback : {"warn", "error"}, default="warn"
        What is done about candidates that cannot be trained in a bank with others: they
        are fitted one by one with a warning, or ValueError is raised.

    Attributes
    ----------
    cv_results_ : dict of str to ndarray
        As of :class:`~sklearn.model_selection.GridSearchCV`, column for column.
        ``mean_fit_time`` is the time of a bank divided by its networks.
    best_estimator_, best_score_, best_params_, best_index_ : object
        The best candidate, as in scikit-learn.
    scorer_, n_splits_, refit_time_, multimetric_ : object
        As in scikit-learn.
    classes_, n_features_in_, feature_names_in_ : object
        Of ``best_estimator_``.

    See Also
    --------
    FusedRandomizedSearchCV : Over candidates that are drawn.
    task_weight_grid : Weights of tasks to search over.

    Notes
    -----
    The scores are those of GridSearchCV: with a seed, in double precision and on
    CPU, every split score to 1e-8, and the same best candidate. In single precision
    sums are rounded in another order; split scores differed by 5e-6 to 4e-4 in the
    benchmark.
    Without a seed one is drawn for the whole search, so that candidates differ by
    their parameters alone.

    One bank holds candidates that differ in ``task_weights``, ``lr``,
    ``weight_decay``, ``class_weight``, ``clip_norm``, ``max_epochs``,
    ``n_iter_no_change``, ``n_neighbors``, ``random_state``, and in the parameters that
    architectures, losses and weightings hold one of for each network, such as
    ``dropout``, ``label_smoothing``, ``delta`` or ``temperature``. Candidates that
    differ in the rest, such as the width or the kind of an architecture, train in one
    bank for each setting. Estimators with ``skorch_callbacks``, meta-learners and
    estimators of other packages are not trained in banks.

    The estimator may stand at the end of a Pipeline or inside a
    TransformedTargetRegressor. What is around it is fitted once for each of its
    settings and folds.

    The fitted candidates that a scorer or the refit sees are full estimators, but for
    ``history_``, which is that of the bank, and ``gradient_conflict_``, which is not
    kept.

    Examples
    --------
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import HardSharing
    >>> from skmtl.datasets import make_multitask_regression
    >>> from skmtl.model_selection import FusedGridSearchCV, task_weight_grid
    >>> X, y = make_multitask_regression(200, n_tasks=3, random_state=0)
    >>> model = MultiTaskNetRegressor(
    ...     HardSharing((16,)), n_estimators=1, max_epochs=20, random_state=0
    ... )
    >>> grid = {"task_weights": task_weight_grid(3, levels=(1, 2)), "lr": [0.002, 0.01]}
    >>> search = FusedGridSearchCV(model, grid, cv=3).fit(X, y)
    >>> len(search.cv_results_["params"])
    14
    >>> search.predict(X).shape
    (200, 3)
    """

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
    """Search random candidates, all of them and all folds trained as one network.

    Use it in the place of :class:`~sklearn.model_selection.RandomizedSearchCV` over an
    estimator of this package. Candidates x splits x members become the networks of one
    bank: one call of a kernel moves hundreds of small networks, where fits one after
    the other pay for hundreds of calls.

    Parameters
    ----------
    estimator : estimator
        One of this package; or a Pipeline that ends in one, or a
        TransformedTargetRegressor around one.
    param_distributions : dict or list of dict
        Parameters, and distributions or lists to draw their values from.
    n_iter : int, default=10
        Number of candidates.
    scoring : str, callable, list, tuple or dict, default=None
        As in scikit-learn. None is ``score`` of the estimator, which skips missing
        labels; by name such scores come from :func:`skmtl.metrics.get_scorer`.
    n_jobs : int, default=None
        Workers of joblib over which banks, and fits outside of banks, are spread; a
        backend of dask or ray spreads them over machines.
    refit : bool, str or callable, default=True
        Whether the best candidate is fitted on all rows in the end, and by which
        metric it is the best.
    cv : int, splitter or iterable, default=None
        As in scikit-learn; a number is fine also where labels of classes are missing.
    verbose : int, default=0
        With 1 the progress of the banks is printed, with more also the scores of each
        fit.
    pre_dispatch : int or str, default="2*n_jobs"
        How many banks are sent to workers ahead.
    random_state : int, RandomState or None, default=None
        Draws the candidates. Seeds of the networks are those of the estimator.
    error_score : "raise" or float, default=nan
        Score of a candidate whose networks all diverge or whose parameters are not
        valid. The others are not touched.
    return_train_score : bool, default=False
        Whether rows that were trained on are scored, too.
    max_networks : int or None, default=None
        Networks of one bank at most, a fit counting ``n_estimators``. None chooses: as
        many as the cache holds on CPU, as many as the memory holds elsewhere, and no
        fewer banks than workers when there are hundreds. 1 trains every fit on its own
        in a worker.
    fallback : {"warn", "error"}, default="warn"
        What is done about candidates that cannot be trained in a bank with others: they
        are fitted one by one with a warning, or ValueError is raised.

    Attributes
    ----------
    cv_results_ : dict of str to ndarray
        As of :class:`~sklearn.model_selection.RandomizedSearchCV`, column for column.
        ``mean_fit_time`` is the time of a bank divided by its networks.
    best_estimator_, best_score_, best_params_, best_index_ : object
        The best candidate, as in scikit-learn.
    scorer_, n_splits_, refit_time_, multimetric_ : object
        As in scikit-learn.
    classes_, n_features_in_, feature_names_in_ : object
        Of ``best_estimator_``.

    See Also
    --------
    FusedGridSearchCV : Over a grid.
    TaskWeights : A distribution of weights of tasks.

    Notes
    -----
    How scores compare, what shares a bank and what candidates keep is in the notes of
    :class:`FusedGridSearchCV`.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import HardSharing
    >>> from skmtl.datasets import make_multitask_regression
    >>> from skmtl.model_selection import FusedRandomizedSearchCV, TaskWeights
    >>> X, y = make_multitask_regression(200, n_tasks=3, random_state=0)
    >>> model = MultiTaskNetRegressor(
    ...     HardSharing((16,)), n_estimators=1, max_epochs=20, random_state=0
    ... )
    >>> space = {"task_weights": TaskWeights(3), "lr": loguniform(1e-3, 1e-1)}
    >>> search = FusedRandomizedSearchCV(
    ...     model, space, n_iter=8, cv=3, random_state=0
    ... ).fit(X, y)
    >>> sorted(search.best_params_)
    ['lr', 'task_weights']
    """

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
