"""AdamW and clipping, network by network."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skmtl._bank import RowsBank
from skmtl._net._optimizer import BankAdamW, clip_by_network

BETAS = (0.9, 0.999)
rates = st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=4)


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def make_bank(lrs, decays, dtype=torch.float64):
    """Two groups as in training: weights that decay, and biases that do not."""
    n = len(lrs)
    weight = torch.nn.Parameter(normal(n, 3, 2, seed=1, dtype=dtype))
    bias = torch.nn.Parameter(normal(n, 1, 2, seed=2, dtype=dtype))
    optimizer = BankAdamW(
        [{"params": [weight]}, {"params": [bias], "decay": False}],
        torch.tensor(lrs, dtype=torch.float64),
        torch.tensor(decays, dtype=torch.float64),
    )
    return weight, bias, optimizer


def make_alone(weight, bias, k, lr, decay):
    """The same network under torch's own AdamW."""
    weight, bias = (torch.nn.Parameter(p[k].detach().clone()) for p in (weight, bias))
    optimizer = torch.optim.AdamW(
        [
            {"params": [weight], "weight_decay": decay},
            {"params": [bias], "weight_decay": 0.0},
        ],
        lr=lr,
        betas=BETAS,
    )
    return weight, bias, optimizer


def set_gradients(parameters, step):
    for i, parameter in enumerate(parameters):
        parameter.grad = normal(
            *parameter.shape, seed=100 * step + i, dtype=parameter.dtype
        )


def state_of(optimizer, parameter, k):
    state = optimizer.state[parameter]
    return [parameter[k].detach().clone()] + [
        state[name][k].clone() for name in ("exp_avg", "exp_avg_sq")
    ]


# -- AdamW -----------------------------------------------------------------------


@given(rates, st.floats(0, 1), st.booleans())
def test_every_network_steps_as_under_torch_adamw(lrs, decay, same_decay):
    decays = [decay if same_decay else decay / (k + 1) for k in range(len(lrs))]
    weight, bias, optimizer = make_bank(lrs, decays)
    alone = [make_alone(weight, bias, k, lrs[k], decays[k]) for k in range(len(lrs))]
    for step in range(4):
        set_gradients([weight, bias], step)
        for k, (own_weight, own_bias, own) in enumerate(alone):
            own_weight.grad = weight.grad[k].clone()
            own_bias.grad = bias.grad[k].clone()
            own.step()
        optimizer.step()
    for k, (own_weight, own_bias, _) in enumerate(alone):
        torch.testing.assert_close(weight[k], own_weight, rtol=0, atol=1e-12)
        torch.testing.assert_close(bias[k], own_bias, rtol=0, atol=1e-12)


