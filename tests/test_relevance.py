"""Inputs as large as their columns are relevant: relevance."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GridSearchCV, PredefinedSplit

from skmtl import MixedTaskNet, MultiTaskNetRegressor
from skmtl._encoder_bank import EncodedColumns, encoded_rows
from skmtl._relevance import column_relevance, scaled_by_relevance
from skmtl.architecture import HardSharing, TorchModule
from skmtl.encoding import Auto, Periodic, PiecewiseLinear, Raw, Standard
from skmtl.model_selection import FusedGridSearchCV

from .instances import row_task_data, small


def idle_data(n_columns=12, n_samples=200, *, seed=0):
    """Draw columns of which the first two tell something about two targets."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_columns))
    y = np.column_stack([X[:, 0] + X[:, 1], np.sin(2 * X[:, 0])])
    return X, y + 0.1 * rng.normal(size=y.shape)


def relevance_of(X, y, weight=None):
    targets = [column[:, None] for column in y.T]
    weight = np.ones(len(X)) if weight is None else weight
    return column_relevance(X, targets, weight)


def sizes_of(model):
    """List the sizes of the columns by member, NaN for columns without inputs."""
    sizes = []
    for encoder in model._known_encoders():
        size = np.full(model.n_features_in_, np.nan)
        size[encoder.source] = encoder.size
        sizes.append(size)
    return np.array(sizes)


# -- the estimate ----------------------------------------------------------------


def test_columns_that_tell_nothing_are_found():
    found = relevance_of(*idle_data())
    assert found[:2].min() > 0.8
    assert np.median(found[2:]) < 0.2
    assert found.min() >= 0
    assert found.max() <= 1


def test_holes_and_codes_and_wild_values_are_looked_at():
    X, y = idle_data()
    X[::3, 5] = np.nan
    X[:, 6] = np.random.default_rng(1).integers(-1, 5, size=len(X))
    X[0, 7] = 1e300
    X[:, 1] = np.exp(20 * X[:, 1])  # trees see the order alone
    y[5::2, 1] = np.nan
    found = relevance_of(X, y)
    assert found[:2].min() > 0.7
    assert np.median(found[2:]) < 0.2


def test_a_hole_may_be_what_tells():
    X, y = idle_data()
    y = y.copy()
    y[:, 0] = np.random.default_rng(1).random(len(X)) < 0.5
    X[y[:, 0] == 1, 4] = np.nan
    assert relevance_of(X, y[:, :1]).argmax() == 4


def test_noise_makes_no_column_stand_out():
    X, _ = idle_data()
    y = np.random.default_rng(1).normal(size=(len(X), 2))
    assert relevance_of(X, y).max() < 0.6


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.zeros((20, 3)), np.zeros((20, 1))),
        (np.zeros((20, 3)), np.full((20, 1), np.nan)),
        (np.zeros((3, 3)), np.arange(3.0)[:, None]),
        (np.arange(20.0)[:, None], np.arange(20.0)[:, None]),
        (np.zeros((20, 0)), np.arange(20.0)[:, None]),
    ],
    ids=["constant", "unlabelled", "few rows", "one column", "no column"],
)
def test_where_there_is_nothing_to_learn_columns_are_alike(X, y):
    np.testing.assert_array_equal(relevance_of(X, y), np.ones(X.shape[1]))


def test_columns_that_do_not_vary_tell_nothing():
    X, y = idle_data(4)
    X[:, 3] = 7.0
    assert relevance_of(X, y)[3] == 0


def test_many_targets_are_mixed():
    X, y = idle_data()
    many = y @ np.random.default_rng(1).normal(size=(2, 100))
    found = relevance_of(X, many)
    assert found[:2].min() > 0.8
    assert np.median(found[2:]) < 0.2


@given(st.integers(0, 2**31))
def test_the_order_of_rows_does_not_matter(seed):
    X, y = idle_data(4, 40)
    y[::5, 1] = np.nan
    order = np.random.default_rng(seed).permutation(len(X))
    found = relevance_of(X[order], y[order])
    np.testing.assert_array_equal(found, relevance_of(X, y))


@given(st.integers(0, 2**31))
def test_integer_weights_count_rows(seed):
    X, y = idle_data(4, 40)
    times = np.random.default_rng(seed).integers(0, 4, size=len(X))
    times[0] = 1
    weighted = relevance_of(X, y, times)
    rows = np.repeat(np.arange(len(X)), times)
    np.testing.assert_array_equal(weighted, relevance_of(X[rows], y[rows]))


def test_the_unit_of_weights_does_not_matter():
    X, y = idle_data(4, 60)
    weight = np.random.default_rng(0).uniform(0.5, 2, size=len(X))
    found = relevance_of(X, y, weight)
    np.testing.assert_array_equal(relevance_of(X, y, weight / 3), found)
    assert not np.array_equal(relevance_of(X, y), found)


