"""Arguments that hold one value for all tasks, one a task, or some by name."""


def per_task(argument, value, names, *, dict_by_name=True):
    """Spread an argument over the tasks.

    Parameters
    ----------
    argument : str
        What the user calls it, for messages.
    value : object, list, tuple or dict
        One value for all tasks, one a task, or values by name.
    names : sequence, length n_tasks
        Task names.
    dict_by_name : bool, default=True
        Whether a dict holds values by name; otherwise it is a value itself.

    Returns
    -------
    values : list, length n_tasks
        None for tasks that a dict leaves out.

    Raises
    ------
    ValueError
        If a name is unknown or a list has the wrong length.
    """
    names = list(names)
    if isinstance(value, dict) and dict_by_name:
        unknown = [name for name in value if name not in names]
        if unknown:
            raise ValueError(
                f"{argument} names {unknown[0]!r}, which is not a task. The tasks are "
                f"{names[:10]}."
            )
        return [value.get(name) for name in names]
    if isinstance(value, (list, tuple)):
        if len(value) != len(names):
            raise ValueError(
                f"{argument} has {len(value)} entries, but there are {len(names)} "
                f"tasks: {names[:10]}. Pass one a task, or a dict by name."
            )
        return list(value)
    return [value] * len(names)
