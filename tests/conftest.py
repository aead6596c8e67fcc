"""Parts that a machine may lack: a test that needs one skips, and says why."""

from __future__ import annotations

import importlib.util
import os
import signal
from functools import cache

import pytest

DATA_PACKAGES = ("numpy", "pandas", "matplotlib", "scipy", "sklearn", "openpyxl")


@cache
def missing_jail() -> str:
    """Why no jail can be built here, empty when one can."""
    from sandbox import SandboxUnavailable, open_session

    try:
        with open_session("jail") as session:
            assert session.execute("6 * 7").value == "42"
    except SandboxUnavailable as error:
        return f"no jail here: {error}"
    return ""


@cache
def missing_model() -> str:
    """Why the embedded model cannot run here, empty when it can."""
    from agent.errors import ModelUnavailable
    from agent.models import weights

    if importlib.util.find_spec("xllamacpp") is None:
        return "no model runtime: pip install 'sandsmith[local]'"
    try:
        weights.pull("qwen2.5-coder-1.5b")
    except ModelUnavailable as error:
        return f"no weights: {error}"
    return ""


def missing_root() -> str:
    """Why what only root can do is not tested, empty for root."""
    return "" if os.geteuid() == 0 else "needs root"


def missing_data() -> str:
    """Which packages of the `data` extra are not here."""
    absent = [name for name in DATA_PACKAGES if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


NEEDS = {"jail": missing_jail, "model": missing_model, "root": missing_root, "data": missing_data}


def pytest_configure() -> None:
    """A shell starts background jobs with SIGINT ignored, which every process started here would inherit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, missing in NEEDS.items():
        if item.get_closest_marker(name) and (why := missing()):
            pytest.skip(why)


@pytest.fixture(autouse=True, scope="session")
def _own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Runs made by the tests are kept apart from the user's."""
    os.environ["SANDSMITH_DATA_DIR"] = str(tmp_path_factory.mktemp("data"))
