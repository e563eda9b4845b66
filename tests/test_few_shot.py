"""Cross-validation over tasks: scorer, curve, baselines and picture."""

import pickle
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import sklearn
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer as sklearn_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skmtl import MultiTaskNetClassifier, MultiTaskNetRegressor, adapt
from skmtl.metrics import get_scorer
from skmtl.model_selection import (
    AdaptationCurveDisplay,
    FewShotResult,
    TaskKFold,
    few_shot_validate,
    make_few_shot_scorer,
)
from skmtl.model_selection._baselines import PerTask, PooledResidual, shrinkage
from skmtl.model_selection._episodes import draw_episodes

SMALL = {"n_estimators": 1, "max_epochs": 3, "random_state": 0}
N_TASKS, N_ROWS = 8, 12


class Level(RegressorMixin, BaseEstimator):
    """Predict the mean of what it is fitted or adapted to; column 0 is the task."""

    task_column = 0

    def __init__(self, log=None, factor=1.0):
        self.log = log
        self.factor = factor

    def __sklearn_clone__(self):
        return Level(self.log, self.factor)

    def fit(self, X, y):
        self.task_names_ = np.unique(np.asarray(X)[:, 0])
        self.level_ = self.factor * np.mean(y)
        return self

    def adapt(self, X, y):
        if self.log is not None:
            self.log.append(("adapt", np.asarray(X)[:, 1], np.asarray(y)))
        adapted = clone(self)
        adapted.level_ = self.factor * np.mean(y)
        return adapted

    def predict(self, X):
        if self.log is not None:
            self.log.append(("predict", np.asarray(X)[:, 1], self.level_))
        return np.full(len(X), self.level_)


class ClassSpy(ClassifierMixin, BaseEstimator):
    """A classifier that remembers the labels it is adapted to."""

    task_column = 0

    def __init__(self, log=None):
        self.log = log

    def __sklearn_clone__(self):
        return ClassSpy(self.log)

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def adapt(self, X, y):
        self.log.append(list(y))
        return clone(self).fit(X, y)

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


@pytest.fixture(scope="module")
def data():
    """Tasks that differ in level: X has the task, the number of the row, a feature."""
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(N_TASKS), N_ROWS)
    rows = np.arange(len(task))
    X = np.c_[task, rows, rng.normal(size=len(task))]
    y = (
        X[:, 2]
        + 3.0 * rng.normal(size=N_TASKS)[task]
        + 0.1 * rng.normal(size=len(task))
    )
    for array in (X, y, task):
        array.flags.writeable = False
    return X, y, task


def learned_and_asked(log):
    """Pairs of rows adapted to and rows predicted, in the order of the calls."""
    pairs, support = [], np.array([], int)
    for what, rows, _ in log:
        if what == "adapt":
            support = rows.astype(int)
        else:
            pairs.append((support, rows.astype(int)))
            support = np.array([], int)
    return pairs


def of_other_tasks(X):
    """The same rows with new ids."""
    return X + np.array([100, 0, 0])


# -- episodes --------------------------------------------------------------------


def test_supports_are_nested_and_the_query_is_common(data):
    X, y, _ = data
    log = []
    few_shot_validate(Level(log), X, y, 0, 4, (0, 1, 3, 5), n_episodes=2)
    pairs = learned_and_asked(log)
    assert len(pairs) == N_TASKS * 2 * 4
    for k in range(0, len(pairs), 4):
        supports = [support for support, _ in pairs[k : k + 4]]
        queries = [query for _, query in pairs[k : k + 4]]
        assert [len(s) for s in supports] == [0, 1, 3, 5]
        for small, large in pairwise(supports):
            assert small.tolist() == large[: len(small)].tolist()
        assert all(q.tolist() == queries[0].tolist() for q in queries)
        assert len(queries[0]) == N_ROWS - 5
        assert not set(queries[0]) & set(supports[-1])
        assert len(set((X[[*queries[0], *supports[-1]], 0]).tolist())) == 1


