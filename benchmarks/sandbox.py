"""How long it takes from nothing to the first result of isolated Python, beside the peers on this machine.

    python benchmarks/sandbox.py [--runs 200] [--json FILE]

A peer that is not installed is left out, and the reason printed. Peers take turns in every round, so that a busy
moment of the machine hits all of them alike; compare medians and ratios. "cold" peers start an interpreter each time,
"warm" ones keep a process, and "unprotected" ones wall nothing off: they are here to show what a wall costs.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console
from rich.progress import track
from rich.table import Table

# A script's own folder comes first, and this file hides the package of its name.
sys.path = [p for p in sys.path if p != str(Path(__file__).parent)]

from sandbox import Policy, SandboxUnavailable, open_sandbox  # noqa: E402
from sandbox.jail.session import JailSession  # noqa: E402
from sandbox.jail.slot import Slot  # noqa: E402

CODE = "print(6 * 7)"
TABLES = "import numpy, pandas; print(int(pandas.Series(numpy.full(6, 7)).sum()))"
Run = Callable[[], object]
"""One run up to its result; what it gives back, if it can be called, ends it."""


class Missing(Exception):
    """Why a peer is left out."""


@dataclass(frozen=True)
class Peer:
    name: str
    wall: str
    open: Callable[[], contextlib.AbstractContextManager[Run]]
    share: float = 1.0
    """Of the runs; slow peers get fewer."""


# --- sandsmith ---


@contextlib.contextmanager
def fresh_session(kind: str = "jail") -> Iterator[Run]:
    """A new session for each program; only the zygote is warm."""
    with open_sandbox(kind, policy=Policy()) as box:

        def run() -> Run:
            session = box.open()
            assert session.execute(CODE, on_error="keep").stdout == "42\n"
            return session.close

        yield run


@contextlib.contextmanager
def fresh_session_with_pandas() -> Iterator[Run]:
    """The same with numpy and pandas in the zygote."""
    if importlib.util.find_spec("pandas") is None:
        raise Missing("pandas is not installed")
    with open_sandbox("jail", policy=Policy(preload=("numpy", "pandas"))) as box:

        def run() -> Run:
            session = box.open()
            assert session.execute(TABLES, on_error="keep").stdout == "42\n"
            return session.close

        yield run


@contextlib.contextmanager
def open_session(kind: str = "jail") -> Iterator[Run]:
    with contextlib.ExitStack() as stack:
        try:
            box = stack.enter_context(open_sandbox(kind, policy=Policy(history=0)))
        except SandboxUnavailable as error:
            raise Missing(str(error)) from None
        session = stack.enter_context(box.open())
        yield lambda: session.execute(CODE, on_error="keep")


@contextlib.contextmanager
def with_rollback() -> Iterator[Run]:
    with open_sandbox("jail", policy=Policy()) as box, box.open() as session:
        yield lambda: session.execute(CODE, on_error="rollback")


# --- peers ---


def command(*words: str) -> Callable[[], contextlib.AbstractContextManager[Run]]:
    @contextlib.contextmanager
    def start() -> Iterator[Run]:
        if shutil.which(words[0]) is None:
            raise Missing(f"{words[0]} is not installed")

        def run() -> None:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.stdout != "42\n":
                raise Missing(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it printed nothing")

        run()
        yield run

    return start


def bubblewrap() -> tuple[str, ...]:
    folders = [f for f in ("/usr", "/lib", "/lib64", "/bin", "/etc", sys.prefix, sys.base_prefix) if Path(f).exists()]
    binds = [word for folder in folders for word in ("--ro-bind", folder, folder)]
    return ("bwrap", "--unshare-all", "--tmpfs", "/tmp", *binds, "--proc", "/proc", "--dev", "/dev")


def docker_image() -> str:
    """A local image that has python3: none is pulled."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        listed = subprocess.run(
            ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        for image in listed.stdout.split():
            if "python" in image or image.startswith("sandsmith:"):
                return image
    return ""


@contextlib.contextmanager
def docker_run() -> Iterator[Run]:
    image = docker_image()
    if not image:
        raise Missing("there is no Docker here with a local image (sandsmith image build)")
    with command("docker", "run", "--rm", "--network", "none", image, "python3", "-I", "-S", "-c", CODE)() as run:
        yield run


@contextlib.contextmanager
def docker_exec() -> Iterator[Run]:
    image = docker_image()
    if not image:
        raise Missing("there is no Docker here with a local image (sandsmith image build)")
    start = ["docker", "run", "--rm", "-d", "--network", "none", image, "sleep", "3600"]
    name = subprocess.run(start, capture_output=True, text=True, check=True).stdout.strip()
    try:
        with command("docker", "exec", name, "python3", "-I", "-S", "-c", CODE)() as run:
            yield run
    finally:
        subprocess.run(["docker", "rm", "-f", name], capture_output=True, check=False)


