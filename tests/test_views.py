"""One task of a fitted estimator, in the tools that take a single output."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import (
    PartialDependenceDisplay,
    partial_dependence,
    permutation_importance,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    RocCurveDisplay,
    accuracy_score,
    get_scorer,
    log_loss,
    r2_score,
)
from sklearn.model_selection import cross_val_score
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skmtl import MultiTaskNetRegressor
from skmtl._tasks import TaskEncoder

from .instances import (
    classification_data,
    exact,
    missing,
    regression_data,
    row_task_data,
    small,
)

FEATURES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def numbers():
    """Give a regressor of three columns, X and y."""
    X, y = regression_data(200)
    return small("regressor").fit(X, y), X, y


@pytest.fixture(scope="module")
def classes():
    """Give a classifier of columns "sick" and "stage", X and y, a frame."""
    X, y = classification_data(200)
    y = pd.DataFrame(
        {
            "sick": np.where(y[:, 0] > 0, "yes", "no"),
            "stage": y[:, 1].astype(int),
        }
    )
    return small("classifier").fit(X, y), X, y


@pytest.fixture(scope="module")
def stores():
    """Give a frame with the column "store" in second place, and y."""
    X, y, task = row_task_data(240)
    frame = pd.DataFrame(X, columns=FEATURES)
    frame.insert(1, "store", [f"store {t}" for t in task])
    return frame, y


@pytest.fixture(scope="module")
def by_store(stores):
    """Give a regressor of the stores."""
    frame, y = stores
    return small("regressor", task_column="store").fit(frame, y)


@pytest.fixture
def axes():
    """Give axes to draw on without a window, closed afterwards."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


# -- a view is its task ----------------------------------------------------------


def test_views_of_a_regressor_are_its_columns(numbers):
    model, X, y = numbers
    predicted = model.predict(X)
    for j, name in enumerate(model.task_names_):
        view = model.for_task(name)
        np.testing.assert_array_equal(view.predict(X), predicted[:, j])
        assert view.score(X, y[:, j]) == pytest.approx(
            r2_score(y[:, j], predicted[:, j])
        )
    mean = np.mean([model.for_task(j).score(X, y[:, j]) for j in range(3)])
    assert mean == pytest.approx(model.score(X, y))


def test_views_of_a_classifier_are_its_columns(classes):
    model, X, y = classes
    proba = model.predict_proba(X)
    for j, name in enumerate(["sick", "stage"]):
        view = model.for_task(name)
        np.testing.assert_array_equal(view.predict_proba(X), proba[j])
        np.testing.assert_array_equal(view.classes_, model.classes_[j])
        np.testing.assert_array_equal(view.predict(X), model.predict(X)[:, j])
        assert view.predict(X).dtype == model.classes_[j].dtype
        assert view.score(X, y[name]) == accuracy_score(y[name], view.predict(X))


def test_views_say_what_they_are(numbers, classes):
    number, kind = numbers[0].for_task(0), classes[0].for_task("stage")
    assert is_regressor(number)
    assert not is_regressor(kind)
    assert is_classifier(kind)
    assert not is_classifier(number)
    for view in (number, kind):
        assert get_tags(view).input_tags.allow_nan
        assert not get_tags(view).target_tags.multi_output
        check_is_fitted(view)


def test_a_view_shares_the_net_and_outlives_another_fit():
    X, y = regression_data()
    model = exact("regressor", max_epochs=5).fit(X, y)
    view = model.for_task(1)
    assert view.net_ is model.net_
    before = view.predict(X)
    model.fit(X, -y)
    np.testing.assert_array_equal(view.predict(X), before)
    assert view.net_ is not model.net_


def test_log_odds_are_those_of_the_probabilities(classes):
    model, X, _ = classes
    sick = model.for_task("sick")
    odds = sick.decision_function(X)
    assert odds.shape == (200,)
    np.testing.assert_allclose(1 / (1 + np.exp(-odds)), sick.predict_proba(X)[:, 1])
    np.testing.assert_array_equal(odds > 0, sick.predict(X) == "yes")
    stage = model.for_task("stage")
    np.testing.assert_allclose(
        np.exp(stage.decision_function(X)), stage.predict_proba(X)
    )


def test_log_odds_stay_finite():
    X = np.linspace(-1, 1, 20)[:, None]
    model = exact("classifier", max_epochs=300, lr=0.1).fit(X, X[:, 0] > 0)
    view = model.for_task(0)
    far = np.array([[-1e7], [1e7]])
    assert view.predict_proba(far).min() == 0
    assert np.isfinite(view.decision_function(far)).all()


