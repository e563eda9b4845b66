"""Scores by task agree with scikit-learn on the labelled cells, wherever they are."""

import math
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joblib import parallel_config
from scipy import stats
from sklearn import config_context, metrics
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    ShuffleSplit,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skmtl import metrics as ours
from skmtl.metrics import (
    TaskScorer,
    gain_over_single_task,
    get_scorer,
    get_scorer_names,
    per_task_scores,
)
from skmtl.metrics._gain import _params_of_one, corrected_interval
from skmtl.model_selection import TaskKFold

from .instances import (
    classification_data,
    missing,
    regression_data,
    row_task_data,
    small,
)

CV = KFold(3, shuffle=True, random_state=0)
QUICK = {"max_epochs": 3, "n_estimators": 1}

NUMBERS = {
    "r2_score": metrics.r2_score,
    "root_mean_squared_error": metrics.root_mean_squared_error,
    "mean_absolute_error": metrics.mean_absolute_error,
    "mean_absolute_percentage_error": metrics.mean_absolute_percentage_error,
    "mean_pinball_loss": metrics.mean_pinball_loss,
    "d2_score": metrics.r2_score,
}
LABELS = {
    "accuracy_score": metrics.accuracy_score,
    "balanced_accuracy_score": metrics.balanced_accuracy_score,
    "f1_score": lambda *a, **k: metrics.f1_score(*a, average="macro", **k),
    "recall_score": lambda *a, **k: metrics.recall_score(*a, average="macro", **k),
    "precision_score": lambda *a, **k: metrics.precision_score(
        *a, average="macro", **k
    ),
}


def _positive(labels, proba):
    return proba[:, 1] if proba.shape[1] == 2 else proba


PROBABILITIES = {
    "roc_auc_score": lambda y, p, **k: metrics.roc_auc_score(
        y, _positive(y, p), multi_class="ovr", **k
    ),
    "average_precision_score": lambda y, p, **k: metrics.average_precision_score(
        y, _positive(y, p), **k
    ),
    "log_loss": metrics.log_loss,
    "d2_log_loss_score": metrics.d2_log_loss_score,
    "d2_score": metrics.d2_log_loss_score,
}

N_CLASSES = (2, 3)


def _number_tables(rng, n=40):
    y = rng.normal(size=(n, 3)) + 3
    return y, y + rng.normal(size=y.shape)


def _class_tables(rng, n=60):
    y = np.stack([rng.permutation(np.arange(n) % c) for c in N_CLASSES], axis=1)
    proba = [rng.dirichlet(np.ones(c), size=n) for c in N_CLASSES]
    return y.astype(float), proba


def _weights(rng, y, form):
    if form is None:
        return None, np.ones(y.shape)
    given = rng.uniform(0.1, 2, size=len(y) if form == "rows" else y.shape)
    return given, np.broadcast_to(given.reshape(len(y), -1), y.shape)


def _cells(y, weight):
    """Rows of each column that are labelled, and their weights."""
    known = ~np.isnan(y)
    return [(known[:, t], weight[known[:, t], t]) for t in range(y.shape[1])]


# -- the oracle is scikit-learn on the labelled cells ----------------------------


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("form", [None, "rows", "cells"])
@given(share=st.floats(0, 0.8), seed=st.integers(0, 100))
def test_scores_of_numbers_are_those_of_the_labelled_cells(name, form, share, seed):
    rng = np.random.default_rng(seed)
    y, predicted = _number_tables(rng)
    y = missing(y, share, seed=seed)
    weight, cells = _weights(rng, y, form)
    expected = [
        NUMBERS[name](y[rows, t], predicted[rows, t], sample_weight=w)
        for t, (rows, w) in enumerate(_cells(y, cells))
    ]
    score = getattr(ours, name)
    each = score(y, predicted, sample_weight=weight, average=None)
    np.testing.assert_allclose(each, expected, rtol=1e-12)
    mean = score(y, predicted, sample_weight=weight)
    assert mean == pytest.approx(np.mean(expected), rel=1e-12)
    assert isinstance(mean, float)


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("form", [None, "cells"])
@given(share=st.floats(0, 0.7), seed=st.integers(0, 100))
def test_scores_of_labels_are_those_of_the_labelled_cells(name, form, share, seed):
    rng = np.random.default_rng(seed)
    y, proba = _class_tables(rng)
    y = missing(y, share, seed=seed)
    predicted = np.stack([p.argmax(axis=1) for p in proba], axis=1)
    weight, cells = _weights(rng, y, form)
    expected = [
        LABELS[name](y[rows, t], predicted[rows, t], sample_weight=w)
        for t, (rows, w) in enumerate(_cells(y, cells))
    ]
    each = getattr(ours, name)(y, predicted, sample_weight=weight, average=None)
    np.testing.assert_allclose(each, expected, rtol=1e-12)


@pytest.mark.parametrize("name", PROBABILITIES)
@pytest.mark.parametrize("form", [None, "cells"])
@given(share=st.floats(0, 0.7), seed=st.integers(0, 100))
def test_scores_of_probabilities_are_those_of_the_labelled_cells(
    name, form, share, seed
):
    rng = np.random.default_rng(seed)
    y, proba = _class_tables(rng)
    y = missing(y, share, seed=seed)
    weight, cells = _weights(rng, y, form)
    expected = [
        PROBABILITIES[name](y[rows, t], proba[t][rows], sample_weight=w)
        for t, (rows, w) in enumerate(_cells(y, cells))
    ]
    score = getattr(ours, name)
    each = score(y, proba, sample_weight=weight, average=None)
    np.testing.assert_allclose(each, expected, rtol=1e-12)
    assert score(y, proba, sample_weight=weight) == pytest.approx(np.mean(expected))


