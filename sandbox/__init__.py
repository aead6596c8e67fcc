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
from .execution import Display, Execution, Name, Problem, Receipt, Request, Status
from .opening import KINDS, choose_kind, open_sandbox, open_session
from .packages import PackageSet, install_packages
from .policy import Policy
from .session import Branch, Checkpoint, OwnCode, Sandbox, Session
from .tiers import Tier

__all__ = [
    "KINDS",
    "ApplyConflict",
    "Branch",
    "Change",
    "Changes",
    "Checkpoint",
    "ConfigError",
    "Conflict",
    "Display",
    "Execution",
    "Fault",
    "Name",
    "OwnCode",
    "PackageSet",
    "Policy",
    "Problem",
    "Receipt",
    "Request",
    "Sandbox",
    "SandboxUnavailable",
    "Session",
    "Skipped",
    "Status",
    "Tier",
    "choose_kind",
    "install_packages",
    "open_sandbox",
    "open_session",
]