def test_a_weight_beyond_all_others_leaves_columns_alike():
    X, y = idle_data()
    weight = np.ones(len(X))
    weight[7] = 1e39  # no other row counts beside it
    np.testing.assert_array_equal(relevance_of(X, y, weight), np.ones(X.shape[1]))


def test_targets_count_alike_whatever_their_unit_and_their_classes():
    """A column that one target needs is as relevant as one that another needs."""
    X, _ = idle_data()
    classes = np.digitize(X[:, 1], np.linspace(-1, 1, 6))
    ones = (classes[:, None] == np.arange(7)).astype(float)
    found = column_relevance(X, [1e6 * X[:, :1], ones], np.ones(len(X)))
    np.testing.assert_allclose(found[:2], [1, 1], atol=0.1)
    swapped = column_relevance(X, [1e-6 * X[:, :1], ones], np.ones(len(X)))
    np.testing.assert_allclose(swapped, found, atol=1e-6)


def test_a_target_that_does_not_vary_adds_nothing():
    X, y = idle_data()
    weight = np.random.default_rng(1).uniform(0.5, 2, size=len(X))
    more = np.column_stack([y, np.full(len(X), 0.1)])  # whose mean is not quite 0.1
    found = relevance_of(X, more, weight)
    np.testing.assert_array_equal(found, relevance_of(X, y, weight))


# -- sizes of inputs -------------------------------------------------------------


def scaled(relevance):
    """Scale the inputs of as many columns."""
    X = np.random.default_rng(0).normal(size=(20, len(relevance)))
    return scaled_by_relevance(Standard().fit(X, np.ones(20)), np.array(relevance))


def test_sizes_have_a_mean_square_of_one_and_leave_a_fifth():
    columns = scaled([1.0, 0.4, 0.0, 0.0])
    np.testing.assert_allclose(np.mean(columns.size**2), 1)
    least = np.sqrt(0.03 * (1 + 0.16) / 2)
    np.testing.assert_allclose(columns.size / columns.size[0], [1, 0.4, least, least])
    columns = scaled([1.0] * 5 + [0.1])
    np.testing.assert_allclose(columns.size[5] / columns.size[0], 0.2)


def test_many_columns_that_tell_nothing_have_a_share_together():
    size = scaled([1.0, 0.5] + [0.0] * 30).size ** 2
    np.testing.assert_allclose(size[2:].sum() / size[:2].sum(), 0.03)


def test_the_sizes_of_columns_alike_are_one():
    X, _ = idle_data(4)
    columns = Auto().fit(X, np.ones(len(X)))
    for relevance in (0.0, 0.1, 0.7, 1.0):
        alike = scaled_by_relevance(columns, np.full(4, relevance))
        np.testing.assert_allclose(alike.size, 1)


def test_learned_embeddings_are_left_as_they_are():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 50, size=200), rng.normal(size=200)])
    columns = Auto(max_onehot=10).fit(X, np.ones(200), [50, None])
    size = scaled_by_relevance(columns, np.array([0.0, 1.0])).size
    learned = columns.kind == EncodedColumns.CODE
    assert learned.sum() == 1
    assert size[learned] == 1
    assert (size[columns.source == 1] > 1).all()
    waves = Periodic().fit(X[:, 1:], np.ones(200))
    size = scaled_by_relevance(waves, np.array([0.3])).size
    assert (size[waves.kind == EncodedColumns.WAVE] == 1).all()


