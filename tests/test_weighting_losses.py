"""Weightings that read losses, or gradients themselves: mathematics and oracles."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from torch.testing import assert_close
from torchjd import aggregation

from skmtl.architecture import BankShape
from skmtl.weighting import (
    DBMTL,
    DWA,
    FAMO,
    ExcessRisk,
    GeometricMean,
    GradDrop,
    MoCo,
    RandomWeighting,
    SmoothTchebycheff,
)
from skmtl.weighting._simplex import on_simplex

seeds = st.integers(0, 999)
FROM_LOSSES = [DWA(), RandomWeighting(), GeometricMean(), SmoothTchebycheff(), FAMO()]
FROM_JACOBIANS = [
    GradDrop(),
    GradDrop(leak=0.5, gradients="parameters"),
    MoCo(),
    DBMTL(),
    DBMTL(beta=0.0),
    ExcessRisk(step_size=0.5, n_warmup=2),
]
N_SHARED = 12


@pytest.fixture(scope="session")
def build(make_streams):
    """Build the module of a method, with streams by network."""

    def build(method, n_networks, n_tasks, keys=None, dtype=torch.float64):
        streams = make_streams(*(range(n_networks) if keys is None else keys))
        streams.n_rows = None
        shape = BankShape((3,) * n_networks, n_tasks, n_tasks, dtype=dtype)
        module = clone(method).check().build(shape, streams)
        module.streams = streams
        if module.needs == "jacobian":
            module.prepare(N_SHARED)
        module.reset()
        return module

    return build


def drawn(*size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64)


def all_of(losses):
    return torch.ones(losses.shape[:2], dtype=torch.bool)


def run(module, batches, present=None):
    """Show a module some batches of losses (or jacobians), and give what it says."""
    found = []
    for i, batch in enumerate(batches):
        here = all_of(batch) if present is None else present[i]
        if module.needs == "losses":
            found.append(module.weights(batch, None, here))
            module.on_step_end(0.9 * batch**1.1 * here)
            module.on_epoch_end(batch)
        else:
            losses = batch.square().sum(-1)
            gradient, weights = module.combine(batch, losses, here)
            found.append(torch.cat([gradient, weights], dim=-1))
    return torch.stack(found)


def batches_for(method, n_networks, n_tasks, seed=0, n=4):
    size = (n, n_networks, n_tasks)
    if method in FROM_JACOBIANS:
        return drawn(*size, N_SHARED, seed=seed)
    return drawn(*size, seed=seed).exp()


# -- theorems ----------------------------------------------------------------------


@pytest.mark.parametrize("method", FROM_LOSSES + FROM_JACOBIANS, ids=repr)
@given(seed=seeds, order=st.permutations(range(4)))
def test_permuting_tasks_permutes_weights(method, seed, order, build):
    if isinstance(method, RandomWeighting):
        return  # draws by position
    batches = batches_for(method, 2, 4, seed)
    before = run(build(method, 2, 4), batches)
    after = run(build(method, 2, 4), batches[:, :, order])
    gradient, weights = before[..., :-4], before[..., -4:]
    expected = torch.cat([gradient, weights[..., order]], dim=-1)
    assert_close(after, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize(
    "method", [DWA(), GeometricMean(), FAMO(), MoCo(), ExcessRisk(0.5, 2)], ids=repr
)
def test_the_scale_of_all_losses_does_not_matter(method, scale, dtype, build):
    method = clone(method)
    kind = FROM_LOSSES if build(method, 1, 1).needs == "losses" else FROM_JACOBIANS
    batches = batches_for(kind[0], 3, 4).to(dtype)
    once = run(build(method, 3, 4, dtype=dtype), batches)[..., -4:]
    scaled = run(build(method, 3, 4, dtype=dtype), batches * scale)[..., -4:]
    tolerance = 1e-9 if dtype == torch.float64 else 1e-3
    assert_close(scaled, once, rtol=tolerance, atol=tolerance)
    assert (once[-1].std(-1) > 1e-3).all()


@pytest.mark.parametrize("scale", [1e-2, 1e-6])
def test_logarithms_do_not_know_the_scale_of_a_task(scale, build):
    """A factor on one loss, and so on its gradient, is taken out of its weight."""
    jacobian, losses = drawn(3, 2, 3, N_SHARED), drawn(2, 3).exp()
    factor = torch.tensor([1.0, scale, 1.0]).double()
    found = []
    for f in (torch.ones(3).double(), factor):
        module = build(DBMTL(), 2, 3)
        for rows in jacobian:
            gradient, weights = module.combine(
                rows * f[:, None], losses * f, all_of(losses)
            )
        found.append((torch.nn.functional.normalize(gradient), weights * f))
    assert_close(found[0][0], found[1][0])
    ratio = found[1][1] / found[0][1]
    assert_close(ratio, ratio[:, :1].expand(-1, 3))


@pytest.mark.parametrize("method", FROM_LOSSES, ids=repr)
def test_absent_tasks_have_no_weight_and_no_say(method, build):
    losses = drawn(2, 4).exp()
    losses[:, 2] = 0.0
    present = torch.tensor([[True, True, False, True]] * 2)
    whole = run(build(method, 2, 4), [losses], [present])[0]
    assert (whole[:, 2] == 0).all()
    if not isinstance(method, RandomWeighting):
        part = run(build(method, 2, 3), [losses[:, [0, 1, 3]]])[0]
        scaled = [w / w.sum(-1, keepdim=True) for w in (whole[:, [0, 1, 3]], part)]
        assert_close(*scaled)


@pytest.mark.parametrize("method", FROM_JACOBIANS, ids=repr)
def test_tasks_never_seen_do_not_change_the_direction(method, build):
    if isinstance(method, GradDrop):
        method = clone(method).set_params(leak=1.0)  # draws aside
    batches = drawn(3, 2, 4, N_SHARED)
    batches[:, :, 2] = 0.0
    present = torch.tensor([[True, True, False, True]] * 2).expand(3, -1, -1)
    whole = run(build(method, 2, 4), batches, present)[..., :N_SHARED]
    part = run(build(method, 2, 3), batches[:, :, [0, 1, 3]])[..., :N_SHARED]
    normalize = torch.nn.functional.normalize
    assert_close(normalize(whole, dim=-1), normalize(part, dim=-1))


@pytest.mark.parametrize("method", FROM_LOSSES + FROM_JACOBIANS, ids=repr)
def test_one_task_is_plain_training(method, build):
    batches = batches_for(method, 2, 1).abs()
    found = run(build(method, 2, 1), batches)
    if method in FROM_LOSSES:
        assert (found > 0).all()
    elif not isinstance(method, (MoCo, DBMTL)):  # they average over batches
        assert_close(found[..., :N_SHARED], batches[:, :, 0])
    else:
        first = torch.nn.functional.normalize(batches[0, :, 0])
        assert_close(torch.nn.functional.normalize(found[0, :, :N_SHARED]), first)


@pytest.mark.parametrize("method", FROM_LOSSES + FROM_JACOBIANS, ids=repr)
def test_degenerate_batches_have_finite_answers(method, build):
    one = batches_for(method, 2, 1)[0]
    cases = [[0 * one] * 3, [one, 0 * one, one], [one] * 3]
    if method in FROM_JACOBIANS:
        cases.append([one, -one, 0 * one])
    for rows in cases:
        module = build(method, 2, 3)
        found = run(module, [torch.cat(rows, dim=1)] * 5)
        assert found.isfinite().all()


@pytest.mark.parametrize("method", FROM_LOSSES + FROM_JACOBIANS, ids=repr)
def test_a_network_alone_is_weighed_as_in_a_bank(method, build):
    batches = batches_for(method, 3, 4)
    present = torch.rand(len(batches), 3, 4, generator=torch.Generator()) > 0.3
    present[:, :, 0] = True
    shown = [
        b * (p if b.ndim == 2 else p[..., None])
        for b, p in zip(batches, present, strict=True)
    ]
    together = run(build(method, 3, 4), shown, present)
    for k in range(3):
        alone = run(
            build(method, 1, 4, keys=[k]), [b[[k]] for b in shown], present[:, [k]]
        )
        assert_close(alone[:, 0], together[:, k])


@pytest.mark.parametrize("method", FROM_LOSSES + FROM_JACOBIANS, ids=repr)
def test_a_network_that_rests_stays_where_it_is(method, build):
    batches = batches_for(method, 2, 3, n=3)
    resting = build(method, 2, 3)
    found = []
    for i, batch in enumerate(batches):
        # The second network has no rows in the second batch.
        rests = i == 1
        resting.streams.n_rows = [4, 0 if rests else 4]
        present = all_of(batch)
        if rests:
            batch, present = batch.clone(), present.clone()
            batch[1], present[1] = 0.0, False
        if method in FROM_LOSSES:
            found.append(resting.weights(batch, None, present)[1])
            resting.on_step_end(0.9 * batch**1.1)
        else:
            losses = batch.square().sum(-1)
            found.append(torch.cat(resting.combine(batch, losses, present), -1)[1])
    steady = build(method, 1, 3, keys=[1])
    steady.streams.n_rows = [4]
    for i in (0, 2):
        batch = batches[i][[1]]
        if method in FROM_LOSSES:
            expected = steady.weights(batch, None, all_of(batch))
            steady.on_step_end(0.9 * batch**1.1)
        else:
            losses = batch.square().sum(-1)
            expected = torch.cat(steady.combine(batch, losses, all_of(batch)), -1)
        assert_close(found[i], expected[0])


@pytest.mark.parametrize("method", FROM_LOSSES + FROM_JACOBIANS, ids=repr)
def test_state_survives_copies_and_reset_forgets(method, build):
    batches = batches_for(method, 2, 3)
    module = build(method, 2, 3)
    run(module, batches)
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    if not isinstance(method, (RandomWeighting, GradDrop)):
        after = run(module, batches[:2])
        for copied in copies:
            assert_close(run(copied, batches[:2]), after)
        module.reset()
        assert_close(run(module, batches), run(build(method, 2, 3), batches))


# -- numbers by hand, and TorchJD --------------------------------------------------


def losses_of(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_dwa_by_hand(build):
    module = build(DWA(temperature=2.0), 1, 2)
    everything = all_of(losses_of([1, 1]))
    for losses in ([4.0, 2.0], [2.0, 2.0]):
        assert (module.weights(None, None, everything) == 1).all()
        module.on_epoch_end(losses_of(losses))
    # Ratios 1/2 and 1, over 2.
    expected = 2 * torch.softmax(losses_of([0.25, 0.5]), -1)
    assert_close(module.weights(None, None, everything), expected)


def test_random_weights_are_those_of_the_stream(build):
    module = build(RandomWeighting(), 3, 4, keys=[0, 1, 0])
    losses = torch.ones(3, 4).double()
    found = torch.stack(
        [module.weights(losses, None, all_of(losses)) for _ in range(9)]
    )
    assert_close(found.sum(-1), torch.ones(9, 3).double())
    assert torch.equal(found[:, 0], found[:, 2])
    assert (found[:, 0] != found[:, 1]).all()
    assert (found[0] != found[1]).all()


def test_random_weights_are_equal_in_the_mean(build):
    module = build(RandomWeighting(), 1, 3)
    losses = torch.ones(1, 3).double()
    found = torch.cat(
        [module.weights(losses, None, all_of(losses)) for _ in range(3000)]
    )
    assert_close(found.mean(0), torch.full((3,), 1 / 3).double(), atol=0.01, rtol=0)


def test_the_geometric_mean_is_differentiated(build):
    losses = drawn(2, 60).exp() * 1e-3
    leaf = losses.clone().requires_grad_()
    leaf.log().mean(-1).exp().sum().backward()
    weights = build(GeometricMean(), 2, 60).weights(losses, None, all_of(losses))
    expected = leaf.grad / leaf.grad.sum(-1, keepdim=True)
    assert_close(weights / weights.sum(-1, keepdim=True), expected)


def test_a_loss_of_zero_does_not_silence_the_others(build):
    losses = losses_of([1.0, 0.0, 0.5])
    weights = build(GeometricMean(), 1, 3).weights(losses, None, all_of(losses))
    assert_close(weights, losses_of([1.0, 1e6, 2.0]))


def test_the_smooth_maximum_is_differentiated_as_by_torchjd(build):
    losses = drawn(2, 4).exp()
    for mu in (0.1, 1.0, 10.0):
        weights = build(SmoothTchebycheff(mu), 2, 4).weights(
            losses, None, all_of(losses)
        )
        # Its preferences of 1 / n_tasks stand beside our mu.
        oracle = pytest.importorskip("torchjd.scalarization").STCH(mu=mu / 4)
        for k in range(2):
            leaf = losses[k].clone().requires_grad_()
            oracle(leaf).backward()
            assert_close(weights[k], leaf.grad / leaf.grad.sum())


def test_famo_moves_as_torchjd(build):
    oracle = pytest.importorskip("torchjd.scalarization").FAMO((3,), lr=0.05)
    module = build(FAMO(lr=0.05), 1, 3)
    for seed in range(6):
        losses, after = drawn(2, 1, 3, seed=seed).exp()
        weights = module.weights(losses, None, all_of(losses))[0]
        leaf = losses[0].clone().requires_grad_()
        oracle(leaf).backward()
        assert_close(
            weights / weights.sum(), leaf.grad / leaf.grad.sum(), rtol=1e-4, atol=0
        )
        module.on_step_end(after)
        oracle.update(after[0])


def test_famo_raises_what_falls_slowly(build):
    module = build(FAMO(), 1, 2)
    losses = losses_of([1.0, 1.0])
    for _ in range(20):
        module.weights(losses, None, all_of(losses))
        module.on_step_end(losses_of([0.5, 0.99]))
    weights = module.weights(losses, None, all_of(losses))[0]
    assert weights[1] > 1.5 * weights[0]


def test_signs_are_dropped_as_by_torchjd(build, monkeypatch):
    jacobian = drawn(2, 4, N_SHARED)
    uniform = torch.rand(2, N_SHARED, generator=torch.Generator()).double()
    module = build(GradDrop(gradients="parameters"), 2, 4)
    monkeypatch.setattr(module, "_uniform", lambda like: uniform)
    gradient, weights = module.combine(jacobian, None, all_of(jacobian))
    assert_close(weights.sum(-1), torch.full((2,), 4.0).double())
    oracle = aggregation.GradDrop()
    normalize = torch.nn.functional.normalize
    for k in range(2):
        monkeypatch.setattr(
            torch, "rand", lambda *args, k=k, **kwargs: uniform[k].clone()
        )
        expected = oracle(jacobian[k])
        assert_close(normalize(gradient[k], dim=0), normalize(expected, dim=0))


def test_dropped_signs_by_hand(build, monkeypatch):
    # Shares of 3/4 and 1/4 positive; both coordinates draw 1/2.
    jacobian = torch.tensor([[[3.0, 1.0], [-1.0, -3.0]]]).double()
    for leak, expected in ((0.0, [3.0, -3.0]), (0.5, [2.5, -2.5]), (1.0, [2.0, -2.0])):
        module = build(GradDrop(leak, gradients="parameters"), 1, 2)
        half = torch.full((1, 2), 0.5).double()
        monkeypatch.setattr(module, "_uniform", lambda like, half=half: half)
        gradient, weights = module.combine(jacobian, None, all_of(jacobian))
        assert_close(weights, torch.ones(1, 2).double())
        kept = 0.75 + 0.25 * leak
        assert_close(gradient, losses_of(expected) / kept)


def test_padded_rows_do_not_change_the_draws(build):
    """At the features a network draws for its own rows, whatever the bank's."""
    jacobian = drawn(2, 3, N_SHARED)
    jacobian[0, :, 6:] = 0.0  # three rows of two features, padded to six
    module = build(GradDrop(), 2, 3)
    module.streams.n_rows = [3, 6]
    both, _ = module.combine(jacobian, None, all_of(jacobian))
    alone = build(GradDrop(), 1, 3, keys=[0])
    alone.streams.n_rows = [3]
    one, _ = alone.combine(jacobian[[0], :, :6], None, all_of(jacobian[[0]]))
    assert_close(one[0], both[0, :6])


