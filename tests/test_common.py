"""What holds for every estimator and every strategy."""

import importlib
import inspect
import pickle
import pkgutil
import random
import re
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
from numpydoc.docscrape import ClassDoc, FunctionDoc
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks
from torchjd.aggregation import MGDAWeighting

import skmtl
from skmtl._strategy import Strategy
from skmtl.architecture import Architecture, HardSharing
from skmtl.encoding import Encoding
from skmtl.loss import Loss
from skmtl.weighting import GramianWeighting, TorchJD, Weighting

from .instances import (
    EVERY_ESTIMATOR,
    SmallTrunk,
    classification_data,
    default,
    exact,
    regression_data,
    row_task_data,
    rows_of_table,
    small,
)

KINDS = sorted(EVERY_ESTIMATOR)
CLASSES = {"SmallTrunk": SmallTrunk, "MGDAWeighting": MGDAWeighting}
ROWS = [
    pytest.param(name, row, id=f"{name}={row.strategy}".replace("\n", ""))
    for name, row in rows_of_table()
]
PACKAGES = ["skmtl"] + [
    f"skmtl.{module.name}"
    for module in pkgutil.iter_modules(skmtl.__path__)
    if not module.name.startswith("_")
]
ABSTRACT = {Architecture, Encoding, GramianWeighting, Loss, Weighting}
PUBLIC = [
    pytest.param(
        getattr(importlib.import_module(package), name), id=f"{package}.{name}"
    )
    for package in PACKAGES
    for name in getattr(importlib.import_module(package), "__all__", [])
    if not name.isupper()  # constants
]

# -- scikit-learn's own checks ---------------------------------------------------

# The checks with one class do not expect the warning that fit gives then.
one_class = pytest.mark.filterwarnings("ignore:Task 0 has a single class:UserWarning")


STOCHASTIC = {
    "check_sample_weight_equivalence_on_dense_data": (
        "stochastic fit: early-stopping folds and mini-batches are drawn over rows"
    )
}


@one_class
@parametrize_with_checks(
    [exact(kind) for kind in KINDS],
)
def test_exact_instances_pass_every_check_of_scikit_learn(estimator, check):
    check(estimator)


