"""The one table of small instances, the properties they claim, and small data.

The common tests run over it: a new strategy is a new row here.
"""

import copy
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torchjd.aggregation import MGDAWeighting

from skmtl import (
    MAMLClassifier,
    MAMLRegressor,
    MetaRidgeClassifier,
    MetaRidgeRegressor,
    MixedTaskNet,
    MultiTaskNetClassifier,
    MultiTaskNetRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    SiameseClassifier,
)
from skmtl._strategy import Strategy
from skmtl.architecture import (
    CGC,
    PLE,
    Attention,
    CrossStitch,
    HardSharing,
    HeadChain,
    MMoE,
    SoftSharing,
    TaskConditioned,
    TaskGroups,
    TorchModule,
)
from skmtl.encoding import Auto, Periodic, PiecewiseLinear, Raw, Standard
from skmtl.loss import (
    AbsoluteError,
    CrossEntropy,
    Focal,
    Gamma,
    Huber,
    Poisson,
    Quantile,
    SquaredError,
)
from skmtl.weighting import (
    DBMTL,
    DWA,
    FAMO,
    MGDA,
    AlignedMTL,
    Auxiliary,
    CAGrad,
    Equal,
    ExcessRisk,
    FairGrad,
    GeometricMean,
    GradDrop,
    GradNorm,
    GradVac,
    HeadRates,
    ImpartialGrad,
    MoCo,
    NashMTL,
    PCGrad,
    RandomWeighting,
    SmoothTchebycheff,
    TorchJD,
    Uncertainty,
    UPGrad,
)

ESTIMATORS = {"regressor": MultiTaskNetRegressor, "classifier": MultiTaskNetClassifier}
# With the one of both kinds, whose y is a frame where it is not numbers alone.
EVERY_ESTIMATOR = ESTIMATORS | {"mixed": MixedTaskNet}

# What makes a fit a function of the weighted rows alone: nothing is drawn over rows.
EXACT = {
    "architecture": HardSharing((16,)),
    "encoding": Standard(),
    "dtype": "float64",
    "batch_size": None,
    "early_stopping": False,
    "n_estimators": 1,
    "stumps": None,  # which are of all tasks together
    "max_epochs": 60,
    "lr": 0.02,
    "weight_decay": 0.01,  # classifiers have 3, which takes more than 60 epochs
    "random_state": 0,
    "device": "cpu",
}

# The defaults, made cheap; early stopping, mini-batches and float32 stay.
SMALL = {
    "architecture": HardSharing((32,)),  # two layers of 128 take 5 times as long
    "n_estimators": 2,  # 8 members take 3 times as long
    "stumps": None,  # to ask whether they pay takes longer than these fits
    "max_epochs": 40,  # instead of 200
    "lr": 0.01,  # instead of 0.002: fewer epochs need larger steps
    "random_state": 0,  # fits are compared
    "device": "cpu",  # equality holds between fits on one device
}


def exact(kind, **changes):
    """Make the instance whose fit depends on nothing but the weighted rows."""
    return EVERY_ESTIMATOR[kind](**copy.deepcopy(EXACT) | changes)


def small(kind, **changes):
    """Make the cheap instance that trains as the defaults do."""
    return EVERY_ESTIMATOR[kind](**copy.deepcopy(SMALL) | changes)


def default(kind):
    """Make the instance as users get it, on the CPU."""
    return EVERY_ESTIMATOR[kind](random_state=0, device="cpu")


# The meta-learners, made cheap, and what makes each of them learn in a few steps.
META = {
    # What is learned from few rows is a start for few rows, and predict takes all.
    "maml_regressor": (MAMLRegressor, {"lr": 0.02, "n_support": (2, 20)}),
    "maml_classifier": (MAMLClassifier, {"lr": 0.02}),
    "reptile_regressor": (ReptileRegressor, {"inner_lr": 0.05, "max_iter": 15}),
    "reptile_classifier": (ReptileClassifier, {"max_iter": 15}),
    "meta_ridge_regressor": (MetaRidgeRegressor, {"lr": 0.02}),
    "meta_ridge_classifier": (MetaRidgeClassifier, {"lr": 0.02}),
    "prototypical_classifier": (PrototypicalClassifier, {"lr": 0.02}),
    "siamese_classifier": (SiameseClassifier, {"lr": 0.02}),
}
SMALL_META = {
    "architecture": HardSharing((16,)),
    "n_support": (2, 5),
    "n_query": 5,
    "meta_batch_size": 4,
    "max_iter": 40,  # instead of 1000
    "random_state": 0,
    "device": "cpu",
}


def meta(name, **changes):
    """Make a cheap meta-learner."""
    estimator, own = META[name]
    return estimator(**copy.deepcopy(SMALL_META) | own | changes)


