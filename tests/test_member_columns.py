"""Members that see a share of the columns: max_features."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skmtl import MultiTaskNetRegressor
from skmtl import _column_draw as column_draw
from skmtl._column_draw import cost_of_drawing
from skmtl._encoder_fit import fitted_places
from skmtl._tasks import check_task_data
from skmtl.architecture import HardSharing
from skmtl.encoding import PiecewiseLinear, Raw, Standard
from skmtl.model_selection import FusedGridSearchCV

from .instances import small


def wide_data(n_features=24, n_samples=90):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, n_features))
    y = np.column_stack([X[:, 0] + X[:, 1] > 0, X[:, 2] > 0.3]).astype(float)
    y[::7, 1] = np.nan
    return X, y


def redundant_data(n_features=60, n_samples=200):
    """Draw columns that tell eight factors many times over."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(n_samples, 8))
    X = factors @ rng.normal(size=(8, n_features))
    X += 0.3 * rng.normal(size=X.shape)
    return X, (factors[:, :2] > 0).astype(float)


def model_of(**changes):
    return small("classifier", **{"max_epochs": 6, "encoding": Standard()} | changes)


def columns_of(model):
    """List the columns that each member reads."""
    return [
        sorted(set(encoder.source.tolist()))
        for encoder in (member._known_encoders()[0] for member in model.estimators_)
    ]


def test_each_member_sees_its_share_of_the_columns():
    model = model_of(n_estimators=4, max_features=0.5).fit(*wide_data())
    columns = columns_of(model)
    assert [len(own) for own in columns] == [12] * 4
    assert len({tuple(own) for own in columns}) == 4