def test_arguments_reach_the_metric():
    rng = np.random.default_rng(0)
    y, predicted = _number_tables(rng)
    loss = ours.mean_pinball_loss(y, predicted, alpha=0.9)
    assert loss == pytest.approx(metrics.mean_pinball_loss(y, predicted, alpha=0.9))
    y, proba = _class_tables(rng)
    labels = proba[1].argmax(axis=1)
    score = ours.f1_score(y[:, 1], labels, class_average="weighted")
    expected = metrics.f1_score(y[:, 1], labels, average="weighted")
    assert score == pytest.approx(expected)
    # Class 2 is never predicted: its precision is 0 / 0.
    labels = np.minimum(labels, 1)
    out = ours.precision_score(y[:, 1], labels, zero_division=np.nan)
    zero = ours.precision_score(y[:, 1], labels)
    assert zero == pytest.approx(out * 2 / 3)


# -- numbers by hand -------------------------------------------------------------


def test_percentage_error_by_hand():
    y = [[2.0, 10.0], [4.0, np.nan]]
    predicted = [[1.0, 9.0], [5.0, 0.0]]
    each = ours.mean_absolute_percentage_error(y, predicted, average=None)
    np.testing.assert_allclose(each, [(1 / 2 + 1 / 4) / 2, 1 / 10])


def test_calibration_error_by_hand():
    # Two bins: (0, 0.5] and (0.5, 1]. Confidence 0.5 is in the first.
    proba = [[0.5, 0.5], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]]
    y = [1, 0, 1, 0]
    by_bin = (1 * abs(0.5 - 0) + 3 * abs(0.8 - 2 / 3)) / 4
    error = ours.expected_calibration_error
    assert error(y, proba, n_bins=2) == pytest.approx(by_bin)
    assert error(y, proba, n_bins=1) == pytest.approx(abs(2.9 / 4 - 2 / 4))
    weighted = (2 * 0.5 + abs(2.4 - 2)) / 5
    given = error(y, proba, n_bins=2, sample_weight=[2, 1, 1, 1])
    assert given == pytest.approx(weighted)
    # 0.7 closes its bin of ten, though 0.7 * 10 rounds up.
    together = error([0, 1], [[0.7, 0.3], [0.65, 0.35]], n_bins=10)
    assert together == pytest.approx(abs(0.7 + 0.65 - 1) / 2)


@given(seed=st.integers(0, 100), n_bins=st.integers(1, 20))
def test_certain_and_right_is_calibrated(seed, n_bins):
    y, _ = _class_tables(np.random.default_rng(seed))
    proba = [np.eye(c)[y[:, t].astype(int)] for t, c in enumerate(N_CLASSES)]
    assert ours.expected_calibration_error(y, proba, n_bins=n_bins) == 0
    wrong = [1 - proba[0], np.roll(proba[1], 1, axis=1)]
    assert ours.expected_calibration_error(y, wrong, n_bins=n_bins) == 1


def test_interval_by_hand():
    # Mean 2 and variance 1 over three folds; 1 / 3 + 1 / 2 = 5 / 6.
    lower, upper = corrected_interval(np.array([1.0, 2.0, 3.0]), 0.5, 0.9)
    half = stats.t.ppf(0.95, 2) * math.sqrt(5 / 6)
    assert (lower, upper) == pytest.approx((2 - half, 2 + half))
    assert np.isnan(corrected_interval(np.array([1.0]), 0.5)).all()


# -- forms -----------------------------------------------------------------------


def _forms(y):
    frame = pd.DataFrame(y, columns=["a", "b"])
    objects = y.astype(object)
    objects[np.isnan(y)] = None
    return {
        "array": y,
        "list": y.tolist(),
        "None": objects,
        "frame": frame,
        "nullable": frame.astype("Int64"),
        "category": frame.astype("category"),
    }


@pytest.mark.parametrize("form", _forms(np.zeros((1, 2))))
def test_every_form_of_labels_gives_the_same(form):
    y, proba = _class_tables(np.random.default_rng(0))
    y = missing(y, 0.4)
    given = _forms(y)[form]
    predicted = np.stack([p.argmax(axis=1) for p in proba], axis=1)
    for name, pred in [("accuracy_score", predicted), ("log_loss", proba)]:
        score = getattr(ours, name)
        np.testing.assert_array_equal(
            score(given, pred, average=None), score(y, pred, average=None)
        )


def test_missing_times_are_skipped():
    times = np.array(["2020-01-01", "NaT", "2021-01-01"], dtype="datetime64[D]")
    predicted = times[[0, 0, 0]]
    assert ours.accuracy_score(times, predicted) == 0.5


def test_one_task_has_one_or_two_dimensions():
    y, predicted = _number_tables(np.random.default_rng(0))
    flat = ours.r2_score(y[:, 0], predicted[:, 0])
    assert flat == ours.r2_score(y[:, [0]], predicted[:, [0]])
    assert flat == ours.r2_score(y[:, 0], predicted[:, [0]])
    y, proba = _class_tables(np.random.default_rng(0))
    loss = ours.log_loss(y[:, 1], proba[1])
    assert loss == ours.log_loss(y[:, [1]], [proba[1]])
    assert loss == ours.log_loss(y[:, 1], proba[1].tolist())


