"""Checkpoints that hold a whole training, through skorch's own callbacks."""

import torch
from skorch import NeuralNet
from skorch.history import History

from ._files import written_whole
from ._training_state import restore_training, training_state


class ResumableNet(NeuralNet):
    """Save and load the state of the training in the file of the optimizer.

    skorch's ``Checkpoint`` writes several files, and ``LoadInitState`` reads them when
    training begins. Here the file named by ``f_optimizer`` holds all that it takes to
    go on, the weights and the history included, so that no kill between two files can
    tear them apart; and each file is written beside and moved into place, so that no
    kill while writing can spoil it.
    """

    # Whether callbacks are told of the beginning: only then is a state taken over.
    _begins = False

    def save_params(self, f_params=None, f_optimizer=None, **kwargs):
        """Save parts of the net, each file whole or not at all.

        Parameters
        ----------
        f_params : str, Path or file-like, optional
            Where the current weights go.
        f_optimizer : str, Path or file-like, optional
            Where the state of the training goes; after the training there is none.
        **kwargs : dict
            The other files of :meth:`skorch.NeuralNet.save_params`.
        """
        if f_optimizer is not None and self._training is not None:
            state = {
                "training": training_state(self._training),
                "history": [dict(row) for row in self.history],
            }
            with written_whole(f_optimizer) as target:
                torch.save(state, target)
        files = {"f_params": f_params, **kwargs}
        for name in [name for name in files if name.startswith("f_")]:
            file = files.pop(name)
            if file is not None:
                with written_whole(file) as target:
                    super().save_params(**{name: target}, **_others(files))

    def load_params(self, f_params=None, f_optimizer=None, checkpoint=None, **kwargs):
        """Load weights, or, when a training begins, its whole state.

        Parameters
        ----------
        f_params : str, Path or file-like, optional
            Weights.
        f_optimizer : str, Path or file-like, optional
            State of a training.
        checkpoint : Checkpoint, optional
            Of skorch; its files are read.
        **kwargs : dict
            The other arguments of :meth:`skorch.NeuralNet.load_params`.

        Raises
        ------
        ValueError
            If a training begins and the checkpoint saves no ``f_optimizer``, or was
            written by a fit of other data or settings.
        """
        if self._begins:
            self._resume(f_optimizer or self._file_of_state(checkpoint))
            return
        if checkpoint is None:
            super().load_params(f_params=f_params, **kwargs)
            return
        # There is no optimizer to load into once training has ended.
        if checkpoint.f_history is not None:
            self.history = History.from_file(checkpoint.f_history_)
        files = checkpoint.get_formatted_files(self)
        for name in ("f_optimizer", "f_history", "f_pickle"):
            files.pop(name, None)
        files["f_params"] = f_params or files.get("f_params")
        files = {name: file for name, file in files.items() if file is not None}
        super().load_params(**files, **kwargs)

    def _file_of_state(self, checkpoint):
        if checkpoint is None or checkpoint.f_optimizer is None:
            raise ValueError(
                "To go on from a checkpoint, it has to save the training's state: "
                "leave its f_optimizer as it is."
            )
        fresh = self.history
        try:
            if checkpoint.f_history is not None:
                # The names of the files may depend on the epoch.
                self.history = History.from_file(checkpoint.f_history_)
            return checkpoint.get_formatted_files(self)["f_optimizer"]
        finally:
            self.history = fresh

    def _resume(self, file):
        state = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or "training" not in state:
            state = {"training": None}
        restore_training(self._training, state["training"])
        self.history = History(state["history"])


def _others(files):
    return {n: value for n, value in files.items() if not n.startswith("f_")}
