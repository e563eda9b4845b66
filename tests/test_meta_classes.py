"""Classes as places in a learned space: prototypes and galleries, by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, softmax

from skmtl import PrototypicalClassifier, SiameseClassifier
from skmtl._net import Episodes
from skmtl.architecture import HardSharing
from skmtl.encoding import Raw
from skmtl.meta._siamese import best_threshold
from skmtl.meta._siamese_learner import pair_loss, triplet_loss

SMALL = {"max_iter": 10, "random_state": 0, "device": "cpu", "dtype": "float64"}
SMALL |= {"early_stopping": False, "n_components": 3}


def blobs(n_classes=5, n_rows=8, seed=0):
    """Draw classes around centres: X (n, 4), read-only, and labels from 10 on."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat(np.arange(n_classes), n_rows))
    X = 1.5 * rng.normal(size=(n_classes, 4))[label] + rng.normal(size=(len(label), 4))
    X.flags.writeable = False
    return X, 10 + label


def fitted(kind, *, task=None, **changes):
    X, y = blobs()
    model = kind(HardSharing((6,), activation="tanh"), Raw(), **SMALL | changes)
    return model.fit(X, y, task=task)


def prototypes(**changes):
    return fitted(PrototypicalClassifier, **changes)


def siamese(**changes):
    return fitted(SiameseClassifier, **changes)


def class_means(places, y):
    return np.stack([places[y == label].mean(axis=0) for label in np.unique(y)])


def scale_of(model):
    return model.net_.module_.learner.log_scale.exp().item()