def test_frames_and_dicts_are_read_by_name():
    y, proba = _class_tables(np.random.default_rng(0))
    frame = pd.DataFrame(y, columns=["a", "b"])
    named = {"b": proba[1], "a": proba[0]}
    expected = ours.log_loss(y, proba, average=None)
    np.testing.assert_array_equal(ours.log_loss(frame, named, average=None), expected)
    classes = {"b": [0, 1, 2], "a": [0, 1]}
    given = ours.log_loss(frame, named, classes=classes, average=None)
    np.testing.assert_array_equal(given, expected)
    other = frame[["b", "a"]]
    assert ours.accuracy_score(frame, other) == 1
    with pytest.raises(ValueError, match=r"tasks \['x', 'b'\].*columns of y"):
        ours.accuracy_score(frame, frame.rename(columns={"a": "x"}))
    with pytest.raises(ValueError, match="no entry for task 'b'"):
        ours.log_loss(frame, {"a": proba[0]})


def test_labels_of_any_type_are_compared():
    y = pd.DataFrame({"s": ["x", None, "y"], "b": [True, False, True]}, dtype=object)
    predicted = np.array([["x", True], ["x", False], ["xy", True]], dtype=object)
    assert ours.accuracy_score(y, predicted, average=None).tolist() == [0.5, 1.0]


def test_d2_takes_numbers_and_probabilities_by_name():
    rng = np.random.default_rng(0)
    numbers, predicted = _number_tables(rng, 60)
    y, proba = _class_tables(rng)
    frame = pd.DataFrame({"c": y[:, 1], "n": numbers[:, 0]})
    frame.loc[:5, "n"] = np.nan
    each = ours.d2_score(frame, {"n": predicted[:, 0], "c": proba[1]}, average=None)
    np.testing.assert_allclose(
        each,
        [
            metrics.d2_log_loss_score(y[:, 1], proba[1]),
            metrics.r2_score(numbers[6:, 0], predicted[6:, 0]),
        ],
    )


# -- what is undefined, unseen or wrong ------------------------------------------


def test_undefined_tasks_are_left_out_with_one_warning():
    y, predicted = _number_tables(np.random.default_rng(0))
    y[1:, 1] = np.nan
    y[:, 2] = np.nan
    each = ours.r2_score(y, predicted, average=None)
    assert np.isnan(each).tolist() == [False, True, True]
    with pytest.warns(
        UndefinedMetricWarning, match=r"2 task\(s\) have fewer than 2 .*first is 1"
    ) as record:
        assert ours.r2_score(y, predicted) == each[0]
    assert len(record) == 1
    assert record[0].filename == __file__
    with pytest.warns(UndefinedMetricWarning, match="1 task.*no labels.*first is 2"):
        ours.mean_absolute_error(y, predicted)
    with pytest.warns(UndefinedMetricWarning, match="3 task"):
        assert math.isnan(ours.r2_score(np.full_like(y, np.nan), predicted))


@pytest.mark.parametrize(
    "name", ["roc_auc_score", "average_precision_score", "d2_score"]
)
def test_a_task_of_one_class_is_undefined(name):
    y, proba = _class_tables(np.random.default_rng(0))
    y[y[:, 0] == 1, 0] = np.nan
    classes = [[0, 1], [0, 1, 2]]
    with pytest.warns(UndefinedMetricWarning, match="first is 0"):
        score = getattr(ours, name)(y, proba, classes=classes)
    assert score == getattr(ours, name)(y[:, 1], proba[1])


def test_a_class_without_labels_does_not_count_in_the_area():
    y, proba = _class_tables(np.random.default_rng(0))
    y = np.where(y[:, 1] == 2, np.nan, y[:, 1])
    known = ~np.isnan(y)
    by_class = [
        metrics.roc_auc_score(y[known] == c, proba[1][known, c]) for c in (0, 1)
    ]
    area = ours.roc_auc_score(y, proba[1], classes=[0, 1, 2])
    assert area == pytest.approx(np.mean(by_class))


def test_a_class_that_was_not_seen_has_probability_zero():
    proba = np.array([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5]])
    y = np.array(["b", "c", "a"])
    with pytest.warns(UserWarning, match=r"1 task.*did not see.*\['a'\]") as record:
        loss = ours.log_loss(y, proba, classes=["b", "c"])
    assert len(record) == 1
    padded = np.hstack([np.zeros((3, 1)), proba])
    assert loss == pytest.approx(metrics.log_loss(y, padded, labels=["a", "b", "c"]))
    with pytest.warns(UserWarning, match="did not see"):
        error = ours.expected_calibration_error(y, proba, classes=["b", "c"], n_bins=1)
    assert error == pytest.approx(abs((0.8 + 0.6 + 0.5) / 3 - 2 / 3))
    # Of two classes the greater is positive, also where it alone was seen.
    with pytest.warns(UserWarning, match="did not see"):
        area = ours.roc_auc_score(["a", "b"], [[1.0], [1.0]], classes=["b"])
    assert area == 0.5


def test_a_model_of_one_class_has_a_log_loss():
    assert ours.log_loss(["a", "a"], [[1.0], [1.0]]) == pytest.approx(0)


def test_cells_without_weight_do_not_count():
    y, predicted = _number_tables(np.random.default_rng(0))
    weight = np.ones(y.shape)
    weight[:10] = 0
    weight[:, 2] = 0
    predicted[0] = np.nan  # not even looked at
    each = ours.mean_absolute_error(y, predicted, sample_weight=weight, average=None)
    expected = np.abs(y - predicted)[10:].mean(axis=0)
    np.testing.assert_allclose(each[:2], expected[:2])
    assert np.isnan(each[2])


