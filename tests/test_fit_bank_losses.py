"""A bank of several losses trains as its networks would one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skmtl import MixedTaskNet
from skmtl._net import fit_bank
from skmtl._tasks import TaskEncoder, check_task_data
from skmtl.architecture import HardSharing
from skmtl.loss import (
    AbsoluteError,
    CrossEntropy,
    Focal,
    Gamma,
    Huber,
    Poisson,
    Quantile,
    SquaredError,
)
from skmtl.weighting import PCGrad, Uncertainty

KINDS = ["number", "number", "number", "class", "class"]


def mixed_data(*, row_tasks=False, missing=0.3):
    """Draw a number, a count, a positive number, and two and three classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    signal = X @ rng.normal(size=(3, 5)) + 0.3 * rng.normal(size=(40, 5))
    y = signal.copy()
    y[:, 1] = np.floor(np.exp(signal[:, 1]))
    y[:, 2] = np.exp(signal[:, 2])
    y[:, 3] = signal[:, 3] > 0
    y[:, 4] = np.digitize(signal[:, 4], [-0.5, 0.5])
    absent = rng.random(y.shape) < missing
    absent[np.arange(40), np.arange(40) % 5] = False
    y[absent] = np.nan
    task = np.arange(40) % 4 if row_tasks else None
    model = MixedTaskNet(task_types=KINDS)
    return check_task_data(model, X, y, task, None, kind="mixed")


def losses_of(k, *, huber=1.0):
    """Give network k hyperparameters of its own."""
    return (
        Huber(huber),
        Poisson(),
        Gamma(),
        CrossEntropy(label_smoothing=0.1 * k),
        Focal(gamma=0.5 * k),
    )


def class_weights_of(k):
    weights = None, np.array([1.0, 2.0, 0.5]), np.array([0.1, 1.0, 5.0])
    pair = None if k == 0 else np.array([1.0, 1.0 + k])
    return None if k == 0 else (None, None, None, pair, weights[k])


def plans_of(data, make_plan, own, **shared):
    plans = []
    for k, kwargs in enumerate(own):
        kwargs = {"seed": k, "losses": losses_of(k)} | shared | kwargs
        losses = kwargs["losses"]
        targets = TaskEncoder(data.column_names, data.encoder.classes, 2)
        kwargs["targets"] = targets.fit(data.y, data.weight, losses)
        if "fold" in kwargs:
            held_out = np.arange(kwargs.pop("fold"), 40, 4)
            rows = np.setdiff1d(np.arange(40), held_out)
            kwargs |= {"train_rows": rows, "valid_rows": held_out}
        elif "rows" in kwargs:
            kwargs["train_rows"] = np.arange(kwargs.pop("rows"))
        plans.append(make_plan(data, **kwargs))
    return plans


