"""Kriging: predictions corrected by what near rows showed on held-out rows."""

import copy
import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold

from skmtl import MixedTaskNet, MultiTaskNetClassifier, MultiTaskNetRegressor
from skmtl._net import ColumnLosses, _kriging_fit, krige
from skmtl._net._held_out import _LARGEST_ERROR, Folds, HeldOutCells, _winsorized
from skmtl._net._kriging import UNKNOWN, Kriging, moved, nearest
from skmtl._net._kriging_fit import _Table
from skmtl._net._kriging_scale import learned_scale
from skmtl.architecture import HardSharing, TorchModule
from skmtl.encoding import Raw, Standard
from skmtl.loss import CrossEntropy, SquaredError
from skmtl.model_selection import FusedGridSearchCV

from .instances import frozen, missing, row_task_data

SMALL = {
    "architecture": HardSharing((8,)),
    "n_estimators": 4,
    "cv": 4,
    "max_epochs": 15,
    "lr": 0.01,
    "random_state": 0,
    "device": "cpu",
}


def model_of(kind=MultiTaskNetRegressor, **changes):
    return kind(**SMALL | changes)


def bumpy(n_samples=200, n_tasks=2, seed=0):
    """Draw targets of more bumps than 8 units and 15 epochs can follow."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n_samples, 2))
    waves = [np.sin(9 * X[:, 0] + j) * np.cos(7 * X[:, 1]) for j in range(n_tasks)]
    y = np.stack(waves, axis=1) + 0.05 * rng.normal(size=(n_samples, n_tasks))
    return frozen(X)[0], y


def kriging_of(points, errors, *, predicted=None, variance=None, **changes):
    """Make one that takes points as they are, of columns of numbers."""
    n_points, n_columns = errors.shape
    values = {
        "places": Raw().fit(points, np.ones(n_points)),
        "scale": np.ones(points.shape[1]),
        "points": points,
        "predicted": np.zeros_like(errors) if predicted is None else predicted,
        "errors": errors,
        "variance": np.ones((n_points, n_columns)) if variance is None else variance,
        "slices": tuple(slice(j, j + 1) for j in range(n_columns)),
        "are_classes": (False,) * n_columns,
        "n_neighbors": n_points,
        "ranges": np.full(n_columns, 0.7),
        "nuggets": np.full(n_columns, 0.3),
        "trust": np.ones(n_columns),
        "limits": np.full(n_columns, np.inf),
    }
    return Kriging(**values | changes)


def corrected(kriging, predictions, queries):
    return kriging.correct(torch.from_numpy(predictions), queries).numpy()


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# -- the correction -------------------------------------------------------------------


def test_is_the_conditional_mean_of_a_gaussian_process():
    points, errors = drawn(30, 3), drawn(30, 2, seed=1)
    queries, before = drawn(9, 3, seed=2), drawn(9, 2, seed=3)
    kernel = Matern(length_scale=0.7, nu=0.5)  # exp(-distance / 0.7)
    oracle = GaussianProcessRegressor(kernel, alpha=0.3, optimizer=None)
    expected = before + oracle.fit(points, errors).predict(queries)
    found = corrected(kriging_of(points, errors), before, queries)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_takes_the_nearest_rows_only():
    points, errors, query = drawn(30, 3), drawn(30, 1, seed=1), drawn(1, 3, seed=2)
    own = np.linalg.norm(points - query, axis=1).argsort()[:5]
    few = kriging_of(points, errors, n_neighbors=5)
    same = kriging_of(points[own], errors[own])
    zero = np.zeros((1, 1))
    np.testing.assert_allclose(
        corrected(few, zero, query), corrected(same, zero, query), atol=1e-12
    )


def test_a_row_far_from_all_others_stays_as_it_is():
    points, errors, before = drawn(30, 3), drawn(30, 2), drawn(4, 2, seed=1)
    for trust in (1.0, 0.0):
        kriging = kriging_of(points, errors, trust=np.full(2, trust))
        found = corrected(kriging, before, np.full((4, 3), 1e3))
        np.testing.assert_array_equal(found, before)


def test_without_trust_a_label_speaks_for_itself():
    # One row at the same place, no nugget: whatever the networks say, it is its label.
    points, label = np.zeros((1, 2)), np.array([[5.0]])
    for predicted in (1.0, -3.0):
        kriging = kriging_of(
            points,
            label - predicted,
            predicted=np.full((1, 1), predicted),
            nuggets=np.zeros(1),
            trust=np.zeros(1),
        )
        found = corrected(kriging, np.full((1, 1), 2.0), points)
        np.testing.assert_allclose(found, label)


def test_trust_is_the_share_of_a_difference_that_is_left_to_the_networks():
    points, errors, predicted = drawn(20, 2), drawn(20, 1, seed=1), drawn(20, 1, seed=2)
    queries, before = drawn(6, 2, seed=3), drawn(6, 1, seed=4)
    ends = [
        corrected(
            kriging_of(points, errors, predicted=predicted, trust=np.array([trust])),
            before,
            queries,
        )
        for trust in (1.0, 0.0, 0.25)
    ]
    np.testing.assert_allclose(ends[2], 0.25 * ends[0] + 0.75 * ends[1])


def test_twice_the_weight_is_the_row_twice():
    points, errors = drawn(12, 2), drawn(12, 1, seed=1)
    queries, zero = drawn(5, 2, seed=2), np.zeros((5, 1))
    times = np.arange(12) % 3 + 1
    heavy = kriging_of(points, errors, variance=1 / times[:, None])
    repeated = kriging_of(
        *(np.repeat(part, times, axis=0) for part in (points, errors))
    )
    np.testing.assert_allclose(
        corrected(heavy, zero, queries), corrected(repeated, zero, queries), atol=1e-10
    )


@given(seed=st.integers(0, 99), share=st.floats(0.1, 0.8))
def test_rows_without_a_label_are_not_there(seed, share):
    rng = np.random.default_rng(seed)
    points, errors = drawn(40, 2, seed=seed), drawn(40, 3, seed=seed + 1)
    unknown = rng.uniform(size=errors.shape) < share
    unknown[:10] = False
    kriging = kriging_of(
        points,
        np.where(unknown, 0.0, errors),
        variance=np.where(unknown, UNKNOWN, 1.0),
        n_neighbors=40,
    )
    queries, zero = drawn(5, 2, seed=seed + 2), np.zeros((5, 3))
    found = corrected(kriging, zero, queries)
    for j in range(3):
        own = ~unknown[:, j]
        alone = kriging_of(points[own], errors[own][:, [j]])
        expected = corrected(alone, zero[:, [j]], queries)
        np.testing.assert_allclose(found[:, [j]], expected, atol=1e-9)


def test_finds_enough_labelled_neighbors():
    points, errors = drawn(60, 2), drawn(60, 1)
    unknown = np.arange(60) % 3 > 0
    kriging = kriging_of(
        points,
        errors,
        variance=np.where(unknown, UNKNOWN, 1.0)[:, None],
        n_neighbors=5,
    )
    queries = torch.from_numpy(drawn(7, 2, seed=1))
    near = kriging.neighborhood(queries, *kriging.nearest(queries), 0)
    assert near.index.shape == (7, 5)
    assert (near.variance < UNKNOWN).double().mean() > 0.8


def test_of_equal_points_the_first_are_found_whatever_is_beside():
    points = torch.from_numpy(np.repeat(drawn(3, 4), 20, axis=0))
    queries = points[::7] + 1e-3
    index, known = nearest(queries, points, 5)
    assert known.all()
    assert (index % 20 < 5).all()
    one_by_one = torch.cat([nearest(q[None], points, 5)[0] for q in queries])
    assert torch.equal(index, one_by_one)


@given(seed=st.integers(0, 99))
def test_classes_keep_probabilities(seed):
    rng = np.random.default_rng(seed)
    before = torch.from_numpy(rng.dirichlet(np.ones(3), size=20))
    shift = torch.from_numpy(rng.normal(size=(20, 3)))
    after = moved(before, shift, True)
    np.testing.assert_allclose(after.sum(dim=1), 1)
    assert (after > 0).all()
    assert torch.equal(moved(before, shift, False), before + shift)


def test_no_row_is_corrected_more_strongly_than_was_tested():
    points, errors = np.zeros((1, 2)), np.ones((1, 1))
    free = kriging_of(points, errors, nuggets=np.zeros(1))
    held = replace(free, limits=np.array([0.2]))
    zero, far = np.zeros((1, 1)), np.array([[2.0, 0.0]])
    assert corrected(free, zero, points) == pytest.approx(1)
    assert corrected(held, zero, points) == pytest.approx(0.2)
    assert corrected(held, zero, far) == corrected(free, zero, far)  # exp(-2 / 0.7)


# -- what is learned ------------------------------------------------------------------


def cells_of(errors, weight=None):
    n_columns = errors.shape[1]
    slices = tuple(slice(j, j + 1) for j in range(n_columns))
    weight = np.ones_like(errors) if weight is None else weight
    return HeldOutCells(
        errors, np.zeros_like(errors), weight, slices, (False,) * n_columns
    )


def folds_of(n_rows, n_folds=4):
    fold = np.arange(n_rows) % n_folds
    return Folds.of([held_out_by(fold == k) for k in range(n_folds)], n_rows)


def held_out_by(held, trained=None):
    """Make of a plan what folds are read from."""
    trained = ~held if trained is None else trained
    return SimpleNamespace(
        train_rows=np.flatnonzero(trained), valid_rows=np.flatnonzero(held)
    )


def kriged(X, errors, n_folds=4, seed=0):
    """Krige errors as if networks had made them on rows they held out."""
    fold = np.random.default_rng(seed).permutation(len(X)) % n_folds
    plans = [
        SimpleNamespace(
            seed=seed,
            train_rows=np.flatnonzero(fold != k),
            valid_rows=np.flatnonzero(fold == k),
            weight=lambda data: np.ones_like(data.y),
            targets=SimpleNamespace(perfect=lambda y: list(y.T[..., None])),
            hyperparameters=SimpleNamespace(losses=(SquaredError(),) * errors.shape[1]),
        )
        for k in range(n_folds)
    ]
    losses = ColumnLosses([SquaredError()] * errors.shape[1], [None] * errors.shape[1])
    places = Raw().fit(X, np.ones(len(X)))
    data = SimpleNamespace(X=X, y=errors)
    return krige(plans, data, losses, np.zeros_like(errors), places, 16)


def test_finds_next_to_nothing_in_noise():
    gains = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X, errors = rng.normal(size=(120, 3)), rng.normal(size=(120, 2))
        gains.append(kriged(X, errors, seed=seed).gain)
    assert np.mean(np.array(gains) > 0) < 0.25
    assert np.mean(gains) < 0.01


def test_finds_what_is_there():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(300, 2))
    errors = np.sin(6 * X) + 0.3 * rng.normal(size=(300, 2))
    fit = kriged(X, errors)
    assert (fit.gain > 0.5).all()
    assert np.mean((errors - fit.held_out) ** 2) < 0.5 * np.mean(errors**2)


def test_all_rows_choose_anew_where_a_half_was_asked(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(300, 2))
    errors = np.sin(6 * X) + 0.3 * rng.normal(size=(300, 2))
    asked, learn = [], _Table.learn
    monkeypatch.setattr(
        _Table, "learn", lambda *a: asked.append(len(a[1])) or learn(*a)
    )
    kriged(X, errors)
    assert asked == [150, 300]
    asked.clear()
    kriged(X, rng.normal(size=(300, 2)))
    assert asked == [150]


def test_a_place_that_was_measured_again_is_not_its_old_label():
    # No two rows are near: held-out rows cannot tell noise from very short ranges.
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.uniform(-1, 1, size=(200, 3))
        truth = np.sin(3 * X[:, :1])
        first, again = truth + rng.normal(size=(2, 200, 1))
        fit = kriged(X, first, seed=seed)
        if fit.kriging is not None:
            found = corrected(fit.kriging, np.zeros((200, 1)), X)
            assert np.mean((again - found) ** 2) < 1.05 * np.mean(again**2)


def test_a_row_learns_from_rows_that_its_network_was_trained_on():
    # As with splits of a time series: the past trains, and the next rows are held out.
    plans = [
        SimpleNamespace(train_rows=np.arange(k), valid_rows=np.arange(k, k + 2))
        for k in (2, 4)
    ]
    folds = Folds.of(plans, 6)
    excluded = folds.exclude(np.arange(6), np.arange(6)).numpy()
    past = np.array([[0] * 6] * 2 + [[0, 0, 1, 1, 1, 1]] * 2 + [[0, 0, 0, 0, 1, 1]] * 2)
    np.testing.assert_array_equal(excluded, past)


@given(n_rows=st.integers(1, 12), n_plans=st.integers(1, 20), seed=st.integers(0, 99))
def test_a_row_learns_from_no_row_that_any_of_its_networks_lacked(
    n_rows, n_plans, seed
):
    held, trained = np.random.default_rng(seed).random((2, n_rows, n_plans)) < 0.4
    trained &= ~held
    plans = [held_out_by(*both) for both in zip(held.T, trained.T, strict=True)]
    rows, points = np.arange(n_rows)[::2], slice(1, None)
    excluded = Folds.of(plans, n_rows).exclude(rows, points).numpy()
    lacked = (held[rows][:, None] & ~trained[points]).any(axis=2)
    np.testing.assert_array_equal(excluded, lacked)


def test_with_one_member_nothing_can_be_tested():
    X, y = bumpy(800)
    model = model_of(n_estimators=1, n_neighbors=16).fit(X, y)
    plain = model_of(n_estimators=1, n_neighbors=None).fit(X, y)
    assert not model.neighbor_gain_.any()
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))


def test_a_column_of_one_value_has_no_gain():
    X, y = bumpy()
    y[:, 1] = 3.0
    model = model_of().fit(X, y)
    assert model.neighbor_gain_[0] > 0 == model.neighbor_gain_[1]


def test_a_wild_input_is_not_the_measure_of_the_others():
    X, y = bumpy(400)
    X = X.copy()
    X[0] = 1e4
    assert (model_of().fit(X, y).neighbor_gain_ > 0.3).all()


def test_learns_which_inputs_make_rows_near():
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.normal(size=(600, 5)))
    errors = np.sin(4 * inputs[:, [0]].numpy()) + 0.1 * rng.normal(size=(600, 1))
    scale = learned_scale(
        inputs, cells_of(errors), folds_of(600), np.random.default_rng(0)
    )
    assert scale[0] > 4 * scale[1:].max()
    # A column that has hardly any labels says nothing about it.
    rare = np.ones((600, 2))
    rare[20:, 1] = 0
    both = cells_of(np.concatenate([errors, drawn(600, 1)], axis=1), rare)
    again = learned_scale(inputs, both, folds_of(600), np.random.default_rng(0))
    assert torch.equal(scale, again)


def test_finds_two_inputs_among_many():
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.uniform(-1, 1, size=(3000, 14)))
    place = inputs[:, :2].numpy()
    errors = np.prod(np.sin(12 * place) + 0.5, axis=1) - 0.25
    errors += 0.1 * rng.normal(size=3000)
    scale = learned_scale(
        inputs, cells_of(errors[:, None]), folds_of(3000), np.random.default_rng(0)
    )
    assert scale[:2].min() > 5 * scale[2:].max()


def test_few_rows_leave_distances_as_they_are():
    inputs, cells = torch.from_numpy(drawn(40, 9)), cells_of(drawn(40, 1, seed=1))
    scale = learned_scale(inputs, cells, folds_of(40), np.random.default_rng(0))
    assert torch.equal(scale, scale[:1].expand(9))


def test_an_error_counts_for_so_much_at_most():
    errors = drawn(1000, 1)
    wild = np.append(errors, [[1e6]], axis=0)
    limited = _winsorized(wild)
    np.testing.assert_array_equal(limited[:-1], errors)
    assert limited[-1, 0] == pytest.approx(_LARGEST_ERROR, rel=0.1)


def test_a_wild_label_does_not_speak_for_the_rows_around_it():
    X, y = bumpy(400, 1)
    X_new, y_new = bumpy(300, 1, seed=1)
    y[7] = 1e4
    errors = []
    for n_neighbors in (None, "auto"):
        model = model_of(max_epochs=3, n_neighbors=n_neighbors).fit(X, y[:, 0])
        errors.append(np.median(np.abs(model.predict(X_new) - y_new[:, 0])))
    assert model.neighbor_gain_[0] > 0.1
    assert errors[1] < 0.2 * errors[0]


def test_follows_what_the_networks_cannot():
    X, y = bumpy(400)
    X_new, y_new = bumpy(300, seed=1)
    plain, model = model_of(n_neighbors=None).fit(X, y), model_of().fit(X, y)
    assert (model.neighbor_gain_ > 0.5).all()
    assert not plain.neighbor_gain_.any()
    errors = [np.mean((m.predict(X_new) - y_new) ** 2) for m in (plain, model)]
    assert errors[1] < 0.5 * errors[0]
    # The networks are the same ones.
    np.testing.assert_array_equal(model.n_iter_, plain.n_iter_)
    members = np.mean([m.predict(X_new) for m in model.estimators_], axis=0)
    np.testing.assert_allclose(members, plain.predict(X_new))


def twins(n_groups=150, seed=0):
    """Draw pairs of all but equal rows, whose label nothing else tells."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), 2)
    X = rng.normal(size=(n_groups, 6))[groups] + 1e-3 * rng.normal(size=(300, 6))
    return X, rng.normal(size=n_groups)[groups], groups


