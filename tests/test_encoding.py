"""Encodings, and the bank of encoders."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from skmtl._bank import take_networks
from skmtl._moments import weighted_moments
from skmtl.encoding import (
    Auto,
    EncodedColumns,
    EncoderBank,
    Periodic,
    PiecewiseLinear,
    Standard,
)
from skmtl.encoding._places import Places

ENCODINGS = [
    Standard(),
    Standard(clip=2.0),
    PiecewiseLinear(4),
    Auto(n_bins=3),
    Periodic(2),
    Periodic(2, linear=False),
]


def encode(columns, X):
    """Inputs of rows X by one encoder, ndarray of shape (n_rows, n_inputs)."""
    return EncoderBank([columns], [0])(torch.tensor(X))[0].numpy()


def fit_encode(encoding, X, X_new=None, sample_weight=None):
    weight = np.ones(len(X)) if sample_weight is None else sample_weight
    return encode(encoding.fit(X, weight), X if X_new is None else X_new)


def table(n_rows=30, n_features=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, n_features))


# -- moments ---------------------------------------------------------------------


@given(seed=st.integers(0, 99), missing=st.booleans())
def test_moments_equal_those_of_numpy(seed, missing):
    rng = np.random.default_rng(seed)
    X, weight = rng.normal(3, 2, size=(20, 3)), rng.uniform(0, 2, size=20)
    if missing:
        X[rng.uniform(size=X.shape) < 0.3] = np.nan
    mean, scale = weighted_moments(X, weight)
    for j in range(3):
        present = ~np.isnan(X[:, j])
        x, w = X[present, j], weight[present]
        expected = np.average(x, weights=w)
        np.testing.assert_allclose(mean[j], expected)
        variance = np.average((x - expected) ** 2, weights=w)
        np.testing.assert_allclose(scale[j], np.sqrt(variance))


@given(
    value=st.floats(-1e6, 1e6),
    n_rows=st.integers(1, 2000),
    seed=st.integers(0, 99),
    missing=st.booleans(),
    by_cell=st.booleans(),
)
def test_a_constant_has_no_scale(value, n_rows, seed, missing, by_cell):
    rng = np.random.default_rng(seed)
    X = np.full((n_rows, 3), value)
    weight = rng.uniform(size=X.shape if by_cell else n_rows).round(1)
    weight[0] = 1
    X[np.broadcast_to(weight.T, X.T.shape).T == 0] += 1  # rows that do not count
    if missing:
        X[1:][rng.uniform(size=(n_rows - 1, 3)) < 0.3] = np.nan
    np.testing.assert_array_equal(weighted_moments(X, weight)[1], 0)


@pytest.mark.parametrize("n_rows", [400, 500, 800, 3000])
def test_a_column_that_is_constant_is_left_out(n_rows):
    X = np.column_stack([table(n_rows), np.ones(n_rows)])
    for encoding in (Standard(), PiecewiseLinear(), Places()):
        assert 3 not in encoding.fit(X, np.ones(n_rows)).source


def test_moments_by_cell_weigh_each_column_alone():
    X, weight = table(), np.random.default_rng(1).uniform(size=(30, 3))
    mean, scale = weighted_moments(X, weight)
    for j in range(3):
        own_mean, own_scale = weighted_moments(X[:, [j]], weight[:, j])
        np.testing.assert_allclose([mean[j], scale[j]], [own_mean[0], own_scale[0]])


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1.0, 1e150, 1e300])
def test_moments_of_any_magnitude_are_finite(size):
    X = np.array([[-1.0], [1.0], [1.0], [-1.0]]) * size
    mean, scale = weighted_moments(X, np.ones(4))
    np.testing.assert_allclose(scale, [size])
    np.testing.assert_allclose(mean, [0], atol=size * 1e-12)


# -- Standard --------------------------------------------------------------------


def test_standard_equals_standard_scaler():
    X, X_new = table(), table(seed=1) * 10
    expected = StandardScaler().fit(X).transform(X_new)
    np.testing.assert_allclose(fit_encode(Standard(), X, X_new), expected)


def test_standard_with_weights_equals_weighted_standard_scaler():
    X, weight = table(), np.random.default_rng(1).uniform(size=30)
    expected = StandardScaler().fit(X, sample_weight=weight).transform(X)
    found = fit_encode(Standard(), X, sample_weight=weight)
    np.testing.assert_allclose(found, expected)


def test_standard_by_hand():
    X = np.array([[1.0], [3.0], [np.nan]])
    expected = [[-1, 0], [1, 0], [0, 1]]
    np.testing.assert_allclose(fit_encode(Standard(), X), expected)


def test_standard_clips_where_asked():
    X = np.array([[-1.0], [1.0]])
    found = fit_encode(Standard(clip=1.5), X, np.array([[-9.0], [0.5], [9.0]]))
    np.testing.assert_allclose(found[:, 0], [-1.5, 0.5, 1.5])
    unclipped = fit_encode(Standard(), X, np.array([[-9.0], [9e6]]))
    np.testing.assert_allclose(unclipped[:, 0], [-9.0, 9e6])


# -- missing values and constant columns -----------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_a_missing_value_is_zeros_and_an_indicator(encoding):
    X = table()
    X[::4, 1] = np.nan
    found = fit_encode(encoding, X)
    inputs, indicator = found[:, :-1], found[:, -1]
    assert np.array_equal(indicator, np.isnan(X[:, 1]))
    source = encoding.fit(X, np.ones(30)).source[:-1]
    assert (inputs[::4, source == 1] == 0).all()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_a_value_missing_in_new_rows_only_is_zeros(encoding):
    X_new = table(5, seed=1)
    X_new[2] = np.nan
    found = fit_encode(encoding, table(), X_new)
    assert (found[2] == 0).all()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
@pytest.mark.parametrize("constant", [0.0, 7.0, 0.1, -1e9, 1e300, 1e-300])
def test_a_constant_column_is_left_out(encoding, constant):
    X = table()
    plain = fit_encode(encoding, X[:, [0, 2]])
    X[:, 1] = constant
    np.testing.assert_allclose(fit_encode(encoding, X), plain, atol=1e-9)
    X_new = X.copy()
    X_new[:, 1] = 123.0
    found = encode(encoding.fit(X, np.ones(30)), X_new)
    np.testing.assert_allclose(found, plain, atol=1e-9)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_a_table_of_constants_has_no_inputs(encoding):
    columns = encoding.fit(np.full((10, 2), 0.1), np.ones(10))
    assert columns.n_inputs == 0
    found = encode(columns, table(5, 2))
    assert found.shape == (5, 1)  # a bank is at least one input wide
    assert (found == 0).all()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_a_table_without_columns_has_no_inputs(encoding):
    columns = encoding.fit(np.empty((10, 0)), np.ones(10))
    assert columns.n_inputs == 0
    assert (encode(columns, np.empty((5, 0))) == 0).all()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_a_column_without_values_is_left_out(encoding):
    X = table()
    plain = fit_encode(encoding, X[:, [0, 2]])
    X[:, 1] = np.nan
    np.testing.assert_allclose(fit_encode(encoding, X), plain, atol=1e-9)
    X_new = X.copy()
    X_new[:, 1] = 5.0
    found = encode(encoding.fit(X, np.ones(30)), X_new)
    np.testing.assert_allclose(found, plain, atol=1e-9)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_a_constant_column_with_gaps_keeps_its_indicator(encoding):
    X = np.full((10, 1), 3.0)
    X[:4] = np.nan
    found = fit_encode(encoding, X)
    assert found.tolist() == [[1.0]] * 4 + [[0.0]] * 6


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_a_small_signal_on_a_huge_offset_survives(encoding):
    signal = table(50, 1)
    shifted = fit_encode(encoding, 1e9 + signal)
    np.testing.assert_allclose(shifted, fit_encode(encoding, signal), atol=1e-5)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=repr)
def test_units_do_not_matter(encoding):
    X = table()
    expected = fit_encode(encoding, X)
    for unit in (1e-200, 1e-6, 1e200):
        np.testing.assert_allclose(fit_encode(encoding, X * unit), expected, atol=1e-9)


# -- PiecewiseLinear -------------------------------------------------------------


def test_ramps_by_hand():
    X = np.arange(9.0)[:, None]  # edges 0, 4, 8
    X_new = np.array([[-4.0], [0.0], [2.0], [4.0], [5.0], [8.0], [12.0], [np.nan]])
    found = fit_encode(PiecewiseLinear(2, linear=False), X, X_new)
    expected = [
        [-1, 0],
        [0, 0],
        [0.5, 0],
        [1, 0],
        [1, 0.25],
        [1, 1],
        [1, 2],
        [0, 0],
    ]
    np.testing.assert_allclose(found, expected)


def test_the_standardised_column_stands_beside_the_ramps():
    X = table(50, 1)
    both = fit_encode(PiecewiseLinear(4), X)
    np.testing.assert_allclose(both[:, [0]], fit_encode(Standard(), X))
    ramps = fit_encode(PiecewiseLinear(4, linear=False), X)
    np.testing.assert_allclose(both[:, 1:], ramps)


@given(seed=st.integers(0, 99), n_bins=st.integers(1, 9))
def test_ramps_rise_and_add_up_without_kinks(seed, n_bins):
    rng = np.random.default_rng(seed)
    X = rng.standard_t(2, size=(40, 1)).round(1)
    columns = PiecewiseLinear(n_bins, linear=False, clip=None).fit(X, np.ones(40))
    grid = np.linspace(X.min() - 5, X.max() + 5, 400)[:, None]
    found = encode(columns, grid)
    assert (np.diff(found, axis=0) >= 0).all()
    assert columns.n_inputs <= n_bins
    if columns.n_inputs > 1:
        # inside its bin a ramp runs from 0 to 1; the outer ones go on
        inside = (X.min() <= grid) & (grid <= X.max())
        assert (found[inside[:, 0]] >= 0).all()
        assert (found[inside[:, 0]] <= 1).all()
        # ramps weighted by the widths of their bins give the column back
        back = columns.shift[0] + found @ (1 / columns.slope)
        np.testing.assert_allclose(back, grid[:, 0], atol=1e-9)


def test_columns_with_few_values_get_few_bins():
    X = np.array([0.0, 1.0] * 10)[:, None]
    np.testing.assert_allclose(
        fit_encode(PiecewiseLinear(8), X), fit_encode(Standard(), X)
    )
    X = np.array([0.0, 1.0, 5.0] * 10)[:, None]
    columns = PiecewiseLinear(8, linear=False).fit(X, np.ones(30))
    np.testing.assert_allclose(columns.shift, [0, 1])
    np.testing.assert_allclose(1 / columns.slope, [1, 4])


values = st.floats(-10, 10, allow_subnormal=False).map(lambda v: round(v, 1))


@pytest.mark.parametrize(
    "encoding",
    [Standard(), PiecewiseLinear(3), PiecewiseLinear(5), Periodic(3)],
    ids=repr,
)
@given(
    X=arrays(float, (12, 2), elements=values),
    weight=arrays(int, 12, elements=st.integers(0, 3)),
    gaps=arrays(bool, (12, 2)),
)
def test_integer_weights_equal_repeated_rows(encoding, X, weight, gaps):
    weight[0] = 1
    X = np.where(gaps, np.nan, X)
    X[0] = 0.5
    kept = weight > 0
    weighted = encoding.fit(X[kept], weight[kept].astype(float))
    repeated = np.repeat(X, weight, axis=0)
    plain = encoding.fit(repeated, np.ones(len(repeated)))
    assert weighted.waves == plain.waves
    for name in EncodedColumns.__dataclass_fields__.keys() - {"waves"}:
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(plain, name), rtol=1e-6, atol=1e-9
        )


@given(
    column=arrays(float, 15, elements=values),
    weight=arrays(int, 15, elements=st.integers(0, 3)),
)
def test_rows_without_weight_do_not_move_edges(column, weight):
    weight[:2] = 1
    column[:2] = [-11.0, 11.0]
    X = column[:, None]
    everything = PiecewiseLinear(4).fit(X, weight.astype(float))
    kept = weight > 0
    weighty = PiecewiseLinear(4).fit(X[kept], weight[kept].astype(float))
    np.testing.assert_allclose(everything.shift, weighty.shift, atol=1e-9)
    np.testing.assert_allclose(everything.slope, weighty.slope, rtol=1e-9)


@pytest.mark.parametrize(
    "encoding",
    [
        Standard(),
        PiecewiseLinear(4, clip=None),
        PiecewiseLinear(4, linear=False, clip=None),
    ],
)
def test_heavy_tails_go_on_beyond_the_training_range(encoding):
    X = table(50, 1)
    X_new = np.array([[X.min()], [X.max()], [X.min() - 1e3], [X.max() + 1e3]])
    low, high, far_below, far_above = fit_encode(encoding, X, X_new)
    columns = encoding.fit(X, np.ones(50))
    falls, rises = np.isinf(columns.low), np.isinf(columns.high)
    assert falls.any()
    assert rises.any()
    slope = 1e3 * columns.slope
    np.testing.assert_allclose(low - far_below, np.where(falls, slope, 0), atol=1e-9)
    np.testing.assert_allclose(far_above - high, np.where(rises, slope, 0), atol=1e-9)


@pytest.mark.parametrize("n_bins", [1, 4])
def test_a_value_far_out_counts_as_one_at_the_limit(n_bins):
    X = table(50, 1)
    mean, std = X.mean(), X.std()
    ends = np.array([[mean - 3.5 * std], [mean + 3.5 * std]])
    assert ends[0] < X.min()
    assert ends[1] > X.max()
    encoding = PiecewiseLinear(n_bins, clip=3.5)
    far_out = ends + np.array([[-1e3], [1e3]])
    found = fit_encode(encoding, X, np.concatenate([ends, far_out]))
    np.testing.assert_allclose(found[:2], found[2:])
    np.testing.assert_allclose(found[:2, 0], [-3.5, 3.5])
    # Up to there the first and the last ramp go on.
    if n_bins > 1:
        assert found[0, 1] < 0
        assert found[1, -1] > 1


def test_bins_reach_as_far_as_the_rows_of_fit():
    X = np.append(np.linspace(0, 1, 99), 50.0)[:, None]
    columns = fit_encode(PiecewiseLinear(4, clip=1.0), X, np.array([[1.0], [50], [80]]))
    np.testing.assert_allclose(columns[:, 0], [columns[0, 0], 1, 1])
    assert columns[0, -1] < 0.1
    np.testing.assert_allclose(columns[1:, -1], 1)


def test_columns_of_few_values_get_an_edge_at_each():
    hours = np.repeat([0.0, 6.0, 7.0, 9.0], 10)[:, None]
    columns = PiecewiseLinear(2, linear=False).fit(hours, np.ones(40))
    # Every value is its own combination of ramps: any effect of it is linear in them.
    inputs = fit_encode(PiecewiseLinear(2, linear=False), hours)
    np.testing.assert_array_equal(columns.shift, [0.0, 6.0, 7.0])
    assert np.linalg.matrix_rank(inputs - inputs[0]) == 3


@pytest.mark.parametrize("weighted", [False, True])
def test_values_of_few_rows_get_bins(weighted):
    values = np.arange(4.0)
    X = (values if weighted else np.repeat(values, 9))[:, None]
    weight = np.full(len(X), 9.0 if weighted else 1.0)
    columns = PiecewiseLinear(2, linear=False).fit(X, weight)
    assert columns.n_inputs == 2


# -- Auto ------------------------------------------------------------------------


def test_auto_chooses_by_the_number_of_columns():
    X = table(20, 5)
    narrow, wide = Auto(5, n_bins=3), Auto(4, n_bins=3)
    np.testing.assert_array_equal(
        fit_encode(narrow, X), fit_encode(PiecewiseLinear(3), X)
    )
    np.testing.assert_array_equal(fit_encode(wide, X), fit_encode(Standard(), X))


def test_auto_passes_bins_and_levels_on():
    X = np.repeat(np.arange(5.0), 10)[:, None]
    by_level, by_bin = Auto(n_bins=2), Auto(n_bins=2, max_levels=4)
    np.testing.assert_array_equal(
        fit_encode(by_level, X), fit_encode(PiecewiseLinear(2), X)
    )
    assert fit_encode(by_level, X).shape[1] > fit_encode(by_bin, X).shape[1]


# -- the bank --------------------------------------------------------------------


def ragged_bank():
    X = table()
    X[::5, 0] = np.nan
    weight = np.ones(30)
    encoders = [
        PiecewiseLinear(4).fit(X, weight),
        Standard().fit(X[:, :2], weight),
        PiecewiseLinear(6).fit(X[:15], weight[:15]),
    ]
    assert len({encoder.n_inputs for encoder in encoders}) == 3
    return encoders, X


@pytest.mark.parametrize("index", [[0, 1, 2], [1, 1, 0], [2, 0], [1]])
def test_networks_of_a_bank_encode_as_alone(index):
    encoders, X = ragged_bank()
    bank = EncoderBank(encoders, index)
    raw = torch.tensor(X)
    found = bank(raw).expand(len(index), -1, -1)
    by_network = bank.encode(raw.expand(len(index), -1, -1), bank.index)
    for k, e in enumerate(index):
        own, width = encode(encoders[e], X), encoders[e].n_inputs
        for inputs in (found[k], by_network[k]):
            assert inputs.dtype == torch.float64
            np.testing.assert_array_equal(inputs[:, :width], own)
            assert (inputs[:, width:] == 0).all()
    assert bank.n_inputs == [encoders[e].n_inputs for e in index]


def test_padding_is_zero_whatever_the_values():
    encoders, X = ragged_bank()
    X = np.where(np.isnan(X), np.nan, X * 1e300)
    inputs = EncoderBank(encoders, [0, 1, 2])(torch.tensor(X))
    assert (inputs[1, :, encoders[1].n_inputs :] == 0).all()


def test_networks_that_share_an_encoder_share_its_work():
    encoders, X = ragged_bank()
    assert EncoderBank(encoders, [1, 1, 1])(torch.tensor(X)).shape[0] == 1


def test_rows_of_several_batches_are_encoded_at_once():
    encoders, X = ragged_bank()
    bank = EncoderBank(encoders, [2, 0])
    raw = torch.tensor(X).view(5, 1, 6, 3).expand(-1, 2, -1, -1)
    found = bank.encode(raw, bank.index)
    for slot in range(5):
        torch.testing.assert_close(found[slot], bank.encode(raw[slot], bank.index))


@pytest.mark.parametrize("move", [torch.nn.Module.half, torch.nn.Module.float])
def test_statistics_stay_float64(move):
    encoders, X = ragged_bank()
    before = EncoderBank(encoders, [0, 1])(torch.tensor(X))
    bank = move(EncoderBank(encoders, [0, 1]))
    assert torch.equal(bank(torch.tensor(X)), before)
    assert bank.index.dtype == torch.int64


def test_taken_networks_keep_their_encoders():
    encoders, X = ragged_bank()
    bank = EncoderBank(encoders, [0, 1, 2, 1])
    whole = bank(torch.tensor(X))
    for index in ([3, 0], [2], [1, 3]):
        taken = take_networks(bank, index)
        found = taken(torch.tensor(X)).expand(len(index), -1, -1)
        assert torch.equal(found, whole[index])
        assert taken.n_inputs == [bank.n_inputs[k] for k in index]
    assert bank.n_inputs == [encoders[e].n_inputs for e in (0, 1, 2, 1)]


def test_encoders_join_side_by_side():
    encoders, X = ragged_bank()
    joined = EncodedColumns.join(encoders[:2])
    assert joined.n_inputs == encoders[0].n_inputs + encoders[1].n_inputs
    expected = np.hstack([encode(encoder, X) for encoder in encoders[:2]])
    np.testing.assert_array_equal(encode(joined, X), expected)


def test_places_are_standard_but_for_outliers_and_many_categories():
    X = np.random.default_rng(0).normal(size=(200, 2))
    np.testing.assert_allclose(fit_encode(Places(), X), fit_encode(Standard(4.0), X))
    wild = X.copy()
    wild[3, 0] = 100
    found, without = fit_encode(Places(), wild), np.arange(200) != 3
    np.testing.assert_allclose(
        found[without], fit_encode(Standard(), X)[without], rtol=0.1, atol=0.1
    )
    assert found[3, 0] == 4
    codes = np.column_stack([X, np.arange(200) % 50, np.arange(200) % 3])
    columns = Places().fit(codes, np.ones(200), [None, None, 50, 3])
    assert columns.source.tolist() == [0, 1, 3, 3, 3]
