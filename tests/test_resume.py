"""Trainings that are saved, killed and resumed."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EpochScoring,
    LoadInitState,
    LRScheduler,
    TrainEndCheckpoint,
)

from skmtl._net import Blueprint
from skmtl._net._fingerprint import digest
from skmtl._net._training import BankTraining
from skmtl._net._training_state import restore_training, training_state
from skmtl.architecture import HardSharing
from skmtl.weighting import PCGrad, Uncertainty

from .instances import (
    classification_data,
    missing,
    regression_data,
    row_task_data,
    small,
)


def labelled():
    X, y = classification_data()
    return X, missing(y)


CASES = {
    "stopping": (
        "regressor",
        regression_data,
        {"n_estimators": 8, "n_iter_no_change": 3, "lr": 0.05},
    ),
    "dropout": (
        "regressor",
        regression_data,
        {"n_estimators": 3, "architecture": HardSharing((16,), dropout=0.3)},
    ),
    "pcgrad": ("regressor", regression_data, {"weighting": PCGrad(), "batch_size": 7}),
    "uncertainty": (
        "classifier",
        labelled,
        {
            "n_estimators": 8,
            "n_iter_no_change": 2,
            "lr": 0.05,
            "weighting": Uncertainty(),
            "relevance": None,  # networks then learn so little that some stop early
        },
    ),
    "row tasks": (
        "regressor",
        row_task_data,
        {
            "n_estimators": 8,
            "n_iter_no_change": 1,
            "lr": 0.05,
            "weighting": PCGrad(gradients="parameters"),
            "architecture": HardSharing((16,), dropout=0.1),
            "relevance": None,
        },
    ),
    "all rows": ("regressor", regression_data, {"early_stopping": False}),
    "float64": ("regressor", regression_data, {"dtype": "float64", "clip_norm": 1.0}),
}


class Killed(Exception):
    """Ends a fit as a crash would."""


class Kill(Callback):
    """Crash in a batch of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, net, training, **kwargs):
        if training and len(net.history) == self.epoch:
            raise Killed


def resumable(kind, directory, *, monitor=None, more=(), before=(), **changes):
    checkpoint = Checkpoint(dirname=directory, monitor=monitor)
    callbacks = [*before, checkpoint, LoadInitState(checkpoint), *more]
    changes = {"max_epochs": 12} | changes
    return small(kind, **changes).set_params(skorch_callbacks=callbacks)


def fit(model, X, y, task=None):
    return model.fit(X, y) if task is None else model.fit(X, y, task=task)


def records(model, *left_out):
    # Batches are recorded one by one where a callback looks at them.
    left_out = {"dur", "event_cp", "batches", *left_out}
    return [
        {name: value for name, value in row.items() if name not in left_out}
        for row in model.history_
    ]


def assert_same_fit(one, other):
    found, wanted = (m.net_.module_.state_dict() for m in (one, other))
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name
    np.testing.assert_array_equal(one.n_iter_, other.n_iter_)
    np.testing.assert_array_equal(one.loss_weights_, other.loss_weights_)
    np.testing.assert_array_equal(one._held_out, other._held_out)
    assert one.n_epochs_ == other.n_epochs_ == len(one.history_)
    np.testing.assert_equal(records(one), records(other))  # NaN is NaN


# -- the state of a training -----------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_a_killed_fit_goes_on_as_if_nothing_had_happened(case, tmp_path):
    kind, draw, changes = CASES[case]
    data = draw()
    whole = fit(small(kind, **{"max_epochs": 12} | changes), *data)
    for epoch in (1, 3, 8):
        with pytest.raises(Killed):
            fit(resumable(kind, tmp_path, more=[Kill(epoch)], **changes), *data)
    if case in ("stopping", "uncertainty", "row tasks"):
        state = torch.load(tmp_path / "optimizer.pt", weights_only=True)["training"]
        assert 0 < len(state["live"]) < 8  # the bank has shrunk
    assert_same_fit(fit(resumable(kind, tmp_path, **changes), *data), whole)
    # A fit that has ended ends again at once.
    again = fit(resumable(kind, tmp_path, more=[Kill(12)], **changes), *data)
    assert_same_fit(again, whole)


def test_a_state_travels_between_trainings(make_data, make_plan):
    data = make_data()
    plans = [
        make_plan(data, k, np.arange(30), np.arange(30, 40), n_iter_no_change=2 + k)
        for k in range(3)
    ]

    def built():
        blueprint = Blueprint.from_plans(plans, data, "float64")
        return BankTraining(blueprint, plans, data, "cpu")

    def epoch(training):
        training.begin_epoch()
        for batch in training.batches:
            training.train_step(batch)
        training.end_training_epoch()
        training.validate()
        training.end_epoch()

    one, other = built(), built()
    epoch(one)
    state = training_state(one)
    restore_training(other, state)
    kept = {n: t.clone() for n, t in state["whole"].items()}
    for training in (one, other):
        epoch(training)
        epoch(training)
    assert digest(training_state(other)) == digest(training_state(one))
    assert digest(training_state(one)) != digest(state)
    # The state is a copy: training on has not changed it.
    assert all(torch.equal(state["whole"][name], kept[name]) for name in kept)