def test_what_folds_keep_together_is_not_learned_from():
    X, y, groups = twins()
    apart = model_of(cv=KFold(4, shuffle=True, random_state=0)).fit(X, y)
    together = model_of(cv=list(GroupKFold(4).split(X, y, groups))).fit(X, y)
    assert apart.neighbor_gain_[0] > 0.3
    assert together.neighbor_gain_[0] < 0.02


def test_held_out_predictions_are_corrected_by_rows_of_other_folds():
    X, y = bumpy()
    splits = list(KFold(4, shuffle=True, random_state=0).split(X))
    model = model_of(cv=splits).fit(X, y)
    plain = model_of(cv=splits, n_neighbors=None).fit(X, y)
    kriging = model.net_.kriging
    unit = y.std(axis=0)
    for train, valid in splits:
        others = replace(
            kriging,
            **{
                name: getattr(kriging, name)[train]
                for name in ("points", "predicted", "errors", "variance")
            },
        )
        scaled = (plain.validation_prediction_[valid] - y.mean(axis=0)) / unit
        expected = corrected(others, scaled, X[valid]) * unit + y.mean(axis=0)
        np.testing.assert_allclose(
            model.validation_prediction_[valid], expected, rtol=1e-6, atol=1e-6
        )
    before, after = (
        ((m.validation_prediction_ - y) ** 2).sum(axis=0) for m in (plain, model)
    )
    # The gain is that of the half of the rows that had no say in it.
    np.testing.assert_allclose(model.neighbor_gain_, 1 - after / before, atol=0.15)


