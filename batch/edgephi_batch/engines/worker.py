"""A worker process: receives the work, then items, and sends their rows back.

python -m edgephi_batch.engines.worker DESCRIPTOR     of a socket that it inherits
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from edgephi.base.errors import EdgeError
from edgephi_batch.work.item_runner import ItemRunner


def serve(descriptor: int) -> None:
    """Until the other end is gone, which ends the worker after the item at hand."""
    connection = Connection(descriptor)
    with suppress(EOFError, ConnectionError):
        work, item_s = connection.recv()
        try:
            runner = ItemRunner(work, item_s)
        except Exception as raised:  # sent to where somebody can read it
            known = isinstance(raised, EdgeError)
            connection.send(raised if known else EdgeError(f"{type(raised).__name__}: {raised}"))
            return
        connection.send(None)
        while True:
            connection.send(runner.run(connection.recv()))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
    os._exit(0)  # freeing a large model takes seconds