@one_class
@parametrize_with_checks(
    [small(kind) for kind in KINDS],
    expected_failed_checks=lambda estimator: STOCHASTIC,
    xfail_strict=True,
)
def test_default_training_passes_every_check_of_scikit_learn_but_one(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", KINDS)
def test_small_instances_change_only_what_they_say(kind):
    ours, theirs = small(kind).get_params(deep=False), default(kind).get_params(False)
    changed = {name for name in ours if ours[name] is not theirs[name]}
    changed -= {name for name in changed if ours[name] == theirs[name]}
    assert changed == {"architecture", "n_estimators", "stumps", "max_epochs", "lr"}


# -- the public face -------------------------------------------------------------


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_complete_and_imports(package):
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    defined = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and (getattr(value, "__module__", "").startswith("skmtl") or name.isupper())
    }
    assert defined == set(module.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_star_import_gives_all(package):
    namespace = {}
    exec(f"from {package} import *", namespace)
    expected = set(importlib.import_module(package).__all__)
    assert expected == namespace.keys() - {"__builtins__"}


@pytest.mark.parametrize("public", PUBLIC)
def test_every_parameter_is_documented_in_order(public):
    documented = _documented(public)
    assert [name for name, _ in documented] == list(_parameters(public))
    assert all(text for _, text in documented)


@pytest.mark.parametrize("public", PUBLIC)
def test_documented_defaults_are_the_defaults(public):
    parameters = _parameters(public)
    for name, (kind, _) in _documented(public, types=True):
        given = parameters[name].default
        _, says, text = kind.partition("default=")
        if given is inspect.Parameter.empty:
            assert not says, f"{name} has no default"
        elif "optional" in kind:
            assert given is None
        elif says and not isinstance(given, slice):
            assert text == repr(given).replace("'", '"'), name
        else:
            assert says, f"the default of {name} is not documented"


@pytest.mark.parametrize("public", [p for p in PUBLIC if inspect.isclass(p.values[0])])
def test_every_argument_of_every_public_method_is_documented(public):
    for name, method in inspect.getmembers(public, inspect.isfunction):
        if name.startswith("_") or not method.__module__.startswith("skmtl"):
            continue
        doc = FunctionDoc(method)
        documented = [p.name for p in doc["Parameters"]]
        found = [n.strip() for names in documented for n in names.split(",")]
        assert found == [p for p in _parameters(method) if p != "self"], name


def _parameters(public):
    if inspect.isclass(public) and not inspect.isfunction(public.__init__):
        return {}  # no constructor of its own
    if inspect.isclass(public) and public.__init__ is torch.nn.Module.__init__:
        return {}
    parameters = inspect.signature(public).parameters.values()
    kinds = {
        inspect.Parameter.VAR_KEYWORD: "**",
        inspect.Parameter.VAR_POSITIONAL: "*",
    }
    return {kinds.get(p.kind, "") + p.name: p for p in parameters}


def _documented(public, types=False):
    doc = ClassDoc(public) if inspect.isclass(public) else FunctionDoc(public)
    found = []
    for parameter in doc["Parameters"]:
        text = " ".join(parameter.desc)
        for name in parameter.name.split(","):
            found.append((name.strip(), (parameter.type, text) if types else text))
    return found


# -- strategies ------------------------------------------------------------------


def _plain(strategy):
    """All hyperparameters; an object inside the strategy by its class and its own."""
    return {
        name: type(value) if isinstance(value, (Strategy, torch.nn.Module)) else value
        for name, value in strategy.get_params().items()
    }


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_strategies_clone_print_and_pickle(name, row):
    strategy = clone(row.strategy)
    for copied in (clone(strategy), pickle.loads(pickle.dumps(strategy))):
        assert type(copied) is type(strategy)
        assert _plain(copied) == _plain(strategy)
    # A class prints as <class 'its.name'>.
    printed = re.sub(r"<class '[\w.]*\.(\w+)'>", r"\1", repr(strategy))
    scope = {**vars(importlib.import_module(f"skmtl.{name}")), **CLASSES}
    assert _plain(eval(printed, scope)) == _plain(strategy)


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_strategies_hold_hyperparameters_only(name, row):
    assert isinstance(row.strategy, Strategy)
    assert not isinstance(row.strategy, torch.nn.Module)
    assert vars(row.strategy).keys() == row.strategy.get_params(deep=False).keys()
    # TorchJD holds an object of another library, and never makes it a part of itself.
    foreign = isinstance(row.strategy, TorchJD)
    kinds = torch.Tensor if foreign else (torch.Tensor, torch.nn.Module)
    assert not any(isinstance(v, kinds) for v in vars(row.strategy).values())


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_every_bad_hyperparameter_is_refused_with_its_name(name, row):
    for parameter in row.strategy.get_params(deep=False):
        strategy = clone(row.strategy).set_params(**{parameter: object()})
        with pytest.raises(ValueError, match=f"'{parameter}' parameter of"):
            strategy.check()


def test_every_public_strategy_is_in_the_table():
    in_table = {type(row.strategy) for _, row in rows_of_table()}
    for package in PACKAGES[1:]:
        for name in importlib.import_module(package).__all__:
            value = getattr(importlib.import_module(package), name)
            if inspect.isclass(value) and issubclass(value, Strategy):
                assert value in in_table or value in ABSTRACT


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_a_fit_leaves_the_strategy_as_it_was(name, row):
    kind = row.kinds[0]
    strategy = clone(row.strategy)
    X, y = _column_data(kind, row)
    model = exact(kind, max_epochs=2, **{name: strategy}).fit(X, y)
    assert getattr(model, name) is strategy
    assert _plain(strategy) == _plain(row.strategy)
    assert vars(strategy).keys() == vars(row.strategy).keys()


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_every_strategy_learns_column_tasks(name, row):
    for kind in row.kinds:
        X, y = _column_data(kind, row)
        model = exact(kind, **{name: clone(row.strategy)}).fit(X, y)
        assert model.score(X, y) > _score_of_a_constant(kind, y) + 0.3


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_every_strategy_learns_row_tasks_or_says_why_not(name, row):
    X, y, task = row_task_data()
    if row.positive:
        y = np.exp(y / 4)
    for kind in row.kinds:
        labels = y if kind == "regressor" else y > 0
        model = exact(kind, **{name: clone(row.strategy)})
        if not row.row_tasks:
            with pytest.raises(ValueError, match=row.row_error):
                model.fit(X, labels, task=task)
            continue
        model.fit(X, labels, task=task)
        constant = _score_of_a_constant(kind, labels[:, None])
        assert model.score(X, labels, task=task) > constant + 0.2


def _column_data(kind, row):
    X, y = regression_data() if kind == "regressor" else classification_data()
    return X, np.exp(y / 4) if row.positive else y


def _score_of_a_constant(kind, y):
    if kind == "regressor":
        return 0.0
    most = [np.unique(column, return_counts=True)[1].max() for column in y.T]
    return np.mean(most) / len(y)


@pytest.mark.parametrize(
    ("name", "row"), [p for p in ROWS if p.values[0] == "weighting"]
)
def test_every_weighting_trains_a_model_without_hidden_layers(name, row):
    X, y = regression_data()
    model = exact("regressor", architecture=HardSharing(()))
    model.set_params(weighting=clone(row.strategy)).fit(X, y)
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_fitted_strategies_are_what_they_claim(name, row):
    X, y = _column_data(row.kinds[0], row)
    model = exact(row.kinds[0], max_epochs=2, **{name: clone(row.strategy)}).fit(X, y)
    if row.has_features is not None:
        assert model.architecture_.has_features is row.has_features
    if row.needs is not None:
        assert model.weighting_.needs == row.needs
        assert any(True for _ in model.weighting_.parameters()) is row.learns
    weights = model.loss_weights_
    assert weights.shape == (2, 1, model.n_tasks_)
    np.testing.assert_allclose(weights.sum(axis=-1), model.n_tasks_, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "row"), [p for p in ROWS if p.values[0] == "encoding"]
)
def test_encodings_that_ignore_units_do(name, row):
    X, y = regression_data()
    here = exact("regressor", encoding=clone(row.strategy)).fit(X, y).predict(X)
    unit, zero = np.array([1e3, 1e-3, 7.0, 1.0]), np.array([0.0, 0.0, -5.0, 9.0])
    there = X * unit + zero
    moved = exact("regressor", encoding=clone(row.strategy)).fit(there, y)
    same = np.allclose(moved.predict(there), here, rtol=1e-6)
    assert same is row.ignores_units


