"""Layers of which each task has its own, tied to one that all have in common."""

import torch

from .._bank import LinearBank, StackBank


class TiedBank(StackBank):
    r"""Apply a linear map a task that is a mean of its own and a common one.

    The weights in use are :math:`\theta_t = a \varphi_0 + (1 - a) \varphi_t` with
    :math:`a = s / (1 + s)` for a tie of strength s: each task by itself for 0, one map
    for all at infinity, and steps of the same size for every strength between.

    Parameters
    ----------
    n_networks, n_tasks, n_in, n_out : int
        Sizes.
    strength : Tensor of shape (n_networks,)
        s.
    dtype : torch.dtype
        Of the parameters.

    Attributes
    ----------
    weight, bias : Parameter of shape (n_networks, n_tasks, ...)
        Those of the tasks, :math:`\varphi_t`.
    common : LinearBank
        :math:`\varphi_0`.
    tie : Tensor of shape (n_networks,)
        a.
    """

    def __init__(self, n_networks, n_tasks, n_in, n_out, strength, dtype):
        super().__init__(n_networks, n_tasks, n_in, n_out, dtype=dtype)
        self.common = LinearBank(n_networks, n_in, n_out, dtype=dtype)
        self.register_buffer("tie", (strength / (1 + strength)).to(dtype))

    def reset(self, streams, purpose, n_in=None):
        """Draw initial weights, the same for all tasks.

        Parameters
        ----------
        streams : Streams
            Where the numbers come from.
        purpose : str
            Names the layer in the streams.
        n_in : sequence of int of length n_networks, optional
            Unpadded widths; by default the whole width.

        Returns
        -------
        self : TiedBank
            The layer itself.
        """
        self.common.reset(streams, purpose, n_in)
        with torch.no_grad():
            self.weight.copy_(self.common.weight.unsqueeze(1))
            self.bias.copy_(self.common.bias.unsqueeze(1))
        return self

    def set_bias(self, bias):
        """Set the biases of all tasks.

        Parameters
        ----------
        bias : Tensor of shape (n_networks, n_out)
            By network.
        """
        with torch.no_grad():
            self.common.bias.copy_(bias[:, None])
            self.bias.copy_(bias[:, None, None])

    def effective(self):
        """Compute the weights in use.

        Returns
        -------
        weight : Tensor of shape (n_networks, n_tasks, n_in, n_out)
            By task.
        bias : Tensor of shape (n_networks, n_tasks, 1, n_out)
            By task.
        """
        tie = self.tie[:, None, None, None]
        weight = torch.lerp(self.weight, self.common.weight.unsqueeze(1), tie)
        return weight, torch.lerp(self.bias, self.common.bias.unsqueeze(1), tie)

    def deviations(self):
        """Compute how far the weights in use are from the common ones.

        Gradients go to the tasks alone. A penalty P of the deviations pulls at the
        common weights by the negative sum of its pulls at the tasks, which balance the
        losses; so losses alone lead these to the same place, undisturbed.

        Returns
        -------
        deviations : Tensor of shape (n_networks, n_tasks, n_weights)
            Biases behind the weights.
        """
        weight = self.weight - self.common.weight.detach().unsqueeze(1)
        bias = self.bias - self.common.bias.detach().unsqueeze(1)
        away = torch.cat([weight, bias], dim=2).flatten(2)
        return away * (1 - self.tie[:, None, None])

    def forward(self, inputs):
        """Map the rows of every task.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_tasks, n_rows, n_in)
            An axis of length 1 is repeated.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_tasks, n_rows, n_out)
            By task.
        """
        weight, bias = self.effective()
        inputs = inputs.expand(*weight.shape[:2], *inputs.shape[2:])
        outputs = torch.baddbmm(
            bias.flatten(0, 1), inputs.flatten(0, 1), weight.flatten(0, 1)
        )
        return outputs.unflatten(0, weight.shape[:2])


def trace_norm(rows):
    """Sum the singular values of a matrix a network.

    Parameters
    ----------
    rows : Tensor of shape (n_networks, n_tasks, n_weights)
        A row a task.

    Returns
    -------
    norm : Tensor of shape (n_networks,)
        Smooth where a singular value is zero. NaN for a network that holds one, and for
        no other.
    """
    gram = rows @ rows.mT
    sound = gram.isfinite().all(-1).all(-1)
    # One matrix that is not finite would fail the call for all.
    kept = torch.where(sound[:, None, None], gram, 0.0)
    squares = torch.linalg.eigvalsh(kept).clamp(min=0)
    tiny = torch.finfo(rows.dtype).eps ** 2
    norm = (squares + tiny).sqrt().sum(-1)
    return torch.where(sound, norm, torch.nan)
