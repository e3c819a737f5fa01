"""Publishers in processes of their own, some of which are killed or lose the answer to their commit."""

from __future__ import annotations

import logging
import os
import signal
import sys

from steno.publish import catalogue as catalogues
from steno.publish.iceberg import Publisher
from steno.store.stock import stock_of


def lossy(uri, *, then):
    """A catalogue whose commit succeeds, and whose answer does not arrive."""
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.exceptions import CommitStateUnknownException

    class Lossy(SqlCatalog):
        def commit_table(self, table, requirements, updates):
            answer = super().commit_table(table, requirements, updates)
            if then.pop(0) if then else False:
                raise CommitStateUnknownException("the connection was lost")
            return answer

    return Lossy("steno", uri=uri)


def killed(uri):
    """A catalogue whose first commit succeeds and ends the process."""
    from pyiceberg.catalog.sql import SqlCatalog

    class Killed(SqlCatalog):
        def commit_table(self, table, requirements, updates):
            super().commit_table(table, requirements, updates)
            os.kill(os.getpid(), signal.SIGKILL)

    return Killed("steno", uri=uri)


def publish(place, uri, manner="plain"):
    """One publisher: plain, lossy or killed."""
    logging.getLogger("pyiceberg").setLevel(logging.ERROR)
    catalogues.open_catalogue(uri)  # has made the database's tables, which `lossy` and `killed` expect
    make = {
        "plain": lambda: catalogues.open_catalogue(uri),
        "lossy": lambda: lossy(uri, then=[True, False, True]),
        "killed": lambda: killed(uri),
    }
    return Publisher(stock_of(place), make[manner](), repair=False).publish()


if __name__ == "__main__":  # a publication for each line of the input, which says the manner
    _, at, catalogue = sys.argv
    for line in sys.stdin:
        publish(at, catalogue, line.strip())
        print("done", flush=True)
