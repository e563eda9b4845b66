"""Scorers by name."""

from . import _labels, _numbers, _probabilities
from ._scorer import TaskScorer

# Of each name: the metric and further arguments of the scorer.
_SCORERS = {
    "r2": (_numbers.r2_score, {}),
    "neg_root_mean_squared_error": (
        _numbers.root_mean_squared_error,
        {"greater_is_better": False},
    ),
    "neg_mean_absolute_error": (
        _numbers.mean_absolute_error,
        {"greater_is_better": False},
    ),
    "neg_mean_absolute_percentage_error": (
        _numbers.mean_absolute_percentage_error,
        {"greater_is_better": False},
    ),
    "neg_mean_pinball_loss": (
        _numbers.mean_pinball_loss,
        {"greater_is_better": False},
    ),
    "accuracy": (_labels.accuracy_score, {}),
    "balanced_accuracy": (_labels.balanced_accuracy_score, {}),
    "f1_macro": (_labels.f1_score, {}),
    "recall_macro": (_labels.recall_score, {}),
    "precision_macro": (_labels.precision_score, {}),
    "roc_auc": (
        _probabilities.roc_auc_score,
        {"response_method": "predict_proba"},
    ),
    "average_precision": (
        _probabilities.average_precision_score,
        {"response_method": "predict_proba"},
    ),
    "neg_log_loss": (
        _probabilities.log_loss,
        {"response_method": "predict_proba", "greater_is_better": False},
    ),
    "d2": (_probabilities.d2_score, {"response_method": "auto"}),
    "neg_expected_calibration_error": (
        _probabilities.expected_calibration_error,
        {"response_method": "predict_proba", "greater_is_better": False},
    ),
}


def get_scorer(name):
    """Make a scorer by the name that scikit-learn uses.

    Parameters
    ----------
    name : str
        One of :func:`get_scorer_names`; ``"neg_"`` stands before errors.

    Returns
    -------
    scorer : TaskScorer
        A new one, to be passed as ``scoring=``. Names are not registered with
        scikit-learn, whose own scorers refuse missing labels.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> from skmtl.metrics import get_scorer
    >>> get_scorer("neg_log_loss")
    TaskScorer(log_loss, response_method='predict_proba', greater_is_better=False)
    """
    if name not in get_scorer_names():
        raise ValueError(
            f"{name!r} is not a scorer of skmtl. The names are {get_scorer_names()}; "
            "TaskScorer makes others of any metric."
        )
    metric, arguments = _SCORERS[name]
    return TaskScorer(metric, **arguments)


def get_scorer_names():
    """List the names of scorers.

    Returns
    -------
    names : list of str
        What :func:`get_scorer` takes.

    Examples
    --------
    >>> from skmtl.metrics import get_scorer_names
    >>> len(get_scorer_names())
    15
    """
    return sorted(_SCORERS)


def named_scorers(scoring):
    """Turn a choice of scorers into a dict.

    Parameters
    ----------
    scoring : str, TaskScorer, list of them, or dict of them by name
        The choice.

    Returns
    -------
    scorers : dict of TaskScorer by name
        Objects in a list are named by their metric.

    Raises
    ------
    ValueError
        If a name is unknown, or something is no scorer.
    """
    if isinstance(scoring, dict):
        return {name: _as_scorer(item) for name, item in scoring.items()}
    items = list(scoring) if isinstance(scoring, (list, tuple)) else [scoring]
    return {
        item if isinstance(item, str) else repr(item): _as_scorer(item)
        for item in items
    }


def _as_scorer(item):
    if isinstance(item, TaskScorer):
        return item
    if isinstance(item, str):
        return get_scorer(item)
    raise ValueError(
        f"scoring holds {item!r}, which is neither a name nor a TaskScorer. Wrap a "
        "metric by skmtl.metrics.TaskScorer(metric)."
    )
