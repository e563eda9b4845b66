"""Heads in closed form: those of scikit-learn on the features of the network."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from sklearn.linear_model import LogisticRegression, Ridge

from skmtl import MetaRidgeClassifier, MetaRidgeRegressor
from skmtl._net import Episodes
from skmtl.architecture import HardSharing
from skmtl.encoding import Raw
from skmtl.meta._closed_form import Posterior, spread
from skmtl.meta._ridge_learner import PRIOR_SHARE

SMALL = {"max_iter": 20, "random_state": 0, "device": "cpu", "dtype": "float64"}
# Without held-out tasks no factor stands between a band and its formula.
SMALL |= {"early_stopping": False}
N_BASIS = 6
close = np.testing.assert_allclose


def table(n_columns=1, seed=0):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(6), 12)
    X = rng.normal(size=(72, 2))
    y = np.sin(X @ rng.normal(size=(2, n_columns)) + task[:, None])
    X.flags.writeable = y.flags.writeable = False
    return X, y[:, 0] if n_columns == 1 else y, task


def regressor(n_columns=1, **changes):
    X, y, task = table(n_columns)
    architecture = HardSharing((N_BASIS - 1,), activation="tanh")
    model = MetaRidgeRegressor(architecture, Raw(), **SMALL | changes)
    return model.fit(X, y, task=task)


def classifier(n_classes=2, **changes):
    X, y, task = table()
    y = y.argsort().argsort() * n_classes // len(y)
    architecture = HardSharing((N_BASIS - 1,), activation="tanh")
    model = MetaRidgeClassifier(architecture, Raw(), **SMALL | changes)
    return model.fit(X, y, task=task)


@pytest.fixture(scope="module")
def model():
    return regressor()


@torch.no_grad()
def looked_at(model, X):
    """Compute basis (n, n_basis) and prior mean (n, n_outputs) of rows."""
    module = model.net_.module_.double().eval()
    inputs = torch.tensor(np.array(X))[None, None]
    features = module.task_features(inputs)
    basis = module.learner.basis(features)[0, 0].numpy()
    return basis, module.learner.prior(module, features)[0, 0].numpy()


def scaling(model):
    targets = model.net_.blueprint.targets
    return np.array(targets.shift), np.array(targets.scale)


def noise_of(model):
    return model.net_.module_.learner.log_noise.exp().flatten().detach().numpy()


def drawn(n_rows, n_columns, seed, missing=0.3):
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(n_rows, N_BASIS))
    residuals = rng.normal(size=(n_rows, n_columns))
    weights = rng.uniform(0.2, 3, size=(n_rows, n_columns))
    weights[rng.random(weights.shape) < missing] = 0
    return basis, residuals, weights


# -- the posterior ---------------------------------------------------------------


@given(
    n_rows=st.integers(1, 14),
    n_columns=st.integers(1, 3),
    seed=st.integers(0, 99),
    shared=st.booleans(),
)
def test_the_posterior_is_that_of_weighted_ridges(n_rows, n_columns, seed, shared):
    basis, residuals, weights = drawn(n_rows, n_columns, seed)
    if shared:
        weights[:] = weights[:, :1]
    posterior = Posterior(torch.from_numpy(basis), torch.from_numpy(weights))
    assert posterior.dual is (n_rows < N_BASIS)
    found = posterior.solve(torch.from_numpy(residuals)).numpy()
    asked = np.random.default_rng(seed + 1).normal(size=(4, N_BASIS))
    open_ = spread(torch.from_numpy(asked), posterior.rotated, posterior.dual)
    open_ = open_.expand(-1, n_columns).numpy()
    for j, weight in enumerate(weights.T):
        precision = basis.T @ (weight[:, None] * basis) + np.eye(N_BASIS)
        covariance = np.linalg.inv(precision)
        expected = covariance @ basis.T @ (weight * residuals[:, j])
        close(found[:, j], expected, rtol=1e-9, atol=1e-11)
        close(
            open_[:, j],
            np.einsum("ij,jk,ik->i", asked, covariance, asked),
            rtol=1e-8,
            atol=1e-10,
        )
        if weight.any():
            ridge = Ridge(alpha=1.0, fit_intercept=False, solver="cholesky")
            ridge.fit(basis, residuals[:, j], sample_weight=weight)
            close(found[:, j], ridge.coef_, rtol=1e-7, atol=1e-9)
        else:
            assert not found[:, j].any()


@pytest.mark.parametrize("n_rows", [1, 3, 5])
def test_both_systems_have_one_solution(n_rows):
    basis, residuals, weights = drawn(n_rows, 2, seed=n_rows)
    # Rows of weight 0 turn the system of the rows into that of the basis.
    more = np.zeros((10 - n_rows, N_BASIS)) + 3
    rest = np.zeros((10 - n_rows, 2))
    padded = [np.concatenate(p) for p in ((basis, more), (residuals, rest + 7))]
    weights = weights, np.concatenate([weights, rest])
    asked = torch.from_numpy(drawn(4, 1, seed=9)[0])
    found = []
    lots = (basis, residuals, weights[0]), (*padded, weights[1])
    for own, labels, weight in lots:
        posterior = Posterior(torch.from_numpy(own), torch.from_numpy(weight))
        deviation = posterior.solve(torch.from_numpy(labels))
        left = spread(asked, posterior.rotated, posterior.dual)
        found.append((posterior.dual, deviation.numpy(), left.numpy()))
    (dual, *first), (primal, *second) = found
    assert dual
    assert not primal
    for a, b in zip(first, second, strict=True):
        close(a, b, rtol=1e-9, atol=1e-12)


def test_tasks_of_a_bank_are_solved_one_by_one():
    drawings = [drawn(4, 2, seed) for seed in range(6)]
    stacked = [
        torch.from_numpy(np.stack(part)).unflatten(0, (2, 3))
        for part in zip(*drawings, strict=True)
    ]
    posterior = Posterior(stacked[0], stacked[2])
    together = posterior.solve(stacked[1]).flatten(0, 1).numpy()
    for own, (basis, residuals, weights) in zip(together, drawings, strict=True):
        alone = Posterior(torch.from_numpy(basis), torch.from_numpy(weights))
        close(own, alone.solve(torch.from_numpy(residuals)), rtol=1e-9, atol=1e-12)


def test_nothing_is_learned_of_a_column_without_labels():
    basis, residuals, weights = drawn(8, 2, seed=0, missing=0.0)
    weights[:, 1] = 0
    posterior = Posterior(torch.from_numpy(basis), torch.from_numpy(weights))
    found = posterior.solve(torch.from_numpy(residuals)).numpy()
    assert found[:, 0].all()
    assert not found[:, 1].any()
    asked = torch.from_numpy(drawn(3, 1, seed=1)[0])
    left = spread(asked, posterior.rotated, posterior.dual)
    close(left[:, 1], asked.square().sum(1))


# -- the regressor ---------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [2, 5, 12, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_mean_and_band_are_those_of_a_gaussian_process(model, n_rows, weighted):
    X, y, _ = table(seed=3)
    weight = np.random.default_rng(0).uniform(0.5, 2, n_rows) if weighted else None
    adapted = model.adapt(X[:n_rows], y[:n_rows], sample_weight=weight)
    basis, prior = looked_at(model, X)
    shift, scale = scaling(model)
    (noise,) = noise_of(model)
    # In units of the noise the covariance of the labels is that of the basis and 1.
    process = GaussianProcessRegressor(
        DotProduct(sigma_0=0.0, sigma_0_bounds="fixed"),
        alpha=1.0 if weight is None else 1 / weight,
        optimizer=None,
    )
    residuals = (y - shift) / scale - prior[:, 0]
    process.fit(basis[:n_rows], residuals[:n_rows])
    moved, std = process.predict(basis, return_std=True)
    found, band = adapted.predict(X, return_std=True)
    close(found, shift + scale * (prior[:, 0] + moved), rtol=1e-8)
    close(band, scale * np.sqrt(noise * (1 + std**2)), rtol=1e-6)
    close(adapted.predict(X), found)


def test_two_targets_are_two_regressions_on_one_basis():
    model = regressor(2)
    X, y, _ = table(2, seed=3)
    y = y.copy()
    y[:4, 0] = np.nan
    y[6:9, 1] = np.nan
    weight = np.random.default_rng(0).uniform(0.5, 2, 10)
    adapted = model.adapt(X[:10], y[:10], sample_weight=weight)
    found, band = adapted.predict(X, return_std=True)
    basis, prior = looked_at(model, X)
    shift, scale = scaling(model)
    noise = noise_of(model)
    for j in range(2):
        rows = np.flatnonzero(~np.isnan(y[:10, j]))
        residuals = (y[rows, j] - shift[j]) / scale[j] - prior[rows, j]
        ridge = Ridge(alpha=1.0, fit_intercept=False)
        ridge.fit(basis[rows], residuals, sample_weight=weight[rows])
        moved = prior[:, j] + ridge.predict(basis)
        close(found[:, j], shift[j] + scale[j] * moved, rtol=1e-8)
        gram = basis[rows].T @ (weight[rows, None] * basis[rows])
        covariance = np.linalg.inv(gram + np.eye(N_BASIS))
        left = np.einsum("ij,jk,ik->i", basis, covariance, basis)
        close(band[:, j], scale[j] * np.sqrt(noise[j] * (1 + left)), rtol=1e-8)


def test_known_tasks_are_adapted_to_all_their_rows(model):
    X, y, task = table()
    found, band = model.predict(X, task=task, return_std=True)
    for name in range(6):
        rows = task == name
        adapted = model.adapt(X[rows], y[rows])
        mean, std = adapted.predict(X[rows], return_std=True)
        close(found[rows], mean, rtol=1e-9)
        close(band[rows], std, rtol=1e-9)


def test_a_task_that_is_not_known_has_the_prior_mean_and_its_whole_spread(model):
    X, _, _ = table(seed=3)
    with pytest.warns(UserWarning, match="99"):
        mean, std = model.predict(X, task=np.full(len(X), 99), return_std=True)
    basis, prior = looked_at(model, X)
    shift, scale = scaling(model)
    close(mean, shift + scale * prior[:, 0], rtol=1e-9)
    close(mean, model.net_.predict(X).ravel(), rtol=1e-9)
    (noise,) = noise_of(model)
    close(std, scale * np.sqrt(noise * (1 + (basis**2).sum(axis=1))), rtol=1e-9)


def test_adapting_twice_is_adapting_once(model):
    X, y, _ = table(seed=3)
    weight = np.random.default_rng(0).uniform(0.5, 2, 20)
    twice = model.adapt(X[:3], y[:3], sample_weight=weight[:3])
    twice = twice.adapt(X[3:20], y[3:20], sample_weight=weight[3:])
    once = model.adapt(X[:20], y[:20], sample_weight=weight)
    for a, b in zip(
        twice.predict(X, return_std=True), once.predict(X, return_std=True), strict=True
    ):
        close(a, b, rtol=1e-12)


def test_a_weight_of_two_is_two_rows(model):
    X, y, _ = table(seed=3)
    doubled = model.adapt(X[:6], y[:6], sample_weight=np.full(6, 2.0))
    twice = model.adapt(np.tile(X[:6], (2, 1)), np.tile(y[:6], 2))
    for a, b in zip(
        doubled.predict(X, return_std=True),
        twice.predict(X, return_std=True),
        strict=True,
    ):
        close(a, b, rtol=1e-9)


def test_bands_shrink_with_rows_towards_the_noise(model):
    X, y, _ = table(seed=3)
    _, scale = scaling(model)
    floor = scale[0] * np.sqrt(noise_of(model)[0])
    bands = [
        model.adapt(X[:n], y[:n]).predict(X, return_std=True)[1] for n in (1, 5, 9, 70)
    ]
    for wide, narrow in pairwise(bands):
        assert (narrow <= wide * (1 + 1e-12)).all()
        assert narrow.mean() < wide.mean()
    assert (bands[-1] > floor).all()
    many = model.adapt(np.tile(X, (1000, 1)), np.tile(y, 1000))
    close(many.predict(X, return_std=True)[1], floor, rtol=1e-2)


def test_members_add_their_disagreement_to_the_band():
    X, y, _ = table(seed=3)
    both = regressor(n_estimators=2)
    adapted = both.adapt(X[:7], y[:7])
    _, scale = scaling(both)
    means, variances = [], []
    for k in range(2):
        net = both.net_.take([k])
        module = net.module_.double().eval()
        inputs = torch.tensor(np.array(X))[None, None]
        labels = (y[:7] - scaling(both)[0]) / scale
        labels = torch.tensor(labels).view(1, 1, 7, 1)
        own = module.learner
        with torch.no_grad():
            state = own.adapt(module, inputs[:, :, :7], labels, torch.ones_like(labels))
            means.append(own.outputs(module, state, inputs).flatten().numpy())
            variances.append(own.variances(module, state, inputs).flatten().numpy())
    found, band = adapted.predict(X, return_std=True)
    close(found, scaling(both)[0] + scale * np.mean(means, axis=0), rtol=1e-9)
    expected = np.mean(variances, axis=0) + np.var(means, axis=0)
    close(band, scale * np.sqrt(expected), rtol=1e-8)


@pytest.mark.parametrize(("rank", "n_basis"), [(1, 1), (3, 3), (50, N_BASIS)])
def test_the_rank_is_the_width_of_the_basis(rank, n_basis):
    model = regressor(rank=rank)
    X, y, _ = table(seed=3)
    basis, prior = looked_at(model, X)
    assert basis.shape[1] == n_basis
    shift, scale = scaling(model)
    ridge = Ridge(alpha=1.0, fit_intercept=False)
    ridge.fit(basis[:9], (y[:9] - shift) / scale - prior[:9, 0])
    expected = shift + scale * (prior[:, 0] + ridge.predict(basis))
    close(model.adapt(X[:9], y[:9]).predict(X), expected, rtol=1e-8)


# -- what it learns from ---------------------------------------------------------


def batch_of(n_columns=1, n_episodes=2, n_classes=None, seed=0):
    """Draw episodes of five rows of support and six of query, weighted."""
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    shape = 1, n_episodes, 11
    targets = torch.randn(*shape, n_columns, **options)
    if n_classes:
        targets = torch.randint(n_classes, targets.shape, generator=generator).double()
    weights = 0.5 + torch.rand(*shape, n_columns, **options)
    weights[:, 1, [4, 9, 10]] = 0
    tasks = torch.arange(n_episodes)[None]
    return Episodes(torch.randn(*shape, 2, **options), targets, weights, 5, tasks)


@pytest.mark.parametrize("n_columns", [1, 2])
def test_the_loss_is_the_log_density_of_the_query(n_columns):
    model, batch = regressor(n_columns), batch_of(n_columns)
    module = model.net_.module_.double().eval()
    noise = noise_of(model)
    found = module.learner.query_losses(module, batch)[0].detach().numpy()
    errors = module.learner.standard_errors(module, batch)[0].detach().numpy()
    for b in range(2):
        inputs, targets, weights = (part[0, b].numpy() for part in batch[:3])
        basis, prior = looked_at(model, inputs)
        for j in range(n_columns):
            residuals, weight = targets[:, j] - prior[:, j], weights[:, j]
            gram = basis[:5].T @ (weight[:5, None] * basis[:5])
            covariance = np.linalg.inv(gram + np.eye(N_BASIS))
            moved = basis[5:] @ covariance @ basis[:5].T @ (weight * residuals)[:5]
            asked = residuals[5:] - moved
            left = np.einsum("ij,jk,ik->i", basis[5:], covariance, basis[5:])
            std = np.sqrt(noise[j] * (1 + left))
            blind = np.sqrt(noise[j] * (1 + (basis[5:] ** 2).sum(axis=1)))
            cells = -(1 - PRIOR_SHARE) * norm.logpdf(asked, scale=std)
            cells -= PRIOR_SHARE * norm.logpdf(residuals[5:], scale=blind)
            # The constant is left out.
            cells -= 0.5 * np.log(2 * np.pi)
            close(found[b, j], np.average(cells, weights=weight[5:]), rtol=1e-8)
            there = weight[5:] > 0
            close(errors[b, there, j], (asked / std)[there], rtol=1e-8)
            assert np.isnan(errors[b, ~there, j]).all()


MODELS = {
    "numbers": (regressor, None),
    "two classes": (classifier, 2),
    "three classes": (lambda: classifier(3, n_solves=2), 3),
}


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_slopes_of_the_loss(name):
    build, n_classes = MODELS[name]
    module, batch = build().net_.module_.double().train(), batch_of(n_classes=n_classes)
    module.zero_grad()
    module.learner.backward(module, batch, 0.0, 0.5)
    for parameter in (*module.learner.parameters(), *module.architecture.parameters()):
        flat, i = parameter.data.view(-1), parameter.numel() // 2
        kept, ends = flat[i].item(), []
        for step in (1e-6, -1e-6):
            flat[i] = kept + step
            ends.append(module.learner.query_losses(module, batch).mean().item())
        flat[i] = kept
        slope = (ends[0] - ends[1]) / 2e-6
        assert parameter.grad.view(-1)[i].item() == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_padding_of_any_content_changes_no_loss(name):
    build, n_classes = MODELS[name]
    module, batch = build().net_.module_.double(), batch_of(n_classes=n_classes)
    cut = batch.n_support

    def longer(part, value):
        fill = part.new_full((1, 2, 4, part.shape[-1]), value)
        return torch.cat([part[:, :, :cut], fill, part[:, :, cut:], fill], dim=2)

    # Four more rows of support: another of the two systems is solved.
    padded = batch._replace(
        inputs=longer(batch.inputs, 2.0),
        targets=longer(batch.targets, 1.0),
        weights=longer(batch.weights, 0.0),
        n_support=cut + 4,
    )
    losses = [module.learner.query_losses(module, b) for b in (batch, padded)]
    torch.testing.assert_close(*losses, rtol=1e-9, atol=1e-12)


# -- the classifier --------------------------------------------------------------


def penalised(model, n_solves, X, codes, weights):
    """Solve, and compute the penalised logistic loss and the deviation."""
    module = model.net_.module_.double().eval()
    learner = module.learner
    learner.n_solves = n_solves
    inputs = torch.tensor(np.array(X))[None, None]
    shape = (1, 1, len(X), 1)
    targets = torch.from_numpy(codes.astype(float)).view(shape)
    with torch.no_grad():
        state = learner.adapt(
            module, inputs, targets, torch.tensor(weights).view(shape)
        )
        deviation = state["deviation"]
        features = module.task_features(inputs)
        logits = learner.prior(module, features) + learner.basis(features) @ deviation
        cells = module.losses.cells(logits[0], targets[0])[0, :, 0].numpy()
    deviation = deviation[0, 0].numpy()
    return (cells * weights).sum() + 0.5 * np.square(deviation).sum(), deviation


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("n_rows", [4, 30])
def test_no_solve_raises_the_penalised_loss(n_classes, n_rows):
    model = classifier(n_classes)
    rng = np.random.default_rng(n_rows)
    X, codes = 3 * rng.normal(size=(n_rows, 2)), rng.integers(n_classes, size=n_rows)
    weights = rng.uniform(0.2, 4, n_rows)
    losses = [penalised(model, n, X, codes, weights)[0] for n in range(1, 13)]
    assert (np.diff(losses) <= 1e-10).all()
    # Where the prior mean is.
    _, prior = looked_at(model, X)
    logits = np.column_stack([np.zeros(n_rows), prior]) if n_classes == 2 else prior
    cells = -log_softmax(logits, axis=1)[np.arange(n_rows), codes]
    assert losses[0] < (cells * weights).sum()


def without_prior(model):
    """Take the prior mean away: scikit-learn has none."""
    shared = model.net_.module_.architecture.heads.shared
    with torch.no_grad():
        shared.weight.zero_()
        shared.bias.zero_()
    return model


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_rows", [5, 30])
def test_many_solves_are_logistic_regression(n_classes, n_rows):
    model = without_prior(classifier(n_classes))
    rng = np.random.default_rng(n_rows)
    X = rng.normal(size=(n_rows, 2))
    codes = rng.permutation(np.arange(n_rows) % n_classes)
    weights = rng.uniform(0.5, 2, n_rows)
    _, found = penalised(model, 600, X, codes, weights)
    basis, _ = looked_at(model, X)
    oracle = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=5000)
    oracle.fit(basis, codes, sample_weight=weights)
    close(found, oracle.coef_.T, atol=1e-5)


def test_probabilities_are_those_of_logistic_regression():
    model = without_prior(classifier(3))
    model.net_.module_.learner.n_solves = 600
    X, _, _ = table(seed=3)
    y = np.arange(20) % 3
    adapted = model.adapt(X[:20], y)
    basis, _ = looked_at(model, X)
    oracle = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=5000)
    oracle.fit(basis[:20], y)
    # The deviation is stretched by a learned factor.
    stretch = model.net_.module_.learner.log_scale.exp().item()
    oracle.coef_ = stretch * oracle.coef_
    close(adapted.predict_proba(X), oracle.predict_proba(basis), atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_first_solve_is_a_ridge_on_the_labels(n_classes):
    model = without_prior(classifier(n_classes))
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(9, 2)), rng.permutation(np.arange(9) % n_classes)
    _, found = penalised(model, 1, X, codes, np.ones(9))
    basis, _ = looked_at(model, X)
    bound = 0.25 if n_classes == 2 else 0.5
    hot = codes[:, None] if n_classes == 2 else np.eye(n_classes)[codes]
    ridge = Ridge(alpha=1 / bound, fit_intercept=False)
    ridge.fit(basis, (hot - 1 / n_classes) / bound)
    close(found, ridge.coef_.reshape(-1, len(basis[0])).T, rtol=1e-8, atol=1e-10)


def test_classes_of_a_task_that_is_not_known_are_those_of_the_prior_mean():
    model = classifier(3)
    X, _, _ = table(seed=3)
    with pytest.warns(UserWarning, match="99"):
        found = model.predict_proba(X, task=np.full(len(X), 99))
    _, prior = looked_at(model, X)
    close(found, softmax(prior, axis=1), rtol=1e-9)


def test_classes_by_columns_are_solved_each_with_its_rows():
    X, y, task = table(2)
    both = (y > 0).astype(float)
    architecture = HardSharing((N_BASIS - 1,), activation="tanh")
    model = MetaRidgeClassifier(architecture, Raw(), **SMALL).fit(X, both, task=task)
    module = model.net_.module_.double().eval()
    inputs, targets, weights = batch_of(2, n_classes=2)[:3]
    weights[:, :, :3, 0] = 0
    with torch.no_grad():
        state = module.learner.adapt(module, inputs, targets, weights)["deviation"]
        for j in range(2):
            others = weights.clone()
            others[..., 1 - j] = 1.0
            again = module.learner.adapt(module, inputs, targets, others)["deviation"]
            torch.testing.assert_close(again[..., j], state[..., j])
            assert not torch.allclose(again[..., 1 - j], state[..., 1 - j])
