"""The corpus where there are no namespaces: what ends otherwise there, and why; what only there can be attacked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cases import Case
from corpus import BY_ID

_DENIED = {"status": "error", "limit": None, "says": "PermissionError", "signal": None}
_FORK = "a program cannot fork"
_EXEC = "a program cannot exec"
_TMP = "the host's own /tmp and /dev/shm are there, and are closed; TMPDIR leads to a private folder"

DIFFERENT: dict[str, tuple[str, dict[str, Any]]] = {
    "A03-tree": ("the root folder cannot be listed at all", _DENIED),
    "A15-run": (
        "Landlock hides what is in folders, not whether a path exists",
        {"program": 'attempt(os.listdir, "/run")\nattempt(open, "/var/run/docker.sock")'},
    ),
    "A07-accounts": ("/etc/passwd is the host's, and cannot be read", _DENIED),
    "B03-tmp": (_TMP, _DENIED),
    "B03-shm": (_TMP, _DENIED),
    "B04-hard-link": ("Landlock, not another mount, is in the way", {"says": "denied"}),
    "B13-xattr": ("the filter answers so, for programs that copy attributes", {"refusals": ("ENOTSUP",)}),
    "B19-setuid-bit": ("modes of files are fixed", _DENIED),
    "C03-names": ("the resolver's files cannot be read either", {"refusals": ("gaierror", "-2", "-3")}),
    "C14-work": (
        f"{_FORK}: threads and asyncio work, processes do not",
        {
            "program": "import asyncio, concurrent.futures as c\n"
            "print(asyncio.run(asyncio.sleep(0, 'async')))\n"
            "with c.ThreadPoolExecutor(2) as pool: print(list(pool.map(abs, [-1, -2])))\n"
            "try: subprocess.run(['true'])\nexcept PermissionError: print('denied')",
            "says": "async\n[1, 2]\ndenied",
        },
    ),
    "D08-take-descriptor": (
        "no process of others can even be opened",
        {"program": "for pid in targets(): attempt(os.pidfd_open, pid)", "control": "host"},
    ),
    "D21-no-capabilities": (
        "the bounding set is of no use without exec",
        {
            "program": "text = open('/proc/self/status').read()\n"
            "caps = {k: v.strip() for k, _, v in (l.partition(':') for l in text.splitlines())}\n"
            "names = ('CapInh', 'CapPrm', 'CapEff', 'CapAmb') if JAIL else ('CapBnd',)\n"
            "print('LEAK' if any(int(caps[n], 16) for n in names) else 'none', caps['CapPrm'])",
        },
    ),
    "D21-setuid-program": (_EXEC, _DENIED),
    "E03-children": (_FORK, _DENIED),
    "E08-threads": ("the supervisor counts threads", {"limit": "processes", "says": ""}),
    "E11-files": ("the supervisor counts files", {"says": "", "limit": "files"}),
    "E11-files-in-tmp": (
        "the supervisor counts files",
        {
            "program": "for n in range(2000): open(os.environ.get('TMPDIR', '/tmp') + f'/f{n}', 'w').close()\nprint('DONE')",
            "says": "",
            "limit": "files",
        },
    ),
    "E15-children": (_EXEC, _DENIED),
    "E17-no-core-file": (_FORK, _DENIED),
    "E28-shm": (_TMP, _DENIED),
    "E28-tmp": (
        "scratch files lie on a disk, where they count as such",
        {
            "program": "with open(os.environ['TMPDIR'] + '/fill', 'wb') as f:\n"
            "    for _ in range(400): f.write(bytes(1 << 20))\nprint('DONE')",
            "policy": {"wall_seconds": 10},
            "status": "error",
            "limit": "disk",
        },
    ),
    "F04-command-lines": ("/proc cannot be listed", _DENIED),
    "F09-host-name": ("the host's name is the program's", {"program": "print('known')", "control": ""}),
    "F10-cgroup-path": (
        _EXEC,
        {"program": "attempt(open, '/proc/self/cgroup')\nattempt(open, '/proc/self/mountinfo')", "control": "host"},
    ),
    "F10-mounts": (_EXEC, _DENIED),
    "I10-child-holds-output": (_FORK, _DENIED),
    "I17-daemon": (_FORK, _DENIED),
    "I17-deaf-daemon": (_FORK, _DENIED),
}

_VICTIM = "import fcntl, resource\n"
EXTRA = [
    Case("L01-fork", "def start():\n    pid = os.fork()\n    pid or os._exit(0)\n    return pid\nattempt(start)"),
    Case("L01-vfork", 'attempt(os.posix_spawn, "/bin/true", ["true"], {})'),
    Case(
        "L01-clone",
        'def start():\n    pid = call("clone", 17, 0, 0, 0, 0)\n    pid or os._exit(0)\n    return pid\nattempt(start)',
    ),
    Case(
        "L01-clone-shared-memory",
        'def start():\n    pid = call("clone", 0x4100 | 17, 0, 0, 0, 0)\n    pid or os._exit(0)\n    return pid\n'
        "attempt(start)",
    ),
    Case("L02-exec", "attempt(os.execv, '/bin/echo', ['echo', 'LEAK'])"),
    Case("L03-renice-others", "attempt(os.setpriority, os.PRIO_PROCESS, VICTIM, 5)"),
    Case("L03-renice-user", "attempt(os.setpriority, os.PRIO_USER, os.getuid(), 1)", control=""),
    Case("L03-affinity-of-others", "attempt(os.sched_setaffinity, VICTIM, {0})"),
    Case("L03-io-priority-of-others", 'attempt(call, "ioprio_set", 1, VICTIM, 3 << 13)'),
    Case("L04-signal-by-owner", _VICTIM + "r, w = os.pipe()\nattempt(fcntl.fcntl, r, 8, VICTIM)"),
    Case("L04-signal-kind", _VICTIM + "r, w = os.pipe()\nattempt(fcntl.fcntl, r, 10, 9)"),
    Case("L04-thread-signal", 'attempt(call, "tkill", VICTIM, 0)'),
    Case(
        "L04-queued-signal", 'attempt(call, "rt_sigqueueinfo", VICTIM, 0, struct.pack("4i", 0, 0, -1, 0) + bytes(112))'
    ),
    Case("L05-outlive", 'attempt(call, "prctl", 1, 0, 0, 0, 0)'),
    Case("L06-command-line", 'attempt(open, f"/proc/{VICTIM}/cmdline")\nattempt(open, f"/proc/{VICTIM}/status")'),
    Case("L06-own-net", "attempt(open, '/proc/self/net/tcp')\nattempt(open, '/proc/self/net/unix')"),
    Case("L06-own-task", "attempt(open, f'/proc/self/task/{os.getpid()}/net/tcp')"),
    Case("L07-list-tmp", "attempt(os.listdir, '/tmp')"),
    Case("L07-shared-memory", "attempt(open, '/dev/shm/' + MARK, 'w')", control="mark"),
    Case("L07-accounts", "attempt(open, '/etc/passwd')\nattempt(open, '/etc/hosts')"),
    Case("L08-attributes", "attempt(os.getxattr, GRANTED + '/file.txt', 'user.x')", control="", refusals=("ENOTSUP",)),
    Case("L08-open-path-chmod", "fd = os.open(CANARY, os.O_PATH)\nattempt(os.chmod, f'/proc/self/fd/{fd}', 0o644)"),
    Case("L08-fchmod", "attempt(os.fchmod, os.open(GRANTED + '/file.txt', 0), 0o644)"),
    Case("L08-futime", "attempt(os.utime, os.open(GRANTED + '/file.txt', 0))"),
    Case("L09-unlinked-parent", "os.chdir('..')\nattempt(os.listdir, '.')\nattempt(open, MARK, 'w')", control=""),
    Case(
        "L09-copy-of-the-beginning",
        "attempt(open, '../began/data.csv')\nattempt(open, '../began/' + MARK, 'w')",
        control="",
    ),
    Case(
        "L10-copies",
        "import shutil\nshutil.copy2('data.csv', 'x'); shutil.copytree('.', '../tmp/y')\nprint(open('x').read())",
        says="a,b",
        control="",
    ),
]

LANDLOCK: dict[str, Case] = {
    # Class J attacks how namespaces are used, and no host can be allowed without them.
    **{id: case for id, case in BY_ID.items() if not id.startswith("J") and "allow_hosts" not in case.policy},
    **{id: replace(BY_ID[id], **changes) for id, (_, changes) in DIFFERENT.items()},
    **{case.id: case for case in EXTRA},
}