def test_moco_by_hand(build):
    module = build(
        MoCo(beta=0.5, beta_decay=0, gamma=0.1, gamma_decay=0, rho=0.2), 1, 2
    )
    first = torch.zeros(1, 2, N_SHARED).double()
    first[0, 0, 0], first[0, 1, 1] = 2.0, 1.0
    gradient, weights = module.combine(first, None, all_of(first))
    # Y Y^T = diag(4, 1), of mean 2.5; slopes 0.9 and 0.3 at equal weights of 1/2.
    moved = np.array([0.5 - 0.1 * (0.8 + 0.1), 0.5 - 0.1 * (0.2 + 0.1)])
    moved += (1 - moved.sum()) / 2
    np.testing.assert_allclose(weights[0] / 2, moved)
    np.testing.assert_allclose(gradient[0, :2], [2 * weights[0, 0], weights[0, 1]])
    module.combine(torch.zeros_like(first), None, all_of(first))
    assert_close(module.tracked_[0, 0, 0].item(), 1.0)


def test_moco_finds_the_shortest_combination(build):
    jacobian = torch.diag_embed(torch.tensor([[2.0, 1.0]])).double()
    jacobian = torch.nn.functional.pad(jacobian, (0, N_SHARED - 2))
    module = build(MoCo(gamma=0.2, gamma_decay=0), 1, 2)
    for _ in range(200):
        _, weights = module.combine(jacobian, None, all_of(jacobian))
    assert_close(weights, losses_of([0.4, 1.6]), rtol=0, atol=1e-3)


