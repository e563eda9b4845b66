"""Inputs that step at thresholds of trees: stumps."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit

from skmtl import MixedTaskNet, MultiTaskNetRegressor, _encoder_fit
from skmtl._encoder_bank import encoded_rows
from skmtl._ridge_path import ridge_predictions
from skmtl._stumps import Stumps, found_stumps
from skmtl.architecture import TorchModule
from skmtl.encoding import Raw, Standard
from skmtl.model_selection import FusedGridSearchCV

from .instances import row_task_data, small


def step_data(n_columns=6, n_samples=300, *, noise=0.2, seed=0):
    """Draw two targets that step in two columns of which the bins know nothing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_columns))
    first, second = X[:, 0] > 0.21, X[:, 1] > -0.43
    y = np.column_stack([2.0 * first - second, 1.0 * first * second])
    return X, y + noise * rng.normal(size=y.shape)


def curved_data(n_samples=300):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 6))
    y = np.column_stack([np.sin(X[:, 0]) + X[:, 1], X[:, 1] ** 2 / 2])
    return X, y + 0.2 * rng.normal(size=y.shape)


def stumps_of(X, y, n_stumps=4, *, weight=None, numbers=None):
    targets = [column[:, None] for column in y.T]
    weight = np.ones(len(X)) if weight is None else weight
    numbers = np.ones(X.shape[1], bool) if numbers is None else numbers
    return found_stumps(X, targets, weight, numbers, n_stumps)


def check_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def n_inputs(model):
    return [encoder.n_inputs for encoder in model._known_encoders()]


# -- the thresholds --------------------------------------------------------------


def test_the_places_where_labels_step_are_found():
    X, y = step_data(noise=0)
    source, below, above = stumps_of(X, y, 8)
    for j, step in {0: 0.21, 1: -0.43}.items():
        own = source == j
        assert ((below <= step) & (step < above))[own].sum() == 1
        for low, high in zip(below[own], above[own], strict=True):
            assert not ((X[:, j] > low) & (X[:, j] < high)).any()
    pairs = list(zip(source, below, strict=True))
    assert len(set(pairs)) == len(pairs) == 8


def test_fewer_are_the_first_of_more():
    X, y = step_data()
    check_equal(stumps_of(X, y, 3), [part[:3] for part in stumps_of(X, y, 20)])


def test_wild_values_and_holes_move_nothing():
    """Trees see ranks, and a hole is no threshold."""
    X, y = step_data()
    plain = stumps_of(X, y)
    curved = stumps_of(np.exp(20 * X), y)
    check_equal(
        curved, [plain.source, np.exp(20 * plain.below), np.exp(20 * plain.above)]
    )
    X = X.copy()
    X[:, 5] = np.nan
    X[y[:, 0] > 0, 4] = np.nan
    y = y.copy()
    y[3::4, 1] = np.nan
    found = stumps_of(X, y, 32)
    assert np.isfinite(found).all()
    assert {0, 1} <= set(found.source.tolist())
    assert (found.above > found.below).all()


@pytest.mark.parametrize("values", [(0.0, 5e-324), (-1.7e308, 1.7e308)])
def test_steps_that_no_slope_can_take_are_left_out(values):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.choice(values, size=100), rng.normal(size=100)])
    y = np.column_stack([X[:, 0] > values[0], X[:, 1] > 0.3]).astype(float)
    assert set(stumps_of(X, y).source.tolist()) == {1}


@given(st.integers(0, 2**31))
def test_the_order_of_rows_does_not_matter(seed):
    X, y = step_data(3, 60)
    y[::5, 1] = np.nan
    order = np.random.default_rng(seed).permutation(len(X))
    check_equal(stumps_of(X[order], y[order]), stumps_of(X, y))


@given(st.integers(0, 2**31))
def test_integer_weights_count_rows(seed):
    X, y = step_data(3, 60)
    times = np.random.default_rng(seed).integers(0, 4, size=len(X))
    rows = np.repeat(np.arange(len(X)), times)
    check_equal(stumps_of(X, y, weight=times), stumps_of(X[rows], y[rows]))


def test_categories_have_no_thresholds():
    X, y = step_data()
    X[:, 0] = X[:, 0] > 0.21
    numbers = np.array([False, False, True, True, True, True])
    found = stumps_of(X, y, 32, numbers=numbers)
    assert set(found.source.tolist()) <= {2, 3, 4, 5}


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.zeros((20, 3)), np.arange(20.0)[:, None]),
        (np.arange(60.0).reshape(20, 3), np.zeros((20, 1))),
        (np.arange(60.0).reshape(20, 3), np.full((20, 1), np.nan)),
        (np.arange(9.0).reshape(3, 3), np.arange(3.0)[:, None]),
        (np.zeros((20, 0)), np.arange(20.0)[:, None]),
    ],
    ids=["constant", "one label", "unlabelled", "few rows", "no column"],
)
def test_where_there_is_nothing_to_learn_there_are_none(X, y):
    assert len(stumps_of(X, y).source) == 0


