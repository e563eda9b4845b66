"""How many networks a bank should hold."""

import sys

import torch

from ..._net import Blueprint

# Bytes of parameters, gradients and moments that a step of the whole bank goes over.
# Up to here more networks cost less each; beyond, every step fetches them from main
# memory and single networks are faster. A search over networks with 2 x 256 units on 50
# columns took 43 s one a bank, 32 s five, 37 s twelve and 42 s twenty or fifty
# (bench_search.py --only large --sizes 1 5 20 50).
_CACHE = 8e6
# Bytes that a bank may hold in all.
_MEMORY = 2e9
# Networks of a bank of small networks below which a second bank in a second process
# costs as much as it brings.
_ENOUGH = 100


def most_networks(plan, data, device, dtype):
    """Choose how many networks a bank holds at most.

    Parameters
    ----------
    plan : NetworkPlan
        Of one of them.
    data : TaskData
        What they train on.
    device, dtype : str
        As for :func:`fit_bank`.

    Returns
    -------
    n_networks : int
        At least 1. On CPU it goes by the cache, on other devices by memory.
    """
    try:
        module = Blueprint.from_plans([plan], data, dtype).build()
    except Exception:  # whatever it is, the fit will say it
        return sys.maxsize
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    n_held_out = 0 if plan.valid_rows is None else len(plan.valid_rows)
    itemsize = torch.finfo(getattr(torch, dtype)).bits // 8
    # Predictions now, at the best epoch and in a copy while they are compared.
    held_out = 3 * n_held_out * sum(module.losses.widths) * itemsize
    most = _MEMORY / (6 * weights + held_out)
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        most = min(most, _CACHE / (4 * weights))
    return max(1, int(most))


def n_banks(n_networks, most, n_workers):
    """Choose over how many banks to spread networks.

    Parameters
    ----------
    n_networks : int
        In all.
    most : int
        Networks a bank at most.
    n_workers : int
        Processes that would otherwise be idle.

    Returns
    -------
    n_banks : int
        As few as can be, and as many as there are workers if each is given enough.
    """
    needed = -(-n_networks // most)
    return max(needed, min(n_workers, n_networks // _ENOUGH))