def test_biases_do_not_decay():
    weight, bias, optimizer = make_bank([0.1, 0.2], [0.5, 0.5])
    before = [p.detach().clone() for p in (weight, bias)]
    weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
    optimizer.step()
    assert torch.equal(bias, before[1])
    shrunk = before[0] * torch.tensor([0.95, 0.9]).double()[:, None, None]
    torch.testing.assert_close(weight.detach(), shrunk)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fused_kernel_equals_the_step_of_each(dtype, monkeypatch):
    alike = make_bank([0.1] * 3, [0.02] * 3, dtype)
    each = make_bank([0.1] * 3, [0.02] * 3, dtype)
    everyone = torch.ones(3, dtype=torch.bool)
    fused = []
    original = BankAdamW._step_alike
    monkeypatch.setattr(
        BankAdamW,
        "_step_alike",
        lambda self, *args: fused.append(self) or original(self, *args),
    )
    for step in range(5):
        set_gradients(alike[:2], step)
        set_gradients(each[:2], step)
        alike[2].step()
        each[2].step(active=everyone)
    assert set(map(id, fused)) == {id(alike[2])}
    for a, b in zip(alike[:2], each[:2], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("lrs", [[0.1] * 3, [0.1, 0.2, 0.3]], ids=["fused", "each"])
def test_the_layout_of_a_gradient_does_not_matter(lrs):
    plain, sliced = (make_bank(lrs, [0.02] * 3) for _ in range(2))
    for step in range(3):
        set_gradients(plain[:2], step)
        for a, b in zip(plain[:2], sliced[:2], strict=True):
            wide = torch.cat([a.grad.flatten(1), torch.ones(3, 4).double()], dim=1)
            b.grad = wide[:, :-4].view(b.shape)
            assert not b.grad.is_contiguous()
        plain[2].step()
        sliced[2].step()
    for a, b in zip(plain[:2], sliced[:2], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_kinds_of_step_may_alternate():
    mixed, each = (make_bank([0.1] * 2, [0.02] * 2) for _ in range(2))
    everyone = torch.ones(2, dtype=torch.bool)
    for step in range(6):
        set_gradients(mixed[:2], step)
        set_gradients(each[:2], step)
        mixed[2].step(active=None if step % 3 else everyone)
        each[2].step(active=everyone)
    for a, b in zip(mixed[:2], each[:2], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_a_resting_network_keeps_parameters_moments_and_steps():
    weight, bias, optimizer = make_bank([0.1, 0.2, 0.3], [0.1] * 3)
    set_gradients([weight, bias], 0)
    optimizer.step()
    before = state_of(optimizer, weight, 1), state_of(optimizer, bias, 1)
    moved = weight[0].detach().clone()
    set_gradients([weight, bias], 1)
    optimizer.step(active=torch.tensor([True, False, True]))
    for parameter, old in zip((weight, bias), before, strict=True):
        for now, then in zip(state_of(optimizer, parameter, 1), old, strict=True):
            assert torch.equal(now, then)
    assert optimizer.n_steps.tolist() == [2, 1, 2]
    assert (weight[0] != moved).all()


@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_a_network_that_rests_equals_one_that_is_not_asked(pattern):
    weight, bias, optimizer = make_bank([0.1, 0.1], [0.1, 0.1])
    own_weight, own_bias, own = make_alone(weight, bias, 1, 0.1, 0.1)
    for step, steps in enumerate(pattern):
        set_gradients([weight, bias], step)
        if steps:
            own_weight.grad = weight.grad[1].clone()
            own_bias.grad = bias.grad[1].clone()
            own.step()
        optimizer.step(active=None if steps else torch.tensor([True, False]))
    torch.testing.assert_close(weight[1], own_weight, rtol=0, atol=1e-12)
    torch.testing.assert_close(bias[1], own_bias, rtol=0, atol=1e-12)


def test_a_resting_network_with_a_nan_gradient_stays_clean():
    weight, bias, optimizer = make_bank([0.1, 0.2], [0.1, 0.1])
    before = weight[1].detach().clone()
    set_gradients([weight, bias], 0)
    weight.grad[1] = torch.nan
    optimizer.step(active=torch.tensor([True, False]))
    assert torch.equal(weight[1], before)
    assert (optimizer.state[weight]["exp_avg"][1] == 0).all()


@pytest.mark.parametrize("lrs", [[0.1, 0.1], [0.1, 0.2]], ids=["fused", "each"])
def test_a_nan_gradient_stays_with_its_network(lrs):
    weight, bias, optimizer = make_bank(lrs, [0.1, 0.1])
    twins = make_bank(lrs, [0.1, 0.1])
    for step in range(2):
        for parameters, spoilt in ((weight, bias), True), (twins[:2], False):
            set_gradients(parameters, step)
            if spoilt:
                parameters[0].grad[0, 1, 1] = torch.nan
        optimizer.step()
        twins[2].step()
    assert weight[0].isnan().any()
    assert torch.equal(weight[1], twins[0][1])
    assert torch.equal(bias, twins[1])


def test_the_first_step_moves_by_the_learning_rate_against_the_sign():
    weight, bias, optimizer = make_bank([0.1, 0.03], [0.0, 0.0])
    before = weight.detach().clone()
    set_gradients([weight, bias], 0)
    optimizer.step()
    moved = (weight - before).detach()
    expected = -weight.grad.sign() * torch.tensor([0.1, 0.03]).double()[:, None, None]
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=0)


# -- schedules -------------------------------------------------------------------


@pytest.mark.parametrize("lrs", [[0.1, 0.1], [0.1, 0.2]], ids=["fused", "each"])
def test_a_scheduler_of_torch_multiplies_every_rate(lrs):
    weight, bias, optimizer = make_bank(lrs, [0.1, 0.1])
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    alone = [make_alone(weight, bias, k, lrs[k], 0.1) for k in range(2)]
    own_schedulers = [
        torch.optim.lr_scheduler.ExponentialLR(own, 0.5) for *_, own in alone
    ]
    for step in range(4):
        set_gradients([weight, bias], step)
        for k, (own_weight, own_bias, own) in enumerate(alone):
            own_weight.grad = weight.grad[k].clone()
            own_bias.grad = bias.grad[k].clone()
            own.step()
            own_schedulers[k].step()
        optimizer.step()
        scheduler.step()
    for k, (own_weight, own_bias, _) in enumerate(alone):
        torch.testing.assert_close(weight[k], own_weight, rtol=0, atol=1e-12)
        torch.testing.assert_close(bias[k], own_bias, rtol=0, atol=1e-12)


def test_the_schedule_of_a_network_is_its_own():
    weight, bias, optimizer = make_bank([0.1, 0.1], [0.0, 0.0])
    before = weight.detach().clone()
    optimizer.schedule = np.array([1.0, 0.25])
    set_gradients([weight, bias], 0)
    optimizer.step()
    size = (weight - before).detach().abs().mean((1, 2))
    torch.testing.assert_close(
        size, torch.tensor([0.1, 0.025]).double(), rtol=1e-5, atol=0
    )


# -- taking networks -------------------------------------------------------------


@pytest.mark.parametrize(
    ("lrs", "index"),
    [([0.1] * 3, [2]), ([0.1, 0.2, 0.3], [2, 0]), ([0.1, 0.2, 0.2], [1, 2])],
    ids=["fused", "each", "becomes alike"],
)
def test_taken_networks_go_on_as_if_nothing_happened(lrs, index):
    weight, bias, optimizer = make_bank(lrs, [0.1] * 3)
    twins = make_bank(lrs, [0.1] * 3)
    for step in range(2):
        set_gradients([weight, bias], step)
        set_gradients(twins[:2], step)
        active = torch.tensor([True, True, step == 0])
        optimizer.step(active=active)
        twins[2].step(active=active)
    smaller = {p: torch.nn.Parameter(p[index].detach().clone()) for p in (weight, bias)}
    optimizer.take(smaller, np.array(index))
    assert optimizer.n_steps.tolist() == [[2, 2, 1][k] for k in index]
    assert set(optimizer.state) == set(smaller.values())
    for step in range(2, 4):
        set_gradients(twins[:2], step)
        for whole, part in zip(twins[:2], smaller.values(), strict=True):
            part.grad = whole.grad[index].clone()
        optimizer.step()
        twins[2].step()
    for whole, part in zip(twins[:2], smaller.values(), strict=True):
        torch.testing.assert_close(part, whole[index], rtol=0, atol=1e-12)


def test_schedulers_stay_attached_when_networks_leave():
    weight, bias, optimizer = make_bank([0.1, 0.2], [0.0, 0.0])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    smaller = {p: torch.nn.Parameter(p[[1]].detach().clone()) for p in (weight, bias)}
    optimizer.take(smaller, np.array([1]))
    before = smaller[weight].detach().clone()
    set_gradients(list(smaller.values()), 0)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    moved = (smaller[weight] - before).detach().abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.2), rtol=1e-5, atol=0)


