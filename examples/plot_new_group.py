"""
A new group, and what it takes to know it
=========================================

A model was trained on many groups: stores, patients, schools. Now there is a new one,
of which a few rows have labels. Does a meta-learner make more of them than simple means
do? That depends on how groups differ, and this page draws both answers.
"""

# %%
# Two worlds
# ----------
#
# Sixty groups of 40 rows have a curve and a slope in common. In the first world the
# groups also differ in how the label depends on two of the columns: by a slope of their
# own, and by a wave whose height is their own. In the second world they differ by an
# intercept alone: some groups are higher than others, and that is all.

import numpy as np
import pandas as pd

N_GROUPS, N_ROWS = 60, 40
rng = np.random.default_rng(0)
group = np.repeat(np.arange(N_GROUPS), N_ROWS)
table = pd.DataFrame(rng.normal(size=(len(group), 4)), columns=list("abcd"))
common = np.sin(2 * table["a"]) + table["b"] + rng.normal(scale=0.5, size=len(group))
level = rng.normal(size=N_GROUPS)[group]
height, slope = rng.normal(size=(2, N_GROUPS))[:, group]
worlds = {
    "groups differ in shape": (
        common + 0.5 * level + height * np.sin(2 * table["c"]) + slope * table["d"]
    ),
    "groups differ in level": common + level,
}

# %%
# Who competes
# ------------
#
# ``MetaRidgeRegressor`` learns features, and how heads of groups vary, from episodes of
# 0 to 20 known rows. ``MultiTaskNetRegressor`` trains one head a group in the ordinary
# way and fits another for a new group, on the features it has.
#
# The baselines are given an additive spline model. That is generous, for an additive
# function is what made the labels. *per_task* fits it to the few rows of the new group;
# *pooled* to all rows of the known groups, and leaves it there; *pooled_residual* adds
# the mean residual of the few rows, shrunk as a random intercept is.
#
# ``few_shot_validate`` holds out half of the groups, adapts to a few rows of each, and
# asks for 20 others. Everybody is given the same rows.

from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from skmtl import MetaRidgeRegressor, MultiTaskNetRegressor
from skmtl.model_selection import few_shot_validate

models = {
    "MetaRidge": MetaRidgeRegressor(n_support=(0, 20), max_iter=300, random_state=0),
    "MultiTaskNet": MultiTaskNetRegressor(n_estimators=2, random_state=0),
}
results = {
    world: few_shot_validate(
        models,
        table,
        y,
        group,
        cv=2,
        n_shots=(0, 1, 2, 5, 10, 20),
        baselines="all",
        baseline_estimator=make_pipeline(
            SplineTransformer(), RidgeCV(np.logspace(-2, 3, 11))
        ),
        n_episodes=1,
        random_state=0,
    )
    for world, y in worlds.items()
}
for world, result in results.items():
    errors = pd.DataFrame(
        {method: -mean for method, mean in result.mean.items()},
        index=result.n_shots,
    )
    print(f"Root mean squared error by rows, {world}\n{errors.T.round(2)}\n")
    gain = result.gain("MetaRidge", over="pooled_residual")
    ends = [f"{a:.2f} to {b:.2f}" for a, b in zip(gain.lower, gain.upper, strict=True)]
    print(f"MetaRidge over pooled_residual, 95 % intervals: {', '.join(ends)}\n")

# %%
# The picture
# -----------
#
# Errors against the number of rows; lower is better. The noise alone is 0.5.

import matplotlib.pyplot as plt

from skmtl.model_selection import AdaptationCurveDisplay

fig, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
for ax, (world, result) in zip(axes, results.items(), strict=True):
    AdaptationCurveDisplay.from_result(result, ax=ax, negate_score=True)
    ax.axhline(0.5, color="0.6", linewidth=1, linestyle=":")
    ax.set(title=world.capitalize(), ylim=(0.4, 2.0))
    ax.spines[["top", "right"]].set_visible(False)
axes[0].get_legend().remove()
axes[1].set_ylabel("")
plt.show()

# %%
# What it says
# ------------
#
# *In shape.* The mean of a residual has nothing to say about a slope: the random
# intercept stays where pooling is. Five rows are too few for a model of their own, and
# enough for both networks, which know in which ways groups differ. The meta-learner,
# trained for small supports, is ahead of the ordinary network throughout, most of all
# with few rows.
#
# *In level.* One number is all there is to learn, and the random intercept learns it as
# well as it can be learned. The networks come close and not past it, and cost a
# training each. The meta-learner's intervals above hold zero.
#
# So look at the second baseline before you train anything: where ``pooled_residual``
# is as good as the rest, a pooled model and a mean are the answer. Many tables of
# stores, schools and patients are like that. And where groups differ in shape, see
# whether adapting an ordinary multi-task network, which the first panel puts not far
# behind, will do.
