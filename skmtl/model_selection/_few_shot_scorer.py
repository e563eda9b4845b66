"""A scorer of adaptation to tasks that were not in training."""

import copy

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.metadata_routing import UNCHANGED, MetadataRequest
from sklearn.utils.validation import check_is_fitted

from ._episodes import check_count, draw_episodes, seed_of
from ._inner_tasks import refuse_known_tasks, tasks_of_rows
from ._shots import (
    check_scoring,
    chosen_scoring,
    expected_warnings_off,
    mean_of_defined,
    report_undefined,
    score_shots,
    scorer_of,
)


def make_few_shot_scorer(scoring=None, *, n_shots=5, n_episodes=5, random_state=None):
    """Make a scorer of how well an estimator adapts to new tasks.

    Pass it as ``scoring=`` to scikit-learn's cross-validation and searches, beside a
    splitter that holds out whole tasks, such as GroupKFold. Each task of the test fold
    is split into a support of few rows, which a copy of the estimator adapts to, and a
    query, on which the adapted copy is scored. The score is the mean over tasks of the
    mean over episodes.

    Parameters
    ----------
    scoring : str, TaskScorer or callable(estimator, X, y), default=None
        What to score the query by: a name that :func:`skmtl.metrics.get_scorer` knows,
        a scorer of this package or of scikit-learn. None is negative root mean squared
        error for regressors and accuracy for classifiers.
    n_shots : int, default=5
        Labelled rows of the support; 0 scores the estimator as it is.
    n_episodes : int, default=5
        Random splits of each task.
    random_state : int, RandomState instance or None, default=None
        Draws the splits. A seed is fixed when the scorer is made, whatever is given:
        the candidates of a search are compared on the same splits.

    Returns
    -------
    scorer : callable
        Of a fitted estimator, X and y, and the keyword `task`. It finds the tasks by
        the ``task_column`` of the estimator, looked up inside pipelines, searches,
        transformed targets and frozen estimators. Without a column it asks for the
        metadata `task`, with metadata routing enabled.

    Raises
    ------
    ValueError
        If an argument is not valid. The scorer raises if the tasks are not known, the
        estimator was trained on one of them, or none has rows enough.

    See Also
    --------
    few_shot_validate : The whole curve, beside baselines, with intervals.
    skmtl.adapt : What adapts the estimator.
    skmtl.Adapted : For scores on the rows of a single new task.

    Notes
    -----
    R2 of five rows means little, and a task in which labels hardly vary makes it
    hugely negative: hence the errors in units of the target. Where tasks differ in
    scale, the errors of large ones dominate their mean; transform the target then.

    For classifiers the first rows of a support are of different classes, as far as
    there are shots. Rows without labels are in no support and no query.

    Inside a cross-validation, scikit-learn turns errors into NaN with a warning; pass
    ``error_score="raise"`` to see them.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GroupKFold, cross_val_score
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.model_selection import make_few_shot_scorer
    >>> rng = np.random.default_rng(0)
    >>> task = np.repeat(np.arange(12), 20)
    >>> X = np.c_[task, rng.normal(size=(240, 2))]
    >>> y = X[:, 1] + rng.normal(size=12)[task]
    >>> net = MultiTaskNetRegressor(
    ...     task_column=0, n_estimators=2, max_epochs=10, random_state=0
    ... )
    >>> scorer = make_few_shot_scorer(n_shots=5, random_state=0)
    >>> scorer
    make_few_shot_scorer(n_shots=5, n_episodes=5, random_state=0)
    >>> cross_val_score(
    ...     net, X, y, groups=task, cv=GroupKFold(3), scoring=scorer
    ... ).shape
    (3,)
    """
    check_scoring(scoring)
    check_count("n_shots", n_shots, 0)
    check_count("n_episodes", n_episodes, 1)
    return _FewShotScorer(scoring, n_shots, n_episodes, random_state)


class _FewShotScorer:
    """What ``make_few_shot_scorer`` makes."""

    def __init__(self, scoring, n_shots, n_episodes, random_state):
        self.scoring = scoring
        self.n_shots = int(n_shots)
        self.n_episodes = int(n_episodes)
        self.random_state = random_state
        self._seed = seed_of(random_state)
        self._task_request = True

    def __call__(self, estimator, X, y, *, task=None):
        """Score a fitted estimator; greater is better, as `scoring` says."""
        check_is_fitted(estimator)
        scoring = chosen_scoring(self.scoring, estimator)
        scorer = scorer_of(scoring)
        ids = tasks_of_rows(estimator, X, task)
        refuse_known_tasks(estimator, ids)
        drawn = draw_episodes(
            y,
            ids,
            n_shots=self.n_shots,
            n_episodes=self.n_episodes,
            seed=self._seed,
            classifier=is_classifier(estimator),
        )
        with expected_warnings_off():
            scores = np.array(
                [
                    [
                        score_shots(scorer, estimator, X, y, ids, e, [self.n_shots])[0]
                        for e in episodes
                    ]
                    for episodes in drawn.values()
                ]
            )
        report_undefined(scores, scoring)
        return float(mean_of_defined(mean_of_defined(scores, axis=1), axis=0))

    def __repr__(self):
        scoring = [] if self.scoring is None else [repr(self.scoring)]
        given = [
            f"{name}={getattr(self, name)!r}"
            for name in ("n_shots", "n_episodes", "random_state")
        ]
        return f"make_few_shot_scorer({', '.join(scoring + given)})"

    def __sklearn_clone__(self):
        return copy.deepcopy(self)

    def set_score_request(self, *, task=UNCHANGED):
        """Say whether `task` is asked for when metadata routing is enabled."""
        if task is not UNCHANGED:
            self._task_request = task
        return self

    def get_metadata_routing(self):
        """Tell scikit-learn which metadata is asked for."""
        routing = MetadataRequest(owner=self)
        routing.score.add_request(param="task", alias=self._task_request)
        return routing

    def _accept_sample_weight(self):
        # Searches of scikit-learn ask every scorer of a dict, routing off.
        return False
