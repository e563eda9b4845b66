"""
Which tasks should share?
=========================

Nine targets come from one table. Four of them follow from one set of hidden causes,
four from another, and one from nothing that the others know. Nobody told us. One trunk
for all is too narrow for three worlds; a trunk for each target has to find each world
four times.
"""

# %%
# The targets, shuffled, so that nothing can be read off their order.

import matplotlib.pyplot as plt
import numpy as np

from skmtl import MultiTaskNetRegressor
from skmtl.architecture import HardSharing, TaskGroups

rng = np.random.default_rng(1)
X = rng.normal(size=(3000, 10))
columns = {}
for world in "ab":
    causes = np.tanh(X @ rng.normal(size=(10, 3)))
    for number in range(1, 5):
        columns[f"{world}{number}"] = causes @ (1 + 0.4 * rng.normal(size=3))
columns["c1"] = np.sin(X @ rng.normal(size=10))
names = list(rng.permutation(list(columns)))
truth = np.column_stack([columns[name] / columns[name].std() for name in names])
y = truth + 0.3 * rng.normal(size=truth.shape)
train, test = slice(0, 1000), slice(1000, None)

# %%
# ``TaskGroups`` measures first. A short training with one trunk for all tasks notes the
# cosine between the gradients of each two tasks, and tasks whose gradients agree get a
# trunk together.

settings = {"n_estimators": 4, "random_state": 0}
wide = (16, 16)
grouped = MultiTaskNetRegressor(TaskGroups(hidden_layer_sizes=wide), **settings)
grouped.fit(X[train], y[train])
for group in grouped.architecture_.groups_:
    print("a trunk for", ", ".join(sorted(names[task] for task in group)))

# %%
# The affinity, with the tasks sorted by the groups that were found. Between the worlds
# it is zero up to noise.

affinity = grouped.architecture_.affinity_
order = np.concatenate(grouped.architecture_.groups_).astype(int)
shown = affinity[np.ix_(order, order)]
np.fill_diagonal(shown, np.nan)
figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
image = axis.imshow(shown, cmap="viridis", vmin=0)
axis.set_xticks(range(9), [names[task] for task in order])
axis.set_yticks(range(9), [names[task] for task in order])
axis.set_title("cosine between gradients")
figure.colorbar(image, ax=axis)

# %%
# Was it worth it? The same width with one trunk for all, and with one for each target.

alone = TaskGroups([[task] for task in range(9)], hidden_layer_sizes=wide)
models = {
    "one trunk": MultiTaskNetRegressor(HardSharing(wide), **settings),
    "a trunk each": MultiTaskNetRegressor(alone, **settings),
    "groups found": grouped,
}
errors = {}
for name, model in models.items():
    if model is not grouped:
        model.fit(X[train], y[train])
    errors[name] = np.mean((model.predict(X[test]) - truth[test]) ** 2)
    print(f"{name}: {errors[name]:.3f}")

_, axis = plt.subplots(figsize=(5, 2), layout="constrained")
axis.barh(list(errors), list(errors.values()))
axis.set_xlabel("mean squared error, in variances")
axis.invert_yaxis()
plt.show()

# %%
# One trunk is too small for three worlds, and alone each target has to learn from
# its own labels what its group knows together. The groups that were found take the
# best of both.

assert errors["groups found"] < min(errors["one trunk"], errors["a trunk each"])
