"""The workers of joblib that banks are spread over."""

from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel


class Workers:
    """Run jobs in the workers that were configured when this object was made.

    Parameters
    ----------
    n_jobs, pre_dispatch : int or None, and int or str
        As of the search.
    """

    def __init__(self, n_jobs, pre_dispatch):
        self.number = effective_n_jobs(n_jobs)
        self._many = Parallel(n_jobs=n_jobs, pre_dispatch=pre_dispatch)
        self._one = Parallel(n_jobs=1)

    def run(self, jobs):
        """Run jobs.

        Parameters
        ----------
        jobs : list of delayed
            A single one has this process and all of its threads, unless a backend with
            other machines is configured.

        Returns
        -------
        results : list
            In the same order.
        """
        return (self._one if len(jobs) == 1 else self._many)(jobs)