def test_standard_deviations_shrink_with_the_errors():
    X, y = bumpy()
    plain, model = model_of(n_neighbors=None).fit(X, y), model_of().fit(X, y)
    stds = [m.predict(X, return_std=True)[1].mean() for m in (plain, model)]
    assert stds[1] < 0.8 * stds[0]


def test_missing_labels_and_weights_go_through():
    X, y = bumpy(300, 3)
    y = missing(y)
    weight = np.random.default_rng(0).uniform(0.2, 3, size=y.shape)
    model = model_of().fit(X, y, sample_weight=weight)
    assert (model.neighbor_gain_ > 0.2).all()
    assert np.isfinite(model.predict(X)).all()


# -- as part of an estimator ----------------------------------------------------------


@pytest.mark.parametrize("kind", [MultiTaskNetClassifier, MixedTaskNet])
def test_serves_classes(kind):
    X, y = bumpy(400)
    X_new, y_new = bumpy(300, seed=1)
    classes, new = np.digitize(y, [-0.3, 0.3]), np.digitize(y_new, [-0.3, 0.3])
    labels = np.array(["low", "mid", "high"])
    frame = pd.DataFrame({"a": labels[classes[:, 0]], "b": classes[:, 1] > 0})
    scores = []
    for n_neighbors in (None, "auto"):
        model = model_of(kind, n_neighbors=n_neighbors).fit(X, frame)
        proba = model.predict_proba(X_new)
        proba = list(proba.values()) if isinstance(proba, dict) else proba
        for each in proba:
            np.testing.assert_allclose(each.sum(axis=1), 1)
            assert (each >= 0).all()
        found = np.asarray(model.predict(X_new), dtype=str)
        scores.append(np.mean(found[:, 0] == labels[new[:, 0]]))
    assert (model.neighbor_gain_ > 0.05).all()
    assert scores[1] > scores[0] + 0.1


