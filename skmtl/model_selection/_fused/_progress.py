"""What a search tells while its banks train."""

from time import perf_counter

# Seconds between two lines.
_PAUSE = 2.0


def tell(line):
    """Print a line of the progress, as the searches of scikit-learn do.

    Parameters
    ----------
    line : str
        To print.
    """
    print(line)  # noqa: T201


class Progress:
    """Print a line about a bank now and then; called after every epoch.

    Parameters
    ----------
    number, n_banks : int
        Which bank it is, from 0, and how many there are.
    """

    def __init__(self, number, n_banks):
        self.number = number
        self.n_banks = n_banks
        self._start = self._told = None

    def __call__(self, net):
        """Tell of an epoch.

        Parameters
        ----------
        net : JointNet
            In training.
        """
        now = perf_counter()
        training = net._training
        if self._start is None:
            self._start = self._told = now
        if now - self._told < _PAUSE and len(training.live):
            return
        self._told = now
        tell(
            f"[bank {self.number + 1}/{self.n_banks}] epoch {training.epoch}"
            f"/{net.max_epochs}: {int(training.counted.sum())} of "
            f"{len(training.plans)} networks in training, {now - self._start:.0f} s"
        )
