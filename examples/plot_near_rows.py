"""
What near rows know, and when they do not
=========================================

Two pollutants were measured at 400 places. Networks draw smooth surfaces through them;
what is left over near a place says something about the next place. By default a
prediction is corrected by the errors that the networks made in near rows that they held
out. This is right for new places between the old ones, and wrong for a new district.
"""

# %%
# The surfaces have two scales: a trend over the whole map, and bumps of a few steps
# across. Half of the second pollutant's labels are missing.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.model_selection import GroupKFold

from skmtl import MultiTaskNetRegressor


def surfaces(places):
    """Tell both pollutants at some places."""
    east, north = places.T
    trend = east - north**2
    bumps = np.sin(11 * east) * np.cos(9 * north)
    return np.stack([trend + 0.7 * bumps, 0.5 * trend - 0.7 * bumps], axis=1)


rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, size=(400, 2))
y = surfaces(X) + 0.1 * rng.normal(size=(400, 2))
y[rng.uniform(size=400) < 0.5, 1] = np.nan
axis = np.linspace(-1, 1, 60)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)

settings = {"max_epochs": 40, "random_state": 0}
plain = MultiTaskNetRegressor(n_neighbors=None, **settings).fit(X, y)
model = MultiTaskNetRegressor(**settings).fit(X, y)

# %%
# ``neighbor_gain_`` is the share of the held-out loss that near rows spare each task.

print("spared on held-out rows:", np.round(model.neighbor_gain_, 2))
for name, fitted in (("networks alone", plain), ("with near rows", model)):
    errors = np.sqrt(np.mean((fitted.predict(grid) - surfaces(grid)) ** 2, axis=0))
    print(f"{name}: errors on the map {np.round(errors, 3)}")

# %%
# The bumps come out where there are places near by.

maps = {
    "truth": surfaces(grid),
    "networks alone": plain.predict(grid),
    "with near rows": model.predict(grid),
}
fig, axes = plt.subplots(
    2, 3, figsize=(9, 6), sharex=True, sharey=True, layout="constrained"
)
for row, label in enumerate(("first pollutant", "second pollutant")):
    limit = np.abs(maps["truth"][:, row]).max()
    for ax, (name, values) in zip(axes[row], maps.items(), strict=True):
        image = ax.pcolormesh(
            axis,
            axis,
            values[:, row].reshape(60, 60),
            vmin=-limit,
            vmax=limit,
            cmap="RdBu_r",
            rasterized=True,
        )
        known = ~np.isnan(y[:, row])
        ax.plot(*X[known].T, ".", color="black", markersize=1.5)
        ax.set(aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
        if row == 0:
            ax.set_title(name)
    axes[row, 0].set_ylabel(label)
    fig.colorbar(image, ax=axes[row], shrink=0.8)
fig.suptitle("Dots are the places where the pollutant was measured")
plt.show()

# %%
# To predict a district from which there is no measurement is another question. Folds of
# whole districts ask it: held-out rows then have no near rows, as new ones will not,
# and little or nothing is left to gain.

districts = KMeans(16, n_init=1, random_state=0).fit_predict(X)
folds = list(GroupKFold(8).split(X, groups=districts))
careful = MultiTaskNetRegressor(cv=folds, **settings).fit(X, y)
print("spared on held-out districts:", np.round(careful.neighbor_gain_, 2))
