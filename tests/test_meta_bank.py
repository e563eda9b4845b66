"""Banks of networks that learn from episodes: each comes out as it would alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from skmtl import (
    MAMLClassifier,
    MAMLRegressor,
    MetaRidgeClassifier,
    MetaRidgeRegressor,
    PrototypicalClassifier,
    ReptileRegressor,
    SiameseClassifier,
)
from skmtl._net import fit_episodes
from skmtl._tasks import TaskPool, check_task_data
from skmtl.architecture import HardSharing, TorchModule
from skmtl.encoding import Standard

UNEVEN = [30, 12, 9, 5, 3, 1]


class NormedTrunk(nn.Module):
    """A trunk whose rows look at each other while it trains."""

    def __init__(self):
        super().__init__()
        # A bias here has no gradient but rounding, which Adam would make steps of.
        self.first = nn.Linear(2, 6, bias=False)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, rows):
        return torch.tanh(self.norm(self.first(rows)))


def plan_networks(model, sizes=UNEVEN, **changes):
    """Plan the members of an estimator; give all that training them takes."""
    model.set_params(encoding=Standard(), random_state=0, meta_batch_size=3)
    model.set_params(**{"max_iter": 20, "n_estimators": 6, "n_query": 3} | changes)
    if model.architecture is None:
        model.set_params(architecture=HardSharing((5,)))
    task = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(len(task), 2))
    y = np.sin(X[:, 0] + task) if model._kind == "number" else np.arange(len(X)) % 4
    data = check_task_data(model, X, y, task, None, kind=model._kind)
    model._fit_encoder(data)
    pool = TaskPool.from_data(data, by_class=model._is_novel)
    settings = model._episode_settings(pool, *model._support_range())
    plans = model._make_plans(data, pool, settings, np.random.RandomState(0))
    others = data, pool, model._learner(), model._slots(data, settings)
    return plans, others


def train(plans, others):
    return fit_episodes(plans, *others, dtype="float64")


def assert_one_by_one(plans, others, skip=()):
    together, training = train(plans, others)
    whole = together.module_.state_dict()
    for k, plan in enumerate(plans):
        if k in skip:
            continue
        alone, own = train([plan], others)
        for name, tensor in alone.module_.state_dict().items():
            # Distances do not see a bias of the projection: its gradient is rounding.
            if "projection.bias" in name:
                continue
            if whole[name].shape[1:] == tensor.shape[1:]:
                torch.testing.assert_close(
                    whole[name][k], tensor[0], rtol=1e-9, atol=1e-9
                )
        assert training.best_epoch[k] == own.best_epoch[0]
        np.testing.assert_allclose(
            training.best_loss[k], own.best_loss[0], rtol=1e-9, atol=1e-9
        )
    return training


DROPPED = HardSharing((5,), dropout=0.5)
CASES = {
    "maml": MAMLRegressor(n_support=(1, 25)),
    "maml, dropout": MAMLRegressor(DROPPED, n_support=(1, 25)),
    "maml, first order": MAMLRegressor(DROPPED, first_order=True, adapted="head"),
    "maml, learned rates": MAMLRegressor(learn_inner_lr="weight", n_support=(0, 25)),
    "maml, ways": MAMLClassifier(DROPPED, n_way=3, n_support=(1, 25)),
    "maml, batch norm": MAMLRegressor(TorchModule(NormedTrunk), n_support=(1, 25)),
    "reptile": ReptileRegressor(DROPPED, n_support=(1, 25)),
    "ridge": MetaRidgeRegressor(DROPPED, n_support=(1, 25)),
    "ridge, batch norm": MetaRidgeRegressor(
        TorchModule(NormedTrunk), n_support=(1, 25)
    ),
    "ridge of classes": MetaRidgeClassifier(DROPPED, n_way=2, n_support=(1, 25)),
    "prototypes": PrototypicalClassifier(DROPPED, n_support=(1, 25)),
    "pairs": SiameseClassifier(DROPPED, n_support=(1, 25)),
    "triplets": SiameseClassifier(DROPPED, loss="triplet", n_way=2, n_query=1),
}


@pytest.mark.parametrize("case", CASES)
def test_networks_with_other_tasks_train_as_they_do_alone(case):
    plans, others = plan_networks(CASES[case])
    assert len({len(plan.train_entries) for plan in plans}) > 1
    assert_one_by_one(plans, others)


@pytest.mark.parametrize("case", ["maml, dropout", "ridge", "prototypes"])
def test_networks_of_one_seed_have_their_own_folds(case):
    plans, others = plan_networks(CASES[case], [6] * 6, cv=3, n_estimators=3)
    plans = [replace(plan, seed=7) for plan in plans]
    assert len({len(plan.train_entries) for plan in plans}) == 1
    assert_one_by_one(plans, others)


def test_networks_hold_out_different_numbers_of_tasks():
    # 67 and 66 tasks are 67 and 66 episodes, and no task counts twice.
    plans, others = plan_networks(CASES["ridge"], [3] * 133, n_estimators=2, cv=2)
    held_out = [len(set(others[1].task[plan.valid_entries])) for plan in plans]
    assert sorted(held_out) == [66, 67]
    assert_one_by_one(plans, others)


def test_networks_with_and_without_held_out_tasks():
    plans, others = plan_networks(CASES["ridge"])
    every = np.arange(len(others[1]))
    plans[1] = replace(
        plans[1], train_entries=every, valid_entries=None, valid_rows=None
    )
    assert_one_by_one(plans, others)


@pytest.mark.parametrize("case", ["maml", "ridge, batch norm", "prototypes"])
def test_networks_that_stop_early_leave_the_bank(case):
    plans, others = plan_networks(
        CASES[case], max_iter=200, n_iter_no_change=20, n_estimators=3
    )
    plans = [
        replace(p, hyperparameters=replace(p.hyperparameters, lr=lr))
        for p, lr in zip(plans, [0.001, 0.05, 0.02], strict=True)
    ]
    training = assert_one_by_one(plans, others)
    assert len(set(training.best_epoch)) > 1


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("case", ["maml", "reptile", "ridge", "prototypes"])
def test_a_network_that_is_lost_takes_none_with_it(case):
    plans, others = plan_networks(CASES[case], n_estimators=3)
    lost = replace(plans[1].hyperparameters, lr=1e200)
    plans[1] = replace(plans[1], hyperparameters=lost)
    training = assert_one_by_one(plans, others, skip=[1])
    assert list(training.diverged) == [1]


def test_copies_of_a_network_are_equal():
    plans, others = plan_networks(CASES["maml, dropout"])
    together, _ = train([plans[0], plans[0]], others)
    for tensor in together.module_.state_dict().values():
        if len(tensor) == 2:
            torch.testing.assert_close(tensor[0], tensor[1], rtol=0, atol=0)