def test_an_input_steps_between_two_values():
    stumps = Stumps(np.array([1, 0]), np.array([2.0, -1.0]), np.array([4.0, -0.5]))
    X = np.array([[-2.0, 2.0], [-1.0, 3.0], [-0.75, 4.0], [9.0, np.nan]])
    expected = [[0, 0], [0.5, 0], [1, 0.5], [0, 1]]
    np.testing.assert_array_equal(encoded_rows(stumps.encoded(), X), expected)
    check_equal(stumps.of_columns([0]), [[0], [-1.0], [-0.5]])


@pytest.mark.parametrize("n_inputs", [3, 40])
def test_ridge_predictions_are_those_of_scikit_learn(n_inputs):
    rng = np.random.default_rng(0)
    X, y, new = (rng.normal(size=s) for s in ((20, n_inputs), (20, 2), (5, n_inputs)))
    found = ridge_predictions(X, y, new, (0.01, 3.0))
    for each, strength in zip(found, (0.01, 3.0), strict=True):
        ridge = Ridge(20 * strength, fit_intercept=False).fit(X, y)
        np.testing.assert_allclose(each, ridge.predict(new), rtol=1e-6)


# -- in a fit --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["regressor", "classifier", "mixed"])
def test_steps_are_seen_and_curves_left_alone(kind):
    def labels(y):
        if kind == "classifier":
            return y > np.median(y, axis=0)
        if kind == "mixed":
            words = np.where(y[:, 1] > np.median(y[:, 1]), "a", "b")
            return pd.DataFrame({"size": y[:, 0], "word": words})
        return y

    for (X, y), gains in ((step_data(n_samples=500), True), (curved_data(), False)):
        sizes = [
            n_inputs(small(kind, max_epochs=1, stumps=stumps).fit(X, labels(y)))
            for stumps in ("auto", None)
        ]
        more = np.subtract(*sizes)
        assert (more >= 10).all() if gains else (more == 0).all()
        assert more.max() <= 32


@pytest.mark.parametrize("seed", range(3, 6))
def test_steps_are_seen_with_most_labels_missing(seed):
    # Were missing labels taken for the mean, those of seed 4 would not be seen.
    X, y = step_data(n_samples=500, seed=seed)
    y[np.random.default_rng(seed).random(y.shape) < 0.6] = np.nan
    assert small("regressor", max_epochs=1, stumps="auto").fit(X, y).stumps_.any()


def test_none_where_nothing_steps_is_bit_equal():
    X, y = curved_data()
    auto, none = (
        small("regressor", max_epochs=3, stumps=stumps).fit(X, y).predict(X)
        for stumps in ("auto", None)
    )
    np.testing.assert_array_equal(auto, none)


def test_curves_are_no_steps_to_lines_either():
    X, y = curved_data()
    auto, none = (
        n_inputs(
            small("regressor", max_epochs=1, stumps=s, encoding=Standard()).fit(X, y)
        )
        for s in ("auto", None)
    )
    assert auto == none


def test_as_many_as_are_asked_for():
    X, y = curved_data()
    none, five = (
        n_inputs(small("regressor", max_epochs=1, stumps=k).fit(X, y))
        for k in (None, 5)
    )
    np.testing.assert_array_equal(np.subtract(five, none), 5)


def test_steps_are_learned_better():
    X, y = step_data()
    new, truth = step_data(n_samples=500, seed=1, noise=0)
    auto, none = (
        np.mean((small("regressor", stumps=s).fit(X, y).predict(new) - truth) ** 2)
        for s in ("auto", None)
    )
    assert auto < 0.8 * none


@pytest.mark.parametrize(
    "changes",
    [
        {"stumps": None},
        {"encoding": Raw()},
        {"architecture": TorchModule(torch.nn.Linear(6, 4))},
    ],
    ids=["None", "Raw", "TorchModule"],
)
def test_inputs_may_go_without(changes):
    X, y = step_data()
    settings = {"max_epochs": 1, "relevance": None, "stumps": "auto"}
    found = n_inputs(small("regressor", **settings).set_params(**changes).fit(X, y))
    without = {"stumps": None} | changes
    expected = small("regressor", **settings).set_params(**without).fit(X, y)
    assert found == n_inputs(expected)


