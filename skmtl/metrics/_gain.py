"""What the tasks gain from being learned together."""

import inspect
from numbers import Real

import numpy as np
from scipy import stats
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from .._tasks import balanced_folds, kinds_of_labels
from ._answers import Answers
from ._frames import import_pandas, take_rows
from ._names import named_scorers
from ._scorer import cell_scores, labelled_cells, read_labels

# Arguments that hold one entry a task, in a list or in a dict by task name.
_OF_EACH_TASK = ("class_weight", "loss", "target_transform", "task_types")


def gain_over_single_task(
    estimator,
    X,
    y,
    *,
    cv=5,
    scoring=None,
    confidence=0.95,
    n_jobs=None,
    random_state=None,
):
    """Compare one model of all tasks with one model a task, by cross-validation.

    On each fold a clone of the estimator is fitted to all columns of y, and one clone a
    column to the labelled rows of that column alone. Both are scored on the labelled
    held-out cells, and the gain is the score of the first less that of the second.

    Parameters
    ----------
    estimator : estimator
        Takes several columns as well as one; a pipeline is fine.
    X : array-like of shape (n_samples, n_features)
        The table.
    y : array-like of shape (n_samples, n_tasks)
        Labels; some may be missing.
    cv : int, cross-validation generator or iterable, default=5
        An int is that many folds that hold classes and missing labels in proportion.
    scoring : str or TaskScorer, default=None
        None is R2 for regressors, accuracy for classifiers, and ``"d2"`` for tasks of
        both kinds.
    confidence : float, default=0.95
        Of the interval, between 0 and 1.
    n_jobs : int, default=None
        Fits at a time.
    random_state : int, RandomState instance or None, default=None
        Draws the folds when `cv` is an int.

    Returns
    -------
    gain : pandas.DataFrame
        A row a task and the row "overall", their mean within each fold. The columns are
        ``joint`` and ``single``, the mean scores; ``gain``, positive where sharing
        helped, in units of the score; ``lower`` and ``upper``, the interval of the
        gain; and ``n_folds``, the folds in which both scores are defined.

    Raises
    ------
    ImportError
        If pandas is not installed.
    ValueError
        If y has a single column, or the estimator has row tasks.

    Notes
    -----
    Scores of overlapping training sets are correlated. The interval is the corrected
    resampled t interval of [1]_: the variance over folds counts by 1 / n_folds +
    n_test / n_train.

    Arguments that name tasks are adapted to the single task: ``task_weights`` is set to
    None, unless it is a string, and of ``class_weight``, ``task_types`` and
    ``target_transform``, as lists of one entry a task or dicts by task name, the task's
    own entry is kept. A task with fewer than two labels in a training fold has no score
    there.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio (2003). Inference for the Generalization Error. Machine
       Learning 52, 239-281. https://doi.org/10.1023/A:1024068626366

    Examples
    --------
    >>> from sklearn.datasets import load_linnerud
    >>> from sklearn.linear_model import LinearRegression
    >>> from skmtl.metrics import gain_over_single_task
    >>> X, y = load_linnerud(return_X_y=True, as_frame=True)
    >>> gain = gain_over_single_task(LinearRegression(), X, y, cv=2, random_state=0)
    >>> round(float(gain.loc["overall", "gain"]), 6)  # least squares share nothing
    0.0
    """
    pandas = import_pandas("gain_over_single_task")
    table = read_labels(X, y, None)
    _check_column_tasks(estimator, table)
    scorer = _one_scorer(estimator, scoring)
    if isinstance(cv, (int, np.integer)):
        if random_state is None:
            # Fresh entropy rather than NumPy's global state, which stays as it is.
            random_state = np.random.RandomState(
                np.random.SeedSequence().generate_state(4)
            )
        cv = _balanced(y, int(cv), check_random_state(random_state))
    folds = list(check_cv(cv).split(X, y))
    parallel = Parallel(n_jobs=n_jobs)
    joint = parallel(
        delayed(_joint_scores)(estimator, scorer, X, y, *fold) for fold in folds
    )
    # With tasks of both kinds, a metric may be for some of them alone.
    columns = [j for j, name in enumerate(table.names) if name in joint[0]]
    single = parallel(
        delayed(_single_score)(estimator, scorer, X, y, table, j, *fold)
        for fold in folds
        for j in columns
    )
    names = [table.names[j] for j in columns]
    joint = np.array([[scores[name] for name in names] for scores in joint])
    single = np.reshape(single, joint.shape)
    ratio = np.mean([len(test) / len(train) for train, test in folds])
    return _summary(pandas, names, joint, single, ratio, confidence)


def corrected_interval(differences, ratio, confidence=0.95):
    """Compute the corrected resampled t interval of a mean over folds.

    Parameters
    ----------
    differences : ndarray of shape (n_folds,)
        One difference a fold.
    ratio : float
        Held-out rows over training rows.
    confidence : float, default=0.95
        Of the interval.

    Returns
    -------
    lower, upper : float
        NaN with fewer than two folds.
    """
    n_folds = len(differences)
    if n_folds < 2:
        return np.nan, np.nan
    mean, variance = np.mean(differences), np.var(differences, ddof=1)
    half = stats.t.ppf(0.5 + confidence / 2, n_folds - 1)
    half *= np.sqrt((1 / n_folds + ratio) * variance)
    return mean - half, mean + half