def test_dbmtl_by_hand(build):
    jacobian = torch.zeros(1, 2, N_SHARED).double()
    jacobian[0, 0, 0], jacobian[0, 1, 1] = 3.0, 0.5
    losses = losses_of([3.0, 0.25])
    gradient, _ = build(DBMTL(beta=0.9), 1, 2).combine(jacobian, losses, all_of(losses))
    # Of logarithms: 1 and 2; both of norm 2, times the mean loss.
    expected = 2.0 * (3.25 / 2)
    np.testing.assert_allclose(gradient[0, :2], [expected, expected])


def test_excess_risk_by_hand(build):
    module = build(ExcessRisk(step_size=0.5, n_warmup=1), 1, 2)
    first = torch.zeros(1, 2, N_SHARED).double()
    first[0, 0, 0], first[0, 1, 0] = 3.0, 30.0
    _, weights = module.combine(first, None, all_of(first))
    # In the warm-up all weights are one; risks 3 and 30 are the units.
    assert_close(weights, losses_of([1.0, 1.0]))
    second = first.clone()
    second[0, 0, 0], second[0, 1, 0] = 4.0, 0.0
    _, weights = module.combine(second, None, all_of(second))
    # Squares 9 + 16: risk 16 / 5 of the first, in units of 3; none of the second.
    ratio = np.exp(0.5 * 16 / 5 / 3)
    np.testing.assert_allclose(weights[0], 2 * np.array([ratio, 1]) / (1 + ratio))


