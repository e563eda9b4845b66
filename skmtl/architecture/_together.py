"""Whether the networks of a bank may, and should, run a module in one call."""

import warnings

import torch

from .._streams import seeded

# Fewer networks than this lose more to vmap than they gain.
_LEAST_NETWORKS = 4
# Multiply-adds of one network in a forward pass below which one by one is mostly
# overhead, on the CPU; by measurement, see docs/design.rst.
_MOST_WORK = 2e6


def pays_together(n_networks, work, device):
    """Judge by sizes alone whether one call for all networks is faster.

    A stopwatch would be a better judge, and would make two fits of one seed differ.

    Parameters
    ----------
    n_networks : int
        Length of the network axis.
    work : float
        Multiply-adds of one network in a forward pass.
    device : torch.device
        Where it runs.

    Returns
    -------
    pays : bool
        On a GPU whatever the work: launches are what costs there.
    """
    cheap = device.type != "cpu" or work <= _MOST_WORK
    return n_networks >= _LEAST_NETWORKS and cheap


def runs_together(run, tensors, rows):
    """Try one call for all networks against one call each.

    The calls one by one leave out the last row, so that a module whose rows see each
    other fails: the bank pads short batches.

    Parameters
    ----------
    run : callable
        From a dict of tensors and rows of one network to features.
    tensors : dict of str to Tensor
        Parameters and buffers, the network axis first; they are not changed.
    rows : Tensor of shape (n_networks, n_rows, ...)
        A batch.

    Returns
    -------
    failure : str or None
        None if outputs and gradients agree; otherwise what the module did.
    """
    leaves = {
        name: tensor.detach().clone().requires_grad_(tensor.requires_grad)
        for name, tensor in tensors.items()
    }
    buffers = {n: t.clone() for n, t in leaves.items() if not t.requires_grad}
    trained = [t for t in leaves.values() if t.requires_grad]
    kept = rows.shape[1] - 1
    if not kept or not trained:
        return "has nothing to compare: one row, or no parameter to train"

    with seeded(0, rows.device), torch.enable_grad():
        slices = {name: leaf.unbind(0) for name, leaf in leaves.items()}
        each = [
            ({name: parts[k] for name, parts in slices.items()}, rows[k, :kept])
            for k in range(len(rows))
        ]
        try:
            alone = torch.stack([run(*own) for own in each])
        except Exception as error:  # batch normalization of a single row
            return f"does not run on one row less: {_first_line(error)}"
        wanted = _gradients(alone, trained)
        if any(not torch.equal(leaves[name], old) for name, old in buffers.items()):
            return "changes buffers in training"
        try:
            with warnings.catch_warnings():
                # vmap says so where it loops inside; that is no gain.
                warnings.simplefilter("error")
                together = torch.func.vmap(run)(leaves, rows)[:, :kept]
                found = _gradients(together, trained)
        except Exception as error:
            return f"does not run under vmap: {_first_line(error)}"
    pairs = [(together, alone), *zip(found, wanted, strict=True)]
    if not all(_close(a, b) for a, b in pairs):
        return "gives other numbers under vmap, or mixes the rows of a batch"
    return None


def _first_line(error):
    return str(error).strip().partition("\n")[0]


def _gradients(features, parameters):
    # Squares, so that every feature weighs differently.
    return torch.autograd.grad(
        features.square().sum(), parameters, materialize_grads=True
    )


def _close(a, b):
    tolerance = 1e-4 if a.dtype != torch.float64 else 1e-9
    return bool((a - b).abs().max() <= tolerance * (1 + b.abs().max()))
