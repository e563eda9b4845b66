"""The score of a fitted estimator after a number of shots."""

import warnings
from contextlib import contextmanager

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.exceptions import UndefinedMetricWarning

from .._adapt import adapt
from ..metrics import TaskScorer, get_scorer
from ._inner_tasks import innermost, takes_task_to_predict
from ._rows import take


def check_scoring(scoring):
    """Refuse what is no choice of a scorer.

    Parameters
    ----------
    scoring : str, callable or None
        The choice.

    Raises
    ------
    ValueError
        If it is none of them, or the name is unknown.
    """
    if isinstance(scoring, str):
        get_scorer(scoring)
    elif scoring is not None and not callable(scoring):
        raise ValueError(
            f"scoring must be a name of skmtl.metrics.get_scorer, a TaskScorer, a "
            f"callable(estimator, X, y) or None; got {scoring!r}."
        )


def chosen_scoring(scoring, estimator):
    """Choose the default for an estimator, where nothing is chosen.

    Parameters
    ----------
    scoring : str, callable or None
        None is negative RMSE for regressors and accuracy for classifiers.
    estimator : estimator
        Fitted or not.

    Returns
    -------
    scoring : str or callable
        What :func:`scorer_of` takes.

    Raises
    ------
    ValueError
        If None is given for what is neither a regressor nor a classifier.
    """
    if scoring is not None:
        return scoring
    if is_regressor(estimator):
        return "neg_root_mean_squared_error"
    if is_classifier(estimator):
        return "accuracy"
    raise ValueError(
        f"There is no default scoring for {type(estimator).__name__}, which is neither "
        "a regressor nor a classifier. Pass scoring, such as 'd2'."
    )


def scorer_of(scoring):
    """Make a scorer by its name.

    Parameters
    ----------
    scoring : str or callable
        A callable is a scorer already.

    Returns
    -------
    scorer : callable
        Of estimator, X and y.
    """
    return get_scorer(scoring) if isinstance(scoring, str) else scoring


def can_adapt(fitted):
    """Tell whether an estimator adapts, through what is wrapped around it.

    Parameters
    ----------
    fitted : estimator
        Fitted.

    Returns
    -------
    can : bool
        True if the innermost has ``adapt``.
    """
    return hasattr(innermost(fitted), "adapt")


def score_shots(scorer, fitted, X, y, ids, episode, n_shots):
    """Score an estimator on the query after adaptation to parts of the support.

    Parameters
    ----------
    scorer : callable
        Of estimator, X and y.
    fitted : estimator
        Fitted to other tasks.
    X : array-like of shape (n_samples, n_features)
        The table.
    y : array-like of shape (n_samples,) or (n_samples, n_columns)
        Labels.
    ids : ndarray of shape (n_samples,)
        The task of each row.
    episode : Episode
        Rows of one task.
    n_shots : iterable of int
        How many rows of the support to adapt to; none at 0.

    Returns
    -------
    scores : list of float
        One a number of shots.
    """
    rows = episode.query
    X_query, y_query = take(X, rows), take(y, rows)
    scores = []
    for n in n_shots:
        if n == 0:
            score = _zero_shots(scorer, fitted, X_query, y_query, ids[rows])
        else:
            support = episode.support[:n]
            adapted = adapt(fitted, take(X, support), take(y, support))
            score = scorer(adapted, X_query, y_query)
        scores.append(score)
    return scores


def _zero_shots(scorer, fitted, X, y, ids):
    if not takes_task_to_predict(fitted):
        return scorer(fitted, X, y)
    if not isinstance(scorer, TaskScorer):
        raise ValueError(
            "Before adaptation this estimator predicts with the task of each row, "
            f"which {scorer!r} does not hand on. Score by a name or a TaskScorer, or "
            "put the ids into a column of X and name it by task_column."
        )
    return scorer(fitted, X, y, task=ids)


@contextmanager
def expected_warnings_off():
    """Silence what is no news in an episode.

    New tasks are new, and a support may lack classes of the query. A query may be one
    on which a score means nothing; that is counted, and told once by
    ``report_undefined``.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*that (fit|adapt) did not see")
        warnings.filterwarnings(
            "ignore", message=".*classes that the model did not see"
        )
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        yield


def mean_of_defined(scores, axis):
    """Average scores, leaving out those that are NaN.

    Parameters
    ----------
    scores : ndarray
        Scores.
    axis : int
        What to average over.

    Returns
    -------
    mean : ndarray or float
        NaN where no score is defined.
    """
    defined = ~np.isnan(scores)
    count = defined.sum(axis=axis)
    total = np.where(defined, scores, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)[()]


def report_undefined(scores, scoring, stacklevel=3):
    """Warn once of scores that are NaN.

    Parameters
    ----------
    scores : ndarray
        One an episode and number of shots.
    scoring : str or callable
        What scored, for the message.
    stacklevel : int, default=3
        Of the warning.
    """
    n_undefined = int(np.isnan(scores).sum())
    if n_undefined:
        warnings.warn(
            f"The score {scoring!r} is not defined in {n_undefined} of "
            f"{np.size(scores)} episodes and numbers of shots; these are left out of "
            "the means.",
            UndefinedMetricWarning,
            stacklevel=stacklevel,
        )
