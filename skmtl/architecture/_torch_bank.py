"""The bank of a trunk that the user brings."""

from contextlib import nullcontext

import torch
from torch import nn

from .._streams import seeded
from ._template import Template, runs_in_float64
from ._together import pays_together, runs_together
from ._trunk import TrunkModule


class TorchBank(TrunkModule):
    """The bank that :class:`~skmtl.architecture.TorchModule` builds.

    Parameters
    ----------
    strategy : TorchModule
        Where the hyperparameters are read.
    shape : BankShape
        Sizes of the bank.
    streams : Streams or None
        Source of the initial weights.

    Attributes
    ----------
    trunk : Module
        Parameters and buffers of the modules, by the names they have there, the
        network axis first.
    together : bool or None
        Whether networks take training steps together; None before the first.
    streams : Streams or None
        Source of random numbers while training.
    """

    def __init__(self, strategy, shape, streams):
        super().__init__()
        self.vmap = strategy.vmap
        self.together = None
        self.streams = None
        self.input_shape = shape.input_shape or (shape.width,)
        if streams is None:
            made = [strategy.make(0, self.input_shape)] * shape.n_networks
        else:
            made = streams.each(
                lambda key: strategy.make(_seed(streams, key, "init"), self.input_shape)
            )
        module, self._measures = made[0]
        self.trunk = _stacked([module for module, _ in made], shape.dtype)
        in_float32 = not runs_in_float64(module, self.input_shape)
        self.template = Template(module, in_float32)
        self.n_hidden = self.n_features = self._measures.n_features
        widths = [self.n_features] * shape.n_networks
        self.make_heads(strategy, shape, widths, streams)

    @property
    def widest(self):
        """Floats of the widest layer of a row in one network, int."""
        return max(self._measures.widest, self.heads.shared.weight.shape[-1])

    @property
    def work(self):
        """Multiply-adds of one row in all networks, forward only, float."""
        heads = self.heads.shared.weight
        return len(heads) * self._measures.work + heads.numel()

    def features(self, inputs):
        """Run the modules.

        Parameters
        ----------
        inputs : Tensor of shape (n_networks, n_rows, n_inputs)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n_networks, n_rows, n_features)
            Their outputs, flattened.
        """
        n_networks = len(self.heads.shared.weight)
        rows = inputs.unflatten(-1, self.input_shape)
        rows = rows.expand(n_networks, *rows.shape[1:])
        tensors = {
            **dict(self.trunk.named_parameters()),
            **dict(self.trunk.named_buffers()),
        }
        if self.training and n_networks > 1 and self._steps_together(tensors, rows):
            return torch.func.vmap(self._run)(tensors, rows)
        return self._one_by_one(tensors, rows)

    def _run(self, tensors, rows):
        return self.template(tensors, rows, self.training)

    def _steps_together(self, tensors, rows):
        if self.together is None:
            n_networks, n_rows = rows.shape[:2]
            self.together = self.vmap is True or (
                self.vmap == "auto"
                and pays_together(n_networks, n_rows * self._measures.work, rows.device)
            )
            if self.together:
                failure = runs_together(self._run, tensors, rows)
                if failure and self.vmap is True:
                    raise ValueError(
                        f"TorchModule(vmap=True): the module {failure}. Pass "
                        "vmap='auto', which then trains one by one."
                    )
                self.together = failure is None
        return self.together

    def _one_by_one(self, tensors, rows):
        """Run each network on the rows that are its own, and no padding."""
        n_networks, n_rows = rows.shape[:2]
        sizes, seeds = [n_rows] * n_networks, None
        if self.training and self.streams is not None:
            # A network rests where it has no rows: nothing is drawn, no buffer moves.
            sizes = self.streams.n_rows or sizes
            # With networks of tasks behind each key, each of them draws for itself.
            per_key = n_networks // len(self.streams.keys)
            drawn = self.streams.each(
                lambda key, own: [
                    size and _seed(self.streams, key, "step") for size in own
                ],
                [sizes[k : k + per_key] for k in range(0, n_networks, per_key)],
            )
            seeds = [seed for own in drawn for seed in own]
        # One node of the graph stacks the gradients of all networks.
        slices = {name: tensor.unbind(0) for name, tensor in tensors.items()}
        features = []
        for k, size in enumerate(sizes):
            if size == 0:
                features.append(rows.new_zeros(n_rows, self.n_features))
                continue
            own = {name: parts[k] for name, parts in slices.items()}
            draws = nullcontext() if seeds is None else seeded(seeds[k], rows.device)
            with draws:
                found = self._run(own, rows[k, :size])
            features.append(nn.functional.pad(found, (0, 0, 0, n_rows - size)))
        return torch.stack(features)

    @torch.no_grad()
    def take_buffers(self, buffers, shape):
        """Average the running statistics that the tasks' networks have gathered.

        Parameters
        ----------
        buffers : dict of str to Tensor of shape (n_networks * n_tasks, ...)
            By name, as they are after the step.
        shape : tuple of (n_networks, n_tasks)
            How networks and tasks lie in them.
        """
        for name, own in self.trunk.named_buffers():
            found = buffers[f"trunk.{name}"].unflatten(0, shape)
            if own.is_floating_point():
                own.copy_(found.mean(1))
            else:  # a count of batches
                own.copy_(found.amax(1))

    def shared_parameters(self):
        """List the parameters of the modules that are to be trained.

        Returns
        -------
        parameters : list of Parameter
            Each of shape (n_networks, ...).
        """
        return [p for p in self.trunk.parameters() if p.requires_grad]


def _seed(streams, key, purpose):
    generator = streams.generator(key, f"module {purpose}")
    return int(torch.randint(2**62, (), generator=generator))


def _stacked(modules, dtype):
    """Stack the parameters and buffers of modules under the names they have there."""
    trunk = nn.Module()

    def stack(tensors):
        tensors = [tensor.detach() for tensor in tensors]
        stacked = torch.stack(tensors)
        return stacked.to(dtype) if stacked.is_floating_point() else stacked

    for name, parameter in modules[0].named_parameters():
        stacked = stack([module.get_parameter(name) for module in modules])
        parent, leaf = _parent(trunk, name)
        parent.register_parameter(
            leaf, nn.Parameter(stacked, requires_grad=parameter.requires_grad)
        )
    for name, _ in modules[0].named_buffers():
        parent, leaf = _parent(trunk, name)
        parent.register_buffer(leaf, stack([m.get_buffer(name) for m in modules]))
    return trunk


def _parent(trunk, path):
    """Find the part of the trunk that a dotted name belongs to, or make it."""
    *names, leaf = path.split(".")
    for name in names:
        if name not in trunk._modules:
            trunk.add_module(name, nn.Module())
        trunk = trunk._modules[name]
    return trunk, leaf
