"""A network for each task, held together by a penalty."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skmtl._net import fit_bank
from skmtl._streams import Streams
from skmtl._tasks import check_task_data
from skmtl.architecture import HardSharing, SoftSharing
from skmtl.architecture._tied import trace_norm
from skmtl.weighting import HeadRates

from .instances import exact, regression_data, row_task_data
from .plain import OWNERS, assert_same_with_gradients, build, normal


def plain_weights(bank, k, t, strength):
    """The weights in use, from the parameters."""
    a = strength / (1 + strength)
    weight = a * bank.common.weight[k] + (1 - a) * bank.weight[k, t]
    return weight, a * bank.common.bias[k, 0] + (1 - a) * bank.bias[k, t, 0]


def plain_hidden(module, k, t, inputs, strength):
    for layer in module.layers:
        weight, bias = plain_weights(layer, k, t, strength)
        inputs = torch.tanh(inputs @ weight + bias)
    return inputs


@given(
    strength=st.sampled_from([0.0, 0.5, 7.0]),
    sizes=st.sampled_from([(4,), (5, 3), (2, 2, 2)]),
)
def test_columns_equal_plain_networks(strength, sizes):
    architecture = SoftSharing(sizes, activation="tanh", strength=strength)
    module, inputs = build(architecture), normal(2, 6, 3)
    head, expected = module.heads.shared, []
    for k in range(2):
        own = [plain_hidden(module, k, t, inputs[k], strength) for t in range(3)]
        outputs = [own[t] @ head.weight[k, :, o] for o, t in enumerate(OWNERS)]
        expected.append(torch.stack(outputs, dim=1) + head.bias[k])
    assert_same_with_gradients(module, module(inputs), torch.stack(expected))


@given(strength=st.sampled_from([0.0, 0.5, 7.0]))
def test_rows_equal_plain_networks_and_no_task_has_their_mean(strength):
    architecture = SoftSharing((4, 3), activation="tanh", strength=strength)
    module, inputs = build(architecture, row_tasks=True), normal(2, 8, 3)
    task = torch.tensor([[0, 1, 0, 3, 0, 1, 2, 3], [3, 3, 0, 0, 1, 1, 1, 2]])
    expected = torch.zeros(2, 8, 2, dtype=torch.float64)
    for k in range(2):
        outputs = []
        for t in range(3):
            hidden = plain_hidden(module, k, t, inputs[k], strength)
            weight, bias = plain_weights(module.heads.shared, k, t, strength)
            outputs.append(hidden @ weight + bias)
        outputs = torch.stack([*outputs, sum(outputs) / 3])
        expected[k] = outputs[task[k], torch.arange(8)]
    assert_same_with_gradients(module, module(inputs, task), expected)
    # The same mean by the head that new groups deviate from.
    weight, bias, _ = module.pooled_head()
    pooled = module.readout(inputs) @ weight + bias.unsqueeze(1)
    torch.testing.assert_close(pooled[task == 3], expected[task == 3])


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("kind", ["l2", "trace"])
def test_the_penalty_by_hand(kind, row_tasks):
    """Distances of the weights in use; heads of row tasks are tied, too."""
    architecture = SoftSharing((4, 3), penalty=kind, strength=2.0)
    module = build(architecture, row_tasks=row_tasks)
    share = torch.rand(2, 3, dtype=torch.float64)
    expected = torch.zeros(2, dtype=torch.float64)
    tied = [*module.layers, *([module.heads.shared] if row_tasks else [])]
    for k in range(2):
        for layer in tied:
            rows = []
            for t in range(3):
                weight, bias = plain_weights(layer, k, t, 2.0)
                away = weight - layer.common.weight[k], bias - layer.common.bias[k, 0]
                rows.append(torch.cat([part.flatten() for part in away]))
            rows = torch.stack(rows)
            if kind == "trace":
                size = torch.linalg.svdvals(rows).sum() * share[k].mean()
            else:
                size = (rows.square().sum(1) * share[k]).sum()
            expected[k] += 2.0 * size
    torch.testing.assert_close(module.penalty(lambda: share), expected)


def test_the_trace_norm_is_smooth_at_zero_and_keeps_a_nan_to_itself():
    rows = torch.stack([torch.zeros(3, 5), normal(3, 5), torch.full((3, 5), torch.nan)])
    rows = rows.double().requires_grad_()
    norm = trace_norm(rows)
    assert norm[0] < 1e-12
    torch.testing.assert_close(norm[1], torch.linalg.svdvals(rows[1]).sum())
    assert norm[2].isnan()
    norm[:2].sum().backward()
    assert rows.grad[:2].isfinite().all()


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
def test_strength_zero_gives_independent_networks(row_tasks):
    """What a task predicts does not depend on the labels of the others."""
    X, y, task = row_task_data() if row_tasks else (*regression_data(), None)
    architecture = SoftSharing((8,), strength=0.0)
    # What a column tells about the other labels does not enter.
    settings = {"clip_norm": None, "relevance": None}
    model = exact("regressor", architecture=architecture, **settings)
    if row_tasks:
        model.set_params(target_transform=None)
        mine = task == 12
    else:
        mine = np.zeros(y.shape, bool)
        mine[:, 1] = True
    # Scales of row tasks are pooled; a permutation leaves them as they are.
    other = y.copy()
    rng = np.random.default_rng(0)
    other[~mine] = rng.permutation(y[~mine])
    found = []
    for labels in (y, other):
        predictions = model.fit(X, labels, task=task).predict(X, task=task)
        found.append(predictions[mine])
    np.testing.assert_allclose(*found, rtol=1e-5)
    tied = model.set_params(architecture__strength=10.0)
    moved = tied.fit(X, other, task=task).predict(X, task=task)[mine]
    assert np.abs(moved - found[1]).max() > 1e-2


def test_strength_zero_gives_the_plain_network_of_each_task():
    """The course of one task's network, step by step, in plain torch."""
    X, y = regression_data()
    architecture = SoftSharing((8,), strength=0.0)
    model = exact("regressor", architecture=architecture, clip_norm=None)
    model.set_params(weight_decay=0.0, max_epochs=5)
    model.fit(X, y)
    net, t = model.net_, 1
    fresh = net.blueprint.build(Streams([key_of(model, X, y)]))
    start = fresh.architecture
    inputs = net.module_.encoder(torch.tensor(X))[0]
    scaled = torch.tensor((y[:, t] - y[:, t].mean()) / y[:, t].std())
    layers = [
        start.layers[0].weight[0, t].detach().clone().requires_grad_(),
        start.layers[0].bias[0, t].detach().clone().requires_grad_(),
        start.heads.shared.weight[0, :, [t]].detach().clone().requires_grad_(),
        torch.zeros(1, dtype=torch.float64, requires_grad=True),
    ]
    optimizer = torch.optim.Adam(layers, lr=model.lr)
    for epoch in range(5):
        optimizer.param_groups[0]["lr"] = (
            model.lr * 0.5 * (1 + np.cos(np.pi * epoch / 5))
        )
        optimizer.zero_grad()
        hidden = (inputs @ layers[0] + layers[1]).relu()
        outputs = (hidden @ layers[2] + layers[3])[:, 0]
        (outputs - scaled).square().mean().backward()
        optimizer.step()
    hidden = (inputs @ layers[0] + layers[1]).relu()
    outputs = (hidden @ layers[2] + layers[3])[:, 0].detach().numpy()
    expected = y[:, t].mean() + y[:, t].std() * outputs
    np.testing.assert_allclose(model.predict(X)[:, t], expected, rtol=1e-5)