@pytest.mark.parametrize("relevance", ["auto", None])
def test_columns_are_not_drawn_where_a_few_tell_all(relevance):
    """Networks that are told which columns count would lose by missing one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 60))
    y = [X[:, 0] * X[:, 1], np.sin(2 * X[:, 2]) + X[:, 0], X[:, 0] + X[:, 3] ** 2]
    y = np.column_stack(y)
    y = y + 0.3 * rng.normal(size=y.shape) > y.mean(axis=0)
    model = model_of(max_epochs=1, n_estimators=2, relevance=relevance).fit(X, y)
    n_seen = 60 if relevance else 42
    assert [len(own) for own in columns_of(model)] == [n_seen] * 2


@pytest.mark.parametrize(
    ("n_features", "changes", "n_seen"),
    [
        (60, {}, 42),
        (50, {}, 35),
        (49, {}, 49),
        (60, {"n_estimators": 1}, 60),
        (60, {"encoding": Raw()}, 60),
        (60, {"max_features": 1.0}, 60),
        (3, {"max_features": 0.01}, 1),
    ],
    ids=["many", "just enough", "few", "one member", "raw", "all", "at least one"],
)
def test_auto_goes_by_the_columns_and_the_members(n_features, changes, n_seen):
    X, y = redundant_data(n_features)
    assert {len(own) for own in columns_of(model_of(**changes).fit(X, y))} == {n_seen}


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_auto_draws_nothing_where_every_column_counts(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 60))
    y = X @ rng.normal(size=(60, 2))
    if kind == "classifier":
        y = (y > 0).astype(float)
    model = small(kind, max_epochs=2, encoding=Standard()).fit(X, y)
    assert {len(own) for own in columns_of(model)} == {60}
    model.set_params(max_features=0.7).fit(X, y)
    assert {len(own) for own in columns_of(model)} == {42}


def cost_of(X, *targets):
    places = Standard().fit(X, np.ones(len(X)))
    return cost_of_drawing(places, X, [t[:, None] for t in targets], 0.7)


def test_the_cost_of_a_draw_is_that_of_the_mean_of_ridge_regressions():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 40))
    own = X @ rng.normal(size=40)
    factors = rng.normal(size=(1000, 2))
    same = factors[:, rng.integers(2, size=40)] + 0.1 * rng.normal(size=(1000, 40))
    noise = 0.1 * rng.normal(size=1000)
    assert cost_of(X, own + noise) > 2  # a third of every slope is missing
    assert abs(cost_of(same, factors[:, 0] + noise)[0]) < 0.02


def test_inputs_of_one_column_are_drawn_together():
    rng = np.random.default_rng(0)
    codes = rng.integers(8, size=(600, 20))
    frame = pd.DataFrame(codes.astype(str)).add_prefix("x")
    y = (codes[:, 0] % 2).astype(float)
    data = check_task_data(MultiTaskNetRegressor(), frame, y, kind="number")
    places = fitted_places(data)
    assert len(places.source) > 100
    drawn, predict = set(), column_draw.ridge_predictions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            column_draw,
            "ridge_predictions",
            lambda *a: drawn.add(a[0].shape[1]) or predict(*a),
        )
        cost_of_drawing(places, data.X, [data.y], 0.7)
    sizes = np.bincount(places.source.astype(int))
    assert drawn == {sizes.sum(), sizes[0] * 14}


@given(seed=st.integers(0, 99))
def test_the_cost_of_a_draw_takes_missing_labels(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(60, 70)), rng.normal(size=(60, 3))
    y[rng.uniform(size=y.shape) < 0.4] = np.nan
    y[:, 2] = np.nan
    cost = cost_of(X, *y.T)
    assert np.isfinite(cost[:2]).all()
    assert np.isnan(cost[2])
    np.testing.assert_allclose(cost_of(X, y[:, 0]), cost[:1], rtol=1e-9)


def test_columns_that_a_member_does_not_see_do_not_move_it():
    X, y = wide_data()
    model = model_of(max_features=0.5).fit(X, y)
    for member, own in zip(model.estimators_, columns_of(model), strict=True):
        other = np.random.default_rng(1).normal(size=X.shape)
        other[:, own] = X[:, own]
        for one, two in zip(
            member.predict_proba(X), member.predict_proba(other), strict=True
        ):
            np.testing.assert_array_equal(one, two)


def test_all_columns_are_the_fit_without_a_draw():
    X, y = wide_data(12)
    one, two = model_of(), model_of(max_features=1.0)
    for p, q in zip(
        one.fit(X, y).predict_proba(X), two.fit(X, y).predict_proba(X), strict=True
    ):
        np.testing.assert_array_equal(p, q)


def test_categories_may_be_drawn_or_not():
    X, y = wide_data(6)
    frame = pd.DataFrame(X).add_prefix("x")
    frame["few"] = np.where(X[:, 0] > 0, "a", "b")
    frame["many"] = [f"c{i % 40}" for i in range(len(X))]  # learned embeddings
    model = model_of(n_estimators=6, max_features=0.5, encoding=PiecewiseLinear(4))
    columns = columns_of(model.fit(frame, y))
    for category in (6, 7):
        assert {category in own for own in columns} == {True, False}
    assert all(np.isfinite(p).all() for p in model.predict_proba(frame))


@pytest.mark.parametrize("early_stopping", [True, False])
def test_added_members_draw_what_one_fit_would(early_stopping):
    X, y = wide_data()
    changes = {"max_features": 0.6, "early_stopping": early_stopping}
    changes |= {"dtype": "float64", "n_neighbors": None}
    model = model_of(**changes, warm_start=True).fit(X, y)
    # In one fold of two, new members would take the columns of the first ones.
    model.set_params(n_estimators=10).fit(X, y)
    whole = model_of(**changes, n_estimators=10).fit(X, y)
    assert columns_of(model) == columns_of(whole)
    for p, q in zip(model.predict_proba(X), whole.predict_proba(X), strict=True):
        np.testing.assert_allclose(p, q, rtol=0, atol=1e-9)


def test_training_on_keeps_the_columns():
    X, y = wide_data()
    model = model_of(max_features=0.5).partial_fit(X, y, classes=[[0, 1], [0, 1]])
    before = columns_of(model)
    assert columns_of(model.partial_fit(X[::-1], y[::-1])) == before


def test_a_fused_search_draws_the_columns_of_single_fits():
    X, y = wide_data()
    model = model_of(max_features=0.5)
    grid = {"lr": [0.01, 0.003], "random_state": [0, 1]}
    search = FusedGridSearchCV(model, grid, cv=2).fit(X, y)
    alone = model.set_params(**search.best_params_).fit(X, y)
    assert columns_of(search.best_estimator_) == columns_of(alone)


@pytest.mark.parametrize("share", [0.0, 1.5, "some"])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="'max_features' parameter"):
        model_of(max_features=share).fit(*wide_data())


def test_inputs_as_they_are_cannot_be_drawn():
    model = model_of(max_features=0.5, encoding=Raw(), architecture=HardSharing((8,)))
    with pytest.raises(ValueError, match=r"max_features=0.5 draws the columns"):
        model.fit(*wide_data())
