"""Experts of single tasks beside shared ones: CGC, and levels of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from skmtl._streams import Streams
from skmtl.architecture import CGC, PLE, BankShape
from skmtl.architecture._by_task import RowsByTask
from skmtl.weighting import PCGrad

from .instances import exact, regression_data, row_task_data
from .plain import OWNERS, assert_same_with_gradients, build, normal, row_linear


def expert(experts, k, e, inputs):
    """Run one expert of one network, by torch's own layers."""
    weight, bias, width = experts.first.weight[k], experts.first.bias[k], -1
    if weight.ndim == 3:
        weight, bias = weight[e], bias[e, 0]
    else:
        width = experts.n_first
        where = slice(e * width, (e + 1) * width)
        weight, bias = weight[:, where], bias[0, where]
    hidden = F.relu(F.linear(inputs, weight.T, bias))
    for layer in experts.layers:
        hidden = F.relu(F.linear(hidden, layer.weight[k, e].T, layer.bias[k, e, 0]))
    return hidden


def gate_of(gate, k, t, inputs, n_experts):
    linear = gate.linear
    if linear.weight.ndim == 4:
        weight, bias = linear.weight[k, t], linear.bias[k, t, 0]
    else:
        where = slice(t * n_experts, (t + 1) * n_experts)
        weight, bias = linear.weight[k, :, where], linear.bias[k, 0, where]
    return F.linear(inputs, weight.T, bias).softmax(-1)


def plain_columns(levels, head, k, inputs, n_shared, n_own):
    """The equations of the paper, one expert and one task at a time."""
    own, shared = [inputs] * 3, inputs
    for shared_experts, own_experts, gate, shared_gate in levels:
        common = [expert(shared_experts, k, s, shared) for s in range(n_shared)]
        private = [
            [expert(own_experts, k, t * n_own + i, own[t]) for i in range(n_own)]
            for t in range(3)
        ]
        mixed = []
        for t in range(3):
            weights = gate_of(gate, k, t, own[t], n_own + n_shared)
            parts = torch.stack([*private[t], *common], dim=1)
            mixed.append((weights.unsqueeze(-1) * parts).sum(1))
        if shared_gate is not None:
            weights = F.linear(
                shared, shared_gate.weight[k].T, shared_gate.bias[k, 0]
            ).softmax(-1)
            parts = torch.stack([*private[0], *private[1], *private[2], *common], dim=1)
            shared = (weights.unsqueeze(-1) * parts).sum(1)
        own = mixed
    return torch.stack(
        [
            own[t] @ head.weight[k, :, o] + head.bias[k, 0, o]
            for o, t in enumerate(OWNERS)
        ],
        dim=1,
    )


def levels_of(module):
    if hasattr(module, "levels"):
        return [(m.shared, m.own, m.gate, m.shared_gate) for m in module.levels]
    return [(module.experts, module.heads.own, module.heads.gate, None)]


@given(
    n_levels=st.integers(0, 3),
    n_shared=st.integers(1, 2),
    n_own=st.integers(1, 2),
    sizes=st.sampled_from([(4,), (5, 3)]),
)
def test_columns_equal_plain_networks(n_levels, n_shared, n_own, sizes):
    """Zero levels stand for CGC."""
    architecture = CGC(n_shared, n_own, sizes)
    if n_levels:
        architecture = PLE(n_levels, n_shared, n_own, sizes)
    module, inputs = build(architecture), normal(2, 6, 3)
    levels = levels_of(module)
    expected = [
        plain_columns(levels, module.heads.shared, k, inputs[k], n_shared, n_own)
        for k in range(2)
    ]
    assert_same_with_gradients(module, module(inputs), torch.stack(expected))