@dataclass(frozen=True)
class Row:
    """A small strategy and what it claims.

    Parameters
    ----------
    strategy : Strategy
        The instance; clone it before use.
    kinds : tuple of {"regressor", "classifier"}
        Estimators that take it.
    row_tasks : bool
        Whether it works with row tasks.
    row_error : str
        What it says where it does not.
    has_features : bool or None
        Architectures: whether tasks share a representation.
    linear_heads : bool
        Architectures: whether the heads of column tasks are one linear map.
    needs : {"losses", "gramian", "jacobian"} or None
        Weightings: what they see.
    learns : bool
        Weightings: whether they have parameters of their own.
    ignores_units : bool or None
        Encodings: whether the inputs stay the same when a column changes its unit.
    positive : bool
        Losses: whether labels must be positive.
    """

    strategy: Strategy
    kinds: tuple = ("regressor", "classifier")
    row_tasks: bool = True
    row_error: str = "row tasks each row has one task"
    has_features: bool | None = None
    linear_heads: bool = True
    needs: str | None = None
    learns: bool = False
    ignores_units: bool | None = None
    positive: bool = False


class SmallTrunk(nn.Module):
    """A trunk as a user would write it; importable by name, so that it pickles."""

    def __init__(self, width=8, dropout=0.0):
        super().__init__()
        with warnings.catch_warnings():
            # Some versions of torch call lazy layers a feature under development.
            warnings.simplefilter("ignore", UserWarning)
            self.first = nn.LazyLinear(width)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(width, width)

    def forward(self, rows):
        return torch.tanh(self.second(self.dropout(torch.tanh(self.first(rows)))))


STRATEGIES = {
    "architecture": [
        Row(HardSharing((8,)), has_features=True),
        Row(HardSharing((8, 4), activation="tanh", dropout=0.1), has_features=True),
        Row(HardSharing((8,), linear_skip=True, task_shrinkage=1.0), has_features=True),
        Row(HardSharing(()), has_features=True),
        Row(HardSharing((8, 8), layer_norm=True, residual=True), has_features=True),
        Row(
            HardSharing((8,), activation="tanh", head_layer_sizes=(6, 4)),
            has_features=True,
            linear_heads=False,
            row_tasks=False,
            row_error="gives hidden layers to column tasks",
        ),
        Row(MMoE(3, (8,), activation="tanh"), has_features=True, linear_heads=False),
        Row(MMoE(2, (8, 6), expert_dropout=0.1), has_features=True, linear_heads=False),
        Row(CGC(2, 1, (8,), activation="tanh"), has_features=True, linear_heads=False),
        Row(
            CGC(1, 2, (6, 6), expert_dropout=0.1), has_features=True, linear_heads=False
        ),
        Row(
            PLE(2, 1, 1, (8,), activation="tanh"),
            has_features=False,
            linear_heads=False,
        ),
        Row(
            PLE(3, 1, 2, (6, 6), expert_dropout=0.1),
            has_features=False,
            linear_heads=False,
        ),
        Row(
            SoftSharing((8,), activation="tanh", strength=1.0),
            has_features=False,
            linear_heads=False,
        ),
        Row(
            SoftSharing((6, 6), penalty="trace"),
            has_features=False,
            linear_heads=False,
        ),
        Row(CrossStitch((8,)), has_features=True, linear_heads=False),
        Row(
            CrossStitch((6, 6), activation="tanh", own_share=0.6),
            has_features=True,
            linear_heads=False,
        ),
        Row(
            TaskConditioned((16,), 2, activation="tanh", task_shrinkage=0.1),
            has_features=False,
            linear_heads=False,
        ),
        Row(TaskConditioned((8, 6)), has_features=False, linear_heads=False),
        Row(Attention((16,)), has_features=True, linear_heads=False),
        Row(
            Attention((8, 6), 4, activation="tanh"),
            has_features=True,
            linear_heads=False,
        ),
        Row(
            TaskGroups(hidden_layer_sizes=(8,)), has_features=False, linear_heads=False
        ),
        Row(
            TaskGroups(
                affinity="lookahead",
                hidden_layer_sizes=(6, 6),
                activation="tanh",
                threshold=1.0,
            ),
            has_features=False,
            linear_heads=False,
        ),
        Row(
            HeadChain(hidden_layer_sizes=(8,), activation="tanh"),
            has_features=True,
            linear_heads=False,
            row_tasks=False,
            row_error="HeadChain passes the predictions",
        ),
        Row(TorchModule(SmallTrunk, {"width": 16}), has_features=True),
    ],
    "weighting": [
        Row(Equal(), needs="losses"),
        Row(Uncertainty(init_log_var=0.5), needs="losses", learns=True),
        Row(Uncertainty(form="classification"), needs="losses", learns=True),
        Row(DWA(temperature=1.0), needs="losses"),
        Row(RandomWeighting(), needs="losses"),
        Row(GeometricMean(), needs="losses"),
        Row(SmoothTchebycheff(mu=2.0), needs="losses"),
        Row(FAMO(lr=0.05), needs="losses"),
        Row(HeadRates(alpha=1.0), needs="losses"),
        Row(HeadRates(PCGrad(), alpha=0.3), needs="gramian", row_tasks=False),
        Row(PCGrad(), needs="gramian", row_tasks=False),
        Row(PCGrad(gradients="parameters"), needs="gramian"),
        Row(GradVac(beta=0.1), needs="gramian", row_tasks=False),
        Row(GradNorm(alpha=0.5, gradients="parameters"), needs="gramian"),
        Row(MGDA("loss+", gradients="parameters", update_every=2), needs="gramian"),
        Row(CAGrad(c=0.4), needs="gramian", row_tasks=False),
        Row(CAGrad(c=1.5, gradients="parameters"), needs="gramian"),
        Row(ImpartialGrad(gradients="parameters"), needs="gramian"),
        Row(NashMTL(gradients="parameters"), needs="gramian"),
        Row(FairGrad(alpha=2.0, update_every=3), needs="gramian", row_tasks=False),
        Row(AlignedMTL(scale="rmse"), needs="gramian", row_tasks=False),
        Row(UPGrad(gradients="parameters"), needs="gramian"),
        Row(
            Auxiliary(main=[0, 1], gradients="parameters"),
            needs="gramian",
            row_tasks=False,
            row_error="names 0, which is no task",
        ),
        Row(TorchJD(MGDAWeighting()), needs="gramian", row_tasks=False),
        Row(GradDrop(leak=0.1), needs="jacobian", row_tasks=False),
        Row(GradDrop(gradients="parameters"), needs="jacobian"),
        Row(MoCo(gamma=0.05), needs="jacobian"),
        Row(DBMTL(beta=0.5), needs="jacobian"),
        Row(ExcessRisk(step_size=0.1, n_warmup=3), needs="jacobian"),
    ],
    "encoding": [
        Row(Standard(), ignores_units=True),
        Row(Standard(clip=3.0), ignores_units=True),
        Row(PiecewiseLinear(n_bins=4), ignores_units=True),
        Row(PiecewiseLinear(n_bins=4, linear=False), ignores_units=True),
        Row(Auto(), ignores_units=True),
        Row(Raw(), ignores_units=False),
        Row(Periodic(n_frequencies=3, n_units=2, sigma=0.3), ignores_units=True),
        Row(Periodic(n_frequencies=2, linear=False), ignores_units=True),
    ],
    "loss": [
        Row(SquaredError(), kinds=("regressor",)),
        Row(AbsoluteError(), kinds=("regressor",)),
        Row(Huber(delta=0.5), kinds=("regressor",)),
        Row(Poisson(), kinds=("regressor",), positive=True),
        Row(Gamma(), kinds=("regressor",), positive=True),
        Row(Quantile(level=0.4), kinds=("regressor",)),
        Row(Quantile(level=[0.1, 0.5, 0.9]), kinds=("regressor",)),
        Row(CrossEntropy(), kinds=("classifier",)),
        Row(CrossEntropy(label_smoothing=0.1), kinds=("classifier",)),
        Row(Focal(gamma=1.0), kinds=("classifier",)),
    ],
}


