"""Runs code that nobody trusts: in its own process, behind a wall, on a copy-on-write view of a folder.

    from sandbox import open_session, Policy

    with open_session("jail", workspace="reports/", policy=Policy(wall_seconds=10)) as session:
        run = session.execute("import csv; rows = list(csv.DictReader(open('sales.csv'))); len(rows)")
        print(run.status, run.value)
        session.changes().apply()  # only now is reports/ touched

Covered: reads of the host outside the granted folders, writes, network, other processes, resource exhaustion.
Not covered: bugs of the shared kernel, CPU and page-cache side channels. See `docs/sandbox.md`.
"""

from .changes import ApplyConflict, Change, Changes, Conflict, Skipped
from .errors import ConfigError, Fault, SandboxUnavailable
from .execution import Display, Execution, Problem, Receipt, Status
from .policy import Policy
from .session import Sandbox, Session, open_sandbox, open_session

__all__ = [
    "ApplyConflict",
    "Change",
    "Changes",
    "ConfigError",
    "Conflict",
    "Display",
    "Execution",
    "Fault",
    "Policy",
    "Problem",
    "Receipt",
    "Sandbox",
    "SandboxUnavailable",
    "Session",
    "Skipped",
    "Status",
    "open_sandbox",
    "open_session",
]
