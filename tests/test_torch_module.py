"""A user's own module as the trunk of all tasks."""

import copy
import pickle
import threading
from dataclasses import replace

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from torch import nn

from skmtl import MultiTaskNetClassifier, MultiTaskNetRegressor
from skmtl._bank import take_networks
from skmtl._net import fit_bank
from skmtl._shape import BankShape
from skmtl._streams import Streams, seeded
from skmtl.architecture import HardSharing, TorchModule
from skmtl.encoding import Raw, Standard
from skmtl.weighting import PCGrad, Uncertainty

from .instances import (
    SmallTrunk,
    frozen,
    missing,
    regression_data,
    row_task_data,
)

FAST = {
    "n_estimators": 1,
    "early_stopping": False,
    "max_epochs": 3,
    "lr": 0.01,
    "batch_size": 16,
    "random_state": 0,
    "device": "cpu",
}


class Conv(nn.Module):
    def __init__(self, width=4, dropout=0.0):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images):
        return self.dropout(torch.relu(self.norm(self.conv(images)))).mean((-1, -2))


class Block(nn.Module):
    """As in a residual network."""

    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, images):
        return torch.relu(images + self.body(images))


def residual_net(width=4):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        Block(width),
        Block(width),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def images(n_samples=48, size=6, *, seed=0, dtype=np.float32):
    """Draw images, and two numbers that are to be read off them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 1, size, size)).astype(dtype)
    y = np.stack([X[:, 0, 1:3].mean((1, 2)), X[:, 0, :, 2:4].mean((1, 2))], axis=1)
    return frozen(X, y.astype(float))


def regressor(module, **changes):
    architecture = module if isinstance(module, TorchModule) else TorchModule(module)
    return MultiTaskNetRegressor(architecture, **{**FAST, **changes})


def bank_of(module, n_networks=3, n_inputs=4, *, streams=True, **kwargs):
    shape = BankShape((n_inputs,) * n_networks, 2, 2, **kwargs)
    streams = Streams([(k,) for k in range(n_networks)]) if streams else None
    return TorchModule(module).build(shape, streams)


# -- the same numbers as elsewhere -----------------------------------------------


@pytest.mark.parametrize("vmap", [False, True])
@pytest.mark.parametrize("weighting", [None, PCGrad(), PCGrad(gradients="parameters")])
def test_an_mlp_trains_as_hard_sharing_does(
    vmap, weighting, make_data, make_plan, raw_outputs
):
    data = make_data(missing=0.2)
    mlp = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh())
    ours = HardSharing((6, 5), activation="tanh", linear_skip=False)
    weighting = {} if weighting is None else {"weighting": weighting}

    # Both start from the module's weights, so its bank is trained from there.
    state = {}

    class Started(HardSharing):
        def build(self, shape, streams=None):
            module = HardSharing.build(self, shape, streams)
            for i, layer in enumerate(module.layers):
                linear = mlp[2 * i]
                layer.weight.data[:] = linear.weight.data.T.double()
                layer.bias.data[:] = linear.bias.data.double()
            state["head"] = module.heads.shared.weight.data.clone()
            return module

    def train(architecture):
        plans = [
            make_plan(
                data,
                seed,
                np.arange(30),
                np.arange(30, 40),
                architecture=architecture,
                clip_norm=0.5,
                **weighting,
            )
            for seed in (1, 2)
        ]
        return fit_bank(plans, data, dtype="float64")

    started = Started((6, 5), activation="tanh", linear_skip=False)
    assert started.get_params() == ours.get_params()
    one, first = train(started)
    other, second = train(TorchModule(mlp, vmap=vmap))
    assert other.module_.architecture.together is vmap
    torch.testing.assert_close(
        raw_outputs(one, data), raw_outputs(other, data), rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(first.best_loss, second.best_loss, rtol=0, atol=1e-9)


def test_a_conv_net_trains_as_plain_torch_does():
    X, y = images(32, dtype=np.float64)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten())
    model = regressor(net, dtype="float64", batch_size=None, weight_decay=0.1)
    model.set_params(max_epochs=4).fit(X, y)
    start = clone(model).set_params(max_epochs=1, lr=1e-300).fit(X, y).architecture_

    plain, head = copy.deepcopy(net).double(), nn.Linear(48, 2).double()
    with torch.no_grad():
        head.weight.copy_(start.heads.shared.weight[0].T)
        head.bias.copy_(start.heads.shared.bias[0, 0])
    weights = [plain[0].weight, head.weight]
    biases = [plain[0].bias, head.bias]
    optimizer = torch.optim.AdamW(
        [{"params": weights}, {"params": biases, "weight_decay": 0.0}],
        lr=0.01,
        weight_decay=0.1,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    mean, scale = y.mean(0), y.std(0)
    rows, targets = torch.tensor(X), torch.tensor((y - mean) / scale)
    for _ in range(4):
        optimizer.zero_grad()
        (head(plain(rows)) - targets).square().mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        expected = head(plain(rows)).numpy() * scale + mean
    np.testing.assert_allclose(model.predict(X), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("row_tasks", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_bank_trains_as_its_networks_one_by_one(
    row_tasks, dropout, make_data, make_plan, assert_one_by_one
):
    data = make_data(n_rows=37, row_tasks=row_tasks)
    strategy = TorchModule(SmallTrunk, {"width": 5, "dropout": dropout})
    rows = np.arange(37)
    plans = [
        make_plan(
            data,
            seed=k % 4,
            train_rows=rows[rows % 5 != k],
            valid_rows=rows[rows % 5 == k],
            encoding=Raw(),
            architecture=strategy,
            batch_size=batch_size,
            max_epochs=5,
            n_iter_no_change=2,
        )
        for k, batch_size in enumerate([8, 8, 11, 30, 8])
    ]
    assert_one_by_one(plans, data)


def test_batch_statistics_are_of_each_network_s_own_rows(
    make_data, make_plan, assert_one_by_one
):
    data = make_data(n_rows=30, n_features=9)
    data = replace(data, input_shape=(1, 3, 3))
    # Padding, resting networks, early stopping and compaction: all meet the buffers.
    plans = [
        make_plan(
            data,
            k,
            rows,
            np.arange(25, 30),
            encoding=Raw(),
            architecture=TorchModule(Conv, {"dropout": 0.2}),
            batch_size=8,
            max_epochs=8,
            n_iter_no_change=n_iter_no_change,
        )
        for k, (rows, n_iter_no_change) in enumerate(
            [(np.arange(25), 1), (np.arange(13), 8), (np.arange(3, 22), 2)]
        )
    ]
    net, training = assert_one_by_one(plans, data)
    assert len({*training.best_epoch}) > 1
    for k, plan in enumerate(plans):
        alone, _ = fit_bank([plan], data, dtype="float64")
        whole = net.module_.architecture.trunk.norm
        own = alone.module_.architecture.trunk.norm
        torch.testing.assert_close(whole.running_var[k], own.running_var[0])
        # Batches up to the best epoch, and not those after it.
        n_batches = plan.n_batches * training.best_epoch[k]
        assert whole.num_batches_tracked[k] == n_batches


def test_together_and_one_by_one_give_the_same_fit():
    X, y = images()
    trunk = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten())
    fits = [
        regressor(
            TorchModule(trunk, vmap=vmap),
            n_estimators=4,
            early_stopping=True,
            dtype="float64",
        ).fit(X, y)
        for vmap in (True, False)
    ]
    assert [fit.architecture_.together for fit in fits] == [True, False]
    np.testing.assert_allclose(*(fit.predict(X) for fit in fits), rtol=0, atol=1e-9)


class Normalised(nn.Module):
    """Mix the rows of a batch, without a buffer that would tell."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, rows):
        return self.linear(rows - rows.mean(0) if self.training else rows)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, rows):
        found = self.linear(rows)
        return found if found.sum() > 0 else -found