# -- rows ------------------------------------------------------------------------


def make_rows(lrs=(0.1, 0.2), n_rows=5, speed=1.0):
    """Rows of two columns beside a dense parameter, as in training."""
    bank = RowsBank(len(lrs), n_rows, 2, speed=speed, dtype=torch.float64)
    bank.lazy = True
    bank.dense = torch.nn.Parameter(torch.zeros(len(lrs), 1).double())
    optimizer = BankAdamW(
        [
            {"params": [bank.dense]},
            {"params": [bank.weight], "decay": False, "rows": bank},
        ],
        torch.tensor(lrs, dtype=torch.float64),
        torch.full((len(lrs),), 0.5, dtype=torch.float64),
    )
    return bank, optimizer


def step_rows(bank, optimizer, rows, slopes):
    """Step on a linear loss of the given rows (n_networks, n)."""
    bank.dense.grad = None
    loss = (bank(torch.tensor(rows)) * slopes).sum() + bank.dense.sum()
    loss.backward()
    optimizer.step()


def test_a_row_seen_once_moves_like_the_first_step_and_rests_afterwards():
    bank, optimizer = make_rows()
    for step in range(20):
        step_rows(bank, optimizer, [[1, 2], [1, 2]], normal(2, 2, 2, seed=step))
    assert (bank.weight[:, 3] == 0).all()
    slopes = normal(2, 2, 2, seed=20)
    step_rows(bank, optimizer, [[3, 2], [3, 2]], slopes)
    first = bank.weight[:, 3].detach().clone()
    size = first.square().mean(1).sqrt()
    torch.testing.assert_close(
        size, torch.tensor([0.1, 0.2]).double(), rtol=1e-6, atol=0
    )
    assert torch.equal(first.sign(), -slopes[:, 0].sign())
    for step in range(21, 60):
        step_rows(bank, optimizer, [[1, 2], [1, 2]], normal(2, 2, 2, seed=step))
    assert torch.equal(bank.weight[:, 3], first)