def test_is_the_same_in_every_run_and_whatever_is_asked_beside():
    X, y = bumpy(300)
    X = np.column_stack([np.round(4 * X), np.round(X)])  # ties
    model = model_of().fit(X, y)
    assert model.net_.kriging is not None
    prediction = model.predict(X)
    np.testing.assert_array_equal(prediction, model_of().fit(X, y).predict(X))
    alone = [model.predict(X[k : k + 1])[0] for k in range(20)]
    np.testing.assert_allclose(alone, prediction[:20], rtol=1e-10)


@pytest.mark.parametrize(("n_samples", "n_threads"), [(100, 1), (3000, 2)])
def test_small_tables_are_learned_in_one_thread(n_samples, n_threads, monkeypatch):
    found = []

    def watched(*args):
        found.append(torch.get_num_threads())
        return learned_scale(*args)

    monkeypatch.setattr(_kriging_fit, "learned_scale", watched)
    X, y = bumpy(n_samples)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model_of(max_epochs=1).fit(X, y)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(found) == {n_threads}


def test_survives_what_a_fitted_estimator_goes_through():
    X, y = bumpy()
    model = model_of().fit(X, y)
    prediction = model.predict(X)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(again.predict(X), prediction)
        np.testing.assert_array_equal(again.neighbor_gain_, model.neighbor_gain_)
    assert clone(model).n_neighbors == "auto"
    np.testing.assert_allclose(model.for_task(1).predict(X), prediction[:, 1])
    adapted = model.adapt(X, y[:, 0])
    assert adapted.net_.kriging is None
    for other in (adapted, model.estimators_[0]):
        assert not hasattr(other, "neighbor_gain_")
    # Networks that were trained on err elsewhere.
    model.partial_fit(X, y)
    assert model.net_.kriging is None
    assert not model.neighbor_gain_.any()


