"""A trunk that the user brings."""

import copy
import inspect
from numbers import Real

from torch import nn

from .._constraints import Interval, StrOptions
from .._streams import seeded
from ._base import Architecture
from ._template import measured
from ._torch_bank import TorchBank


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
    Nothing is scaled: standardise X, or pass ``encoding=Standard()`` for a table. An
    encoding is then fitted to all rows, those held out included, and shared by the
    members, so that every module sees inputs of one width.

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
        module : TorchBank
            The bank.

        Raises
        ------
        ValueError
            If the module cannot be made or run on such rows.
        """
        return TorchBank(self, shape, streams)

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
