"""Banks: layers that hold many networks and multiply them all in one call."""

import copy
import math

import torch
from torch import nn

# A map to fewer outputs than this, of at least so many rows, is turned round.
_NARROW = 12
_MANY_ROWS = 48


class LinearBank(nn.Module):
    """Apply a linear map a network to a batch a network.

    The number of networks is read from the tensors, so that the same forward serves
    expanded fast weights through :func:`torch.func.functional_call`.

    Parameters
    ----------
    n_networks, n_in, n_out : int
        Length of the network axis, and the padded widths.
    device, dtype : torch.device and torch.dtype, optional
        Of the tensors.

    Attributes
    ----------
    weight : Parameter of shape (n_networks, n_in, n_out)
        One matrix a network.
    bias : Parameter of shape (n_networks, 1, n_out)
        One bias a network.
    """

    def __init__(self, n_networks, n_in, n_out, *, device=None, dtype=None):
        super().__init__()
        kwargs = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.zeros(n_networks, n_in, n_out, **kwargs))
        self.bias = nn.Parameter(torch.zeros(n_networks, 1, n_out, **kwargs))

    def reset(self, streams, purpose, n_in=None):
        """Draw initial weights at the networks' own, unpadded widths.

        Weights and biases are uniform in ``+-1 / sqrt(n_in)``, as in torch's Linear;
        rows of padding stay zero, and under AdamW they remain so.

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
        self : LinearBank
            The layer itself.
        """
        _, padded, n_out = self.weight.shape
        widths = [padded] * len(streams.keys) if n_in is None else n_in

        def draw(key, width):
            # float64, so that a float32 network is a float64 network rounded
            generator = streams.generator(key, f"init {purpose}")
            bound = 1 / math.sqrt(max(width, 1))
            drawn = torch.rand(
                (width + 1, n_out), generator=generator, dtype=torch.float64
            )
            return drawn.mul_(2 * bound).sub_(bound)

        with torch.no_grad():
            self.weight.zero_()
            for k, drawn in enumerate(streams.each(draw, widths)):
                self.weight[k, : len(drawn) - 1] = drawn[:-1].to(self.weight)
                self.bias[k, 0] = drawn[-1].to(self.bias)
        return self

    def forward(self, inputs):
        """Map the rows of every network.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_in)
            Or (1, n_rows, n_in), the same rows for every network.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_rows, n_out)
            ``inputs @ weight + bias`` of each network.
        """
        n_networks = self.weight.shape[0]
        if inputs.shape[0] != n_networks:
            inputs = inputs.expand(n_networks, -1, -1)
        narrow = self.weight.shape[-1] < _NARROW and inputs.shape[1] >= _MANY_ROWS
        if narrow and torch.is_grad_enabled() and inputs.device.type == "cpu":
            return _NarrowMap.apply(self.bias, inputs, self.weight)
        return torch.baddbmm(self.bias, inputs, self.weight)