def test_the_first_rows_of_a_stream_do_not_decide():
    X, y = step_data()
    auto, none = (
        small("regressor", stumps=stumps).partial_fit(X, y) for stumps in ("auto", None)
    )
    assert n_inputs(auto) == n_inputs(none)


def test_networks_that_go_on_are_not_asked_again(monkeypatch):
    X, y = step_data()
    model = small("regressor", max_epochs=1, stumps="auto", warm_start=True).fit(X, y)
    before = n_inputs(model)

    def asked(*_):
        raise AssertionError("trees were asked again")

    monkeypatch.setattr(_encoder_fit, "gain_of_stumps", asked)
    assert n_inputs(model.fit(X, y)) == before
    assert n_inputs(model.partial_fit(X, y)) == before
    with pytest.raises(AssertionError, match="asked again"):
        small("regressor", max_epochs=1, stumps="auto").fit(X, y)


def test_held_out_rows_give_no_thresholds():
    X, y = step_data()
    fold = np.arange(len(X)) % 2
    other = np.where(fold[:, None] == 0, y[::-1], y)
    model = small("regressor", cv=PredefinedSplit(fold), max_epochs=1, stumps=6)
    first, second = (
        [encoder.shift[-6:] for encoder in model.fit(X, labels)._known_encoders()]
        for labels in (y, other)
    )
    np.testing.assert_array_equal(first[0], second[0])  # holds out what was changed
    assert not np.array_equal(first[1], second[1])


def test_members_have_the_stumps_of_the_columns_they_see():
    X, y = step_data()
    settings = {"max_epochs": 1, "max_features": 0.5, "n_estimators": 4, "stumps": 20}
    model = small("regressor", **settings).fit(X, y)
    for encoder in model._known_encoders():
        assert len(np.unique(encoder.source)) == 3
    assert model.predict(X).shape == y.shape


def test_inputs_are_as_large_as_their_column_is_relevant():
    X, y = step_data()
    model = small("regressor", max_epochs=1, stumps=6).fit(X, y)
    for encoder in model._known_encoders():
        for j in np.unique(encoder.source):
            assert len(np.unique(encoder.size[encoder.source == j])) == 1


def test_stumps_are_counted_by_column():
    X, y = step_data()
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(shop="x")
    frame = frame[["a", "shop", "b", "c", "d", "e", "f"]]
    settings = {"max_epochs": 1, "task_column": "shop", "stumps": 5}
    model = small("regressor", **settings).fit(frame, y[:, 0])
    assert model.stumps_.shape == (7,)
    assert model.stumps_[[0, 2]].sum() == model.stumps_.sum() == 5
    assert not small("regressor", max_epochs=1).fit(X, y).stumps_.any()


def test_row_tasks_step_too():
    X, _, task = row_task_data()
    y = 2.0 * (X[:, 0] > 0.3) + (X[:, 1] > -0.2)
    auto, none = (
        n_inputs(small("regressor", max_epochs=1, stumps=s).fit(X, y, task=task))
        for s in ("auto", None)
    )
    assert (np.subtract(auto, none) > 0).all()


def test_searches_score_the_same():
    X, y = step_data(n_samples=90)
    grid = {"stumps": ["auto", 3, None], "lr": [0.003, 0.02]}
    searches = [
        search(small("regressor", max_epochs=3), grid, cv=2).fit(X, y)
        for search in (GridSearchCV, FusedGridSearchCV)
    ]
    one, other = (s.cv_results_["mean_test_score"] for s in searches)
    np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [{"encoding": Raw()}, {"architecture": TorchModule(torch.nn.Linear(6, 4))}],
    ids=["Raw", "TorchModule"],
)
def test_a_number_is_refused_where_x_is_handed_over_as_it_is(changes):
    X, y = step_data()
    with pytest.raises(ValueError, match=r"stumps=4 adds inputs .* Pass stumps='auto'"):
        small("regressor", stumps=4).set_params(**changes).fit(X, y)


@pytest.mark.parametrize("value", ["yes", 0, 2.5])
def test_other_values_are_refused(value):
    X, y = step_data()
    with pytest.raises(ValueError, match="'stumps' parameter of MultiTaskNetRegr"):
        MultiTaskNetRegressor(stumps=value).fit(X, y)
    with pytest.raises(ValueError, match="'stumps' parameter of MixedTaskNet"):
        MixedTaskNet(stumps=value).fit(X, y)