@pytest.mark.parametrize("way", ["train_on", "add"])
def test_is_dropped_by_a_warm_start(way):
    X, y = bumpy()
    model = model_of().fit(X, y)
    plain = model_of(n_neighbors=None).fit(X, y)
    for each in (model, plain):
        each.set_params(warm_start=True, n_estimators=8 if way == "add" else 4)
        each.fit(X, y)
    assert model.net_.kriging is None
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    np.testing.assert_array_equal(
        model.validation_prediction_, plain.validation_prediction_
    )


def test_a_search_in_banks_scores_as_one_fit_by_fit():
    X, y = bumpy()
    model = model_of(dtype="float64")
    grid = {"n_neighbors": ["auto", None, 4], "lr": [0.01, 0.003]}
    fused = FusedGridSearchCV(model, grid, cv=2, fallback="error").fit(X, y)
    alone = GridSearchCV(model, grid, cv=2).fit(X, y)
    for fold in ("split0_test_score", "split1_test_score"):
        np.testing.assert_allclose(
            fused.cv_results_[fold], alone.cv_results_[fold], atol=1e-8
        )
    assert fused.best_params_["n_neighbors"] is not None
    np.testing.assert_allclose(fused.predict(X), alone.predict(X), atol=1e-7)


def test_looks_at_no_more_rows_than_there_are():
    X, y = bumpy(60, 1)
    model = model_of(n_neighbors=100).fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    assert np.isfinite(model.validation_prediction_).all()