def sequential(*layers):
    return nn.Sequential(nn.Linear(4, 3), *layers)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (sequential(nn.BatchNorm1d(3)), "changes buffers"),
        (sequential(nn.Dropout(0.5)), "does not run under vmap.*random"),
        (Normalised(), "mixes the rows"),
        (Branching(), "does not run under vmap"),
    ],
)
def test_what_cannot_run_together_runs_one_by_one(module, why):
    X, y = regression_data()
    model = regressor(module, n_estimators=4).fit(X, y)
    assert model.architecture_.together is False
    strict = regressor(TorchModule(module, vmap=True), n_estimators=4)
    with pytest.raises(ValueError, match=f"vmap=True.*{why}.*vmap='auto'"):
        strict.fit(X, y)


def test_auto_goes_by_sizes_and_not_by_a_stopwatch():
    X, y = regression_data()
    for n_estimators, width, together in [(4, 8, True), (2, 8, False), (4, 2**15, 0)]:
        small = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))
        model = regressor(small, n_estimators=n_estimators, max_epochs=1)
        model.fit(X, y)
        assert model.architecture_.together == together


# -- randomness ------------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"dropout": 0.4}])
def test_fits_repeat_and_leave_the_global_state_alone(
    params, random_state_of_the_world
):
    X, y = images()
    models = [
        regressor(TorchModule(Conv, params), n_estimators=2, early_stopping=True)
        for _ in range(2)
    ]
    first = models[0].fit(X, y).predict(X)
    with seeded(99):  # another global state must not matter
        second = models[1].fit(X, y).predict(X)
    np.testing.assert_array_equal(first, second)