def test_a_score_leaves_missing_labels_out(numbers, classes):
    model, X, y = numbers
    hidden = missing(y)[:, 0]
    seen = ~np.isnan(hidden)
    view = model.for_task(0)
    assert view.score(X, hidden) == view.score(X[seen], y[seen, 0])
    weight = np.random.default_rng(0).uniform(size=len(X))
    assert view.score(X, hidden, weight) == view.score(
        X[seen], y[seen, 0], weight[seen]
    )
    model, X, y = classes
    view = model.for_task("stage")
    hidden = y["stage"].astype(object).where(np.arange(200) % 3 > 0, None)
    seen = hidden.notna().to_numpy()
    assert view.score(X, hidden) == view.score(X[seen], y["stage"][seen])


def test_unknown_tasks_are_named(numbers, by_store):
    with pytest.raises(ValueError, match=r"no task 'height' in .*; its tasks are 0, 1"):
        numbers[0].for_task("height")
    with pytest.raises(ValueError, match=r"its tasks are 'store 10', 'store 11'"):
        by_store.for_task("store 9")
    with pytest.raises(NotFittedError):
        MultiTaskNetRegressor().for_task(0)


def test_a_column_of_an_encoder_of_both_kinds_decodes_as_its_kind():
    encoder = TaskEncoder(["a", "b"], [None, np.array(["no", "yes"])], ndim=2)
    encoder.shift[0], encoder.scale[0] = 5.0, 2.0
    number, kind = encoder.column(0), encoder.column(1)
    assert number.numbers([np.array([[1.0], [-1.0]])]).tolist() == [7.0, 3.0]
    assert kind.labels([np.array([[0.1, 0.9], [0.8, 0.2]])]).tolist() == ["yes", "no"]
    assert kind.n_classes == [2]
    assert encoder.n_classes == [None, 2]


def test_a_view_of_one_dimension_and_of_one_column():
    X, y = regression_data()
    model = exact("regressor", max_epochs=3).fit(X, y[:, 0])
    np.testing.assert_array_equal(model.for_task(0).predict(X), model.predict(X))
    model = exact("regressor", max_epochs=3).fit(X, pd.Series(y[:, 0], name="price"))
    np.testing.assert_array_equal(model.for_task("price").predict(X), model.predict(X))
    model = exact("regressor", max_epochs=3).fit(X, y[:, [0]])
    assert model.for_task(0).predict(X).shape == (60,)


# -- row tasks -------------------------------------------------------------------


def test_a_view_of_a_row_task_needs_no_task():
    X, y, task = row_task_data()
    model = exact("regressor", max_epochs=5).fit(X, y, task=task)
    for name in (10, 13):
        expected = model.predict(X, task=np.full(len(X), name))
        np.testing.assert_array_equal(model.for_task(name).predict(X), expected)
        np.testing.assert_array_equal(
            model.for_task(name).predict(X.tolist()), expected
        )
    assert model.for_task(10).n_features_in_ == 3


def test_a_view_takes_the_table_with_and_without_the_task_column(stores, by_store):
    frame, _ = stores
    view = by_store.for_task("store 12")
    expected = by_store.predict(frame.assign(store="store 12"))
    before = frame.copy()
    np.testing.assert_array_equal(view.predict(frame), expected)
    np.testing.assert_array_equal(view.predict(frame[FEATURES]), expected)
    np.testing.assert_array_equal(view.predict(frame.assign(store=np.nan)), expected)
    pd.testing.assert_frame_equal(frame, before)
    assert view.feature_names_in_.tolist() == FEATURES
    assert view.n_features_in_ == 3
    own = (frame["store"] == "store 12").to_numpy()
    np.testing.assert_array_equal(
        view.predict(frame[own]), by_store.predict(frame)[own]
    )


@pytest.mark.parametrize("position", [0, 2, 3, -1, -4])
@pytest.mark.parametrize("text", [False, True])
def test_a_view_takes_arrays_with_and_without_the_task_column(position, text):
    X, y, task = row_task_data()
    task = [f"t{i}" for i in task] if text else task.astype(float)
    table = np.insert(X.astype(object) if text else X, position % 4, task, axis=1)
    model = exact("regressor", max_epochs=2, task_column=position).fit(table, y)
    name = model.task_names_[2]
    view = model.for_task(name)
    one = table.copy()
    one[:, position] = name
    expected = model.predict(one)
    np.testing.assert_array_equal(view.predict(X), expected)
    np.testing.assert_array_equal(view.predict(table), expected)
    assert view.n_features_in_ == 3
    named = small("regressor", task_column=position, max_epochs=1)
    frame = pd.DataFrame(table, columns=["p", "q", "r", "s"])
    view = named.fit(frame, y).for_task(name)
    without = frame.drop(columns=frame.columns[position])
    assert view.feature_names_in_.tolist() == without.columns.tolist()
    np.testing.assert_array_equal(view.predict(without), view.predict(frame))