def test_first_rows_of_a_support_are_of_different_classes():
    y = np.array(["a"] * 20 + ["b"] * 2 + ["c"])
    drawn = draw_episodes(
        y, np.zeros(23), n_shots=4, n_episodes=20, seed=0, classifier=True
    )
    for episode in drawn[0.0]:
        assert len(set(y[episode.support[:3]])) == 3


def test_rows_without_labels_are_in_no_episode(data):
    X, y, _ = data
    y = y.copy()
    y[::3] = np.nan
    log = []
    scores = few_shot_validate(
        Level(log).set_params(), X, y, 0, [(np.arange(12, 96), np.arange(12))], (1, 3)
    )
    seen = np.concatenate([np.r_[s, q] for s, q in learned_and_asked(log)])
    assert set(seen) == {r for r in range(12) if r % 3}
    assert scores.tasks.tolist() == [0]


def test_tasks_without_a_row_to_ask_are_left_out_with_one_warning(data):
    X, y, _ = data
    keep = np.r_[0:4, 12:96]
    with pytest.warns(UserWarning, match=r"1 of 8 .* task 0.0 with 4") as caught:
        result = few_shot_validate(Level(), X[keep], y[keep], 0, n_shots=(1, 4))
    assert len(caught) == 1
    assert result.tasks.tolist() == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(ValueError, match=r"No task is left. Lower n_shots"):
        few_shot_validate(Level(), X, y, 0, n_shots=12)


# -- the scorer ------------------------------------------------------------------


def test_adaptation_sees_the_support_only(data):
    X, y, task = data
    log = []
    scorer = make_few_shot_scorer(n_shots=3, n_episodes=2, random_state=0)
    model = Level(log).fit(X[task > 1], y[task > 1])
    scorer(model, X[task < 2], y[task < 2])
    pairs = learned_and_asked(log)
    assert len(pairs) == 4
    for support, query in pairs:
        assert len(support) == 3
        assert sorted([*support, *query]) in (list(range(12)), list(range(12, 24)))
    labels = [labels for what, _, labels in log if what == "adapt"]
    assert all(
        own.tolist() == y[s].tolist() for own, (s, _) in zip(labels, pairs, strict=True)
    )
    assert model.level_ == np.mean(y[task > 1])


def test_score_by_hand():
    X = np.array([[0, 0], [0, 1], [0, 2], [1, 3], [1, 4], [1, 5]], float)
    y = np.array([2.0, 2.0, 2.0, 4.0, 4.0, 5.0])
    train = np.array([[9, 9], [8, 8]], float)
    model = Level().fit(train, np.array([1.0, 1.0]))
    scorer = make_few_shot_scorer(n_shots=2, n_episodes=200, random_state=0)
    # Task 1 leaves out the 5 in a third of the episodes, with an error of 1, and else
    # a 4, with an error of 0.5. Task 0 has no error.
    expected = -(0.0 + (1 / 3 + 2 / 3 * 0.5)) / 2
    assert scorer(model, X, y) == pytest.approx(expected, abs=0.02)
    zero = make_few_shot_scorer("neg_mean_absolute_error", n_shots=0, n_episodes=1)
    assert zero(model, X, y) == pytest.approx(-(1 + 10 / 3) / 2)


def test_scorer_gives_what_the_curve_gives(data):
    X, y, task = data
    splits = [(np.flatnonzero(task > 2), np.flatnonzero(task < 3))]
    result = few_shot_validate(Level(), X, y, 0, splits, 4, random_state=3)
    scorer = make_few_shot_scorer(n_shots=4, random_state=3)
    found = cross_val_score(Level(), X, y, cv=splits, scoring=scorer)
    assert found[0] == pytest.approx(result.mean["Level"][0], rel=1e-12)


def test_scorer_in_a_search_over_whole_tasks(data):
    X, y, task = data
    scorer = make_few_shot_scorer(n_shots=5)
    search = GridSearchCV(
        Level(), {"factor": [0.0, 1.0]}, scoring=scorer, cv=GroupKFold(4)
    )
    search.fit(X, y, groups=task)
    assert search.best_params_ == {"factor": 1.0}
    # The draws are fixed when the scorer is made: a score repeats.
    scores = [scorer(search, of_other_tasks(X), y) for _ in range(2)]
    assert scores[0] == scores[1]


