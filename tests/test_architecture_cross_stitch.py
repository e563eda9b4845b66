"""A network for each task, which exchange features between layers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skmtl._streams import Streams
from skmtl.architecture import BankShape, CrossStitch, HardSharing, SoftSharing

from .instances import regression_data, small
from .plain import (
    OWNERS,
    assert_same_with_gradients,
    build,
    normal,
    row_linear,
    some_tasks,
)


def plain_features(module, k, inputs):
    """Run the networks of three tasks side by side, up to the last stitch."""
    own = [inputs] * 3
    for i, layer in enumerate(module.layers):
        if i:
            alpha = module.stitches[i - 1].alpha[k]
            own = [sum(alpha[t, s] * own[s] for s in range(3)) for t in range(3)]
        own = [
            torch.tanh(own[t] @ layer.weight[k, t] + layer.bias[k, t]) for t in range(3)
        ]
    return own


@given(sizes=st.sampled_from([(4,), (5, 3), (2, 2, 2)]))
def test_columns_equal_plain_networks(sizes):
    module = build(CrossStitch(sizes, activation="tanh"))
    inputs, head, expected = normal(2, 6, 3), module.heads.shared, []
    for k in range(2):
        own, alpha = plain_features(module, k, inputs[k]), module.heads.stitch.alpha[k]
        outputs = []
        for o, t in enumerate(OWNERS):
            mixed = sum(alpha[t, s] * own[s] for s in range(3))
            outputs.append(mixed @ head.weight[k, :, o] + head.bias[k, 0, o])
        expected.append(torch.stack(outputs, dim=1))
    assert_same_with_gradients(module, module(inputs), torch.stack(expected))


@given(sizes=st.sampled_from([(4,), (5, 3)]))
def test_rows_equal_plain_networks(sizes):
    """A row of no task has the mean of the last stitches, and the shared head."""
    module = build(CrossStitch(sizes, activation="tanh"), row_tasks=True)
    inputs, task, expected = normal(2, 8, 3), some_tasks(), []
    for k in range(2):
        own, alpha = plain_features(module, k, inputs[k]), module.heads.stitch.alpha[k]
        alpha = torch.cat([alpha, alpha.mean(0, keepdim=True)])
        for r, t in enumerate(task[k]):
            mixed = sum(alpha[t, s] * own[s][r] for s in range(3))
            expected.append(row_linear(module.heads.head, k, t, mixed))
    expected = torch.stack(expected).view(2, 8, 2)
    assert_same_with_gradients(module, module(inputs, task), expected)


def test_without_stitches_the_tasks_are_independent():
    """The identity gives the networks of soft sharing without a tie."""
    module = build(CrossStitch((4, 3)))
    apart = build(SoftSharing((4, 3), strength=0.0))
    for stitch in (*module.stitches, module.heads.stitch):
        stitch.alpha.data.copy_(torch.eye(3))
    for mine, theirs in zip(module.layers, apart.layers, strict=True):
        theirs.weight.data.copy_(mine.weight)
        theirs.bias.data.copy_(mine.bias)
    apart.heads.load_state_dict(module.heads.head.state_dict())
    inputs = normal(2, 6, 3)
    torch.testing.assert_close(module(inputs), apart(inputs))


def test_equal_layers_with_equal_stitches_are_one_trunk():
    module, hard = build(CrossStitch((4, 3))), build(HardSharing((4, 3)))
    for stitch in (*module.stitches, module.heads.stitch):
        stitch.alpha.data.fill_(1 / 3)
    for mine, theirs in zip(module.layers, hard.layers, strict=True):
        mine.weight.data.copy_(theirs.weight.unsqueeze(1))
        mine.bias.data.copy_(theirs.bias.unsqueeze(1))
    module.heads.head.load_state_dict(hard.heads.state_dict())
    inputs = normal(2, 6, 3)
    torch.testing.assert_close(module(inputs), hard(inputs))


@pytest.mark.parametrize(("n_tasks", "rest"), [(1, None), (3, 0.2)])
def test_stitches_start_at_their_shares(n_tasks, rest):
    shape = BankShape((2,), n_tasks, n_tasks)
    module = CrossStitch((4, 4), own_share=0.6).build(shape, Streams([(0,)]))
    for alpha in module.stitches_:
        diagonal = alpha.diagonal(dim1=1, dim2=2)
        assert torch.allclose(diagonal, torch.tensor(1.0 if rest is None else 0.6))
        torch.testing.assert_close(alpha.sum(-1), torch.ones(1, n_tasks))


def test_stitches_are_learned():
    X, y = regression_data()
    model = small("regressor", architecture=CrossStitch((8, 8)), max_epochs=10)
    for alpha in model.fit(X, y).architecture_.stitches_:
        assert alpha.shape == (2, 3, 3)
        moved = alpha - (0.05 + 0.85 * torch.eye(3).double())
        assert moved.abs().min() > 1e-4
