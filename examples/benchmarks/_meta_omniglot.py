"""Omniglot: characters of alphabets that training never saw.

Data: the background set alone, 30 alphabets, 964 characters by 20 drawers. Ten
alphabets, drawn by a seed, are held out for the test; the other twenty train. As in the
papers each training character turned by 90, 180 and 270 degrees is a class of its own;
test characters are upright. The papers train on 1,200 characters of all alphabets, and
thus know the alphabets that they test on: here are half as many, and none of those.

Training drawings come slightly warped as well: turned, scaled and shifted a little.
Every warped copy of the table is a task, so that an episode never holds a drawing and
its own copy.

Test: 600 episodes of 5 characters out of all held-out alphabets, 1 or 5 support rows
and 15 query rows (5 for the convolutions) of each; the same episodes for everybody.
Intervals of 95 % are of the mean over episodes. One model of each kind answers both.
"""

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from _report import print_setting, print_table
from _tables import DATA
from torch import nn

from skmtl import (
    MAMLClassifier,
    MetaRidgeClassifier,
    PrototypicalClassifier,
    ReptileClassifier,
    SiameseClassifier,
)
from skmtl.architecture import HardSharing, TorchModule
from skmtl.encoding import Raw

N_EPISODES, N_WAY = 600, 5
N_HELD_OUT = 10
FLOORS = {"mlp": {1: 0.897, 5: 0.975}, "conv": {1: 0.96, 5: 0.985}}


def load(folder):
    """Load drawings in [0, 1], their alphabets and their characters."""
    with np.load(folder / "omniglot_background.npz") as arrays:
        packed = arrays["packed4bit"]
        alphabet, character = arrays["alphabet"], arrays["character"]
    images = np.stack([packed >> 4, packed & 15], -1).reshape(-1, 28, 28)
    _, character = np.unique(
        np.stack([alphabet, character]), axis=1, return_inverse=True
    )
    return images.astype(np.float32) / 15, alphabet, character.ravel()


def split(alphabet, n_held_out=N_HELD_OUT, seed=0):
    """Hold out some alphabets: which rows are theirs."""
    names = np.unique(alphabet)
    held_out = np.random.default_rng(seed).permutation(names)[:n_held_out]
    return np.isin(alphabet, held_out)


def turned(images, character):
    """Add the characters turned by quarters as classes of their own."""
    n_characters = character.max() + 1
    quarters = [np.rot90(images, k, axes=(1, 2)) for k in range(4)]
    classes = [character + k * n_characters for k in range(4)]
    return np.concatenate(quarters), np.concatenate(classes)


def warped(images, seed, strength=1.0):
    """Turn, scale and shift every image a little, each in its own way."""
    rng = np.random.default_rng(seed)
    n = len(images)
    angle = rng.normal(0, 0.12 * strength, n)
    scale = np.exp(rng.normal(0, 0.08 * strength, (2, n)))
    shift = rng.normal(0, 0.07 * strength, (2, n))
    shear = rng.normal(0, 0.08 * strength, n)
    theta = np.empty((n, 2, 3), np.float32)
    theta[:, 0] = np.stack(
        [np.cos(angle) * scale[0], shear - np.sin(angle) * scale[0], shift[0]], 1
    )
    theta[:, 1] = np.stack(
        [np.sin(angle) * scale[1], np.cos(angle) * scale[1], shift[1]], 1
    )
    out = np.empty_like(images)
    for start in range(0, n, 5_000):
        part = slice(start, start + 5_000)
        batch = torch.from_numpy(np.ascontiguousarray(images[part])).unsqueeze(1)
        grid = nn.functional.affine_grid(
            torch.from_numpy(theta[part]), batch.shape, align_corners=False
        )
        batch = nn.functional.grid_sample(batch, grid, align_corners=False)
        out[part] = batch.squeeze(1).numpy()
    return out


def training_table(images, character, n_warped):
    """Make the copies of the training table: images, classes and tasks."""
    images, classes = turned(images, character)
    copies = [images, *(warped(images, seed) for seed in range(n_warped))]
    task = np.repeat(np.arange(len(copies)), len(images))
    return np.concatenate(copies), np.tile(classes, len(copies)), task