# -- the world outside -----------------------------------------------------------


def _global_state():
    return {
        "torch": torch.random.get_rng_state().numpy().tobytes(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
        "random": random.getstate(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "errors": np.geterr(),
        "filters": list(warnings.filters),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("random_state", [0, None])
def test_fit_and_predict_leave_global_state_alone(kind, random_state):
    X, y = classification_data()
    before = _global_state()
    small(kind, max_epochs=2, random_state=random_state).fit(X, y).predict(X)
    assert _global_state() == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_does_not_depend_on_global_seeds(kind):
    X, y = classification_data()
    predictions = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        predictions.append(small(kind, max_epochs=2).fit(X, y).predict(X))
    np.testing.assert_array_equal(*predictions)


def test_import_leaves_global_state_and_optional_packages_alone():
    code = """
        import random, sys, warnings
        import numpy as np, torch, skorch
        import sklearn.callback, sklearn.linear_model, sklearn.metrics
        import sklearn.model_selection

        def state():
            return (
                torch.random.get_rng_state().tolist(), repr(np.random.get_state()),
                random.getstate(), torch.get_num_threads(), list(warnings.filters),
                np.geterr(), torch.get_default_dtype(),
            )

        before, modules = state(), set(sys.modules)
        import skmtl
        assert state() == before, "import skmtl moved global state"
        new = {name.partition(".")[0] for name in set(sys.modules) - modules}
        allowed = {"skmtl"} | {name.partition(".")[0] for name in modules}
        assert new <= allowed | set(sys.stdlib_module_names), new - allowed
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
