"""sandsmith: one sentence in, a checked Python program out.

from agent import Agent

result = Agent(model="qwen2.5-coder-1.5b").run("Which region sold most?", files=["sales.csv"])
print(result.answer)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox import Changes, Execution, PackageSet, Policy

    from .agent import Agent
    from .errors import ConfigError, Fault, ModelRejected, ModelUnavailable, RunFailed, SandboxUnavailable
    from .events import Event
    from .models.base import Completion, Message, Model, ModelProfile, Usage
    from .packages import install_packages
    from .saving import Saved, Step, save_run, save_script
    from .store import Run, list_runs, load_run
    from .task import Agreement, Budget, Check, CheckResult, Outcome, Plan, Program, RunResult, Task, Verdict

__all__ = [
    "Agent",
    "Agreement",
    "Budget",
    "Changes",
    "Check",
    "CheckResult",
    "Completion",
    "ConfigError",
    "Event",
    "Execution",
    "Fault",
    "Message",
    "Model",
    "ModelProfile",
    "ModelRejected",
    "ModelUnavailable",
    "Outcome",
    "PackageSet",
    "Plan",
    "Policy",
    "Program",
    "Run",
    "RunFailed",
    "RunResult",
    "SandboxUnavailable",
    "Saved",
    "Step",
    "Task",
    "Usage",
    "Verdict",
    "install_packages",
    "list_runs",
    "load_run",
    "save_run",
    "save_script",
]

_HOMES = {
    **dict.fromkeys(("Agent",), "agent.agent"),
    **dict.fromkeys(("ModelRejected", "ModelUnavailable", "RunFailed"), "agent.errors"),
    **dict.fromkeys(("ConfigError", "Fault", "SandboxUnavailable"), "agent.errors"),
    **dict.fromkeys(("Event",), "agent.events"),
    **dict.fromkeys(("Completion", "Message", "Model", "ModelProfile", "Usage"), "agent.models.base"),
    **dict.fromkeys(("Saved", "Step", "save_run", "save_script"), "agent.saving"),
    **dict.fromkeys(("Run", "list_runs", "load_run"), "agent.store"),
    **dict.fromkeys(("Budget", "Check", "CheckResult", "Outcome", "Plan", "Program"), "agent.task"),
    **dict.fromkeys(("Agreement", "RunResult", "Task", "Verdict"), "agent.task"),
    **dict.fromkeys(("install_packages",), "agent.packages"),
    **dict.fromkeys(("Changes", "Execution", "PackageSet", "Policy"), "sandbox"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the command line loads this package for `--help` too."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
