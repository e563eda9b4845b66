"""How strongly row tasks are pooled, where held-out rows choose."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skmtl import MultiTaskNetClassifier, MultiTaskNetRegressor
from skmtl._net import fit_bank
from skmtl._net._pooling import Columns, Pooling, validate_pooling
from skmtl.architecture import HardSharing, TorchModule
from skmtl.model_selection import TaskKFold

from .instances import frozen, row_task_data, small

SMALL = {
    "n_estimators": 3,
    "cv": 3,
    "max_epochs": 30,
    "lr": 0.01,
    "random_state": 0,
    "device": "cpu",
}


def hard(strength="auto", **params):
    return HardSharing((8,), task_shrinkage=strength, **params)


def groups(n_groups, n_rows, *, level=0.0, slope=0.0, noise=0.5, seed=0):
    """Draw groups around one line, (X, y, ids)."""
    rng = np.random.default_rng(seed)
    own = np.random.default_rng(7).normal(size=(n_groups, 2))
    ids = np.repeat(np.arange(n_groups), n_rows)
    X = rng.normal(size=(len(ids), 2))
    y = X[:, 0] + level * own[ids, 0] + slope * own[ids, 1] * X[:, 1]
    return frozen(X, y + noise * rng.normal(size=len(ids)), ids)


def fitted(X, y, ids, strength="auto", *, weight=None, kind=None, **changes):
    kind = kind or MultiTaskNetRegressor
    model = kind(hard(strength), **SMALL | changes)
    return model.fit(X, y, task=ids, sample_weight=weight)


class Trained:
    """What `validate_pooling` asks of a training, of a model that is fitted."""

    def __init__(self, model, X, y, ids, weight=None):
        self.data = model._more_data(X, y, ids, weight)
        self.plans = model._make_plans(
            self.data, model._members, model._known_encoders()
        )
        rows = [plan.valid_rows for plan in self.plans]
        outputs = raw(model.net_, self.data)
        self.best = SimpleNamespace(
            predictions=[outputs[k, own] for k, own in enumerate(rows)]
        )


def raw(net, data, task=None):
    task = data.task if task is None else task
    return torch.cat(list(net.outputs(data.X, task)), 1)


def pooling_of(model, *data):
    training = Trained(model, *data)
    networks = range(len(training.plans))
    return Pooling(model.net_, training.plans, training, list(networks)), training


def number(value):
    return torch.tensor(float(value)).double()


POOLED, TRAINED = (number(0), number(np.inf)), (number(1), number(np.inf))


# -- theory ----------------------------------------------------------------------


def test_groups_that_do_not_differ_are_pooled():
    X, y, ids = groups(60, 6)
    new_X, new_y, new_ids = groups(60, 20, seed=1)
    free, auto = fitted(X, y, ids, 10.0), fitted(X, y, ids)
    deviation = [
        model.predict(new_X, task=new_ids) - shared(model, new_X)
        for model in (free, auto)
    ]
    assert deviation[1].std() < 0.5 * deviation[0].std()
    assert auto.score(new_X, new_y, task=new_ids) > free.score(
        new_X, new_y, task=new_ids
    )


def test_groups_that_differ_a_lot_are_predicted_by_their_own_rows():
    """With many rows and little noise, as close as a fit of the group alone."""
    X, y, ids = groups(8, 80, level=5.0, noise=0.1)
    new_X, new_y, new_ids = groups(8, 80, level=5.0, noise=0.1, seed=1)
    model = fitted(X, y, ids, max_epochs=60)
    error = model.predict(new_X, task=new_ids) - new_y
    bias = np.bincount(new_ids, error) / np.bincount(new_ids)
    assert np.abs(bias).max() < 0.1
    pooled = shared(model, new_X) - new_y
    assert np.abs(np.bincount(new_ids, pooled) / 80).max() > 2


def shared(model, X):
    with pytest.warns(UserWarning, match="shared head"):
        return model.predict(X, task=np.full(len(X), -1))


@pytest.mark.parametrize(("level", "slope"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_held_out_rows_are_predicted_no_worse_than_pooled_or_trained(level, slope):
    X, y, ids = groups(20, 8, level=level, slope=slope)
    auto, trained = fitted(X, y, ids), fitted(X, y, ids, 10.0)
    errors = [
        ((model.validation_prediction_ - y) ** 2).mean() for model in (auto, trained)
    ]
    assert errors[0] < errors[1]
    pooling, _ = pooling_of(trained, X, y, ids)
    chosen = pooling.loss(*pooling.best())
    for pair in (POOLED, TRAINED):
        assert (chosen <= pooling.loss(*pair)).all()


# -- the arithmetic --------------------------------------------------------------


def test_the_levels_are_those_of_a_random_intercept():
    """By hand, with weights and missing labels: r_t / (n_t + lambda) of every group."""
    X, y, ids = groups(5, 12, level=1.0)
    rng = np.random.default_rng(3)
    weight = rng.uniform(0.5, 2.0, size=len(y))
    y = np.where(rng.random(len(y)) < 0.2, np.nan, y)
    model = fitted(X, y, ids, 10.0, weight=weight, dtype="float64")
    pooling, training = pooling_of(model, X, y, ids, weight)
    found = pooling.levels(number(0.5), number(3.0))
    data = training.data
    own = raw(model.net_, data)[..., 0].numpy()
    shared = raw(model.net_, data, np.full(len(data.X), 5))[..., 0].numpy()
    targets = training.plans[0].targets.encode(data.y)[:, 0]
    for k, plan in enumerate(training.plans):
        for t in range(5):
            rows = [i for i in plan.train_rows if data.task[i] == t]
            residual = targets[rows] - (shared[k, rows] + own[k, rows]) / 2
            counts = data.weight[rows, 0]
            expected = (counts * residual).sum() / (counts.sum() + 3.0)
            np.testing.assert_allclose(found[k, t, 0].item(), expected, rtol=1e-9)
    assert not pooling.levels(*TRAINED).any()


@pytest.mark.parametrize(
    "pair", [(0.5, 3.0), (0.0, np.inf), (1.0, 1.0), ([0.0, 0.5, 1.0], [1, np.inf, 30])]
)
def test_heads_predict_what_was_compared(pair, monkeypatch):
    """The heads that are moved give the outputs that the choice was made by."""
    X, y, ids = groups(5, 12, level=1.0)
    model = fitted(X, y, ids, 10.0, dtype="float64")
    pooling, training = pooling_of(model, X, y, ids)
    pair = [torch.tensor(value).double().expand(3) for value in pair]
    expected = pooling.held_out(*pair)
    nobody = np.full(len(training.data.X), 5)
    before = raw(model.net_, training.data, nobody)
    monkeypatch.setattr(Pooling, "best", lambda self: pair)
    validate_pooling(model.net_, training)
    outputs = raw(model.net_, training.data)
    for k, plan in enumerate(training.plans):
        own = expected[k, : len(plan.valid_rows)]
        torch.testing.assert_close(outputs[k, plan.valid_rows], own)
        torch.testing.assert_close(training.best.predictions[k], own)
    # Unknown tasks are predicted by the shared head, as before.
    assert torch.equal(raw(model.net_, training.data, nobody), before)


def test_task_weights_say_whose_rows_choose():
    X, y, ids = groups(8, 12, level=2.0)
    equal, uneven = (
        pooling_of(fitted(X, y, ids, 10.0, task_weights=weights), X, y, ids)[0]
        for weights in (None, {**dict.fromkeys(range(1, 8), 1.0), 0: 3.0})
    )
    of_first = equal._task == 0
    ratio = uneven._weight[..., 0] / equal._weight[..., 0]
    held_out = equal._weight[..., 0] > 0
    ratio_of_first = ratio[of_first & held_out] / ratio[~of_first & held_out][0]
    torch.testing.assert_close(ratio_of_first, torch.full_like(ratio_of_first, 3.0))


def test_networks_choose_in_a_bank_as_they_do_alone(make_data, make_plan):
    """Each by its own rows, classes of padding and sizes; one holds out nothing."""
    data = make_data(n_rows=60, n_tasks=5, row_tasks=True, weighted=True, seed=3)
    rows = np.arange(60)
    held_out = [rows[::3], rows[1::4], None, rows[5:15]]
    plans = [
        make_plan(
            data,
            seed,
            rows if own is None else np.setdiff1d(rows, own),
            own,
            architecture=hard(),
            max_epochs=20,
        )
        for seed, own in enumerate(held_out)
    ]
    net, training = fit_bank(plans, data, dtype="float64")
    trained = [replace_strength(plan, 10.0) for plan in plans]
    before, _ = fit_bank(trained, data, dtype="float64")
    outputs = raw(net, data)
    moved = (outputs - raw(before, data)).abs().amax((1, 2)) > 1e-6
    assert moved.sum() >= 2
    assert not moved[2]
    for k, plan in enumerate(plans):
        alone, own = fit_bank([plan], data, dtype="float64")
        torch.testing.assert_close(raw(alone, data)[0], outputs[k], rtol=0, atol=1e-9)
        if held_out[k] is not None:
            n_rows = len(held_out[k])
            torch.testing.assert_close(
                own.best.predictions[0][:n_rows],
                training.best.predictions[k][:n_rows],
                rtol=0,
                atol=1e-9,
            )


def test_rows_of_other_networks_have_no_say(make_data, make_plan):
    """A search keeps the rows of all folds in one table."""
    data = make_data(n_rows=60, n_tasks=5, row_tasks=True, seed=3)
    rows = np.arange(0, 60, 2)[:23]
    plan = make_plan(data, 0, rows[8:], rows[:8], architecture=hard(), max_epochs=20)
    own = replace(plan, train_rows=np.arange(8, 23), valid_rows=np.arange(8))
    outputs = [
        raw(fit_bank([each], table, dtype="float64")[0], data)
        for each, table in ((plan, data), (own, data.take(rows)))
    ]
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-9)
    weights = [
        Columns(each, table).counted[each.valid_rows]
        for each, table in ((plan, data), (own, data.take(rows)))
    ]
    torch.testing.assert_close(*weights)


def replace_strength(plan, strength):
    settings = replace(plan.hyperparameters, architecture=hard(strength))
    return replace(plan, hyperparameters=settings)


# -- where it applies ------------------------------------------------------------


def test_the_strength_of_training_stays_where_no_rows_are_held_out():
    X, y, ids = groups(6, 20, level=1.0)
    found = [
        fitted(X, y, ids, strength, early_stopping=False).predict(X, task=ids)
        for strength in ("auto", 10.0)
    ]
    np.testing.assert_array_equal(*found)


def test_a_number_is_taken_by_its_word():
    X, y, ids = groups(60, 6)
    pooling, _ = pooling_of(fitted(X, y, ids, 10.0), X, y, ids)
    share, strength = pooling.best()
    assert ((share < 1) | torch.isfinite(strength)).any()  # "auto" would have moved


def test_classes_keep_a_share_of_the_deviations():
    """Other losses have no closed form for levels; too large a deviation shrinks."""
    X, y, ids = groups(30, 8, level=1.0)
    labels = np.where(y > 0, "yes", "no")
    model = fitted(X, labels, ids, 10.0, kind=MultiTaskNetClassifier)
    model.architecture_.pool(torch.full((3,), 8.0), torch.zeros(3, 30, 2))
    pooling, training = pooling_of(model, X, labels, ids)
    share, strength = pooling.best()
    assert (share < 1).all()
    assert torch.isinf(strength).all()
    before = model.architecture_.heads.deviation.weight.clone()
    validate_pooling(model.net_, training)
    torch.testing.assert_close(
        model.architecture_.heads.deviation.weight, share.view(-1, 1, 1) * before
    )
    auto = fitted(X, labels, ids, kind=MultiTaskNetClassifier)
    assert auto.score(X, labels, task=ids) > 0.7


def test_several_columns_of_labels_move_each_for_itself():
    X, y, ids = groups(10, 16, level=3.0)
    two = np.column_stack([y, -2 * y + 1])
    two[::5, 1] = np.nan
    auto, trained = fitted(X, two, ids), fitted(X, two, ids, 10.0)
    moved = auto.predict(X, task=ids) - trained.predict(X, task=ids)
    assert moved.shape == two.shape
    assert (np.abs(moved).max(axis=0) > 0.01).all()
    error = np.nanmean((auto.validation_prediction_ - two) ** 2, axis=0)
    before = np.nanmean((trained.validation_prediction_ - two) ** 2, axis=0)
    assert error.sum() < before.sum()


def test_fits_are_the_same_again_and_pickle():
    X, y, ids = row_task_data()
    first, again = (
        small("regressor", architecture=hard()).fit(X, y, task=ids) for _ in range(2)
    )
    predicted = first.predict(X, task=ids)
    np.testing.assert_array_equal(predicted, again.predict(X, task=ids))
    loaded = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(loaded.predict(X, task=ids), predicted)


def test_splits_that_leave_rows_out_or_repeat_them_are_followed():
    X, y, ids = groups(6, 20, level=1.0)
    rows = np.arange(len(X))
    half = [(np.r_[rows[::2], rows[:8:2]], rows[1::4])]
    model = fitted(X, y, ids, cv=half, n_estimators=1)
    known = np.isfinite(model.validation_prediction_)
    np.testing.assert_array_equal(np.flatnonzero(known), rows[1::4])
    other = fitted(X, y, ids, cv=TaskKFold(3, random_state=0))
    assert np.isfinite(other.validation_prediction_).all()


def test_other_architectures_take_numbers_alone():
    assert TorchModule(torch.nn.Linear, {}).validates_pooling is False
    with pytest.raises(ValueError, match="task_shrinkage"):
        HardSharing(task_shrinkage="learned").check()