def test_wrong_predictions_are_named():
    y, predicted = _number_tables(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[40, 7\]"):
        ours.r2_score(y[:7], predicted)
    with pytest.raises(ValueError, match="y has 2 columns, but there are 3 tasks"):
        ours.r2_score(y[:, :2], predicted)
    with pytest.raises(ValueError, match=r"average must be 'macro'.*'micro'"):
        ours.r2_score(y, predicted, average="micro")
    predicted[3:5, 1] = np.nan
    with pytest.raises(ValueError, match=r"Task 1 has 2 labelled cell.*NaN"):
        ours.r2_score(y, predicted)
    with pytest.raises(ValueError, match="task 'a' must be numbers; found 'x'"):
        ours.r2_score(pd.DataFrame({"a": [1.0]}), [["x"]])
    y, proba = _class_tables(np.random.default_rng(0))
    with pytest.raises(
        ValueError, match=r"Task 1 .*3 classes.*2 classes in y.*Pass cla"
    ):
        ours.log_loss(np.minimum(y, 1), proba)
    with pytest.raises(ValueError, match=r"2 task\(s\) must be a list.*got shape"):
        ours.log_loss(y, proba[0])
    with pytest.raises(ValueError, match=r"given for 1 task.*2 columns"):
        ours.log_loss(y, proba, classes=[0, 1])
    with pytest.raises(ValueError, match=r"Task 0 has labels such as 0.0.*type"):
        ours.log_loss(y[:, 0], proba[0], classes=["x", "y"])
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        ours.accuracy_score(y + 0.5, y)


# -- scorers ---------------------------------------------------------------------


class Mixed(BaseEstimator):
    """A stand-in for tasks of both kinds: a regression and a tree a task."""

    def __init__(self, task_types=None):
        self.task_types = task_types

    def fit(self, X, y):
        self.task_types_ = dict(self.task_types)
        self.task_names_ = np.array(list(y.columns))
        self.models_, self.classes_ = {}, {}
        for name, kind in self.task_types_.items():
            known = y[name].notna().to_numpy()
            model = LinearRegression()
            if kind == "class":
                model = DecisionTreeClassifier(max_depth=2, random_state=0)
            labels = np.array(y[name][known].tolist())
            self.models_[name] = model.fit(np.asarray(X)[known], labels)
            if kind == "class":
                self.classes_[name] = model.classes_
        return self

    def predict(self, X):
        predicted = {n: m.predict(np.asarray(X)) for n, m in self.models_.items()}
        return pd.DataFrame(predicted)

    def predict_proba(self, X):
        return {n: self.models_[n].predict_proba(np.asarray(X)) for n in self.classes_}


def _mixed_data():
    X, numbers = regression_data(80)
    X, classes = classification_data(80)
    y = pd.DataFrame({"size": numbers[:, 0], "dose": numbers[:, 1]})
    y.insert(1, "fruit", np.array(["fig", "pear", "plum"])[classes[:, 1].astype(int)])
    y.loc[10:20, "size"] = np.nan
    y.loc[25:40, "fruit"] = None
    types = {"size": "number", "fruit": "class", "dose": "number"}
    return X, y, Mixed(types).fit(X, y)


REGRESSION = ["r2", "d2", *(n for n in get_scorer_names() if n.endswith("_error"))]
REGRESSION = [n for n in REGRESSION if "calibration" not in n]
CLASSIFICATION = [n for n in get_scorer_names() if n not in REGRESSION]
CLASSIFICATION = [n for n in CLASSIFICATION if "pinball" not in n]


def test_names_are_those_of_scikit_learn_where_it_has_one():
    own = {"d2", "neg_expected_calibration_error", "neg_mean_pinball_loss"}
    assert set(get_scorer_names()) - set(metrics.get_scorer_names()) == own
    with pytest.raises(ValueError, match=r"'task_r2' is not a scorer.*'accuracy'"):
        get_scorer("task_r2")


@pytest.mark.parametrize("name", [n for n in REGRESSION if n != "d2"])
def test_scorers_agree_with_scikit_learn_on_numbers(name):
    X, y = regression_data()
    model = LinearRegression().fit(X[:30], y[:30])
    expected = metrics.get_scorer(name)(model, X, y)
    assert get_scorer(name)(model, X, y) == pytest.approx(expected)


@pytest.mark.parametrize("name", [n for n in CLASSIFICATION if "calib" not in n])
@pytest.mark.parametrize("task", [0, 1])
def test_scorers_agree_with_scikit_learn_on_classes(name, task):
    X, y = classification_data()
    y = np.array(["x", "y", "z"])[y[:, task].astype(int)]
    model = LogisticRegression().fit(X, y)
    if name == "average_precision":
        # scikit-learn's scorer takes the decision function, and 0 and 1 of two classes.
        proba = model.predict_proba(X)
        expected = PROBABILITIES["average_precision_score"](
            np.searchsorted(model.classes_, y), proba
        )
    else:
        theirs = "roc_auc_ovr" if name == "roc_auc" else name
        expected = metrics.get_scorer(theirs)(model, X, y)
    assert get_scorer(name)(model, X, y) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["accuracy", "neg_log_loss", "roc_auc", "d2"])
def test_scorers_take_a_forest_of_several_columns(name):
    X, y = classification_data()
    labels = np.array(["x", "y", "z"])[y.astype(int)]
    forest = RandomForestClassifier(5, max_depth=2, random_state=0).fit(X, labels)
    hidden = labels.astype(object)
    hidden[20:40, 0] = None
    columns = []
    for t in (0, 1):
        known = hidden[:, t] != None  # noqa: E711
        one = _Column(forest, t)
        columns.append(get_scorer(name)(one, X[known], labels[known, t]))
    assert get_scorer(name)(forest, X, hidden) == pytest.approx(np.mean(columns))


