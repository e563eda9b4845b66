"""Every weighting in a bank of unequal networks: each comes out as it would alone."""

import numpy as np
import pytest
from sklearn.base import clone

from skmtl.architecture import HardSharing
from skmtl.encoding import PiecewiseLinear

from .instances import STRATEGIES


def variants():
    """List the rows of the table, at the other gradients and with held weights too."""
    found = []
    for row in STRATEGIES["weighting"]:
        known = row.strategy.get_params()
        changes = [{}]
        if "gradients" in known:
            other = {"features": "parameters", "parameters": "features"}
            changes.append({"gradients": other[known["gradients"]]})
        if "update_every" in known:
            changes.append({"update_every": 3})
        for change in changes:
            weighting = clone(row.strategy).set_params(**change)
            name = repr(weighting).replace("\n", "")
            row_tasks = row.row_tasks and change.get("gradients") != "features"
            found.append(pytest.param(weighting, row_tasks, id=name))
    return found


@pytest.mark.parametrize(("weighting", "row_tasks"), variants())
def test_networks_of_an_uneven_bank_come_out_as_alone(
    weighting, row_tasks, make_data, make_plan, assert_one_by_one
):
    """Rows, batches, inputs, labels and epochs differ, and networks leave the bank."""
    every = np.arange(40)
    own = [
        {"train_rows": every[7:], "max_epochs": 4},
        {
            "train_rows": every[:26],
            "valid_rows": every[26:],
            "n_iter_no_change": 2,
            "encoding": PiecewiseLinear(4),
        },
        {"train_rows": every[3:8], "max_epochs": 2},
        {
            "train_rows": every[::2],
            "valid_rows": every[1::2],
            "n_iter_no_change": 2,
            "batch_size": 7,
        },
    ]
    # Of the random streams of another, on other rows.
    own.append(
        own[1] | {"train_rows": every[14:], "valid_rows": every[:14], "lr": 0.01}
    )
    for columns in (True, False) if row_tasks else (True,):
        data = make_data(n_tasks=4, missing=0.3, row_tasks=not columns)
        if columns:
            # Most batches have no label of this one.
            data.weight[5::3, 3] = data.weight[6::3, 3] = 0.0
        shared = {
            "architecture": HardSharing((8, 6), activation="tanh"),
            "weighting": weighting,
            "lr": 0.05,
            "max_epochs": 8,
        }
        plans = [
            make_plan(data, k % 3, **shared | kwargs) for k, kwargs in enumerate(own)
        ]
        assert_one_by_one(plans, data)
