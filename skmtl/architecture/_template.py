"""A module that somebody else wrote, made, measured and run with given weights."""

import copy
import threading
from dataclasses import dataclass

import torch
from torch import nn

# Rows of zeros that a module is measured on; two, so that a lost row shows.
_N_ROWS = 2


@dataclass(frozen=True)
class Measures:
    """What a dry forward pass tells of a module.

    Parameters
    ----------
    n_features : int
        Numbers that it gives for a row, once flattened.
    widest : int
        Floats of its widest layer, or of its input, by row.
    work : float
        Multiply-adds by row, roughly: each matrix of a layer meets each of the places
        that the layer gives out.
    """

    n_features: int
    widest: int
    work: float


def measured(module, input_shape, dtype=torch.float32):
    """Run a module on rows of zeros; lazy layers find their sizes in this.

    Parameters
    ----------
    module : Module
        On the CPU; it is left in evaluation mode.
    input_shape : tuple of int
        Of a row.
    dtype : torch.dtype, default=torch.float32
        Of the rows.

    Returns
    -------
    measures : Measures
        Of the module.

    Raises
    ------
    ValueError
        If the module fails, or returns something else than a tensor with the rows
        first.
    """
    rows = torch.zeros(_N_ROWS, *input_shape, dtype=dtype)
    sizes, work = [rows.numel()], 0.0

    def note(part, inputs, output):
        nonlocal work
        # Recurrent layers and attention return more than their output.
        output = output[0] if isinstance(output, tuple) and output else output
        if not torch.is_tensor(output):
            return
        sizes.append(output.numel())
        for parameter in part.parameters(recurse=False):
            if parameter.ndim > 1:
                work += output.numel() / len(parameter) * parameter.numel()

    hooks = [part.register_forward_hook(note) for part in module.modules()]
    try:
        with torch.no_grad():
            output = module.eval()(rows)
    except Exception as error:
        raise ValueError(
            f"The module of TorchModule fails on rows of shape {tuple(rows.shape)} in "
            f"{str(dtype).removeprefix('torch.')}: {error} A module gets X with the "
            "rows first, and has to return a tensor with the rows first."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    _check_output(output, rows)
    return Measures(
        output.numel() // _N_ROWS,
        max(sizes) // _N_ROWS,
        work / _N_ROWS,
    )


def _check_output(output, rows):
    if not torch.is_tensor(output):
        found = f"a {type(output).__name__}"
    elif output.ndim == 0 or len(output) != len(rows):
        found = f"a tensor of shape {tuple(output.shape)}"
    elif not output.is_floating_point():
        found = f"a tensor of {output.dtype}"
    elif not output.numel():
        found = f"no numbers, a tensor of shape {tuple(output.shape)}"
    else:
        return
    raise ValueError(
        f"The module of TorchModule returned {found} for {len(rows)} rows. It has to "
        "return one tensor of floats with the rows first; wrap it in a module whose "
        "forward picks or reshapes what the heads are to read."
    )


def runs_in_float64(module, input_shape):
    """Tell whether a module can compute in float64.

    Parameters
    ----------
    module : Module
        It runs in float32.
    input_shape : tuple of int
        Of a row.

    Returns
    -------
    runs : bool
        False for one that holds tensors in float32 which are neither parameters nor
        buffers, or casts to float32.
    """
    try:
        measured(copy.deepcopy(module).double(), input_shape, torch.float64)
    except ValueError:
        return False
    return True


class Template:
    """The code of a module, run with whatever parameters and buffers are handed in.

    Its own tensors lie on the meta device: they take no memory, and using one by
    mistake is an error. It has no state, so copies of a bank share it; calls take
    turns, because the tensors are put into the module for the length of a call.

    Parameters
    ----------
    module : Module
        Taken over, not copied.
    float32 : bool
        Whether to compute in float32, whatever dtype is handed in.
    """

    def __init__(self, module, float32):
        # All parts in one mode, so that a comparison with it tells theirs.
        self._module = _Reporting(module.to("meta")).eval()
        self._float32 = float32
        self._lock = threading.RLock()

    def __deepcopy__(self, memo):
        return self

    def __call__(self, tensors, rows, training):
        """Compute features.

        Parameters
        ----------
        tensors : dict of str to Tensor
            Parameters and buffers. Buffers that the module changes are changed in
            place.
        rows : Tensor of shape (n_rows, ...)
            For the module.
        training : bool
            The mode.

        Returns
        -------
        features : Tensor of shape (n_rows, n_features)
            In the dtype of the rows.
        """
        given = {f"inner.{name}": self._cast(t) for name, t in tensors.items()}
        with self._lock:
            if self._module.training != training:
                self._module.train(training)
            features, buffers = torch.func.functional_call(
                self._module, given, (self._cast(rows),)
            )
        for name, buffer in buffers.items():
            # Cast, or bound to a new tensor by the module, instead of changed in place.
            if buffer is not tensors[name]:
                with torch.no_grad():
                    tensors[name].copy_(buffer)
        return features.reshape(len(rows), -1).to(rows.dtype)

    def _cast(self, tensor):
        if self._float32 and tensor.is_floating_point():
            return tensor.float()
        return tensor


class _Reporting(nn.Module):
    """Report the buffers that a module has after a training step, besides its output.

    ``functional_call`` puts the old ones back before it returns.
    """

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, rows):
        output = self.inner(rows)
        return output, dict(self.inner.named_buffers()) if self.training else {}