class _Column(ClassifierMixin, BaseEstimator):
    """One column of a fitted forest."""

    def __init__(self, forest, t):
        self.forest, self.t = forest, t

    @property
    def classes_(self):
        return self.forest.classes_[self.t]

    def predict(self, X):
        return self.forest.predict(X)[:, self.t]

    def predict_proba(self, X):
        return self.forest.predict_proba(X)[self.t]


@pytest.mark.parametrize("kind", ["regressor", "classifier"])
def test_score_is_the_scorer(kind):
    X, y = regression_data() if kind == "regressor" else classification_data()
    y = missing(y)
    model = small(kind, **QUICK).fit(X, y)
    weight = np.random.default_rng(0).uniform(size=y.shape)
    scorer = get_scorer("r2" if kind == "regressor" else "accuracy")
    for w in (None, weight[:, 0], weight):
        own = model.score(X, y, sample_weight=w)
        assert own == scorer(model, X, y, sample_weight=w)
    table = model.predict(X)
    score = ours.r2_score if kind == "regressor" else ours.accuracy_score
    assert own == score(y, table, sample_weight=weight)


def test_columns_are_matched_by_name():
    X, y = regression_data()
    frame = pd.DataFrame(y, columns=["a", "b", "c"])
    model = small("regressor", **QUICK).fit(X, frame)
    assert model.score(X, frame[["c", "a", "b"]]) == pytest.approx(
        model.score(X, frame)
    )


@pytest.mark.parametrize("kind", ["regressor", "classifier"])
def test_scorers_work_in_cross_validation_with_missing_labels(kind):
    X, y = regression_data() if kind == "regressor" else classification_data()
    y = missing(y)
    names = REGRESSION if kind == "regressor" else [*CLASSIFICATION, "d2"]
    scoring = {name: get_scorer(name) for name in names}
    model = make_pipeline(StandardScaler(), small(kind, **QUICK))
    found = cross_validate(
        model, X, y, cv=CV, scoring=scoring, error_score="raise", return_estimator=True
    )
    for name in names:
        by_hand = [
            scoring[name](fitted, X[test], y[test])
            for fitted, (_, test) in zip(found["estimator"], CV.split(X), strict=True)
        ]
        assert np.isfinite(by_hand).all()
        np.testing.assert_array_equal(found[f"test_{name}"], by_hand)
    own = "r2" if kind == "regressor" else "accuracy"
    alone = cross_val_score(model, X, y, cv=CV, scoring=get_scorer(own))
    np.testing.assert_array_equal(alone, found[f"test_{own}"])


def test_scorers_work_in_a_search_with_missing_labels_and_weights():
    X, y = regression_data()
    y = missing(y)
    weight = np.random.default_rng(0).uniform(0.5, 1, size=y.shape)
    scoring = {"r2": get_scorer("r2"), "mae": get_scorer("neg_mean_absolute_error")}
    search = GridSearchCV(
        small("regressor", **QUICK),
        {"lr": [1e-5, 0.05]},
        scoring=scoring,
        refit="mae",
        cv=CV,
        error_score="raise",
    )
    search.fit(X, y, sample_weight=weight)
    assert search.best_params_ == {"lr": 0.05}
    own = search.best_estimator_
    expected = scoring["mae"](own, X, y)
    assert search.score(X, y) == scoring["mae"](search, X, y) == expected
    train, test = next(CV.split(X))
    fold = clone(own).fit(X[train], y[train], sample_weight=weight[train])
    score = scoring["r2"](fold, X[test], y[test], sample_weight=weight[test])
    assert search.cv_results_["split0_test_r2"][1] == pytest.approx(score)


def test_scorers_take_a_transformed_target():
    X, y = regression_data()
    model = TransformedTargetRegressor(small("regressor", **QUICK), func=np.log1p,
        inverse_func=np.expm1, check_inverse=False)  # fmt: skip
    scores = cross_val_score(model, X, y, cv=CV, scoring=get_scorer("r2"))
    np.testing.assert_allclose(
        scores, cross_val_score(model, X, y, cv=CV, scoring="r2")
    )


def test_row_tasks_by_column_are_scored_and_searched():
    X, y, ids = row_task_data()
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(group=ids)
    y = missing(y)
    model = small("regressor", task_column="group", **QUICK)
    search = GridSearchCV(
        model, {"lr": [0.01]}, scoring=get_scorer("r2"), cv=CV, error_score="raise"
    ).fit(frame, y)
    by_score = cross_val_score(model, frame, y, cv=CV)
    assert search.best_score_ == pytest.approx(by_score.mean())
    labels = np.where(np.isnan(y), np.nan, y > 0)
    classifier = small("classifier", task_column="group", **QUICK)
    scores = cross_val_score(
        classifier, frame, labels, cv=CV, scoring=get_scorer("roc_auc")
    )
    assert np.isfinite(scores).all()