def test_speed_is_a_factor_on_the_rate_of_rows_and_of_nothing_else():
    ends = []
    for speed, lrs in ((4.0, (0.1, 0.2)), (1.0, (0.4, 0.8))):
        bank, optimizer = make_rows(lrs, speed=speed)
        for step in range(4):
            step_rows(bank, optimizer, [[1, 2], [1, 2]], normal(2, 2, 2, seed=step))
        ends.append([bank.weight, bank.dense])
    fast, plain = ends
    torch.testing.assert_close(fast[0], plain[0], rtol=1e-12, atol=0)
    assert (plain[1] < 2 * fast[1]).all()  # both negative, at a quarter of the rate
    assert copy.deepcopy(bank).speed == bank.speed


@pytest.mark.parametrize("lrs", [(0.1, 0.1), (0.1, 0.2)], ids=["alike", "own"])
@given(
    schedule=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8
    )
)
def test_each_row_steps_as_if_it_were_alone(lrs, schedule):
    """What a row remembers advances when its task is present and only then."""
    bank, optimizer = make_rows(lrs)
    alone = {}
    for step, tasks in enumerate(schedule):
        slopes = normal(2, 1, 2, seed=step)
        step_rows(bank, optimizer, [[task] for task in tasks], slopes)
        for k, task in enumerate(tasks):
            if (k, task) not in alone:
                alone[k, task] = make_rows(lrs[k : k + 1], 1)
            step_rows(*alone[k, task], [[0]], slopes[[k]])
    expected = torch.zeros_like(bank.weight)
    for (k, task), (own, _) in alone.items():
        expected[k, task] = own.weight[0, 0].detach()
    torch.testing.assert_close(bank.weight.detach(), expected, rtol=0, atol=1e-12)