def test_there_is_no_state_in_the_middle_of_an_epoch(make_data, make_plan):
    data = make_data()
    plans = [make_plan(data)]
    training = BankTraining(
        Blueprint.from_plans(plans, data, "float32"), plans, data, "cpu"
    )
    training.begin_epoch()
    with pytest.raises(RuntimeError, match="middle of an epoch"):
        training_state(training)


# -- skorch's callbacks ----------------------------------------------------------


def test_without_a_checkpoint_a_fit_starts_from_scratch(tmp_path):
    X, y = regression_data()
    plain = small("regressor", max_epochs=12).fit(X, y)
    assert_same_fit(resumable("regressor", tmp_path / "new").fit(X, y), plain)


def test_the_last_best_epoch_is_a_place_to_go_on_from(tmp_path):
    X, y = regression_data()
    plain = small("regressor", max_epochs=12).fit(X, y)
    best = {"monitor": "valid_loss_best"}
    with pytest.raises(Killed):
        resumable("regressor", tmp_path, **best, more=[Kill(9)]).fit(X, y)
    assert_same_fit(resumable("regressor", tmp_path, **best).fit(X, y), plain)


def test_names_of_files_may_depend_on_the_epoch(tmp_path):
    X, y = regression_data()

    def model(*more):
        checkpoint = Checkpoint(
            dirname=tmp_path,
            monitor=None,
            f_optimizer="state-{last_epoch[epoch]}.pt",
            f_params=None,
        )
        callbacks = [checkpoint, LoadInitState(checkpoint), *more]
        return small("regressor", max_epochs=12, skorch_callbacks=callbacks)

    with pytest.raises(Killed):
        model(Kill(6)).fit(X, y)
    assert sorted(p.name for p in tmp_path.glob("state*")) == [
        f"state-{i}.pt" for i in range(1, 6)
    ]
    plain = small("regressor", max_epochs=12).fit(X, y)
    assert_same_fit(model().fit(X, y), plain)


def test_schedules_and_scores_go_on(tmp_path):
    X, y = regression_data()

    def around():
        return {
            "before": [EpochScoring("r2", lower_is_better=False)],
            "more": [LRScheduler(policy="StepLR", step_size=4, gamma=0.5)],
        }

    whole = resumable("regressor", tmp_path / "whole", **around()).fit(X, y)
    for epoch in (6, 9):
        killed = around()
        killed["more"].append(Kill(epoch))
        with pytest.raises(Killed):
            resumable("regressor", tmp_path / "killed", **killed).fit(X, y)
    model = resumable("regressor", tmp_path / "killed", **around()).fit(X, y)
    found, wanted = (m.net_.module_.state_dict() for m in (model, whole))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    # The rate of an epoch is recorded behind the checkpoint of that epoch.
    assert records(model, "event_lr") == records(whole, "event_lr")


def test_a_checkpoint_at_the_end_is_loaded_too(tmp_path):
    X, y = regression_data()
    end = TrainEndCheckpoint(dirname=tmp_path)
    model = small("regressor", max_epochs=8, skorch_callbacks=[end]).fit(X, y)
    callbacks = [LoadInitState(end), Kill(8)]
    again = small("regressor", max_epochs=8, skorch_callbacks=callbacks).fit(X, y)
    assert_same_fit(again, model)


def test_loading_the_best_at_the_end_leaves_members_at_their_own_best(tmp_path):
    X, y = regression_data()
    checkpoint = Checkpoint(dirname=tmp_path, monitor="valid_loss_best", load_best=True)
    model = small("regressor", max_epochs=12, skorch_callbacks=[checkpoint]).fit(X, y)
    plain = small("regressor", max_epochs=12).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))


def test_a_checkpoint_without_a_state_is_refused(tmp_path):
    X, y = regression_data()
    checkpoint = Checkpoint(dirname=tmp_path, monitor=None, f_optimizer=None)
    callbacks = [checkpoint, LoadInitState(checkpoint)]
    with pytest.raises(ValueError, match="leave its f_optimizer as it is"):
        small("regressor", skorch_callbacks=callbacks).fit(X, y)


def test_a_file_of_something_else_is_refused(tmp_path):
    X, y = regression_data()
    resumable("regressor", tmp_path, max_epochs=2).fit(X, y)
    torch.save({"state": {}, "param_groups": []}, tmp_path / "optimizer.pt")
    with pytest.raises(ValueError, match="does not hold the state of a training"):
        resumable("regressor", tmp_path, max_epochs=2).fit(X, y)


# -- checkpoints of other fits ---------------------------------------------------