def test_dict_of_scorers(data):
    X, y, task = data
    scoring = {n: make_few_shot_scorer(n_shots=n, random_state=0) for n in (0, 5)}
    scoring = {f"after_{n}": scorer for n, scorer in scoring.items()}
    found = cross_validate(
        Level(), X, y, groups=task, cv=GroupKFold(2), scoring=scoring
    )
    assert (found["test_after_5"] > found["test_after_0"]).all()


@pytest.mark.parametrize("kind", ["column", "pipeline", "target", "search", "frozen"])
def test_scorer_looks_through_what_is_wrapped_around(data, kind):
    X, y, task = data
    frame = pd.DataFrame(X[:, 2:], columns=["a"]).assign(
        store=np.array(list("abcdefgh"))[task]
    )
    net = MultiTaskNetRegressor(task_column="store", **SMALL)
    column = sklearn.compose.make_column_transformer(
        (StandardScaler(), ["a"]),
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    model = {
        "column": net,
        "pipeline": make_pipeline(column, net),
        "target": TransformedTargetRegressor(net, transformer=StandardScaler()),
        "search": GridSearchCV(
            net,
            {"lr": [0.01]},
            cv=TaskKFold(2, task_column="store", random_state=0),
            scoring=get_scorer("neg_mean_absolute_error"),
        ),
        "frozen": make_pipeline(net),
    }[kind]
    train, test = task > 1, task < 2
    model = model.fit(frame[train], y[train])
    model = FrozenEstimator(model) if kind == "frozen" else model
    for scoring in (None, sklearn_scorer("neg_mean_absolute_error")):
        scores = [
            make_few_shot_scorer(scoring, n_shots=n, n_episodes=2, random_state=0)(
                model, frame[test], y[test]
            )
            for n in (0, 8)
        ]
        assert scores[1] > scores[0]


def test_scorer_with_metadata_routing(data):
    X, y, task = data
    net = MultiTaskNetRegressor(**SMALL)
    scoring = {
        f"after_{n}": make_few_shot_scorer(n_shots=n, n_episodes=2, random_state=0)
        for n in (0, 8)
    }
    params = {"task": task, "groups": task}
    with sklearn.config_context(enable_metadata_routing=True):
        found = cross_validate(
            net, X[:, 2:], y, cv=GroupKFold(2), params=params, scoring=scoring
        )
        search = GridSearchCV(
            make_pipeline(StandardScaler(), net),
            {"multitasknetregressor__lr": [0.01]},
            scoring=scoring["after_8"],
            cv=GroupKFold(2),
        ).fit(X[:, 2:], y, **params)
        silent = make_few_shot_scorer().set_score_request(task=False)
        with pytest.raises(ValueError, match="task_column of MultiTaskNetRegressor"):
            cross_val_score(
                net,
                X[:, 2:],
                y,
                cv=GroupKFold(2),
                params=params,
                scoring=silent,
                error_score="raise",
            )
    assert (found["test_after_8"] > found["test_after_0"]).all()
    assert np.isfinite(search.best_score_)


def test_zero_shots_with_task_needs_a_scorer_that_hands_it_on(data):
    X, y, task = data
    net = MultiTaskNetRegressor(**SMALL).fit(X[:, 2:], y, task=task)
    scorer = make_few_shot_scorer(sklearn_scorer("r2"), n_shots=0)
    with pytest.raises(ValueError, match="does not hand on"):
        scorer(net, X[:, 2:], y, task=task + 100)


def test_column_tasks_may_be_adapted_to_new_groups(data):
    X, y, task = data
    net = MultiTaskNetRegressor(**SMALL).fit(X[:, 2:], y)
    scorer = make_few_shot_scorer(n_shots=8, n_episodes=1, random_state=0)
    assert scorer(net, X[:, 2:], y, task=task) < 0


def test_classifiers_adapt_to_every_class(data):
    X, _, _ = data
    y = np.tile(["a", "b", "c", "a"], 24)
    log = []
    scorer = make_few_shot_scorer(n_shots=3, n_episodes=2, random_state=0)
    score = scorer(ClassSpy(log).fit(X, y), X, y)
    assert len(log) == 2 * N_TASKS
    assert all(sorted(labels) == ["a", "b", "c"] for labels in log)
    assert score == pytest.approx(5 / 9)


def test_scores_that_mean_nothing_are_left_out_with_one_warning(data):
    X, y, task = data
    labels = (y > np.median(y)).astype(int)
    labels[task == 0] = 1
    net = MultiTaskNetClassifier(task_column=0, **SMALL).fit(
        X[task > 3], labels[task > 3]
    )
    scorer = make_few_shot_scorer("roc_auc", n_shots=2, n_episodes=3, random_state=0)
    with pytest.warns(
        UndefinedMetricWarning, match="'roc_auc' is not defined"
    ) as caught:
        score = scorer(net, X[task < 4], labels[task < 4])
    assert len(caught) == 1
    assert 0 <= score <= 1


def test_scorer_refuses_tasks_of_the_training(data):
    X, y, task = data
    scorer = make_few_shot_scorer()
    with pytest.raises(ValueError, match=r"Task 0.0 .* 7 more .* cv=GroupKFold"):
        cross_val_score(
            Level(),
            X,
            y,
            cv=KFold(2, shuffle=True),
            scoring=scorer,
            error_score="raise",
        )
    with pytest.raises(ValueError, match="task is missing in 1 rows"):
        scorer(Level().fit(X, y), X, y, task=[None, *task[1:].tolist()])


def test_scorer_says_when_it_does_not_know_the_tasks(data):
    X, y, task = data
    model = LinearRegression().fit(X, y)
    scorer = make_few_shot_scorer()
    with pytest.raises(ValueError, match=r"task_column of LinearRegression is not set"):
        scorer(model, X, y)
    with pytest.raises(TypeError, match="LinearRegression cannot be adapted"):
        scorer(model, X, y, task=task)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_shots": -1}, "n_shots must be an int of at least 0; got -1"),
        ({"n_shots": 2.5}, "n_shots must be an int"),
        ({"n_episodes": 0}, "n_episodes must be an int of at least 1; got 0"),
        ({"scoring": "rmse"}, "'rmse' is not a scorer of skmtl"),
        ({"scoring": 3}, "scoring must be a name"),
        ({"random_state": -1}, "Seed must be between|cannot be used to seed"),
    ],
)
def test_scorer_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_few_shot_scorer(**arguments)


