"""Keyed random streams."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skmtl._net import fit_bank
from skmtl._streams import Streams
from skmtl.architecture import HardSharing
from skmtl.weighting import PCGrad

keys = st.lists(
    st.tuples(st.integers(0, 2**63), st.integers(1, 9)), min_size=1, max_size=4
)


def masks(streams, rows, n_columns=6, n_batches=3, rate=0.5):
    """Draw masks of some batches of the networks' own sizes."""
    rates = torch.full((len(streams.keys),), rate)
    streams.n_rows = rows
    return [
        streams.keep_mask("dropout", rates, max(rows), n_columns, torch.float32)
        for _ in range(n_batches)
    ]


@given(keys, st.integers(0, 3))
def test_draws_depend_on_the_key_and_not_on_the_bank(keys, position):
    k = position % len(keys)
    sizes = [size for _, size in keys]
    together, alone = Streams(keys), Streams([keys[k]])
    for _ in range(2):
        order = together.permutations(sizes)[k]
        assert torch.equal(order, alone.permutations([sizes[k]])[0])
        assert sorted(order.tolist()) == list(range(sizes[k]))
    for mask, own in zip(masks(together, sizes), masks(alone, [sizes[k]]), strict=True):
        assert torch.equal(mask[k, : sizes[k]], own[0])


def test_networks_that_share_a_key_share_the_draw():
    streams = Streams([(3, 20), (4, 20), (3, 20)])
    drawn = []
    streams.each(drawn.append)
    assert drawn == [(3, 20), (4, 20)]
    first, second, third = streams.permutations([20, 20, 20])
    assert torch.equal(first, third)
    assert not torch.equal(first, second)


def test_a_shared_draw_moves_a_stream_once():
    shared, alone = Streams([(3, 20), (3, 20)]), Streams([(3, 20)])
    for _ in range(3):
        assert torch.equal(
            shared.permutations([20, 20])[1], alone.permutations([20])[0]
        )


def test_each_draw_moves_the_stream_on():
    streams = Streams([(0, 50)])
    first, second = (streams.permutations([50])[0] for _ in range(2))
    assert not torch.equal(first, second)


def test_purposes_share_no_numbers():
    streams = Streams([(0, 1)])
    drawn = [
        torch.rand(100, generator=streams.generator((0, 1), purpose))
        for purpose in ("rows", "dropout 0", "dropout 1", "init head", "init layer 0")
    ]
    assert torch.cat(drawn).unique().numel() == 500


def test_drawing_for_one_purpose_leaves_the_others_where_they_are():
    busy, idle = Streams([(0, 30)]), Streams([(0, 30)])
    masks(busy, [30])
    assert torch.equal(busy.permutations([30])[0], idle.permutations([30])[0])


def test_seeds_that_are_close_give_different_numbers():
    orders = Streams([(s, 40) for s in range(20)]).permutations([40] * 20)
    assert len({tuple(order.tolist()) for order in orders}) == 20


def test_taken_networks_go_on_where_they_were():
    streams, whole = (Streams([(s, 25) for s in range(3)]) for _ in range(2))
    for one in (streams, whole):
        one.permutations([25] * 3)
    streams.take([2, 0])
    expected = whole.permutations([25] * 3)
    assert torch.equal(streams.permutations([25] * 2)[0], expected[2])
    assert streams.keys == [(2, 25), (0, 25)]


def test_a_copied_module_draws_from_the_same_streams():
    streams = Streams([(0, 5)])
    assert copy.deepcopy({"streams": streams})["streams"] is streams


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keep_mask_holds_zero_or_the_inverse_of_the_kept_share(dtype):
    streams = Streams([(0, 9), (1, 9)])
    rates = torch.tensor([0.0, 0.75], dtype=dtype)
    mask = streams.keep_mask("dropout", rates, 50, 8, dtype)
    assert mask.dtype == dtype
    assert mask.shape == (2, 50, 8)
    assert (mask[0] == 1).all()
    assert mask[1].unique().tolist() == [0.0, 4.0]


def test_masks_are_the_same_at_another_rate_of_the_network_beside():
    rates = [torch.tensor([0.3, rate]) for rate in (0.1, 0.9)]
    drawn = [
        Streams([(0, 9), (1, 9)]).keep_mask("d", r, 20, 5, torch.float32)[0]
        for r in rates
    ]
    assert torch.equal(*drawn)


def test_training_leaves_the_global_random_states_alone(
    make_data, make_plan, random_state_of_the_world
):
    data = make_data()
    architecture = HardSharing((5,), dropout=0.3)
    fit_bank([make_plan(data, architecture=architecture, weighting=PCGrad())], data)


def test_training_does_not_read_the_global_random_states(
    make_data, make_plan, raw_outputs
):
    data = make_data()
    architecture = HardSharing((5,), dropout=0.3)
    plan = make_plan(data, architecture=architecture, weighting=PCGrad())
    outputs = []
    with torch.random.fork_rng():
        for seed in (0, 1):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            outputs.append(raw_outputs(fit_bank([plan], data)[0], data))
    assert torch.equal(*outputs)