def test_members_of_a_class_start_apart_and_copies_of_an_instance_alike():
    apart, alike = bank_of(SmallTrunk).trunk, bank_of(nn.Linear(4, 3)).trunk
    assert not torch.equal(apart.first.weight[0], apart.first.weight[1])
    assert torch.equal(alike.weight[0], alike.weight[1])
    shape = BankShape((4, 4), 2, 2)
    same = TorchModule(SmallTrunk).build(shape, Streams([(5,), (5,)])).trunk
    assert torch.equal(same.first.weight[0], same.first.weight[1])


def test_seeded_puts_the_global_generator_back(random_state_of_the_world):
    with seeded(3):
        first = torch.rand(2)
    with seeded(3):
        assert torch.equal(first, torch.rand(2))
    with pytest.raises(KeyError), seeded(4):
        raise KeyError


def test_threads_predict_as_one(random_state_of_the_world):
    X, y = images()
    model = regressor(Conv).fit(X, y)
    other = clone(model).set_params(random_state=1)
    expected, found = model.predict(X), []

    def predict():
        found.extend(model.predict(X) for _ in range(10))

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    other.fit(X, y)
    for thread in threads:
        thread.join()
    assert len(found) == 30
    for prediction in found:
        np.testing.assert_array_equal(prediction, expected)


# -- the user's module -----------------------------------------------------------


def test_an_instance_is_never_changed():
    X, y = images()
    module = residual_net()
    before = copy.deepcopy(module)
    model = regressor(module, n_estimators=2, early_stopping=True).fit(X, y)
    model.predict(X)
    assert model.architecture.module is module
    assert all(part.training for part in module.modules())
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[name])
    kept = model.architecture_.trunk.get_parameter("0.weight")[0]
    assert not torch.allclose(kept.float(), before[0].weight)


def test_a_pretrained_instance_is_where_training_starts():
    X, y = images()
    module = Conv()
    module.norm.running_mean += 3.0
    model = regressor(module, lr=1e-300, weight_decay=0.0, max_epochs=1).fit(X, y)
    trunk = model.architecture_.trunk
    torch.testing.assert_close(trunk.conv.weight[0].float(), module.conv.weight.data)
    # Three batches of a momentum of 0.1 are behind the running mean.
    assert (trunk.norm.running_mean[0] > 1.5).all()


@pytest.mark.parametrize(
    "weighting", [None, Uncertainty(), PCGrad(gradients="parameters")]
)
def test_frozen_parameters_stay(weighting):
    X, y = images()
    module = Conv()
    module.conv.requires_grad_(False)
    model = regressor(module, weighting=weighting, clip_norm=1.0).fit(X, y)
    bank = model.architecture_
    assert torch.equal(bank.trunk.conv.weight[0].float(), module.conv.weight)
    assert not torch.allclose(bank.trunk.norm.weight[0].float(), torch.ones(4))
    assert {id(p) for p in bank.shared_parameters()} == {
        id(p) for n, p in bank.trunk.named_parameters() if n.startswith("norm")
    }
    whole = regressor(module.requires_grad_(False)).fit(X, y)
    assert whole.architecture_.shared_parameters() == []


def test_shared_parameters_are_the_module_s_and_keep_their_names():
    bank = bank_of(residual_net(), n_inputs=36, input_shape=(1, 6, 6))
    names = [name for name, _ in residual_net().named_parameters()]
    assert [name for name, _ in bank.trunk.named_parameters()] == names
    shared = bank.shared_parameters()
    assert [p.shape[1:] for p in shared] == [
        p.shape for p in residual_net().parameters()
    ]
    assert {id(p) for p in shared}.isdisjoint(map(id, bank.heads.parameters()))
    assert all(len(p) == 3 for p in bank.state_dict().values())


