"""Cross-validation over tasks: scores against the number of shots."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import GroupKFold, check_cv
from sklearn.utils import indexable
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_consistent_length

from .._tasks import as_array, check_ids, task_ids
from ._episodes import check_count, draw_episodes, seed_of
from ._few_shot_result import FewShotResult
from ._methods import Trial, baseline_methods, given_methods, score_fold
from ._shots import (
    check_scoring,
    chosen_scoring,
    mean_of_defined,
    report_undefined,
    scorer_of,
)


def few_shot_validate(
    estimator,
    X,
    y,
    task,
    cv=5,
    n_shots=(1, 5, 10, 20),
    scoring=None,
    *,
    baselines=(),
    baseline_estimator=None,
    n_episodes=5,
    random_state=None,
    params=None,
    n_jobs=None,
):
    """Score adaptation to held-out tasks against the number of labelled rows.

    Tasks are held out whole, in folds. For each fold the estimator is fitted once, to
    the other tasks. Each held-out task is split at random into a support and a query;
    the estimator adapts to the first n rows of the support, for each n of `n_shots`,
    and is scored on the query. All numbers of shots and all methods get the same rows.

    Parameters
    ----------
    estimator : estimator or dict of estimators by name
        Cloned for every fold. One without ``adapt``, of scikit-learn for instance, is
        scored as it is at every number of shots.
    X : array-like of shape (n_samples, n_features)
        The table, handed to the estimator as it is.
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        Labels; rows without any are in no support and no query.
    task : str, int or array-like of shape (n_samples,)
        Name or position of the column of X that holds the tasks, or the task of each
        row. Unless the estimator has a ``task_column``, it is given the tasks as the
        argument ``task`` of ``fit``, if it takes one.
    cv : int, cross-validation generator or iterable, default=5
        An int is that many folds of whole tasks, dealt at random. A splitter gets the
        tasks as groups.
    n_shots : int or sequence of int, default=(1, 5, 10, 20)
        Numbers of rows to adapt to; 0 is the estimator before adaptation.
    scoring : str, TaskScorer or callable(estimator, X, y), default=None
        As for :func:`make_few_shot_scorer`: None is negative root mean squared error
        for regressors and accuracy for classifiers.
    baselines : "all" or sequence of {"per_task", "pooled", "pooled_residual"}, \
            default=()
        What else to score, on the same rows; for one column of y. None of them sees
        the task as a column.

        - "per_task": an estimator fitted to the support alone; at 0 shots, the mean or
          the most frequent class of the training tasks.
        - "pooled": one estimator fitted to the rows of all training tasks, which
          ignores tasks and support.
        - "pooled_residual": "pooled" plus the shrunk mean residual of the support, a
          random intercept by empirical Bayes.
    baseline_estimator : estimator, default=None
        Of all baselines. None is gradient boosting for those that learn from the rows
        of many tasks, and a ridge or logistic regression for "per_task".
    n_episodes : int, default=5
        Random splits of each task.
    random_state : int, RandomState instance or None, default=None
        Draws folds and splits; estimators have their own.
    params : dict, default=None
        Arguments of the estimator's ``fit``, such as the ``groups`` of a search; what
        has one entry a row is split with the rows.
    n_jobs : int, default=None
        Pairs of fold and method to work on at a time; -1 for one a processor.

    Returns
    -------
    result : FewShotResult
        Means and intervals over tasks, and the scores of each task. A single estimator
        goes by the name of its class.

    Raises
    ------
    ValueError
        If an argument is not valid, a task is in training and test set at once, or no
        task has rows enough.

    Warns
    -----
    UserWarning
        If tasks are left out because all their labelled rows are needed as support.

    See Also
    --------
    AdaptationCurveDisplay : Draws the result.
    make_few_shot_scorer : One number of shots, for searches.
    skmtl.adapt : What adapts the estimator.

    Notes
    -----
    The supports of an episode are nested, and its query is what the largest of them
    leaves: the curve rises by what is learned, not because other rows are asked. For
    the same reason a task is scored at all numbers of shots or at none. For classifiers
    the first rows of a support are of different classes.

    Each task counts alike. The query of a small task is small, and its score noisy;
    more episodes help, more tasks help more.

    "pooled_residual" shifts predictions by the sum of the residuals over n + k. The
    ratio k of the variances of residuals within and between tasks is estimated on the
    training tasks, by the method of moments [1]_ and from predictions of models that
    had not seen the task. For classes the residuals are those of indicators, and the
    shift multiplies the odds. Gradient boosting keeps 20 rows in a leaf, and knows no
    more than a mean from fewer than 40: hence the other default for "per_task".

    References
    ----------
    .. [1] S. R. Searle, G. Casella, C. E. McCulloch (1992). Variance Components. Wiley.
       https://doi.org/10.1002/9780470316856

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.model_selection import few_shot_validate
    >>> rng = np.random.default_rng(0)
    >>> task = np.repeat(np.arange(12), 20)
    >>> X = np.c_[task, rng.normal(size=(240, 2))]
    >>> y = X[:, 1] + rng.normal(size=12)[task]
    >>> net = MultiTaskNetRegressor(
    ...     task_column=0, n_estimators=2, max_epochs=10, random_state=0
    ... )
    >>> result = few_shot_validate(
    ...     net, X, y, task=0, cv=3, n_shots=(0, 1, 5), baselines=["pooled"],
    ...     baseline_estimator=LinearRegression(), random_state=0,
    ... )
    >>> result.methods
    ['MultiTaskNetRegressor', 'pooled']
    >>> result.mean["pooled"].shape
    (3,)
    """
    X, y = indexable(X, y)
    check_scoring(scoring)
    shots = _check_shots(n_shots)
    check_count("n_episodes", n_episodes, 1)
    ids, column = _read_tasks(task, X)
    check_consistent_length(X, y, ids)
    seed = seed_of(random_state)
    methods = given_methods(estimator, X, ids, column, params or {})
    classifier = _classifier(methods)
    methods += baseline_methods(
        baselines, baseline_estimator, methods, y, ids, column, classifier, seed
    )
    scoring = chosen_scoring(scoring, methods[0].estimator)
    draws = {"n_shots": shots[-1], "n_episodes": n_episodes, "seed": seed}
    episodes = draw_episodes(y, ids, classifier=classifier, **draws)
    trial = Trial(y, ids, episodes, scorer_of(scoring), shots)
    folds = _folds(cv, X, y, ids, seed)
    jobs = [(method, *fold) for method in methods for fold in folds]
    found = Parallel(n_jobs=n_jobs)(delayed(score_fold)(*job, trial) for job in jobs)
    scores = {method.name: {} for method in methods}
    for (method, *_), by_task in zip(jobs, found, strict=True):
        for name, own in by_task.items():
            scores[method.name].setdefault(name, []).append(own)
    return _result(scores, shots, n_episodes, scoring)


def _check_shots(n_shots):
    shots = [n_shots] if isinstance(n_shots, Integral) else list(n_shots)
    if not shots:
        raise ValueError("n_shots is empty; pass one number of rows or more.")
    for n in shots:
        check_count("n_shots", n, 0)
    return sorted({int(n) for n in shots})


def _read_tasks(task, X):
    """Find the task of each row, and the column of X that says so."""
    if isinstance(task, (str, Integral)):
        ids, column = task_ids(X if hasattr(X, "shape") else np.asarray(X), task), task
    else:
        ids, column = as_array(task), None
    check_ids(ids)
    return ids, column


def _classifier(methods):
    kinds = {method.name: is_classifier(method.estimator) for method in methods}
    if len(set(kinds.values())) > 1:
        raise ValueError(
            "Some of the estimators are classifiers and some are not: "
            f"{[name for name, kind in kinds.items() if kind]} are. Validate them "
            "apart."
        )
    return next(iter(kinds.values()))


def _folds(cv, X, y, ids, seed):
    """List training rows and held-out tasks of each fold."""
    if cv is None or isinstance(cv, Integral):
        cv = GroupKFold(5 if cv is None else cv, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A splitter that does not look at groups is refused below, where it matters.
        warnings.filterwarnings("ignore", message="The groups parameter is ignored")
        splits = list(check_cv(cv).split(X, y, ids))
    folds = []
    for train, test in splits:
        held_out = np.unique(ids[test]).tolist()
        known = set(np.unique(ids[train]).tolist())
        shared = [name for name in held_out if name in known]
        if shared:
            raise ValueError(
                f"cv puts rows of task {shared[0]!r} into a training set and its test "
                f"set, as of {len(shared) - 1} more tasks. Tasks are held out whole: "
                "pass an int, or a splitter of groups such as GroupKFold."
            )
        folds.append((train, held_out))
    return folds


def _result(scores, shots, n_episodes, scoring):
    """Average over the episodes of each task, and over folds that hold it out twice."""
    names = sorted(next(iter(scores.values())))
    cells = [
        np.concatenate(by_task[name]) for by_task in scores.values() for name in names
    ]
    report_undefined(np.concatenate(cells), scoring, stacklevel=4)
    means = np.array([mean_of_defined(found, axis=0) for found in cells])
    means = means.reshape(len(scores), len(names), len(shots))
    return FewShotResult(
        np.array(shots),
        np.array(names),
        dict(zip(scores, means, strict=True)),
        scoring if isinstance(scoring, str) else _callable_name(scoring),
        n_episodes,
    )


def _callable_name(scoring):
    return getattr(scoring, "__name__", repr(scoring))
