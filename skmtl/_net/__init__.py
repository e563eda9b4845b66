"""Training: plans, batches, the optimizer and the skorch net. Only here is skorch."""

from ._bank_net import BankNet
from ._column_losses import ColumnLosses
from ._fit import fit_bank
from ._join import joined_history
from ._joint_net import JointNet
from ._module import Blueprint
from ._plan import Hyperparameters, NetworkPlan
from ._rows_dataset import RowsDataset

__all__ = [
    "BankNet",
    "Blueprint",
    "ColumnLosses",
    "Hyperparameters",
    "JointNet",
    "NetworkPlan",
    "RowsDataset",
    "fit_bank",
    "joined_history",
]