OTHERS = {
    "random_state": ({"random_state": 1}, "differs in: random_state.*Pass an int"),
    "no random_state": ({"random_state": None}, "differs in: random_state"),
    "lr": ({"lr": 0.02}, r"differs in: lr \(0.01 there, 0.02 here\)\. Fit"),
    "max_epochs": ({"max_epochs": 9}, r"differs in: max_epochs \(3 there, 9 here\)"),
    "n_estimators": ({"n_estimators": 3}, r"n_estimators \(2 there, 3 here\)"),
    "cv": ({"cv": 3}, "held-out rows"),
    "architecture": ({"architecture": HardSharing((9,))}, "differs in: architecture"),
    "weighting": ({"weighting": PCGrad()}, "differs in: weighting"),
    "guard": ({"guard": True}, r"differs in: guard \(False there, True here\)"),
    "dtype": ({"dtype": "float64"}, r"dtype \(float32 there, float64 here\)"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("written")
    X, y = regression_data()
    resumable("regressor", directory, max_epochs=3).fit(X, y)
    return directory


@pytest.mark.parametrize("case", OTHERS)
def test_a_checkpoint_of_other_settings_is_refused(case, written):
    changes, message = OTHERS[case]
    X, y = regression_data()
    with pytest.raises(ValueError, match=f"written by another fit.*{message}"):
        resumable("regressor", written, **{"max_epochs": 3} | changes).fit(X, y)


def test_a_checkpoint_of_other_data_is_refused(written):
    X, y = regression_data()
    for data, name in [((X + 1e-9, y), "X"), ((X, missing(y)), "y")]:
        with pytest.raises(ValueError, match=f"another fit.*differs in: {name}, "):
            resumable("regressor", written, max_epochs=3).fit(*data)
    model = resumable("regressor", written, max_epochs=3)
    with pytest.raises(ValueError, match="differs in: sample_weight, "):
        model.fit(X, y, sample_weight=np.linspace(1, 2, 60))


def test_a_checkpoint_of_the_fit_before_a_warm_start_is_refused(tmp_path):
    X, y = regression_data()
    model = resumable("regressor", tmp_path, max_epochs=3, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="differs in: starting weights"):
        model.fit(X, y)
    assert model.n_epochs_ == 3


def test_a_warm_start_is_resumed(tmp_path):
    X, y = regression_data()
    settings = {"max_epochs": 12, "warm_start": True}
    started = small("regressor", **settings).fit(X, y)
    other = small("regressor", **settings).fit(X, y)
    whole = other.fit(X, y)
    callbacks = resumable("regressor", tmp_path).skorch_callbacks
    with pytest.raises(Killed):
        started.set_params(skorch_callbacks=[*callbacks, Kill(5)]).fit(X, y)
    started.set_params(skorch_callbacks=callbacks).fit(X, y)
    assert_same_fit(started, whole)


# -- kills -----------------------------------------------------------------------


def test_a_kill_while_writing_leaves_the_file_before(tmp_path, monkeypatch):
    X, y = regression_data()
    plain = small("regressor", max_epochs=12).fit(X, y)
    save = torch.save

    class Dying(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 5:
                monkeypatch.setattr(torch, "save", half)

    def half(thing, target):
        save(thing, target)
        size = os.path.getsize(target)
        os.truncate(target, size // 2)
        raise KeyboardInterrupt  # ends the training; Checkpoint does not swallow it

    before = {"before": [Dying()]}
    resumable("regressor", tmp_path, **before).fit(X, y)
    monkeypatch.undo()
    state = torch.load(tmp_path / "optimizer.pt", weights_only=True)["training"]
    assert state["epoch"] == 4
    assert_same_fit(resumable("regressor", tmp_path).fit(X, y), plain)


def test_a_kill_between_two_files_does_not_matter(tmp_path):
    X, y = regression_data()
    with pytest.raises(Killed):
        resumable("regressor", tmp_path, more=[Kill(4)]).fit(X, y)
    earlier = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(Killed):
        resumable("regressor", tmp_path, more=[Kill(8)]).fit(X, y)
    for name in ("params.pt", "history.json"):
        (tmp_path / name).write_bytes(earlier[name])
    plain = small("regressor", max_epochs=12).fit(X, y)
    assert_same_fit(resumable("regressor", tmp_path).fit(X, y), plain)


SCRIPT = """
import sys, time
from skorch.callbacks import Callback, Checkpoint, LoadInitState
from tests.instances import regression_data, small

class Slow(Callback):
    def on_batch_end(self, net, training, **kwargs):
        time.sleep(0.05)

X, y = regression_data()
checkpoint = Checkpoint(dirname=sys.argv[1], monitor=None)
callbacks = [checkpoint, LoadInitState(checkpoint), Slow()]
small("regressor", max_epochs=30, skorch_callbacks=callbacks).fit(X, y)
"""


def test_a_fit_that_is_killed_loses_one_epoch_at_most(tmp_path):
    X, y = regression_data()
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path)]
    child = subprocess.Popen(command)
    try:
        history = tmp_path / "history.json"
        deadline = time.monotonic() + 120
        while not (history.exists() and history.read_text().count("epoch") >= 4):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert child.returncode == -signal.SIGKILL
    n_seen = history.read_text().count('"epoch"')
    state = torch.load(tmp_path / "optimizer.pt", weights_only=True)
    assert n_seen <= state["training"]["epoch"] <= n_seen + 1
    assert len(state["history"]) == state["training"]["epoch"] >= 3
    model = resumable("regressor", tmp_path, max_epochs=30).fit(X, y)
    assert_same_fit(model, small("regressor", max_epochs=30).fit(X, y))