def test_weight_decay_acts_on_weights_only():
    X, y = images()
    module = Conv()
    decayed, free = (
        regressor(module, weight_decay=w, max_epochs=1, batch_size=None).fit(X, y)
        for w in (10.0, 0.0)
    )
    ours, theirs = decayed.architecture_.trunk, free.architecture_.trunk
    # One step of size lr shrinks weights by lr * weight_decay.
    shrunk = 0.9 * module.conv.weight + (theirs.conv.weight[0] - module.conv.weight)
    torch.testing.assert_close(ours.conv.weight[0], shrunk.detach())
    torch.testing.assert_close(ours.conv.bias, theirs.conv.bias, rtol=0, atol=0)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 4, batch_first=True)

    def forward(self, rows):
        return self.lstm(rows)[0][:, -1]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.again = self.first

    def forward(self, rows):
        return self.again(torch.tanh(self.first(rows)))


class InFloat32(nn.Module):
    """Hold a float32 tensor that is neither parameter nor buffer."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.norm = nn.BatchNorm1d(3)
        self.mix = torch.eye(3)

    def forward(self, rows):
        return self.norm(self.linear(rows).flatten(0, 1) @ self.mix).reshape(
            len(rows), -1
        )


class Rebinding(nn.Module):
    """Change a buffer by assignment instead of in place."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("grid", torch.arange(5), persistent=False)

    def forward(self, rows):
        if self.training:
            self.seen = self.seen + 1
        return self.linear(rows)[:, self.grid]


@pytest.mark.parametrize("module", [Recurrent, Tied, InFloat32, Rebinding])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_modules_of_many_kinds_train_adapt_and_travel(module, dtype):
    X, _ = images(40, 5, dtype=np.float64)
    X = X[:, 0, :, :2]  # (n, 5, 2)
    y = X[:, :, 0] @ np.ones((5, 2))
    model = regressor(module, max_epochs=30, n_estimators=2, dtype=dtype).fit(X, y)
    assert model.score(X, y) > 0.3
    back = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(back.predict(X), model.predict(X))
    np.testing.assert_allclose(
        np.mean([member.predict(X) for member in model.estimators_], axis=0),
        model.predict(X),
        atol=1e-5,
    )
    assert model.adapt(X, X[:, :, 0].sum(1)).score(X, X[:, :, 0].sum(1)) > 0.5
    if module is Rebinding:
        n_batches = -(-40 // 16) * 30
        assert model.architecture_.trunk.seen.tolist() == [n_batches] * 2
        assert back.architecture_.trunk.grid.tolist() == [list(range(5))] * 2


def test_predictions_of_float64_modules_do_not_depend_on_the_rows_beside():
    X, y = images()
    model = regressor(Conv).fit(X, y)
    alone = np.concatenate([model.predict(X[[i]]) for i in range(10)])
    np.testing.assert_allclose(alone, model.predict(X)[:10], rtol=1e-12)
    many = np.concatenate([X] * 40)
    np.testing.assert_allclose(model.predict(many)[-48:], model.predict(X), rtol=1e-12)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: nn.LSTM(4, 3), r"returned a tuple for 2 rows.*wrap it"),
        (lambda: nn.Flatten(0), r"a tensor of shape \(8,\) for 2 rows"),
        (lambda: nn.Linear(5, 2), r"fails on rows of shape \(2, 4\) in float32"),
        (lambda: "text", r"must be or make a torch.nn.Module. Got str"),
    ],
)
def test_modules_that_do_not_fit_say_why(module, message):
    X, y = regression_data()
    with pytest.raises(ValueError, match=message):
        regressor(module).fit(X, y)


def test_a_module_without_parameters_leaves_linear_models():
    X, y = regression_data()
    raw = regressor(nn.Identity(), max_epochs=20, weighting=PCGrad()).fit(X, y)
    none = clone(raw).set_params(architecture=HardSharing(()), encoding=Raw())
    # HardSharing starts such heads at zero.
    assert abs(raw.score(X, y) - none.fit(X, y).score(X, y)) < 0.2
    assert raw.architecture_.n_features == 4


def test_torchvision_needs_nothing_of_ours():
    torchvision = pytest.importorskip("torchvision")
    X = np.random.default_rng(0).random((6, 3, 32, 32)).astype(np.float32)
    y = X.mean((2, 3))
    strategy = TorchModule(torchvision.models.resnet18, {"num_classes": 5})
    model = regressor(strategy, max_epochs=1).fit(X, y)
    assert model.architecture_.n_features == 5


