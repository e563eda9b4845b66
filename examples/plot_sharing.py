"""
When sharing hurts, and what heals it
=====================================

Eight targets come from one table, four from each of two worlds. How far the worlds are
alike is a dial: at 0 they have nothing in common, at 1 they are one. Trunks are kept
narrow, so that there is something to fight for. From where on is one trunk for all
better than one for each target, and what do the ways between give?
"""

# %%
# The hidden causes of the second world are mixed from those of the first and from
# others. The targets of a world are sums of its causes.

import matplotlib.pyplot as plt
import numpy as np

from skmtl import MultiTaskNetRegressor
from skmtl.architecture import (
    PLE,
    Attention,
    CrossStitch,
    HardSharing,
    MMoE,
    SoftSharing,
    TaskGroups,
)


def draw(alike, seed=0, n_train=1000, n_test=2000):
    """Draw training rows, and test rows whose targets have no noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_train + n_test, 10))
    first, other = rng.normal(size=(2, 10, 3))
    second = alike * first + np.sqrt(1 - alike**2) * other
    worlds = [np.tanh(X @ causes) for causes in (first, second)]
    truth = [world @ (1 + 0.4 * rng.normal(size=(3, 4))) for world in worlds]
    truth = np.hstack(truth)
    truth /= truth.std(axis=0)
    y = truth + 0.3 * rng.normal(size=truth.shape)
    return X[:n_train], y[:n_train], X[n_train:], truth[n_train:]


def error(architecture, alike):
    """Mean squared error on the test rows, in variances of the targets."""
    X, y, X_test, truth = draw(alike)
    model = MultiTaskNetRegressor(
        architecture,
        n_estimators=2,
        max_epochs=60,
        batch_size=100,
        lr=0.01,
        random_state=0,
    )
    return np.mean((model.fit(X, y).predict(X_test) - truth) ** 2)


# %%
# One trunk for all, a trunk for each target, and a trunk for each group of targets
# that is found.

narrow = (8, 8)
extremes = {
    "one trunk": HardSharing(narrow),
    "a trunk each": TaskGroups(
        [[task] for task in range(8)], hidden_layer_sizes=narrow
    ),
    "TaskGroups": TaskGroups(hidden_layer_sizes=narrow),
}
dial = [0.0, 0.4, 0.8, 1.0]
curves = {
    name: [error(architecture, alike) for alike in dial]
    for name, architecture in extremes.items()
}
for name, curve in curves.items():
    print(f"{name:13s}", np.round(curve, 3))

# %%
# The other ways of sharing at both ends of the dial.

others = {
    "CrossStitch": CrossStitch(narrow),
    "PLE": PLE(2, 2, 1, narrow[:1]),
    "Attention": Attention(narrow),
    "SoftSharing": SoftSharing(narrow),
    "MMoE": MMoE(4, narrow),
}
ends = {name: (curve[0], curve[-1]) for name, curve in curves.items()}
ends |= {name: (error(a, 0.0), error(a, 1.0)) for name, a in others.items()}
ends = dict(sorted(ends.items(), key=lambda item: item[1][0]))
for name, (apart, one) in ends.items():
    print(f"{name:13s} two worlds {apart:.3f}, one world {one:.3f}")

# %%
# Error along the dial, and what every way loses between one world and two.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, curve in curves.items():
    axes[0].plot(dial, curve, marker="o", label=name)
axes[0].set(xlabel="how far the two worlds are alike", ylim=(0, None))
axes[0].set_ylabel("mean squared error, in variances")
axes[0].legend()
places = np.arange(len(ends))
apart, one = np.transpose(list(ends.values()))
axes[1].hlines(places, apart, one, color="lightgray", zorder=1)
axes[1].scatter(apart, places, label="two worlds", zorder=2)
axes[1].scatter(one, places, label="one world", zorder=2)
axes[1].set_yticks(places, list(ends))
axes[1].set(xlabel="mean squared error, in variances", xlim=(0, None))
axes[1].invert_yaxis()
axes[1].legend()
plt.show()

# %%
# With two worlds one trunk is twice as bad as a trunk each, and the loss fades late:
# worlds that are alike by 0.8 are still two. At 1 all labels speak of one world, and
# one trunk has two fifths less error than a trunk for each target.
#
# Groups heal both ends, for they are one trunk where there is one world. Between, they
# have to be told apart: at 0.8 the gradients agree enough to be joined, and joining is
# wrong. Cross-stitching, a narrow network for each target that looks at the features
# of all others, is the best at both ends; it is for few and narrow networks. With two
# worlds PLE is a little better than a trunk each, and the other ways stand between that
# and one trunk; all gain from one world without being told, SoftSharing least.

assert ends["TaskGroups"][0] < ends["a trunk each"][0] < ends["one trunk"][0]
assert ends["one trunk"][1] < ends["a trunk each"][1]
