"""Where a bank trains."""

import warnings

import torch

# Multiply-adds of one step of the whole bank above which a GPU is worth its launches.
_GPU_WORK = 2e8


def resolve_device(device, work):
    """Turn the argument ``device`` into a device that is there.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    work : float
        Multiply-adds of one training step of the whole bank. "auto" takes a GPU for
        large work only: small banks train faster on the CPU.

    Returns
    -------
    device : torch.device
        Where to train.

    Raises
    ------
    ValueError
        If a device is asked for by name and is not there.
    """
    if device == "auto":
        large = work >= _GPU_WORK and torch.cuda.is_available()
        return torch.device("cuda" if large else "cpu")
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is not a device of torch; pass 'auto', 'cpu', 'cuda' "
            "or 'mps'."
        ) from error
    if not _is_there(wanted):
        raise ValueError(
            f"device={device!r} was asked for, but torch finds no such device here. "
            "Pass "
            "device='auto' or device='cpu', or install a build of torch that supports "
            "it."
        )
    return wanted


def available_device(device):
    """Find a device for a fitted model that comes from elsewhere.

    Parameters
    ----------
    device : str
        Where the model was.

    Returns
    -------
    device : str
        The same, or "cpu" with a warning when it is not here.
    """
    if _is_there(torch.device(device)):
        return device
    warnings.warn(
        f"The model was fitted on {device!r}, which is not available here; it is "
        "loaded on the CPU.",
        UserWarning,
        stacklevel=3,
    )
    return "cpu"


def _is_there(device):
    if device.type == "cpu":
        return True
    if device.type == "mps":
        return torch.backends.mps.is_available()
    if device.type == "cuda":
        return (
            torch.cuda.is_available()
            and (device.index or 0) < torch.cuda.device_count()
        )
    return False


def step_work(module, plans, n_rows=None):
    """Count the multiply-adds of one training step of a whole bank.

    Parameters
    ----------
    module : BankModule
        Its weights.
    plans : sequence of NetworkPlan
        Rows of a batch.
    n_rows : int, optional
        Rows of a batch, if not those of the plans.

    Returns
    -------
    work : float
        Rows of a RowsBank are left out: a batch touches few of them.
    """
    # All networks together: each meets the rows of its own batch.
    if n_rows is None:
        n_rows = max(-(-len(p.train_rows) // p.n_batches) for p in plans)
    return 3.0 * n_rows * module.architecture.work