def test_rows_of_one_task_step_once_by_their_sum():
    (bank, optimizer), (single, single_optimizer) = make_rows(), make_rows()
    for step in range(3):
        slopes = normal(2, 3, 2, seed=step)
        step_rows(bank, optimizer, [[1, 3, 1], [0, 0, 0]], slopes)
        first = torch.stack([slopes[0, [0, 2]].sum(0), slopes[1].sum(0)])
        other = torch.stack([slopes[0, 1], torch.zeros(2).double()])
        each = torch.stack([first, other], dim=1)
        step_rows(single, single_optimizer, [[1, 3], [0, 4]], each)
    torch.testing.assert_close(bank.weight, single.weight, rtol=0, atol=1e-12)


def test_rows_do_not_decay():
    bank, optimizer = make_rows()
    bank.weight.data[:, 1] = 1.0
    for _ in range(3):
        step_rows(bank, optimizer, [[1], [1]], torch.zeros(2, 1, 2).double())
    assert torch.equal(bank.weight[:, 1], torch.ones(2, 2).double())


def test_rows_descend():
    bank, optimizer = make_rows((0.02, 0.02))
    target = normal(2, 3, 2, seed=1)
    for _ in range(400):
        bank.dense.grad = None
        error = bank(torch.tensor([[0, 1, 2]] * 2)) - target
        (error.square().sum() + bank.dense.sum()).backward()
        optimizer.step()
    torch.testing.assert_close(bank.weight[:, :3].detach(), target, rtol=0, atol=0.1)


def test_rows_follow_a_scheduler():
    bank, optimizer = make_rows()
    for group in optimizer.param_groups:
        group["lr"] = 0.5
    step_rows(bank, optimizer, [[0], [0]], normal(2, 1, 2))
    size = bank.weight[:, 0].detach().square().mean(1).sqrt()
    torch.testing.assert_close(
        size, torch.tensor([0.05, 0.1]).double(), rtol=1e-6, atol=0
    )


def test_a_nan_in_a_row_stays_with_its_network():
    bank, optimizer = make_rows()
    slopes = normal(2, 2, 2)
    slopes[0] = torch.nan
    step_rows(bank, optimizer, [[0, 1], [0, 1]], slopes)
    assert bank.weight[0, :2].isnan().all()
    assert bank.weight[1].isfinite().all()
    assert (bank.weight[1, :2] != 0).all()