def test_an_input_is_multiplied_by_its_size():
    """Lines, ramps, categories, indicators of holes, and where a value is missing."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=60), rng.integers(0, 3, size=60)])
    X[::7] = np.nan
    columns = PiecewiseLinear(n_bins=3).fit(X, np.ones(60), [None, 3])
    assert (columns.kind == EncodedColumns.EQUALS).any()
    larger = scaled_by_relevance(columns, np.array([1.0, 0.5]))
    before, after = encoded_rows(columns, X), encoded_rows(larger, X)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, before * torch.from_numpy(larger.size))


# -- in a fit --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["regressor", "classifier", "mixed"])
def test_columns_that_tell_something_are_larger(kind):
    X, y = idle_data()
    if kind == "classifier":
        y = y > 0
    if kind == "mixed":
        y = pd.DataFrame({"size": y[:, 0], "word": np.where(y[:, 1] > 0, "a", "b")})
    model = small(kind, max_epochs=1, n_estimators=3).fit(X, y)
    sizes = sizes_of(model)
    assert sizes.shape == (3, 12)
    assert (sizes[:, :2].min(axis=1) > 2 * np.median(sizes[:, 2:], axis=1)).all()
    assert len(np.unique(sizes[:, 0])) == 3  # every fold has its own
    np.testing.assert_allclose(np.mean(sizes**2, axis=1), 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"relevance": None},
        {"encoding": Raw()},
        {"architecture": TorchModule(torch.nn.Linear(12, 4))},
    ],
    ids=["None", "Raw", "TorchModule"],
)
def test_columns_may_be_treated_alike(changes):
    X, y = idle_data()
    model = small("regressor", max_epochs=1).set_params(**changes).fit(X, y)
    assert (sizes_of(model) == 1).all()


def test_the_first_rows_of_a_stream_do_not_decide():
    X, y = idle_data()
    model = small("regressor").partial_fit(X, y)
    assert (sizes_of(model) == 1).all()


def test_held_out_rows_do_not_tell():
    X, y = idle_data()
    fold = np.arange(len(X)) % 2
    other = np.where(fold[:, None] == 0, y[::-1], y)
    settings = {"cv": PredefinedSplit(fold), "max_epochs": 1}
    model = small("regressor", **settings)
    first, second = (sizes_of(model.fit(X, labels)) for labels in (y, other))
    np.testing.assert_array_equal(first[0], second[0])  # holds out what was changed
    assert not np.array_equal(first[1], second[1])


def test_row_tasks_are_told_about_too():
    X, y, task = row_task_data()
    X = np.hstack([X, np.random.default_rng(0).normal(size=(len(X), 8))])
    sizes = sizes_of(small("regressor", max_epochs=1).fit(X, y, task=task))
    assert (sizes[:, 0] > 2 * np.median(sizes[:, 3:])).all()


def test_members_that_see_other_columns_scale_those_that_they_see():
    X, y = idle_data()
    model = small("regressor", max_epochs=1, max_features=0.5, n_estimators=4)
    sizes = sizes_of(model.fit(X, y))
    assert (np.isfinite(sizes).sum(axis=1) == 6).all()
    np.testing.assert_allclose(np.nanmean(sizes**2, axis=1), 1)


def test_relevance_stands_for_the_columns_of_x():
    X, y, task = row_task_data()
    frame = pd.DataFrame(X, columns=list("abc")).assign(constant=1.0)
    frame.insert(1, "shop", task)
    model = small("regressor", max_epochs=1, task_column="shop", n_estimators=2)
    found = model.fit(frame, y).relevance_
    assert np.isnan(found[[1, 4]]).all()
    np.testing.assert_allclose(found[[0, 2, 3]], sizes_of_inputs(model), rtol=1e-12)
    alike = small("regressor", max_epochs=1, relevance=None).fit(X, y).relevance_
    np.testing.assert_array_equal(alike, np.ones(3))


def sizes_of_inputs(model):
    encoders = model._known_encoders()
    return np.mean([[e.size[e.source == j][0] for j in range(3)] for e in encoders], 0)


def test_a_column_that_few_members_see_counts_less():
    X, y = idle_data()
    model = small("regressor", max_epochs=1, max_features=0.5, n_estimators=2)
    model.set_params(relevance=None).fit(X, y)
    seen = np.sum([np.bincount(m, minlength=12) for m in columns_of(model)], axis=0)
    expected = np.where(seen > 0, seen / 2, np.nan)
    np.testing.assert_array_equal(model.relevance_, expected)


def columns_of(model):
    return [np.unique(encoder.source) for encoder in model._known_encoders()]


def test_relevance_of_pixels_has_the_shape_of_a_picture():
    X = np.random.default_rng(0).normal(size=(40, 2, 3))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 4))
    model = small("regressor", max_epochs=1).set_params(architecture=TorchModule(net))
    found = model.fit(X, X[:, 0, 0]).relevance_
    np.testing.assert_array_equal(found, np.ones((2, 3)))


def test_candidates_that_weigh_tasks_are_fits_of_their_own():
    X, y = idle_data(n_samples=80)
    grid = {"task_weights": [[1, 1], [1, 5]]}
    searches = [
        search(small("regressor", max_epochs=3), grid, cv=2).fit(X, y)
        for search in (GridSearchCV, FusedGridSearchCV)
    ]
    one, other = (s.cv_results_["mean_test_score"] for s in searches)
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_less_is_learned_from_noise():
    X, y = idle_data(60, 300)
    new, truth = idle_data(60, 500, seed=1)
    errors = [
        np.mean((small("regressor", relevance=r).fit(X, y).predict(new) - truth) ** 2)
        for r in ("auto", None)
    ]
    assert errors[0] < 0.8 * errors[1]


def test_other_values_are_refused():
    X, y = idle_data()
    with pytest.raises(ValueError, match="'relevance' parameter of MultiTaskNetRegr"):
        MultiTaskNetRegressor(relevance="yes").fit(X, y)
    with pytest.raises(ValueError, match="'relevance' parameter of MixedTaskNet"):
        MixedTaskNet(HardSharing(), relevance=2).fit(X, y)
