"""Whether the sessions of this process share one pool of threads. Imports nothing, so that help is fast."""

from __future__ import annotations


class Pool:
    """The pool that all sessions of this process share, if it was asked for."""

    wanted = False
    num_threads: int | None = None


def share_threads() -> None:
    """Let all sessions that this process opens from now on share one pool, made for the first of them.

    For a program that is edgephi's alone, as the command line is: two graphs that run at once then do not fight for the
    cores. A library must not call it: ONNX Runtime 1.31 refuses every session with threads of its own, whoever opens
    it, once a process has a common pool. Sessions with another number of threads are refused from then on.
    """
    Pool.wanted = True
