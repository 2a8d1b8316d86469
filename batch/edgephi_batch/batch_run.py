"""One run over a corpus: what is still to do, the rows as they come, the finished file."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from edgephi.base.errors import EdgeError
from edgephi_batch.items import Item
from edgephi_batch.result_folder import ResultFolder
from edgephi_batch.row import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress:
    """How far a run is.

    Attributes:
        total: Items of the input.
        done: Of them, those with a row.
        failed: Of these, those with an error.
        new: Rows that this run made.
        elapsed_s: Since it began.
    """

    total: int
    done: int
    failed: int
    new: int
    elapsed_s: float


def run_batch(
    items: Sequence[Item],
    folder: ResultFolder,
    engine: Callable[[Sequence[Item]], Generator[Row, None, None]],
    *,
    retry_failed: bool = False,
    on_progress: Callable[[BatchProgress], None] = lambda _: None,
) -> BatchProgress:
    """Do the items that have no row yet, and finish the folder.

    Args:
        items: The input.
        folder: Where rows are kept; what it has of an earlier run is not done again.
        engine: Does items, in any order.
        retry_failed: Do also those again whose row has an error.
        on_progress: Called at the beginning and after each row.

    Returns:
        The state at the end.

    Raises:
        EdgeError: As the engine, or the folder cannot be written. What is done stays done.
    """
    began_s = time.monotonic()
    ids = [item.id for item in items]
    pending = [item for item in items if not folder.has(item.id, failed_too=not retry_failed)]
    left = {item.id for item in pending}
    done, failed, new = len(items) - len(left), folder.num_failed(set(ids) - left), 0

    def progress() -> BatchProgress:
        elapsed_s = time.monotonic() - began_s
        return BatchProgress(total=len(items), done=done, failed=failed, new=new, elapsed_s=elapsed_s)

    on_progress(progress())
    if pending:
        with closing(engine(pending)) as rows:
            for row in rows:
                if row.id not in left:  # a block that was done twice
                    continue
                left.remove(row.id)
                folder.add(row)
                done, failed, new = done + 1, failed + row.is_failed, new + 1
                on_progress(progress())
    if left:
        raise EdgeError(f"{len(left):,} of {len(items):,} items got no row; the same command goes on with them")
    folder.finish(ids)
    return progress()
