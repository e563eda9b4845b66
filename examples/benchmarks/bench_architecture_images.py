"""Two questions about a drawing: one convolutional trunk for both, or one each?

Omniglot, 28 x 28 pixels: some alphabets, each character drawn by 20 people. Which
alphabet is a drawing from, and which character is it? Of each character 14 drawings
train and 6 test, by other people. ``TorchModule`` holds three convolutions.

With all labels a drawing has both answers. With half of them each drawing was shown to
one annotator, and has the alphabet or the character. Then a trunk of its own sees half
of the drawings, and a shared trunk all of them.

Accuracies on the test drawings, mean and standard error over seeds, which draw the
alphabets and the people. Four minutes on one thread.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from _meta_omniglot import load
from _report import print_setting, print_table
from _tables import DATA
from torch import nn

from skmtl import MultiTaskNetClassifier
from skmtl.architecture import TorchModule

N_ALPHABETS = 6
TASKS = ("alphabet", "character")


class Convolutions(nn.Sequential):
    """From (n, 1, 28, 28) to (n, 128)."""

    def __init__(self, width=16):
        layers, before = [], 1
        for size in (width, 2 * width, 4 * width):
            layers += [
                nn.Conv2d(before, size, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(size),
                nn.ReLU(),
            ]
            before = size
        layers += [nn.Flatten(), nn.Linear(16 * before, 128), nn.ReLU()]
        super().__init__(*layers)


def draw(data, seed):
    """Choose alphabets and people: images, labels, and which drawings test."""
    images, alphabet, character = load(data)
    rng = np.random.default_rng(seed)
    chosen = np.isin(alphabet, rng.permutation(np.unique(alphabet))[:N_ALPHABETS])
    X, y = images[chosen][:, None], np.column_stack([alphabet, character])[chosen]
    test = np.zeros(len(X), bool)
    for one in np.unique(y[:, 1]):
        test[rng.permutation(np.flatnonzero(y[:, 1] == one))[:6]] = True
    return X, y.astype(float), test


def accuracy(X, y, X_test, y_test, seed):
    """Fit one trunk for the columns of y, and score each."""
    model = MultiTaskNetClassifier(
        TorchModule(Convolutions),
        n_estimators=1,
        early_stopping=False,
        max_epochs=15,
        batch_size=64,
        lr=0.003,
        random_state=seed,
        device="cpu",
    )
    predicted = model.fit(X, y).predict(X_test).reshape(len(X_test), -1)
    return (predicted == y_test).mean(axis=0)


def compare(data, n_seeds):
    """Score one trunk and two, with all labels and with half of them."""
    rows, found = [], {}
    for labels in ("all", "half"):
        shared, alone, seconds = [], [], np.zeros(2)
        for seed in range(n_seeds):
            X, y, test = draw(data, seed)
            seen, answers = X[~test], y[~test].copy()
            if labels == "half":
                asked = np.random.default_rng(seed).integers(2, size=len(seen))
                answers[np.arange(len(seen)), 1 - asked] = np.nan
            start = time.perf_counter()
            shared.append(accuracy(seen, answers, X[test], y[test], seed))
            middle = time.perf_counter()
            each = []
            for t in range(2):
                own = ~np.isnan(answers[:, t])
                rest = answers[own, t], X[test], y[test][:, [t]], seed
                each.append(accuracy(seen[own], *rest)[0])
            alone.append(each)
            seconds += middle - start, time.perf_counter() - middle
        for name, scores, took in (
            ("one trunk", shared, seconds[0]),
            ("a trunk each", alone, seconds[1]),
        ):
            mean = np.mean(scores, axis=0)
            error = np.std(scores, axis=0, ddof=min(1, n_seeds - 1)) / n_seeds**0.5
            cells = [f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True)]
            rows.append([labels, name, *cells, f"{took / n_seeds:.0f}"])
            found[labels, name] = mean
    print(f"Accuracy, {N_ALPHABETS} alphabets, {n_seeds} seeds\n")
    print_table(["labels", "", *TASKS, "seconds"], rows)
    assert (found["half", "one trunk"] > found["half", "a trunk each"]).all()


def main():
    """Read the arguments, and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the images")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    if not (arguments.data / "omniglot_background.npz").exists():
        print(f"Skipped: no omniglot_background.npz in {arguments.data}; see --data.")
        sys.exit()
    torch.set_num_threads(1)
    print_setting()
    compare(arguments.data, arguments.seeds)


if __name__ == "__main__":
    main()