class Episodes:
    """Test episodes, drawn once, for any model."""

    def __init__(self, images, character, n_shots, n_query, seed=0):
        rng = np.random.default_rng(seed)
        rows = {c: np.flatnonzero(character == c) for c in np.unique(character)}
        support, query = [], []
        for _ in range(N_EPISODES):
            for c in rng.choice(list(rows), N_WAY, replace=False):
                drawn = rng.permutation(rows[c])[: n_shots + n_query]
                support.append(drawn[:n_shots])
                query.append(drawn[n_shots:])
        self.images, self.character = images, character
        self.support, self.query = np.ravel(support), np.ravel(query)

    def accuracies(self, model):
        """Compute the accuracy of each episode; all are tasks of one model."""
        episodes = np.arange(N_EPISODES)
        support, query = self.support, self.query
        adapted = model.adapt(
            self.images[support],
            self.character[support],
            task=episodes.repeat(len(support) // N_EPISODES),
        )
        task = episodes.repeat(len(query) // N_EPISODES)
        found = adapted.predict(self.images[query], task=task)
        right = found == self.character[query]
        return right.reshape(N_EPISODES, -1).mean(axis=1)


def interval(accuracies):
    """Write a mean in percent with its interval of 95 %."""
    half = 1.96 * accuracies.std(ddof=1) / np.sqrt(len(accuracies))
    return f"{100 * accuracies.mean():.2f} +- {100 * half:.2f}"


def block(n_in, n_out):
    """Make one of the four blocks of the papers."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def conv_trunk(n_filters):
    """Make the network of the papers: 28 by 28 pixels to `n_filters` features."""
    widths = [1, *[n_filters] * 4]
    blocks = [block(a, b) for a, b in pairwise(widths)]
    return nn.Sequential(*blocks, nn.Flatten())


def mlp_models(minutes):
    """Make the estimators, for about so many minutes of training together."""
    mlp = HardSharing((512, 256), linear_skip=False)
    shared = {
        "architecture": mlp,
        "encoding": Raw(),
        "early_stopping": False,
        "random_state": 0,
        "n_support": (1, 5),
    }

    def steps(n):
        return max(10, round(n * minutes / 7))

    pairs = {"n_way": 60, "meta_batch_size": 1, "n_components": None}
    novel = {"n_way": N_WAY, "n_query": 5, "meta_batch_size": 16}
    return {
        "Prototypical": PrototypicalClassifier(
            **shared, **pairs, max_iter=steps(6_000), lr=0.002
        ),
        "MetaRidge": MetaRidgeClassifier(
            **shared, **novel, max_iter=steps(1_500), lr=0.002
        ),
        "MAML": MAMLClassifier(
            **shared, **novel, max_iter=steps(1_000), first_order=True, inner_lr=0.1
        ),
        "Siamese": SiameseClassifier(
            **shared | {"n_support": 1},
            **pairs | {"n_way": 30},
            n_query=4,
            max_iter=steps(2_000),
        ),
        # Copies of the network for each task make steps dear: a smaller one, small
        # batches of tasks, and ten rows a class to learn from, as in its paper.
        "Reptile": ReptileClassifier(
            **shared
            | {"architecture": HardSharing((128,), linear_skip=False), "n_support": 10},
            n_way=N_WAY,
            n_query=1,
            meta_batch_size=5,
            max_iter=steps(1_500),
            n_inner_steps=5,
            n_adapt_steps=30,
            inner_lr=0.002,
            lr=0.2,
        ),
    }


def run(models, part, images, alphabet, character, n_warped, n_query, shape):
    """Train and test models; find the mean accuracy by name and by shots."""
    test = split(alphabet)
    X, y, task = training_table(images[~test], character[~test], n_warped)
    X = X.reshape(len(X), *shape)
    X_test = images[test].reshape(-1, *shape)
    episodes = {k: Episodes(X_test, character[test], k, n_query) for k in (1, 5)}
    rows, means = [], {}
    for name, model in models.items():
        start = time.perf_counter()
        model.fit(X, y, task=task)
        minutes = (time.perf_counter() - start) / 60
        found = {k: episodes[k].accuracies(model) for k in (1, 5)}
        means[name] = {k: a.mean() for k, a in found.items()}
        rows.append(
            [name, model.max_iter, f"{minutes:.1f}", *map(interval, found.values())]
        )
    floors = [f"{100 * floor:.1f}" for floor in FLOORS[part].values()]
    rows.append(["floor", "", "", *floors])
    print_table([part, "steps", "minutes", "5-way 1-shot", "5-way 5-shot"], rows)
    return means


def run_mlp(data, minutes):
    """Pixels as 784 columns."""
    return run(mlp_models(minutes), "mlp", *data, n_warped=4, n_query=15, shape=(784,))


def run_conv(data, minutes, n_filters=32):
    """Pixels as images, about 8 steps a second on one core at 32 filters."""
    model = PrototypicalClassifier(
        TorchModule(conv_trunk, {"n_filters": n_filters}),
        n_components=None,
        n_way=20,
        n_support=(1, 5),
        n_query=5,
        meta_batch_size=1,
        max_iter=max(10, round(450 * minutes)),
        lr=0.002,
        early_stopping=False,
        random_state=0,
    )
    models = {"Prototypical": model}
    return run(models, "conv", *data, n_warped=1, n_query=5, shape=(1, 28, 28))


def check_floor(part, means):
    """Demand that one estimator reaches both floors."""
    for k, floor in FLOORS[part].items():
        best = max(found[k] for found in means.values())
        assert best >= floor, f"{part} at {k} shots: {best:.4f} < {floor}"


def check(folder=DATA, quick=False, parts=("mlp", "conv"), minutes=None):
    """Run the parts, and compare with the floors."""
    data = load(folder)
    runs = {"mlp": (run_mlp, 7), "conv": (run_conv, 12)}
    for part in parts:
        measure, usual = runs[part]
        means = measure(data, 0.05 if quick else minutes or usual)
        if not quick:
            check_floor(part, means)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--part", choices=("mlp", "conv"))
    parser.add_argument("--minutes", type=float, help="of training, for each part")
    parser.add_argument("--quick", action="store_true", help="run everything, briefly")
    arguments = parser.parse_args()
    print_setting()
    parts = ("mlp", "conv") if arguments.part is None else (arguments.part,)
    check(arguments.data, arguments.quick, parts, arguments.minutes)


if __name__ == "__main__":
    main()
