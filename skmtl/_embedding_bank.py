"""Learned inputs: embeddings of categories and of numbers, for every network."""

import math

import numpy as np
import torch
from torch import nn

from ._bank import RowsBank, join_networks
from ._encoder_bank import EncodedColumns, embedding_dim


class EmbeddingBank(nn.Module):
    """Replace codes and waves among the inputs of every network by what it learned.

    The inputs of a network are then the embeddings of its categories, the periodic
    embeddings of its numbers, and its other inputs as they are, in this order.

    Parameters
    ----------
    encoders : sequence of EncodedColumns, length n_encoders
        Distinct encoders.
    index : sequence of int, length n_networks
        The encoder of each network.
    streams : Streams, optional
        Source of the initial weights. Without it they are zero, to be loaded.
    dtype : torch.dtype, default=torch.float32
        Of the parameters.

    Attributes
    ----------
    tables : ModuleDict of RowsBank
        The embeddings of each column of categories, by its position. They start at
        zero, where an unseen category stays: it then says what the average one does.
    waves : WaveBank or None
        The periodic embeddings.
    n_inputs : list of int, length n_networks
        Unpadded widths of what :meth:`forward` returns.
    width : int
        The padded width.
    """

    def __init__(self, encoders, index, streams=None, dtype=torch.float32):
        super().__init__()
        self.tables = nn.ModuleDict()
        for column, n_categories in sorted(_code_columns(encoders).items()):
            self.tables[str(column)] = RowsBank(
                len(index), n_categories, embedding_dim(n_categories), dtype=dtype
            )
        self.waves = _make_waves(encoders, index, streams, dtype)
        self.n_inputs = [encoders[e].sizes[2] for e in index]
        self.width = max(1, *(encoder.sizes[2] for encoder in encoders))
        self._learns = bool(self.tables) or self.waves is not None
        width = max(1, *(encoder.n_inputs for encoder in encoders))
        places = [self._places(encoder, width) for encoder in encoders]
        # Learned inputs that stand first, alike in all encoders, need no gathering.
        first = np.arange(len(places[0][0]))
        self._aligned = all(np.array_equal(taken, first) for taken, _ in places)
        if not self._aligned:
            taken, kept = (np.stack(p)[index] for p in zip(*places, strict=True))
            self.register_buffer("taken", torch.from_numpy(taken), persistent=False)
            self.register_buffer("kept", torch.from_numpy(kept), persistent=False)

    def _places(self, encoder, width):
        """Say which inputs are looked up, and where the network's inputs then stand.

        The first array counts through the inputs, and the second through all that is
        learned and then the inputs as they were; the position after the last reads 0.
        """
        codes = {int(encoder.source[i]): i for i in encoder.where(EncodedColumns.CODE)}
        waves = encoder.where(EncodedColumns.WAVE)
        taken = [codes.get(int(column), width) for column in self.tables]
        kept, start = [], 0
        for column, table in self.tables.items():
            dim = table.weight.shape[-1]
            if int(column) in codes:
                kept += range(start, start + dim)
            start += dim
        if self.waves is not None:
            _, n_columns, _, n_units = self.waves.weight.shape
            taken += [*waves, *[width] * (n_columns - len(waves))]
            kept += range(start, start + len(waves) * n_units)
            start += n_columns * n_units
        learned = {*codes.values(), *waves}
        kept += [start + i for i in range(encoder.n_inputs) if i not in learned]
        kept += [start + width] * (self.width - len(kept))
        return np.array(taken, int), np.array(kept, int)

    def take_networks(self, index):
        """Keep the widths and places of the networks taken.

        Parameters
        ----------
        index : sequence of int
            Positions of the networks to keep.
        """
        rows = torch.as_tensor(index, dtype=torch.long)
        self.n_inputs = [self.n_inputs[k] for k in rows.tolist()]
        for name, buffer in self._buffers.items():
            self._buffers[name] = buffer[rows.to(buffer.device)]

    def join_networks(self, parts):
        """Take over what the networks of several parts have learned.

        Parameters
        ----------
        parts : sequence of EmbeddingBank
            Their encoders together are those of this one, which therefore knows the
            places of all inputs.
        """
        for name, table in self.tables.items():
            join_networks([part.tables[name] for part in parts], table)
        if self.waves is not None:
            join_networks([part.waves for part in parts], self.waves)

    def forward(self, inputs):
        """Look up and compute the learned inputs.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks or 1, n_rows, n_inputs)
            From the encoder.

        Returns
        -------
        inputs : Tensor of shape (n_networks or 1, n_rows, n_inputs)
            The same ones where nothing is learned.
        """
        if not self._learns:
            return inputs
        n_networks = len(next(self.parameters()))
        inputs = inputs.expand(n_networks, -1, -1)
        if self._aligned:
            n_taken = len(self.tables)
            n_taken += 0 if self.waves is None else self.waves.weight.shape[1]
            taken, rest = inputs[..., :n_taken], inputs[..., n_taken:]
            return torch.cat([*self._learned(taken), rest], dim=-1)
        padded = nn.functional.pad(inputs, (0, 1))
        everything = [*self._learned(_gathered(padded, self.taken)), padded]
        return _gathered(torch.cat(everything, dim=-1), self.kept)

    def _learned(self, taken):
        n_codes = len(self.tables)
        for i, table in enumerate(self.tables.values()):
            code = taken[..., i]
            # Code 0, and the zeros of padding, belong to the slot past the last row.
            rows = (code.long() - 1).remainder(table.weight.shape[1])
            yield table(rows) * (code > 0).unsqueeze(-1)
        if self.waves is not None:
            yield self.waves(taken[..., n_codes:])