def episode(weights=(1.0,) * 7):
    """Draw four rows of support and three of query, of two slots; the learner sees."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(1, 1, 7, 4, generator=generator, dtype=torch.float64)
    codes = torch.tensor([0.0, 1, 1, 0, 1, 0, 1], dtype=torch.float64)
    weights = torch.tensor(weights, dtype=torch.float64).view(1, 1, 7, 1)
    tasks = torch.zeros(1, 1, dtype=torch.int64)
    return Episodes(inputs, codes.view(1, 1, 7, 1), weights, 4, tasks)


# -- prototypes ------------------------------------------------------------------


def test_probabilities_are_the_softmax_of_scaled_squared_distances():
    X, y = blobs()
    model = prototypes()
    places = model.transform(X)
    logits = -scale_of(model) * cdist(places, class_means(places, y)) ** 2
    np.testing.assert_allclose(model.predict_proba(X), softmax(logits, axis=1))
    expected = np.unique(y)[logits.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(X), expected)


def test_probabilities_are_the_softmax_of_scaled_cosines():
    X, y = blobs()
    model = prototypes(metric="cosine")
    places = model.transform(X)
    cosine = 1 - cdist(places, class_means(places, y), "cosine")
    logits = scale_of(model) * cosine
    np.testing.assert_allclose(model.predict_proba(X), softmax(logits, axis=1))


def test_members_average_probabilities_and_stand_side_by_side():
    X, y = blobs()
    model = prototypes(n_estimators=2)
    both = model.transform(X)
    assert both.shape == (40, 6)
    scales = model.net_.module_.learner.log_scale.exp().flatten().tolist()
    expected = [
        softmax(-scale * cdist(places, class_means(places, y)) ** 2, axis=1)
        for scale, places in zip(scales, np.split(both, 2, axis=1), strict=True)
    ]
    np.testing.assert_allclose(model.predict_proba(X), np.mean(expected, axis=0))


def test_every_task_is_compared_with_its_own_classes():
    X, y = blobs()
    task = np.where(y < 13, "left", "right")
    model = prototypes(task=task)
    proba, places = model.predict_proba(X, task=task), model.transform(X)
    for name, own in (("left", [10, 11, 12]), ("right", [13, 14])):
        rows = task == name
        means = class_means(places[rows], y[rows])
        logits = -scale_of(model) * cdist(places[rows], means) ** 2
        columns = np.array(own) - 10
        np.testing.assert_allclose(proba[rows][:, columns], softmax(logits, axis=1))
        assert proba[rows].sum() == pytest.approx(rows.sum())


def test_new_classes_are_the_means_of_their_rows():
    model = prototypes()
    X, y = blobs(n_classes=7, seed=5)
    y = np.array(list("abcdefg"))[y - 10]
    adapted = model.adapt(X[:30], y[:30])
    places = model.transform(X)
    assert adapted.classes_.tolist() == list("abcdefg")
    means = class_means(places[:30], y[:30])
    logits = -scale_of(model) * cdist(places, means) ** 2
    np.testing.assert_allclose(adapted.predict_proba(X), softmax(logits, axis=1))
    np.testing.assert_array_equal(adapted.transform(X), places)


def test_rows_weigh_in_the_mean_of_their_class():
    model = prototypes()
    X, y = blobs(seed=5)
    weight = np.random.default_rng(0).uniform(0.5, 2, size=len(y))
    adapted = model.adapt(X, y, sample_weight=weight)
    places = model.transform(X)
    means = np.stack(
        [
            np.average(places[y == label], axis=0, weights=weight[y == label])
            for label in np.unique(y)
        ]
    )
    logits = -scale_of(model) * cdist(places, means) ** 2
    np.testing.assert_allclose(adapted.predict_proba(X), softmax(logits, axis=1))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_loss_is_the_cross_entropy_of_the_query(metric):
    model = prototypes(metric=metric)
    module, batch = model.net_.module_.double().eval(), episode((1, 2, 1, 0, 1, 1, 3))
    found = module.learner.query_losses(module, batch).item()
    places = model.transform(batch.inputs[0, 0].numpy())
    means = np.stack([places[0], (2 * places[1] + places[2]) / 3])
    if metric == "cosine":
        logits = scale_of(model) * (1 - cdist(places[4:], means, "cosine"))
    else:
        logits = -scale_of(model) * cdist(places[4:], means) ** 2
    cells = -log_softmax(logits, axis=1)[[0, 1, 2], [1, 0, 1]]
    assert found == pytest.approx(np.average(cells, weights=[1, 1, 3]))


def test_a_class_without_support_is_not_asked_about():
    module = prototypes().net_.module_.double()
    learner = module.learner
    lacking, less = episode((0, 1, 1, 0, 1, 1, 1)), episode((0, 1, 1, 0, 1, 0, 1))
    found = learner.query_losses(module, lacking)
    # Rows of the only class there is are certain.
    assert found.item() == pytest.approx(0.0)
    torch.testing.assert_close(found, learner.query_losses(module, less))
    found.sum().backward()
    for parameter in module.learner.parameters():
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("kind", [PrototypicalClassifier, SiameseClassifier])
def test_gradients_of_losses_are_their_slopes(kind):
    module, batch = fitted(kind).net_.module_.double().train(), episode()
    module.zero_grad()
    module.learner.backward(module, batch, 0.0, 1.0)
    for parameter in module.learner.parameters():
        flat, i = parameter.data.view(-1), parameter.numel() // 2
        kept, ends = flat[i].item(), []
        for step in (1e-6, -1e-6):
            flat[i] = kept + step
            ends.append(module.learner.query_losses(module, batch).item())
        flat[i] = kept
        slope = (ends[0] - ends[1]) / 2e-6
        assert parameter.grad.view(-1)[i].item() == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize("kind", [PrototypicalClassifier, SiameseClassifier])
def test_padding_changes_no_loss(kind):
    module, batch = fitted(kind).net_.module_.double(), episode()
    cut = batch.n_support

    def longer(part, value):
        fill = part.new_full((1, 1, 2, part.shape[-1]), value)
        return torch.cat([part[:, :, :cut], fill, part[:, :, cut:], fill], dim=2)

    padded = batch._replace(
        inputs=longer(batch.inputs, 1.0),
        targets=longer(batch.targets, 0.0),
        weights=longer(batch.weights, 0.0),
        n_support=cut + 2,
    )
    losses = [module.learner.query_losses(module, b) for b in (batch, padded)]
    torch.testing.assert_close(*losses)


# -- names of places -------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "n_places"),
    [({}, 3), ({"n_estimators": 2}, 6), ({"n_components": None}, 6)],
)
@pytest.mark.parametrize("kind", [PrototypicalClassifier, SiameseClassifier])
def test_places_have_names(kind, changes, n_places):
    model = fitted(kind, **changes)
    prefix = kind.__name__.lower()
    expected = [f"{prefix}{i}" for i in range(n_places)]
    assert model.get_feature_names_out().tolist() == expected
    assert model.transform(blobs()[0]).shape == (40, n_places)
    frame = model.set_output(transform="pandas").transform(blobs()[0])
    assert frame.columns.tolist() == expected


# -- pairs and triplets ----------------------------------------------------------

# Rows 0 and 1 of one class, row 2 of another.
DISTANCES = torch.tensor([[0.0, 0.5, 0.8], [0.5, 0, 2.0], [0.8, 2.0, 0]])
SAME = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]]).bool()
OTHER = torch.tensor([[0, 0, 1], [0, 0, 1], [1, 1, 0]]).bool()


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [
        # Half of 0.5, and half of the mean of 0.2 and nothing beyond the margin.
        (1.0, 0.5 * 0.5 + 0.5 * 0.1),
        (2.0, 0.5 * 0.25 + 0.5 * 0.02),
    ],
)
def test_pairs_of_other_classes_count_up_to_the_margin(exponent, expected):
    found = pair_loss(DISTANCES, SAME, OTHER, 1.0, exponent).item()
    assert found == pytest.approx(expected)


def test_triplets_take_the_nearest_row_of_another_class():
    # Row 0: 0.5 - 0.8 + 1 = 0.7; row 1: 0.5 - 2 + 1 < 0; row 2 has none of its class.
    found = triplet_loss(DISTANCES, SAME, OTHER, 1.0).item()
    assert found == pytest.approx((0.7 + 0.0) / 2)


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_the_loss_of_an_episode_is_over_all_its_pairs(loss):
    model = siamese(loss=loss, margin=0.7)
    module, batch = model.net_.module_.double().eval(), episode((1, 2, 1, 0, 1, 1, 3))
    kept = [0, 1, 2, 4, 5, 6]
    places = model.transform(batch.inputs[0, 0].numpy())[kept]
    label = batch.targets[0, 0, kept, 0].numpy()
    distances, same = cdist(places, places), label[:, None] == label
    found = module.learner.query_losses(module, batch).item()
    if loss == "contrastive":
        pull = distances[same & ~np.eye(6, dtype=bool)] ** 2
        push = np.maximum(0, 0.7 - distances[~same]) ** 2
        expected = 0.5 * pull.mean() + 0.5 * push.mean()
    else:
        farthest = np.where(same, distances, 0).max(axis=1)
        nearest = np.where(same, np.inf, distances).min(axis=1)
        expected = np.maximum(0, farthest - nearest + 0.7).mean()
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_an_episode_of_one_class_has_no_loss(loss):
    module = siamese(loss=loss).net_.module_.double()
    batch = episode()
    batch = batch._replace(targets=torch.zeros_like(batch.targets))
    module.zero_grad()
    losses = module.learner.backward(module, batch, 0.0, 1.0)
    assert losses.isnan().all()
    for parameter in module.learner.parameters():
        assert parameter.grad is None or not parameter.grad.any()


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_a_loss_that_is_no_number_is_infinite(loss):
    module, batch = siamese(loss=loss).net_.module_.double(), episode()
    inputs = batch.inputs.clone()
    inputs[0, 0, 3] = torch.nan
    found = module.learner.query_losses(module, batch._replace(inputs=inputs))
    assert found.isinf().all()


def test_a_network_that_is_lost_is_told():
    X, y = blobs()
    X = np.where(y[:, None] == 12, 1e160 * X, X)
    model = SiameseClassifier(HardSharing((6,)), Raw(), **SMALL)
    with pytest.raises(FloatingPointError, match="diverged, the first in epoch 1:"):
        model.fit(X, y)


# -- thresholds ------------------------------------------------------------------


def balanced_errors(distances, same, threshold):
    below = distances < threshold
    return (~below[same]).mean() + below[~same].mean()


def test_the_threshold_lies_in_the_middle_of_the_gap():
    distances = np.array([0.9, 0.1, 0.6, 0.2])
    same = np.array([False, True, False, True])
    assert best_threshold(distances, same) == pytest.approx(0.4)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=12)
)
def test_no_threshold_has_fewer_errors(pairs):
    distances = np.array([d for d, _ in pairs], float)
    same = np.array([s for _, s in pairs])
    found = best_threshold(distances, same)
    if same.all() or not same.any():
        assert np.isnan(found)
        return
    errors = balanced_errors(distances, same, found)
    for threshold in np.arange(-0.5, 7.5):
        assert errors <= balanced_errors(distances, same, threshold) + 1e-12


def test_pairs_below_the_threshold_are_of_one_class():
    X, y = blobs()
    model = siamese()
    i, j = np.triu_indices(len(y), 1)
    distances = model.pair_distance(X[i], X[j])
    places = model.transform(X)
    np.testing.assert_allclose(
        distances, np.linalg.norm(places[i] - places[j], axis=1), rtol=1e-9
    )
    np.testing.assert_array_equal(
        model.verify(X[i], X[j]), distances < model.threshold_
    )
    np.testing.assert_allclose(model.pair_distance(X[j], X[i]), distances)
    assert (model.pair_distance(X, X) == 0).all()
    # All rows were trained on, and all of their pairs set the threshold.
    assert model.threshold_ == pytest.approx(best_threshold(distances, y[i] == y[j]))


def test_distances_are_means_over_members():
    X, _ = blobs()
    model = siamese(n_estimators=2)
    halves = np.split(model.transform(X), 2, axis=1)
    expected = [np.linalg.norm(p[:20] - p[20:], axis=1) for p in halves]
    np.testing.assert_allclose(
        model.pair_distance(X[:20], X[20:]), np.mean(expected, axis=0)
    )


def test_tables_of_two_lengths_make_no_pairs():
    X, _ = blobs()
    with pytest.raises(ValueError, match="X1 has 3 rows and X2 has 4"):
        siamese().verify(X[:3], X[:4])


# -- galleries -------------------------------------------------------------------


def nearest_distances(places, gallery, y):
    return np.stack(
        [cdist(places, gallery[y == label]).min(axis=1) for label in np.unique(y)], 1
    )


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_the_class_of_the_nearest_row_wins(loss):
    X, y = blobs()
    model = siamese(loss=loss, margin=0.5)
    X_new, _ = blobs(seed=7)
    places, gallery = model.transform(X_new), model.transform(X)
    logits = -nearest_distances(places, gallery, y) / 0.5
    np.testing.assert_allclose(
        model.predict_proba(X_new), softmax(logits, axis=1), rtol=1e-6
    )
    expected = y[cdist(places, gallery).argmin(axis=1)]
    np.testing.assert_array_equal(model.predict(X_new), expected)
    np.testing.assert_array_equal(model.predict(X), y)


def test_new_classes_are_a_new_gallery():
    model = siamese()
    X, y = blobs(n_classes=6, seed=5)
    y = np.array(list("abcdef"))[y - 10]
    adapted = model.adapt(X[:20], y[:20])
    places = model.transform(X)
    nearest = cdist(places, places[:20]).argmin(axis=1)
    np.testing.assert_array_equal(adapted.predict(X[20:]), y[:20][nearest[20:]])
    assert adapted.threshold_ == model.threshold_


def test_rows_of_weight_zero_are_no_part_of_the_gallery():
    model = siamese()
    X, y = blobs(seed=5)
    weight = np.where(np.arange(40) % 3, 2.0, 0.0)
    weighted = model.adapt(X, y, sample_weight=weight)
    fewer = model.adapt(X[weight > 0], y[weight > 0])
    np.testing.assert_array_equal(weighted.predict_proba(X), fewer.predict_proba(X))


def test_the_galleries_of_several_tasks_are_their_own():
    model = siamese()
    X, y = blobs(seed=5)
    # Of uneven length, so that the shorter one is padded.
    task = np.where(y < 12, 0, 1)
    adapted = model.adapt(X, y, task=task)
    proba = adapted.predict_proba(X, task=task)
    for name in (0, 1):
        rows = task == name
        alone = model.adapt(X[rows], y[rows])
        columns = np.searchsorted(adapted.classes_, alone.classes_)
        np.testing.assert_allclose(
            proba[rows][:, columns], alone.predict_proba(X[rows])
        )
