"""B: what a program could change outside of its view."""

from __future__ import annotations

from cases import Case

WRITE = [
    *(
        Case(
            f"B01-{path.strip('/').replace('/', '-') or 'root'}",
            f"attempt(open, {path!r} + '/' + MARK, 'w')",
            control=control,
        )
        for path, control in (
            ("/usr", "mark"),
            ("/usr/lib", "mark"),
            ("/etc", "mark"),
            ("/", "mark"),
            ("/ws", ""),
            ("/proc", ""),
        )
    ),
    Case("B01-granted", "attempt(open, GRANTED + '/' + MARK, 'w')"),
    Case("B01-outside", "attempt(open, OUTSIDE + '/' + MARK, 'w')"),
    Case("B01-interpreter", "attempt(open, os.path.dirname(os.__file__) + '/' + MARK, 'w')", control="mark"),
    Case("B02-remount", 'alone()\nattempt(call, "mount", None, b"/", None, 32 | 4096, None)'),
    Case(
        "B02-remount-granted",
        'alone()\nif not JAIL: call("mount", GRANTED.encode(), GRANTED.encode(), None, 4096, None)\n'
        'attempt(call, "mount", None, GRANTED.encode(), None, 32 | 4096, None)',
    ),
    Case("B03-tmp", "open('/tmp/' + MARK, 'w').write('x')\nprint('written')", says="written", control="mark"),
    Case("B03-shm", "open('/dev/shm/' + MARK, 'w').write('x')\nprint('written')", says="written", control="mark"),
    Case("B04-hard-link", "attempt(os.link, GRANTED + '/file.txt', 'hard')", says=" 18"),
    Case("B04-rename-in", "attempt(os.rename, GRANTED + '/movable.txt', 'moved')"),
    Case("B05-rename-out", "open('x', 'w').close()\nattempt(os.rename, 'x', '../' + MARK)"),
    Case("B05-workspace", "open(MARK, 'w').close()\nprint('written')", says="written", control="mark"),
    Case("B05-own-file", "open(WORK + '/data.csv', 'a').close()\nprint('own view')", says="own view", control=""),
    Case("B12-core-pattern", "attempt(open, '/proc/sys/kernel/core_pattern', 'r+')"),
    Case("B12-host-name", "attempt(open, '/proc/sys/kernel/hostname', 'r+')"),
    Case("B12-interpreter", "attempt(open, os.__file__, 'r+')"),
    Case("B12-id-maps", "attempt(open, '/proc/self/uid_map', 'w')\nattempt(open, '/proc/self/oom_score_adj', 'w')"),
    Case("B12-executable", "attempt(open, '/proc/self/exe', 'r+b')", refusals=("ETXTBSY",)),
    Case("B12-uevent-helper", "attempt(open, '/sys/kernel/uevent_helper', 'r+')"),
    Case("B13-chmod", "attempt(os.chmod, GRANTED + '/file.txt', 0o644)"),
    Case("B13-chown", "attempt(os.chown, GRANTED + '/file.txt', os.getuid(), os.getgid())"),
    Case("B13-utime", "attempt(os.utime, GRANTED + '/file.txt')"),
    Case("B13-xattr", "attempt(os.setxattr, GRANTED + '/file.txt', 'user.x', b'x')"),
    Case("B13-truncate", "attempt(os.truncate, GRANTED + '/empty', 0)"),
    Case("B13-unlink", "open_ = os.path.exists\nattempt(os.unlink, GRANTED + '/spare.txt')"),
    Case("B13-mkdir", "attempt(os.mkdir, GRANTED + '/' + MARK)"),
    Case("B13-symlink", "attempt(os.symlink, '/', GRANTED + '/' + MARK)"),
    Case("B15-fchmodat", 'attempt(call, "fchmodat", -100, (GRANTED + "/file.txt").encode(), 0o644)'),
    Case("B15-fchmodat2", 'attempt(call, 452, -100, (GRANTED + "/file.txt").encode(), 0o644, 0)', says=" 38"),
    Case("B15-utimensat", 'attempt(call, "utimensat", -100, (GRANTED + "/file.txt").encode(), None, 0)'),
    Case(
        "B15-by-descriptor",
        "fd = os.open(GRANTED + '/file.txt', os.O_RDONLY)\nattempt(os.fchmod, fd, 0o644)\nattempt(os.utime, fd)",
    ),
    Case("B16-fifo", "attempt(os.open, GRANTED + '/fifo', os.O_WRONLY | os.O_NONBLOCK)"),
    Case("B16-writable-map", "attempt(os.open, GRANTED + '/file.txt', os.O_RDWR)"),
    Case(
        "B17-reopen-for-writing",
        "fd = os.open(GRANTED + '/file.txt', os.O_RDONLY)\nattempt(open, f'/proc/self/fd/{fd}', 'r+b')",
    ),
    Case("B17-fallocate", "attempt(lambda: os.posix_fallocate(os.open(GRANTED + '/empty', os.O_RDWR), 0, 1))"),
    Case("D14-mknod-disk", "attempt(os.mknod, 'sda', 0o60600, os.makedev(8, 0))"),
    Case("D14-mknod-null", "attempt(os.mknod, 'null', 0o20600, os.makedev(1, 3))"),
    Case("D14-mknod-whiteout", "attempt(os.mknod, 'whiteout', 0o20600, 0)"),
    Case(
        "B19-setuid-bit",
        "import shutil\nshutil.copy('/bin/true', 'suid')\nos.chmod('suid', 0o6755)\nprint(oct(os.stat('suid').st_mode))",
        says="0o106755",
        control="",
    ),
]
