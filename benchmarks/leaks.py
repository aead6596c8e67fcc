"""What many runs leave behind: descriptors, processes, mounts, control groups, memory and files, which must stay flat.

    python benchmarks/leaks.py [--runs 10000] [--kills 200] [--deaths 200]

First `--runs` programs run one after another in one jail, each in a fresh session, some of which fail, time out or
leave processes behind. Then a host process that does the same is killed with SIGKILL `--kills` times at a random
moment: a second later nothing of it may live, and what a killed process cannot remove, its temporary folder and its
empty control groups, must be gone after the next start. Then a jail's own processes are killed, `--deaths` times at
random moments: every call must give the right value, a true label or `SandboxUnavailable`, and soon.
Exits with 1 when something grew, survived, hung or lied.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path = [p for p in sys.path if p != str(Path(__file__).parent)]  # its `sandbox.py` hides the package
sys.path.insert(0, str(REPOSITORY))

from sandbox import Policy, SandboxUnavailable, open_sandbox  # noqa: E402

PROGRAMS = (
    "print(6 * 7)",
    "open('file.txt', 'w').write('x' * 1000)",
    "1 / 0",
    "import os\nfor _ in range(3):\n    if os.fork() == 0:\n        os.setsid(); import time; time.sleep(60)",
    "import os; os._exit(3)",
    "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
)
STATUSES = ("ok", "ok", "error", "ok", "error", "ok")
ALLOWED_MEMORY = 8.0
"""MB that the host process may grow by over all runs: the allocator's own slack."""
SOON = 20.0
"""Seconds within which every call is over, whatever was killed."""
PARTS = ("launcher", "zygote", "monitor", "program")
HOST = """
import runpy, sys
sys.path.insert(0, {repository!r})
import sandbox
leaks = runpy.run_path({script!r}, run_name="leaks")
while True:
    with leaks["open_sandbox"]("jail", policy=leaks["Policy"](wall_seconds=5)) as box:
        for number in range(50):
            leaks["run_one"](box, number)
            print(number, flush=True)
"""


def run_one(box: Any, number: int) -> str:
    """Run a program in a fresh session and look at what it has changed; its status."""
    with box.open() as session:
        run = session.execute(PROGRAMS[number % len(PROGRAMS)], on_error="keep")
        if number % len(PROGRAMS) != 4:  # that one has ended its own process
            session.changes()
        return run.status


# -- runs in a row -----------------------------------------------------------------------------------------------------


def state() -> dict[str, float]:
    """What may leak, counted."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    kept = list(Path(tempfile.gettempdir()).rglob("*"))
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "processes below": sum(1 for _ in below(os.getpid())),
        "mounts": sum(map(is_of_a_jail, Path("/proc/self/mountinfo").read_text().splitlines())),
        "control groups": len(groups(os.getpid())),
        "temporary files": len(kept),
        "MB of them": round(sum(p.lstat().st_size for p in kept) / 1e6, 1),
        "MB of this process": round(resident, 1),
    }


def below(pid: int) -> Iterator[int]:
    """Processes that descend from `pid`."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                yield int(child)
                yield from below(int(child))


def is_of_a_jail(mount: str) -> bool:
    """Whether a line of mountinfo tells of a mount that a jail could have made."""
    return any(word in mount for word in ("sandsmith", "/ws", ".layers", ".lower"))


def groups(pid: int) -> list[Path]:
    """The control groups that the process `pid` has made."""
    own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
    tops = {Path("/sys/fs/cgroup", *parts) for parts in ((), ("memory",), ("pids",), (str(Path(own).parent),))}
    return [group for top in tops for group in top.glob(f"sandsmith/{pid}-*")]


