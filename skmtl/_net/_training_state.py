"""The whole state of a training, to be saved and taken up again."""

import numpy as np
import torch

from ._best_epochs import network_tensors
from ._fingerprint import check_fingerprint

# Counts changes of the form below.
_FORM = 3


def training_state(training):
    """Give the state of a training between two epochs.

    Parameters
    ----------
    training : BankTraining
        Any.

    Returns
    -------
    state : dict
        Tensors on the CPU and plain Python, which ``torch.load`` reads with
        ``weights_only=True``.

    Raises
    ------
    RuntimeError
        In the middle of an epoch, where streams and sums are under way.
    """
    if training.in_epoch:
        raise RuntimeError("A training has no state in the middle of an epoch.")
    names = list(training.data.task_names)
    lost = training.diverged.items()
    running = len(training.live) > 0
    return {
        "form": _FORM,
        "fingerprint": training.fingerprint,
        "epoch": training.epoch,
        "live": [int(k) for k in training.live],
        "stopped": torch.from_numpy(training._stopped.copy()),
        "last_epoch": torch.from_numpy(training.last_epoch.copy()),
        "diverged": [[k, epoch, names.index(task)] for k, (epoch, task) in lost],
        "weights": [torch.from_numpy(w) for w in training.weight_history],
        "conflict": [torch.from_numpy(c) for c in training.conflict_history],
        "best": training.best.state(),
        "whole": _copied(training.module),
        # The bank of the networks that still train, where it is a smaller one.
        "bank": _copied(training._live_module) if running else {},
        "optimizer": training.optimizer.state_dict() if running else None,
        "streams": training.streams.state(),
    }


def restore_training(training, state):
    """Let a training that was just built go on where another was.

    Parameters
    ----------
    training : BankTraining
        Of the same plans and data, before its first epoch.
    state : dict
        From :func:`training_state`. From here on, the training takes the course of
        the one it comes from, bit for bit on the CPU.

    Raises
    ------
    ValueError
        If the state is of another form, or of other data, plans or settings.
    """
    if not isinstance(state, dict) or state.get("form") != _FORM:
        raise ValueError(
            "The file of the checkpoint's f_optimizer does not hold the state of a "
            "training of this version of skmtl. Give the checkpoint an empty directory."
        )
    check_fingerprint(state["fingerprint"], training.fingerprint)
    load_tensors(training.module, state["whole"])
    live = np.array(state["live"], int)
    if not len(live):
        training.live = live
    else:
        if len(live) < len(training.plans):
            training._compact(live)
        load_tensors(training._live_module, state["bank"])
        training.optimizer.load_state_dict(state["optimizer"])
    names = training.data.task_names
    training.epoch = state["epoch"]
    training._stopped[:] = state["stopped"].numpy()
    training.last_epoch[:] = state["last_epoch"].numpy()
    training.diverged = {k: (epoch, names[t]) for k, epoch, t in state["diverged"]}
    training.weight_history = [weights.numpy() for weights in state["weights"]]
    training.conflict_history = [cosines.numpy() for cosines in state["conflict"]]
    training.best.restore(state["best"], training.device)
    training.streams.restore(state["streams"])


@torch.no_grad()
def load_tensors(module, tensors):
    """Copy tensors of networks into a module.

    Parameters
    ----------
    module : BankModule
        Where to.
    tensors : dict of str to Tensor
        By the names of :func:`~skmtl._net._best_epochs.network_tensors`.
    """
    own = network_tensors(module)
    for name, tensor in tensors.items():
        own[name].copy_(tensor)


def _copied(module):
    return {n: t.cpu().clone() for n, t in network_tensors(module).items()}
