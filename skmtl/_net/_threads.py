"""A thread count for the length of a fit."""

import threading
from contextlib import contextmanager

import torch

# Multiply-adds of one training step below which a second thread costs more than it
# brings; by measurement, see examples/benchmarks/bench_throughput.py.
_WORK_PER_THREAD = 1e7

_lock = threading.Lock()
_fits = 0
_before = None


@contextmanager
def threads_for(work):
    """Keep torch to one thread while small operations run, and restore the count.

    Threads that wait for each other at every small operation are slower than one, and
    slower by far when another process wants the same cores. Fits that run side by side
    in threads share one restoration: the last to leave puts the count back.

    Parameters
    ----------
    work : float
        Multiply-adds of one training step of the whole bank.

    Yields
    ------
    None
        The count is restored afterwards, also after an error.
    """
    global _fits, _before
    if work >= _WORK_PER_THREAD:
        yield
        return
    with _lock:
        if _fits == 0:
            _before = torch.get_num_threads()
            torch.set_num_threads(1)
        _fits += 1
    try:
        yield
    finally:
        with _lock:
            _fits -= 1
            if _fits == 0:
                torch.set_num_threads(_before)
