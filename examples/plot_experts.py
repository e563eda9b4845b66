"""
Which task uses which expert?
=============================

Eight targets are made of three functions of one table: six of one function each, two of
mixtures of two. A mixture of experts is not told. Each task has a gate that weighs the
experts row by row, and the mean of the gates says who uses what.
"""

# %%
# A wave, a bump and a saddle of different columns; then a name and a recipe a target.

import matplotlib.pyplot as plt
import numpy as np

from skmtl import MultiTaskNetRegressor
from skmtl.architecture import CGC, MMoE

rng = np.random.default_rng(0)
X = rng.normal(size=(1500, 8))
functions = np.column_stack(
    [
        np.sin(2 * X[:, 0] + X[:, 1]),
        np.exp(-(X[:, 2] ** 2) - X[:, 3] ** 2),
        np.tanh(3 * X[:, 4] * X[:, 5]),
    ]
)
functions = (functions - functions.mean(axis=0)) / functions.std(axis=0)
recipes = {
    "wave": [1, 0, 0],
    "wave again": [1, 0, 0],
    "bump": [0, 1, 0],
    "bump again": [0, 1, 0],
    "saddle": [0, 0, 1],
    "saddle again": [0, 0, 1],
    "wave + bump": [0.7, 0.7, 0],
    "bump + saddle": [0, 0.7, 0.7],
}
y = functions @ np.transpose(list(recipes.values()))
y += 0.2 * rng.normal(size=y.shape)

# %%
# Three experts for all tasks; in training a row does without an expert now and then,
# which keeps the tasks from all leaning on one. Then CGC, where each task has an expert
# of its own beside two that all share. Two networks of each, with other initial
# weights.

settings = {
    "n_estimators": 2,
    "max_epochs": 100,
    "batch_size": 100,
    "lr": 0.01,
    "random_state": 0,
}
models = {
    "MMoE": MultiTaskNetRegressor(MMoE(3, (16, 16), expert_dropout=0.2), **settings),
    "CGC": MultiTaskNetRegressor(CGC(2, 1, (16, 16)), **settings),
}
for name, model in models.items():
    model.fit(X, y)
    gates = model.architecture_.gate_weights_
    print(name, "gates of shape (n_networks, n_tasks, n_experts):", tuple(gates.shape))

# %%
# ``gate_weights_`` as a matrix, a row a task and a column an expert.

figure, axes = plt.subplots(1, 4, figsize=(11, 4), sharey=True, layout="constrained")
panels = [(name, network) for name in models for network in range(2)]
for (name, network), axis in zip(panels, axes, strict=True):
    gates = models[name].architecture_.gate_weights_[network].numpy()
    image = axis.imshow(gates, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for (task, expert), gate in np.ndenumerate(gates):
        color = "black" if gate > 0.6 else "white"
        axis.text(expert, task, f"{gate:.2f}", ha="center", va="center", color=color)
    columns = ["1", "2", "3"] if name == "MMoE" else ["1", "2", "own"]
    axis.set_xticks(range(gates.shape[1]), columns)
    axis.set(title=f"{name}, network {network + 1}", xlabel="expert")
axes[0].set_yticks(range(len(recipes)), list(recipes))
figure.colorbar(image, ax=axes, label="mean gate")
plt.show()

# %%
# The first network has an expert for waves; saddles have another, which bumps use as
# well, beside a third. The second has an expert for waves and one for most of the rest.
# Experts have no names and nothing numbers them alike from one network to the next, and
# a mean over networks would be of no use.
#
# What can be relied on with MMoE are the rows: targets of one recipe look at the same
# experts. A gate says where a task looks and not what an expert holds. In the first
# network the sum of wave and bump looks at the third expert, which then has to know
# waves, too. With CGC almost all tasks look at the first shared expert, which is large
# enough for three functions, and of two equal waves one keeps more or less to itself.

same = [(0, 1), (2, 3), (4, 5)]
other = [(0, 2), (0, 4), (2, 4)]
gates = models["MMoE"].architecture_.gate_weights_.numpy()
for pairs, name in [(same, "one recipe"), (other, "two recipes")]:
    apart = [abs(gates[:, a] - gates[:, b]).sum(-1).mean() / 2 for a, b in pairs]
    print(f"share of the gate that differs, targets of {name}:", np.round(apart, 2))
    assert max(apart) < 0.2 if pairs is same else min(apart) > 0.2
