"""Training: plans, batches, the optimizer and the skorch net. Only here is skorch."""

from ._bank_net import BankNet
from ._column_losses import ColumnLosses, initial_bias
from ._episodes import Episodes, EpisodeSettings, EpisodicPlan
from ._fit import fit_bank, fit_episodes
from ._join import joined_history
from ._joint_net import JointNet
from ._kriging_fit import krige
from ._learner import Learner, LearnerModule, masked_mean, weighted_means
from ._lookahead import Lookahead, lookahead_gains
from ._module import Blueprint
from ._optimizer import BankAdamW, BankSGD
from ._plan import Hyperparameters, NetworkPlan
from ._rows_dataset import RowsDataset
from ._shares import SharedBank, TrainingShare, fit_shares
from ._threads import threads_for
from ._transfer import guard_plans, settle_guard

__all__ = [
    "BankAdamW",
    "BankNet",
    "BankSGD",
    "Blueprint",
    "ColumnLosses",
    "EpisodeSettings",
    "Episodes",
    "EpisodicPlan",
    "Hyperparameters",
    "JointNet",
    "Learner",
    "LearnerModule",
    "Lookahead",
    "NetworkPlan",
    "RowsDataset",
    "SharedBank",
    "TrainingShare",
    "fit_bank",
    "fit_episodes",
    "fit_shares",
    "guard_plans",
    "initial_bias",
    "joined_history",
    "krige",
    "lookahead_gains",
    "masked_mean",
    "settle_guard",
    "threads_for",
    "weighted_means",
]