def test_rows_of_taken_networks_go_on_with_their_own_memory():
    (bank, optimizer), (twin, twin_optimizer) = make_rows(), make_rows()
    for step in range(2):
        slopes = normal(2, 1, 2, seed=step)
        step_rows(bank, optimizer, [[0], [3]], slopes)
        step_rows(twin, twin_optimizer, [[0], [3]], slopes)
    smaller, _ = make_rows((0.2,))
    smaller.weight.data = bank.weight.data[[1]].clone()
    smaller.dense.data = bank.dense.data[[1]].clone()
    optimizer.take(
        {bank.weight: smaller.weight, bank.dense: smaller.dense}, np.array([1])
    )
    (group,) = [g for g in optimizer.param_groups if g["rows"] is not None]
    group["rows"] = smaller
    slopes = normal(2, 2, 2, seed=9)
    step_rows(smaller, optimizer, [[3, 2]], slopes[[1]])
    step_rows(twin, twin_optimizer, [[3, 2]] * 2, slopes)
    torch.testing.assert_close(smaller.weight[0], twin.weight[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("lrs", [[0.1, 0.1], [0.1, 0.2]], ids=["fused", "each"])
def test_parameters_without_a_gradient_rest(lrs):
    weight, bias, optimizer = make_bank(lrs, [0.1, 0.1])
    before = [p.detach().clone() for p in (weight, bias)]
    optimizer.step()
    assert torch.equal(weight, before[0])
    bias.grad = torch.ones_like(bias)
    optimizer.step()
    assert torch.equal(weight, before[0])
    assert (bias != before[1]).all()


# -- clipping --------------------------------------------------------------------


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=4),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_clipping_a_network_equals_torch_on_it_alone(limits, dtype):
    n = len(limits)
    parameters = [
        torch.nn.Parameter(torch.zeros(n, *s, dtype=dtype)) for s in ((3, 2), (1, 2))
    ]
    set_gradients(parameters, 0)
    raw = [p.grad.clone() for p in parameters]
    clip_by_network(parameters, torch.tensor(limits, dtype=dtype))
    for k, limit in enumerate(limits):
        own = [torch.nn.Parameter(torch.zeros_like(g[k])) for g in raw]
        for p, g in zip(own, raw, strict=True):
            p.grad = g[k].clone()
        torch.nn.utils.clip_grad_norm_(own, limit)
        for p, q in zip(parameters, own, strict=True):
            torch.testing.assert_close(p.grad[k], q.grad)


def test_clipped_gradients_have_the_limit_as_norm():
    parameter = torch.nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
    parameter.grad = torch.tensor([[3.0, 4.0], [0.3, 0.4]]).double()
    clip_by_network([parameter], torch.tensor([1.0, 1.0]).double())
    torch.testing.assert_close(
        parameter.grad, torch.tensor([[0.6, 0.8], [0.3, 0.4]]).double()
    )


def test_an_infinite_limit_changes_nothing():
    parameter = torch.nn.Parameter(torch.zeros(2, 3))
    parameter.grad = normal(2, 3, dtype=torch.float32) * 1e6
    before = parameter.grad.clone()
    clip_by_network([parameter], torch.tensor([torch.inf, torch.inf]))
    assert torch.equal(parameter.grad, before)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_clipping_keeps_a_nan_gradient_with_its_network(bad):
    parameters = [torch.nn.Parameter(torch.zeros(3, 2, 2)) for _ in range(2)]
    set_gradients(parameters, 0)
    clean = [p.grad.clone() for p in parameters]
    parameters[0].grad[1, 0, 0] = bad
    clip_by_network(parameters, torch.full((3,), 0.1))
    for p, before in zip(parameters, clean, strict=True):
        norm = torch.stack([c.flatten(1) for c in clean]).square().sum((0, 2)).sqrt()
        for k in (0, 2):
            torch.testing.assert_close(p.grad[k], before[k] * 0.1 / norm[k])


def test_parameters_without_a_gradient_are_passed_over():
    seen, unseen = (torch.nn.Parameter(torch.zeros(2, 3)) for _ in range(2))
    seen.grad = torch.ones(2, 3)
    clip_by_network([seen, unseen], torch.tensor([0.1, 0.1]))
    torch.testing.assert_close(seen.grad.norm(dim=1), torch.tensor([0.1, 0.1]))
    assert unseen.grad is None


# -- moments that fade -----------------------------------------------------------


@pytest.mark.parametrize("lrs", [[0.01, 0.01], [0.01, 0.1]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fading_moments_are_never_subnormal_and_move_nothing(lrs, dtype):
    weight, bias, optimizer = make_bank(lrs, [0.0, 0.0], dtype)
    alone = [make_alone(weight, bias, k, lr, 0.0) for k, lr in enumerate(lrs)]
    tiny = torch.finfo(dtype).tiny
    for step in range(600):
        set_gradients([weight, bias], step)
        weight.grad[:, 0] *= 1e20 * tiny * (step < 5)  # a unit that dies
        for k, (one, other, plain) in enumerate(alone):
            one.grad, other.grad = weight.grad[k].clone(), bias.grad[k].clone()
            plain.step()
        optimizer.step()
        first = optimizer.state[weight]["exp_avg"].abs()
        assert not ((first > 0) & (first < tiny)).any()
    assert (first[:, 0] == 0).all()
    for k, (one, other, _) in enumerate(alone):
        torch.testing.assert_close(weight[k], one, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(bias[k], other, rtol=1e-4, atol=1e-5)
