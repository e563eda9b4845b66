"""
Hundreds of task weights in seconds
===================================

How much should each task count? A network with room for everything need not ask. A
small one has to choose, and the choice is a trade: this page draws it, for three
results of patients and a network with two hidden units. The search over weights that
would take minutes fit by fit takes seconds as one network.
"""

# %%
# Three targets and two units
# ---------------------------
#
# Of the patients in scikit-learn's diabetes table, take the progression of the disease,
# HDL cholesterol and the logarithm of triglycerides as targets, everything else as
# inputs. Two hidden units are what a tiny device might hold; three targets have to fit
# through them.

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold

from skmtl import MultiTaskNetRegressor
from skmtl.architecture import HardSharing
from skmtl.encoding import Standard
from skmtl.model_selection import FusedGridSearchCV

patients = load_diabetes(as_frame=True, scaled=False).frame
y = patients[["target", "s3", "s5"]].set_axis(
    ["progression", "HDL", "log triglycerides"], axis=1
)
X = patients.drop(columns=["target", "s3", "s5"])
net = MultiTaskNetRegressor(
    HardSharing((2,)),
    encoding=Standard(),
    n_estimators=1,
    early_stopping=False,
    max_epochs=60,
    lr=0.02,
    random_state=0,
)

# %%
# Every way to deal out 24 equal shares, at least one a task, is a candidate: 253 of
# them. A function gives a score a task, and the mean by which the best is chosen.

parts = [(i, j, 24 - i - j) for i in range(1, 23) for j in range(1, 24 - i)]
weights = np.array(parts) / 8
grid = {"task_weights": [tuple(row) for row in weights]}
cv = KFold(5, shuffle=True, random_state=0)


def score_tasks(model, X, y):
    """Give R2 of each task, and their mean."""
    scores = r2_score(y, model.predict(X), multioutput="raw_values")
    return dict(zip(y.columns, scores, strict=True)) | {"mean": scores.mean()}


# %%
# One line changes
# ----------------
#
# This is the search of scikit-learn, over one candidate in twenty:

some = {"task_weights": grid["task_weights"][::20]}
start = time.perf_counter()
GridSearchCV(net, some, cv=cv, scoring=score_tasks, refit="mean").fit(X, y)
one_by_one = (time.perf_counter() - start) * len(weights) / len(some["task_weights"])

# %%
# and this is all of it, with 1265 networks side by side. Arguments, results and their
# names stay; the scores are the same.

start = time.perf_counter()
search = FusedGridSearchCV(net, grid, cv=cv, scoring=score_tasks, refit="mean")
search.fit(X, y)
fused = time.perf_counter() - start
print(
    f"{len(weights)} candidates, 5 folds: {fused:.0f} s; one by one {one_by_one:.0f} s"
)

# %%
# What a task gets, and what it costs
# -----------------------------------
#
# Each corner of a triangle is a task that weighs nearly everything, the middle is equal
# weights. HDL is easy and falls only where it weighs next to nothing. Progression and
# triglycerides trade: what is best for one is a poor place for the other.

scores = pd.DataFrame(
    {name: search.cv_results_[f"mean_test_{name}"] for name in y.columns}
)
corners = np.array([[0, 0], [1, 0], [0.5, np.sqrt(0.75)]])
x_place, y_place = (weights / 3 @ corners).T

fig, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
for ax, name in zip(axes, y.columns, strict=True):
    marks = ax.scatter(x_place, y_place, c=scores[name].clip(lower=0), s=45, marker="h")
    fig.colorbar(marks, ax=ax, shrink=0.7, label="R2")
    for corner, task in zip(corners, y.columns, strict=True):
        below = corner[1] == 0
        ax.annotate(
            task,
            corner,
            xytext=(0, -10 if below else 10),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
            fontweight="bold" if task == name else None,
            fontsize=8,
        )
    ax.set(xlim=(-0.15, 1.15), ylim=(-0.15, 1.02), aspect="equal")
    ax.axis("off")
    ax.set_title(name)

# %%
# The front
# ---------
#
# Weights are on the front if no others are as good in every task and better in one:
# what they give to one task they take from another, and no search can choose among them
# without being told what counts. Equal weights are one more opinion.


def on_front(scores):
    """Tell which rows no other row beats: as good everywhere, and better once."""
    values = scores.to_numpy()
    as_good = (values[:, None] >= values).all(axis=2)
    better = (values[:, None] > values).any(axis=2)
    return ~(as_good & better).any(axis=0)


front = on_front(scores)
equal = parts.index((8, 8, 8))
fig, ax = plt.subplots(figsize=(6.8, 4.6), layout="constrained")
ax.scatter(scores["HDL"], scores["log triglycerides"], s=12, c="0.8", label="beaten")
marks = ax.scatter(
    scores["HDL"][front],
    scores["log triglycerides"][front],
    c=scores["progression"][front],
    s=45,
    label="the front",
)
fig.colorbar(marks, label="R2 of progression")
for index, marker, label in [
    (equal, "s", "equal"),
    (search.best_index_, "*", "best mean"),
]:
    ax.scatter(
        scores["HDL"][index],
        scores["log triglycerides"][index],
        s=170,
        facecolors="none",
        edgecolors="tab:red",
        marker=marker,
        label=label,
    )
ax.set(xlabel="R2 of HDL", ylabel="R2 of log triglycerides")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False, loc="lower left")
plt.show()

# %%
# Saying what counts
# ------------------
#
# Somebody who needs progression to reach 0.4, and then the best of the other two, reads
# it off the results. As ``refit`` the same rule is a function of ``cv_results_``.


def best_of_others(results):
    """Choose what is best for the rest where progression is good enough."""
    others = results["mean_test_HDL"] + results["mean_test_log triglycerides"]
    return int(
        np.where(results["mean_test_progression"] >= 0.4, others, -np.inf).argmax()
    )


chosen = {
    "equal weights": equal,
    "best mean": search.best_index_,
    "progression at 0.4": best_of_others(search.cv_results_),
}
shares = pd.DataFrame(weights[list(chosen.values())], chosen, y.columns).add_prefix(
    "w: "
)
table = shares.join(scores.iloc[list(chosen.values())].set_axis(list(chosen)))
print(table.to_string(float_format="{:.2f}".format))

# %%
# More room
# ---------
#
# Before weights are searched, ask whether tasks have to fight at all. The width is
# another setting of the same search; each width trains in a bank of its own. Four units
# at equal weights are better in every task than two units at the weights above, and at
# sixteen there is nothing left to trade.

equal_weights = {"architecture__hidden_layer_sizes": [(2,), (4,), (16,), (64,)]}
wider = FusedGridSearchCV(net, equal_weights, cv=cv, scoring=score_tasks, refit="mean")
wider.fit(X, y)
print(
    pd.DataFrame(
        {name: wider.cv_results_[f"mean_test_{name}"] for name in y.columns},
        index=[f"{width} units" for (width,) in equal_weights.popitem()[1]],
    ).to_string(float_format="{:.2f}".format)
)
