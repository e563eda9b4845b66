"""One trunk, and heads that see the predictions of the heads before them."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skmtl._streams import Streams
from skmtl.architecture import BankShape, HardSharing, HeadChain

from .instances import exact, missing, regression_data, row_task_data, small
from .plain import OWNERS, assert_same_with_gradients, build, normal

ORDERS = list(itertools.permutations(range(3)))


def chain(order, sizes=(4,), **params):
    params = {"activation": "tanh", "head_size": 3} | params
    return HeadChain(list(order), hidden_layer_sizes=sizes, **params)


@given(order=st.sampled_from(ORDERS), sizes=st.sampled_from([(), (4,), (5, 3)]))
def test_columns_equal_plain_networks(order, sizes):
    module, inputs = build(chain(order, sizes)), normal(2, 6, 3)
    heads, expected = module.heads, torch.zeros(2, 6, 4, dtype=torch.float64)
    for k in range(2):
        hidden = inputs[k]
        for layer in module.layers:
            hidden = torch.tanh(hidden @ layer.weight[k] + layer.bias[k])
        outputs = {}
        for t in order:
            where = slice(3 * t, 3 * t + 3)
            own = hidden @ heads.first.weight[k][:, where]
            own = own + heads.first.bias[k][:, where]
            for o, known in outputs.items():
                own = own + known.detach()[:, None] * heads.weight[k, t, o]
            own = torch.tanh(own)
            mine = [o for o, owner in enumerate(OWNERS) if owner == t]
            outputs |= {
                o: own @ heads.shared.weight[k, :, o] + heads.shared.bias[k, 0, o]
                for o in mine
            }
        expected[k] = torch.stack([outputs[o] for o in range(4)], dim=1)
    assert_same_with_gradients(module, module(inputs), expected)


@pytest.mark.parametrize("order", ORDERS)
def test_a_head_sees_the_tasks_before_it_and_no_others(order):
    module, inputs = build(chain(order)), normal(2, 6, 3)
    before = module(inputs)
    for t in range(3):
        own = [o for o, owner in enumerate(OWNERS) if owner == t]
        module.heads.shared.bias.data[..., own] += 1.0
        moved = (module(inputs) - before).abs().amax((0, 1)) > 1e-9
        module.heads.shared.bias.data[..., own] -= 1.0
        later = order[order.index(t) :]
        assert moved.tolist() == [owner in later for owner in OWNERS]


def test_a_chain_without_links_is_hard_sharing_with_towers():
    """As a fit starts: links are zero, and the other draws are the same."""
    shape = BankShape((3,), 3, 3, dtype=torch.float64)
    inputs = normal(1, 6, 3)
    modules = [
        architecture.build(shape, Streams([(0,)])).eval()
        for architecture in (
            chain((2, 0, 1)),
            HardSharing((4,), activation="tanh", head_layer_sizes=(3,)),
        )
    ]
    assert (modules[0].heads.weight == 0).all()
    torch.testing.assert_close(*[module(inputs) for module in modules])


def test_links_to_later_tasks_stay_zero_in_training():
    X, y = regression_data()
    model = exact("regressor", architecture=chain((2, 0, 1)), weight_decay=0.1)
    weight = model.fit(X, missing(y)).architecture_.heads.weight[0]
    linked = (weight != 0).all(-1)
    # Task 2 sees nobody, 0 sees 2, and 1 sees both.
    expected = [[False, False, True], [True, False, True], [False, False, False]]
    assert linked.tolist() == expected
    assert ((weight != 0).any(-1) == linked).all()


def test_auto_puts_first_what_is_told_best():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    signal = np.tanh(X @ rng.normal(size=4))
    noise = rng.normal(size=(300, 3)) * [1.0, 0.1, 3.0]
    y = 10 * (signal[:, None] + noise) + 5
    model = small("regressor", architecture=HeadChain(hidden_layer_sizes=(8,)))
    model.set_params(max_epochs=1).fit(X, missing(y))
    assert model.architecture_.order_ == [1, 0, 2]


def test_auto_compares_numbers_with_classes():
    """A class that is plain comes before a number that is noise, and after one not."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = np.stack([rng.normal(size=300), X[:, 0] > 0, 3 * X[:, 0]], axis=1)
    model = small("mixed", architecture=HeadChain(hidden_layer_sizes=(8,)))
    model.set_params(max_epochs=1, task_types=["number", "class", "number"])
    order = model.fit(X, y).architecture_.order_
    assert order[-1] == 0


def test_a_chain_hands_on_what_an_early_task_knows():
    """The second target is a function of the first, which has many more labels."""
    errors = np.zeros((6, 2))
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(800, 6))
        first = np.tanh(X @ rng.normal(size=(6, 3))) @ rng.normal(size=3)
        y = np.stack([first, first + 0.5 * np.sin(2 * first)], axis=1)
        labels = y.copy()
        labels[40:, 1] = np.nan
        for i, order in enumerate(([0, 1], [1, 0])):
            model = small("regressor", architecture=chain(order, (32,), head_size=16))
            error = model.fit(X[:400], labels[:400]).predict(X[400:]) - y[400:]
            errors[seed, i] = np.mean(error[:, 1] ** 2) / y[400:, 1].var()
    along, against = errors.mean(axis=0)
    assert along < 0.92 * against


def test_training_goes_on_in_the_order_there_is():
    X, y = regression_data()
    model = small("regressor", architecture=HeadChain(hidden_layer_sizes=(8,)))
    model.set_params(max_epochs=2, warm_start=True).fit(X, y)
    order = model.architecture_.order_
    assert model.fit(X, y[:, ::-1]).architecture_.order_ == order


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [0, 1, 2, 3], [0, 1, "a"]])
def test_orders_that_do_not_fit_are_refused(order):
    X, y = regression_data()
    model = exact("regressor", architecture=HeadChain(order), max_epochs=1)
    with pytest.raises(ValueError, match="must name each task once"):
        model.fit(X, y)


def test_row_tasks_and_unnamed_tasks_are_refused(monkeypatch):
    # Before the pilot has trained anything.
    monkeypatch.setattr("skmtl._planning.run_pilot", None)
    X, y, task = row_task_data()
    with pytest.raises(ValueError, match="HeadChain passes the predictions"):
        exact("regressor", architecture=HeadChain()).fit(X, y, task=task)
    with pytest.raises(ValueError, match="fit of an estimator"):
        HeadChain().build(BankShape((3,), 2, 2))