def rows_of_table():
    """List (argument, row) of all strategies."""
    return [(name, row) for name, rows in STRATEGIES.items() for row in rows]


def frozen(*arrays):
    """Make arrays read-only."""
    for array in arrays:
        array.flags.writeable = False
    return arrays


def regression_data(n_samples=60, n_tasks=3, *, seed=0):
    """Draw related targets: X (n_samples, 4) and y (n_samples, n_tasks)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 4))
    shared = np.tanh(X @ np.random.default_rng(100).normal(size=(4, 2)))
    mix = np.random.default_rng(101).normal(size=(2, n_tasks)) + 1
    y = 5 + 2 * shared @ mix + 0.1 * rng.normal(size=(n_samples, n_tasks))
    return frozen(X, y)


def classification_data(n_samples=80, *, seed=0):
    """Draw two tasks, one of two classes and one of three, as numbers in one array."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 4))
    signal = X[:, 0] + 0.2 * rng.normal(size=n_samples)
    three = np.digitize(X[:, 0] + X[:, 1], [-0.7, 0.7])
    return frozen(X, np.stack([signal > 0, three], axis=1).astype(float))


def row_task_data(n_samples=120, n_groups=6, *, seed=0):
    """Draw groups whose lines differ: X of shape (n_samples, 3), y and ids."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 3))
    ids = 10 + rng.permutation(np.arange(n_samples) % n_groups)
    groups = np.random.default_rng(102)
    shift = groups.normal(size=n_groups)[ids - 10]
    slope = groups.normal(size=n_groups)[ids - 10]
    y = 3 * X[:, 0] + 2 * shift + 2 * slope * X[:, 1] + 0.1 * rng.normal(size=n_samples)
    return frozen(X, y, ids)


def missing(y, share=0.3, *, seed=0):
    """Hide some labels; rows 0 to 9 keep all of theirs."""
    hidden = np.random.default_rng(seed).random(y.shape) < share
    hidden[:10] = False
    (y,) = frozen(np.where(hidden, np.nan, y))
    return y
