"""Scorers that know tasks and skip missing labels."""

import copy

import numpy as np
from sklearn.utils.metadata_routing import UNCHANGED, MetadataRequest
from sklearn.utils.validation import check_consistent_length

from ._answers import Answers
from ._average import mean_score, warn_of_unseen_classes
from ._metric import Metric
from ._table import LabelTable

_RESPONSES = ("predict", "predict_proba", "auto")
_RESPONSE_OF = {
    "numbers": "predict",
    "labels": "predict",
    "probabilities": "predict_proba",
    "both": "auto",
}


class TaskScorer:
    """Score an estimator by the mean over its tasks, on the labelled cells.

    Pass it as ``scoring=`` to scikit-learn's cross-validation and searches, alone or in
    a dict; scikit-learn's lists hold names only. Scorers by name and ``make_scorer`` of
    scikit-learn refuse missing labels and cannot hand on the task of each row; this one
    skips the first and hands on the second.

    Parameters
    ----------
    metric : callable
        A metric of this package, or any function of the complete labels and
        predictions of one task that takes ``sample_weight``, such as those of
        scikit-learn.
    response_method : {"predict", "predict_proba", "auto"}, default="predict"
        What to ask the estimator for. "auto" is predictions for numbers and
        probabilities for classes.
    greater_is_better : bool, default=True
        If False, the sign is turned, so that greater scores are better.
    **kwargs : dict
        Further arguments of the metric.

    Raises
    ------
    ValueError
        If the response method is unknown or does not give what the metric reads.

    See Also
    --------
    get_scorer : Scorers by the names that scikit-learn uses.
    per_task_scores : A table with the score of each task.

    Notes
    -----
    With row tasks the rows of all tasks enter one score. With tasks of both kinds, a
    metric for numbers is averaged over those of numbers alone, and so for classes.

    With metadata routing enabled, `task` is asked for unless that is turned off, and
    `sample_weight` when ``set_score_request(sample_weight=True)`` says so.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from skmtl.metrics import TaskScorer, mean_pinball_loss
    >>> scorer = TaskScorer(mean_pinball_loss, greater_is_better=False, alpha=0.9)
    >>> scorer
    TaskScorer(mean_pinball_loss, greater_is_better=False, alpha=0.9)
    >>> X = np.arange(20.0).reshape(-1, 1)
    >>> y = np.hstack([X, -X])
    >>> model = RandomForestRegressor(n_estimators=10, random_state=0).fit(X, y)
    >>> y[3:9, 0] = np.nan
    >>> scorer(model, X, y)
    -0.1425
    """

    def __init__(
        self, metric, *, response_method="predict", greater_is_better=True, **kwargs
    ):
        if not callable(metric):
            raise ValueError(
                f"metric must be a function such as skmtl.metrics.r2_score; got "
                f"{metric!r}. Scorers by name come from skmtl.metrics.get_scorer."
            )
        if response_method not in _RESPONSES:
            raise ValueError(
                f"response_method must be one of {_RESPONSES}; got {response_method!r}."
            )
        self.metric = metric
        self.response_method = response_method
        self.greater_is_better = greater_is_better
        self.kwargs = kwargs
        wanted = _RESPONSE_OF.get(engine_of(self).reads, response_method)
        if wanted != response_method:
            raise ValueError(
                f"{metric.__name__} is not computed from {response_method!r}; pass "
                f"response_method={wanted!r}."
            )
        self._requests = {"task": True, "sample_weight": None}

    def __call__(self, estimator, X, y, *, task=None, sample_weight=None):
        """Score a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted; a pipeline or a search around it is fine.
        X : array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            True labels; missing ones do not count.
        task : array-like of shape (n_samples,), optional
            The task of each row, handed to the estimator.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), \
                optional
            Weights.

        Returns
        -------
        score : float
            Mean over the tasks whose score is defined; greater is better.
        """
        table = read_labels(X, y, sample_weight)
        cells = labelled_cells(self, Answers(estimator, X, task), table)
        warn_of_unseen_classes(cells)
        scores = cell_scores(self, cells)
        return mean_score(scores, [c.name for c in cells], engine_of(self).lack)

    def __repr__(self):
        parts = [getattr(self.metric, "__name__", repr(self.metric))]
        if self.response_method != "predict":
            parts.append(f"response_method={self.response_method!r}")
        if not self.greater_is_better:
            parts.append("greater_is_better=False")
        parts += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"TaskScorer({', '.join(parts)})"

    def __sklearn_clone__(self):
        return copy.deepcopy(self)

    def set_score_request(self, *, task=UNCHANGED, sample_weight=UNCHANGED):
        """Say which metadata the scorer asks for when metadata routing is enabled.

        Parameters
        ----------
        task, sample_weight : bool, None or str, default=UNCHANGED
            True asks for it, False ignores it, None raises when it is given, and a str
            asks for it under that name.

        Returns
        -------
        self : TaskScorer
            The scorer itself.
        """
        asked = {"task": task, "sample_weight": sample_weight}
        self._requests |= {k: v for k, v in asked.items() if v is not UNCHANGED}
        return self

    def get_metadata_routing(self):
        """Tell scikit-learn which metadata is asked for.

        Returns
        -------
        routing : MetadataRequest
            Of the method ``score``.
        """
        routing = MetadataRequest(owner=self)
        for name, alias in self._requests.items():
            routing.score.add_request(param=name, alias=alias)
        return routing

    def _accept_sample_weight(self):
        # Searches of scikit-learn ask every scorer of a dict, routing off.
        return True