def _check_column_tasks(estimator, table):
    params = estimator.get_params(deep=True)
    given = [
        k for k, v in params.items() if _last(k) == "task_column" and v is not None
    ]
    if given:
        raise ValueError(
            f"gain_over_single_task compares columns of y, but {given[0]} is set: the "
            "tasks are rows. Compare with a pooled model by cross_validate instead."
        )
    if len(table.names) < 2:
        raise ValueError(
            "y has 1 column; gain_over_single_task needs one column for each of two or "
            "more tasks."
        )


def _one_scorer(estimator, scoring):
    if scoring is None:
        scoring = "r2" if is_regressor(estimator) else "d2"
        scoring = "accuracy" if is_classifier(estimator) else scoring
    (scorer,) = named_scorers([scoring]).values()
    return scorer


def _joint_scores(estimator, scorer, X, y, train, test):
    model = clone(estimator).fit(take_rows(X, train), take_rows(y, train))
    return _scores_by_name(model, scorer, take_rows(X, test), take_rows(y, test))


def _single_score(estimator, scorer, X, y, table, j, train, test):
    labelled = table.labelled()[:, j]
    column = y.iloc[:, j] if hasattr(y, "iloc") else table.columns[j]
    train, test = train[labelled[train]], test[labelled[test]]
    if len(train) < 2 or not len(test):
        return np.nan
    model = clone(estimator)
    name = table.names[j] if hasattr(y, "columns") else 0
    model.set_params(**_params_of_one(model, table.names, j, name))
    model.fit(take_rows(X, train), take_rows(column, train))
    scores = _scores_by_name(model, scorer, take_rows(X, test), take_rows(column, test))
    (score,) = scores.values()
    return score


def _scores_by_name(model, scorer, X, y):
    cells = labelled_cells(scorer, Answers(model, X), read_labels(X, y, None))
    scores = cell_scores(scorer, cells)
    return {c.name: score for c, score in zip(cells, scores, strict=True)}


def _params_of_one(estimator, names, j, new_name):
    """Find the arguments that name tasks, and keep what is of task j."""
    changed = {}
    for key, value in estimator.get_params(deep=True).items():
        if _last(key) == "task_weights" and not isinstance(value, str):
            changed[key] = None
        elif _last(key) in _OF_EACH_TASK:
            own = _own_entry(value, names, j)
            if own is None:
                own = _default(estimator, key)
            if own is not value and _last(key) == "task_types":
                own = {new_name: own} if own in ("number", "class") else "auto"
            changed[key] = own
    return changed


def _balanced(y, n_folds, random_state):
    """Deal classes and missing labels evenly; lone rows of a class stay in training."""
    columns, values = kinds_of_labels(y)
    rows = np.arange(len(columns[0]))
    fold = balanced_folds(columns, len(rows), n_folds, random_state, values=values)
    return [(rows[fold != k], rows[fold == k]) for k in range(n_folds)]


def _default(estimator, key):
    """Find the default of an argument, of an estimator or of a step inside it."""
    prefix = key.rpartition("__")[0]
    owner = estimator.get_params()[prefix] if prefix else estimator
    parameter = inspect.signature(type(owner)).parameters.get(_last(key))
    known = parameter is not None and parameter.default is not parameter.empty
    return parameter.default if known else None


def _own_entry(value, names, j):
    # Numbers are the weights of the classes 0, 1, ..., whatever the tasks are called.
    by_class = isinstance(value, dict) and any(
        isinstance(v, Real) for v in value.values()
    )
    if isinstance(value, dict) and set(value) <= set(names) and not by_class:
        return value.get(names[j])
    if isinstance(value, (list, tuple, np.ndarray)) and len(value) == len(names):
        return value[j]
    return value


def _last(key):
    return key.rpartition("__")[2]


def _summary(pandas, names, joint, single, ratio, confidence):
    defined = ~(np.isnan(joint) | np.isnan(single))
    rows = [
        _row(joint[known, t], single[known, t], ratio, confidence)
        for t, known in enumerate(defined.T)
    ]
    some = defined.any(axis=1)
    means = [
        [scores[k, defined[k]].mean() for k in np.flatnonzero(some)]
        for scores in (joint, single)
    ]
    rows.append(_row(*np.array(means), ratio, confidence))
    return pandas.DataFrame(rows, index=[*names, "overall"])


def _row(joint, single, ratio, confidence):
    n_folds = len(joint)
    lower, upper = corrected_interval(joint - single, ratio, confidence)
    nothing = np.nan
    return {
        "joint": joint.mean() if n_folds else nothing,
        "single": single.mean() if n_folds else nothing,
        "gain": (joint - single).mean() if n_folds else nothing,
        "lower": lower,
        "upper": upper,
        "n_folds": n_folds,
    }
