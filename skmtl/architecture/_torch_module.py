"""A trunk that the user brings."""

import copy
import inspect
from contextlib import nullcontext
from numbers import Real

import torch
from torch import nn

from .._constraints import Interval, StrOptions
from .._streams import seeded
from ._base import Architecture
from ._template import Template, measured, runs_in_float64
from ._together import pays_together, runs_together
from ._trunk import TrunkModule


class TorchModule(Architecture):
    r"""Share a torch module of one's own; give each task a head.

    The module maps rows of X, of any shape, to numbers; heads as those of
    :class:`HardSharing` read them. With ``encoding=None`` it gets X as it is: an array
    of shape (n_samples, 3, 32, 32) reaches it as batches of shape (n_rows, 3, 32, 32).

    Parameters
    ----------
    module : class or Module
        A class, or a function that makes a module, is called once a network, under
        that network's seed. Of an instance every network trains a copy, so a
        pretrained module stays pretrained, and parameters with
        ``requires_grad=False`` stay as they are. Its output of shape (n_rows, ...) is
        flattened to (n_rows, n_features); lazy layers find their sizes.
    module_params : dict, default=None
        Keyword arguments of a class. Each is a parameter ``module__name`` of this
        object, which a search reaches by ``architecture__module__name``.
    task_shrinkage : float, default=10.0
        Row tasks: ridge strength on the deviation of a task from the shared head, in
        units of the loss of one labelled cell. Large values ignore the groups.
    vmap : "auto" or bool, default="auto"
        Whether the networks of an ensemble take a training step together by
        :func:`torch.func.vmap`, rather than one by one. A trial in the first step
        compares outputs and gradients, and a module that fails it is run one by one:
        one that draws random numbers, changes buffers, or mixes the rows of a batch.
        "auto" tries it for four networks or more where one by one is mostly overhead;
        True tries it always and raises where it fails.

    See Also
    --------
    HardSharing : Layers of our own, much faster for an ensemble on a table.
    skmtl.encoding.Raw : What ``encoding=None`` stands for here.

    Notes
    -----
    Nothing is scaled: standardise X, or pass ``encoding=Standard()`` for a table. The
    encodings of folds may differ in width; the module gets all of them padded with
    zeros to the widest.

    In training the global generators of torch are seeded for each network and put back
    afterwards, so :class:`torch.nn.Dropout` and kin repeat, and fits in threads take
    turns. Predictions are computed in evaluation mode and, on the CPU, in float64; a
    module that cannot is run in float32. Layers whose rows see each other in
    evaluation make a prediction depend on the rows beside it.

    X of more than two dimensions stays in float32 unless it is float64. A fit holds two
    copies besides the X given, one checked and one on the training device.

    Weight decay acts on parameters whose name ends in ``weight``.

    References
    ----------
    .. [1] R. Caruana (1997). Multitask Learning. Machine Learning 28, 41-75.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from skmtl import MultiTaskNetRegressor
    >>> from skmtl.architecture import TorchModule
    >>> trunk = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
    >>> X = np.random.default_rng(0).normal(size=(30, 1, 5, 5)).astype(np.float32)
    >>> y = X.mean(axis=(2, 3)) * [1.0, 2.0]
    >>> model = MultiTaskNetRegressor(TorchModule(trunk), n_estimators=1, max_epochs=2)
    >>> model.fit(X, y).architecture_.n_features
    36
    """

    _fusable = ("task_shrinkage",)
    _parameter_constraints = {
        "module": [nn.Module, callable],
        "module_params": [dict, None],
        "task_shrinkage": [Interval(Real, 0, None, closed="left")],
        "vmap": [StrOptions({"auto"}), "boolean"],
    }

    reads_raw = True

    def __init__(self, module, module_params=None, *, task_shrinkage=10.0, vmap="auto"):
        self.module = module
        self.module_params = module_params
        self.task_shrinkage = task_shrinkage
        self.vmap = vmap

    def get_params(self, deep=True):
        """List the parameters, those of the module's class included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list ``module__name`` for each of `module_params`.

        Returns
        -------
        params : dict
            From name to value.
        """
        params = super().get_params(deep=False)
        if deep and isinstance(self.module_params, dict):
            own = self.module_params.items()
            params |= {f"module__{name}": value for name, value in own}
        return params

    def set_params(self, **params):
        """Set parameters, those of the module's class included.

        Parameters
        ----------
        **params : dict
            ``module__name`` goes into a copy of `module_params`.

        Returns
        -------
        self : TorchModule
            The object.

        Raises
        ------
        ValueError
            If the module is an instance, or its class has no such parameter.
        """
        prefix = "module__"
        nested = {
            name.removeprefix(prefix): value
            for name, value in params.items()
            if name.startswith(prefix)
        }
        plain = {n: v for n, v in params.items() if not n.startswith(prefix)}
        super().set_params(**plain)
        if nested:
            self._check_class_takes(nested)
            self.module_params = {**(self.module_params or {}), **nested}
        return self

    def _check_class_takes(self, names):
        first = next(iter(names))
        if isinstance(self.module, nn.Module):
            raise ValueError(
                f"module__{first} cannot be set: the module of TorchModule is an "
                f"instance of {type(self.module).__name__}, which is made already. "
                "Pass the class, and its arguments as module_params."
            )
        try:
            taken = inspect.signature(self.module).parameters
        except ValueError:  # a class that hides its signature
            return
        if any(p.kind is p.VAR_KEYWORD for p in taken.values()):
            return
        for name in names:
            if name not in taken:
                raise ValueError(
                    f"Invalid parameter {name!r} for the module "
                    f"{getattr(self.module, '__name__', self.module)} of TorchModule. "
                    f"Valid parameters are: {list(taken)}."
                )

    def build(self, shape, streams=None):
        """Make the trunk of every network, and the heads.

        Parameters
        ----------
        shape : BankShape
            Sizes of the bank.
        streams : Streams, optional
            Source of the initial weights.

        Returns
        -------
        module : TorchModuleModule
            The bank.

        Raises
        ------
        ValueError
            If the module cannot be made or run on such rows.
        """
        return TorchModuleModule(self, shape, streams)

    def make(self, seed, input_shape):
        """Make one module and find its sizes.

        Parameters
        ----------
        seed : int
            Of the global generator for as long as this takes.
        input_shape : tuple of int
            Of a row.

        Returns
        -------
        module : Module
            New, or a copy of the instance; on the CPU.
        measures : Measures
            Of the module.
        """
        with seeded(seed):
            if isinstance(self.module, nn.Module):
                if self.module_params:
                    raise ValueError(
                        "module_params are for a class, and the module of TorchModule "
                        f"is an instance of {type(self.module).__name__}. Pass the "
                        "class, or leave module_params out."
                    )
                module = copy.deepcopy(self.module)
            else:
                module = self.module(**(self.module_params or {}))
            if not isinstance(module, nn.Module):
                raise ValueError(
                    "The 'module' parameter of TorchModule must be or make a "
                    f"torch.nn.Module. Got {type(module).__name__} instead."
                )
            module = module.cpu()
            return module, measured(module, input_shape)


class TorchModuleModule(TrunkModule):
    """The bank that :class:`TorchModule` builds.

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
            seeds = self.streams.each(
                lambda key, size: size and _seed(self.streams, key, "step"), sizes
            )
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
