"""Encoders of tables: inputs that are clamped lines of one raw column each."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True, eq=False)
class EncodedColumns:
    """The inputs of a network: input i is ``clip((x[source] - shift) * slope)``.

    One form serves scaling, clipping, piecewise-linear bins and indicators of missing
    values, so networks with different encodings share a bank.

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
    """

    source: np.ndarray
    shift: np.ndarray
    slope: np.ndarray
    low: np.ndarray
    high: np.ndarray
    missing: np.ndarray

    @property
    def n_inputs(self):
        """Number of inputs, int."""
        return len(self.source)

    @property
    def as_it_is(self):
        """Whether the inputs are the raw columns in order, NaN included, bool."""
        return (
            np.array_equal(self.source, np.arange(self.n_inputs))
            and not self.shift.any()
            and bool((self.slope == 1).all())
            and not np.isfinite([self.low, self.high]).any()
            and bool(np.isnan(self.missing).all())
        )

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
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))

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
    table : Tensor of shape (6, n_encoders, n_inputs), float64
        Source, shift, slope, low, high and missing of the padded inputs.
    index : Tensor of shape (n_networks,), int64
        The encoder of each network.
    passes_on : bool
        Whether rows come out as they go in; they then keep their dtype, too.
    """

    def __init__(self, encoders, index):
        super().__init__()
        width = max(1, *(encoder.n_inputs for encoder in encoders))
        table = np.zeros((6, len(encoders), width))
        for e, encoder in enumerate(encoders):
            for row, name in enumerate(EncodedColumns.__dataclass_fields__):
                table[row, e, : encoder.n_inputs] = getattr(encoder, name)
        self.encoders = list(encoders)
        self.order = [int(e) for e in index]
        # What holds for every encoder is asked once here, not at every batch.
        self._as_it_is = all(
            np.array_equal(e.source, np.arange(width)) for e in self.encoders
        )
        self.passes_on = all(e.n_inputs == width and e.as_it_is for e in self.encoders)
        self._bounded = bool(np.isfinite(table[3:5]).any())
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
        if encoded.sum().isnan():
            encoded = torch.where(values.isnan(), part(5), encoded)
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