def test_task_reaches_the_scorer_with_routing():
    X, y, ids = row_task_data()
    model = small("regressor", **QUICK)
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(group=ids)
    by_column = clone(model).set_params(task_column="group")
    expected = cross_val_score(by_column, frame, y, cv=CV)
    weight = np.random.default_rng(0).uniform(size=len(y))
    with config_context(enable_metadata_routing=True):
        for scoring in (get_scorer("r2"), {"r2": get_scorer("r2")}):
            found = cross_validate(
                model, X, y, cv=CV, params={"task": ids}, scoring=scoring
            )
            key = "test_r2" if isinstance(scoring, dict) else "test_score"
            np.testing.assert_allclose(found[key], expected)
        pipe = make_pipeline(StandardScaler(), model).fit(X, y, task=ids)
        assert np.isfinite(get_scorer("r2")(pipe, X, y, task=ids))
        model.set_fit_request(sample_weight=True)
        params = {"task": ids, "sample_weight": weight}
        asking = get_scorer("r2").set_score_request(sample_weight=True)
        given = cross_val_score(model, X, y, cv=CV, params=params, scoring=asking)
        train, test = next(CV.split(X))
        fold = clone(model).fit(
            X[train], y[train], task=ids[train], sample_weight=weight[train]
        )
        first = asking(
            fold, X[test], y[test], task=ids[test], sample_weight=weight[test]
        )
        assert given[0] == pytest.approx(first)
        with pytest.raises(ValueError, match="sample_weight"):
            cross_val_score(model, X, y, cv=CV, params=params, scoring=get_scorer("r2"))


def test_scorers_are_printed_copied_and_stored():
    scorer = TaskScorer(ours.mean_pinball_loss, greater_is_better=False, alpha=0.2)
    scorer.set_score_request(sample_weight="w")
    X, y = regression_data()
    model = LinearRegression().fit(X, y)
    for copied in (clone(scorer), pickle.loads(pickle.dumps(scorer))):
        assert copied is not scorer
        assert repr(copied) == repr(scorer)
        assert copied(model, X, y) == scorer(model, X, y) < 0
        requests = copied.get_metadata_routing().score.requests
        assert requests == {"task": True, "sample_weight": "w"}
    assert "alpha=0.2" in repr(scorer)


def test_scorers_take_metrics_from_elsewhere():
    X, y = regression_data()
    hidden = missing(y)
    model = LinearRegression().fit(X, y)
    predicted = model.predict(X)
    scorer = TaskScorer(metrics.median_absolute_error, greater_is_better=False)
    expected = [
        -metrics.median_absolute_error(hidden[known, t], predicted[known, t])
        for t, known in enumerate(~np.isnan(hidden.T))
    ]
    assert scorer(model, X, hidden) == pytest.approx(np.mean(expected))
    X, y = classification_data()
    labels = np.array(["x", "y", "z"], dtype=object)[y.astype(int)]
    forest = RandomForestClassifier(5, max_depth=2, random_state=0).fit(X, labels)
    kappa = TaskScorer(metrics.cohen_kappa_score)
    expected = [
        metrics.cohen_kappa_score(labels[20:, t].astype(str), forest.predict(X)[20:, t])
        for t in (0, 1)
    ]
    labels[:20] = None
    assert kappa(forest, X, labels) == pytest.approx(np.mean(expected))


def test_wrong_scorers_and_data_are_named():
    X, y = regression_data()
    model = LinearRegression().fit(X, y)
    with pytest.raises(ValueError, match=r"metric must be a function.*get_scorer"):
        TaskScorer("r2")
    with pytest.raises(ValueError, match="response_method must be one of"):
        TaskScorer(ours.r2_score, response_method="decision_function")
    with pytest.raises(
        ValueError, match=r"roc_auc_score is .*pass response_method='pre"
    ):
        TaskScorer(ours.roc_auc_score)
    with pytest.raises(ValueError, match=r"r2_score is not .*'predict'"):
        TaskScorer(ours.r2_score, response_method="predict_proba")
    with pytest.raises(ValueError, match="requires y to be passed"):
        get_scorer("r2")(model, X, None)
    with pytest.raises(NotFittedError):
        get_scorer("r2")(small("regressor"), X, y)


def test_a_class_that_a_fold_lacks_gets_probability_zero():
    X, y = classification_data()
    train = y[:, 1] < 2
    model = small("classifier", **QUICK).fit(X[train], y[train])
    with pytest.warns(UserWarning, match=r"1 task.*first is 1 with \[2.0\]") as record:
        loss = -get_scorer("neg_log_loss")(model, X, y)
    assert len(record) == 1
    assert math.isfinite(loss)
    assert loss > -get_scorer("neg_log_loss")(model, X[train], y[train])


def test_a_metric_applies_to_the_tasks_of_its_kind():
    X, y, model = _mixed_data()
    predicted, proba = model.predict(X), model.predict_proba(X)
    numbers = ["size", "dose"]
    r2 = ours.r2_score(y[numbers], predicted[numbers], average=None)
    assert get_scorer("r2")(model, X, y) == pytest.approx(np.mean(r2))
    known = y["fruit"].notna()
    accuracy = np.mean(predicted["fruit"][known] == y["fruit"][known])
    assert get_scorer("accuracy")(model, X, y) == pytest.approx(accuracy)
    d2 = ours.d2_log_loss_score(y["fruit"], proba["fruit"])
    mean = get_scorer("d2")(model, X, y)
    assert mean == pytest.approx(np.mean([*r2, d2]))
    in_pipe = make_pipeline(StandardScaler(), Mixed(model.task_types)).fit(X, y)
    assert get_scorer("d2")(in_pipe, X, y) == pytest.approx(mean)
    assert get_scorer("d2")(model, X, y[["dose", "size", "fruit"]]) == pytest.approx(
        mean
    )
    with pytest.raises(ValueError, match="kind 'class', and y has none"):
        get_scorer("accuracy")(
            Mixed({"size": "number"}).fit(X, y[["size"]]), X, y[["size"]]
        )
    with pytest.raises(ValueError, match="column 'other', which is no task"):
        get_scorer("r2")(model, X, y.rename(columns={"size": "other"}))


