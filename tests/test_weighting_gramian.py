"""Weightings that read the Gramian: theorems over all of them, and oracles."""

import copy
import itertools
import pickle
import sys
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize, nnls
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from torchjd import aggregation
from torchjd.linalg import QuadprogProjector

from skmtl.architecture import BankShape
from skmtl.weighting import (
    MGDA,
    AlignedMTL,
    Auxiliary,
    CAGrad,
    FairGrad,
    GradNorm,
    GradVac,
    ImpartialGrad,
    NashMTL,
    PCGrad,
    TorchJD,
    UPGrad,
    _solvers,
)
from skmtl.weighting._orders import VisitingModule

seeds = st.integers(0, 999)
METHODS = [
    PCGrad(),
    GradVac(beta=0.3),
    GradNorm(),
    MGDA(),
    MGDA(normalization="l2"),
    MGDA(normalization="loss+"),
    CAGrad(c=0.5),
    CAGrad(c=1.5),
    ImpartialGrad(),
    NashMTL(),
    FairGrad(alpha=0.5),
    FairGrad(alpha=2.0),
    AlignedMTL(),
    AlignedMTL(scale="median"),
    AlignedMTL(scale="rmse"),
    UPGrad(),
    Auxiliary(main=0),
    TorchJD(aggregation.MGDAWeighting()),
]
# No task's loss rises to first order. Of those that may have negative weights, the
# impartial direction has equal gains of all tasks by definition.
UNCONFLICTING = [MGDA(), CAGrad(c=1.0), CAGrad(c=3.0), NashMTL(), UPGrad()] + [
    FairGrad(alpha=alpha) for alpha in (0.5, 1.0, 2.0, 8.0)
]
UNCONFLICTING += [MGDA(normalization=by) for by in ("l2", "loss", "loss+")]
over_methods = pytest.mark.parametrize("method", METHODS, ids=repr)


def jacobian_of(n_networks, n_tasks, n_shared=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_networks, n_tasks, n_shared)) + 0.2


@pytest.fixture(scope="session")
def build(make_streams):
    """Build the module of a method, with streams by network."""

    def build(method, n_networks, n_tasks, keys=None, names=None):
        streams = make_streams(*(range(n_networks) if keys is None else keys))
        shape = BankShape((3,) * n_networks, n_tasks, n_tasks, task_names=names)
        module = clone(method).check().build(shape, streams)
        module.streams = streams
        module.reset()
        return module

    return build


def ask(module, jacobian, present=None, losses=None, dtype=torch.float64):
    """Weights of a jacobian (n_networks, n_tasks, n_shared), in NumPy."""
    size = jacobian.shape[:2]
    present = np.ones(size, bool) if present is None else np.asarray(present)
    losses = np.ones(size) if losses is None else losses
    gramian = torch.from_numpy(jacobian).to(dtype)
    gramian = gramian @ gramian.mT
    weights = module.weights(
        torch.tensor(losses, dtype=dtype), gramian, torch.from_numpy(present)
    )
    assert weights.dtype == dtype
    return weights.double().numpy()


def direction(weights, jacobian):
    return (weights[:, None] @ jacobian)[:, 0]


def same_direction(ours, theirs, tolerance=1e-3):
    """Whether two arrays of vectors agree up to a positive factor a row."""
    ours = ours / np.linalg.norm(ours, axis=-1, keepdims=True)
    theirs = theirs / np.linalg.norm(theirs, axis=-1, keepdims=True)
    assert_allclose(ours, theirs, atol=tolerance)


def fix_keys(monkeypatch, keys):
    """Let tasks be visited in the order of the sizes of some numbers."""
    keys = np.asarray(keys)
    monkeypatch.setattr(VisitingModule, "keys", lambda self, networks: keys[networks])


# -- theorems, over all methods --------------------------------------------------


@over_methods
@given(seed=seeds, order=st.permutations(range(4)))
def test_permuting_tasks_permutes_weights(method, seed, order, build):
    jacobian = jacobian_of(3, 4, 5, seed)
    rng = np.random.default_rng(seed)
    losses = rng.uniform(0.5, 2, size=(3, 4))
    keys = rng.random((3, 4, 4))
    position = np.argsort(order)
    moved = clone(method)
    if isinstance(method, Auxiliary):
        moved.main = [int(position[0])]
    with pytest.MonkeyPatch.context() as monkeypatch:
        fix_keys(monkeypatch, keys)
        before = ask(build(method, 3, 4), jacobian, losses=losses)
        fix_keys(monkeypatch, keys[:, order][:, :, order])
        after = ask(build(moved, 3, 4), jacobian[:, order], losses=losses[:, order])
    assert_allclose(after, before[:, order], rtol=1e-5, atol=1e-6)


@over_methods
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e3, 1e-3, 1e-6])
def test_the_scale_of_all_losses_does_not_matter(method, scale, dtype, build):
    jacobian = jacobian_of(30, 4, 6)
    rng = np.random.default_rng(0)
    losses = rng.uniform(0.5, 2, size=(30, 4))
    once, scaled = (
        ask(build(method, 30, 4), jacobian * s, losses=losses * s, dtype=dtype)
        for s in (1.0, scale)
    )
    tolerance = 1e-7 if dtype == torch.float64 else 5e-3
    same_direction(direction(scaled, jacobian), direction(once, jacobian), tolerance)
    # Had the method fallen back on equal weights, that would be no feat.
    assert (np.ptp(once, axis=1) > 1e-3 * np.abs(once).max(1)).mean() > 0.5


