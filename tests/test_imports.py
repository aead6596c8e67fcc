"""The arrows between the rooms: who may import whom, read from the source, and what an import really loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("agent", "sandbox", "prompts")
HEAVY = {
    "docker",
    "langchain",
    "matplotlib",
    "numpy",
    "pandas",
    "prompt_toolkit",
    "pygments",
    "rich",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
    "xllamacpp",
}
DOORS = ("agent.cli", "agent.repl")


def is_within(module: str, *packages: str) -> bool:
    return any(module == p or module.startswith(p + ".") for p in packages)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(p): p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def is_deferred(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or is_type_checking(node)


def import_nodes(tree: ast.AST, *, at_import: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements; with `at_import` only those that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif at_import and (
            isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or is_type_checking(node)
        ):
            continue
        else:
            yield from import_nodes(node, at_import=at_import)


def absolute(node: ast.ImportFrom, module: str) -> str:
    """The full name of what `from ... import` names."""
    if not node.level:
        return node.module or ""
    is_package = MODULES[module].name == "__init__.py"
    base = module.split(".")
    base = base[: len(base) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def imports(module: str, *, at_import: bool = False) -> set[str]:
    """Full names of the modules (and, from packages of ours, the submodules) that `module` imports."""
    found: set[str] = set()
    for node in import_nodes(ast.parse(MODULES[module].read_text("utf-8")), at_import=at_import):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
            continue
        base = absolute(node, module)
        submodules = {f"{base}.{alias.name}" for alias in node.names} & MODULES.keys()
        found.update(submodules or {base})
    return found


def third_party(names: set[str]) -> set[str]:
    roots = {name.split(".")[0] for name in names}
    return {r for r in roots if r not in sys.stdlib_module_names and r not in ROOMS}


def ours(names: set[str]) -> set[str]:
    return {n for n in names if is_within(n, *ROOMS)}


def allowed_third_party(module: str) -> set[str]:
    if module == "agent.facts_probe":
        return {"openpyxl"}
    if is_within(module, "prompts.helpers"):  # only its text goes anywhere: into programs, which may use the data extra
        return {"numpy", "scipy"}
    if is_within(module, "sandbox.worker", "prompts"):
        return set()
    if is_within(module, "sandbox.restricted.inside"):
        return {"RestrictedPython"}
    if is_within(module, "sandbox.network"):
        return {"h11", "idna"}
    if is_within(module, "sandbox"):
        return {"docker", "packaging"}
    if is_within(module, "agent.models"):
        runtimes = {"torch", "transformers", "xllamacpp"}
        return {"huggingface_hub", "langchain", "langchain_core", "platformdirs", "tenacity", *runtimes}
    if is_within(module, "agent.repl"):
        return {"click", "prompt_toolkit", "rich"}
    if is_within(module, *DOORS):
        return {"click", "rich"}
    if module == "agent.bench.compare":
        return {"scipy"}
    return {"langchain_core", "platformdirs"}


def allowed_ours(module: str, name: str) -> bool:
    if module == "agent.facts_probe":
        return False
    if is_within(module, "prompts"):
        return is_within(name, "prompts")
    if is_within(module, "sandbox.worker"):
        return is_within(name, "sandbox.worker")
    if is_within(module, "sandbox.restricted.inside"):
        return is_within(name, "sandbox.restricted.inside")
    if is_within(module, "sandbox"):
        return is_within(name, "sandbox") and not is_within(name, "sandbox.restricted.inside")
    if is_within(module, "agent.models"):
        return is_within(name, "agent.models", "agent.errors", "agent.settings", "sandbox.errors", "sandbox.scratch")
    if is_within(module, *DOORS, "agent.__main__"):
        return True
    return not is_within(name, *DOORS)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_room_imports_only_what_its_arrows_allow(module: str) -> None:
    names = imports(module)
    assert not {n for n in ours(names) if not allowed_ours(module, n)}
    assert third_party(names) <= allowed_third_party(module)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_heavy_is_imported_with_a_module(module: str) -> None:
    eager = third_party(imports(module, at_import=True))
    assert not {n for n in eager if n in HEAVY or n.startswith("langchain")}


def test_the_walker_sees_relative_lazy_and_guarded_imports() -> None:
    assert "sandbox.errors" in imports("sandbox.policy")
    assert "sandbox.jail" in imports("sandbox.opening")
    assert "sandbox.jail" not in imports("sandbox.opening", at_import=True)
    assert "agent.models.base" in imports("agent.task")


@pytest.mark.parametrize("module", ["agent", "agent.cli.app", "agent.agent", "sandbox", "prompts"])
def test_importing_a_room_loads_nothing_heavy(module: str) -> None:
    code = f"import sys; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    loaded = {name.split(".")[0] for name in out.split()}
    assert not {n for n in loaded if n in HEAVY or n.startswith("langchain")}


@pytest.mark.parametrize("module", ["agent.cli.app", "agent.errors", "sandbox"])
def test_import_survives_off_linux(module: str) -> None:
    """Without what only Unix or Linux has, the command must still start, and say that the jail needs Linux."""
    code = (
        "import os, sys, ctypes, tempfile, subprocess, socket, asyncio, shutil\n"
        "for name in 'fcntl grp pty pwd resource syslog termios tty'.split(): sys.modules[name] = None\n"
        "for name in 'O_CLOEXEC O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH'.split(): delattr(os, name)\n"
        f"import {module}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