# -- tables ----------------------------------------------------------------------


def test_scores_of_each_column_in_a_table():
    X, y = regression_data()
    frame = pd.DataFrame(missing(y), columns=["a", "b", "c"])
    frame.loc[:, "c"] = np.nan
    model = LinearRegression().fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a NaN in the table speaks for itself
        table = per_task_scores(model, X, frame)
    assert table.index.tolist() == ["a", "b", "c"]
    assert table["n_labels"].tolist() == frame.notna().sum().tolist()
    r2 = ours.r2_score(frame, model.predict(X), average=None)
    np.testing.assert_array_equal(table["r2"], r2)
    rmse = ours.root_mean_squared_error(frame, model.predict(X), average=None)
    np.testing.assert_array_equal(table["neg_root_mean_squared_error"], -rmse)
    weight = np.ones(frame.shape)
    weight[:30, 0] = 0
    counted = per_task_scores(model, X, frame, scoring="r2", sample_weight=weight)
    assert counted.loc["a", "n_labels"] == frame["a"][30:].notna().sum()


def test_scores_of_classes_in_a_table():
    X, y = classification_data()
    model = small("classifier", **QUICK).fit(X, y)
    table = per_task_scores(model, X, missing(y))
    assert {"accuracy", "roc_auc", "neg_log_loss"} < set(table.columns)
    assert table["accuracy"].mean() == pytest.approx(model.score(X, missing(y)))
    own = TaskScorer(ours.f1_score, class_average="weighted")
    named = per_task_scores(model, X, y, scoring={"mine": own})
    assert named.columns.tolist() == ["mine", "n_labels"]
    listed = per_task_scores(model, X, y, scoring=["accuracy", own])
    np.testing.assert_array_equal(listed[repr(own)], named["mine"])
    with pytest.raises(ValueError, match="neither a name nor a TaskScorer"):
        per_task_scores(model, X, y, scoring=[metrics.r2_score])


def test_scores_of_both_kinds_in_a_table():
    X, y, model = _mixed_data()
    table = per_task_scores(model, X, y)
    assert table["d2"].notna().all()
    assert table["r2"].isna().tolist() == [False, True, False]
    assert table["accuracy"].isna().tolist() == [True, False, True]
    assert table["d2"].mean() == pytest.approx(get_scorer("d2")(model, X, y))


def test_scores_of_each_row_task_in_a_table():
    X, y, ids = row_task_data()
    y = missing(y)
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(group=ids)
    model = small("regressor", task_column="group", **QUICK).fit(frame, y)
    scoring = ["r2", "neg_mean_absolute_error"]
    table = per_task_scores(model, frame, y, scoring=scoring)
    assert table.index.tolist() == sorted(set(ids))
    predicted = model.predict(frame)
    for group in table.index:
        rows = (ids == group) & ~np.isnan(y)
        expected = metrics.r2_score(y[rows], predicted[rows])
        assert table.loc[group, "r2"] == pytest.approx(expected)
        assert table.loc[group, "n_labels"] == rows.sum()
    error = np.average(table["neg_mean_absolute_error"], weights=table["n_labels"])
    whole = get_scorer("neg_mean_absolute_error")(model, frame, y)
    assert error == pytest.approx(whole)
    # By task=, behind a pipeline and inside a search, the table is the same.
    given = small("regressor", **QUICK).fit(X, y, task=ids)
    by_task = per_task_scores(given, X, y, scoring=scoring, task=ids)
    np.testing.assert_allclose(by_task, table)
    keep = StandardScaler(with_mean=False, with_std=False).set_output(
        transform="pandas"
    )
    pipe = make_pipeline(keep, clone(model))
    search = GridSearchCV(pipe, {}, cv=CV, scoring=get_scorer("r2")).fit(frame, y)
    behind = per_task_scores(search, frame, y, scoring=scoring)
    np.testing.assert_allclose(behind, table)


def test_a_row_task_without_labels_is_nan_in_the_table():
    X, y, ids = row_task_data()
    model = small("regressor", **QUICK).fit(X, y, task=ids)
    y = np.where(ids == 11, np.nan, y)
    table = per_task_scores(model, X, y, task=ids, scoring="r2")
    assert table["r2"].isna().tolist() == (table.index == 11).tolist()
    assert table.loc[11, "n_labels"] == 0


# -- gain over single tasks ------------------------------------------------------


class MeanOfColumns(LinearRegression):
    """Predicts all tasks by one regression on the mean of the labels in a row."""

    def fit(self, X, y):
        self.n_columns_ = None if np.ndim(y) == 1 else np.shape(y)[1]
        y = y if self.n_columns_ is None else np.nanmean(y, axis=1)
        return super().fit(X, y)

    def predict(self, X):
        predicted = super().predict(X)
        if self.n_columns_ is None:
            return predicted
        return np.repeat(predicted[:, None], self.n_columns_, axis=1)


def test_least_squares_gain_nothing():
    X, y = regression_data()
    gain = gain_over_single_task(LinearRegression(), X, y, random_state=0)
    assert gain.index.tolist() == [0, 1, 2, "overall"]
    assert (gain["n_folds"] == 5).all()
    np.testing.assert_allclose(gain[["gain", "lower", "upper"]], 0, atol=1e-12)
    expected = cross_val_score(
        LinearRegression(), X, y, cv=TaskKFold(5, random_state=0),
        scoring="r2",
    )  # fmt: skip
    assert gain.loc["overall", "joint"] == pytest.approx(expected.mean())
    with parallel_config("threading", n_jobs=2):
        parallel = gain_over_single_task(LinearRegression(), X, y, random_state=0)
    pd.testing.assert_frame_equal(parallel, gain)