def test_a_view_takes_frames_without_string_names():
    X, y, task = row_task_data()
    frame = pd.DataFrame(np.column_stack([X, task]))
    model = exact("regressor", max_epochs=2, task_column=-1).fit(frame, y)
    view = model.for_task(11.0)
    ids = frame.copy()
    ids[3] = 11.0
    expected = model.predict(ids)
    np.testing.assert_array_equal(view.predict(frame), expected)
    np.testing.assert_array_equal(view.predict(frame[[0, 1, 2]]), expected)


def test_a_view_takes_polars_frames(stores):
    polars = pytest.importorskip("polars")
    frame, y = stores
    table = polars.DataFrame({name: frame[name].to_list() for name in frame})
    model = small("regressor", task_column="store", max_epochs=3).fit(table, y)
    view = model.for_task("store 12")
    expected = small("regressor", task_column="store", max_epochs=3).fit(frame, y)
    expected = expected.predict(frame.assign(store="store 12"))
    np.testing.assert_array_equal(view.predict(table), expected)
    np.testing.assert_array_equal(view.predict(table.drop("store")), expected)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_tables_that_fit_in_neither_way_are_complained_about(stores, by_store):
    frame, y = stores
    view = by_store.for_task("store 12")
    with pytest.raises(ValueError, match="Feature names seen at fit time"):
        view.predict(frame.drop(columns="b"))
    with pytest.raises(ValueError, match="'store' is not a column of X"):
        view.predict(frame.to_numpy())
    table = np.column_stack([frame[FEATURES], frame["store"].str[6:].astype(int)])
    view = small("regressor", task_column=3, max_epochs=1).fit(table, y).for_task(12)
    with pytest.raises(ValueError, match="X has 2 features"):
        view.predict(table[:, :2])


def test_row_tasks_of_several_columns_have_no_view():
    X, y = regression_data()
    model = exact("regressor", max_epochs=1).fit(X, y, task=np.arange(60) % 2)
    with pytest.raises(ValueError, match="has 3 columns of y, and a view has one"):
        model.for_task(1)


def test_an_adapted_estimator_has_a_view_of_its_task(stores, by_store):
    frame, y = stores
    adapted = by_store.adapt(frame[:20].assign(store="new"), y[:20])
    view = adapted.for_task("new")
    expected = adapted.predict(frame.assign(store="new"))
    np.testing.assert_array_equal(view.predict(frame), expected)
    np.testing.assert_array_equal(view.predict(frame[FEATURES]), expected)


# -- copies ----------------------------------------------------------------------


def test_a_view_pickles(numbers, classes, by_store, stores):
    for view, X in (
        (numbers[0].for_task(1), numbers[1]),
        (classes[0].for_task("sick"), classes[1]),
        (by_store.for_task("store 12"), stores[0]),
    ):
        other = pickle.loads(pickle.dumps(view))
        np.testing.assert_array_equal(other.predict(X), view.predict(X))
        assert len(pickle.dumps(view)) < len(pickle.dumps(view.estimator)) + 1000


def test_a_clone_of_a_view_is_not_fitted_and_says_how_to_keep_it(numbers):
    model, X, y = numbers
    view = model.for_task(1)
    twin = clone(view)
    assert twin.task == 1
    with pytest.raises(NotFittedError):
        twin.predict(X)
    with pytest.raises(TypeError, match=r"view of task 1 cannot be fitted.*Frozen"):
        view.fit(X, y[:, 1])
    with pytest.raises(ValueError, match="cannot be fitted"):
        cross_val_score(view, X, y[:, 1])
    scores = cross_val_score(FrozenEstimator(view), X, y[:, 1], cv=2)
    halves = [view.score(X[half], y[half, 1]) for half in (slice(100), slice(100, 200))]
    np.testing.assert_allclose(scores, halves)


def test_a_view_prints(classes):
    view = classes[0].for_task("sick")
    assert repr(view).startswith("TaskClassifierView(estimator=MultiTaskNetClassifier(")
    assert "TaskClassifierView" in view._repr_html_()


# -- the tools -------------------------------------------------------------------