def test_scorer_clones_prints_and_pickles(data):
    X, y, _ = data
    scorer = make_few_shot_scorer("r2", n_shots=2)
    assert repr(scorer) == (
        "make_few_shot_scorer('r2', n_shots=2, n_episodes=5, random_state=None)"
    )
    model = Level().fit(X, y)
    twins = [clone(scorer), pickle.loads(pickle.dumps(scorer))]
    assert len({s(model, of_other_tasks(X), y) for s in [scorer, *twins]}) == 1
    other = make_few_shot_scorer("r2", n_shots=2)
    assert other(model, of_other_tasks(X), y) != scorer(model, of_other_tasks(X), y)


# -- the curve -------------------------------------------------------------------


def test_all_methods_get_the_same_rows(data):
    X, y, task = data
    logs = [], [], []
    models = {str(k): Level(log) for k, log in enumerate(logs)}
    result = few_shot_validate(
        models, X, y, task, 4, (0, 2), baselines="all", random_state=0
    )
    first, *others = [learned_and_asked(log) for log in logs]
    for other in others:
        for (support, query), (own_support, own_query) in zip(
            first, other, strict=True
        ):
            assert support.tolist() == own_support.tolist()
            assert query.tolist() == own_query.tolist()
    assert result.methods == ["0", "1", "2", "per_task", "pooled", "pooled_residual"]
    assert result.gain("0", "1").mean.tolist() == [0.0, 0.0]
    assert (np.ptp(result.scores["pooled"], axis=1) == 0).all()
    assert result.scores["pooled_residual"][:, 0] == pytest.approx(
        result.scores["pooled"][:, 0]
    )
    assert (result.gain("pooled_residual", "pooled").lower[1] > 0).all()


