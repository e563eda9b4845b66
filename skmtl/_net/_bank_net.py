"""The skorch net that holds a bank and predicts with it."""

import copy
from dataclasses import replace

import numpy as np
import torch
from skorch import NeuralNet

from ._devices import available_device
from ._guard import Guard
from ._join import joined_history, joined_net
from ._rows_dataset import RowsDataset

# Floats in one layer of a forward pass in prediction; about the size of a cache.
_PREDICT_FLOATS = 2**17
_PREDICT_ROWS = 64


class BankNet(NeuralNet):
    """Hold a bank of networks as one skorch net; subclasses train it.

    Parameters
    ----------
    blueprint : Blueprint
        Of the bank.
    decode : {"numbers", "labels"}, default="numbers"
        How ``predict`` reports.
    **kwargs : dict
        Passed to :class:`skorch.NeuralNet`.

    Attributes
    ----------
    guard : Guard or None
        Networks of single columns whose outputs are blended into those of the bank.
    kriging : Kriging or None
        Corrects the mean predictions of all networks; some of them have none.
    """

    def __init__(self, blueprint, decode="numbers", **kwargs):
        kwargs.setdefault("module", None)
        kwargs.setdefault("criterion", torch.nn.Identity)
        super().__init__(**kwargs)
        self.blueprint = blueprint
        self.decode = decode
        self.interrupted_ = False
        self.guard = None
        self.kriging = None

    def initialize_module(self):
        """Build the bank, with weights to be loaded.

        Returns
        -------
        self : BankNet
            The net.
        """
        self.module_ = self.blueprint.build().eval()
        return self.settle()

    def initialize_optimizer(self, triggered_directly=None):
        """Do without an optimizer.

        Parameters
        ----------
        triggered_directly : bool, optional
            Unused.

        Returns
        -------
        self : BankNet
            The net.
        """
        return self

    def settle(self):
        """Turn a trained module to float64 on the CPU, where it predicts from now on.

        Returns
        -------
        self : BankNet
            The net. On other devices nothing changes.
        """
        if torch.device(self.device).type == "cpu":
            self.module_.double()
        return self

    def outputs(self, table, task=None):
        """Yield the raw outputs of all networks, some rows at a time.

        Parameters
        ----------
        table : ndarray of shape (n_rows, n_features)
            Raw rows.
        task : ndarray of shape (n_rows,), int, optional
            Row tasks; one past the last for unknown ones, and behind it those that the
            architecture has descriptors of.

        Yields
        ------
        outputs : Tensor of shape (n_networks, n_chunk, n_outputs)
            Blended with those of the guard. In float64 once a net on the CPU is
            trained, so that a prediction does not depend on the rows beside it.
        """
        module = self.module_
        if module.training:
            module.eval()
        with torch.no_grad():
            for inputs, own in self._batches(table, task):
                outputs = module(inputs, own)
                yield (
                    outputs if self.guard is None else self.guard.blend(outputs, inputs)
                )

    def note_rows(self, table, task=None):
        """Show the rows of training to the architecture, once it is trained.

        Parameters
        ----------
        table : ndarray of shape (n_rows, n_features)
            Raw rows.
        task : ndarray of shape (n_rows,), int, optional
            Row tasks.
        """
        module = self.module_.eval()
        with torch.no_grad():
            module.architecture.note_rows(
                (module.embedding(inputs), own)
                for inputs, own in self._batches(table, task)
            )

    def _batches(self, table, task):
        """Yield encoded rows and their tasks, some rows at a time."""
        module = self.module_
        chunk = _PREDICT_ROWS
        if len(table) > chunk:
            n_networks = len(module.encoder.order)
            fit = _PREDICT_FLOATS // (n_networks * module.architecture.widest)
            chunk = max(chunk, fit)
        parameter = next(module.architecture.parameters())
        for start in range(0, len(table), chunk):
            raw = _tensor(table[start : start + chunk])
            raw = raw.to(module.encoder.table.dtype).to(parameter.device)
            inputs = module.encoder(raw).to(parameter.dtype)
            own = None
            if task is not None:
                own = _tensor(task[start : start + chunk], raw.device)
                own = own.expand(len(module.encoder.order), -1)
            yield inputs, own

    def features(self, table):
        """Compute what linear heads of new tasks read.

        Parameters
        ----------
        table : ndarray of shape (n_rows, n_features)
            Raw rows.

        Returns
        -------
        features : ndarray of shape (n_networks, n_rows, n_features), float64
            By network.
        """
        module = self.module_
        if module.encoder.table.device.type != "cpu":
            module = copy.deepcopy(module).cpu().double()
        with torch.no_grad():
            inputs = module.embedding(module.encoder(_tensor(table).double()))
            return module.architecture.readout(inputs).numpy()

    def with_heads(self, blueprint, weight, bias):
        """Make a net with the same trunk and new linear heads.

        Parameters
        ----------
        blueprint : Blueprint
            Of the new net, in float64.
        weight : ndarray of shape (n_networks, n_features, n_outputs)
            Of the heads.
        bias : ndarray of shape (n_networks, n_outputs)
            Of the heads.

        Returns
        -------
        net : BankNet
            The trunk is copied; the history is shared.
        """
        net = self._with_trunk(blueprint)
        net.module_.architecture.set_linear_head(
            torch.from_numpy(weight), torch.from_numpy(bias)
        )
        return net

    def with_learned_task(self, blueprint, table, targets, weight, task):
        """Make a net with the same trunk that learns one new task.

        Parameters
        ----------
        blueprint : Blueprint
            Of the new net, in float64.
        table : ndarray of shape (n_rows, n_features)
            Raw rows of the task.
        targets, weight : ndarray of shape (n_rows, n_columns)
            Encoded labels, 0 where missing, and their weights.
        task : int
            Number of the task; that of no task if nothing is known of it.

        Returns
        -------
        net : BankNet
            The trunk is copied; the history is shared.
        """
        net = self._with_trunk(blueprint)
        module = net.module_.cpu()
        with torch.no_grad():
            inputs = module.embedding(module.encoder(_tensor(table).double()))
        labels = (torch.from_numpy(part)[None] for part in (targets, weight))
        module.architecture.learn_task(module.losses, inputs, *labels, task)
        module.to(net.device)
        return net

    def _with_trunk(self, blueprint):
        net = type(self)(blueprint, decode=self.decode, device=self.device, verbose=0)
        net.initialize()
        net.module_.embedding.load_state_dict(self.module_.embedding.state_dict())
        net.module_.architecture.take_trunk(self.module_.architecture)
        net.module_.eval()
        net.history = self.history
        return net

    def forward_iter(self, X, training=False, device="cpu"):
        """Yield the members' mean prediction, some rows at a time.

        Parameters
        ----------
        X : RowsDataset or ndarray of shape (n_rows, n_features)
            Raw rows.
        training : bool, default=False
            Unused: predictions are made in evaluation mode.
        device : str, default="cpu"
            Where the predictions go.

        Yields
        ------
        predictions : Tensor of shape (n_chunk, n_predictions)
            Scaled numbers, or probabilities.
        """
        if not isinstance(X, RowsDataset):
            X = np.asarray(X, dtype=np.float64)
            X = RowsDataset(X if X.ndim == 2 else X.reshape(len(X), -1))
        start = 0
        for outputs in self.outputs(X.table, X.task):
            predictions = self.module_.losses.predict(outputs)
            if self.kriging is not None:
                rows = X.table[start : start + len(predictions)]
                predictions = self.kriging.correct(predictions, rows)
            start += len(predictions)
            yield predictions.to(device)

    def columns(self, X):
        """Predict each label column.

        Parameters
        ----------
        X : RowsDataset or ndarray of shape (n_rows, n_features)
            Raw rows.

        Returns
        -------
        columns : list of ndarray of shape (n_rows, n_predictions)
            For the methods of TaskEncoder.
        """
        predictions = torch.cat(list(self.forward_iter(X)))
        return self.module_.losses.split(predictions.cpu().double().numpy())

    def member_numbers(self, X):
        """Predict the columns of numbers by every member.

        Parameters
        ----------
        X : RowsDataset
            Raw rows.

        Returns
        -------
        numbers : ndarray of shape (n_networks, n_rows, n_columns), float64
            In units of the labels; NaN for columns of classes.
        """
        losses, targets = self.module_.losses, self.blueprint.targets
        links = [losses.link(o).cpu().double() for o in self.outputs(X.table, X.task)]
        columns = losses.points(losses.split(torch.cat(links, dim=1).numpy()))
        numbers = [
            targets.rescale(j, column[..., 0])
            if targets.classes[j] is None
            else np.full(column.shape[:-1], np.nan)
            for j, column in enumerate(columns)
        ]
        return np.stack(numbers, axis=-1)

    def predict(self, X):
        """Predict as the estimator does.

        Parameters
        ----------
        X : RowsDataset or ndarray of shape (n_rows, n_features)
            Raw rows, without the task column.

        Returns
        -------
        y : ndarray of shape (n_rows,) or (n_rows, n_columns)
            Numbers or class labels.
        """
        columns = self.module_.losses.points(self.columns(X))
        return getattr(self.blueprint.targets, self.decode)(columns)

    def predict_proba(self, X):
        """Predict class probabilities.

        Parameters
        ----------
        X : RowsDataset or ndarray of shape (n_rows, n_features)
            Raw rows, without the task column.

        Returns
        -------
        proba : ndarray of shape (n_rows, n_classes) or list of them
            Sum to 1 over classes.
        """
        return self.blueprint.targets.probabilities(self.columns(X))

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Compute the loss of each cell of a batch.

        Parameters
        ----------
        y_pred : Tensor of shape (n_networks, n_rows, n_outputs)
            Outputs of the module.
        y_true : Tensor of shape (n_networks, n_rows, n_columns)
            Encoded labels.
        X : None
            Unused.
        training : bool, default=False
            Unused.

        Returns
        -------
        cells : Tensor of shape (n_networks, n_rows, n_columns)
            Unweighted.
        """
        return self.module_.losses.cells(y_pred, y_true)

    def __getstate__(self):
        """Reduce the net to numpy arrays, names and plain Python.

        Returns
        -------
        state : dict
            Callbacks and the optimizer are left out.
        """
        # Settling in float64 added digits that are zero; they need not be stored.
        dtype = getattr(torch, self.blueprint.dtype)
        return {
            "blueprint": self.blueprint,
            "decode": self.decode,
            "arrays": {
                name: tensor.to("cpu", dtype if tensor.is_floating_point() else None)
                .numpy()
                .copy()
                for name, tensor in self.module_.state_dict().items()
            },
            "device": str(self.device),
            "history": [dict(row) for row in self.history or []],
            "interrupted": self.interrupted_,
            "guard": None if self.guard is None else vars(self.guard),
            # A copy leaves behind what is derived from the rest.
            "kriging": None if self.kriging is None else replace(self.kriging),
        }

    def __setstate__(self, state):
        """Rebuild the net, on its device when that is there and on the CPU otherwise.

        Parameters
        ----------
        state : dict
            From :meth:`__getstate__`.
        """
        device = available_device(state["device"])
        self.__init__(
            state["blueprint"], decode=state["decode"], device=device, verbose=0
        )
        self.initialize()
        self.load_arrays(state["arrays"])
        self.history = joined_history([state["history"]])
        self.interrupted_ = state["interrupted"]
        if state["guard"] is not None:
            self.guard = Guard(**state["guard"])
        self.kriging = state["kriging"]

    def load_arrays(self, arrays):
        """Load weights.

        Parameters
        ----------
        arrays : dict of str to ndarray
            Every parameter and buffer of the module.

        Returns
        -------
        self : BankNet
            The net.
        """
        self.module_.load_state_dict(
            {n: torch.from_numpy(a) for n, a in arrays.items()}
        )
        self.module_.eval()
        return self

    def take(self, index):
        """Make a net of some of the networks.

        Parameters
        ----------
        index : sequence of int
            Positions of the networks.

        Returns
        -------
        net : BankNet
            With copies of their weights and the whole history.
        """
        return self.part(index, self.__getstate__()["arrays"])

    def part(self, index, arrays, targets=None):
        """Make a net of some of the networks, whose weights were read before.

        Parameters
        ----------
        index : sequence of int
            Positions of the networks.
        arrays : dict of str to ndarray
            The state of this net, read once for many parts.
        targets : TaskEncoder, optional
            What the part decodes its predictions by; by default as this net.

        Returns
        -------
        net : BankNet
            With copies of their weights and the whole history.
        """
        blueprint = self.blueprint.take(index)
        if targets is not None:
            blueprint = replace(blueprint, targets=targets)
        net = type(self)(blueprint, decode=self.decode, device=self.device, verbose=0)
        net.initialize()
        net.load_arrays({n: a[list(index)] for n, a in arrays.items()})
        net.history = self.history
        net.interrupted_ = self.interrupted_
        if self.guard is not None:
            net.guard = self.guard.take(index)
        return net

    @classmethod
    def join(cls, nets):
        """Make a net of the networks of several.

        Parameters
        ----------
        nets : sequence of BankNet
            Of the same tasks and of strategies that fuse; their padded widths may
            differ.

        Returns
        -------
        net : BankNet
            With copies of the weights, and with the epochs of all histories.
        """
        return joined_net(cls, nets)


def _tensor(array, device="cpu"):
    """Copy an array that may be read-only or run backwards."""
    return torch.tensor(np.ascontiguousarray(array), device=device)
