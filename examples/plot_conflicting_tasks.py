"""
Tasks that do not agree
=======================

Two troubles of a shared trunk, and what weightings make of them: losses in different
units, which let one task speak for all, and tasks that pull in opposite directions. One
method of each family takes part: equal weights, one that reads losses, one that reads
gradients and looks for a fair direction, and one that takes conflicts out.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmtl import MultiTaskNetRegressor
from skmtl.architecture import HardSharing
from skmtl.loss import SquaredError
from skmtl.weighting import Equal, GeometricMean, NashMTL, UPGrad

METHODS = {
    "Equal": Equal(),
    "GeometricMean (losses)": GeometricMean(),
    "NashMTL (fair)": NashMTL(),
    "UPGrad (no conflicts)": UPGrad(),
}
SETTING = {
    "architecture": HardSharing((16,)),
    "max_epochs": 60,
    "early_stopping": False,
    "n_estimators": 1,
    "lr": 0.003,
    "random_state": 0,
}

# %%
# Losses of different units
# -------------------------
#
# Three targets of like difficulty, made of the same waves. Targets are standardised by
# the estimator, so that their own units do not matter. Losses can have units, too, when
# they are of several kinds: here the loss of the first task counts in hundredths, that
# of the last in hundreds.


class Unit(SquaredError):
    """Squared error in another unit."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def cells(self, outputs, targets):
        return self.factor * super().cells(outputs, targets)


rng = np.random.default_rng(0)
X = rng.normal(size=(600, 6))
waves = np.sin(X @ rng.normal(size=(6, 4)))
units = 0.01, 1.0, 100.0
y = waves @ rng.normal(size=(4, 3)) + 0.1 * rng.normal(size=(600, 3))
train, test = slice(0, 400), slice(400, None)

fits = {
    name: MultiTaskNetRegressor(
        weighting=method, loss=[Unit(factor) for factor in units], **SETTING
    ).fit(X[train], y[train])
    for name, method in METHODS.items()
}

# %%
# Under equal weights the task in hundreds decides where the trunk goes. Methods that go
# by ratios do not see the units: their weights are a hundred times smaller for a loss a
# hundred times larger, and all tasks are learned. UPGrad sees no conflict in one task
# being louder than the others, for taking out conflicts is all that it does.


def show(fits, names, title):
    """Draw training losses and weights over epochs, a column a method."""
    figure, axes = plt.subplots(
        2, len(fits), figsize=(11, 5), sharex=True, sharey="row", layout="constrained"
    )
    for (method, model), (upper, lower) in zip(fits.items(), axes.T, strict=True):
        losses = np.array(model.history_[:, "train_losses"])
        losses = losses.reshape(len(losses), -1)
        losses = losses / losses[0]
        weights = model.loss_weights_[:, 0]
        for t, name in enumerate(names):
            upper.plot(losses[:, t], label=name)
            lower.plot(weights[:, t])
        upper.set(title=method, yscale="log")
        lower.set(xlabel="epoch")
        lower.set_yscale("symlog", linthresh=1e-4)
    axes[0, 0].set_ylabel("training loss, of the first")
    axes[1, 0].set_ylabel("weight")
    axes[0, 0].legend(fontsize="small")
    figure.suptitle(title)


show(fits, ["in hundredths", "in ones", "in hundreds"], "Losses of different units")

scores = {
    name: [
        1 - np.mean((model.predict(X[test])[:, t] - y[test, t]) ** 2) / y[test, t].var()
        for t in range(3)
    ]
    for name, model in fits.items()
}
for name, row in scores.items():
    print(f"{name:24s} R2 of the tasks: {np.round(row, 2)}")

# %%
# Opposite gradients
# ------------------
#
# Three tasks that agree on one column of the table and not on another: two want their
# sum, one the difference. The trunk has a single unit and has to choose; with more,
# each would find its own. ``gradient_conflict_`` is the mean cosine between the
# gradients of two tasks in an epoch.

both, apart = X[:, 0], X[:, 1]
y = np.column_stack([both + apart, both + 0.8 * apart, both - apart])
y = np.tanh(y) + 0.1 * rng.normal(size=y.shape)
setting = SETTING | {"architecture": HardSharing((1,), activation="tanh")}
fits = {
    name: MultiTaskNetRegressor(weighting=method, **setting).fit(X[train], y[train])
    for name, method in METHODS.items()
}
names = ["sum", "almost the sum", "difference"]
show(fits, names, "Tasks that pull apart")

# %%
# Equal weights follow the majority, and the third task learns nothing. So do weights
# from losses, which take a task that does not get ahead for one that is done with the
# trunk. NashMTL and UPGrad take no step by which a loss rises, and all three get a
# part.
#
# Equal weights and those from losses look at no gradient and have no conflict to show.
# The other two begin with heads of random signs, by which even the two friends
# disagree. Later these go together, and the third stays at odds with both.

seen = {n: m for n, m in fits.items() if hasattr(m, "gradient_conflict_")}
figure, axes = plt.subplots(1, len(seen), figsize=(8, 3.2), layout="constrained")
for (name, model), axis in zip(seen.items(), axes, strict=True):
    conflict = model.gradient_conflict_
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        axis.plot(conflict[:, a, b], label=f"{names[a]}, {names[b]}")
    axis.axhline(0, color="black", linewidth=0.5)
    axis.set(title=name, xlabel="epoch", ylim=(-1, 1))
axes[0].set_ylabel("mean cosine of gradients")
axes[-1].legend(fontsize="small", loc="center right")

for name, model in fits.items():
    error = np.mean((model.predict(X[test]) - y[test]) ** 2, axis=0) / y[test].var(0)
    print(f"{name:24s} R2 of the tasks: {np.round(1 - error, 2)}")

# %%
# A cosine that stays far below zero says that the trunk is too small for these tasks,
# or that they should not share one. A weighting only chooses who pays for it.

plt.show()
