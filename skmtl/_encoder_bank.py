"""Encoders of tables: inputs that each read one raw column."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Waves:
    """The sizes of periodic embeddings.

    Parameters
    ----------
    n_frequencies : int
        Frequencies of each column.
    n_units : int
        Inputs of the network that a column becomes.
    sigma : float
        Standard deviation of the initial frequencies.
    """

    n_frequencies: int
    n_units: int
    sigma: float


@dataclass(frozen=True, eq=False)
class EncodedColumns:
    """The inputs of a network: input i is ``size * clip((x[source] - shift) * slope)``.

    One form serves scaling, clipping, piecewise-linear bins, categories and indicators
    of missing values, so networks with different encodings share a bank.

    Parameters
    ----------
    source : ndarray of shape (n_inputs,), int
        Raw column that the input reads.
    shift, slope : ndarray of shape (n_inputs,)
        In units of the raw column, and one over them.
    low, high : ndarray of shape (n_inputs,)
        Bounds, infinite where the line is not clamped.
    missing : ndarray of shape (n_inputs,)
        The input where the raw value is NaN.
    kind : ndarray of shape (n_inputs,), int, optional
        What the input is: `LINE`, the default, is the line itself; `EQUALS` is 1 where
        the raw value is `shift` and 0 elsewhere; `CODE` is a line that counts the
        categories of a column from 1, `high` of them, and is replaced by a learned
        embedding; `WAVE` is a line that is replaced by a periodic embedding; `STEP` is
        a line between two neighbouring values.
    size : ndarray of shape (n_inputs,), optional
        Factor on the input, whatever it is; 1 by default, and where it is `CODE` or
        `WAVE`.
    waves : Waves or tuple, default=()
        Sizes of the periodic embeddings; empty where no input is a `WAVE`.
    """

    LINE = 0
    EQUALS = 1
    CODE = 2
    WAVE = 3
    STEP = 4

    source: np.ndarray
    shift: np.ndarray
    slope: np.ndarray
    low: np.ndarray
    high: np.ndarray
    missing: np.ndarray
    kind: np.ndarray | None = None
    size: np.ndarray | None = None
    waves: Waves | tuple = ()

    def __post_init__(self):
        if self.kind is None:
            object.__setattr__(self, "kind", np.zeros(len(self.source), int))
        if self.size is None:
            object.__setattr__(self, "size", np.ones(len(self.source)))

    @property
    def n_inputs(self):
        """Number of inputs, int."""
        return len(self.source)

    @property
    def as_it_is(self):
        """Whether the inputs are the raw columns in order, NaN included, bool."""
        return (
            np.array_equal(self.source, np.arange(self.n_inputs))
            and not self.kind.any()
            and not self.shift.any()
            and bool((self.slope == 1).all())
            and bool((self.size == 1).all())
            and not np.isfinite([self.low, self.high]).any()
            and bool(np.isnan(self.missing).all())
        )

    def where(self, kind):
        """Find the inputs of one kind.

        Parameters
        ----------
        kind : int
            `LINE`, `EQUALS`, `CODE`, `WAVE` or `STEP`.

        Returns
        -------
        positions : ndarray of int
            In ascending order.
        """
        return np.flatnonzero(self.kind == kind)

    @property
    def sizes(self):
        """Sizes that the draws of a network depend on, tuple of int.

        All inputs, periodic ones, and inputs once learned embeddings are in place.
        """
        codes, waves = self.where(self.CODE), self.where(self.WAVE)
        embedded = sum(embedding_dim(n) for n in self.high[codes])
        if len(waves):
            embedded += len(waves) * self.waves.n_units
        plain = self.n_inputs - len(codes) - len(waves)
        return self.n_inputs, len(waves), plain + int(embedded)

    @classmethod
    def join(cls, parts):
        """Put the columns of several encodings side by side.

        Parameters
        ----------
        parts : sequence of EncodedColumns
            Over the same raw table.

        Returns
        -------
        columns : EncodedColumns
            All of them, in order.
        """
        joined = {n: np.concatenate([getattr(p, n) for p in parts]) for n in _ARRAYS}
        return cls(**joined, waves=next((p.waves for p in parts if p.waves), ()))

    def taking(self, inputs):
        """Keep some inputs.

        Parameters
        ----------
        inputs : ndarray of int or of bool
            Positions, or which ones.

        Returns
        -------
        columns : EncodedColumns
            In the order asked for.
        """
        return replace(self, **{name: getattr(self, name)[inputs] for name in _ARRAYS})

    def reading(self, columns):
        """Read from other columns: what read column j reads ``columns[j]``.

        Parameters
        ----------
        columns : ndarray of int
            Positions in a wider table.

        Returns
        -------
        columns : EncodedColumns
            The same inputs.
        """
        return replace(self, source=np.asarray(columns, int)[self.source])

    @classmethod
    def indicators(cls, columns):
        """Make an input for each given column that is 1 where it is missing, else 0.

        Parameters
        ----------
        columns : ndarray of shape (n_columns,), int
            Raw columns.

        Returns
        -------
        columns : EncodedColumns
            One input a column.
        """
        zero = np.zeros(len(columns))
        return cls(np.asarray(columns, int), zero, zero, zero, zero, zero + 1)

    @classmethod
    def one_hot(cls, column, categories):
        """Make an input for each given category of a column.

        Parameters
        ----------
        column : int
            Raw column, which holds codes of categories.
        categories : ndarray of shape (n_categories,), int
            Codes that get an input. Where the raw value is another one or missing, all
            inputs are 0.

        Returns
        -------
        columns : EncodedColumns
            One input a category.
        """
        zero = np.zeros(len(categories))
        source = np.full(len(categories), column)
        kind = np.full(len(categories), cls.EQUALS)
        shift = np.asarray(categories, float)
        return cls(source, shift, zero, zero, zero, zero, kind)

    @classmethod
    def code(cls, column, n_categories):
        """Make the input that a learned embedding of a column looks up.

        Parameters
        ----------
        column : int
            Raw column, which holds codes from 0 to ``n_categories - 1``; -1 is unseen.
        n_categories : int
            Categories of the column.

        Returns
        -------
        columns : EncodedColumns
            One input; 0 where the category is unseen or missing.
        """
        zero = np.zeros(1)
        high, kind = np.array([float(n_categories)]), np.array([cls.CODE])
        return cls(np.array([column]), zero - 1, zero + 1, zero, high, zero, kind)


_ARRAYS = tuple(n for n in EncodedColumns.__dataclass_fields__ if n != "waves")


def embedding_dim(n_categories):
    """Choose the length of the learned embedding of a column.

    Parameters
    ----------
    n_categories : int
        Categories of the column.

    Returns
    -------
    dim : int
        16, or the number of categories when that is less.
    """
    return max(1, min(16, int(n_categories)))


class EncoderBank(nn.Module):
    """Encode raw rows for every network, by the encoder of the network.

    Parameters
    ----------
    encoders : sequence of EncodedColumns, length n_encoders
        Distinct encoders; narrower ones are padded with inputs that are zero.
    index : sequence of int, length n_networks
        The encoder of each network.

    Attributes
    ----------
    table : Tensor of shape (8, n_encoders, n_inputs), float64
        Source, shift, slope, low, high, missing, kind and size of the padded inputs.
    index : Tensor of shape (n_networks,), int64
        The encoder of each network.
    passes_on : bool
        Whether rows come out as they go in; they then keep their dtype, too.
    """

    def __init__(self, encoders, index):
        super().__init__()
        width = max(1, *(encoder.n_inputs for encoder in encoders))
        table = np.zeros((len(_ARRAYS), len(encoders), width))
        for e, encoder in enumerate(encoders):
            for row, name in enumerate(_ARRAYS):
                table[row, e, : encoder.n_inputs] = getattr(encoder, name)
        self.encoders = list(encoders)
        self.order = [int(e) for e in index]
        # What holds for every encoder is asked once here, not at every batch.
        self._as_it_is = all(
            np.array_equal(e.source, np.arange(width)) for e in self.encoders
        )
        self.passes_on = all(e.n_inputs == width and e.as_it_is for e in self.encoders)
        self._bounded = bool(np.isfinite(table[3:5]).any())
        self._compares = bool((table[6] == EncodedColumns.EQUALS).any())
        self._resizes = any((e.size != 1).any() for e in self.encoders)
        self.register_buffer("table", torch.from_numpy(table), persistent=False)
        self.register_buffer(
            "index", torch.as_tensor(index, dtype=torch.long), persistent=False
        )

    @property
    def n_inputs(self):
        """Unpadded number of inputs of each network, list of int."""
        return [self.encoders[e].n_inputs for e in self.order]

    def take_networks(self, index):
        """Keep the encoders' table, and the numbers of the networks taken.

        Parameters
        ----------
        index : sequence of int
            Positions of the networks to keep.
        """
        self.index = self.index[torch.as_tensor(index, device=self.index.device)]
        self.order = self.index.tolist()

    def _apply(self, fn, recurse=True):
        # Statistics follow a device and keep the finest dtype that it has, whatever the
        # networks' dtype is.
        device = fn(self.index).device
        self.index = self.index.to(device)
        self.table = self.table.to(finest_dtype(device)).to(device)
        return self

    def encode(self, raw, encoder):
        """Encode rows by one encoder, or by one encoder a network.

        Parameters
        ----------
        raw : Tensor of shape (..., n_rows, n_features)
            Raw rows, float64.
        encoder : int or Tensor of shape (n_networks,)
            Which encoder; a tensor goes with the first axis of `raw`.

        Returns
        -------
        inputs : Tensor of shape (..., n_rows, n_inputs), float64
            Padded to the widest encoder.
        """

        def part(row):
            return self.table[row, encoder].unsqueeze(-2)

        width = self.table.shape[-1]
        if self.passes_on and raw.shape[-1] == width:
            return raw
        if raw.shape[-1] == 0:
            return raw.new_zeros(*raw.shape[:-1], width)
        values = raw
        if not self._as_it_is or raw.shape[-1] != width:
            source = part(0).long()
            if isinstance(encoder, int):
                values = raw.index_select(-1, source.flatten())
            else:
                values = raw.gather(-1, source.expand(*raw.shape[:-1], -1))
        encoded = (values - part(1)).mul_(part(2))
        if self._bounded:
            torch.maximum(encoded, part(3), out=encoded)
            torch.minimum(encoded, part(4), out=encoded)
        if self._compares:
            equal = (values == part(1)).to(encoded.dtype)
            encoded = torch.where(part(6) == EncodedColumns.EQUALS, equal, encoded)
        if encoded.sum().isnan():
            encoded = torch.where(values.isnan(), part(5), encoded)
        if self._resizes:
            encoded = encoded.mul_(part(7))
        return encoded

    def forward(self, raw):
        """Encode the same rows for every network.

        Parameters
        ----------
        raw : Tensor of shape (n_rows, n_features), float64
            Raw rows.

        Returns
        -------
        inputs : Tensor of shape (n_networks or 1, n_rows, n_inputs), float64
            One slice a network; a single slice when all share an encoder.
        """
        used = sorted(set(self.order))
        if len(used) == 1:
            return self.encode(raw, used[0])[None]
        encoded = torch.stack([self.encode(raw, e) for e in used])
        if used == self.order:
            return encoded
        return encoded[[used.index(e) for e in self.order]]


def encoded_rows(columns, table):
    """Turn raw rows into the inputs of one encoder.

    Parameters
    ----------
    columns : EncodedColumns
        Fitted.
    table : ndarray of shape (n_rows, n_features)
        Raw rows.

    Returns
    -------
    inputs : Tensor of shape (n_rows, n_inputs), float64
        On the CPU.
    """
    raw = torch.tensor(table, dtype=torch.float64)  # a copy; tables may be read-only
    return EncoderBank([columns], [0]).encode(raw, 0)


def finest_dtype(device):
    """Name the most precise floating dtype of a device.

    Parameters
    ----------
    device : torch.device
        Any.

    Returns
    -------
    dtype : torch.dtype
        float64, but float32 on MPS, which has no other.
    """
    return torch.float32 if device.type == "mps" else torch.float64
