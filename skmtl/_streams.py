"""Keyed random streams: what a network draws depends on its key, not on its bank."""

import threading
import zlib
from contextlib import contextmanager

import numpy as np
import torch

_global_generators = threading.RLock()


class Streams:
    """Random numbers for every network of a bank, from generators of their own.

    Two networks that carry the same key draw the same numbers, and one draw serves
    both. A network draws the same numbers alone and in any bank; the global state of
    torch and NumPy is neither read nor moved.

    Parameters
    ----------
    keys : sequence of tuple, length n_networks
        ``key[0]`` seeds the streams of a network. The rest of the key are the sizes
        that its draws depend on, so that networks that share a key always draw alike.
    device : torch.device, default=cpu
        Where masks are drawn; initial weights and row orders are drawn on the CPU.
    """

    def __init__(self, keys, device="cpu"):
        self.keys = list(keys)
        self.device = torch.device(device)
        self.n_rows = None
        self._generators = {}

    def __deepcopy__(self, memo):
        # A copied module keeps drawing from the streams of its net.
        return self

    def take(self, index):
        """Keep the streams of some networks, in place.

        Parameters
        ----------
        index : sequence of int
            Positions of the networks to keep.
        """
        self.keys = [self.keys[i] for i in index]

    def generator(self, key, purpose, device="cpu"):
        """Return the generator of one key for one purpose.

        Parameters
        ----------
        key : tuple
            The key of a network.
        purpose : str
            What the numbers are for; purposes never share numbers.
        device : torch.device or str, default="cpu"
            Where the numbers are drawn.

        Returns
        -------
        generator : torch.Generator
            Created on first use, and moved on by every draw.
        """
        if (key, purpose) not in self._generators:
            entropy = (key[0], zlib.crc32(purpose.encode()))
            seed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
            generator = torch.Generator(device=device)
            generator.manual_seed(int(seed >> 1))
            self._generators[key, purpose] = generator
        return self._generators[key, purpose]

    def state(self):
        """Give the state of every generator.

        Returns
        -------
        state : list
            One entry a generator: its key, its purpose, its device and a tensor.
        """
        return [
            [[int(part) for part in key], purpose, str(made.device), made.get_state()]
            for (key, purpose), made in self._generators.items()
        ]

    def restore(self, state):
        """Go on where other streams were.

        Parameters
        ----------
        state : list
            From :meth:`state`.
        """
        for key, purpose, device, numbers in state:
            generator = torch.Generator(device=device)
            generator.set_state(numbers)
            self._generators[tuple(key), purpose] = generator

    def each(self, draw, *per_network):
        """Draw once for each distinct key.

        Parameters
        ----------
        draw : callable
            Called with the key and the values of `per_network` at that network.
        *per_network : sequences of length n_networks
            Sizes that the draw depends on, equal for networks that share a key.

        Returns
        -------
        drawn : list of length n_networks
            What `draw` returned, shared by networks with one key.
        """
        drawn = {}
        for key, *values in zip(self.keys, *per_network, strict=True):
            if key not in drawn:
                drawn[key] = draw(key, *values)
        return [drawn[key] for key in self.keys]

    def permutations(self, sizes):
        """Draw one order of rows for each network.

        Parameters
        ----------
        sizes : sequence of int, length n_networks
            Number of rows of each network.

        Returns
        -------
        orders : list of Tensor of shape (sizes[k],)
            A permutation for each network.
        """
        return self.each(
            lambda key, size: torch.randperm(
                size, generator=self.generator(key, "rows")
            ),
            sizes,
        )

    def keep_mask(self, purpose, rates, n_rows, n_columns, dtype):
        """Draw a dropout mask for each network at its own number of rows.

        Parameters
        ----------
        purpose : str
            Names the layer.
        rates : Tensor of shape (n_networks,)
            Probability that a unit is dropped.
        n_rows, n_columns : int
            Rows of the padded batch, and units. Networks whose batch is shorter draw
            at their own length, ``self.n_rows[k]``.
        dtype : torch.dtype
            Of the mask.

        Returns
        -------
        mask : Tensor of shape (n_networks, n_rows, n_columns)
            0 for dropped units, ``1 / (1 - rate)`` for the others.
        """
        rows = self.n_rows or [n_rows] * len(self.keys)

        def draw(key, size):
            generator = self.generator(key, purpose, self.device)
            uniform = torch.rand(
                (size, n_columns), generator=generator, device=self.device, dtype=dtype
            )
            return torch.nn.functional.pad(uniform, (0, 0, 0, n_rows - size))

        drawn = self.each(draw, rows)
        uniform = drawn[0][None] if len(drawn) == 1 else torch.stack(drawn)
        rates = rates[:, None, None]
        return (uniform >= rates).to(dtype) / (1 - rates)


@contextmanager
def seeded(seed, device="cpu"):
    """Let code that draws from torch's global generators draw from a seed.

    The global state is put back afterwards. Threads take turns: there is one global
    generator, and what a fit draws must not depend on another's.

    Parameters
    ----------
    seed : int
        Non-negative.
    device : torch.device or str, default="cpu"
        Whose generator to seed besides that of the CPU, when it is a CUDA device.

    Yields
    ------
    None
        Draws in the block depend on the seed alone.
    """
    device = torch.device(device)
    cuda = []
    if device.type == "cuda":
        index = device.index
        cuda = [torch.cuda.current_device() if index is None else index]
    with _global_generators, torch.random.fork_rng(devices=cuda):
        # Not torch.manual_seed, which seeds every device and restores none.
        torch.random.default_generator.manual_seed(seed)
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
