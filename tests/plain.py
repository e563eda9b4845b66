"""What tests of architectures use to compare a bank with plain networks."""

import torch

from skmtl._streams import Streams
from skmtl.architecture import BankShape

OWNERS = (0, 1, 1, 2)


def build(architecture, row_tasks=False, n_networks=2):
    """Make a module of three tasks with random numbers everywhere, in evaluation.

    Column tasks have 1, 2 and 1 outputs, row tasks 2 each.
    """
    owners = None if row_tasks else OWNERS
    n_outputs = 2 if row_tasks else len(OWNERS)
    shape = BankShape(
        (3,) * n_networks, n_outputs, 3, row_tasks, torch.float64, owners=owners
    )
    streams = Streams([(k,) for k in range(n_networks)])
    module = architecture.build(shape, streams).eval()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        parameter.data.normal_(generator=generator)
        if "deviation" in name:
            parameter.data[:, -1] = 0  # no task deviates by nothing
    return module


def normal(*size, seed=1):
    """Draw standard normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


def some_tasks():
    """Give tasks to eight rows of two networks; 3 is no task."""
    return torch.tensor([[0, 1, 0, 3, 0, 1, 2, 3], [3, 3, 0, 0, 1, 1, 1, 2]])


def row_linear(bank, k, t, row):
    """Apply the map of task t of a RowHead to one row of network k."""
    n_outputs = bank.shared.weight.shape[-1]
    moved = bank.deviation.weight[k, t].unflatten(0, (-1, n_outputs))
    weight = bank.shared.weight[k] + moved[:-1]
    return row @ weight + bank.shared.bias[k, 0] + moved[-1]


def assert_same_with_gradients(module, found, expected):
    """Compare outputs, and the gradients of all parameters."""
    torch.testing.assert_close(found, expected)
    parameters = list(module.parameters())
    gradients = [
        torch.autograd.grad(
            outputs.tanh().sum(), parameters, materialize_grads=True, retain_graph=True
        )
        for outputs in (found, expected)
    ]
    for pair in zip(*gradients, strict=True):
        torch.testing.assert_close(*pair)