@contextlib.contextmanager
def llm_sandbox() -> Iterator[Run]:
    try:
        from llm_sandbox import SandboxSession  # pyright: ignore
    except ImportError:
        raise Missing("llm-sandbox is not installed") from None
    if not (image := docker_image()):
        raise Missing("there is no Docker here with a local image (sandsmith image build)")
    options = {"entrypoint": ["sleep", "3600"], "command": [], "network_mode": "none"}
    link = "import os; os.path.exists('/usr/local/bin/python') or os.symlink('python3', '/usr/local/bin/python')"
    session: Any = SandboxSession(  # pyright: ignore
        lang="python", image=image, skip_environment_setup=True, keep_template=True, runtime_configs=options
    )
    with session:
        session.execute_command(f'python3 -c "{link}"')  # it calls `python`

        def run() -> None:
            assert session.run(CODE).stdout == "42\n"

        yield run


@contextlib.contextmanager
def jupyter() -> Iterator[Run]:
    """A fresh kernel each time: what open-interpreter and others do for a new session."""
    try:
        from jupyter_client.manager import start_new_kernel  # pyright: ignore
    except ImportError:
        raise Missing("jupyter_client and ipykernel are not installed") from None

    def run() -> None:
        manager: Any
        client: Any
        manager, client = start_new_kernel()  # pyright: ignore
        client.execute_interactive(CODE, output_hook=lambda _: None)
        client.stop_channels()
        manager.shutdown_kernel(now=True)

    yield run


@contextlib.contextmanager
def smolagents() -> Iterator[Run]:
    try:
        from smolagents.local_python_executor import LocalPythonExecutor  # pyright: ignore
    except ImportError:
        raise Missing("smolagents is not installed") from None

    def run() -> None:
        executor: Any = LocalPythonExecutor([])  # pyright: ignore
        executor.send_tools({})
        executor("6 * 7")

    yield run


@contextlib.contextmanager
def monty() -> Iterator[Run]:
    try:
        import pydantic_monty  # pyright: ignore
    except ImportError:
        raise Missing("pydantic-monty is not installed") from None
    pool: Any
    with pydantic_monty.Monty() as pool:  # pyright: ignore

        def run() -> None:
            with pool.checkout() as session:
                session.feed_run("6 * 7")

        yield run


@contextlib.contextmanager
def sandlock() -> Iterator[Run]:
    try:
        from sandlock import Sandbox  # pyright: ignore
    except ImportError:
        raise Missing("sandlock is not installed") from None
    folders = ["/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/dev", sys.prefix, sys.base_prefix]
    box: Any = Sandbox(fs_readable=[f for f in folders if Path(f).exists()], fs_writable=["/tmp"])  # pyright: ignore

    def run() -> None:
        result = box.run([sys.executable, "-I", "-S", "-c", CODE], timeout=10)
        if not result.success:
            raise Missing("it failed: " + str(result.stderr)[-120:])

    run()
    yield run


COLD = (sys.executable, "-I", "-S", "-c", CODE)
PEERS = (
    Peer("sandsmith, fresh jail", "jail, warm", fresh_session),
    Peer("sandsmith, open session", "jail, warm", open_session),
    Peer("sandsmith, open session that can roll back", "jail, warm", with_rollback),
    Peer("sandsmith, fresh jail, pandas preloaded", "jail, warm", fresh_session_with_pandas),
    Peer("sandsmith, fresh restricted sandbox", "language and jail, warm", partial(fresh_session, "restricted")),
    Peer("sandsmith, open restricted session", "language and jail, warm", partial(open_session, "restricted")),
    Peer("sandsmith, open session in a container", "jail in a container, warm", partial(open_session, "docker")),
    Peer("python -I -S -c", "unprotected, cold", command(*COLD)),
    Peer("python -I -c", "unprotected, cold", command(sys.executable, "-I", "-c", CODE)),
    Peer(
        "python -I -c, importing numpy and pandas",
        "unprotected, cold",
        command(sys.executable, "-I", "-c", TABLES),
        0.1,
    ),
    Peer("bwrap python -I -S -c", "namespaces, cold", command(*bubblewrap(), *COLD)),
    Peer("sandlock python -I -S -c", "Landlock, cold", sandlock),
    Peer("pydantic-monty", "own interpreter, warm process", monty),
    Peer("smolagents LocalPythonExecutor", "AST, in process", smolagents),
    Peer("docker exec", "container, warm", docker_exec, 0.1),
    Peer("llm-sandbox, open session", "container, warm", llm_sandbox, 0.1),
    Peer("docker run", "container, cold", docker_run, 0.1),
    Peer("Jupyter kernel", "unprotected, cold", jupyter, 0.03),
)