class _NarrowMap(torch.autograd.Function):
    """Map rows to a few outputs by products that are turned round.

    A product with a few columns takes a CPU up to six times as long as the same one
    with a few rows. The gradient of the inputs is no such product; autograd would turn
    it round with the others, and all layers below would read it across memory.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(bias, inputs, weight):
        turned = weight.mT.contiguous()
        return torch.baddbmm(bias.mT, turned, inputs.mT).mT

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, *saved = inputs
        ctx.save_for_backward(*saved)

    @staticmethod
    def backward(ctx, slope):
        inputs, weight = ctx.saved_tensors
        at_inputs = torch.bmm(slope, weight.mT) if ctx.needs_input_grad[1] else None
        return slope.sum(1, keepdim=True), at_inputs, torch.bmm(slope.mT, inputs).mT


class StackBank(nn.Module):
    """Apply several linear maps a network: one an expert, or one a task.

    All maps of all networks are one ``baddbmm``, networks before maps.

    Parameters
    ----------
    n_networks, n_maps, n_in, n_out : int
        Sizes.
    device, dtype : torch.device and torch.dtype, optional
        Of the tensors.

    Attributes
    ----------
    weight : Parameter of shape (n_networks, n_maps, n_in, n_out)
        One matrix a map.
    bias : Parameter of shape (n_networks, n_maps, 1, n_out)
        One bias a map.
    """

    def __init__(self, n_networks, n_maps, n_in, n_out, *, device=None, dtype=None):
        super().__init__()
        kwargs = {"device": device, "dtype": dtype}
        sizes = n_networks, n_maps
        self.weight = nn.Parameter(torch.zeros(*sizes, n_in, n_out, **kwargs))
        self.bias = nn.Parameter(torch.zeros(*sizes, 1, n_out, **kwargs))

    def reset(self, streams, purpose, n_in=None):
        """Draw initial weights as :class:`LinearBank` does, map after map.

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
        self : StackBank
            The layer itself.
        """
        _, n_maps, padded, n_out = self.weight.shape
        widths = [padded] * len(streams.keys) if n_in is None else n_in

        def draw(key, width):
            generator = streams.generator(key, f"init {purpose}")
            bound = 1 / math.sqrt(max(width, 1))
            drawn = torch.rand(
                (n_maps, width + 1, n_out), generator=generator, dtype=torch.float64
            )
            return drawn.mul_(2 * bound).sub_(bound)

        with torch.no_grad():
            self.weight.zero_()
            for k, drawn in enumerate(streams.each(draw, widths)):
                width = drawn.shape[1] - 1
                self.weight[k, :, :width] = drawn[:, :-1].to(self.weight)
                self.bias[k] = drawn[:, -1:].to(self.bias)
        return self

    def forward(self, inputs):
        """Map the rows of every network by every map.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_maps, n_rows, n_in)
            An axis of length 1 is repeated.

        Returns
        -------
        outputs : Tensor of shape (n_networks, n_maps, n_rows, n_out)
            ``inputs @ weight + bias`` of each map.
        """
        inputs = inputs.expand(*self.weight.shape[:2], *inputs.shape[2:])
        outputs = torch.baddbmm(
            self.bias.flatten(0, 1), inputs.flatten(0, 1), self.weight.flatten(0, 1)
        )
        return outputs.unflatten(0, self.weight.shape[:2])


class NormBank(nn.Module):
    """Normalise the units of each row, with a scale and a shift a network.

    Parameters
    ----------
    n_networks, n_units : int
        Sizes.
    device, dtype : torch.device and torch.dtype, optional
        Of the tensors.

    Attributes
    ----------
    scale, shift : Parameter of shape (n_networks, 1, n_units)
        Ones and zeros at first. Weight decay acts on neither.

    References
    ----------
    .. [1] J. Ba, J. Kiros, G. Hinton (2016). Layer Normalization, equation 4.
       https://arxiv.org/abs/1607.06450
    """

    def __init__(self, n_networks, n_units, *, device=None, dtype=None):
        super().__init__()
        kwargs = {"device": device, "dtype": dtype}
        self.scale = nn.Parameter(torch.ones(n_networks, 1, n_units, **kwargs))
        self.shift = nn.Parameter(torch.zeros(n_networks, 1, n_units, **kwargs))

    def forward(self, hidden):
        """Normalise.

        Parameters
        ----------
        hidden : Tensor of shape (n_networks, n_rows, n_units)
            What the layer before gave.

        Returns
        -------
        hidden : Tensor of shape (n_networks, n_rows, n_units)
            Of mean 0 and variance 1 in each row, then scaled and shifted.
        """
        normal = nn.functional.layer_norm(hidden, hidden.shape[-1:])
        return torch.addcmul(self.shift, normal, self.scale)


class DropoutBank(nn.Module):
    """Drop units with one rate a network, from keyed streams.

    Parameters
    ----------
    rates : Tensor of shape (n_networks,)
        Probability that a unit is dropped.
    purpose : str
        Names the layer in the streams.

    Attributes
    ----------
    streams : Streams or None
        Set by whoever trains; without it the layer refuses to train.
    """

    def __init__(self, rates, purpose):
        super().__init__()
        self.register_buffer("rates", rates)
        self.purpose = purpose
        self.streams = None
        self._drops = bool((rates > 0).any())

    @property
    def drops(self):
        """Whether the next pass drops units, bool."""
        return self.training and self._drops

    def forward(self, features):
        """Drop units while training, pass them on otherwise.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_rows, n_hidden)
            What the layer before gave.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_hidden)
            Scaled by ``1 / (1 - rate)`` where kept.
        """
        if not self.drops:
            return features
        n_networks, n_rows, n_units = features.shape
        # Networks of tasks stand behind the network they come from, and share its key.
        per_key = n_networks // len(self.streams.keys)
        mask = self.streams.keep_mask(
            self.purpose,
            self.rates[:: len(self.rates) // len(self.streams.keys)],
            n_rows * per_key,
            n_units,
            features.dtype,
        )
        return features * mask.view(features.shape)


class RowsBank(nn.Module):
    """Hold one row of parameters a task, most of them untouched by a batch.

    While training, :meth:`forward` gathers the rows of the batch into a small leaf,
    ``selected``; the optimizer sums its gradients by task and moves these tasks only (a
    lazy update). A task may lie there several times, so that the size of the leaf is
    known without a look at the data: nothing has to be sorted, and no accelerator
    waited for. Slot ``n_rows`` belongs to no task and stays zero: unknown tasks and
    padding read it.

    Parameters
    ----------
    n_networks, n_rows, n_columns : int
        Networks, tasks and parameters of a task.
    widths : sequence of int of length n_networks, optional
        Columns of each network that are not padding; by default all.
    speed : float, default=1.0
        Factor on the learning rate.
    device, dtype : torch.device and torch.dtype, optional
        Of the tensor.

    Attributes
    ----------
    weight : Parameter of shape (n_networks, n_rows + 1, n_columns)
        Zero at first.
    selected : tuple of (ids, rows) or None
        The rows of the last batch: flat ids (n_networks * n,), and the leaf
        (n_networks, n, n_columns) that receives gradients.
    """

    def __init__(
        self,
        n_networks,
        n_rows,
        n_columns,
        widths=None,
        *,
        speed=1.0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.speed = speed
        self.weight = nn.Parameter(
            torch.zeros(n_networks, n_rows + 1, n_columns, device=device, dtype=dtype)
        )
        widths = [n_columns] * n_networks if widths is None else widths
        self.register_buffer(
            "widths", torch.tensor(widths, device=device, dtype=self.weight.dtype)
        )
        self.lazy = False
        self.selected = None

    def __deepcopy__(self, memo):
        # `selected` belongs to the graph of the last batch and cannot be copied.
        new = type(self)(0, 0, 0, speed=self.speed)
        memo[id(self)] = new
        new.weight = copy.deepcopy(self.weight, memo)
        new.widths = self.widths.clone()
        new.lazy, new.training = self.lazy, self.training
        return new

    def flat_ids(self, rows):
        """Number the rows of all networks through.

        Parameters
        ----------
        rows : Tensor of shape (n_networks, n), int64
            Row positions, by network.

        Returns
        -------
        ids : Tensor of shape (n_networks * n,), int64
            Positions in the weight seen as one long table.
        """
        n_networks, n_slots, _ = self.weight.shape
        offsets = torch.arange(0, n_networks * n_slots, n_slots, device=rows.device)
        return (rows + offsets.unsqueeze(-1)).flatten()

    def forward(self, rows):
        """Gather rows by number.

        Parameters
        ----------
        rows : Tensor of shape (n_networks, n), int64
            Task of each row of the batch; ``n_rows`` for none.

        Returns
        -------
        gathered : Tensor of shape (n_networks, n, n_columns)
            The parameters of each row's task.
        """
        ids = self.flat_ids(rows)
        lazy = self.lazy and self.training
        table = self.weight.detach() if lazy else self.weight
        gathered = table.flatten(0, 1).index_select(0, ids).view(*rows.shape, -1)
        if lazy:
            self.selected = ids, gathered.requires_grad_()
        return gathered

    def penalty(self, share, strength):
        """Sum the squares of the rows that the last batch selected.

        Parameters
        ----------
        share : callable
            Returns a factor on each row of the batch, (n_networks, n), if it is called
            with ``by_row=True``.
        strength : Tensor of shape (n_networks,)
            A factor on all rows.

        Returns
        -------
        penalty : Tensor of shape (n_networks,)
            By network.
        """
        _, rows = self.selected
        # Factors first: what does not need a gradient costs no backward pass.
        factor = share(by_row=True) * strength.unsqueeze(-1)
        return (rows.square().sum(-1) * factor).sum(-1)


def take_networks(module, index):
    """Copy a module with some of its networks.

    Every parameter and buffer carries the network axis first; a module whose tensors
    do not (an encoder shared by several networks) has a method ``take_networks`` of
    its own, called on the copy.

    Parameters
    ----------
    module : Module
        A bank, or a module made of banks.
    index : sequence of int or Tensor of int64
        Positions of the networks to take, in the order wanted.

    Returns
    -------
    taken : Module
        A deep copy with ``len(index)`` networks, in the mode of the original.
    """
    taken = copy.deepcopy(module)
    for part in taken.modules():
        if hasattr(part, "take_networks"):
            part.take_networks(index)
            continue
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                rows = torch.as_tensor(index, device=tensor.device, dtype=torch.long)
                kept = tensor.detach().index_select(0, rows)
                if isinstance(tensor, nn.Parameter):
                    kept = nn.Parameter(kept, requires_grad=tensor.requires_grad)
                tensors[name] = kept
    return taken


@torch.no_grad()
def join_networks(parts, whole):
    """Copy the networks of several modules into one that is wide enough for all.

    Narrower networks fill the first rows and columns of each tensor; the rest, which is
    padding, keeps what it has. A module whose padding is not at the end has a method
    ``join_networks`` of its own, called with the parts.

    Parameters
    ----------
    parts : sequence of Module
        Modules of one structure.
    whole : Module
        Of the same structure, with the networks of all parts in their order.
    """
    if hasattr(whole, "join_networks"):
        whole.join_networks(parts)
        return
    for own in ("_parameters", "_buffers"):
        for name, tensor in getattr(whole, own).items():
            if tensor is not None:
                join_tensors([getattr(part, own)[name] for part in parts], tensor)
    for name, child in whole.named_children():
        join_networks([getattr(part, name) for part in parts], child)


@torch.no_grad()
def join_tensors(parts, whole):
    """Copy tensors below each other, each into the first rows and columns.

    Parameters
    ----------
    parts : sequence of Tensor of shape (n_networks, ...)
        At most as large as the whole in all further axes.
    whole : Tensor of shape (n_networks, ...)
        Written to.
    """
    start = 0
    for part in parts:
        corner = (slice(start, start + len(part)), *map(slice, part.shape[1:]))
        whole[corner] = part.to(whole)
        start += len(part)