def test_curve_by_hand():
    X = np.repeat([[0.0], [1.0], [2.0]], 3, axis=0)
    y = np.array([0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 9.0, 9.0, 9.0])
    result = few_shot_validate(
        Level(),
        np.c_[X, X],
        y,
        0,
        3,
        (0, 1),
        "neg_mean_absolute_error",
        baselines=["per_task"],
        n_episodes=2,
    )
    assert result.scores["Level"].tolist() == [[-6.0, 0.0], [-1.5, 0.0], [-7.5, 0.0]]
    assert result.scores["per_task"].tolist() == result.scores["Level"].tolist()
    assert result.mean["Level"].tolist() == [-5.0, 0.0]
    half = 4.302653 * np.sqrt(9.75) / np.sqrt(3)
    assert result.upper["Level"][0] == pytest.approx(-5 + half)
    assert result.lower["Level"][0] == pytest.approx(-5 - half)


def test_random_state_decides(data):
    X, y, _ = data
    run = [
        few_shot_validate(Level(), X, y, 0, random_state=s, n_shots=3)
        for s in (0, 0, 1)
    ]
    scores = [r.scores["Level"].ravel().tolist() for r in run]
    assert scores[0] == scores[1] != scores[2]
    both = few_shot_validate(Level(), X, y, 0, random_state=0, n_shots=3, n_jobs=2)
    assert both.scores["Level"].ravel().tolist() == scores[0]


def test_tasks_by_column_or_beside_give_the_same(data):
    X, y, task = data
    names = np.array([f"s{t}" for t in range(N_TASKS)])[task]
    frame = pd.DataFrame({"a": X[:, 2], "store": names})
    column = MultiTaskNetRegressor(task_column="store", **SMALL)
    beside = MultiTaskNetRegressor(**SMALL)
    shared = {"cv": 2, "n_shots": (0, 3), "n_episodes": 1, "random_state": 0}
    by_column = few_shot_validate(column, frame, y, "store", **shared)
    given = few_shot_validate(column, frame, y, names, **shared)
    found = few_shot_validate(beside, frame[["a"]], y, names, **shared)
    piped = few_shot_validate(make_pipeline(beside), frame[["a"]], y, names, **shared)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = few_shot_validate(
            make_pipeline(beside), frame[["a"]], y, names, **shared
        )
    for other in (given, found, piped, routed):
        np.testing.assert_allclose(
            other.scores["MultiTaskNetRegressor"],
            by_column.scores["MultiTaskNetRegressor"],
        )


def test_a_splitter_may_hold_a_task_out_twice(data):
    X, y, task = data
    cv = GroupShuffleSplit(6, test_size=3, random_state=0)
    result = few_shot_validate(Level(), X, y, task, cv, (0, 3))
    assert result.scores["Level"].shape == (len(result.tasks), 2)


def test_search_as_estimator(data):
    X, y, task = data
    inner = GridSearchCV(
        Level(),
        {"factor": [0.0, 1.0]},
        cv=GroupKFold(2),
        scoring=make_few_shot_scorer(n_shots=3, random_state=0),
    )
    result = few_shot_validate(inner, X, y, 0, 2, (0, 3), params={"groups": task})
    assert result.methods == ["Level"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_shots": ()}, "n_shots is empty"),
        ({"n_shots": (1, -2)}, "n_shots must be an int of at least 0; got -2"),
        ({"n_episodes": True}, "n_episodes must be an int of at least 1; got True"),
        ({"baselines": ["ridge"]}, "baselines has 'ridge'; there are"),
        ({"cv": KFold(2, shuffle=True)}, r"cv puts rows of task 0.0 .* GroupKFold"),
        ({"scoring": "rmse"}, "'rmse' is not a scorer"),
        ({"task": "store"}, "'store' is not a column of X"),
        ({"task": np.arange(3)}, "inconsistent numbers of samples"),
        ({"estimator": {"pooled": Level()}}, "An estimator is named 'pooled'"),
        (
            {"estimator": {"a": Level(), "b": ClassSpy()}},
            r"Some of the estimators are classifiers and some are not: \['b'\]",
        ),
        (
            {"estimator": MultiTaskNetRegressor()},
            "task=0 is a column of X, and MultiTaskNetRegressor would learn from it",
        ),
    ],
)
def test_curve_refuses_arguments(data, arguments, message):
    X, y, _ = data
    given = {"estimator": Level(), "task": 0, "n_shots": 1, "baselines": ["pooled"]}
    with pytest.raises(ValueError, match=message):
        few_shot_validate(X=X, y=y, **given | arguments)


