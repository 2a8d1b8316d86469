"""The errors that the agent raises on purpose, and the exit code of each.

    AgentError          exit 1   base of all
      RequestError      exit 2   the command asks for something impossible
        BusyError       exit 2   another agent is at work
      RefusedError      exit 3   not signed, damaged, older, or for another device
      SpaceError        exit 4   does not fit this device
      ProbeError        exit 5   runs, but not as recorded

A message says what was given, the limit, and what to do.
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of every error that is raised on purpose; the command line prints it without a traceback."""

    exit_code = 1


class RequestError(AgentError):
    """The command asks for something that cannot be done in this state."""

    exit_code = 2


class BusyError(RequestError):
    """Another agent is at work in the same folder."""


class RefusedError(AgentError):
    """A bundle, or a file of this device, is not what was signed, is older than what ran here, or is not for here."""

    exit_code = 3


class SpaceError(AgentError):
    """The release does not fit this device: space, memory, processor or Python."""

    exit_code = 4


class ProbeError(AgentError):
    """The release runs on this device, but does not answer as recorded."""

    exit_code = 5