# --- measuring ---


def measure(runs: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Milliseconds of each run by peer, and why others are missing."""
    times: dict[str, list[float]] = {}
    missing: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        ready: list[tuple[Peer, Run]] = []
        for peer in PEERS:
            try:
                run = stack.enter_context(peer.open())
                if callable(close := run()):
                    close()
                ready.append((peer, run))
            except Missing as reason:
                missing[peer.name] = str(reason)
        for number in track(range(runs), "measuring", console=Console(stderr=True), transient=True):
            for peer, run in ready:
                if number % round(1 / peer.share) == 0:
                    began = time.perf_counter()
                    close = run()
                    times.setdefault(peer.name, []).append(1000 * (time.perf_counter() - began))
                    if callable(close):
                        close()
    return times, missing


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


STEPS = (
    ("a place: namespaces, pid 1, control group (kept for later sessions)", Slot, "__init__"),
    ("start: mounts, fork, confinement", JailSession, "_begin"),
    ("execute", JailSession, "execute"),
    ("close: kill, reap", Slot, "clear"),
)


def steps(runs: int) -> dict[str, float]:
    """Milliseconds of each step of a fresh jail as the host sees it, medians."""
    taken: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        for name, owner, method in STEPS:
            taken[name] = []
            stack.enter_context(mock.patch.object(owner, method, timed(getattr(owner, method), taken[name])))
        for _ in range(runs // 5):
            with open_sandbox("jail", policy=Policy()) as box:
                for _ in range(6):
                    with box.open() as session:
                        session.execute(CODE, on_error="keep")
    return {name: statistics.median(values) for name, values in taken.items()}


def timed(method: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*args, **options)
        finally:
            times.append(1000 * (time.perf_counter() - began))

    return call


def throughput(seconds: float = 5.0) -> float:
    """Fresh jails a second, from two host processes for each CPU: one waits for the kernel while the other works."""
    script = (
        "import sys, time; from sandbox import open_sandbox, Policy\n"
        "with open_sandbox('jail', policy=Policy()) as box:\n"
        "    box.open().close(); n = 0; end = time.monotonic() + float(sys.argv[1])\n"
        "    while time.monotonic() < end:\n"
        "        with box.open() as session: session.execute('print(6 * 7)', on_error='keep')\n"
        "        n += 1\n"
        "print(n)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(seconds)], stdout=subprocess.PIPE, text=True)
        for _ in range(2 * len(os.sched_getaffinity(0)))
    ]
    return sum(int(p.communicate()[0]) for p in processes) / seconds


def private_memory() -> float:
    """MB of memory that a session takes for itself once it is idle: the private pages of all its processes."""
    with open_sandbox("jail", policy=Policy(), ahead=False) as box:  # or the next one would count as well
        before = set(_descendants(os.getpid()))
        with box.open() as session:
            session.execute("x = 1", on_error="keep")
            time.sleep(1.5)  # then it is idle, and what sessions are forked from is gone
            return sum(map(_private, set(_descendants(os.getpid())) - before)) / 1000


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _descendants(int(child))


def _private(pid: int) -> int:
    """Kilobytes."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private"))
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="rounds (default 200)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    options = parser.parse_args()
    console = Console()
    times, missing = measure(options.runs)
    ours = statistics.median(times[PEERS[0].name])
    table = Table("", "wall", "p50 ms", "p99 ms", "times a fresh jail", title="from nothing to the first result")
    for peer in PEERS:
        if peer.name in times:
            values = times[peer.name]
            p50 = statistics.median(values)
            table.add_row(peer.name, peer.wall, f"{p50:.2f}", f"{percentile(values, 0.99):.2f}", f"{p50 / ours:.2f}")
    console.print(table)
    for name, why in missing.items():
        console.print(f"left out: {name}: {why}", highlight=False, markup=False)
    of = steps(options.runs)
    console.print("a fresh jail by step, median ms:")
    for name, ms in of.items():
        console.print(f"  {ms:6.2f}  {name}", highlight=False)
    per_second, private = throughput(), private_memory()
    console.print(f"{per_second:.0f} fresh jails a second on {len(os.sched_getaffinity(0))} CPUs")
    console.print(f"{private:.1f} MB private memory of an idle session")
    if options.json:
        data = {"ms": times, "missing": missing, "steps_ms": of, "per_second": per_second, "private_mb": private}
        options.json.write_text(json.dumps(data))


if __name__ == "__main__":
    main()
