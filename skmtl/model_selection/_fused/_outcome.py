"""What came of a call: a result, or an error for whoever asks."""

import traceback


class Outcome:
    """Give what was found, or raise what was raised.

    Parameters
    ----------
    found : object, optional
        The result.
    error : Exception, optional
        What was raised in its stead.
    """

    def __init__(self, found=None, error=None):
        self.found = found
        self.error = error
        # Raising an error again would add to its traceback, by which scikit-learn
        # counts equal failures.
        self.trace = None if error is None else error.__traceback__

    @classmethod
    def of(cls, function, *args, **kwargs):
        """Call a function.

        Parameters
        ----------
        function : callable
            To be called.
        *args, **kwargs : object
            Its arguments.

        Returns
        -------
        outcome : Outcome
            Whatever came.
        """
        try:
            return cls(function(*args, **kwargs))
        except Exception as error:
            return cls(error=error)

    def __call__(self):
        if self.error is not None:
            raise self.error.with_traceback(self.trace)
        return self.found

    def __getstate__(self):
        # Tracebacks do not travel between processes; their text does.
        if self.error is not None and self.trace is not None:
            lines = "".join(traceback.format_exception(self.error))
            self.error.add_note(f"It was raised in another process:\n{lines}")
        return {"found": self.found, "error": self.error, "trace": None}