def test_partial_dependence_of_a_column(numbers):
    model, X, _ = numbers
    found = partial_dependence(model.for_task(2), X, [0], grid_resolution=4)
    joint = partial_dependence(model, X, [0], grid_resolution=4)
    np.testing.assert_allclose(found["average"][0], joint["average"][2])


def test_partial_dependence_of_a_store(stores, by_store):
    frame, _ = stores
    for table in (frame, frame[FEATURES]):
        found = partial_dependence(
            by_store.for_task("store 12"), table, ["a"], grid_resolution=4
        )
        assert (np.diff(found["average"][0]) > 0).all()  # the slope is 3


@pytest.mark.parametrize(("task", "target"), [("sick", None), ("stage", 2)])
def test_partial_dependence_is_drawn(classes, axes, task, target):
    model, X, _ = classes
    display = PartialDependenceDisplay.from_estimator(
        model.for_task(task), X, [0, 1], target=target, grid_resolution=4, ax=axes
    )
    average = display.pd_results[0]["average"][display.target_idx]
    assert average[-1] > average[0] + 0.2  # column 0 decides on both


def test_permutation_importance_by_scorers_by_name(classes, numbers):
    model, X, y = classes
    found = permutation_importance(
        model.for_task("sick"), X, y["sick"], scoring="roc_auc", n_repeats=2
    )
    assert found.importances_mean.argmax() == 0
    view, X, y = numbers[0].for_task(0), numbers[1], numbers[2][:, 0]
    found = permutation_importance(view, X, y, n_repeats=1)
    assert found.importances_mean.max() > 0.1


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("task", ["sick", "stage"])
def test_calibration_of_a_view(classes, task, method):
    model, X, y = classes
    new_X, _ = classification_data(200, seed=1)
    view = model.for_task(task)
    calibrated = CalibratedClassifierCV(FrozenEstimator(view), method=method)
    calibrated.fit(X, y[task])
    proba = calibrated.predict_proba(new_X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert calibrated.classes_.tolist() == view.classes_.tolist()
    assert calibrated.score(X, y[task]) > view.score(X, y[task]) - 0.05
    assert log_loss(y[task], calibrated.predict_proba(X)) < 0.6


def test_stacking_of_views_of_columns(numbers):
    model, X, y = numbers
    views = [(f"view {j}", model.for_task(j)) for j in range(3)]
    stack = StackingRegressor(views, Ridge(alpha=1e-6), cv="prefit").fit(X, y[:, 0])
    inputs = np.column_stack([view.predict(X) for _, view in views])
    expected = Ridge(alpha=1e-6).fit(inputs, y[:, 0]).predict(inputs)
    np.testing.assert_allclose(stack.predict(X), expected)
    frozen = [(name, FrozenEstimator(view)) for name, view in views]
    again = StackingRegressor(frozen, Ridge(alpha=1e-6), cv=2).fit(X, y[:, 0])
    np.testing.assert_allclose(again.predict(X), expected)
    with pytest.raises(TypeError, match="cannot be fitted"):
        StackingRegressor(views, Ridge()).fit(X, y[:, 0])


def test_stacking_of_views_of_classes(classes):
    model, X, y = classes
    views = [(name, model.for_task(name)) for name in y]
    stack = StackingClassifier(views, LogisticRegression(), cv="prefit")
    assert stack.fit(X, y["sick"]).score(X, y["sick"]) > 0.8
    # Cross-validation inside of stacking asks for the classes of y.
    one = [("sick", views[0][1])]
    stack = StackingClassifier(one, LogisticRegression(), cv="prefit")
    frozen = [("sick", FrozenEstimator(views[0][1]))]
    again = StackingClassifier(frozen, LogisticRegression(), cv=2).fit(X, y["sick"])
    expected = stack.fit(X, y["sick"]).predict_proba(X)
    np.testing.assert_allclose(again.predict_proba(X), expected)


def test_a_roc_curve_is_drawn(classes, axes):
    model, X, y = classes
    view = model.for_task("sick")
    display = RocCurveDisplay.from_estimator(view, X, y["sick"], ax=axes)
    assert display.roc_auc > 0.9
    assert get_scorer("roc_auc")(view, X, y["sick"]) == pytest.approx(display.roc_auc)


def test_a_calibration_curve_is_drawn(classes, axes):
    model, X, y = classes
    display = CalibrationDisplay.from_estimator(
        model.for_task("sick"), X, y["sick"], n_bins=3, ax=axes
    )
    assert display.prob_true[-1] > display.prob_true[0]