def plain_row(levels, head, k, t, row, n_shared, n_own):
    own = shared = row
    for shared_experts, own_experts, gate, shared_gate in levels:
        common = [expert(shared_experts, k, s, shared) for s in range(n_shared)]
        private = []
        if t < 3:
            private = [expert(own_experts, k, t * n_own + i, own) for i in range(n_own)]
        closed = n_own - len(private)
        weights = row_linear(gate, k, t, own)[closed:].softmax(-1)
        parts = torch.stack([*private, *common])
        own = weights @ parts
        if shared_gate is not None:
            logits = shared @ shared_gate.weight[k] + shared_gate.bias[k, 0]
            shared = logits[closed:].softmax(-1) @ parts
    return row_linear(head, k, t, own)


@given(n_levels=st.integers(0, 2), n_own=st.integers(1, 2))
def test_rows_equal_plain_networks(n_levels, n_own):
    """A row of no task has the shared experts alone."""
    architecture = CGC(2, n_own, (4, 3))
    if n_levels:
        architecture = PLE(n_levels, 2, n_own, (4, 3))
    module, inputs = build(architecture, row_tasks=True), normal(2, 8, 3)
    for name, parameter in module.named_parameters():
        if "deviation" in name:
            parameter.data[:, -1] = 0
    task = torch.tensor([[0, 1, 0, 3, 0, 1, 2, 3], [3, 3, 0, 0, 1, 1, 1, 2]])
    levels = levels_of(module)
    head = module.heads if n_levels else module.heads.head
    expected = [
        torch.stack(
            [
                plain_row(levels, head, k, int(t), row, 2, n_own)
                for t, row in zip(task[k], inputs[k], strict=True)
            ]
        )
        for k in range(2)
    ]
    assert_same_with_gradients(module, module(inputs, task), torch.stack(expected))


@pytest.mark.parametrize("row_tasks", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_one_level_is_cgc(row_tasks, dropout):
    X, y, task = row_task_data() if row_tasks else (*regression_data(), None)
    settings = {"dropout": dropout, "expert_dropout": dropout}
    fits = []
    for architecture in (CGC(2, 1, (6,), **settings), PLE(1, 2, 1, (6,), **settings)):
        model = exact("regressor", architecture=architecture, batch_size=16)
        model.fit(X, y, task=task)
        fits += [model.predict(X, task=task), model.architecture_.gate_weights_]
    np.testing.assert_allclose(fits[0], fits[2], rtol=1e-7)
    torch.testing.assert_close(fits[1], fits[3])


def test_gates_start_alike():
    shape = BankShape((3,), 3, 3, dtype=torch.float64)
    module = PLE(2, 2, 1, (4,)).build(shape, Streams([(0,)])).eval()
    module.note_rows(iter([(normal(1, 20, 3), None)]))
    torch.testing.assert_close(
        module.gate_weights_, torch.full((1, 3, 3), 1 / 3).double()
    )


def test_what_is_learned_on_common_features_is_refused():
    X, y = regression_data()
    model = exact("regressor", architecture=PLE(hidden_layer_sizes=(4,)))
    with pytest.raises(ValueError, match=r"PCGrad\(gradients='features'\).*PLE has"):
        model.set_params(weighting=PCGrad()).fit(X, y)
    with pytest.raises(ValueError, match="PLE has no representation"):
        build(PLE(hidden_layer_sizes=(4,))).features(normal(2, 3, 3))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_rows_laid_out_by_task_come_back(task):
    """All but those of no task, which come back as zeros."""
    task = torch.tensor([task, task[::-1]])
    rows, by_task = normal(*task.shape, 2), RowsByTask(task, 3)
    blocks = by_task.spread(rows)
    for k in range(2):
        for t in range(3):
            own = rows[k][task[k] == t]
            torch.testing.assert_close(blocks[k, t, : len(own)], own)
            assert (blocks[k, t, len(own) :] == 0).all()
    expected = torch.where((task < 3).unsqueeze(-1), rows, 0.0)
    torch.testing.assert_close(by_task.collect(blocks), expected)
