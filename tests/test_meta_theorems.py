"""What is true of the meta-learners whatever the data: derivatives, limits, oracles."""

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from skmtl import (
    MAMLRegressor,
    MetaRidgeClassifier,
    MetaRidgeRegressor,
    PrototypicalClassifier,
    ReptileRegressor,
    SiameseClassifier,
)
from skmtl._net import Episodes
from skmtl.architecture import HardSharing
from skmtl.encoding import Raw, Standard
from skmtl.meta._closed_form import Posterior, spread
from skmtl.meta._siamese import best_threshold
from skmtl.meta._siamese_learner import pair_loss, triplet_loss

from .instances import classification_data, frozen

SMALL = {"max_iter": 2, "random_state": 0, "device": "cpu", "dtype": "float64"}


def sines(n_tasks=6, n_rows=12, seed=0):
    """Draw lines and waves: X (n, 2), y and ids."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n_rows)
    X = rng.normal(size=(len(task), 2))
    y = rng.normal(size=n_tasks)[task] * np.sin(X[:, 0]) + X[:, 1]
    return frozen(X, y, task)


def module_of(model, data=None):
    """Fit briefly, and give the module in float64, its heads moved from zero."""
    X, y, task = sines() if data is None else data
    return model.fit(X, y, task=task).net_.module_.double()


def episodes(n_networks=1, n_episodes=3, n_support=4, n_query=5, n_inputs=2, seed=1):
    """Draw one meta-batch, the second episode with a shorter support."""
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    shape = n_networks, n_episodes, n_support + n_query
    inputs = torch.randn(*shape, n_inputs, **options)
    targets = torch.randn(*shape, 1, **options)
    weights = torch.ones(*shape, 1, dtype=torch.float64)
    weights[:, 1, n_support - 1] = 0
    tasks = torch.arange(n_episodes).expand(n_networks, -1)
    return Episodes(inputs, targets, weights, n_support, tasks)


def meta_gradients(module, batch):
    """Run the learner backwards: gradients of all parameters that have one."""
    module.train()
    module.zero_grad()
    module.learner.backward(module, batch, 1.0, 1 / batch.inputs.shape[1])
    named = [
        *module.architecture.named_parameters(),
        *module.learner.named_parameters(),
    ]
    return {n: p.grad.clone() for n, p in named if p.grad is not None}


def query_loss(module, batch, n_steps):
    """Compute the objective by plain torch, one task after the other."""
    architecture = copy.deepcopy(module.architecture)
    total = 0.0
    for b in range(batch.inputs.shape[1]):
        start = dict(module.architecture.named_parameters())
        fast = {n: p.detach().clone().requires_grad_() for n, p in start.items()}
        cut = batch.n_support
        for _ in range(n_steps):
            outputs = torch.func.functional_call(
                architecture, fast, (batch.inputs[:, b, :cut],)
            )
            cells = module.losses.cells(outputs, batch.targets[:, b, :cut])
            weights = batch.weights[:, b, :cut]
            loss = (cells * weights).sum() / weights.sum()
            gradients = torch.autograd.grad(loss, list(fast.values()))
            rates = module.learner.rates
            fast = {
                n: p - (rates[n.replace(".", "/")] if rates else _inner_lr(module)) * g
                for (n, p), g in zip(fast.items(), gradients, strict=True)
            }
        outputs = torch.func.functional_call(
            architecture, fast, (batch.inputs[:, b, cut:],)
        )
        cells = module.losses.cells(outputs, batch.targets[:, b, cut:])
        total = total + cells.mean()
    return total / batch.inputs.shape[1]


def _inner_lr(module):
    return module.learner.settings.inner_lr


def maml(activation="tanh", **changes):
    settings = {"inner_lr": 0.3, "n_inner_steps": 2, "clip_norm": None} | changes
    return MAMLRegressor(
        HardSharing((5,), activation=activation), Raw(), **SMALL | settings
    )


# -- derivatives -----------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("learned", [False, "tensor", "weight"])
def test_second_order_meta_gradients_equal_finite_differences(activation, learned):
    module, batch = module_of(maml(activation, learn_inner_lr=learned)), episodes()
    found = meta_gradients(module, batch)
    step = 1e-6
    parameters = [
        *module.architecture.named_parameters(),
        *module.learner.named_parameters(),
    ]
    for name, parameter in parameters:
        flat = parameter.data.view(-1)
        for i in (0, len(flat) - 1):
            kept = flat[i].item()
            losses = []
            for move in (step, -step):
                flat[i] = kept + move
                losses.append(query_loss(module, batch, 2).item())
            flat[i] = kept
            slope = (losses[0] - losses[1]) / (2 * step)
            assert found[name].view(-1)[i].item() == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_first_order_meta_gradients_are_those_at_the_end_of_the_steps(activation):
    module = module_of(maml(activation, first_order=True, n_inner_steps=3))
    batch = episodes()
    found = meta_gradients(module, batch)
    names = [n for n, _ in module.architecture.named_parameters()]
    expected = dict.fromkeys(names, 0.0)
    cut = batch.n_support
    for b in range(3):
        fast = [p.detach().clone() for p in module.architecture.parameters()]
        for k in range(4):
            rows = slice(0, cut) if k < 3 else slice(cut, None)
            leaves = [p.requires_grad_() for p in fast]
            outputs = torch.func.functional_call(
                module.architecture,
                dict(zip(names, leaves, strict=True)),
                (batch.inputs[:, b, rows],),
            )
            cells = module.losses.cells(outputs, batch.targets[:, b, rows])
            weights = batch.weights[:, b, rows]
            loss = (cells * weights).sum() / weights.sum()
            gradients = torch.autograd.grad(loss, leaves)
            fast = [
                (p - 0.3 * g).detach() for p, g in zip(fast, gradients, strict=True)
            ]
        for name, gradient in zip(names, gradients, strict=True):
            expected[name] = expected[name] + gradient / 3
    for name in names:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12)


def test_a_bank_of_members_has_the_meta_gradients_of_each_alone():
    both = module_of(maml(n_estimators=2, early_stopping=False))
    batch = episodes(n_networks=2)
    together = meta_gradients(both, batch)
    model = maml(n_estimators=2, early_stopping=False)
    model.fit(*sines()[:2], task=sines()[2])
    for k in range(2):
        alone = model.net_.take([k]).module_.double()
        own = meta_gradients(alone, batch.take(torch.tensor([k])))
        for name, gradient in own.items():
            torch.testing.assert_close(
                together[name][[k]], gradient, rtol=1e-9, atol=1e-12
            )


def test_meta_gradients_of_a_task_do_not_depend_on_padding():
    module, batch = module_of(maml()), episodes()
    found = meta_gradients(module, batch)
    longer = torch.zeros(1, 3, 3, 2, dtype=torch.float64)
    cut = batch.n_support
    padded = batch._replace(
        inputs=torch.cat(
            [batch.inputs[:, :, :cut], longer, batch.inputs[:, :, cut:]], 2
        ),
        targets=torch.cat(
            [batch.targets[:, :, :cut], longer[..., :1], batch.targets[:, :, cut:]], 2
        ),
        weights=torch.cat(
            [batch.weights[:, :, :cut], longer[..., :1], batch.weights[:, :, cut:]], 2
        ),
        n_support=cut + 3,
    )
    for name, gradient in meta_gradients(module, padded).items():
        torch.testing.assert_close(gradient, found[name], rtol=1e-9, atol=1e-12)


def test_a_task_that_is_lost_does_not_reach_the_others():
    module, batch = module_of(maml()), episodes()
    alone = meta_gradients(module, batch.take(torch.tensor([0])))
    inputs = batch.inputs.clone()
    inputs[:, 2] = torch.nan
    spoilt = meta_gradients(module, batch._replace(inputs=inputs))
    first_two = batch._replace(
        **{
            n: getattr(batch, n)[:, :2]
            for n in ("inputs", "targets", "weights", "tasks")
        }
    )
    expected = meta_gradients(module, first_two)
    for name in alone:
        torch.testing.assert_close(spoilt[name] * 3, expected[name] * 2)


def test_every_task_is_clipped_by_itself():
    batch = episodes()
    free = module_of(maml())
    clipped = module_of(maml())
    clipped.load_state_dict(free.state_dict())
    clipped.learner.settings.clip_norm = 1e-3
    found = meta_gradients(clipped, batch)
    norm = torch.cat([g.flatten() for g in found.values()]).norm()
    assert 0 < norm <= 1e-3


# -- limits ----------------------------------------------------------------------


def test_zero_steps_change_nothing():
    X, y, task = sines()
    model = maml().fit(X, y, task=task)
    adapted = model.adapt(X[:5], y[:5], n_steps=0)
    np.testing.assert_array_equal(adapted.predict(X), model.net_.predict(X))


def test_one_step_on_a_linear_model_is_the_closed_form():
    X, y, task = sines()
    model = MAMLRegressor(HardSharing(()), Raw(), inner_lr=0.2, clip_norm=None, **SMALL)
    model.fit(X, y, task=task)
    adapted = model.adapt(X[:7], y[:7], n_steps=1)
    heads = model.net_.module_.architecture.heads.shared
    start = np.append(heads.weight.detach()[0, :, 0], heads.bias.detach().ravel())
    encoder = model.net_.blueprint.targets
    target = (y[:7] - encoder.shift[0]) / encoder.scale[0]
    rows = np.column_stack([X, np.ones(len(X))])
    end = start - 0.2 * 2 / 7 * rows[:7].T @ (rows[:7] @ start - target)
    expected = encoder.shift[0] + encoder.scale[0] * rows @ end
    np.testing.assert_allclose(adapted.predict(X), expected, rtol=1e-9)


def test_learned_rates_that_are_all_alike_are_plain_maml():
    batch = episodes()
    plain = module_of(maml())
    for learned in ("tensor", "weight"):
        other = module_of(maml(learn_inner_lr=learned))
        other.architecture.load_state_dict(plain.architecture.state_dict())
        for rates in other.learner.rates.values():
            rates.data.fill_(0.3)
        found, expected = meta_gradients(other, batch), meta_gradients(plain, batch)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


def test_losses_after_every_step_are_plain_maml_with_one_step():
    batch = episodes()
    plain = module_of(maml(n_inner_steps=1))
    multi = module_of(maml(n_inner_steps=1, multi_step_loss=True))
    multi.load_state_dict(plain.state_dict())
    found, expected = meta_gradients(multi, batch), meta_gradients(plain, batch)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)


def test_reptile_with_one_plain_step_follows_the_gradient_of_all_rows():
    model = ReptileRegressor(
        HardSharing((5,), activation="tanh"),
        Raw(),
        inner_lr=0.1,
        inner_optimizer="sgd",
        inner_batch_size=None,
        n_inner_steps=1,
        clip_norm=None,
        **SMALL,
    )
    module, batch = module_of(model), episodes()
    found = meta_gradients(module, batch)
    loss = 0.0
    for b in range(3):
        outputs = module.architecture(batch.inputs[:, b])
        cells = module.losses.cells(outputs, batch.targets[:, b])
        weights = batch.weights[:, b]
        loss = loss + (cells * weights).sum() / weights.sum() / 3
    parameters = dict(module.architecture.named_parameters())
    expected = torch.autograd.grad(loss, list(parameters.values()))
    for name, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(found[name], 0.1 * gradient, rtol=1e-9, atol=1e-12)


# -- closed forms ----------------------------------------------------------------


def _regression(n_rows, n_basis=6, seed=0):
    rng = np.random.default_rng(seed)
    basis, target = rng.normal(size=(n_rows, n_basis)), rng.normal(size=n_rows)
    return basis, target, rng.uniform(0.5, 2, size=n_rows)


@pytest.mark.parametrize("n_rows", [4, 6, 20])
def test_the_deviation_is_the_ridge_solution_of_scikit_learn(n_rows):
    basis, target, weight = _regression(n_rows)
    posterior = Posterior(
        torch.from_numpy(basis), torch.from_numpy(weight).unsqueeze(-1)
    )
    assert posterior.dual is (n_rows < 6)
    found = posterior.solve(torch.from_numpy(target).unsqueeze(-1))[:, 0].numpy()
    ridge = Ridge(alpha=1.0, fit_intercept=False)
    np.testing.assert_allclose(
        found, ridge.fit(basis, target, sample_weight=weight).coef_, rtol=1e-9
    )


@pytest.mark.parametrize("n_rows", [4, 20])
def test_the_spread_is_that_of_bayesian_regression_with_fixed_strengths(n_rows):
    basis, _, weight = _regression(n_rows)
    posterior = Posterior(
        torch.from_numpy(basis), torch.from_numpy(weight).unsqueeze(-1)
    )
    asked, *_ = _regression(5, seed=1)
    found = spread(torch.from_numpy(asked), posterior.rotated, posterior.dual)
    covariance = np.linalg.inv(basis.T @ (basis * weight[:, None]) + np.eye(6))
    expected = np.einsum("ij,jk,ik->i", asked, covariance, asked)
    np.testing.assert_allclose(found[:, 0].numpy(), expected, rtol=1e-8)


def test_columns_with_other_labels_missing_are_solved_one_by_one():
    basis, target, _ = _regression(8)
    both = np.stack([target, -target], 1)
    weight = np.ones((8, 2))
    weight[:3, 1] = 0
    posterior = Posterior(torch.from_numpy(basis), torch.from_numpy(weight))
    found = posterior.solve(torch.from_numpy(both)).numpy()
    for j, rows in enumerate((slice(0, 8), slice(3, 8))):
        ridge = Ridge(alpha=1.0, fit_intercept=False).fit(basis[rows], both[rows, j])
        np.testing.assert_allclose(found[:, j], ridge.coef_, rtol=1e-9)


@pytest.fixture(scope="module")
def ridge_model():
    X, y, task = sines()
    settings = SMALL | {"max_iter": 30, "early_stopping": False}
    return MetaRidgeRegressor(HardSharing((6,)), Standard(), **settings).fit(
        X, y, task=task
    )


def _features(model, X):
    """Compute the basis and the prior mean of rows, (n, n_basis) and (n,)."""
    net, learner = model.net_, model.net_.module_.learner
    features = torch.from_numpy(net.features(np.array(X))).unsqueeze(1)
    with torch.no_grad():
        basis = learner.basis(features)[0, 0].numpy()
        prior = learner.prior(net.module_, features)[0, 0, :, 0].numpy()
    return basis, prior


def test_an_adapted_model_is_ridge_on_the_features_around_the_prior_mean(ridge_model):
    X, y, _ = sines(seed=3)
    adapted = ridge_model.adapt(X[:5], y[:5])
    encoder = ridge_model.net_.blueprint.targets
    basis, prior = _features(ridge_model, X)
    target = (y - encoder.shift[0]) / encoder.scale[0] - prior
    ridge = Ridge(alpha=1.0, fit_intercept=False).fit(basis[:5], target[:5])
    expected = encoder.shift[0] + encoder.scale[0] * (prior + ridge.predict(basis))
    mean, std = adapted.predict(X, return_std=True)
    np.testing.assert_allclose(mean, expected, rtol=1e-8)
    covariance = np.linalg.inv(basis[:5].T @ basis[:5] + np.eye(basis.shape[1]))
    head = np.einsum("ij,jk,ik->i", basis, covariance, basis)
    noise = ridge_model.net_.module_.learner.log_noise.exp().item()
    np.testing.assert_allclose(
        std, encoder.scale[0] * np.sqrt(noise * (1 + head)), rtol=1e-8
    )


def test_a_task_without_rows_is_predicted_by_the_prior_mean(ridge_model):
    X, _, _ = sines(seed=3)
    with pytest.warns(UserWarning, match="99"):
        unknown = ridge_model.predict(X, task=np.full(len(X), 99))
    np.testing.assert_allclose(unknown, ridge_model.net_.predict(X), rtol=1e-10)


def test_adapting_again_is_adapting_once_to_all_rows(ridge_model):
    X, y, _ = sines(seed=3)
    twice = ridge_model.adapt(X[:4], y[:4]).adapt(X[4:9], y[4:9])
    once = ridge_model.adapt(X[:9], y[:9])
    for a, b in zip(
        twice.predict(X, return_std=True), once.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_more_rows_leave_less_open(ridge_model):
    X, y, _ = sines(seed=3)
    spreads = [
        ridge_model.adapt(X[:n], y[:n]).predict(X, return_std=True)[1]
        for n in (1, 4, 12)
    ]
    assert (spreads[0] >= spreads[1] - 1e-12).all()
    assert (spreads[1] >= spreads[2] - 1e-12).all()


def test_solves_of_classes_reach_penalised_logistic_regression():
    X, _, task = sines()
    y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)
    model = MetaRidgeClassifier(HardSharing((6,)), Standard(), n_solves=400, **SMALL)
    model.fit(X, y, task=task)
    learner = model.net_.module_.learner
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.normal(size=(1, 1, 20, 6)))
    codes = torch.from_numpy((rng.random(20) < 0.5).astype(float)).view(1, 1, 20, 1)
    with torch.no_grad():
        # Without a prior mean, as scikit-learn's has none.
        model.net_.module_.architecture.heads.shared.weight.zero_()
        model.net_.module_.architecture.heads.shared.bias.zero_()
        losses = []
        for n_solves in (1, 2, 5, 400):
            learner.n_solves = n_solves
            found = learner._deviation(
                model.net_.module_, rows, codes, torch.ones_like(codes)
            )
            logits = learner.basis(rows) @ found
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, codes, reduction="sum"
            )
            losses.append(float(loss + 0.5 * found.square().sum()))
    assert losses == sorted(losses, reverse=True)
    oracle = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    basis = learner.basis(rows)[0, 0].detach().numpy()
    oracle.fit(basis, codes.numpy().ravel())
    np.testing.assert_allclose(found[0, 0, :, 0], oracle.coef_[0], atol=1e-5)


# -- distances -------------------------------------------------------------------


def test_prototypes_are_class_means_and_probabilities_their_softmax():
    X, y = classification_data()
    y = y[:, 1].astype(int)
    model = PrototypicalClassifier(HardSharing((8,)), Standard(), **SMALL).fit(X, y)
    places = model.transform(X)
    means = np.stack([places[y == c].mean(axis=0) for c in range(3)])
    squares = ((places[:, None] - means) ** 2).sum(axis=-1)
    scale = model.net_.module_.learner.log_scale.exp().item()
    odds = np.exp(-scale * squares)
    np.testing.assert_allclose(
        model.predict_proba(X), odds / odds.sum(axis=1, keepdims=True), rtol=1e-6
    )


@pytest.mark.parametrize(("exponent", "expected"), [(1.0, 1.25), (2.0, 1.75)])
def test_the_loss_of_pairs_by_hand(exponent, expected):
    # Rows 0 and 1 of one class at distance 1; row 2 at 2 from one, 1 from the other.
    distances = torch.tensor([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]])
    same = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]]).bool()
    other = torch.tensor([[0, 0, 1], [0, 0, 1], [1, 1, 0]]).bool()
    found = pair_loss(distances, same, other, 3.0, exponent)
    # (1^p + ((3 - 2)^p + (3 - 1)^p) / 2) / 2
    assert found.item() == pytest.approx(expected)


def test_the_loss_of_triplets_by_hand():
    distances = torch.tensor([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]])
    same = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]]).bool()
    other = torch.tensor([[0, 0, 1], [0, 0, 1], [1, 1, 0]]).bool()
    # Anchors 0 and 1: max(0, 1 - 2 + 0.5) = 0 and max(0, 1 - 1 + 0.5) = 0.5.
    assert triplet_loss(distances, same, other, 0.5).item() == pytest.approx(0.25)


def test_the_threshold_separates_pairs_best():
    distances = np.array([0.1, 0.2, 0.6, 0.3, 0.8, 0.9])
    same = np.array([True, True, True, False, False, False])
    # Below 0.25 two of three hits and no false alarm; below 0.7 three and one.
    assert best_threshold(distances, same) in (pytest.approx(0.25), pytest.approx(0.7))


def test_the_nearest_row_of_the_gallery_wins():
    X, y = classification_data()
    y = y[:, 1].astype(int)
    model = SiameseClassifier(HardSharing((8,)), Standard(), **SMALL).fit(X, y)
    adapted = model.adapt(X[:20], y[:20])
    places = model.transform(X)
    nearest = ((places[:, None] - places[None, :20]) ** 2).sum(-1).argmin(axis=1)
    np.testing.assert_array_equal(adapted.predict(X), y[:20][nearest])
    expected = np.linalg.norm(places[:5] - places[5:10], axis=1)
    np.testing.assert_allclose(model.pair_distance(X[:5], X[5:10]), expected)
    np.testing.assert_array_equal(
        model.verify(X[:5], X[5:10]), expected < model.threshold_
    )