# -- scikit-learn ----------------------------------------------------------------


def test_parameters_of_the_class_are_parameters():
    strategy = TorchModule(SmallTrunk, {"width": 5})
    assert strategy.get_params()["module__width"] == 5
    assert "module__width" not in strategy.get_params(deep=False)
    params = strategy.module_params
    strategy.set_params(module__width=7, task_shrinkage=1.0)
    assert (strategy.module_params, params) == ({"width": 7}, {"width": 5})
    assert strategy.task_shrinkage == 1.0
    strategy.set_params(module=nn.Linear, module_params=None, module__in_features=4)
    assert strategy.module_params == {"in_features": 4}
    with pytest.raises(ValueError, match=r"'widht' for the module SmallTrunk.*'width'"):
        TorchModule(SmallTrunk).set_params(module__widht=3)
    with pytest.raises(ValueError, match=r"instance of SmallTrunk.*Pass the class"):
        TorchModule(SmallTrunk()).set_params(module__width=3)
    with pytest.raises(ValueError, match=r"module_params are for a class"):
        regressor(TorchModule(nn.Linear(4, 3), {"bias": False})).fit(*regression_data())


def test_a_search_over_the_parameters_of_the_module():
    X, y = regression_data()
    grid = {"architecture__module__width": [1, 12]}
    search = GridSearchCV(
        regressor(TorchModule(SmallTrunk), max_epochs=20), grid, cv=KFold(2)
    ).fit(X, y)
    assert search.best_params_ == {"architecture__module__width": 12}
    assert search.best_estimator_.architecture_.n_features == 12
    assert search.estimator.architecture.module_params is None


@pytest.mark.parametrize("module", [Conv, Conv()], ids=["class", "instance"])
@pytest.mark.parametrize("journey", ["pickle", "joblib", "deepcopy", "take"])
def test_fitted_estimators_travel(module, journey, tmp_path):
    X, y = images()
    model = regressor(module, n_estimators=2).fit(X, y)
    if journey == "pickle":
        back = pickle.loads(pickle.dumps(model))
    elif journey == "joblib":
        joblib.dump(model, tmp_path / "model")
        back = joblib.load(tmp_path / "model")
    elif journey == "deepcopy":
        back = copy.deepcopy(model)
    else:
        back = copy.copy(model)
        back.net_ = model.net_.take([1, 0])
    np.testing.assert_allclose(back.predict(X), model.predict(X), rtol=1e-12)
    tensors = model.architecture_.trunk.state_dict()
    for name, tensor in back.architecture_.trunk.state_dict().items():
        assert tensor.dtype == tensors[name].dtype
    assert repr(clone(back)) == repr(clone(model))


def test_taken_networks_share_the_code_and_not_the_weights():
    bank = bank_of(SmallTrunk).eval()
    taken = take_networks(bank, [2])
    assert taken.template is bank.template
    rows = torch.randn(3, 5, 4)
    torch.testing.assert_close(taken.features(rows[2:]), bank.features(rows)[2:])
    taken.trunk.first.weight.data.zero_()
    assert bank.trunk.first.weight[2].any()


def test_without_streams_weights_wait_to_be_loaded():
    waiting, made = bank_of(SmallTrunk, streams=False), bank_of(SmallTrunk)
    shapes = [{n: t.shape for n, t in b.state_dict().items()} for b in (waiting, made)]
    assert shapes[0] == shapes[1]
    waiting.load_state_dict(made.state_dict())
    rows = torch.randn(1, 5, 4)
    assert torch.equal(waiting.eval().features(rows), made.eval().features(rows))


def test_row_tasks_and_missing_labels():
    X, y, task = row_task_data()
    model = regressor(SmallTrunk, max_epochs=30, n_estimators=2).fit(X, y, task=task)
    assert model.score(X, y, task=task) > 0.5
    new = model.adapt(X[task == 10], y[task == 10])
    assert new.score(X[task == 10], y[task == 10]) > 0.5
    X, y = images(60)
    gaps = missing(y)
    assert np.isfinite(regressor(Conv).fit(X, gaps).predict(X)).all()


def test_members_stop_apart_and_tell_of_held_out_rows():
    X, y = images(40)
    model = regressor(
        Conv, n_estimators=3, early_stopping=True, max_epochs=12, n_iter_no_change=2
    ).fit(X, y)
    assert model.validation_prediction_.shape == y.shape
    assert len(model.history_) == model.n_epochs_