@pytest.mark.parametrize("scoring", ["r2", "neg_mean_absolute_error"])
def test_noisy_copies_of_one_task_gain_and_others_lose(scoring):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 20))
    truth = X @ np.ones(20)
    copies = truth[:, None] + 4 * rng.normal(size=(60, 8))
    hidden = rng.random(copies.shape) < 0.3
    copies[hidden & (np.arange(8) > 0)] = np.nan
    gain = gain_over_single_task(
        MeanOfColumns(), X, copies, scoring=scoring, random_state=0
    )
    row = gain.loc["overall"]
    assert 0 < row["lower"] < row["gain"] < row["upper"]
    assert row["gain"] == pytest.approx(row["joint"] - row["single"])
    opposed = np.stack([truth, -truth], axis=1) + 0.1 * rng.normal(size=(60, 2))
    loss = gain_over_single_task(
        MeanOfColumns(), X, opposed, scoring=scoring, random_state=0
    )
    assert loss.loc["overall", "upper"] < 0


def test_gain_by_hand_on_one_split():
    X, y = regression_data()
    y = missing(y)
    cv = ShuffleSplit(2, test_size=0.25, random_state=0)
    gain = gain_over_single_task(MeanOfColumns(), X, y, cv=cv, confidence=0.9)
    differences = []
    for train, test in cv.split(X):
        joint = MeanOfColumns().fit(X[train], y[train]).predict(X[test])[:, 2]
        rows = train[~np.isnan(y[train, 2])]
        single = LinearRegression().fit(X[rows], y[rows, 2]).predict(X[test])
        known = ~np.isnan(y[test, 2])
        scores = [
            metrics.r2_score(y[test, 2][known], p[known]) for p in (joint, single)
        ]
        differences.append(scores[0] - scores[1])
    assert gain.loc[2, "gain"] == pytest.approx(np.mean(differences))
    lower, upper = corrected_interval(np.array(differences), 15 / 45, 0.9)
    assert gain.loc[2, ["lower", "upper"]].tolist() == pytest.approx([lower, upper])


def test_gain_of_networks_in_a_pipeline_with_task_weights():
    X, y = classification_data()
    frame = pd.DataFrame(missing(y), columns=["two", "three"])
    model = make_pipeline(
        StandardScaler(), small("classifier", task_weights={"two": 3.0}, **QUICK)
    )
    gain = gain_over_single_task(model, X, frame, cv=2, random_state=0)
    assert gain.index.tolist() == ["two", "three", "overall"]
    assert np.isfinite(gain.to_numpy()).all()
    assert model.get_params()["multitasknetclassifier__task_weights"] == {"two": 3.0}


def test_gain_of_both_kinds():
    X, y, model = _mixed_data()
    single = _MixedOfOne(model.task_types)
    gain = gain_over_single_task(single, X, y, cv=3, random_state=0)
    assert gain.index.tolist() == ["size", "fruit", "dose", "overall"]
    np.testing.assert_allclose(gain["gain"], 0, atol=1e-12)
    of_numbers = gain_over_single_task(single, X, y, cv=3, scoring="r2", random_state=0)
    assert of_numbers.index.tolist() == ["size", "dose", "overall"]


class _MixedOfOne(Mixed):
    def fit(self, X, y):
        return super().fit(X, y if y.ndim == 2 else y.to_frame())


def test_arguments_that_name_tasks_keep_the_own_entry():
    class Holder(BaseEstimator):
        def __init__(self, task_weights, class_weight, task_types, target_transform):
            self.task_weights = task_weights
            self.class_weight = class_weight
            self.task_types = task_types
            self.target_transform = target_transform

    names = ["a", "b"]
    listed = Holder([1, 2], [{0: 1.0}, None], ["number", "class"], {"a": "log1p"})
    assert _params_of_one(listed, names, 1, "b") == {
        "task_weights": None,
        "class_weight": None,
        "task_types": {"b": "class"},
        "target_transform": None,
    }
    named = Holder("balanced", {"b": {0: 2.0}}, {"a": "number"}, "quantile")
    assert _params_of_one(named, names, 1, 0) == {
        "class_weight": {0: 2.0},
        "task_types": "auto",
        "target_transform": "quantile",
    }
    of_classes = Holder(None, {0: 1.0, 1: 5.0}, "auto", None)
    kept = _params_of_one(of_classes, [0, 1], 1, 0)["class_weight"]
    assert kept == {0: 1.0, 1: 5.0}


def test_gain_refuses_row_tasks_and_single_columns():
    X, y, _ = row_task_data()
    model = make_pipeline(StandardScaler(), small("regressor", task_column=0))
    with pytest.raises(ValueError, match="multitasknetregressor__task_column is set"):
        gain_over_single_task(model, X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="y has 1 column"):
        gain_over_single_task(small("regressor"), X, y)


def test_a_task_without_labels_in_a_fold_is_left_out_of_it():
    X, y = regression_data()
    y = np.where(np.arange(60)[:, None] < np.array([20, 60, 60]), y, np.nan)
    gain = gain_over_single_task(MeanOfColumns(), X, y, cv=KFold(3))
    # All labels of the first task are in one fold: held out or trained on, never both.
    assert gain["n_folds"].tolist() == [0, 3, 3, 3]
    assert gain.loc[0].isna().sum() == 5


def test_gain_leaves_the_global_state_alone(random_state_of_the_world):
    X, y = regression_data()
    gain_over_single_task(LinearRegression(), X, y, cv=2)
