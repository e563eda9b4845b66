"""
A convolutional trunk for several questions about an image
==========================================================

Three questions are asked about pictures of handwritten digits: which digit is it, is it
even, does it have a closed loop? A small convolutional net of our own can answer all
three with one trunk, or one net each. When is the shared trunk better?

Every image may have all three answers, or only one, as when each went to one annotator
with one question. The page compares both ways of answering in both cases.
"""

# %%
# The images and the questions
# ----------------------------
#
# ``X`` keeps the shape of the images, (n, 1, 8, 8), with the channels first as torch
# has it. Each question is a column of ``y``, and NaN says that nobody was asked.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from skmtl import MultiTaskNetClassifier
from skmtl.architecture import TorchModule

digits = load_digits()
X = (digits.images[:, None] / 16).astype(np.float32)
y = np.stack(
    [digits.target, digits.target % 2 == 0, np.isin(digits.target, [0, 6, 8, 9])],
    axis=1,
).astype(float)
QUESTIONS = ["which digit", "even", "closed loop"]
print("X", X.shape, X.dtype, "y", y.shape)

# %%
# The trunk is plain torch
# ------------------------
#
# :class:`~skmtl.architecture.TorchModule` takes the class, makes a module under the
# seed of each network, and puts a head a task on what it returns. With
# ``encoding=None`` the module gets ``X`` as it is. ``width`` could be searched as
# ``architecture__module__width``.


class Trunk(nn.Sequential):
    """Two convolutions, from (n, 1, 8, 8) to (n, 8 * width)."""

    def __init__(self, width=8):
        super().__init__(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )


def net():
    """Make one network, without an ensemble, so that the page stays quick."""
    return MultiTaskNetClassifier(
        TorchModule(Trunk, {"width": 8}),
        n_estimators=1,
        early_stopping=False,
        max_epochs=20,
        batch_size=32,
        lr=0.01,
        random_state=0,
    )


# %%
# One trunk against one net a question
# ------------------------------------
#
# Both see the same images and the same labels, have the same trunk, and train for the
# same number of epochs. A net of its own trains on the images that have its label.


def errors_of_shared(X_train, y_train, X_test, y_test):
    """Answer all questions by one trunk."""
    return np.mean(net().fit(X_train, y_train).predict(X_test) != y_test, axis=0)


def errors_of_each(X_train, y_train, X_test, y_test):
    """Answer each question by a net of its own."""
    errors = []
    for labels, truth in zip(y_train.T, y_test.T, strict=True):
        asked = ~np.isnan(labels)
        single = net().fit(X_train[asked], labels[asked])
        errors.append(np.mean(single.predict(X_test) != truth))
    return errors


CASES = ["three answers an image", "one answer an image"]
SIZES = [150, 300]
N_SPLITS = 3
# (case, shared or each, size, split, question), in per cent
errors = np.empty((2, 2, len(SIZES), N_SPLITS, 3))
for i, size in enumerate(SIZES):
    for split in range(N_SPLITS):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, train_size=size, stratify=digits.target, random_state=split
        )
        asked = np.random.default_rng(split).integers(3, size=size)
        one_answer = np.where(np.arange(3) == asked[:, None], y_train, np.nan)
        for case, labels in enumerate([y_train, one_answer]):
            data = X_train, labels, X_test, y_test
            errors[case, 0, i, split] = 100 * np.array(errors_of_shared(*data))
            errors[case, 1, i, split] = 100 * np.array(errors_of_each(*data))

print(f"Per cent wrong, mean of {N_SPLITS} splits: one trunk / a net each")
for case, title in enumerate(CASES):
    for i, size in enumerate(SIZES):
        shared, each = errors[case, :, i].mean(axis=1)
        row = [
            f"{question} {a:.1f} / {b:.1f}"
            for question, a, b in zip(QUESTIONS, shared, each, strict=True)
        ]
        print(f"{title}, {size} images: {', '.join(row)}")

# %%
# The picture
# -----------
#
# A dot is a split: the error of one trunk against that of a net for the question alone.
# Below the line the shared trunk is better.

figure, axes = plt.subplots(1, 3, figsize=(11, 4.4), layout="constrained")
framed = np.pad(X[:25, 0], ((0, 0), (1, 1), (1, 1)))
samples = np.block([[framed[5 * i + j] for j in range(5)] for i in range(5)])
axes[0].imshow(samples, cmap="gray_r")
axes[0].set(title="Some of the images", xticks=[], yticks=[])
low, high = 0.8 * errors.min(), 1.25 * errors.max()
ticks = [5, 10, 20, 40]
for case, title in enumerate(CASES):
    ax = axes[case + 1]
    ax.plot([low, high], [low, high], color="0.6", linewidth=1)
    for j, (question, color) in enumerate(zip(QUESTIONS, "krb", strict=True)):
        for i, (size, filled) in enumerate(zip(SIZES, (False, True), strict=True)):
            shared, each = errors[case, :, i, :, j]
            ax.scatter(
                each,
                shared,
                s=34,
                edgecolor=color,
                facecolor=color if filled else "none",
                label=f"{question}, {size} images",
            )
    ax.set(
        title=title,
        xscale="log",
        yscale="log",
        xlim=(low, high),
        ylim=(low, high),
        aspect="equal",
        xlabel="wrong by a net of its own, %",
    )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ticks, ticks)
        axis.set_minor_locator(plt.NullLocator())
axes[1].set_ylabel("wrong by one trunk, %")
axes[2].legend(fontsize=7, loc="upper left")
plt.show()

# %%
# What it says
# ------------
#
# With one answer an image, a net of its own sees a third of the images, and for the
# hardest question, which digit, that is far too few: the shared trunk, which sees them
# all, makes little more than half the errors. The two easier questions gain less, and
# nothing clear with 150 images. With all three answers there are no further images to
# learn from: a net of its own is slightly better for the digit and clearly better for
# the yes-or-no questions, whose trunk need not serve the digit as well. That tasks are
# related is not enough; sharing pays where it brings labels.
