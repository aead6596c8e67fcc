"""Parts that a machine may lack: a test that needs one skips, and says why."""

from __future__ import annotations

import atexit
import importlib.util
import os
import signal
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.docker import Image

DATA_PACKAGES = ("numpy", "pandas", "matplotlib", "scipy", "sklearn", "openpyxl")


# Few examples, the same ones each time, unless asked for: pytest --hypothesis-profile=long
_ALWAYS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}
settings.register_profile("short", max_examples=50, derandomize=True, **_ALWAYS)
settings.register_profile("long", max_examples=2_000, **_ALWAYS)
settings.load_profile("short")


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


@cache
def missing_docker() -> str:
    """Why no container can be had here, empty when one can. A small image is made where there is none."""
    from sandbox import SandboxUnavailable
    from sandbox.docker import build_image, connect, find_image

    try:
        daemon = connect()
    except SandboxUnavailable as error:
        return f"no Docker here: {error}"
    try:
        find_image(daemon)
    except SandboxUnavailable:
        atexit.register(_remove_image, build_image((), base="none", tag="tests"))
    finally:
        daemon.close()
    return ""


def _remove_image(image: Image) -> None:
    from sandbox.docker import connect, remove_image

    daemon = connect()
    remove_image(daemon, image)
    daemon.close()


def missing_root() -> str:
    """Why what only root can do is not tested, empty for root."""
    return "" if os.geteuid() == 0 else "needs root"


def missing_data() -> str:
    """Which packages of the `data` extra are not here."""
    absent = [name for name in DATA_PACKAGES if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


NEEDS = {
    "jail": missing_jail,
    "docker": missing_docker,
    "model": missing_model,
    "root": missing_root,
    "data": missing_data,
}


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


@pytest.fixture(scope="session")
def smallest_weights() -> Path:
    """The weights file of the smallest embedded model that is on this machine already."""
    from agent.models.catalog import KNOWN_MODELS
    from agent.models.weights import available, find_weights

    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed (the `local` extra)")
    here = [row.name for row in available() if row.where in ("cached", "pieces")]
    if not here:
        pytest.skip("no embedded model is on this machine (the `local` extra or `sandsmith model pull`)")
    return find_weights(min((m for m in KNOWN_MODELS if m.name in here), key=lambda m: m.size))
