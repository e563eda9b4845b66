"""A head for a new task on networks that stay as they are."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.utils.validation import check_is_fitted

from skmtl.architecture import HardSharing

from .instances import (
    ESTIMATORS,
    classification_data,
    exact,
    frozen,
    regression_data,
    row_task_data,
    small,
)

KINDS = sorted(ESTIMATORS)
SHRINKAGE = HardSharing().per_network("task_shrinkage", 1).item()


@pytest.fixture(scope="module")
def column_regressor():
    X, y = regression_data(200)
    return small("regressor").fit(X, y)


@pytest.fixture(scope="module")
def column_classifier():
    X, y = classification_data(200)
    return small("classifier").fit(X, y)


@pytest.fixture(scope="module")
def row_regressor():
    X, y, task = row_task_data(240)
    return small("regressor", max_epochs=80).fit(X, y, task=task)


@pytest.fixture(scope="module")
def row_classifier():
    X, y, task = row_task_data(240)
    return small("classifier", max_epochs=80).fit(X, y > 0, task=task)


def new_group(n_samples, *, shift=4.0, slope=-1.5, seed=5):
    """Draw rows of a group that training did not see."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 3))
    y = 3 * X[:, 0] + shift + slope * X[:, 1] + 0.1 * rng.normal(size=n_samples)
    return frozen(X, y)


def shared_head(model, X):
    with pytest.warns(UserWarning, match="shared head"):
        return model.predict(X, task=np.full(len(X), -1))


# -- column tasks ----------------------------------------------------------------


def test_a_new_target_is_learned_from_few_rows(column_regressor):
    X, y = regression_data(240, n_tasks=5, seed=3)
    new = y[:, 4]  # the same representation, mixed in another way
    adapted = column_regressor.adapt(X[:40], new[:40])
    assert adapted.predict(X).shape == (240,)
    assert adapted.predict(X).dtype == np.float64
    score = adapted.score(X[40:], new[40:])
    assert score > 0.9
    linear = LinearRegression().fit(X[:40], new[:40])
    assert score > linear.score(X[40:], new[40:]) + 0.01


