"""The best epoch of every network, and what it was like then."""

import numpy as np
import torch


class BestEpochs:
    """Keep the weights and the held-out predictions of each network's best epoch.

    Parameters
    ----------
    n_networks, n_tasks : int
        Of the whole bank.

    Attributes
    ----------
    epoch : ndarray of shape (n_networks,), int
        Counted from 1; 0 before the first.
    loss : ndarray of shape (n_networks,)
        Validation loss; infinite before the first.
    task_loss : ndarray of shape (n_networks, n_tasks)
        Validation loss of each task at the best epoch of the network; NaN where it has
        no held-out labels, and before the first.
    lowest_task_loss : ndarray of shape (n_networks, n_tasks)
        Likewise, at the epoch that was best for the task.
    predictions : list of (Tensor of shape (n_rows, n_outputs) or None)
        Raw outputs for the held-out rows.
    """

    def __init__(self, n_networks, n_tasks):
        self.epoch = np.zeros(n_networks, int)
        self.loss = np.full(n_networks, np.inf)
        self.task_loss = np.full((n_networks, n_tasks), np.nan)
        self.lowest_task_loss = self.task_loss.copy()
        self.predictions = [None] * n_networks
        self._stored = np.zeros(n_networks, bool)
        self._tensors = {}

    @torch.no_grad()
    def store(self, module, positions, networks):
        """Remember some networks as they are now.

        Parameters
        ----------
        module : BankModule
            Holds the networks in training.
        positions : ndarray of int
            Where they stand in the module.
        networks : ndarray of int
            Where they stand in the whole bank.
        """
        if not len(positions):
            return
        self._stored[networks] = True
        for name, tensor in network_tensors(module).items():
            device = tensor.device
            if name not in self._tensors:
                shape = (len(self.epoch), *tensor.shape[1:])
                self._tensors[name] = tensor.new_zeros(shape)
            source = torch.from_numpy(positions).to(device)
            target = torch.from_numpy(networks).to(device)
            kept = tensor.index_select(0, source)
            self._tensors[name].index_copy_(0, target, kept)

    @torch.no_grad()
    def put_back(self, module):
        """Give every network that was stored its stored weights.

        Parameters
        ----------
        module : BankModule
            Of the whole bank.
        """
        if not self._tensors:
            return
        for name, tensor in network_tensors(module).items():
            stored = torch.from_numpy(np.flatnonzero(self._stored)).to(tensor.device)
            tensor[stored] = self._tensors[name][stored]

    def state(self):
        """Give all that is kept.

        Returns
        -------
        state : dict
            Tensors on the CPU and plain Python, for :meth:`restore`.
        """
        return {
            "epoch": torch.from_numpy(self.epoch.copy()),
            "loss": torch.from_numpy(self.loss.copy()),
            "task_loss": torch.from_numpy(self.task_loss.copy()),
            "lowest_task_loss": torch.from_numpy(self.lowest_task_loss.copy()),
            "stored": torch.from_numpy(self._stored.copy()),
            "tensors": {n: t.cpu().clone() for n, t in self._tensors.items()},
            "predictions": [
                None if p is None else p.cpu().clone() for p in self.predictions
            ],
        }

    def restore(self, state, device):
        """Take over what was kept.

        Parameters
        ----------
        state : dict
            From :meth:`state`.
        device : torch.device
            Where tensors go.
        """
        self.epoch[:] = state["epoch"].numpy()
        self.loss[:] = state["loss"].numpy()
        self.task_loss[:] = state["task_loss"].numpy()
        self.lowest_task_loss[:] = state["lowest_task_loss"].numpy()
        self._stored[:] = state["stored"].numpy()
        self._tensors = {n: t.to(device) for n, t in state["tensors"].items()}
        self.predictions[:] = [
            None if p is None else p.to(device) for p in state["predictions"]
        ]


def held_out_means(outputs, rows, losses, n_rows, like):
    """Average the predictions for rows that were held out.

    Parameters
    ----------
    outputs : sequence of (Tensor of shape (n_own, n_outputs) or None)
        Raw outputs of each network for its held-out rows, padding behind them.
    rows : dict of int to (ndarray of int or None)
        The held-out rows of each network that counts.
    losses : ColumnLosses
        From outputs to predictions.
    n_rows : int
        Rows of the data.
    like : Tensor
        Its device and dtype are those of the sums.

    Returns
    -------
    predictions : ndarray of shape (n_rows, n_predictions), float64
        Means over networks; NaN for rows that none held out.
    """
    total = like.new_zeros(n_rows, sum(losses.widths))
    count = like.new_zeros(n_rows, 1)
    for k, own in rows.items():
        if outputs[k] is None:
            continue
        own = torch.from_numpy(own).to(like.device)
        predicted = losses.predict(outputs[k][None, : len(own)])
        total.index_add_(0, own, predicted)
        count.index_add_(0, own, torch.ones_like(count[: len(own)]))
    mean = torch.where(count > 0, total / count.clamp(min=1), torch.nan)
    return mean.cpu().double().numpy()


def network_tensors(module):
    """List what belongs to single networks: parameters, and buffers such as statistics.

    Parameters
    ----------
    module : BankModule
        Its encoder is left out, for training does not change it.

    Returns
    -------
    tensors : dict of str to Tensor of shape (n_networks, ...)
        Not copied, and not followed by autograd.
    """
    n_networks = len(module.encoder.order)
    named = [*module.named_parameters(), *module.named_buffers()]
    return {
        name: tensor.detach()
        for name, tensor in named
        if not name.startswith("encoder.") and tensor.shape[:1] == (n_networks,)
    }
