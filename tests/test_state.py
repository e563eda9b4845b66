"""What a fitted net keeps, and how it travels."""

import copy
import io
import pickle
import warnings

import joblib
import numpy as np
import pytest
import torch

from skmtl._net import RowsDataset, fit_bank
from skmtl.architecture import HardSharing
from skmtl.encoding import PiecewiseLinear, Standard
from skmtl.weighting import PCGrad, Uncertainty

CASES = {
    "numbers": ({}, {}),
    "float64": ({"missing": 0.3}, {"dtype": "float64"}),
    "classes": ({"kind": "class", "n_classes": [2, 3, 2]}, {}),
    "row tasks": ({"row_tasks": True}, {"weighting": Uncertainty()}),
    "pcgrad": ({}, {"weighting": PCGrad()}),
    "skip": ({}, {"architecture": HardSharing((4,), linear_skip=True)}),
}


@pytest.fixture(scope="module", params=CASES)
def fitted(request, make_data, make_plan):
    data_kwargs, kwargs = CASES[request.param]
    kwargs = dict(kwargs)
    dtype = kwargs.pop("dtype", "float32")
    data = make_data(**data_kwargs)
    train, valid = np.arange(30), np.arange(30, 40)
    architecture = kwargs.pop("architecture", None)
    plans = [
        make_plan(
            data,
            k,
            train,
            valid,
            encoding=encoding,
            architecture=architecture or HardSharing((5,), dropout=0.1 * (k + 1)),
            **kwargs,
        )
        for k, encoding in enumerate([Standard(), PiecewiseLinear(3)])
    ]
    decode = "labels" if "kind" in data_kwargs else "numbers"
    return fit_bank(plans, data, dtype=dtype, decode=decode)[0], data


def predictions(net, data):
    return np.concatenate([o.numpy() for o in net.outputs(data.X, data.task)], axis=1)


def walk(thing, path="state", seen=None):
    """Visit everything reachable through containers and attributes."""
    seen = {} if seen is None else seen
    if id(thing) in seen:
        return
    seen[id(thing)] = thing
    yield path, thing
    if isinstance(thing, dict):
        children = [(f"[{key!r}]", value) for key, value in thing.items()]
        children += [("{key}", key) for key in thing]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        children = [(f"[{i}]", value) for i, value in enumerate(thing)]
    else:
        children = [(f".{n}", v) for n, v in getattr(thing, "__dict__", {}).items()]
    if isinstance(thing, type):
        return
    for name, child in children:
        yield from walk(child, path + name, seen)


def test_the_state_holds_no_torch_objects(fitted):
    net, _ = fitted
    n_arrays = 0
    for path, thing in walk(net.__getstate__()):
        module = type(thing).__module__.partition(".")[0]
        assert module in {"builtins", "numpy", "skmtl"}, f"{path}: {type(thing)}"
        n_arrays += isinstance(thing, np.ndarray)
    assert n_arrays >= len(list(net.module_.parameters()))


def test_the_state_names_every_parameter(fitted):
    net, _ = fitted
    arrays = net.__getstate__()["arrays"]
    assert set(arrays) == set(net.module_.state_dict())
    for name, parameter in net.module_.named_parameters():
        assert arrays[name].shape == tuple(parameter.shape)
        assert arrays[name].dtype == net.blueprint.dtype


def through_joblib(net):
    buffer = io.BytesIO()
    joblib.dump(net, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


JOURNEYS = {
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "twice": lambda net: pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(net)))),
    "deepcopy": copy.deepcopy,
    "joblib": through_joblib,
}


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_net_comes_back_bit_equal(journey, fitted):
    net, data = fitted
    back = JOURNEYS[journey](net)
    np.testing.assert_array_equal(predictions(back, data), predictions(net, data))
    found, wanted = back.module_.state_dict(), net.module_.state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
    rows = RowsDataset(data.X, data.task)
    np.testing.assert_array_equal(back.predict(rows), net.predict(rows))
    assert not back.module_.training


@pytest.mark.parametrize("journey", JOURNEYS)
def test_copies_share_no_memory(journey, fitted):
    net, data = fitted
    before = predictions(net, data)
    back = JOURNEYS[journey](net)
    for parameter in back.module_.parameters():
        parameter.data.zero_()
    np.testing.assert_array_equal(predictions(net, data), before)


@pytest.mark.parametrize("journey", JOURNEYS)
def test_history_survives(journey, fitted):
    net, _ = fitted
    back = JOURNEYS[journey](net)
    names = ["epoch", "train_loss", "valid_loss", "train_losses", "valid_loss_best"]
    assert back.history[:, names] == net.history[:, names]
    assert len(back.history) == 4
    back.history.new_epoch()
    assert len(net.history) == 4


def test_history_can_be_written_to_a_file(fitted, tmp_path):
    net, _ = fitted
    net.history.to_file(tmp_path / "history.json")
    read = type(net.history).from_file(tmp_path / "history.json")
    assert read[:, "train_losses"] == net.history[:, "train_losses"]


def test_a_net_from_a_device_that_is_not_here_loads_on_the_cpu(fitted):
    net, data = fitted
    state = copy.deepcopy(net.__getstate__())
    state["device"] = "cuda:99"
    back = type(net).__new__(type(net))
    with pytest.warns(UserWarning, match=r"'cuda:99'.*not available here.*CPU"):
        back.__setstate__(state)
    assert str(back.device) == "cpu"
    assert {p.device.type for p in back.module_.parameters()} == {"cpu"}
    np.testing.assert_array_equal(predictions(back, data), predictions(net, data))


def test_a_net_loads_on_its_device_without_a_word(fitted):
    net, _ = fitted
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert str(copy.deepcopy(net).device) == "cpu"


@pytest.mark.parametrize("index", [[0], [1], [1, 0], [0, 0, 1]])
def test_taken_networks_predict_as_they_did(index, fitted):
    net, data = fitted
    taken = net.take(index)
    np.testing.assert_allclose(
        predictions(taken, data), predictions(net, data)[index], rtol=1e-12, atol=1e-12
    )
    back = pickle.loads(pickle.dumps(taken))
    np.testing.assert_array_equal(predictions(back, data), predictions(taken, data))
    for parameter in taken.module_.parameters():
        assert len(parameter) == len(index)


def test_predictions_do_not_depend_on_the_rows_beside(fitted):
    net, data = fitted
    whole = predictions(net, data)
    for i in (0, 17, 39):
        task = None if data.task is None else data.task[[i]]
        (alone,) = net.outputs(data.X[[i]], task)
        np.testing.assert_allclose(alone[:, 0], whole[:, i], rtol=1e-12, atol=1e-12)


def test_a_net_reads_rows_that_may_not_be_written_to(fitted):
    net, data = fitted
    X = data.X.copy()
    X.flags.writeable = False
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        (outputs,) = net.outputs(X, data.task)
    finally:
        torch.set_warn_always(before)
    np.testing.assert_array_equal(outputs, predictions(net, data))


def test_the_weights_of_a_net_stay_in_their_dtype_after_predicting(fitted):
    net, data = fitted
    before = {n: t.clone() for n, t in net.module_.state_dict().items()}
    assert predictions(net, data).dtype == np.float64
    for name, tensor in net.module_.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])
