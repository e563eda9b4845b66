"""Meta-learners killed and resumed, scored while they learn, or held out in vain."""

import numpy as np
import pytest
import torch
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LoadInitState,
    LRScheduler,
)

from skmtl import PrototypicalClassifier, SiameseClassifier
from skmtl.architecture import HardSharing

from .instances import META, meta, row_task_data

NAMES = sorted(META)


class Killed(Exception):
    """Ends a fit as a crash would."""


class Kill(Callback):
    """Crash when an epoch begins."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            raise Killed


def data(name):
    X, y, task = row_task_data(60)
    return X, y if name.endswith("regressor") else (y > 0).astype(int), task


def checkpointed(name, directory, *more, **changes):
    checkpoint = Checkpoint(dirname=directory, monitor=None)
    callbacks = [checkpoint, LoadInitState(checkpoint), *more]
    changes = {"max_iter": 60, "n_estimators": 2} | changes
    return meta(name, skorch_callbacks=callbacks, **changes)


def kill(name, directory):
    X, y, task = data(name)
    with pytest.raises(Killed):
        checkpointed(name, directory, Kill()).fit(X, y, task=task)


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_fit_is_the_fit_that_was_not_killed(name, tmp_path):
    X, y, task = data(name)
    kill(name, tmp_path)
    resumed = checkpointed(name, tmp_path).fit(X, y, task=task)
    whole = meta(name, max_iter=60, n_estimators=2).fit(X, y, task=task)
    found = resumed.net_.module_.state_dict()
    for key, tensor in whole.net_.module_.state_dict().items():
        assert torch.equal(found[key], tensor), key
    np.testing.assert_array_equal(resumed.n_iter_, whole.n_iter_)
    assert resumed.history_[:, "valid_loss"] == whole.history_[:, "valid_loss"]
    np.testing.assert_array_equal(
        resumed.predict(X, task=task), whole.predict(X, task=task)
    )


CHANGES = [
    ("maml_regressor", {"n_support": 1}),
    ("maml_regressor", {"n_query": 2}),
    ("maml_regressor", {"inner_lr": 0.3}),
    ("maml_regressor", {"n_inner_steps": 1}),
    ("reptile_regressor", {"inner_optimizer": "sgd"}),
    ("meta_ridge_classifier", {"n_solves": 1}),
    ("meta_ridge_regressor", {"rank": 2}),
    ("prototypical_classifier", {"metric": "cosine"}),
    ("siamese_classifier", {"margin": 2.0}),
]


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_checkpoint_of_other_settings_is_refused(name, change, tmp_path):
    X, y, task = data(name)
    kill(name, tmp_path)
    with pytest.raises(ValueError, match=f"differs in: .*{next(iter(change))}"):
        checkpointed(name, tmp_path, **change).fit(X, y, task=task)


def test_a_checkpoint_goes_on_in_other_chunks(tmp_path):
    X, y, task = data("maml_regressor")
    kill("maml_regressor", tmp_path)
    checkpointed("maml_regressor", tmp_path, task_chunk_size=2).fit(X, y, task=task)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_of_validation_cannot_be_scored(name):
    X, y, task = data(name)
    scoring = "r2" if name.endswith("regressor") else "accuracy"
    model = meta(name, skorch_callbacks=[EpochScoring(scoring)])
    with pytest.raises(ValueError, match="use_caching=False"):
        model.fit(X, y, task=task)


def test_the_meta_model_can_be_scored():
    X, y, task = data("meta_ridge_regressor")
    scores = EpochScoring("r2", name="r2", use_caching=False)
    model = meta("meta_ridge_regressor", skorch_callbacks=[scores])
    model.fit(X, y, task=task)
    assert np.isfinite(model.history_[:, "r2"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_callbacks_that_steer_work(name):
    X, y, task = data(name)
    steering = [LRScheduler("StepLR", step_size=2), EarlyStopping(patience=2)]
    meta(name, skorch_callbacks=steering).fit(X, y, task=task)


@pytest.mark.parametrize("kind", [PrototypicalClassifier, SiameseClassifier])
def test_held_out_rows_that_ask_nothing_choose_no_iteration(kind):
    # Of each class one row at most is held out: no support, or no pair, has a query.
    X = np.random.default_rng(0).normal(size=(15, 3))
    model = kind(HardSharing((8,)), max_iter=60, random_state=0, device="cpu")
    model.fit(X, np.arange(15) % 3)
    assert model.n_iter_.tolist() == [60]