def test_noise_does_not_count_as_excess_risk(build):
    """Gradients of noise shrink the risk of a task below that of one that learns."""
    module = build(ExcessRisk(step_size=0.1, n_warmup=5), 1, 2)
    generator = torch.Generator().manual_seed(0)
    for step in range(60):
        jacobian = torch.randn(1, 2, N_SHARED, generator=generator).double()
        jacobian[0, 0] = 1.0 + 0.02 * step  # keeps pulling
        _, weights = module.combine(jacobian, None, all_of(jacobian))
    assert weights[0, 0] > 1.1 * weights[0, 1]


@given(seed=seeds, n_tasks=st.integers(1, 6))
def test_projections_on_the_simplex(seed, n_tasks):
    points = 3 * drawn(4, n_tasks, seed=seed)
    counted = drawn(4, n_tasks, seed=seed + 1) > -0.5
    counted[:, 0] = True
    found = on_simplex(points, counted)
    assert_close(found.sum(-1), torch.ones(4).double())
    assert (found >= 0).all()
    assert (found[~counted] == 0).all()
    # The way back to the point is normal to the simplex at its foot.
    gap = torch.where(counted, points - found, -torch.inf)
    level = (gap * found).nan_to_num(0.0, neginf=0.0).sum(-1, keepdim=True)
    assert (gap <= level + 1e-9).all()