def test_rows_that_nobody_held_out_are_no_neighbors():
    X, y = bumpy(400)
    model = model_of(n_estimators=2, n_neighbors=8).fit(X, y)
    held_out = np.isfinite(model.validation_prediction_[:, 0])
    assert held_out.sum() == 200
    assert model_of(n_estimators=2).fit(X, y).net_.kriging is None
    assert len(model.net_.kriging.points) == 200
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"early_stopping": False}, "early_stopping=False holds no rows out"),
        ({"warm_start": True}, "trained on by warm_start=True"),
        ({"encoding": Raw()}, "no distances between rows"),
        (
            {"architecture": TorchModule(torch.nn.Linear(2, 8))},
            "no distances between rows",
        ),
        ({"loss": "poisson"}, "Poisson() are not means that errors"),
        ({"loss": "absolute_error"}, "AbsoluteError() are not means"),
    ],
)
def test_refuses_what_it_cannot_do_and_auto_does_without(changes, reason):
    X, y = bumpy()
    y = np.exp(y)
    with pytest.raises(ValueError, match="n_neighbors=8 corrects predictions") as found:
        model_of(n_neighbors=8, **changes).fit(X, y)
    assert reason in str(found.value)
    assert "n_neighbors='auto'" in str(found.value)
    assert model_of(**changes).fit(X, y).net_.kriging is None