def test_curve_refuses_what_it_cannot_know(data):
    X, y, task = data
    model = make_pipeline(StandardScaler(), Level())
    with pytest.raises(ValueError, match="which column of X becomes column 0"):
        few_shot_validate(model, X, y, task, n_shots=1, baselines=["pooled"])
    with pytest.raises(ValueError, match="Baselines are for one column of y"):
        few_shot_validate(Level(), X, np.c_[y, y], 0, n_shots=1, baselines=["pooled"])
    with pytest.raises(ValueError, match="There is no default scoring for Nothing"):
        few_shot_validate(type("Nothing", (BaseEstimator,), {})(), X, y, task)


# -- baselines -------------------------------------------------------------------


def test_shrinkage_is_the_ratio_of_variances():
    rng = np.random.default_rng(0)
    task = rng.integers(400, size=8000)
    residuals = 0.5 * rng.normal(size=400)[task] + 2.0 * rng.normal(size=8000)
    assert shrinkage(residuals, task) == pytest.approx(16.0, rel=0.15)
    assert np.isinf(shrinkage(np.array([1.0, -1.0, 1.0, -1.0]), np.array([0, 0, 1, 1])))
    assert np.isinf(shrinkage(np.arange(3.0), np.arange(3)))
    # By hand: within = 1 * 2 / 2, between = 4 * 2 / 1; (8 - 1) / 2 = 3.5.
    residuals, task = np.array([0.0, np.sqrt(2), 4.0, 4.0 + np.sqrt(2)]), [0, 0, 1, 1]
    assert shrinkage(residuals, np.array(task)) == pytest.approx(1 / ((16 - 1) / 2))


def test_pooled_residual_is_a_shrunk_intercept(data):
    X, y, task = data
    baseline = PooledResidual(LinearRegression()).fit(X[:, 2:], y, task=task)
    X_new, y_new = X[:3, 2:], y[:3] + 7.0
    residual = y_new - baseline.estimator_.predict(X_new)
    moved = adapt(baseline, X_new, y_new).predict(X[:, 2:])
    expected = residual.sum() / (3 + baseline.k_)
    assert 0 < baseline.k_ < 1
    np.testing.assert_allclose(moved - baseline.predict(X[:, 2:]), expected)


def test_pooled_residual_of_classes_moves_their_odds(data):
    X, y, task = data
    labels = np.where(y > 1, "high", np.where(y < -1, "low", "mid"))
    baseline = PooledResidual(LogisticRegression()).fit(X[:, 2:], labels, task=task)
    before = baseline.predict_proba(X[:, 2:]).mean(axis=0)
    moved = adapt(baseline, X[:4, 2:], np.array(["low"] * 4))
    after = moved.predict_proba(X[:, 2:])
    np.testing.assert_allclose(after.sum(axis=1), 1.0)
    assert after.mean(axis=0)[1] > before[1]
    assert set(moved.predict(X[:, 2:])) <= {"high", "low", "mid"}
    with pytest.raises(AttributeError, match="predict_proba"):
        PooledResidual(LinearSVC()).fit(X[:, 2:], labels, task=task)


