"""The one training primitive: a bank trains as its networks would one by one."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from skmtl._net import Blueprint, fit_bank
from skmtl._net._training import BankTraining
from skmtl._streams import Streams
from skmtl.architecture import HardSharing
from skmtl.encoding import PiecewiseLinear, Standard
from skmtl.weighting import Equal, PCGrad, Uncertainty

ALL = np.arange(40)


def fold(k, n_folds=4, n_rows=40):
    """Rows of a fold; later folds hold out fewer."""
    held_out = np.arange(k, n_rows, n_folds + k)
    return np.setdiff1d(np.arange(n_rows), held_out), held_out


def dropped(rate, **kwargs):
    return HardSharing((5,), activation="tanh", dropout=rate, **kwargs)


def start_training(plans, data, dtype="float64"):
    blueprint = Blueprint.from_plans(plans, data, dtype)
    return BankTraining(blueprint, plans, data, torch.device("cpu"))


# -- bank equals one by one ------------------------------------------------------

# Data, what all plans share, and what each has for itself.
CASES = {
    "seeds": ({}, {}, [{}, {}, {}]),
    "uneven folds": ({}, {}, [{"fold": 0}, {"fold": 1}, {"fold": 3}]),
    "uneven sizes": ({}, {}, [{"rows": 33}, {"rows": 8}, {"rows": 1}]),
    "last batches": ({}, {}, [{"rows": 17}, {"rows": 18}, {"rows": 16}]),
    "batch sizes": (
        {},
        {},
        [{"batch_size": 7}, {"batch_size": 40}, {"batch_size": 1}],
    ),
    "missing labels": ({"missing": 0.5}, {}, [{"rows": 25}, {}, {"rows": 20}]),
    "weights": ({"weighted": True}, {}, [{"rows": 25}, {}]),
    "row tasks": (
        {"row_tasks": True, "n_tasks": 7},
        {},
        [{"rows": 9}, {}, {"rows": 3}],
    ),
    "row tasks, validated": (
        {"row_tasks": True, "weighted": True},
        {},
        [{"fold": 0}, {"fold": 2}],
    ),
    "classes": (
        {"kind": "class", "n_classes": [2, 3, 2], "missing": 0.2},
        {},
        [{"rows": 33}, {}],
    ),
    "row tasks of classes": (
        {"kind": "class", "n_classes": 3, "row_tasks": True},
        {},
        [{"rows": 33}, {}],
    ),
    "dropout": ({}, {"architecture": dropped(0.5)}, [{}, {"rows": 19}, {"rows": 5}]),
    "dropout over row tasks": (
        {"row_tasks": True},
        {"architecture": dropped(0.5)},
        [{}, {"rows": 19}],
    ),
    "dropout rates": (
        {},
        {},
        [{"architecture": dropped(rate)} for rate in (0.0, 0.2, 0.8)],
    ),
    "dropout and batch sizes": (
        {},
        {"architecture": dropped(0.4)},
        [{"batch_size": 40}, {"batch_size": 7}],
    ),
    "shrinkages": (
        {"row_tasks": True},
        {},
        [
            {"architecture": HardSharing((5,), task_shrinkage=shrinkage)}
            for shrinkage in (0.0, 3.0, 100.0)
        ],
    ),
    "learning rates": ({}, {}, [{"lr": 0.001}, {"lr": 0.01}, {"lr": 0.05}]),
    "weight decays": ({}, {}, [{"weight_decay": d} for d in (0.0, 0.1, 2.0)]),
    "task weights": (
        {},
        {},
        [{"task_weights": w} for w in ([1, 1, 1], [3, 0, 0], [0.5, 0.5, 2])],
    ),
    "clipping": ({}, {}, [{"clip_norm": c} for c in (None, 0.01, 0.5)]),
    "clipping over row tasks": (
        {"row_tasks": True},
        {},
        [{"clip_norm": c} for c in (None, 0.01, 0.5)],
    ),
    "epochs": ({}, {}, [{"max_epochs": e} for e in (1, 2, 5)]),
    "epochs, validated": (
        {},
        {"fold": 1},
        [{"max_epochs": e} for e in (1, 2, 5, 5, 5)],
    ),
    "one stops early among many": (
        {},
        {},
        [{"max_epochs": 2}, *[{"max_epochs": 5}] * 4],
    ),
    "early stopping": (
        {"missing": 0.3},
        {"max_epochs": 30, "lr": 0.1, "n_iter_no_change": 3},
        [{"fold": k} for k in range(5)],
    ),
    "patience": (
        {},
        {"max_epochs": 20, "lr": 0.1, "fold": 2},
        [{"n_iter_no_change": p} for p in (None, 1, 2, 4)],
    ),
    "some are validated": ({}, {"max_epochs": 6, "lr": 0.1}, [{"fold": 1}, {}]),
    "uncertainty": (
        {"missing": 0.3},
        {"weighting": Uncertainty()},
        [{"rows": 33}, {}, {"rows": 5}],
    ),
    "starts of uncertainty": (
        {},
        {},
        [{"weighting": Uncertainty(s)} for s in (-1.0, 0.0, 2.0)],
    ),
    "uncertainty over row tasks": (
        {"row_tasks": True},
        {"weighting": Uncertainty(), "clip_norm": 0.1},
        [{"rows": 33}, {}],
    ),
    "pcgrad": (
        {"missing": 0.3, "n_tasks": 4},
        {"weighting": PCGrad()},
        [{}, {"seed": 5}],
    ),
    "pcgrad over uneven sizes": (
        {"n_tasks": 4},
        {"weighting": PCGrad()},
        [{"rows": 9}, {}, {"rows": 30}],
    ),
    "pcgrad at the parameters": (
        {"n_tasks": 4},
        {"weighting": PCGrad(gradients="parameters")},
        [{"rows": 9}, {}],
    ),
    "pcgrad over row tasks": (
        {"row_tasks": True, "n_tasks": 4},
        {"weighting": PCGrad(gradients="parameters")},
        [{"rows": 9}, {}],
    ),
    "pcgrad, early stopping": (
        {"n_tasks": 3},
        {
            "weighting": PCGrad(),
            "architecture": dropped(0.3),
            "max_epochs": 20,
            "lr": 0.1,
            "n_iter_no_change": 2,
        },
        [{"fold": k} for k in range(4)],
    ),
    "uncertainty, early stopping": (
        {"missing": 0.3},
        {
            "weighting": Uncertainty(),
            "architecture": dropped(0.3),
            "max_epochs": 20,
            "lr": 0.1,
            "n_iter_no_change": 2,
        },
        [{"fold": k} for k in range(4)],
    ),
    "row tasks, early stopping": (
        {"row_tasks": True, "n_tasks": 6},
        {
            "architecture": dropped(0.3),
            "max_epochs": 20,
            "lr": 0.1,
            "n_iter_no_change": 2,
        },
        [{"fold": k} for k in range(4)],
    ),
    "encodings": (
        {},
        {},
        [{"encoding": Standard()}, {"encoding": PiecewiseLinear(4)}],
    ),
    "encodings over row tasks": (
        {"row_tasks": True},
        {"architecture": HardSharing((5,), linear_skip=True)},
        [{"encoding": Standard()}, {"encoding": PiecewiseLinear(4)}],
    ),
    "linear models": (
        {},
        {"architecture": HardSharing(())},
        [{"rows": 33}, {"encoding": PiecewiseLinear(4)}],
    ),
    "skips": (
        {},
        {"architecture": HardSharing((5, 4), linear_skip=True)},
        [{"rows": 33}, {"encoding": PiecewiseLinear(4)}],
    ),
}


def plans_of(case, make_data, make_plan):
    data_kwargs, shared, own = CASES[case]
    data = make_data(**data_kwargs)
    plans = []
    for k, kwargs in enumerate(own):
        kwargs = {"seed": k} | shared | kwargs
        if "fold" in kwargs:
            train, valid = fold(kwargs.pop("fold"))
            kwargs |= {"train_rows": train, "valid_rows": valid}
        elif "rows" in kwargs:
            kwargs["train_rows"] = np.arange(40)[::-1][: kwargs.pop("rows")]
        plans.append(make_plan(data, **kwargs))
    return plans, data


@pytest.mark.parametrize("case", CASES)
def test_a_bank_trains_as_its_networks_one_by_one(
    case, make_data, make_plan, assert_one_by_one
):
    assert_one_by_one(*plans_of(case, make_data, make_plan))


@settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])  # shrinking is slow
@given(drawn=st.data())
def test_any_bank_trains_as_its_networks_one_by_one(
    drawn, make_data, make_plan, assert_one_by_one
):
    draw = drawn.draw
    row_tasks = draw(st.booleans())
    weighting = draw(
        st.sampled_from(
            [
                Equal(),
                Uncertainty(),
                PCGrad(gradients="parameters" if row_tasks else "features"),
            ]
        )
    )
    data = make_data(
        n_tasks=draw(st.integers(1, 4)),
        row_tasks=row_tasks,
        kind=draw(st.sampled_from(["number", "class"])),
        missing=draw(st.sampled_from([0.0, 0.4])),
        seed=draw(st.integers(0, 99)),
    )
    n_rows, validated = len(data.X), draw(st.booleans())
    plans = []
    for _ in range(draw(st.integers(2, 4))):
        order = np.random.default_rng(draw(st.integers(0, 99))).permutation(n_rows)
        size = draw(st.integers(1, n_rows - 1))
        plans.append(
            make_plan(
                data,
                draw(st.integers(0, 3)),
                order[:size],
                order[size:] if validated else None,
                architecture=dropped(draw(st.sampled_from([0.0, 0.3, 0.6]))),
                weighting=weighting,
                encoder=make_plan(data).encoder,
                lr=draw(st.sampled_from([0.003, 0.02])),
                weight_decay=draw(st.sampled_from([0.0, 0.1])),
                batch_size=draw(st.sampled_from([3, 8, 40])),
                clip_norm=draw(st.sampled_from([None, 0.3])),
                max_epochs=draw(st.integers(1, 5)),
                n_iter_no_change=draw(st.sampled_from([None, 1, 2])),
            )
        )
    assert_one_by_one(plans, data)


@pytest.mark.parametrize(
    "case", ["uneven folds", "row tasks", "dropout", "learning rates", "classes"]
)
def test_in_float32_they_agree_over_twenty_epochs(
    case, make_data, make_plan, assert_one_by_one
):
    plans, data = plans_of(case, make_data, make_plan)
    plans = [
        replace(plan, hyperparameters=replace(plan.hyperparameters, max_epochs=20))
        for plan in plans
    ]
    assert_one_by_one(plans, data, dtype="float32", atol=1e-5)


def test_a_padded_network_keeps_the_rules_of_its_own_width(
    make_data, make_plan, assert_one_by_one
):
    """100 inputs have no linear skip by the rule, 101 inputs have one."""
    data = make_data(n_features=101)
    wide = make_plan(data).encoder
    narrow = type(wide)(
        *(getattr(wide, name)[:100] for name in wide.__dataclass_fields__)
    )
    plans = [make_plan(data, 0, encoder=wide), make_plan(data, 1, encoder=narrow)]
    assert_one_by_one(plans, data)


def test_networks_may_scale_targets_differently(
    make_data, make_plan, assert_one_by_one
):
    data = make_data()
    other = type(data.encoder)(data.encoder.names, data.encoder.classes, 2)
    other.shift, other.scale = np.ones(3), np.full(3, 5.0)
    plans = [make_plan(data, 0), make_plan(data, 1, targets=other)]
    assert_one_by_one(plans, data)


def test_the_order_of_networks_does_not_matter(make_data, make_plan, raw_outputs):
    plans, data = plans_of("early stopping", make_data, make_plan)
    order = [3, 0, 4, 2, 1]
    net, training = fit_bank(plans, data, dtype="float64")
    shuffled, other = fit_bank([plans[k] for k in order], data, dtype="float64")
    torch.testing.assert_close(
        raw_outputs(shuffled, data), raw_outputs(net, data)[order], rtol=0, atol=1e-9
    )
    assert other.best_epoch.tolist() == training.best_epoch[order].tolist()


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_one_seed_may_serve_networks_of_different_rows(
    rate, make_data, make_plan, assert_one_by_one
):
    data = make_data()
    plans = [
        make_plan(data, 7, rows, architecture=dropped(rate))
        for rows in (ALL[:20], ALL[20:], ALL[:13], ALL[:39])
    ]
    assert_one_by_one(plans, data)


def test_equal_plans_give_equal_networks(make_data, make_plan):
    data = make_data()
    plan = make_plan(data, architecture=dropped(0.5), weighting=PCGrad())
    net, _ = fit_bank([plan, plan], data, dtype="float64")
    for parameter in net.module_.parameters():
        torch.testing.assert_close(parameter[0], parameter[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
def test_training_again_gives_the_same_bits(
    row_tasks, make_data, make_plan, raw_outputs
):
    data = make_data(row_tasks=row_tasks)
    plans = [make_plan(data, k, architecture=dropped(0.5)) for k in range(2)]
    first, again = (raw_outputs(fit_bank(plans, data)[0], data) for _ in range(2))
    assert torch.equal(first, again)


def test_seeds_make_networks_different(make_data, make_plan):
    data = make_data()
    net, _ = fit_bank([make_plan(data, 0), make_plan(data, 1)], data)
    weight = net.module_.architecture.layers[0].weight
    assert (weight[0] != weight[1]).all()


def test_rows_outside_a_plan_do_not_matter(make_data, make_plan, raw_outputs):
    data = make_data()
    train, valid = fold(1)
    plan = make_plan(data, 0, train[:20], valid, max_epochs=3)
    spoilt = replace(data, X=data.X.copy(), y=data.y.copy())
    spoilt.X[train[20:]], spoilt.y[train[20:]] = 1e9, -1e9
    outputs = [raw_outputs(fit_bank([plan], rows)[0], data) for rows in (data, spoilt)]
    assert torch.equal(*outputs)


# -- isolation -------------------------------------------------------------------

POISONED = {
    "equal": ({}, {}),
    "clipping": ({}, {"clip_norm": 0.5}),
    "dropout": ({}, {"architecture": dropped(0.3)}),
    "uncertainty": ({}, {"weighting": Uncertainty()}),
    "pcgrad": ({}, {"weighting": PCGrad()}),
    "pcgrad at the parameters": ({}, {"weighting": PCGrad(gradients="parameters")}),
    "row tasks": ({"row_tasks": True}, {"clip_norm": 0.5}),
    "classes": ({"kind": "class", "n_classes": [2, 3, 2]}, {}),
}


@pytest.mark.parametrize("case", POISONED)
@pytest.mark.parametrize("validated", [False, True], ids=["fixed", "validated"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_that_diverges_leaves_the_others_alone(
    case, validated, dtype, make_data, make_plan, raw_outputs
):
    data_kwargs, hyperparameters = POISONED[case]
    data = make_data(**data_kwargs)
    rates = [0.02, 1e30 if dtype == "float32" else 1e250, 0.01, 0.005, 0.01, 0.01]
    plans = []
    for k, lr in enumerate(rates):
        train, valid = fold(k, 3)
        valid = valid if validated else None
        plans.append(make_plan(data, k, train, valid, lr=lr, **hyperparameters))
    net, training = fit_bank(plans, data, dtype=dtype)
    healthy = [0, 2, 3, 4, 5]
    clean, _ = fit_bank([plans[k] for k in healthy], data, dtype=dtype)
    torch.testing.assert_close(
        raw_outputs(net, data)[healthy],
        raw_outputs(clean, data),
        rtol=0,
        atol=1e-5 if dtype == "float32" else 1e-9,
    )
    assert list(training.diverged) == [1]
    epoch, task = training.diverged[1]
    assert 1 <= epoch <= 4
    assert task is None or task in data.task_names
    for name in ("train_loss", "valid_loss") if validated else ("train_loss",):
        assert np.isfinite(net.history[:, name]).all()


def test_rows_that_overflow_harm_their_network_only(make_data, make_plan, raw_outputs):
    data = make_data()
    encoder = make_plan(data).encoder
    spoilt = replace(data, X=data.X.copy())
    spoilt.X[:5] = 1e300
    linear = HardSharing((5,), activation="relu", linear_skip=True)
    plans = [
        make_plan(data, k, rows, encoder=encoder, architecture=linear)
        for k, rows in enumerate([ALL[20:], ALL[:20], ALL[10:]])
    ]
    net, training = fit_bank(plans, spoilt, dtype="float64")
    clean, _ = fit_bank([plans[0], plans[2]], data, dtype="float64")
    assert list(training.diverged) == [1]
    torch.testing.assert_close(
        raw_outputs(net, data)[[0, 2]], raw_outputs(clean, data), rtol=0, atol=1e-9
    )


def test_a_network_that_has_stopped_cannot_diverge_any_more(
    make_data, make_plan, raw_outputs
):
    data = make_data()
    plans = [make_plan(data, k, max_epochs=6) for k in range(5)]
    plans[2] = make_plan(data, 2, max_epochs=1, lr=1.0)
    net, training = fit_bank(plans, data)
    assert not training.diverged
    alone, _ = fit_bank([plans[2]], data)
    torch.testing.assert_close(
        raw_outputs(net, data)[2], raw_outputs(alone, data)[0], rtol=0, atol=1e-4
    )


def test_a_task_without_labels_among_the_rows_harms_nothing(make_data, make_plan):
    data = make_data()
    hidden = replace(data, y=data.y.copy(), weight=data.weight.copy())
    hidden.y[:20, 1], hidden.weight[:20, 1] = np.nan, 0.0
    for weighting in (Equal(), Uncertainty(), PCGrad()):
        plans = [
            make_plan(hidden, 0, ALL[:20], weighting=weighting, weight_decay=0.0),
            make_plan(hidden, 1, weighting=weighting),
        ]
        start = start_training(plans, hidden).module.architecture.heads.shared
        net, training = fit_bank(plans, hidden, dtype="float64")
        head = net.module_.architecture.heads.shared
        assert not training.diverged
        assert torch.equal(head.weight[0, :, 1], start.weight[0, :, 1])
        assert (head.weight[0, :, 0] != start.weight[0, :, 0]).all()
        assert (head.weight[1, :, 1] != start.weight[1, :, 1]).all()


# -- stopping --------------------------------------------------------------------


@pytest.mark.parametrize("validated", [False, True], ids=["fixed", "validated"])
@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
def test_stopped_networks_leave_the_bank(validated, row_tasks, make_data, make_plan):
    data = make_data(row_tasks=row_tasks)
    train, valid = fold(1)
    plans = [
        make_plan(data, k, train, valid if validated else None, max_epochs=k + 1)
        for k in range(4)
    ]
    seen = []

    def on_epoch(net):
        training = net._training
        sizes = {len(p) for p in training._live_module.parameters()}
        sizes |= {len(g["params"][0]) for g in training.optimizer.param_groups}
        states = training.optimizer.state.values()
        sizes |= {len(t) for state in states for t in state.values() if t.ndim}
        seen.append((training.live.tolist(), sizes))

    _, training = fit_bank(plans, data, on_epoch=on_epoch)
    assert [live for live, _ in seen] == [[1, 2, 3], [2, 3], [3], []]
    assert [sizes for _, sizes in seen[:3]] == [{3}, {2}, {1}]
    assert training.epoch == 4


def test_epochs_of_networks_without_validation_are_all_theirs(make_data, make_plan):
    data = make_data()
    epochs = [3, 6, 6, 6, 6, 1]
    plans = [make_plan(data, k, max_epochs=e) for k, e in enumerate(epochs)]
    _, training = fit_bank(plans, data)
    assert training.best_epoch.tolist() == epochs


def test_the_best_epoch_is_restored(make_data, make_plan, raw_outputs):
    data = make_data(missing=0.3, weighted=True)
    weights = [2.0, 0.25, 0.75]
    plans = []
    for k in range(4):
        train, valid = fold(k)
        plans.append(
            make_plan(
                data, k, train, valid, max_epochs=25, lr=0.1, task_weights=weights
            )
        )
    net, training = fit_bank(plans, data, dtype="float64")
    assert (training.best_epoch < 25).any()
    targets = data.encoder.encode(data.y)
    for k, plan in enumerate(plans):
        rows = plan.valid_rows
        cells = (raw_outputs(net, data)[k].numpy() - targets)[rows] ** 2
        losses = np.average(cells, axis=0, weights=data.weight[rows])
        expected = np.average(losses, weights=weights)
        np.testing.assert_allclose(training.best_loss[k], expected, rtol=1e-9)


def test_training_stops_when_patience_is_over(make_data, make_plan):
    data = make_data()
    train, valid = fold(1)
    plan = make_plan(data, 0, train, valid, max_epochs=60, lr=0.3, n_iter_no_change=4)
    net, training = fit_bank([plan], data)
    losses = net.history[:, "valid_loss"]
    assert training.best_epoch[0] == 1 + np.argmin(losses)
    assert training.epoch == training.best_epoch[0] + 4 < 60
    assert training.best_loss[0] == pytest.approx(min(losses))


def test_without_patience_all_epochs_are_run(make_data, make_plan):
    data = make_data()
    train, valid = fold(1)
    plan = make_plan(data, 0, train, valid, max_epochs=15, lr=0.3)
    _, training = fit_bank([plan], data)
    assert training.epoch == 15
    assert training.best_epoch[0] < 15


def test_training_ends_when_on_epoch_says_so(make_data, make_plan):
    data = make_data()
    plan = make_plan(data, max_epochs=9)
    _, training = fit_bank([plan], data, on_epoch=lambda net: len(net.history) == 3)
    assert training.epoch == 3
    assert training.best_epoch.tolist() == [3]


def test_held_out_rows_are_predicted_by_those_that_held_them_out(
    make_data, make_plan, raw_outputs
):
    data = make_data()
    held_out = [ALL[:10], ALL[10:15], ALL[5:10]]
    plans = [
        make_plan(data, k, np.setdiff1d(ALL, rows), rows, max_epochs=12, lr=0.1)
        for k, rows in enumerate(held_out)
    ]
    net, training = fit_bank(plans, data, dtype="float64")
    outputs = raw_outputs(net, data)
    predictions = torch.from_numpy(training.held_out_predictions())
    torch.testing.assert_close(predictions[:5], outputs[0, :5])
    torch.testing.assert_close(predictions[5:10], outputs[[0, 2], 5:10].mean(0))
    torch.testing.assert_close(predictions[10:15], outputs[1, 10:15])
    assert predictions[15:].isnan().all()


# -- batches and objective -------------------------------------------------------


@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 45)), min_size=1, max_size=4
    )
)
def test_batches_of_an_epoch_hold_every_row_once(sizes, make_data, make_plan):
    data = make_data()
    encoder = make_plan(data).encoder
    plans = [
        make_plan(data, k, ALL[:n], encoder=encoder, batch_size=b)
        for k, (n, b) in enumerate(sizes)
    ]
    training = start_training(plans, data)
    seen = [[] for _ in plans]
    n_rows = [[] for _ in plans]
    batches = list(training.batches)
    assert len(training.batches) == len(batches)
    for batch in batches:
        length = batch.inputs.shape[1]
        own = [length] * len(plans) if batch.n_rows is None else batch.n_rows
        for k, size in enumerate(own):
            assert (batch.active is None or bool(batch.active[k])) == (size > 0)
            assert (batch.weights[k, size:] == 0).all()
            seen[k] += batch.targets[k, :size, 0].tolist()
            n_rows[k] += [size] if size else []
    targets = data.encoder.encode(data.y)
    for k, (n, b) in enumerate(sizes):
        assert sorted(seen[k]) == sorted(targets[:n, 0].tolist())
        assert len(n_rows[k]) == math.ceil(n / b)
        assert max(n_rows[k]) <= b
        assert max(n_rows[k]) - min(n_rows[k]) <= 1


def test_epochs_have_rows_in_new_orders(make_data, make_plan):
    data = make_data()
    training = start_training([make_plan(data)], data)
    first, second = (
        torch.cat([batch.targets[0] for batch in training.batches]) for _ in range(2)
    )
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.sort(0).values, second.sort(0).values)


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loss_of_an_epoch_is_the_mean_over_labelled_cells(
    row_tasks, dtype, make_data, make_plan, raw_outputs
):
    data = make_data(row_tasks=row_tasks, missing=0.4, weighted=True)
    rows = np.setdiff1d(ALL[: len(data.X)], [3, 11, 12])
    # A learning rate too small to move anything: the batches see one network.
    plan = make_plan(data, 0, rows, lr=1e-30, batch_size=7, max_epochs=1)
    net, _ = fit_bank([plan], data, dtype=dtype)
    cells = (raw_outputs(net, data)[0].numpy() - data.encoder.encode(data.y)) ** 2
    weight, cells = data.weight[rows], cells[rows]
    if row_tasks:
        member = data.task[rows][:, None] == np.arange(3)
        weight, cells = weight * member, cells * member
    expected = (weight * cells).sum(0) / weight.sum(0)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(net.history[-1, "train_losses"], expected, rtol=rtol)
    total = np.average(expected, weights=plan.hyperparameters.task_weights)
    np.testing.assert_allclose(net.history[-1, "train_loss"], total, rtol=rtol)


def test_batches_average_to_the_gradient_of_the_whole(make_data, make_plan):
    data = make_data(missing=0.4, weighted=True)
    gradients = []
    for batch_size in (7, 40):
        plan = make_plan(data, 0, batch_size=batch_size, task_weights=[2.0, 0.7, 0.3])
        training = start_training([plan], data)
        training._live_module.train()
        batches = list(training.batches)
        for batch in batches:
            training.objective.backward(batch)
        gradients.append(
            [p.grad / len(batches) for p in training.module.architecture.parameters()]
        )
    for batched, whole in zip(*gradients, strict=True):
        torch.testing.assert_close(batched, whole, rtol=0, atol=1e-12)


def plain_loop(plan, data, epochs):
    """Train one network with torch alone, from the same start in the same order."""
    module = start_training([plan], data).module
    start = {n: p.detach()[0] for n, p in module.architecture.named_parameters()}
    n_in, n_hidden = start["layers.0.weight"].shape
    n_tasks = data.y.shape[1]
    hidden = torch.nn.Linear(n_in, n_hidden).double()
    heads = torch.nn.Linear(n_hidden, n_tasks).double()
    for layer, name in ((hidden, "layers.0"), (heads, "heads.shared")):
        layer.weight.data = start[f"{name}.weight"].T.clone()
        layer.bias.data = start[f"{name}.bias"][0].clone()
    hyper = plan.hyperparameters
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [hidden.weight, heads.weight],
                "weight_decay": hyper.weight_decay,
            },
            {"params": [hidden.bias, heads.bias], "weight_decay": 0.0},
        ]
    )
    X = module.encoder(torch.tensor(data.X))[0]
    y = torch.tensor(data.encoder.encode(data.y))
    weight = torch.tensor(data.weight)
    rows = torch.tensor(plan.train_rows)
    n_batches = math.ceil(len(rows) / hyper.batch_size)
    unit = weight[rows].sum(0) / n_batches
    task_weights = torch.tensor(hyper.task_weights)
    streams = Streams([plan.key])
    for epoch in range(epochs):
        rate = 0.5 * hyper.lr * (1 + math.cos(math.pi * epoch / hyper.max_epochs))
        for group in optimizer.param_groups:
            group["lr"] = rate
        order = rows[streams.permutations([len(rows)])[0]]
        for batch in np.array_split(order.numpy(), n_batches):
            outputs = heads(torch.tanh(hidden(X[batch])))
            cells = weight[batch] * (outputs - y[batch]) ** 2
            loss = (task_weights * cells.sum(0) / unit).mean()
            optimizer.zero_grad()
            loss.backward()
            if hyper.clip_norm is not None:
                parameters = [*hidden.parameters(), *heads.parameters()]
                torch.nn.utils.clip_grad_norm_(parameters, hyper.clip_norm)
            optimizer.step()
    return heads(torch.tanh(hidden(X))).detach()


@pytest.mark.parametrize("clip_norm", [None, 0.2])
def test_a_network_trains_as_a_plain_torch_loop(
    clip_norm, make_data, make_plan, raw_outputs
):
    data = make_data(missing=0.3, weighted=True)
    plan = make_plan(
        data,
        0,
        ALL[:37],
        lr=0.02,
        weight_decay=0.1,
        clip_norm=clip_norm,
        task_weights=[0.5, 1.5, 1.0],
        max_epochs=5,
    )
    net, _ = fit_bank([plan], data, dtype="float64")
    expected = plain_loop(plan, data, 5)
    torch.testing.assert_close(raw_outputs(net, data)[0], expected, rtol=0, atol=1e-9)


def test_training_beats_the_constant_prediction(make_data, make_plan, raw_outputs):
    data = make_data(missing=0.2)
    net, _ = fit_bank([make_plan(data, max_epochs=40)], data)
    errors = (raw_outputs(net, data)[0].numpy() - data.encoder.encode(data.y)) ** 2
    assert (np.average(errors, axis=0, weights=data.weight) < 0.4).all()


def test_networks_start_at_the_best_constant_prediction(make_data, make_plan):
    data = make_data(missing=0.3, weighted=True)
    training = start_training([make_plan(data, 0, ALL[:30])], data)
    rows = slice(0, 30)
    expected = np.average(
        data.encoder.encode(data.y)[rows], axis=0, weights=data.weight[rows]
    )
    bias = training.module.architecture.heads.shared.bias[0, 0]
    np.testing.assert_allclose(bias.detach(), expected, rtol=1e-12)


def test_task_weights_of_zero_leave_a_task_untrained(make_data, make_plan):
    data = make_data()
    plan = make_plan(data, task_weights=[1.5, 0.0, 1.5], weight_decay=0.0)
    start = start_training([plan], data).module.architecture.heads.shared.weight
    net, _ = fit_bank([plan], data, dtype="float64")
    head = net.module_.architecture.heads.shared.weight
    assert torch.equal(head[..., 1], start[..., 1])
    assert (head[..., 0] != start[..., 0]).all()


# -- the record ------------------------------------------------------------------


def test_history_holds_plain_numbers(make_data, make_plan):
    data = make_data(missing=0.2)
    train, valid = fold(1)
    plans = [make_plan(data, k, train, valid) for k in range(2)]
    net, _ = fit_bank(plans, data)
    for row in net.history:
        for name in ("train_loss", "valid_loss"):
            assert type(row[name]) is float
            assert type(row[f"{name}_best"]) is bool
        for name in ("train_losses", "valid_losses"):
            assert [type(value) for value in row[name]] == [float] * 3


def test_the_record_of_weights_has_a_row_an_epoch(make_data, make_plan):
    data = make_data()
    plans = [
        make_plan(data, k, weighting=Uncertainty(), max_epochs=e)
        for k, e in enumerate([2, 5])
    ]
    _, training = fit_bank(plans, data)
    assert len(training.weight_history) == 5
    for weights in training.weight_history:
        np.testing.assert_allclose(weights.sum(1), [3, 3], rtol=1e-6)


def test_strategies_that_do_not_fuse_cannot_share_a_bank(make_data, make_plan):
    data = make_data()
    plans = [make_plan(data, architecture=HardSharing(sizes)) for sizes in ((4,), (5,))]
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        fit_bank(plans, data)


def test_a_fitted_net_forgets_its_training(make_data, make_plan):
    data = make_data(row_tasks=True)
    net, _ = fit_bank([make_plan(data, architecture=dropped(0.3))], data)
    assert not net.module_.training
    assert net._training is None
    for part in net.module_.modules():
        assert getattr(part, "streams", None) is None
        assert getattr(part, "selected", None) is None


def test_history_does_not_count_networks_that_have_stopped(make_data, make_plan):
    data = make_data()
    plans = [make_plan(data, k, max_epochs=6) for k in range(4)]
    short = make_plan(data, 4, max_epochs=2)
    alone, _ = fit_bank(plans, data, dtype="float64")
    beside, _ = fit_bank([*plans, short], data, dtype="float64")
    for name in ("train_loss", "train_losses"):
        np.testing.assert_allclose(beside.history[2:, name], alone.history[2:, name])
        assert not np.allclose(beside.history[:2, name], alone.history[:2, name])


def test_a_bank_without_survivors_predicts_no_held_out_rows(make_data, make_plan):
    data = make_data()
    train, valid = fold(1)
    _, training = fit_bank([make_plan(data, 0, train, valid, lr=1e30)], data)
    assert list(training.diverged) == [0]
    predictions = torch.from_numpy(training.held_out_predictions())
    assert predictions.shape == (40, 3)
    assert predictions.isnan().all()
