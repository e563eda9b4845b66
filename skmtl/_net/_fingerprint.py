"""What a training depends on, in a form to compare with another's."""

import hashlib
import re

import numpy as np
import torch
from sklearn.base import BaseEstimator


def fingerprint(training):
    """Describe data, plans and settings of a training.

    Parameters
    ----------
    training : BankTraining
        Any.

    Returns
    -------
    marks : dict of str to str
        By the name of what is described; two trainings with equal marks take the same
        course.
    """
    data = training.data
    # Networks of a guard differ from these in what they learn alone.
    plans = [plan for plan in training.plans if plan.only_column is None]
    choices = [vars(plan.hyperparameters) for plan in plans]
    settings = {
        name: _readable([choice[name] for choice in choices]) for name in choices[0]
    }
    return {
        "n_estimators": str(len(plans)),
        "starting weights": digest(training.start),
        "X": digest(data.X),
        "y": digest([data.y, data.encoder.classes]),
        "sample_weight": digest(data.weight),
        "task": digest([data.task, data.task_names]),
        "random_state": digest([plan.seed for plan in plans]),
        "held-out rows": digest([[p.train_rows, p.valid_rows] for p in plans]),
        "encoding": digest([[p.encoder, p.targets] for p in plans]),
        "guard": str(len(plans) < len(training.plans)),
        **settings,
        "dtype": str(training.table.dtype).removeprefix("torch."),
        "device": training.device.type,
    }


def check_fingerprint(found, wanted):
    """Refuse a checkpoint that another fit has written.

    Parameters
    ----------
    found, wanted : dict of str to str
        Marks of the checkpoint, and of the training that is to go on.

    Raises
    ------
    ValueError
        If they differ; the message names all that does.
    """
    names = [n for n in {**wanted, **found} if found.get(n) != wanted.get(n)]
    if not names:
        return
    hints = ""
    if "random_state" in names:
        hints = (
            " Pass an int as random_state: with None every fit draws other seeds and "
            "folds, and so does a RandomState instance that has been used."
        )
    shown = [
        f"{name} ({found.get(name)} there, {wanted.get(name)} here)"
        if len(f"{found.get(name)}{wanted.get(name)}") < 60 and not _is_digest(name)
        else name
        for name in names
    ]
    raise ValueError(
        "The checkpoint was written by another fit and cannot be gone on from. It "
        f"differs in: {', '.join(shown)}.{hints} Fit with the data and settings it was "
        "written with, or give the checkpoint an empty directory."
    )


def digest(thing):
    """Hash nested containers, arrays and plain objects.

    Parameters
    ----------
    thing : object
        Objects are read through their attributes.

    Returns
    -------
    digest : str
        Sixteen hexadecimal digits.
    """
    hashed = hashlib.blake2b(digest_size=8)
    _update(hashed, thing)
    return hashed.hexdigest()


_DIGESTS = {
    "starting weights",
    "X",
    "y",
    "sample_weight",
    "task",
    "random_state",
    "held-out rows",
    "encoding",
}


def _is_digest(name):
    return name in _DIGESTS


def _update(hashed, thing):
    hashed.update(f"{type(thing).__name__}(".encode())
    if isinstance(thing, torch.Tensor):
        thing = thing.detach().cpu().numpy()
    if isinstance(thing, np.ndarray) and thing.dtype.kind in "biufc":
        hashed.update(f"{thing.dtype}{thing.shape}".encode())
        hashed.update(np.ascontiguousarray(thing))
    elif isinstance(thing, np.ndarray):
        hashed.update(repr(thing.tolist()).encode())
    elif isinstance(thing, dict):
        for name, value in thing.items():
            hashed.update(repr(name).encode())
            _update(hashed, value)
    elif isinstance(thing, list | tuple):
        for value in thing:
            _update(hashed, value)
    elif hasattr(thing, "__dict__") and not isinstance(thing, type):
        _update(hashed, vars(thing))
    else:
        hashed.update(_text(thing).encode())
    hashed.update(b")")


def _readable(values):
    texts = [_text(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _text(value):
    if isinstance(value, BaseEstimator):
        params = value.get_params(deep=False).items()
        inside = ", ".join(f"{name}={_text(v)}" for name, v in sorted(params))
        return f"{type(value).__name__}({inside})"
    if isinstance(value, np.ndarray):
        return f"array {digest(value)}"
    # Addresses of functions and modules are other ones in every process.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