def test_per_task_knows_the_support_and_a_row_of_prior(data):
    X, y, task = data
    labels = np.where(y > 0, "high", "low")
    share = (labels == "high").mean()
    baseline = PerTask(LogisticRegression()).fit(X[:, 2:], labels, task=task)
    np.testing.assert_allclose(baseline.predict_proba(X[:1, 2:]), [[share, 1 - share]])
    adapted = adapt(baseline, X[:3, 2:], np.array(["new", "low", "low"]))
    assert adapted.classes_.tolist() == ["high", "low", "new"]
    proba = adapted.predict_proba(X[:, 2:])
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_allclose(proba[:, 0], share / 4)
    one = adapt(baseline, X[:1, 2:], np.array(["high"]))
    np.testing.assert_allclose(one.predict_proba(X[:1, 2:])[0, 1], (1 - share) / 2)


def test_default_baselines_read_text_and_gaps(data):
    X, y, task = data
    frame = pd.DataFrame({"a": X[:, 2], "kind": np.resize(["x", "y", None], len(X))})
    frame.loc[::5, "a"] = np.nan
    for labels in (y, np.where(y > 0, "high", "low")):
        net = (
            MultiTaskNetClassifier
            if labels.dtype.kind == "U"
            else MultiTaskNetRegressor
        )
        result = few_shot_validate(
            net(**SMALL),
            frame,
            labels,
            task,
            2,
            (0, 5),
            baselines="all",
            n_episodes=1,
            random_state=0,
        )
        found = result.scores["pooled_residual"] - result.scores["pooled"]
        assert np.isfinite(found).all()
        assert found.mean() > 0


# -- the result and its picture --------------------------------------------------


@pytest.fixture
def result():
    scores = {
        "ours": np.array([[-2.0, -1.0], [-4.0, np.nan], [-3.0, -3.0]]),
        "pooled": np.array([[-2.0, -2.0], [-5.0, -5.0], [-3.0, -3.0]]),
    }
    tasks = np.array(["a", "b", "c"])
    return FewShotResult(np.array([1, 5]), tasks, scores, "neg_error", 5)


def test_result_leaves_out_what_is_not_defined(result):
    assert result.mean["ours"].tolist() == [-3.0, -2.0]
    gain = result.gain("ours", over="pooled")
    assert gain.mean == pytest.approx([1 / 3, 0.5])
    assert result.to_dict()["n_tasks"] == [3, 2, 3, 3]
    with pytest.raises(ValueError, match="'other' was not scored"):
        result.gain("ours", over="other")


def test_result_in_tables(result, monkeypatch):
    frame = result.to_frame()
    assert frame.columns.tolist() == list(result.to_dict())
    assert frame.loc[frame["method"] == "pooled", "mean"].tolist() == [-10 / 3, -10 / 3]
    by_task = result.to_frame(by_task=True).pivot(
        index="task", columns=["method", "n_shots"], values="score"
    )
    assert by_task.loc["b", ("pooled", 5)] == -5.0
    assert "ours    -3 [-5.48, -0.516]" in repr(result)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="ask to_dict"):
        result.to_frame()


def test_interval_of_one_task_is_unknown():
    result = FewShotResult(
        np.array([1]), np.array([0]), {"a": np.ones((1, 1))}, "r2", 1
    )
    assert np.isnan(result.lower["a"]).all()
    assert result.mean["a"].tolist() == [1.0]


def test_picture(result, monkeypatch):
    display = AdaptationCurveDisplay.from_result(
        result, ax=Figure().subplots(), negate_score=True
    )
    assert display.ax_.get_ylabel() == "Error"
    assert [line.get_label() for line in display.lines_] == ["ours", "pooled"]
    assert display.lines_[0].get_ydata().tolist() == [3.0, 2.0]
    assert len(display.fill_between_) == 2
    display.plot(Figure().subplots(), methods=["pooled"], interval=False)
    assert display.ax_.get_ylabel() == "Negative error"
    assert len(display.lines_) == 1
    assert display.fill_between_ is None
    with pytest.raises(ValueError, match="'other' was not scored"):
        display.plot(methods=["other"])
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install skmtl\[plot\]"):
        display.plot()


def test_picture_of_an_estimator(data):
    X, y, _ = data
    display = AdaptationCurveDisplay.from_estimator(
        Level(), X, y, 0, ax=Figure().subplots(), n_shots=(1, 3), random_state=0
    )
    assert display.result.methods == ["Level"]
    assert display.figure_ is display.ax_.figure