class WaveBank(nn.Module):
    """Embed numbers by sines and cosines of learned frequencies, and a layer of units.

    Parameters
    ----------
    n_networks, n_columns : int
        Length of the network axis, and numbers that the widest network embeds.
    waves : Waves
        Sizes.
    dtype : torch.dtype
        Of the parameters.

    Attributes
    ----------
    frequency : Parameter of shape (n_networks, n_columns, n_frequencies)
        Periods per unit of the standardised column.
    weight : Parameter of shape (n_networks, n_columns, 2 * n_frequencies, n_units)
        From sines and cosines to units.
    bias : Parameter of shape (n_networks, n_columns, 1, n_units)
        Of the units.
    """

    def __init__(self, n_networks, n_columns, waves, dtype):
        super().__init__()
        sizes = n_networks, n_columns
        k, n_units = waves.n_frequencies, waves.n_units
        self.frequency = nn.Parameter(torch.zeros(*sizes, k, dtype=dtype))
        self.weight = nn.Parameter(torch.zeros(*sizes, 2 * k, n_units, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(*sizes, 1, n_units, dtype=dtype))

    def reset(self, streams, n_columns, sigmas):
        """Draw initial weights at the networks' own numbers of columns.

        Parameters
        ----------
        streams : Streams
            Where the numbers come from.
        n_columns : sequence of int, length n_networks
            Numbers that each network embeds.
        sigmas : sequence of float, length n_networks
            Standard deviation of the frequencies.

        Returns
        -------
        self : WaveBank
            The bank itself.
        """
        _, _, fan_in, n_units = self.weight.shape

        def draw(key, size):
            generator = streams.generator(key, "init waves")
            options = {"generator": generator, "dtype": torch.float64}
            frequency = torch.randn((size, fan_in // 2), **options)
            layer = torch.rand((size, fan_in + 1, n_units), **options)
            return frequency, layer.mul_(2).sub_(1).div_(math.sqrt(fan_in))

        drawn = streams.each(draw, n_columns)
        with torch.no_grad():
            for k, (frequency, layer) in enumerate(drawn):
                size = len(frequency)
                self.frequency[k, :size] = (sigmas[k] * frequency).to(self.frequency)
                self.weight[k, :size] = layer[:, :-1].to(self.weight)
                self.bias[k, :size] = layer[:, -1:].to(self.bias)
        return self

    def forward(self, numbers):
        """Embed the columns of every network.

        Parameters
        ----------
        numbers : Tensor of shape (n_networks, n_rows, n_columns)
            Standardised.

        Returns
        -------
        embedded : Tensor of shape (n_networks, n_rows, n_columns * n_units)
            The units of column 0, then those of column 1 and so on.
        """
        angle = numbers.mT.unsqueeze(-1) * (2 * math.pi * self.frequency).unsqueeze(2)
        waves = torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(0, 1)
        units = torch.baddbmm(
            self.bias.flatten(0, 1), waves, self.weight.flatten(0, 1)
        ).relu()
        units = units.unflatten(0, self.weight.shape[:2])
        return units.transpose(1, 2).flatten(2)


def _code_columns(encoders):
    """Map each raw column that any network looks up to its number of categories."""
    columns = {}
    for encoder in encoders:
        for i in encoder.where(EncodedColumns.CODE):
            columns[int(encoder.source[i])] = int(encoder.high[i])
    return columns


def _make_waves(encoders, index, streams, dtype):
    columns = [len(encoder.where(EncodedColumns.WAVE)) for encoder in encoders]
    chosen = [e.waves for e, n in zip(encoders, columns, strict=True) if n]
    if not chosen:
        return None
    if len({(waves.n_frequencies, waves.n_units) for waves in chosen}) > 1:
        raise ValueError(
            "Networks of one bank must agree in Periodic(n_frequencies=..., "
            f"n_units=...); got {chosen[0]} and others. Train them in banks of their "
            "own."
        )
    bank = WaveBank(len(index), max(columns), chosen[0], dtype)
    if streams is not None:
        sigmas = [encoders[e].waves.sigma if columns[e] else 0.0 for e in index]
        bank.reset(streams, [columns[e] for e in index], sigmas)
    return bank


def _gathered(inputs, places):
    """Pick inputs by the places (n_networks, n_picked) of each network."""
    places = places.unsqueeze(1).expand(-1, inputs.shape[1], -1)
    return inputs.gather(-1, places)
