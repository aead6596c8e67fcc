"""What every sandbox promises, as checks that anybody can make with a sandbox of their own.

    from sandbox.contract import verify

    report = verify(my_open_sandbox, without={"processes": "it runs in one process"})
    print(report)
    assert report.ok

`my_open_sandbox(workspace=..., policy=..., inputs=...)` gives a `sandbox.Sandbox`. What it cannot do by design is named
with the reason, and the checks that need it are skipped; everything else has to hold. Each check is a function of a
`Bench` that raises `AssertionError`, so that `pytest.mark.parametrize("check", CHECKS)` makes tests of them.

Covered: what a caller of `Session` may rely on. Not covered: whether a program can break out, which is for a corpus of
attacks to say.
"""

from .bench import Bench, Capability, Check, NotHere, Opener
from .kinds import lacking
from .report import CHECKS, Outcome, Report, verify

__all__ = ["CHECKS", "Bench", "Capability", "Check", "NotHere", "Opener", "Outcome", "Report", "lacking", "verify"]