def runs(count: int, console: Console) -> bool:
    table = Table("after", *state(), title=f"{count} runs in a row")
    seen: list[dict[str, float]] = []
    wrong = 0
    with open_sandbox("jail", policy=Policy(wall_seconds=5)) as box:
        for number in track(range(count), "running", console=Console(stderr=True), transient=True):
            wrong += run_one(box, number) != STATUSES[number % len(STATUSES)]
            if number + 1 in (count // 10, count // 2, count):
                time.sleep(0.5)  # for what the kernel takes down on its own time
                seen.append(state())
                table.add_row(str(number + 1), *map(str, seen[-1].values()))
    console.print(table)
    console.print(f"{wrong} of {count} had a wrong status")
    first, last = seen[0], seen[-1]
    flat = all(last[k] <= first[k] + (ALLOWED_MEMORY if k == "MB of this process" else 1) for k in first)
    return flat and not wrong


# -- kill -9 of the host -----------------------------------------------------------------------------------------------


def kills(count: int, console: Console, base: Path) -> bool:
    """Whether nothing outlives a host process that is killed. `base` is an empty folder."""
    (base / "tmp").mkdir()
    (base / "repository").symlink_to(REPOSITORY)  # its name stands in the command line of all that a jail starts
    source = HOST.format(repository=str(base / "repository"), script=str(base / "repository/benchmarks/leaks.py"))
    tally: Counter[str] = Counter()
    for _ in track(range(count), "killing", console=Console(stderr=True), transient=True):
        environment = {**os.environ, "TMPDIR": str(base / "tmp")}
        host = subprocess.Popen([sys.executable, "-c", source], env=environment, stdout=subprocess.PIPE)
        assert host.stdout is not None
        if random.random() < 0.8:  # else while it starts
            host.stdout.readline()
        time.sleep(random.uniform(0.0, 0.5))
        tally["jails that were up"] += bool(ours(base))
        host.kill()
        host.communicate()
        end = time.monotonic() + 1
        while ours(base) and time.monotonic() < end:
            time.sleep(0.01)
        tally["processes a second later"] += len(ours(base))
        tally["mounts"] += sum(str(base) in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
        tally["temporary folders left"] += len(list((base / "tmp").glob("sandsmith-*")))
        tally["control groups left"] += len(groups(host.pid))
        tally["of them with processes"] += sum(map(is_used, groups(host.pid)))
        start_and_stop(base)
        tally["folders after the next start"] += len(list((base / "tmp").glob("sandsmith-*")))
        tally["groups after the next start"] += len(groups(host.pid))
        for stray in set((base / "tmp").iterdir()) - set((base / "tmp").glob("sandsmith-*")):
            stray.unlink()  # Python's own: tempfile.gettempdir() writes a file to see whether it can
            tally["files of tempfile's own trial"] += 1
    console.print(f"{count} times killed:", ", ".join(f"{number} {what}" for what, number in tally.items()))
    forgiven = (
        "jails that were up",
        "temporary folders left",
        "control groups left",
        "files of tempfile's own trial",
    )
    return not any(number for what, number in tally.items() if what not in forgiven)


def is_used(group: Path) -> bool:
    """Whether a control group has processes; another start may have swept it."""
    with suppress(OSError):
        return bool((group / "cgroup.procs").read_text())
    return False


def ours(base: Path) -> set[int]:
    """The living processes of jails that were started below `base`."""
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if b"zygote.main" in (words := path.read_bytes()) and str(base).encode() in words:
                found.add(int(path.parent.name))
    return found


def start_and_stop(base: Path) -> None:
    """Start a jail anew, in a process of its own, as a user would."""
    source = "from sandbox import open_session\nwith open_session('jail') as session: session.execute('1')"
    environment = {**os.environ, "TMPDIR": str(base / "tmp"), "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", source], env=environment, check=True)


# -- kill -9 inside the jail -------------------------------------------------------------------------------------------


def deaths(count: int, console: Console) -> bool:
    """Whether callers hear nothing wrong, and soon, while the jail's processes are killed under them."""
    before = set(below(os.getpid()))
    tally: Counter[str] = Counter()
    over = threading.Event()
    slowest, number = 0.0, 0
    with open_sandbox("jail", policy=Policy(wall_seconds=10)) as box:
        hunter = threading.Thread(target=hunt, args=(before, count, tally, over))
        hunter.start()
        while not over.is_set():
            began = time.monotonic()
            tally[outcome(box, number := number + 1)] += 1
            slowest = max(slowest, time.monotonic() - began)
        hunter.join()
    left = len(set(below(os.getpid())) - before)
    said = ", ".join(f"{n} {what}" for what, n in sorted(tally.items()))
    console.print(f"{count} parts killed, {number} runs: {said}; slowest {slowest:.1f} s; {left} processes left")
    return not tally["WRONG"] and slowest < SOON and not left


def hunt(before: set[int], count: int, tally: Counter[str], over: threading.Event) -> None:
    """Kill `count` processes of the newest jail, of all parts in turn, at random moments."""
    while count:
        time.sleep(random.uniform(0.01, 0.3))
        part = PARTS[count % len(PARTS)]
        path = [pid for pid in children(os.getpid()) if pid not in before]
        for _ in PARTS[1 : PARTS.index(part) + 1]:
            path = children(path[-1]) if path else []
        if path:
            with suppress(ProcessLookupError):
                os.kill(path[0] if part == "program" else path[-1], signal.SIGKILL)
                tally[f"x {part}"] += 1
                count -= 1
    over.set()


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def outcome(box: Any, number: int) -> str:
    """What a caller gets: `right`, `killed` (the program's own process was), `unavailable`; or what must not be."""
    try:
        with box.open() as session:
            run = session.execute(f"import time; time.sleep({number % 4 / 50}); {number} + 1")
    except SandboxUnavailable:
        return "unavailable"
    if (run.status, run.value) == ("ok", str(number + 1)):
        return "right"
    return "killed" if (run.status, run.signal) == ("killed", signal.SIGKILL) else "WRONG"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--deaths", type=int, default=200)
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="leaks-") as own:
        tempfile.tempdir = own  # so that nobody else's files are counted
        flat = runs(options.runs, console) if options.runs else True
    tempfile.tempdir = None
    with tempfile.TemporaryDirectory(prefix="leaks-") as base:
        clean = kills(options.kills, console, Path(base)) if options.kills else True
    true = deaths(options.deaths, console) if options.deaths else True
    console.print(*(word for word, good in (("flat", flat), ("clean", clean), ("true", true)) if good))
    sys.exit(0 if flat and clean and true else 1)


if __name__ == "__main__":
    main()
