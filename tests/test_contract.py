"""The contract, kept by every kind of sandbox: one test for each promise of `sandbox.contract` and each kind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import masks
import pytest
import users

from sandbox import KINDS, Receipt, SandboxUnavailable, open_sandbox
from sandbox.contract import CHECKS, Bench, Check, NotHere, lacking, verify
from sandbox.jail import Jail, JailSession

Contract = tuple[Bench, Receipt]
_VERIFY = "from functools import partial\nfrom sandbox import open_sandbox\nfrom sandbox.contract import verify\n" + (
    "report = verify(partial(open_sandbox, 'jail'))\nprint(report)\nraise SystemExit(not report.ok)"
)


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=[pytest.mark.docker] * (kind == "docker")) for kind in KINDS]
)
def contract(request: pytest.FixtureRequest) -> Iterator[Contract]:
    """A bench for each kind, and its receipt. A kind that this host cannot build is skipped; `pytest` lists why."""
    with Bench(partial(open_sandbox, request.param)) as bench:
        try:
            with bench.session() as session:
                receipt = session.receipt
        except SandboxUnavailable as error:
            pytest.skip(f"no {request.param} here: {error}")
        assert receipt.kind == request.param
        yield bench, receipt


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_sandbox_keeps(contract: Contract, check: Check) -> None:
    bench, receipt = contract
    if why := check.lacks(lacking(receipt)):
        pytest.skip(why)
    try:
        check(bench)
    except NotHere as error:
        pytest.skip(str(error))


@pytest.mark.jail
@pytest.mark.root
def test_the_jail_keeps_it_without_namespaces(tmp_path: Path) -> None:
    """Behind what Docker forbids by default: by running again, as there are no frozen copies."""
    if why := users.missing():
        pytest.skip(why)
    argv = users.command(masks.command("docker", [sys.executable, "-c", _VERIFY]))
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=users.environment(tmp_path), cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


class Forgetful(Jail):
    """A sandbox that breaks one promise: nothing is undone."""

    def open(self) -> JailSession:
        session = super().open()
        session.undo = lambda n=1: None  # type: ignore[method-assign]
        return session


@pytest.mark.jail
def test_a_broken_promise_is_found_and_named() -> None:
    names = ("names_stay", "steps_are_undone_and_redone", "everyday_machinery_works")
    checks = [check for check in CHECKS if check.name in names]
    report = verify(Forgetful, without={"processes": "of no use here"}, checks=checks)
    assert {outcome.check.name: outcome.status for outcome in report.outcomes} == {
        "names_stay": "kept",
        "steps_are_undone_and_redone": "broken",
        "everyday_machinery_works": "skipped",
    }
    assert not report.ok and "AssertionError" in str(report) and "of no use here" in str(report)
    assert str(report).endswith("1 kept, 1 broken, 1 skipped")


def test_a_check_has_a_promise_and_a_name_of_its_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.promise.endswith(".") for check in CHECKS)


def test_without_assertions_nothing_is_promised() -> None:
    code = "from sandbox.contract import verify\nverify(None)"
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigError" in done.stderr and "assertions" in done.stderr


def test_the_checks_need_no_pytest() -> None:
    code = "import sys, sandbox.contract\nassert 'pytest' not in sys.modules and sandbox.contract.CHECKS"
    subprocess.run([sys.executable, "-c", code], check=True)