def engine_of(scorer):
    """Find what computes a scorer's metric on one task.

    Parameters
    ----------
    scorer : TaskScorer
        The scorer.

    Returns
    -------
    metric : Metric or MetricOfBoth
        A function from elsewhere is called on each task's labels as they are.
    """
    own = getattr(scorer.metric, "metric", None)
    return own if hasattr(own, "reads") else Metric(scorer.metric, "own")


def read_labels(X, y, sample_weight):
    """Check labels and weights beside their table.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The table.
    y : array-like of shape (n_samples,) or (n_samples, n_tasks)
        Labels.
    sample_weight : array-like of shape (n_samples,) or (n_samples, n_tasks) or None
        Weights.

    Returns
    -------
    table : LabelTable
        The labels.

    Raises
    ------
    ValueError
        If there are no labels, or lengths differ.
    """
    if y is None:
        raise ValueError("score requires y to be passed, but the target y is None")
    check_consistent_length(X, y)
    return LabelTable.read(y, sample_weight)


def labelled_cells(scorer, answers, table):
    """Read the tasks that a scorer is for.

    Parameters
    ----------
    scorer : TaskScorer
        The scorer.
    answers : Answers
        What the estimator predicts.
    table : LabelTable
        The labels.

    Returns
    -------
    cells : list of Cells
        Of all columns, or, with tasks of both kinds, of those of the metric's kind.

    Raises
    ------
    ValueError
        If there is no such task.
    """
    engine = engine_of(scorer)
    kinds = answers.kinds(table.names)
    chosen = [
        j
        for j, kind in enumerate(kinds)
        if not answers.mixed or engine.kind in (None, kind)
    ]
    if not chosen:
        raise ValueError(
            f"{scorer!r} scores tasks of the kind {engine.kind!r}, and y has none: the "
            f"kinds of its columns are {dict(zip(table.names, kinds, strict=True))}."
        )
    response = scorer.response_method
    by_proba = [
        j
        for j in chosen
        if response == "predict_proba" or (response == "auto" and kinds[j] == "class")
    ]
    tasks = {}
    if len(by_proba) < len(chosen):
        tasks |= enumerate(table.tasks(answers.predictions(table)))
    if by_proba:
        part = table.take(by_proba)
        tasks |= zip(by_proba, part.tasks(*answers.probabilities(part)), strict=True)
    return [engine.read(tasks[j]) for j in chosen]


def cell_scores(scorer, cells):
    """Score each task, greater is better.

    Parameters
    ----------
    scorer : TaskScorer
        The scorer.
    cells : list of Cells
        Labelled cells of each task.

    Returns
    -------
    scores : ndarray of shape (n_tasks,)
        NaN where undefined.
    """
    engine = engine_of(scorer)
    sign = 1 if scorer.greater_is_better else -1
    return np.array([sign * engine.score(c, **scorer.kwargs) for c in cells])
