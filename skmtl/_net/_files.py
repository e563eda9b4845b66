"""Files that are there whole or not at all."""

import os
from contextlib import contextmanager


@contextmanager
def written_whole(target):
    """Write beside a file, and put the new one in its place when it is complete.

    Parameters
    ----------
    target : str, Path or file-like
        The file. File-like objects are written to as they are.

    Yields
    ------
    target : str or file-like
        Where to write. After an error, or when the process is killed, the file that
        was there before is still there.
    """
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    beside = f"{os.fspath(target)}.tmp"
    yield beside
    with open(beside, "rb") as file:
        os.fsync(file.fileno())
    os.replace(beside, target)