@pytest.mark.parametrize("method", UNCONFLICTING, ids=repr)
@pytest.mark.parametrize("size", [(2, 3), (4, 4), (6, 4), (8, 20)])
def test_no_loss_rises_to_first_order(method, size, build):
    n_tasks, n_shared = size
    jacobian = jacobian_of(1000, n_tasks, n_shared)
    # Losses of other units: norms over two orders of magnitude.
    rng = np.random.default_rng(1)
    jacobian *= 10 ** rng.uniform(-1, 1, size=(1000, n_tasks, 1))
    weights = ask(build(method, 1000, n_tasks), jacobian)
    found = direction(weights, jacobian)
    gains = (jacobian @ found[..., None])[..., 0]
    # Where gradients cancel, what is left is rounding of their sizes.
    norms = np.linalg.norm(jacobian, axis=-1)
    sizes = norms * (weights * norms).sum(1, keepdims=True)
    assert (gains / sizes).min() > -1e-6
    plain = (jacobian @ jacobian.sum(1)[..., None])[..., 0]
    assert (plain.min(1) < 0).mean() > 0.02


def dependent(n_networks, n_tasks, rank, seed=0):
    """Gradients of fewer dimensions than tasks, or of tasks that come twice."""
    jacobian = jacobian_of(n_networks, n_tasks, rank, seed)
    jacobian[::2, n_tasks // 2 :] = jacobian[::2, : n_tasks - n_tasks // 2]
    return jacobian


@pytest.mark.parametrize("method", UNCONFLICTING, ids=repr)
@pytest.mark.parametrize("size", [(2, 1), (3, 2), (8, 1), (8, 4), (8, 30), (20, 10)])
def test_rounding_of_dependent_gradients_hurts_no_task(method, size, build):
    """In float32 their Gramian has negative eigenvalues, and no solver minds."""
    n_tasks, rank = size
    jacobian = dependent(100, n_tasks, rank)
    # Warnings are errors here: all solvers converge.
    weights = ask(build(method, 100, n_tasks), jacobian, dtype=torch.float32)
    norms = np.linalg.norm(jacobian, axis=-1)
    gains = (jacobian @ direction(weights, jacobian)[..., None])[..., 0]
    sizes = norms * (weights * norms).sum(1, keepdims=True)
    assert (gains / sizes).min() > -1e-5


@pytest.mark.parametrize("method", UNCONFLICTING, ids=repr)
def test_solvers_converge_from_batch_to_batch_of_many_tasks(method, build):
    """As row tasks are met: more of them than shared parameters, and ever others."""
    module = build(method, 2, 40)
    rng = np.random.default_rng(0)
    for batch in range(6):
        jacobian = jacobian_of(2, 40, 15 + 5 * batch, batch)
        jacobian *= 10 ** rng.uniform(-1.5, 1, size=(2, 40, 1))
        present = rng.random((2, 40)) < 0.8
        jacobian *= present[..., None]
        # Warnings are errors here.
        weights = ask(module, jacobian, present, dtype=torch.float32)
        norms = np.linalg.norm(jacobian, axis=-1)
        gains = (jacobian @ direction(weights, jacobian)[..., None])[..., 0]
        sizes = norms * (weights * norms).sum(1, keepdims=True)
        assert (gains[present] / sizes[present]).min() > -2e-5


@over_methods
def test_dependent_gradients_are_combined_alike_in_both_precisions(method, build):
    jacobian = dependent(50, 5, 3)
    # Tasks that agree mostly, or some directions would be all but zero.
    jacobian[..., 0] += 3.0
    unit = jacobian / np.linalg.norm(jacobian, axis=-1, keepdims=True)
    # A dimension that float32 can tell from rounding.
    apart = np.linalg.svd(unit, compute_uv=False)[:, 2] ** 2 > 1e-4
    assert apart.mean() > 0.9
    rng = np.random.default_rng(0)
    losses, keys = rng.uniform(0.5, 2, size=(50, 5)), rng.random((50, 5, 5))
    with pytest.MonkeyPatch.context() as monkeypatch:
        fix_keys(monkeypatch, keys)
        single, double = (
            ask(build(method, 50, 5), jacobian, losses=losses, dtype=dtype)
            for dtype in (torch.float32, torch.float64)
        )
    found = direction(single, jacobian), direction(double, jacobian)
    same_direction(found[0][apart], found[1][apart], 1e-3)
    # No weight blows up along what is no direction at all.
    assert np.abs(single).max() < 10 * np.abs(double).max()


@over_methods
@given(seed=seeds)
def test_absent_tasks_have_no_weight_and_no_say(method, seed, build):
    jacobian = jacobian_of(2, 4, 5, seed)
    jacobian[:, 2] = 0
    rng = np.random.default_rng(seed)
    losses = rng.uniform(0.5, 2, size=(2, 4))
    here = [0, 1, 3]
    present = np.array([[True, True, False, True]] * 2)
    keys = rng.random((2, 4, 4))
    with pytest.MonkeyPatch.context() as monkeypatch:
        fix_keys(monkeypatch, keys)
        whole = ask(build(method, 2, 4), jacobian, present, losses)
        # Here each network lacks another task, and no task is left out for both.
        lacks = jacobian.copy()
        lacks[1] = jacobian[1, [0, 2, 1, 3]]
        mixed = ask(build(method, 2, 4), lacks, [present[0], present[1, [0, 2, 1, 3]]])
        fix_keys(monkeypatch, keys[:, here][:, :, here])
        part = ask(build(method, 2, 3), jacobian[:, here], losses=losses[:, here])
    assert (whole[:, 2] == 0).all()
    found = direction(whole, jacobian), direction(part, jacobian[:, here])
    same_direction(*found, 1e-5)
    assert mixed[0, 2] == mixed[1, 1] == 0


@over_methods
def test_one_task_is_plain_training(method, build):
    weights = ask(build(method, 3, 1), jacobian_of(3, 1))
    assert (weights > 0).all()


@over_methods
def test_degenerate_gradients_have_finite_weights(method, build):
    one = jacobian_of(1, 1, seed=3)
    zero = np.zeros_like(one)
    cases = {
        "zero": [zero, zero, zero],
        "one zero": [one, zero, 2 * one],
        "identical": [one, one, one],
        "opposite": [one, -one, zero],
        "opposite of another size": [one, -3 * one, jacobian_of(1, 1, seed=4)],
        "proportional": [one, 1e-5 * one, 1e5 * one],
    }
    for name, rows in cases.items():
        jacobian = np.concatenate(rows, axis=1)
        weights = ask(build(method, 1, 3), jacobian)
        assert np.isfinite(weights).all(), name
        if name in ("zero", "identical") and not isinstance(method, TorchJD):
            assert_allclose(weights, weights.mean(), rtol=1e-5, err_msg=name)
        if name == "identical":
            same_direction(direction(weights, jacobian), one[:, 0])


@over_methods
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_task_that_has_nothing_to_learn_does_not_stop_the_others(
    method, dtype, build
):
    if isinstance(method, MGDA) or "MGDA" in repr(method):
        pytest.skip("it does by definition: no combination is shorter than zero")
    if isinstance(method, GradNorm):
        pytest.skip("it raises the weights of small gradients, a bit a step")
    jacobian = jacobian_of(20, 4)
    jacobian[:, 2] = 0
    weights = ask(build(method, 20, 4), jacobian, dtype=dtype)
    assert (weights[:, 2] < 0.5 * np.abs(weights).sum(1)).all()


@over_methods
def test_gradients_that_are_no_numbers_stay_in_their_network(method, build):
    jacobian = jacobian_of(3, 4)
    clean = ask(build(method, 3, 4), jacobian)
    for value in (np.nan, np.inf):
        spoilt = jacobian.copy()
        spoilt[1, 2, 0] = value
        weights = ask(build(method, 3, 4), spoilt)
        assert_allclose(weights[[0, 2]], clean[[0, 2]], rtol=1e-12)
        assert np.isnan(weights[1]).all()


@over_methods
def test_a_network_alone_is_weighed_as_in_a_bank(method, build):
    jacobian = jacobian_of(4, 5, seed=5)
    batches = [jacobian + 0.3 * jacobian_of(4, 5, seed=s) for s in range(4)]
    bank = build(method, 4, 5)
    together = [ask(bank, batch) for batch in batches]
    for k in range(4):
        alone = build(method, 1, 5, keys=[k])
        for batch, both in zip(batches, together, strict=True):
            assert_allclose(ask(alone, batch[[k]])[0], both[k], rtol=1e-7, atol=1e-9)


@over_methods
def test_where_a_solver_starts_does_not_matter(method, build):
    """Warm starts save time alone; methods with a memory go on from it."""
    if isinstance(method, (PCGrad, GradVac, GradNorm)):
        pytest.skip("draws, or has a memory")
    warm = build(method, 20, 5)
    for seed in range(3):
        ask(warm, jacobian_of(20, 5, 4, seed))
    jacobian = jacobian_of(20, 5, 4, seed=9)
    cold = ask(build(method, 20, 5), jacobian)
    same_direction(
        direction(ask(warm, jacobian), jacobian), direction(cold, jacobian), 1e-6
    )


@over_methods
def test_weights_survive_copies_and_reset_forgets(method, build):
    first, second = jacobian_of(2, 3, seed=1), jacobian_of(2, 3, seed=2)
    module = build(method, 2, 3)
    before = ask(module, first)
    copies = [copy.deepcopy(module)]
    if not isinstance(method, TorchJD):
        copies.append(pickle.loads(pickle.dumps(module)))
    with pytest.MonkeyPatch.context() as monkeypatch:
        fix_keys(monkeypatch, np.random.default_rng(0).random((2, 3, 3)))
        after = ask(module, second)
        for copied in copies:
            copied.streams = module.streams
            assert_allclose(ask(copied, second), after, rtol=1e-12)
        module.reset()
        fresh = build(method, 2, 3)
        assert_allclose(ask(module, first), ask(fresh, first), rtol=1e-7)
    assert before.shape == (2, 3)


@over_methods
def test_weights_are_held_when_nothing_is_asked(method, build):
    module = build(clone(method).set_params(update_every=2), 2, 3)
    jacobian = jacobian_of(2, 3)
    weights = ask(module, jacobian)
    losses, present = torch.ones(2, 3).double(), torch.tensor([[True, True, False]] * 2)
    held = module.weights(losses, None, present).numpy()
    assert_allclose(held, weights * [1, 1, 0])
    module.due = np.array([False, True])
    mixed = ask(module, jacobian_of(2, 3, seed=7))
    assert_allclose(mixed[0], weights[0])
    assert (mixed[1] != weights[1]).any() or isinstance(method, Auxiliary)


# -- limits in which two methods coincide ----------------------------------------


@given(seed=seeds, n_tasks=st.integers(1, 6))
def test_limits(seed, n_tasks, build):
    jacobian = jacobian_of(3, n_tasks, 4, seed)

    def found(method):
        return direction(ask(build(method, 3, n_tasks), jacobian), jacobian)

    mean = jacobian.mean(1)
    same_direction(found(FairGrad(alpha=0.0)), mean, 1e-9)
    same_direction(found(CAGrad(c=0.0)), mean, 1e-9)
    same_direction(found(FairGrad(alpha=1.0)), found(NashMTL()), 1e-9)
    everything = Auxiliary(main=list(range(n_tasks)))
    same_direction(found(everything), mean, 1e-9)


@given(seed=seeds)
def test_large_radii_approach_the_shortest_combination(seed, build):
    jacobian = jacobian_of(3, 3, 5, seed)
    shortest = direction(ask(build(MGDA(), 3, 3), jacobian), jacobian)
    wide = direction(ask(build(CAGrad(c=1e4), 3, 3), jacobian), jacobian)
    same_direction(wide, shortest, 1e-3)


@given(seed=seeds)
def test_strict_fairness_approaches_equal_gains(seed, build):
    """All tasks gain alike where positive weights can bring that about."""
    jacobian = jacobian_of(1, 3, 5, seed)
    gramian = jacobian[0] @ jacobian[0].T
    equal = np.linalg.solve(gramian, np.ones(3))
    if equal.min() < 0.05 * equal.max():
        return
    found = direction(ask(build(FairGrad(alpha=500.0), 1, 3), jacobian), jacobian)
    gains = jacobian[0] @ found[0]
    assert gains.min() > 0.97 * gains.max()


@given(seed=seeds)
def test_for_two_tasks_projections_are_the_same(seed, build):
    """PCGrad is UPGrad, and both are the sum of projections on the cone."""
    jacobian = jacobian_of(2, 2, 3, seed)
    one = direction(ask(build(PCGrad(), 2, 2), jacobian), jacobian)
    other = direction(ask(build(UPGrad(), 2, 2), jacobian), jacobian)
    assert_allclose(one, other, atol=1e-6)
    for k in range(2):
        rows = jacobian[k]
        projected = [g + rows.T @ nnls(rows.T, -g)[0] for g in rows]
        assert_allclose(one[k], sum(projected), atol=1e-7)


def test_orthogonal_gradients_are_all_balanced_alike(build):
    """By hand: norms 1, 2 and 4 on three axes."""
    jacobian = np.diag([1.0, 2.0, 4.0])[None]
    inverse = np.array([[1.0, 0.5, 0.25]])
    for method in (ImpartialGrad(), NashMTL(), AlignedMTL(), AlignedMTL("rmse")):
        weights = ask(build(method, 1, 3), jacobian)
        assert_allclose(weights / weights[:, :1], inverse, rtol=1e-6)
    weights = ask(build(MGDA(), 1, 3), jacobian)
    assert_allclose(weights, inverse**2 / (inverse**2).sum(), rtol=1e-6)
    # g w = w ** (-1 / 2) with g = 1, 4 and 16: w = g ** (-2 / 3).
    weights = ask(build(FairGrad(alpha=2.0), 1, 3), jacobian)
    assert_allclose(weights / weights[:, :1], inverse ** (4 / 3), rtol=1e-6)
    for method in (PCGrad(), UPGrad(), GradVac()):
        assert_allclose(ask(build(method, 1, 3), jacobian), 1.0)
    weights = ask(build(Auxiliary(main=1), 1, 3), jacobian)
    assert_allclose(weights, [[0, 1, 0]])


# -- numbers by hand ---------------------------------------------------------------


def test_projections_by_hand(build):
    # g1 = (1, 0) and g2 = (-1, 1): g1 becomes (1/2, 1/2), g2 becomes (0, 1).
    jacobian = np.array([[[1.0, 0.0], [-1.0, 1.0]]])
    for method in (PCGrad(), UPGrad()):
        weights = ask(build(method, 1, 2), jacobian)
        assert_allclose(weights, [[2.0, 1.5]], rtol=1e-6)
        assert_allclose(direction(weights, jacobian), [[0.5, 1.5]], rtol=1e-6)


def test_pcgrad_projects_in_turn_by_hand(build, monkeypatch):
    jacobian = np.array([[[1.0, 1.0], [-2.0, 0.0], [1.0, -2.0]]])
    fix_keys(monkeypatch, [[[0, 1, 2]] * 3])
    weights = ask(build(PCGrad(), 1, 3), jacobian)
    # g1: on g2, (0, 1); on g3, inner -2 over 5: (0, 1) + .4 (1, -2) = (.4, .2).
    # g2: on g1, inner -2 over 2: (-1, 1); on g3, inner -3 over 5: (-.4, -.2).
    # g3: on g1, inner -1 over 2: (1.5, -1.5); on g2, inner -3 over 4: (0, -1.5).
    assert_allclose(direction(weights, jacobian), [[0.0, -1.5]], atol=1e-12)


def test_mgda_by_hand(build):
    # The foot of the perpendicular on the line through (2, 0) and (0, 1).
    jacobian = np.array([[[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [3.0, 1.0]]])
    weights = ask(build(MGDA(), 2, 2), jacobian)
    assert_allclose(weights, [[0.2, 0.8], [1.0, 0.0]], atol=1e-8)
    assert_allclose(direction(weights, jacobian), [[0.4, 0.8], [1, 0]], atol=1e-8)


def test_mgda_of_divided_gradients_by_hand(build):
    # Norms and losses of 1, 2 and 4, on three axes: weights of the divided gradients go
    # as their inverse squares, and are divided once more.
    jacobian, losses = np.diag([1.0, 2.0, 4.0])[None], np.array([[1.0, 2.0, 4.0]])
    for normalization, expected in {
        "none": [1, 1 / 4, 1 / 16],
        "l2": [1, 1 / 2, 1 / 4],
        "loss": [1, 1 / 2, 1 / 4],
        "loss+": [1, 1, 1],
    }.items():
        module = build(MGDA(normalization), 1, 3)
        weights = ask(module, jacobian, losses=losses)[0]
        assert_allclose(weights / weights[0], expected, rtol=1e-6)


@given(seed=seeds, unit=st.floats(1e-3, 1e3))
def test_the_unit_of_one_loss_does_not_move_mgda_of_unit_gradients(seed, unit, build):
    jacobian = jacobian_of(2, 4, 6, seed)
    before = direction(ask(build(MGDA("l2"), 2, 4), jacobian), jacobian)
    jacobian[:, 1] *= unit
    after = direction(ask(build(MGDA("l2"), 2, 4), jacobian), jacobian)
    same_direction(after, before, 1e-6)


def test_cagrad_by_hand(build):
    # Mirror images: the mean is best for both, whatever the radius.
    jacobian = np.array([[[1.0, 2.0], [1.0, -2.0]]])
    for c in (0.3, 2.0):
        found = direction(ask(build(CAGrad(c), 1, 2), jacobian), jacobian)
        same_direction(found, np.array([[1.0, 0.0]]), 1e-6)
    # The mean is (1, 1/2), the worst gain that of (0, 1); half the mean's norm is added
    # along it, as long as it stays the worst: d = (1, 1/2 + sqrt(5) / 4).
    jacobian = np.array([[[2.0, 0.0], [0.0, 1.0]]])
    found = direction(ask(build(CAGrad(0.5), 1, 2), jacobian), jacobian)
    expected = np.array([[1.0, 0.5 + np.sqrt(5) / 4]])
    same_direction(found, expected, 1e-7)


def test_nash_by_hand(build):
    # Norms one and a cosine of 1/2: G w = 1 / w is solved by w = sqrt(2 / 3) twice; a
    # factor of 10 on the second loss divides its weight by 10.
    second = np.array([0.5, np.sqrt(0.75)])
    jacobian = np.array([[[1.0, 0.0], second], [[1.0, 0.0], 10 * second]])
    weights = ask(build(NashMTL(), 2, 2), jacobian)
    assert_allclose(weights / weights[:, :1], [[1, 1], [1, 0.1]], rtol=1e-6)


def test_gradvac_by_hand(build):
    """Two gradients at 120 degrees, and a usual cosine of 1/2, that of 60 degrees."""
    jacobian = np.array([[[1.0, 0.0], [-0.5, np.sqrt(0.75)]]])
    module = build(GradVac(beta=0.1), 1, 2)
    module.cosines_.fill_(0.5)
    weights = ask(module, jacobian)
    # Each gets 1 * the other: (1/2, sqrt(3)/2) lies at 60 degrees of the second.
    assert_allclose(weights, [[2.0, 2.0]])
    expected = 0.5 + 0.1 * (-0.5 - 0.5)
    assert_allclose(module.cosines_[0], [[0.5, expected], [expected, 0.5]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradvac_does_not_move_parallel_gradients_by_rounding(dtype, build):
    jacobian = jacobian_of(200, 3, 40)
    jacobian[:, 1] = 3 * jacobian[:, 0]
    jacobian[:, 2] -= jacobian[:, 2].mean(-1, keepdims=True)
    module = build(GradVac(), 200, 3)
    # After many batches the usual cosine of the first two is one, or all but.
    module.cosines_[:, :2, :2] = 1 - 1e-12
    module.cosines_[:, 2] = module.cosines_[:, :, 2] = -0.9
    assert_allclose(ask(module, jacobian, dtype=dtype), 1.0)


def test_gradnorm_by_hand(build):
    """Norms 1 and 3 with equal training rates: both move to the mean of 2."""
    jacobian = np.array([[[1.0, 0.0], [0.0, 3.0]]])
    module = build(GradNorm(alpha=1.0, lr=0.1), 1, 2)
    weights = ask(module, jacobian)
    # Steps of 0.1 times 1/2 and 3/2, up and down; of sum 1.9, scaled to 2.
    assert_allclose(weights, np.array([[1.05, 0.85]]) * 2 / 1.9)
    # The loss of the first has not moved, that of the second is a quarter: ratios 1.6
    # and 0.4 of the mean.
    before = weights[0]
    weights = ask(module, jacobian, losses=np.array([[1.0, 0.25]]))
    size = before * [0.5, 1.5]
    target = size.mean() * np.array([1.6, 0.4])
    moved = before - 0.1 * np.sign(size - target) * [0.5, 1.5]
    assert_allclose(weights[0], moved * 2 / moved.sum())


def test_gradnorm_finds_norms_that_are_alike(build):
    jacobian = np.diag([1.0, 3.0, 9.0])[None]
    module = build(GradNorm(lr=0.01), 1, 3)
    for _ in range(500):
        weights = ask(module, jacobian)
    sizes = weights[0] * [1.0, 3.0, 9.0]
    assert sizes.max() < 1.3 * sizes.min()


def test_auxiliary_by_hand(build):
    # Cosines with the main gradient (2, 0): 0.6 of the second, -1 of the third.
    jacobian = np.array([[[2.0, 0.0], [3.0, 4.0], [-1.0, 0.0]]])
    weights = ask(build(Auxiliary(main=0), 1, 3), jacobian)
    assert_allclose(weights, [[1.0, 0.6, 0.0]], rtol=1e-12)


def test_auxiliaries_never_work_against_the_main_tasks(build):
    jacobian = jacobian_of(1000, 5, 4)
    weights = ask(build(Auxiliary(main=[1, 3]), 1000, 5), jacobian)
    main = jacobian[:, [1, 3]].sum(1)
    gain = (direction(weights, jacobian) * main).sum(-1)
    assert (gain >= (main**2).sum(-1) * (1 - 1e-9)).all()
    assert (weights[:, [1, 3]] == 1).all()


def test_main_tasks_are_named(build):
    names = ("yield", "purity", "cost")
    module = build(Auxiliary(main=["cost"]), 2, 3, names=names)
    assert module.main.tolist() == [[False, False, True]] * 2
    for wrong in ("price", ["yield", "price"], []):
        with pytest.raises(ValueError, match=r"The tasks are \['yield', 'purity'"):
            build(Auxiliary(main=wrong), 2, 3, names=names)


# -- optimality conditions of the solvers ------------------------------------------


def gramians(seed, n_networks, n_tasks, rank):
    jacobian = jacobian_of(n_networks, n_tasks, rank, seed)
    gramian = jacobian @ jacobian.swapaxes(1, 2)
    size = np.trace(gramian, axis1=1, axis2=2) / n_tasks
    return gramian / size[:, None, None]


@given(seed=seeds, n_tasks=st.integers(1, 9), rank=st.integers(1, 9))
def test_conditions_of_the_quadratic_program(seed, n_tasks, rank):
    gramian = _solvers.cosines(gramians(seed, 4, n_tasks, rank))[0]
    rng = np.random.default_rng(seed)
    linear = rng.normal(size=(4, 2, n_tasks))
    free = rng.random((4, 2, n_tasks)) < 0.5
    x, _, converged = _solvers.minimize_nonnegative(gramian, linear, free)
    assert converged.all()
    slope = x @ gramian + linear
    scale = 1e-7 * (1 + np.abs(x).max())
    assert x.min() >= 0
    assert slope.min() > -scale
    assert np.abs(x * slope).max() < scale * (1 + np.abs(x).max())


@given(seed=seeds, n_tasks=st.integers(1, 9), rank=st.integers(1, 9))
def test_conditions_of_the_shortest_combination(seed, n_tasks, rank):
    gramian = gramians(seed, 4, n_tasks, rank)
    present = np.ones((4, n_tasks), bool)
    w, _, converged = _solvers.shortest_combination(gramian, present, present)
    assert converged.all()
    assert_allclose(w.sum(-1), 1.0)
    gains = (gramian @ w[..., None])[..., 0]
    square = (w * gains).sum(-1)
    # Every task gains as much as those of positive weight, or more.
    assert (gains >= square[:, None] - 1e-6).all()


@given(
    seed=seeds,
    n_tasks=st.integers(1, 9),
    rank=st.integers(1, 9),
    power=st.sampled_from([0.2, 0.5, 1.0, 2.0, 4.0]),
)
def test_conditions_of_the_equilibrium(seed, n_tasks, rank, power):
    gramian = gramians(seed, 4, n_tasks, rank)
    norm = 10 ** np.random.default_rng(seed).uniform(-1, 1, size=(4, n_tasks))
    gramian = gramian * norm[:, :, None] * norm[:, None]
    ones = np.ones((4, n_tasks))
    w, converged = _solvers.equilibrium(gramian, np.full((4, 1), power), ones)
    assert converged.all()
    assert (w > 0).all()
    square = gramian.diagonal(axis1=1, axis2=2)
    left = (gramian @ w[..., None])[..., 0] + _solvers._SOFT_RIDGE * square * w
    # Weights that would be less than the least are the least, and gain more.
    size = w * np.sqrt(square)
    least = size < 1.1e-10 * size.max(-1, keepdims=True)
    assert_allclose((left * w**power)[~least], 1.0, rtol=5e-3)
    assert ((left * w**power)[least] > 1.0).all()


@pytest.mark.parametrize("alpha", [0.05, 0.5, 2.0, 20.0])
def test_fairness_is_found_for_losses_of_other_units(alpha, build):
    """Norms over eight orders of magnitude; every network converges, or would warn."""
    rng = np.random.default_rng(0)
    jacobian = rng.normal(size=(100, 8, 16))
    jacobian *= 10 ** rng.uniform(-4, 4, size=(100, 8, 1))
    module = build(FairGrad(alpha), 100, 8)
    weights = ask(module, jacobian)
    norms = np.linalg.norm(jacobian, axis=-1)
    gains = (jacobian @ direction(weights, jacobian)[..., None])[..., 0]
    assert (gains / (norms * (weights * norms).sum(1, keepdims=True))).min() > -1e-6
    # From the weights of other networks it comes to the same ones.
    ask(module, np.roll(jacobian, 1, axis=0))
    again = ask(module, jacobian)
    parts = (w * norms / (w * norms).sum(1, keepdims=True) for w in (weights, again))
    assert_allclose(*parts, atol=1e-6)


@pytest.mark.parametrize("rounding", [0.0, 1e-5])
@pytest.mark.parametrize("size", [(20, 12), (64, 30), (96, 40)])
def test_many_dependent_tasks_are_solved_for(size, rounding):
    """Pivoting alone gives up on some of these."""
    n_tasks, rank = size
    rng = np.random.default_rng(0)
    jacobian = rng.normal(size=(2, n_tasks, rank))
    gramian = jacobian @ jacobian.swapaxes(1, 2) / rank
    matrix, norm = _solvers.cosines(gramian, rounding)
    linear = (gramian / norm[:, None])[:, :8]
    start = np.zeros((2, 8, n_tasks), bool)
    x, _, converged = _solvers.minimize_nonnegative(matrix, linear, start)
    assert converged.all()
    slope = x @ matrix + linear
    assert slope.min() > -1e-8
    assert np.abs(x * slope).max() < 1e-7 * (1 + np.abs(x).max())


@given(seed=seeds, n_tasks=st.integers(1, 9), rank=st.integers(1, 9))
def test_the_interior_finds_what_pivots_find(seed, n_tasks, rank):
    matrix, _ = _solvers.cosines(gramians(seed, 4, n_tasks, rank), 1e-5)
    linear = np.random.default_rng(seed).normal(size=(4, n_tasks))
    inside, _, sound = _solvers._interior(matrix, linear, 60)
    start = np.ones((4, 1, n_tasks), bool)
    pivoted, _, also = _solvers._pivot(matrix, linear[:, None], start, 200)
    assert sound.all()
    assert also.all()
    size = pivoted.max(-1) + 1
    assert_allclose(inside / size, pivoted[:, 0] / size, atol=1e-6)


@given(
    seed=seeds,
    n_tasks=st.integers(1, 7),
    rank=st.integers(1, 7),
    c=st.sampled_from([0.1, 0.5, 1.0, 3.0]),
)
def test_no_direction_in_the_ball_is_better_for_the_worst_task(
    seed, n_tasks, rank, c, build
):
    jacobian = jacobian_of(2, n_tasks, rank, seed)
    weights = ask(build(CAGrad(c=c), 2, n_tasks), jacobian)
    for k in range(2):
        mean = jacobian[k].mean(0)
        # The solution in the paper's units: the weights less those of the mean.
        added = weights[k] - 1 / n_tasks
        moved = jacobian[k].T @ added
        radius = c * np.linalg.norm(mean)
        assert np.linalg.norm(moved) <= radius * (1 + 1e-5)
        worst = (jacobian[k] @ (mean + moved)).min()

        def dual(logits, k=k, mean=mean, radius=radius):
            share = np.exp(logits - logits.max())
            combined = jacobian[k].T @ (share / share.sum())
            return combined @ mean + radius * np.linalg.norm(combined)

        # Any point of the dual bounds the gain of the worst task from above.
        starts = np.random.default_rng(seed).normal(size=(3, n_tasks))
        bound = min(minimize(dual, s, method="BFGS").fun for s in starts)
        assert worst >= bound - 1e-4 * (1 + abs(bound))


def test_a_solver_that_gives_up_warns_once_with_its_name(build, monkeypatch):
    jacobian = jacobian_of(5, 6, 4)
    monkeypatch.setattr(
        "skmtl.weighting._nash_mtl.equilibrium",
        partial(_solvers.equilibrium, max_iter=1),
    )
    module = build(NashMTL(), 5, 6)
    with pytest.warns(ConvergenceWarning, match="NashMTL did not converge"):
        ask(module, jacobian)
    ask(module, jacobian)  # warnings are errors here
    for name in ("mgda.shortest_combination", "upgrad.minimize_nonnegative"):
        monkeypatch.setattr(
            f"skmtl.weighting._{name}",
            partial(getattr(_solvers, name.split(".")[1]), max_iter=1),
        )
    for method in (MGDA(), UPGrad()):
        with pytest.warns(
            ConvergenceWarning, match=f"{type(method).__name__} did not converge"
        ):
            ask(build(method, 5, 6), -jacobian)


def test_bisection_finds_what_active_sets_find():
    gramian = gramians(0, 50, 6, 5)
    mean = np.full((50, 6), 1 / 6)
    c = np.linspace(0.1, 3.0, 50)
    start = np.ones((50, 6), bool)
    quick, _, sound = _solvers.conflict_averse(gramian, mean, c, start)
    slow, _, also = _solvers.conflict_averse(gramian, mean, c, start, max_iter=1)
    assert sound.all()
    assert also.all()
    assert_allclose(slow, quick, atol=1e-5)


# -- TorchJD as an oracle ------------------------------------------------------------

# The defaults of the library add 1e-4 to a Gramian of trace one.
EXACT = QuadprogProjector(norm_eps=1e-12, reg_eps=1e-10)
ORACLES = [
    (CAGrad(c=0.5), aggregation.CAGrad(c=0.5)),
    (CAGrad(c=1.5), aggregation.CAGrad(c=1.5)),
    (ImpartialGrad(), aggregation.IMTLG()),
    (AlignedMTL(), aggregation.AlignedMTL()),
    (AlignedMTL("rmse"), aggregation.AlignedMTL(scale_mode="rmse")),
    (AlignedMTL("median"), aggregation.AlignedMTL(scale_mode="median")),
    (FairGrad(alpha=1.0), aggregation.FairGrad(alpha=1.0)),
    (FairGrad(alpha=2.0), aggregation.FairGrad(alpha=2.0)),
    (UPGrad(), aggregation.UPGrad(projector=EXACT)),
]


@pytest.mark.parametrize(("ours", "theirs"), ORACLES, ids=lambda m: repr(m))
@pytest.mark.parametrize("size", [(2, 6), (4, 6), (6, 10)])
def test_directions_equal_those_of_torchjd(ours, theirs, size, build):
    n_tasks, n_shared = size
    jacobian = jacobian_of(8, n_tasks, n_shared)
    found = direction(ask(build(ours, 8, n_tasks), jacobian), jacobian)
    expected = np.stack([theirs(torch.from_numpy(j)).numpy() for j in jacobian])
    same_direction(found, expected)


@pytest.mark.parametrize("size", [(2, 6), (4, 6), (6, 10)])
def test_no_combination_of_torchjd_is_shorter(size, build):
    """Its Frank-Wolfe steps come close, and never below."""
    jacobian = jacobian_of(8, *size)
    found = direction(ask(build(MGDA(), 8, size[0]), jacobian), jacobian)
    oracle = aggregation.MGDA(epsilon=1e-8, max_iters=5_000)
    for rows, ours in zip(jacobian, found, strict=True):
        theirs = oracle(torch.from_numpy(rows)).numpy()
        assert np.linalg.norm(ours) <= np.linalg.norm(theirs) * (1 + 1e-9)
        assert_allclose(ours, theirs, atol=0.02 * np.linalg.norm(rows, axis=1).max())


def test_nash_equals_a_bargain_by_a_general_optimiser(build):
    jacobian = jacobian_of(5, 4, 6)
    found = direction(ask(build(NashMTL(), 5, 4), jacobian), jacobian)
    for rows, ours in zip(jacobian, found, strict=True):

        def loss(d, rows=rows):
            gains = rows @ d
            return np.inf if gains.min() <= 0 else -np.log(gains).sum() + d @ d / 2

        best = minimize(loss, ours, method="Nelder-Mead", options={"xatol": 1e-10})
        same_direction(ours[None], best.x[None], 1e-3)


@given(seed=seeds, n_tasks=st.integers(1, 6))
@pytest.mark.parametrize("kind", ["PCGrad", "GradVac"])
def test_visits_equal_those_of_torchjd_in_the_same_order(kind, seed, n_tasks, build):
    method, oracle = {
        "PCGrad": (PCGrad(), aggregation.PCGrad()),
        "GradVac": (GradVac(beta=0.3), aggregation.GradVac(beta=0.3, eps=0.0)),
    }[kind]
    rng = np.random.default_rng(seed)
    module = build(method, 1, n_tasks)
    for batch in range(3):
        jacobian = jacobian_of(1, n_tasks, n_tasks, seed + batch)
        keys = rng.random((1, n_tasks, n_tasks))
        orders = keys.argsort(-1)
        with pytest.MonkeyPatch.context() as monkeypatch:
            fix_keys(monkeypatch, keys)
            ours = direction(ask(module, jacobian), jacobian)
            # GradVac of the library draws among the others only.
            drawn = iter(
                [
                    torch.tensor(
                        o if kind == "PCGrad" else [j - (j > i) for j in o if j != i],
                        dtype=torch.int64,
                    )
                    for i, o in enumerate(orders[0].tolist())
                ]
            )
            monkeypatch.setattr(torch, "randperm", lambda n, drawn=drawn: next(drawn))
            theirs = oracle(torch.from_numpy(jacobian[0])).numpy()
        assert_allclose(ours[0], theirs, atol=1e-7)


def test_any_weighting_of_torchjd_is_taken(build):
    jacobian = jacobian_of(3, 4)
    for theirs in (
        aggregation.MeanWeighting(),
        aggregation.DualProjWeighting(),
        aggregation.PCDWeighting(),
        aggregation.RandomWeighting(),
        aggregation.CRMOGMWeighting(aggregation.MGDAWeighting()),
    ):
        weights = ask(build(TorchJD(theirs), 3, 4), jacobian)
        assert weights.shape == (3, 4)
        assert np.isfinite(weights).all()


def test_a_weighting_of_torchjd_is_cloned_printed_and_pickled(build):
    theirs = aggregation.CRMOGMWeighting(aggregation.MGDAWeighting())
    method = TorchJD(theirs, update_every=2)
    assert method.get_params()["weighting"] is theirs
    jacobian = jacobian_of(2, 3)
    expected = ask(build(method, 2, 3), jacobian)
    for other in (clone(method), pickle.loads(pickle.dumps(method))):
        assert other.weighting is not theirs
        assert_allclose(ask(build(other, 2, 3), jacobian), expected)
    # What a fit learns stays out of the object that the user holds.
    assert_allclose(ask(build(method, 2, 3), jacobian), expected)


def test_without_torchjd_the_error_says_how_to_get_it(build, monkeypatch):
    method = TorchJD(aggregation.MGDAWeighting())
    monkeypatch.setitem(sys.modules, "torchjd", None)
    with pytest.raises(ImportError, match="pip install torchjd"):
        build(method, 1, 2)
    build(UPGrad(), 1, 2)


def test_copies_of_torchjd_keep_to_their_networks(build):
    """A method with a memory goes on from each network's own."""
    method = TorchJD(aggregation.CRMOGMWeighting(aggregation.MGDAWeighting()))
    batches = [jacobian_of(3, 4, seed=s) for s in range(3)]
    bank = build(method, 3, 4)
    together = [ask(bank, batch) for batch in batches]
    alone = build(method, 1, 4, keys=[1])
    for batch, both in zip(batches, together, strict=True):
        assert_allclose(ask(alone, batch[[1]])[0], both[1], rtol=1e-9)
    bank.copies.take_networks([1])
    assert bank.copies.of_network[0] is not None
    assert len(bank.copies.of_network) == 1


def test_torchjd_draws_from_the_streams_of_the_networks(build):
    method = TorchJD(aggregation.RandomWeighting())
    state = torch.random.get_rng_state()
    jacobian = jacobian_of(3, 4)
    one = ask(build(method, 3, 4, keys=[0, 1, 0]), jacobian)
    assert_allclose(one[0], one[2])
    assert (one[0] != one[1]).any()
    assert_allclose(ask(build(method, 3, 4, keys=[0, 1, 0]), jacobian), one)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_orders_are_uniform_permutations(build):
    module = build(PCGrad(), 1, 3)
    every = np.array([0])
    drawn = np.concatenate([module.orders(every)[0] for _ in range(600)])
    counts = dict.fromkeys(itertools.permutations(range(3)), 0)
    for order in drawn.tolist():
        counts[tuple(order)] += 1
    assert all(240 < count < 360 for count in counts.values())