def key_of(model, X, y):
    """Give the key of the streams of the only network."""
    data = check_task_data(model, X, y, None, None, kind="number")
    members = model._draw_members(data, early_stopping=False)
    return model._make_plans(data, members)[0].key


@pytest.mark.parametrize("kind", ["l2", "trace"])
def test_a_strength_without_bounds_gives_hard_sharing(kind):
    X, y = regression_data()
    predictions = {}
    for strength in (0.0, 1.0, 1e3, 1e9):
        architecture = SoftSharing((8, 6), penalty=kind, strength=strength)
        model = exact("regressor", architecture=architecture, batch_size=16)
        predictions[strength] = model.fit(X, y).predict(X)
    hard = exact("regressor", architecture=HardSharing((8, 6)), batch_size=16)
    expected = hard.fit(X, y).predict(X)
    away = {s: np.abs(p - expected).max() for s, p in predictions.items()}
    assert away[0.0] > away[1e3] > 100 * away[1e9]
    np.testing.assert_allclose(predictions[1e9], expected, rtol=1e-5)


def test_a_strength_without_bounds_ignores_the_groups():
    """Row tasks are then one network, which is that of a single column."""
    X, y, task = row_task_data()
    pooled = exact("regressor", architecture=HardSharing((8,))).fit(X, y)
    same = exact("regressor", architecture=SoftSharing((8,), strength=1e10))
    same.fit(X, y, task=task)
    first, second = (same.predict(X, task=np.full(len(X), t)) for t in (10, 13))
    np.testing.assert_allclose(first, second, rtol=1e-6)
    np.testing.assert_allclose(first, pooled.predict(X), rtol=1e-5, atol=1e-5)


def test_networks_come_closer_as_the_strength_grows(make_data, make_plan):
    data = make_data(n_rows=60)
    sizes = []
    for strength in (0.1, 10.0, 1000.0):
        architecture = SoftSharing((6,), strength=strength)
        plan = make_plan(data, architecture=architecture, max_epochs=60)
        net, _ = fit_bank([plan], data)
        layer = net.module_.architecture.layers[0]
        sizes.append(layer.deviations().square().sum().item())
    assert sizes[0] > 2 * sizes[1] > 20 * sizes[2]


def test_rates_of_heads_that_are_tied_are_refused():
    X, y, task = row_task_data()
    model = exact("regressor", architecture=SoftSharing((4,)), weighting=HeadRates())
    with pytest.raises(ValueError, match=r"HeadRates.*SoftSharing"):
        model.fit(X, y, task=task)
