"""
A new task from a handful of rows
=================================

Two hundred sine waves are known, each by 20 noisy points. How many points of another
wave does it take to draw all of it, and does the model know how little it knows?

Two meta-learners answer. Both were trained for the question: to predict some points of
a wave from others. One solves for the head of a new wave and says how sure it is; the
other takes gradient steps.
"""

# %%
# Waves, and two models
# ---------------------
#
# Each wave is a task, :math:`y = a \sin(x - b)` with an amplitude between 0.1 and 5, a
# phase between 0 and :math:`\pi`, and noise of 0.3. Nobody tells the models that these
# are sine waves. The mean of all waves says little about any one of them. Support sizes
# are drawn between 0 and 20 rows, so that no rows at all is a case they train for.
#
# The closed-form head does without the dropout that it has by default: a table of one
# column leaves nothing to learn by heart, and its bands are better for it.
# MAML gets three gradient steps in training and ten for a new wave, and learns the
# length of its steps, one for each tensor of the network.

import warnings
from time import perf_counter

import numpy as np

from skmtl import MAMLRegressor, MetaRidgeRegressor
from skmtl.architecture import HardSharing
from skmtl.datasets import make_sinusoid_tasks

NOISE = 0.3
X, y, wave = make_sinusoid_tasks(200, 20, noise=NOISE, random_state=0)
models = {
    "closed-form head": MetaRidgeRegressor(
        HardSharing(), n_support=(0, 20), random_state=0
    ),
    "MAML": MAMLRegressor(
        n_support=(0, 20),
        n_adapt_steps=10,
        learn_inner_lr="tensor",
        max_iter=500,
        random_state=0,
    ),
}
for name, model in models.items():
    started = perf_counter()
    model.fit(X, y, task=wave)
    print(f"{name}: {perf_counter() - started:.0f} s of training")

# %%
# New waves
# ---------
#
# A hundred new waves have 10 rows to adapt to, and 50 that are only asked about.
# ``adapt`` takes them all at once, with their ids. Without rows the models predict what
# they know of waves in general; they warn that they do, which is what is wanted here.

X_new, y_new, wave_new, oracle = make_sinusoid_tasks(
    100, 60, noise=NOISE, return_oracle=True, random_state=1
)
place = np.arange(len(y_new)) % 60
asked = place >= 10
SHOTS = [0, 1, 2, 5, 10]


def predict(model, shots, X, wave, **options):
    """Predict rows of new waves from their first few rows."""
    if shots:
        few = place < shots
        adapted = model.adapt(X_new[few], y_new[few], task=wave_new[few])
        return adapted.predict(X, task=wave, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.predict(X, task=-1 - wave, **options)


print(f"\nRoot mean squared error, 100 waves; the noise alone is {NOISE}")
print("rows               ", *(f"{shots:5d}" for shots in SHOTS))
for name, model in models.items():
    errors = [
        np.sqrt(np.mean((predict(model, s, X_new, wave_new) - y_new)[asked] ** 2))
        for s in SHOTS
    ]
    print(f"{name:19s}", *(f"{error:5.2f}" for error in errors))

# A normal variable is within 1.645 standard deviations with probability 0.9.
WIDTH = 1.645
covered = []
for shots in SHOTS:
    mean, std = predict(
        models["closed-form head"], shots, X_new, wave_new, return_std=True
    )
    covered.append(np.mean(np.abs(mean - y_new)[asked] < WIDTH * std[asked]))
print(f"{'in the 90 % band':19s}", *(f"{share:5.2f}" for share in covered))

# %%
# The picture
# -----------
#
# One of the new waves, grey, from more and more of its rows, the dots.

import matplotlib.pyplot as plt

one = 11
grid = np.linspace(-5, 5, 200)[:, None]
truth = oracle.function(grid, np.full(200, one))
fig, axes = plt.subplots(
    2, len(SHOTS), figsize=(12, 5), sharex=True, sharey=True, layout="constrained"
)
rows_of_one = np.flatnonzero(wave_new == one)
for column, shots in zip(axes.T, SHOTS, strict=True):
    for ax, (name, model) in zip(column, models.items(), strict=True):
        ax.plot(grid[:, 0], truth, color="0.6", linewidth=4, alpha=0.6)
        options = {"return_std": True} if name == "closed-form head" else {}
        found = predict(model, shots, grid, np.full(200, one), **options)
        if options:
            found, std = found
            low, high = found - WIDTH * std, found + WIDTH * std
            ax.fill_between(grid[:, 0], low, high, color="tab:blue", alpha=0.2)
        color = "tab:blue" if options else "tab:orange"
        ax.plot(grid[:, 0], found, color=color)
        few = rows_of_one[:shots]
        ax.plot(X_new[few, 0], y_new[few], "ko", markersize=5)
        ax.spines[["top", "right"]].set_visible(False)
    column[0].set_title(f"{shots} row{'s' * (shots != 1)}")
    column[1].set_xlabel("x")
for ax, name in zip(axes[:, 0], models, strict=True):
    ax.set_ylabel(name)
plt.show()

# %%
# What it says
# ------------
#
# Before it sees a row, either model draws the mean wave. The closed-form head surrounds
# it with a wide band, which a row pinches where it lies, and half a period further on:
# what waves have in common has been learned. With five rows its error is little above
# the noise. MAML, whose steps move the whole network, needs more rows for the same.
#
# The band holds what it says from two rows on. With fewer it is too narrow and holds
# about 87 % of the points: a normal distribution is not the shape of amplitudes and
# phases that are uniform, and the first rows make good for it.
#
# These tasks suit a closed-form head: each wave is exactly a sum of two features, the
# sine and the cosine of x. On tasks that each need features of their own the order may
# turn. And one wave is one wave: the table compares, the picture only shows.