# -- X of any rank ---------------------------------------------------------------


def test_images_are_counted_as_scikit_learn_does():
    X, y = images()
    model = regressor(Conv).fit(X, y)
    assert model.n_features_in_ == 1
    assert model.predict(X).shape == y.shape
    np.testing.assert_array_equal(model.net_.predict(X), model.predict(X))
    with pytest.raises(ValueError, match=r"rows of shape \(1, 6, 5\).*\(1, 6, 6\)"):
        model.predict(X[..., :5])
    with pytest.raises(ValueError, match=r"rows of shape \(1,\).*\(1, 6, 6\)"):
        model.predict(X[:, :, 0, 0])
    table = regressor(SmallTrunk).fit(*regression_data())
    with pytest.raises(ValueError, match=r"rows of shape \(4, 2\).*\(4,\), as in fit"):
        table.predict(np.zeros((3, 4, 2)))


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        (np.float32, np.float32),
        (np.uint8, np.float32),
        (np.float64, np.float64),
        (np.float16, np.float32),
    ],
)
def test_images_are_not_blown_up(dtype, kept, monkeypatch):
    X, y = images()
    X = (10 * X).astype(dtype)
    seen = {}
    make = MultiTaskNetRegressor._make_plans

    def remember(self, data, members):
        seen["data"] = data
        return make(self, data, members)

    monkeypatch.setattr(MultiTaskNetRegressor, "_make_plans", remember)
    model = regressor(nn.Flatten(), max_epochs=1, n_estimators=4, early_stopping=True)
    model.fit(X, y)
    data = seen["data"]
    assert data.X.dtype == kept
    assert data.X.shape == (48, 36)
    plans = make(model, data, model._members)
    assert len({id(plan.encoder) for plan in plans}) == 1


@pytest.mark.parametrize(
    "params",
    [{"architecture": HardSharing((4,))}, {"encoding": Standard()}],
    ids=["architecture", "encoding"],
)
def test_others_say_what_reads_images(params):
    X, y = images()
    model = regressor(Conv).set_params(**params)
    with pytest.raises(ValueError, match=r"dim 4.*TorchModule.*encoding=None.*reshape"):
        model.fit(X, y)


def test_a_task_column_is_of_a_table():
    X, y = images()
    model = regressor(Conv, task_column=0)
    with pytest.raises(ValueError, match=r"got 4D array.*argument task"):
        model.fit(X, y[:, 0])
    model = regressor(Conv).fit(X, y[:, 0], task=np.arange(48) % 3)
    assert model.n_tasks_ == 3


def test_missing_values_are_refused_with_a_way_on():
    X, y = regression_data()
    gaps = X.copy()
    gaps[7, 2] = np.nan
    model = regressor(SmallTrunk)
    with pytest.raises(ValueError, match=r"NaN in 1 rows.*position 7.*Standard\(\)"):
        model.fit(gaps, y)
    assert not model.__sklearn_tags__().input_tags.allow_nan
    model.fit(X, y)
    with pytest.raises(ValueError, match=r"NaN in 1 rows"):
        model.predict(gaps)
    model.set_params(encoding=Standard()).fit(gaps, y)
    assert np.isfinite(model.predict(gaps)).all()
    assert model.__sklearn_tags__().input_tags.allow_nan


def test_none_is_raw_for_a_torch_module():
    X, y = regression_data()
    none, raw = (
        regressor(SmallTrunk, encoding=encoding).fit(X, y).predict(X)
        for encoding in (None, Raw())
    )
    np.testing.assert_array_equal(none, raw)
    scaled = HardSharing((4,))
    by_hand = (X - X.mean(0)) / X.std(0)
    settings = {**FAST, "relevance": None}
    fits = [
        MultiTaskNetRegressor(scaled, encoding=encoding, **settings).fit(rows, y)
        for encoding, rows in ((Raw(), by_hand), (Standard(), X))
    ]
    np.testing.assert_allclose(fits[0].predict(by_hand), fits[1].predict(X), rtol=1e-4)


def test_classes_of_images():
    X, y = images(80)
    labels = (y > 0).astype(int)
    model = MultiTaskNetClassifier(
        TorchModule(residual_net, {"width": 6}),
        **{**FAST, "max_epochs": 25, "weight_decay": 0.01},
    ).fit(X, labels)
    assert model.score(X, labels) > 0.8
    assert [p.shape for p in model.predict_proba(X)] == [(80, 2), (80, 2)]