def test_a_new_task_of_two_classes_is_learned_in_its_own_dtype(column_classifier):
    X, _ = classification_data(240, seed=3)
    new = np.where(X[:, 0] + 0.5 * X[:, 1] > 0, "yes", "no")
    adapted = column_classifier.adapt(X[:40], new[:40])
    assert adapted.classes_.tolist() == ["no", "yes"]
    assert adapted.predict(X).dtype == new.dtype
    proba = adapted.predict_proba(X)
    assert proba.shape == (240, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert adapted.score(X[40:], new[40:]) > 0.8


def test_a_new_task_of_several_classes_is_learned(column_classifier):
    X, _ = classification_data(240, seed=3)
    new = np.digitize(X[:, 0], [-0.8, 0, 0.8]) * 10
    adapted = column_classifier.adapt(X[:80], new[:80])
    assert adapted.classes_.tolist() == [0, 10, 20, 30]
    assert adapted.predict_proba(X).shape == (240, 4)
    most = np.bincount(new // 10).max() / 240
    assert adapted.score(X[80:], new[80:]) > most + 0.3


def test_several_new_columns_keep_their_names(column_regressor):
    X, y = regression_data(60, n_tasks=5, seed=3)
    frame = pd.DataFrame(y[:, 3:], columns=["d", "e"])
    adapted = column_regressor.adapt(X, frame)
    assert adapted.task_names_.tolist() == ["d", "e"]
    assert adapted.n_tasks_ == 2
    assert adapted.predict(X).shape == (60, 2)
    alone = column_regressor.adapt(X, frame["e"])
    np.testing.assert_allclose(adapted.predict(X)[:, 1], alone.predict(X), rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_labels_equal_rows_left_out(
    kind, column_regressor, column_classifier
):
    model = column_regressor if kind == "regressor" else column_classifier
    X, y = regression_data(60) if kind == "regressor" else classification_data(60)
    y = y[:, 1].copy()
    y[::3] = np.nan
    labelled = ~np.isnan(y)
    masked = model.adapt(X, y).predict(X)
    without = model.adapt(X[labelled], y[labelled])
    np.testing.assert_allclose(masked, without.predict(X), rtol=1e-9)
    weightless = model.adapt(X, np.nan_to_num(y), sample_weight=labelled.astype(float))
    np.testing.assert_allclose(masked, weightless.predict(X), rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_draw_the_head_to_their_rows(kind, column_regressor, column_classifier):
    model = column_regressor if kind == "regressor" else column_classifier
    X = regression_data(100)[0]
    first = np.arange(100) < 50
    y = np.where(first, 1, -1) * np.sign(X[:, 0])  # two halves that contradict
    weight = np.where(first, 1.0, 0.01)
    adapted = model.adapt(X, y, sample_weight=weight)
    assert np.mean(np.sign(adapted.predict(X))[first] == y[first]) > 0.8
    other = model.adapt(X, y, sample_weight=1.01 - weight)
    assert np.mean(np.sign(other.predict(X))[first] == y[first]) < 0.3


def test_a_new_task_of_one_class_is_that_class(column_classifier):
    X, _ = classification_data(20)
    adapted = column_classifier.adapt(X, np.full(20, "only"))
    assert set(adapted.predict(X)) == {"only"}
    np.testing.assert_array_equal(adapted.predict_proba(X), np.ones((20, 1)))


def test_one_row_is_enough(column_regressor, row_regressor):
    X, y = regression_data(200, seed=3)
    np.testing.assert_allclose(
        column_regressor.adapt(X[:1], y[:1, 0]).predict(X), y[0, 0], rtol=1e-6
    )
    X, y = new_group(1)
    assert np.isfinite(row_regressor.adapt(X, y).predict(X)).all()


# -- row tasks -------------------------------------------------------------------


def fitted_parts(model, X):
    """Give features with a one behind them, shared heads, and target scaling."""
    net = model.net_
    features = net.features(np.array(X))
    inputs = np.concatenate([features, np.ones((*features.shape[:2], 1))], axis=-1)
    heads = net.module_.architecture.heads.shared
    weight = heads.weight.detach().double().numpy()[:, :, 0]
    bias = heads.bias.detach().double().numpy()[:, :, 0]
    targets = net.blueprint.targets
    return inputs, np.concatenate([weight, bias], axis=1), targets


@pytest.mark.parametrize("n_samples", [2, 10, 100])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_deviation_of_a_new_group_is_a_ridge_regression(
    row_regressor, n_samples, weighted
):
    X, y = new_group(n_samples)
    weight = np.random.default_rng(0).uniform(0.5, 2, n_samples)
    weight = weight if weighted else np.ones(n_samples)
    adapted = row_regressor.adapt(X, y, sample_weight=weight if weighted else None)
    inputs, heads, targets = fitted_parts(row_regressor, X)
    new_X, _ = new_group(50, seed=6)
    new_inputs, _, _ = fitted_parts(row_regressor, new_X)
    members = []
    for f, h, new_f in zip(inputs, heads, new_inputs, strict=True):
        residual = (y - targets.shift) / targets.scale - f @ h
        left = f.T @ (weight[:, None] * f) + SHRINKAGE * np.eye(f.shape[1])
        deviation = np.linalg.solve(left, f.T @ (weight * residual))
        members.append(new_f @ (h + deviation))
    expected = np.mean(members, axis=0) * targets.scale + targets.shift
    np.testing.assert_allclose(adapted.predict(new_X), expected, rtol=1e-4)


def test_the_deviation_of_a_new_group_is_exact_in_float64():
    X, y, task = row_task_data()
    model = exact("regressor").fit(X, y, task=task)
    new_X, new_y = new_group(12)
    inputs, heads, targets = fitted_parts(model, new_X)
    f, h = inputs[0], heads[0]
    residual = (new_y - targets.shift) / targets.scale - f @ h
    left = f.T @ f + SHRINKAGE * np.eye(f.shape[1])
    expected = f @ (h + np.linalg.solve(left, f.T @ residual))
    np.testing.assert_allclose(
        model.adapt(new_X, new_y).predict(new_X),
        expected * targets.scale[0] + targets.shift[0],
        rtol=1e-9,
    )


def test_the_deviation_of_a_new_group_of_classes_is_a_ridge_logistic_regression():
    X, y, task = row_task_data()
    model = exact("classifier").fit(X, y > 0, task=task)
    new_X, new_y = new_group(30)
    labels = new_y > 1
    inputs, heads, _ = fitted_parts(model, new_X)
    f, h = inputs[0], heads[0]

    def objective(deviation):
        odds = f @ (h + deviation)
        loss = np.logaddexp(0, odds) - labels * odds
        return loss.sum() + SHRINKAGE * deviation @ deviation

    found = minimize(objective, np.zeros(f.shape[1]), options={"gtol": 1e-8})
    expected = 1 / (1 + np.exp(-f @ (h + found.x)))
    proba = model.adapt(new_X, labels).predict_proba(new_X)
    np.testing.assert_allclose(proba[:, 1], expected, atol=1e-4)


def test_integer_weights_equal_repeated_rows_of_a_new_group(row_regressor):
    X, y = new_group(20)
    repeats = np.random.default_rng(0).integers(0, 4, 20)
    weighted = row_regressor.adapt(X, y, sample_weight=repeats)
    rows = np.repeat(np.arange(20), repeats)
    repeated = row_regressor.adapt(X[rows], y[rows])
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-5)


def test_many_rows_of_a_new_group_leave_the_shared_head_and_few_stay():
    X, y, task = row_task_data(240)
    architecture = HardSharing((16,), task_shrinkage=100.0)
    model = exact("regressor", architecture=architecture).fit(X, y, task=task)
    test_X, test_y = new_group(200, seed=6)
    shared = shared_head(model, test_X)
    moved, errors = [], []
    for n_samples in (1, 10, 1000):
        predicted = model.adapt(*new_group(n_samples)).predict(test_X)
        moved.append(np.abs(predicted - shared).mean())
        errors.append(((predicted - test_y) ** 2).mean())
    assert moved[0] < 0.2 * moved[2] < moved[1] < moved[2]
    assert ((shared - test_y) ** 2).mean() > errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.1 * test_y.var()


def test_a_group_of_the_training_data_moves_to_about_its_own_head(row_regressor):
    X, y, task = row_task_data(240)
    own = task == 12
    again = row_regressor.adapt(X[own], y[own]).predict(X[own])
    before = row_regressor.predict(X[own], task=task[own])
    assert np.mean((again - before) ** 2) < 0.1 * y[own].var()


def test_a_new_group_of_classes_keeps_the_classes(row_classifier):
    X, y = new_group(60)
    adapted = row_classifier.adapt(X, y > 2)
    assert adapted.classes_.tolist() == [False, True]
    assert adapted.predict(X).dtype == bool
    test_X, test_y = new_group(200, seed=6)
    with pytest.warns(UserWarning, match="shared head"):
        shared = row_classifier.score(test_X, test_y > 2, task=np.full(200, -1))
    assert adapted.score(test_X, test_y > 2) > max(shared, 0.8)


def test_missing_labels_of_a_new_group_do_not_count(row_regressor):
    X, y = new_group(30)
    hidden = y.copy()
    hidden[::2] = np.nan
    np.testing.assert_allclose(
        row_regressor.adapt(X, hidden).predict(X),
        row_regressor.adapt(X[1::2], y[1::2]).predict(X),
        rtol=1e-9,
    )


def test_adaptation_reads_the_task_column():
    X, y, task = row_task_data()
    frame = pd.DataFrame(X, columns=list("abc")).assign(store=task)
    by_column = small("regressor", task_column="store", max_epochs=10).fit(frame, y)
    by_argument = small("regressor", max_epochs=10).fit(X, y, task=task)
    new_X, new_y = new_group(20)
    new_frame = pd.DataFrame(new_X, columns=list("abc")).assign(store=99)
    adapted = by_column.adapt(new_frame, new_y)
    np.testing.assert_allclose(
        adapted.predict(new_frame), by_argument.adapt(new_X, new_y).predict(new_X)
    )
    two = new_frame.assign(store=np.arange(20) % 2)
    with pytest.raises(ValueError, match="rows of 2 tasks; pass the rows of one"):
        by_column.adapt(two, new_y)


def test_endless_shrinkage_keeps_the_shared_head():
    X, y, task = row_task_data()
    architecture = HardSharing((16,), task_shrinkage=1e9)
    model = exact("regressor", architecture=architecture).fit(X, y, task=task)
    new_X, new_y = new_group(50)
    np.testing.assert_allclose(
        model.adapt(new_X, new_y).predict(new_X),
        shared_head(model, new_X),
        rtol=1e-4,
        atol=1e-4,
    )


# -- what adapt returns ----------------------------------------------------------


@pytest.fixture(
    params=["column_regressor", "column_classifier", "row_regressor", "row_classifier"]
)
def adaptable(request):
    """Give a fitted model, its task, new rows and new labels."""
    model = request.getfixturevalue(request.param)
    if request.param.startswith("row"):
        X, y = new_group(30)
        task = {"task": np.full(30, 12)}
    else:
        X, y = regression_data(30, seed=8)
        y, task = y[:, 0], {}
    return model, task, X, y if request.param.endswith("regressor") else y > y.mean()


def test_the_original_is_untouched(adaptable):
    model, task, X, y = adaptable
    before = {name: id(value) for name, value in vars(model).items()}
    predicted = model.predict(X, **task)
    adapted = model.adapt(X, y)
    assert adapted is not model
    assert adapted.net_ is not model.net_
    assert {name: id(value) for name, value in vars(model).items()} == before
    np.testing.assert_array_equal(model.predict(X, **task), predicted)


def test_an_adapted_estimator_pickles(adaptable):
    model, _, X, y = adaptable
    adapted = model.adapt(X, y)
    other = pickle.loads(pickle.dumps(adapted))
    np.testing.assert_array_equal(other.predict(X), adapted.predict(X))
    assert other.score(X, y) == adapted.score(X, y)


def test_members_of_an_adapted_estimator_average_to_its_prediction(adaptable):
    model, _, X, y = adaptable
    adapted = model.adapt(X, y)
    method = "predict" if y.dtype == float else "predict_proba"
    members = [getattr(member, method)(X) for member in adapted.estimators_]
    assert len(members) == 2
    np.testing.assert_allclose(
        np.mean(members, axis=0), getattr(adapted, method)(X), rtol=1e-12
    )


def test_a_clone_of_an_adapted_estimator_is_unfitted(adaptable):
    model, _, X, y = adaptable
    adapted = model.adapt(X, y)
    check_is_fitted(adapted)
    twin = clone(adapted)
    assert twin.get_params().keys() == model.get_params().keys()
    with pytest.raises(NotFittedError):
        twin.predict(X)


def test_an_adapted_estimator_has_no_validation_prediction(adaptable):
    model, _, X, y = adaptable
    assert model.validation_prediction_ is not None
    with pytest.raises(AttributeError):
        model.adapt(X, y).validation_prediction_  # noqa: B018


def test_adapt_is_repeatable(adaptable):
    model, _, X, y = adaptable
    np.testing.assert_array_equal(
        model.adapt(X, y).predict(X), model.adapt(X, y).predict(X)
    )


# -- bad input -------------------------------------------------------------------


def test_adapt_before_fit_is_an_error():
    with pytest.raises(NotFittedError):
        small("regressor").adapt([[0.0], [1.0]], [0.0, 1.0])


def test_adapt_says_what_is_wrong_with_the_data(column_regressor, column_classifier):
    X, y = regression_data(30)
    with pytest.raises(ValueError, match="Task 0 has no labels in y"):
        column_regressor.adapt(X, np.full(30, np.nan))
    with pytest.raises(
        ValueError, match=r"inconsistent numbers of samples: \[30, 29\]"
    ):
        column_regressor.adapt(X, y[:29])
    with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 4"):
        column_regressor.adapt(X[:, :3], y)
    with pytest.raises(ValueError, match="infinity in task 0"):
        column_regressor.adapt(X, np.full(30, np.inf))
    with pytest.raises(ValueError, match="Negative values"):
        column_regressor.adapt(X, y[:, 0], sample_weight=-np.ones(30))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        column_classifier.adapt(X, y[:, 0])


def test_a_new_group_has_the_columns_and_classes_of_the_others(
    row_regressor, row_classifier
):
    X, y = new_group(10)
    with pytest.raises(ValueError, match="y has 2 columns; the tasks known have 1"):
        row_regressor.adapt(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="labels that it did not have before"):
        row_classifier.adapt(X, np.where(y > 0, "a", "b"))


@pytest.mark.parametrize("layers", [(), (4,), (4, 4)])
def test_an_adapted_estimator_of_any_depth_comes_back(layers):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    model = exact("regressor", architecture=HardSharing(layers, dropout=0.1))
    adapted = model.fit(X, y).adapt(X[:20], y[:20, 0])
    for other in (pickle.loads(pickle.dumps(adapted)), copy.deepcopy(adapted)):
        np.testing.assert_array_equal(other.predict(X), adapted.predict(X))
    members = np.mean([m.predict(X) for m in adapted.estimators_], axis=0)
    np.testing.assert_allclose(members, adapted.predict(X), rtol=1e-12)


def test_an_adapted_estimator_warns_of_rows_of_other_tasks():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(40, 2)), np.repeat([0.0, 1.0], 20)])
    model = exact("regressor", task_column=2).fit(X, X[:, 0] + X[:, 2])
    new = np.column_stack([X[:5, :2], np.full(5, 7.0)])
    adapted = model.adapt(new, new[:, 0])
    assert adapted.task_names_.tolist() == [7.0]
    adapted.predict(new)
    with pytest.warns(
        UserWarning, match="adapted to task 7.0.* such as '0.0'"
    ) as record:
        adapted.predict(X[:5])
    assert len(record) == 1