@pytest.mark.parametrize("n_neighbors", [0, -1, 1.5, "16", 101])
def test_refuses_a_number_of_neighbors_that_is_none(n_neighbors):
    with pytest.raises(ValueError, match="'n_neighbors' parameter"):
        model_of(n_neighbors=n_neighbors).fit(*bumpy())


def test_smoothed_labels_stay_smoothed():
    X, y = bumpy()
    smooth = model_of(MultiTaskNetClassifier, loss=CrossEntropy(label_smoothing=0.3))
    assert smooth.fit(X, y > 0).net_.kriging is None
    assert smooth.set_params(loss__label_smoothing=0.0).fit(X, y > 0).net_.kriging


def test_stands_beside_a_guard_and_rows_set_aside():
    X, y = bumpy(300)
    model = model_of(guard=True, calibration_size=0.25).fit(X, y)
    assert (model.neighbor_gain_ > 0.1).all()
    assert np.isfinite(model.transfer_).all()
    # Rows that are set aside are neighbours of nobody.
    assert len(model.net_.kriging.points) == 225
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    X_new, y_new = bumpy(300, seed=1)
    low, high = np.moveaxis(model.predict_interval(X_new, 0.8), -1, 0)
    assert np.mean((low <= y_new) & (y_new <= high)) > 0.7


def test_a_rebuilt_estimator_answers():
    X, y = bumpy()
    model = model_of().fit(X, y)
    again = clone(model)
    vars(again).update(model._fitted_attributes())
    for name in ("neighbor_gain_", "validation_prediction_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))


def test_weights_of_classes_and_row_tasks_do_without():
    X, y = bumpy()
    model = model_of(MultiTaskNetClassifier, class_weight="balanced", n_neighbors=8)
    with pytest.raises(ValueError, match="would undo class_weight='balanced'"):
        model.fit(X, y > 0)
    assert model.set_params(n_neighbors="auto").fit(X, y > 0).net_.kriging is None
    X, y, task = row_task_data()
    with pytest.raises(ValueError, match="not for row tasks"):
        model_of(n_neighbors=8).fit(X, y, task=task)
    assert model_of().fit(X, y, task=task).net_.kriging is None


def test_a_column_whose_loss_is_no_mean_stays_as_it_is():
    X, y = bumpy()
    model = model_of(loss=["squared_error", "absolute_error"]).fit(X, y)
    plain = model_of(loss=["squared_error", "absolute_error"], n_neighbors=None).fit(
        X, y
    )
    assert model.neighbor_gain_[0] > 0 == model.neighbor_gain_[1]
    np.testing.assert_array_equal(model.predict(X)[:, 1], plain.predict(X)[:, 1])


def test_categories_and_gaps_have_distances():
    rng = np.random.default_rng(0)
    place = rng.integers(40, size=400)
    frame = pd.DataFrame(
        {
            "town": pd.Categorical(place.astype(str)),
            "size": np.where(rng.uniform(size=400) < 0.2, np.nan, rng.normal(size=400)),
        }
    )
    level = rng.normal(size=40)[place]
    few = frame["town"].where(place < 20)
    y = level + 0.1 * rng.normal(size=400)
    model = model_of(encoding=Standard(), max_epochs=2).fit(frame.assign(few=few), y)
    assert np.isfinite(model.predict(frame.assign(few=few))).all()
    assert model.neighbor_gain_[0] > 0.1


def test_too_few_labels_are_nothing_to_judge_by():
    X, y = bumpy(120)
    y[:80, 1] = np.nan
    model = model_of().fit(X, y)
    assert model.neighbor_gain_[0] > 0 == model.neighbor_gain_[1]