CASES = {
    "smoothing and gamma differ": ({}, {}, [{}, {"rows": 33}, {"rows": 17}]),
    "class weights differ": (
        {},
        {},
        [{"class_weights": class_weights_of(k)} for k in range(3)],
    ),
    "class weights, clipped": (
        {},
        {"clip_norm": 0.1, "fold": 1},
        [{"class_weights": class_weights_of(k)} for k in range(3)],
    ),
    "early stopping": (
        {},
        {"max_epochs": 30, "lr": 0.1, "n_iter_no_change": 2},
        [{"fold": k, "class_weights": class_weights_of(k % 3)} for k in range(4)],
    ),
    "leaving one after the other": (
        {},
        {},
        [{"max_epochs": e, "losses": losses_of(e)} for e in (1, 2, 4, 6)],
    ),
    "row tasks of several columns": ({"row_tasks": True}, {}, [{}, {"rows": 30}]),
    "row tasks of several columns, early stopping": (
        {"row_tasks": True},
        {"max_epochs": 20, "lr": 0.1, "n_iter_no_change": 2},
        [{"fold": k, "class_weights": class_weights_of(k % 3)} for k in range(4)],
    ),
    "levels differ": (
        {},
        {},
        [
            {
                "losses": (
                    Quantile(q),
                    Quantile([0.2, 0.8]),
                    SquaredError(),
                    CrossEntropy(),
                    CrossEntropy(),
                )
            }
            for q in (0.1, 0.5, 0.9)
        ],
    ),
    "uncertainty": ({}, {"weighting": Uncertainty()}, [{}, {"rows": 33}]),
    "pcgrad": (
        {},
        {"weighting": PCGrad(), "architecture": HardSharing((5,), dropout=0.3)},
        [{"fold": 0}, {"fold": 2}],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bank_of_several_losses_trains_as_its_networks_one_by_one(
    case, make_plan, assert_one_by_one
):
    data_kwargs, shared, own = CASES[case]
    data = mixed_data(**data_kwargs)
    assert_one_by_one(plans_of(data, make_plan, own, **shared), data)


def test_a_bank_of_several_deltas_trains_as_its_networks_one_by_one(
    make_plan, assert_one_by_one
):
    data = mixed_data()
    own = [{"losses": losses_of(0, huber=delta)} for delta in (0.1, 1.0, 9.0)]
    assert_one_by_one(plans_of(data, make_plan, own), data)


def test_hyperparameters_of_losses_are_felt(make_plan, raw_outputs):
    data = mixed_data()
    own = [{"losses": losses_of(0)}, {"losses": losses_of(1)}, {"losses": losses_of(0)}]
    own[2]["class_weights"] = class_weights_of(2)
    net, _ = fit_bank(plans_of(data, make_plan, own, seed=3), data, dtype="float64")
    first, second, third = raw_outputs(net, data)
    assert (first - second).abs().max() > 1e-3
    assert (first - third).abs().max() > 1e-3


def test_column_losses_do_not_meet_without_shared_features(make_plan, raw_outputs):
    """Without hidden layers a column learns the same whatever stands beside it."""
    data = mixed_data()
    linear = {"architecture": HardSharing(()), "seed": 0}
    (plan,) = plans_of(data, make_plan, [linear])
    other = (AbsoluteError(), *plan.hyperparameters.losses[1:])
    (changed,) = plans_of(data, make_plan, [linear | {"losses": other}])
    outputs = [
        raw_outputs(fit_bank([p], data, dtype="float64")[0], data)[0]
        for p in (plan, changed)
    ]
    torch.testing.assert_close(outputs[0][:, 1:], outputs[1][:, 1:], rtol=0, atol=1e-12)
    assert (outputs[0][:, 0] - outputs[1][:, 0]).abs().max() > 1e-3


def test_taking_networks_keeps_their_losses(make_plan, raw_outputs):
    data = mixed_data()
    plans = plans_of(data, make_plan, [{}, {}, {}])
    net, _ = fit_bank(plans, data, dtype="float64")
    taken = net.take([2, 0])
    assert torch.equal(raw_outputs(taken, data), raw_outputs(net, data)[[2, 0]])
    smoothing = taken.blueprint.losses[3].label_smoothing
    np.testing.assert_allclose(smoothing.values, [0.2, 0.0])
    rows = replace(data, X=data.X[:5], y=data.y[:5], weight=data.weight[:5])
    assert np.isfinite(np.hstack(taken.columns(rows.X))).all()


def test_perfect_predictions_are_targets_and_ones_of_classes():
    encoder = TaskEncoder(["size", "kind"], [None, np.array(["a", "b", "c"])], 2)
    encoder.shift, encoder.scale = np.array([1.0, 0.0]), np.array([2.0, 1.0])
    size, kind = encoder.perfect(np.array([[3.0, 2.0], [np.nan, 0.0], [1.0, np.nan]]))
    np.testing.assert_array_equal(size, [[1.0], [np.nan], [0.0]])
    nan = np.nan
    np.testing.assert_array_equal(kind, [[0, 0, 1], [1, 0, 0], [nan, nan, nan]])
