"""Small data and plans from which the tests of the engine build their banks."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from skmtl import MultiTaskNetClassifier, MultiTaskNetRegressor
from skmtl._net import fit_bank
from skmtl._net._best_epochs import network_tensors
from skmtl._streams import Streams
from skmtl._tasks import check_task_data
from skmtl.architecture import HardSharing
from skmtl.encoding import Standard

# Examples are the same in every run; the engine's tests train networks in each.
settings.register_profile(
    "skmtl",
    deadline=None,
    max_examples=8,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("skmtl")

# Workers of pytest-xdist share the cores.
_N_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, torch.get_num_threads() // _N_WORKERS))

_ESTIMATORS = {"number": MultiTaskNetRegressor, "class": MultiTaskNetClassifier}


def _make_data(
    n_rows=40,
    n_features=3,
    n_tasks=3,
    *,
    kind="number",
    n_classes=2,
    row_tasks=False,
    missing=0.0,
    weighted=False,
    seed=0,
):
    """Draw checked data; `n_classes` may be a list, one number a column."""
    rng = np.random.default_rng(seed)
    n_columns = 1 if row_tasks else n_tasks
    X = rng.normal(size=(n_rows, n_features))
    y = X @ rng.normal(size=(n_features, n_columns))
    y += 0.3 * rng.normal(size=y.shape)
    if kind == "class":
        n_classes = np.broadcast_to(n_classes, n_columns)
        ranks = y.argsort(axis=0).argsort(axis=0)
        y = (ranks * n_classes // n_rows).astype(float)
    if not row_tasks:
        absent = rng.uniform(size=y.shape) < missing
        # No row and no class loses all its labels.
        absent[np.arange(n_rows), np.arange(n_rows) % n_tasks] = False
        y[absent] = np.nan
    task = np.arange(n_rows) % n_tasks if row_tasks else None
    weight = rng.uniform(0.5, 2.0, size=y.shape) if weighted else None
    if row_tasks:
        y = y[:, 0]
        weight = None if weight is None else weight[:, 0]
    return check_task_data(_ESTIMATORS[kind](), X, y, task, weight, kind=kind)


def _make_plan(
    data,
    seed=0,
    train_rows=None,
    valid_rows=None,
    *,
    encoder=None,
    encoding=None,
    targets=None,
    **hyperparameters,
):
    """Plan one network; a small one where nothing is said."""
    kind = "number" if data.encoder.classes[0] is None else "class"
    estimator = _ESTIMATORS[kind](
        HardSharing((5,), activation="tanh"),
        encoding=Standard(),
        n_estimators=1,
        early_stopping=False,
        random_state=0,
        lr=0.02,
        batch_size=8,
        max_epochs=4,
    )
    estimator._fit_encoder(data)
    members = estimator._draw_members(data, early_stopping=False)
    plan = estimator._make_plans(data, members)[0]
    if train_rows is not None:
        plan = replace(plan, train_rows=np.asarray(train_rows))
    if valid_rows is not None:
        plan = replace(plan, valid_rows=np.asarray(valid_rows))
    if encoder is None:
        rows = plan.train_rows
        weight = data.weight[rows].max(axis=1)
        categories = [data.categories] if data.categories else []
        encoder = (encoding or Standard()).fit(data.X[rows], weight, *categories)
    weights = hyperparameters.get("task_weights")
    if weights is not None:
        hyperparameters["task_weights"] = np.asarray(weights, dtype=float)
    return replace(
        plan,
        seed=seed,
        encoder=encoder,
        targets=plan.targets if targets is None else targets,
        hyperparameters=replace(plan.hyperparameters, **hyperparameters),
    )


def _raw_outputs(net, data):
    """Compute outputs (n_networks, n_rows, n_outputs), float64, of all rows of data."""
    return torch.cat(list(net.outputs(data.X, data.task)), dim=1)


def _assert_one_by_one(plans, data, *, dtype="float64", atol=1e-9, skip=()):
    """Train some plans together and each alone, and compare all that came out."""
    net, together = fit_bank(plans, data, dtype=dtype)
    outputs = _raw_outputs(net, data)
    for k, plan in enumerate(plans):
        if k in skip:
            continue
        single, alone = fit_bank([plan], data, dtype=dtype)
        torch.testing.assert_close(
            outputs[k], _raw_outputs(single, data)[0], rtol=0, atol=atol
        )
        # Buffers too: what a weighting has learned.
        whole = network_tensors(net.module_)
        for name, tensor in network_tensors(single.module_).items():
            if tensor.shape[1:] == whole[name].shape[1:]:
                np.testing.assert_allclose(
                    whole[name][k], tensor[0], rtol=atol, atol=atol, err_msg=name
                )
        assert together.best_epoch[k] == alone.best_epoch[0]
        assert together.last_epoch[k] == alone.last_epoch[0]
        np.testing.assert_allclose(
            together.best_loss[k], alone.best_loss[0], rtol=0, atol=atol
        )
        for weights, own in zip(
            together.weight_history, alone.weight_history, strict=False
        ):
            np.testing.assert_allclose(weights[k], own[0], rtol=0, atol=atol)
    return net, together


@pytest.fixture(scope="session")
def make_data():
    """Draw checked data."""
    return _make_data


@pytest.fixture(scope="session")
def make_plan():
    """Plan one network."""
    return _make_plan


@pytest.fixture(scope="session")
def raw_outputs():
    """Compute outputs of a net on all rows."""
    return _raw_outputs


@pytest.fixture(scope="session")
def assert_one_by_one():
    """Compare a bank with its networks one by one."""
    return _assert_one_by_one


@pytest.fixture(scope="session")
def make_streams():
    """Make streams of networks that are known by their seeds alone."""
    return lambda *seeds: Streams([(seed,) for seed in seeds])


@pytest.fixture
def random_state_of_the_world():
    """Check that a test leaves the global random states alone."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
