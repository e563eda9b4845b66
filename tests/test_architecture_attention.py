"""One trunk whose layers each task masks for itself."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from skmtl.architecture import Attention, HardSharing

from .plain import (
    OWNERS,
    assert_same_with_gradients,
    build,
    normal,
    row_linear,
    some_tasks,
)

SIZES = st.sampled_from([(4,), (5, 3), (2, 3, 2)])


def trunk_layers(module, k, inputs):
    found = []
    for layer in module.layers:
        inputs = torch.tanh(inputs @ layer.weight[k] + layer.bias[k])
        found.append(inputs)
    return found


@given(sizes=SIZES, mask_size=st.integers(1, 3))
def test_columns_equal_plain_networks(sizes, mask_size):
    module = build(Attention(sizes, mask_size, activation="tanh"))
    inputs, head, expected = normal(2, 6, 3), module.heads.shared, []
    for k in range(2):
        layers, outputs = trunk_layers(module, k, inputs[k]), []
        for o, t in enumerate(OWNERS):
            own = None
            for mask, layer in zip(module.heads.masks, layers, strict=True):
                where = slice(t * mask_size, (t + 1) * mask_size)
                hidden = layer @ mask.first.weight[k][:, where]
                hidden = hidden + mask.first.bias[k][:, where]
                if own is not None:
                    earlier = mask.earlier
                    hidden = hidden + own @ earlier.weight[k, t] + earlier.bias[k, t]
                logits = hidden.relu() @ mask.last.weight[k, t] + mask.last.bias[k, t]
                own = logits.sigmoid() * layer
            outputs.append(own @ head.weight[k, :, o] + head.bias[k, 0, o])
        expected.append(torch.stack(outputs, dim=1))
    assert_same_with_gradients(module, module(inputs), torch.stack(expected))


@given(sizes=SIZES, mask_size=st.integers(1, 3))
def test_rows_equal_plain_networks(sizes, mask_size):
    """A row of no task has the shared masks and the shared head."""
    module = build(Attention(sizes, mask_size, activation="tanh"), row_tasks=True)
    inputs, task, expected = normal(2, 8, 3), some_tasks(), []
    for k in range(2):
        layers = trunk_layers(module, k, inputs[k])
        for r, t in enumerate(task[k]):
            own = inputs.new_zeros(0)
            for mask, layer in zip(module.heads.masks, layers, strict=True):
                read = torch.cat([layer[r], own])
                hidden = (read @ mask.first.weight[k] + mask.first.bias[k, 0]).relu()
                own = row_linear(mask.last, k, t, hidden).sigmoid() * layer[r]
            expected.append(row_linear(module.heads.head, k, t, own))
    expected = torch.stack(expected).view(2, 8, 2)
    assert_same_with_gradients(module, module(inputs, task), expected)


def test_masks_of_ones_are_hard_sharing():
    module, hard = build(Attention((4, 3))), build(HardSharing((4, 3)))
    for mask in module.heads.masks:
        mask.last.weight.data.zero_()
        mask.last.bias.data.fill_(100.0)
    hard.layers.load_state_dict(module.layers.state_dict())
    hard.heads.load_state_dict(module.heads.head.state_dict())
    inputs = normal(2, 6, 3)
    torch.testing.assert_close(module(inputs), hard(inputs))


def test_a_closed_unit_reaches_no_head():
    module = build(Attention((4, 3)))
    module.heads.masks[1].last.bias.data[..., 1] = -1e4
    inputs = normal(2, 6, 3)
    # Nor through the mask, which reads the unit, too.
    module.heads.masks[1].first.weight.data[:, 1] = 0
    before = module(inputs)
    module.layers[1].bias.data[..., 1] += 1.0
    torch.testing.assert_close(module(inputs), before)
