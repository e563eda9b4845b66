"""Experts that all tasks share, and a gate a task."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from skmtl._streams import Streams
from skmtl.architecture import BankShape, HardSharing, MMoE

from .instances import exact, regression_data, row_task_data, small
from .plain import OWNERS, assert_same_with_gradients, build, normal


def plain_experts(experts, k, inputs, n_experts):
    """Run the experts of network k one after the other, by torch's own layers."""
    found = []
    for e in range(n_experts):
        width = experts.n_first
        where = slice(e * width, (e + 1) * width)
        weight, bias = experts.first.weight[k], experts.first.bias[k, 0]
        hidden = F.relu(F.linear(inputs, weight[:, where].T, bias[where]))
        for layer in experts.layers:
            hidden = F.relu(F.linear(hidden, layer.weight[k, e].T, layer.bias[k, e, 0]))
        found.append(hidden)
    return torch.stack(found)


def plain_columns(module, k, inputs, n_experts):
    hidden = plain_experts(module.experts, k, inputs, n_experts)
    heads, gate = module.heads.shared, module.heads.gate.linear
    outputs = []
    for o, t in enumerate(OWNERS):
        where = slice(t * n_experts, (t + 1) * n_experts)
        logits = F.linear(inputs, gate.weight[k, :, where].T, gate.bias[k, 0, where])
        mixed = torch.einsum("re,erh->rh", logits.softmax(-1), hidden)
        outputs.append(mixed @ heads.weight[k, :, o] + heads.bias[k, 0, o])
    return torch.stack(outputs, dim=1)


@given(n_experts=st.integers(1, 4), sizes=st.sampled_from([(4,), (5, 3), (2, 2, 2)]))
def test_columns_equal_plain_networks(n_experts, sizes):
    module, inputs = build(MMoE(n_experts, sizes)), normal(2, 6, 3)
    expected = [plain_columns(module, k, inputs[k], n_experts) for k in range(2)]
    assert_same_with_gradients(module, module(inputs), torch.stack(expected))


@given(n_experts=st.integers(1, 3), sizes=st.sampled_from([(4,), (5, 3)]))
def test_rows_equal_plain_networks(n_experts, sizes):
    module, inputs = build(MMoE(n_experts, sizes), row_tasks=True), normal(2, 8, 3)
    task = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3], [3, 3, 0, 0, 1, 1, 2, 2]])
    expected = torch.zeros(2, 8, 2, dtype=torch.float64)
    for part in (module.heads.gate, module.heads.own):
        part.deviation.weight.data[:, -1] = 0
    rows = []
    for k in range(2):
        hidden = plain_experts(module.experts, k, inputs[k], n_experts)
        for r in range(8):
            mixed, own = inputs[k, r], hidden[:, r]
            for part in (module.heads.gate, module.heads.own):
                moved = part.deviation.weight[k, task[k, r]].unflatten(
                    0, (-1, part.shared.weight.shape[-1])
                )
                weight = part.shared.weight[k] + moved[:-1]
                mixed = mixed @ weight + part.shared.bias[k, 0] + moved[-1]
                if part is module.heads.gate:
                    mixed = mixed.softmax(-1) @ own
            rows.append(mixed)
    expected = torch.stack(rows).view(2, 8, 2)
    assert_same_with_gradients(module, module(inputs, task), expected)


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_one_expert_is_hard_sharing(row_tasks, dropout):
    """The same draws, the same course, the same numbers."""
    data = row_task_data() if row_tasks else (*regression_data(), None)
    X, y, task = data
    fits = []
    for architecture in (
        HardSharing((6, 5), dropout=dropout),
        MMoE(1, (6, 5), dropout=dropout),
    ):
        model = exact("regressor", architecture=architecture, batch_size=16)
        fits.append(model.fit(X, y, task=task).predict(X, task=task))
    np.testing.assert_allclose(*fits, rtol=1e-7)


def test_gates_start_alike_and_learn_to_differ():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = np.stack([np.sin(2 * X[:, 0]), np.abs(X[:, 1]), np.abs(X[:, 1])], axis=1)
    y += 0.05 * rng.normal(size=y.shape)
    settings = {"architecture": MMoE(2, (16,)), "max_epochs": 100, "relevance": None}
    model = small("regressor", **settings)
    gates = model.fit(X, y).architecture_.gate_weights_
    assert gates.shape == (2, 3, 2)
    torch.testing.assert_close(gates.sum(-1), torch.ones(2, 3, dtype=gates.dtype))
    apart = (gates[:, 0] - gates[:, 1]).abs().mean()
    together = (gates[:, 1] - gates[:, 2]).abs().mean()
    assert apart > 1.3 * together
    fresh = MMoE(2, (16,)).build(BankShape((4,), 3, 3), Streams([(0,)])).eval()
    assert (fresh.heads.gate(torch.randn(1, 5, 4)) == 0.5).all()


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
def test_gate_weights_are_means_over_the_rows_of_training(row_tasks):
    X, y, task = row_task_data() if row_tasks else (*regression_data(), None)
    model = small("regressor", architecture=MMoE(3, (8,)), max_epochs=3)
    model.fit(X, y, task=task)
    module = model.net_.module_
    inputs = module.encoder(torch.tensor(X))
    module.float().double()
    ids = None
    if row_tasks:
        ids = torch.tensor(np.unique(task, return_inverse=True)[1]).expand(2, -1)
    gates = module.architecture.heads.gate(inputs.expand(2, -1, -1), ids)
    expected = gates.mean(1)
    if row_tasks:
        own = [gates[:, ids[0] == t].mean(1) for t in range(model.n_tasks_)]
        expected = torch.stack(own, dim=1)
    found = model.architecture_.gate_weights_
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_expert_dropout_leaves_whole_experts_out():
    module = build(MMoE(4, (5,), expert_dropout=0.5), n_networks=1).train()
    left_out = module.heads.left_out
    left_out.streams = Streams([(0,)])
    gates = normal(1, 500, 3, 4).softmax(-1)
    found = left_out(gates)
    torch.testing.assert_close(found.sum(-1), torch.ones(1, 500, 3).double())
    gone = found == 0
    # The same for all tasks of a row; a sixteenth of the rows keep all by the rule.
    assert (gone == gone[:, :, :1]).all()
    np.testing.assert_allclose(gone.double().mean(), 0.5 - 0.5**4, atol=0.04)
    left = gates * ~gone
    torch.testing.assert_close(found, left / left.sum(-1, keepdim=True))
    assert torch.equal(left_out.eval()(gates), gates)


def test_experts_need_a_layer():
    with pytest.raises(ValueError, match="at least 1 layer"):
        build(MMoE(2, ()))
