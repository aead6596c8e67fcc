"""The seccomp policy, checked by running the filter itself: every system call, on both architectures."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

import pytest

from sandbox.worker import landlock_filter, seccomp
from sandbox.worker.syscalls import AUDIT_ARCH, LAST, numbers

ALLOW, KILL, NOTIFY = 0x7FFF0000, 0x80000000, 0x7FC00000
EPERM, ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
ARCHITECTURES = sorted(AUDIT_ARCH)
CHECKED = {"clone", "clone3", "fcntl", "ioctl", "mknod", "mknodat", "personality", "prctl", "prlimit64", "socketpair"}
WITH_TCP = {"socket", "connect", "sendto", "sendmsg", "setsockopt"}
"""What differs in the filter of a program that has a proxy."""
HIGH = 1 << 40
"""A bit that the kernel does not look at in the arguments that are checked."""


def run(code: bytes, architecture: int, number: int, arguments: Sequence[int] = ()) -> int:
    """What the kernel's classic BPF machine would return for the filter `code` (seccomp(2), `linux/filter.h`)."""
    words = [*arguments, *[0] * 6][:6]
    data = struct.pack("<iIQ6Q", number if number < 1 << 31 else number - (1 << 32), architecture, 0, *words)
    program = list(struct.iter_unpack("HBBI", code))
    at = accumulator = 0
    for _ in range(10_000):
        op, true, false, k = program[at]
        at += 1
        match op:
            case 0x20:
                assert k % 4 == 0 and k < 64
                accumulator = struct.unpack_from("<I", data, k)[0]
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x15:
                at += true if accumulator == k else false
            case 0x35:
                at += true if accumulator >= k else false
            case 0x45:
                at += true if accumulator & k else false
            case 0x06:
                return k
            case _:
                raise AssertionError(f"no such instruction: {op:#x}")
    raise AssertionError("the filter does not end")


@pytest.fixture(params=ARCHITECTURES)
def filtered(request):
    """The verdict on a call by number or name, on one architecture."""
    return _filtered(request.param)


@pytest.fixture(params=ARCHITECTURES)
def filtered_with_tcp(request):
    """The same of the filter for a program that has a proxy."""
    return _filtered(request.param, tcp=True)


def _filtered(name, *, tcp=False, branches=False, few=False, lines=None):
    lines = seccomp.policy(name, tcp=tcp, branches=branches, few=few) if lines is None else lines
    code, table = seccomp.assemble(lines), numbers(name)

    def verdict(call: int | str, *arguments: int, arch: int = AUDIT_ARCH[name]) -> int:
        return run(code, arch, table[call] if isinstance(call, str) else call, arguments)

    verdict.table = table
    return verdict


def test_every_call_is_allowed_denied_or_unknown_as_the_table_says(filtered):
    names = {number: name for name, number in filtered.table.items()}
    for number in range(1025):
        name = names.get(number, "")
        if name in CHECKED:
            continue
        want = ENOSYS if number > LAST else ALLOW if name in seccomp.ALLOWED else EPERM
        assert filtered(number) == want, (number, name)
        assert filtered(number, *[0xFFFF_FFFF_FFFF_FFFF] * 6) == want, (number, name)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("tcp", [False, True])
def test_what_a_branch_needs_is_asked_for_and_nothing_else_differs(name, tcp):
    plain, branches = _filtered(name, tcp=tcp), _filtered(name, tcp=tcp, branches=True)
    asked = {("unshare", 0x10020000), ("prctl", 4)}
    always = {"landlock_restrict_self", "seccomp", "capset"}
    for call in sorted(plain.table):
        for first in (*range(64), 0x10000000, 0x20000, 0x10020000, 0x30020000, 0x7FFFFFFF, 0xFFFFFFFF):
            want = NOTIFY if call in always or (call, first) in asked else plain(call, first)
            assert branches(call, first) == want, (call, hex(first))
            assert branches(call, HIGH | first) == want, (call, hex(first))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_few_calls_are_a_part_of_all_and_none_of_them_starts_anything(name):
    every, few = _filtered(name, branches=True), _filtered(name, branches=True, few=True)
    copy = 0x01208011  # CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD
    asked = {"unshare", "prctl", "landlock_restrict_self", "seccomp", "capset"}
    for call in sorted(few.table):
        if few(call) != every(call) and call not in asked | {"clone"}:
            assert few(call) == EPERM and call not in seccomp.FEW, call
    assert len(seccomp.FEW) <= 80 and seccomp.FEW < seccomp.ALLOWED
    for call in "execve execveat fork vfork socket socketpair symlinkat linkat fchmodat kill".split():
        assert call not in few.table or few(call) == EPERM, call
    assert few("clone", copy) == ALLOW
    for bit in range(32):  # neither a thread, nor a child, nor a namespace
        assert few("clone", copy ^ 1 << bit) == EPERM
    assert few("clone", 0x003D0F00) == EPERM and few("clone", 17) == EPERM and few("clone3") == ENOSYS


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_between_branches_others_are_left_alone(name):
    new, old = (_filtered(name, lines=seccomp.between_branches(name, pid)) for pid in (None, 77))
    mine = {"setpriority": (0, 0), "ioprio_set": (1, 0), "sched_setaffinity": (0,)}
    theirs = {"setpriority": (0, 5), "ioprio_set": (1, 5), "sched_setaffinity": (5,)}
    for call in new.table:
        assert new(call, *mine.get(call, ())) == ALLOW
        assert new(call, *theirs.get(call, (5, 5))) == (EPERM if call in theirs else ALLOW)
    for call in ("kill", "tgkill", "tkill", "rt_sigqueueinfo"):
        assert (old(call, 77), old(call, 78), old(call, 0xFFFFFFFF)) == (ALLOW, EPERM, EPERM)
    assert old("pidfd_send_signal", 77) == EPERM and old("read", 5) == ALLOW


def test_x32_and_negative_numbers_kill(filtered):
    for number in (*range(1025), 0x3FFFFFFF):
        for wrong in (0x40000000 | number, 0x80000000 | number, 0xFFFFFFFF - number):
            assert filtered(wrong) == KILL, hex(wrong)


@pytest.mark.parametrize("arch", [0x40000003, 0x40000028, 0xC00000F3, 0, 0xFFFFFFFF, *AUDIT_ARCH.values()])
def test_another_architecture_kills(filtered, arch):
    own = filtered(0, arch=arch) != KILL
    for number in range(600):
        assert (filtered(number, arch=arch) != KILL) is (own and number < 0x40000000)


def test_only_one_architecture_is_its_own():
    for name in ARCHITECTURES:
        code = seccomp.assemble(seccomp.policy(name))
        assert [a for a in ARCHITECTURES if run(code, AUDIT_ARCH[a], 100) != KILL] == [name]


def test_what_must_never_be_allowed():
    never = """
    acct add_key bpf capset chroot clone3 create_module delete_module fanotify_init finit_module fsconfig
    fsmount fsopen fspick init_module inotify_add_watch inotify_init1 io_uring_enter io_uring_register
    io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lookup_dcookie mbind memfd_create memfd_secret migrate_pages modify_ldt mount
    mount_setattr move_mount move_pages mq_open name_to_handle_at open_by_handle_at open_tree perf_event_open
    pidfd_getfd pivot_root process_madvise process_mrelease process_vm_readv process_vm_writev ptrace quotactl
    reboot remap_file_pages request_key sched_setattr sched_setscheduler seccomp setdomainname setfsgid setfsuid
    setgid setgroups sethostname setns setregid setresgid setresuid setreuid setuid settimeofday shmget socket
    connect bind listen accept accept4 splice swapoff swapon sysfs syslog tee umount2 unshare uselib userfaultfd
    vhangup vmsplice
    """.split()
    assert not set(never) & seccomp.ALLOWED
    assert set(never) <= set().union(*(numbers(a) for a in ARCHITECTURES))


def test_allowed_names_exist():
    assert set().union(*(numbers(a) for a in ARCHITECTURES)) >= seccomp.ALLOWED


@pytest.mark.parametrize("bit", [7, 17, 25, 26, 27, 28, 29, 30])
def test_clone_makes_no_namespace(filtered, bit):
    assert filtered("clone", 17) == ALLOW
    assert filtered("clone", 0x3D0F00) == ALLOW, "a thread"
    for high in (0, HIGH):
        assert filtered("clone", 17 | 1 << bit | high) == EPERM
    assert filtered("clone3", 0, 64) == ENOSYS


def test_ioctl_prctl_fcntl_and_personality_look_at_the_low_word(filtered):
    for request in (0x5401, 0x541B, 0x5421):
        assert filtered("ioctl", 0, request) == ALLOW
    for request in (0x5412, 0x541C, 0x5409, 0x540E, 0x4B3A, 0x8912, 0x6609, 0xC0185879):
        assert filtered("ioctl", 0, request) == filtered("ioctl", 0, request | HIGH) == EPERM
    for option in (15, 38, 1):
        assert filtered("prctl", option) == ALLOW
    for option in (4, 22, 24, 28, 35, 36, 47, 0x59616D61, 53, 54, 62):
        assert filtered("prctl", option) == filtered("prctl", option | HIGH) == EPERM
    for command in (0, 1, 3, 4, 6, 1030, 1031):
        assert filtered("fcntl", 0, command) == ALLOW
    for command in (1024, 1026):
        assert filtered("fcntl", 0, command) == filtered("fcntl", 0, command | HIGH) == EPERM
    assert filtered("personality", 0xFFFFFFFF) == ALLOW
    for value in (0, 0x40000, 0x400000, 0x8):
        assert filtered("personality", value) == EPERM


def test_pairs_are_streams_of_this_machine_only(filtered):
    for kind in (1, 5, 1 | 0o2000000, 1 | 0o4000, 5 | 0o2004000):
        assert filtered("socketpair", 1, kind) == ALLOW
    for kind in (2, 3, 4, 10, 2 | 0o2000000, 0):
        assert filtered("socketpair", 1, kind) == EPERM
    for family in (0, 2, 10, 16, 30, 40):
        assert filtered("socketpair", family, 1) == EPERM


def test_limits_are_ones_own(filtered):
    assert filtered("prlimit64", 0, 7) == ALLOW
    for pid in (1, 2, 0xFFFFFFFF):
        assert filtered("prlimit64", pid, 7) == EPERM


@pytest.mark.parametrize(("name", "index"), [("mknod", 1), ("mknodat", 2)])
def test_no_device_is_made(filtered, name, index):
    if name not in filtered.table:
        pytest.skip("this architecture has no such call")
    for kind, want in ((0, ALLOW), (0o100000, ALLOW), (0o010000, ALLOW), (0o140000, ALLOW), (0o020000, EPERM)):
        assert filtered(name, *[0] * index, kind | 0o666) == want
    for kind in (0o060000, 0o020000, 0o040000, 0o120000, 0o170000):
        assert filtered(name, *[0] * index, kind | 0o4777) == EPERM


def test_tcp_changes_nothing_but_what_it_needs(filtered_with_tcp):
    table = filtered_with_tcp.table
    without = _filtered(next(name for name in ARCHITECTURES if numbers(name) == table))
    names = {number: name for name, number in table.items()}
    for number in range(1025):
        if names.get(number) in WITH_TCP:
            continue
        for first in (0, 1, 2, 17, 0x5401, 0x7E020000):
            for second in (0, 1, 2, 1024, 0x5401, 0x2000):
                arguments = (first, second, 0x20000000, 0x20000000)
                assert filtered_with_tcp(number, *arguments) == without(number, *arguments), names.get(number)


def test_a_socket_is_tcp_of_version_4(filtered, filtered_with_tcp):
    for kind in (1, 1 | 0o2000000, 1 | 0o4000, 1 | HIGH):
        for protocol in (0, 6):
            assert filtered_with_tcp("socket", 2, kind, protocol) == ALLOW
            assert filtered("socket", 2, kind, protocol) == EPERM
    for kind in (0, 2, 3, 4, 5, 6, 10, 2 | 0o2000000, 3 | 0o4000):
        assert filtered_with_tcp("socket", 2, kind) == filtered_with_tcp("socket", 2, kind | HIGH) == EPERM
    for protocol in (1, 17, 132, 136, 255, 256, 262):  # ICMP, UDP, SCTP, UDP-Lite, raw, SMC, MPTCP
        assert filtered_with_tcp("socket", 2, 1, protocol) == EPERM
        assert filtered_with_tcp("socket", 2, 1, protocol | HIGH) == EPERM
    for family in (f for f in range(50) if f != 2):
        assert filtered_with_tcp("socket", family, 1, 0) == EPERM
    assert filtered_with_tcp("connect", 3, 0, 16) == ALLOW
    for call in ("bind", "listen", "accept", "accept4", "sendmmsg", "recvmmsg"):
        assert filtered_with_tcp(call, 3, 0, 16) == EPERM


def test_nothing_connects_by_sending(filtered, filtered_with_tcp):
    for call, index in (("sendto", 3), ("sendmsg", 2)):
        for flags in (0, 0x4000, 0x40):
            assert filtered_with_tcp(call, *[0] * index, flags) == ALLOW
        for flags in (0x20000000, 0x20004000, 0x20000000 | HIGH, 0xFFFFFFFF):
            assert filtered_with_tcp(call, *[0] * index, flags) == EPERM
            assert filtered(call, *[0] * index, flags) == ALLOW, "a pair has nothing to connect to"


def test_options_of_a_socket_are_those_of_sockets_and_tcp(filtered_with_tcp):
    for level, option in ((1, 9), (1, 31), (6, 1), (6, 4), (6, 23)):
        assert filtered_with_tcp("setsockopt", 3, level, option) == ALLOW
    for level, option in ((6, 31), (0, 1), (0, 64), (41, 1), (255, 1), (17, 103), (284, 1)):
        assert filtered_with_tcp("setsockopt", 3, level, option) == EPERM
        assert filtered_with_tcp("setsockopt", 3, level | HIGH, option | HIGH) == EPERM


@pytest.fixture(params=ARCHITECTURES)
def alone(request):
    """The verdict of both filters of a program without namespaces, pid 4242, on a call by name: the stricter one."""
    name = request.param
    codes = [seccomp.assemble(seccomp.policy(name)), seccomp.assemble(landlock_filter.policy(name, 4242))]
    table = numbers(name)

    def verdict(call: int | str, *arguments: int) -> int:
        number = table[call] if isinstance(call, str) else call
        # Kill comes before an error, that before allowing; of two errors the filter installed last counts (seccomp(2)).
        return min(
            (run(code, AUDIT_ARCH[name], number, arguments) for code in codes),
            key=lambda action: [KILL, EPERM & 0xFFFF0000, ALLOW].index(action & 0xFFFF0000),
        )

    verdict.table = table
    return verdict


def test_alone_every_other_call_is_as_in_the_policy(alone, filtered):
    if alone.table is not filtered.table:
        pytest.skip("two architectures")
    checked = {"clone", "fcntl", "kill", "prctl", "rt_sigqueueinfo", "sched_setaffinity", "setpriority", "tgkill"}
    names = {number: name for name, number in alone.table.items()}
    for number in range(1025):
        name = names.get(number, "")
        if name in checked:
            continue
        want = filtered(number)
        if name in landlock_filter.ALONE:
            want = EPERM
        elif name in landlock_filter.ATTRIBUTES:
            want = 0x00050000 | errno.EOPNOTSUPP
        assert alone(number) == want, (number, name)


def test_alone_there_are_threads_and_no_processes(alone):
    assert alone("clone", 0x3D0F00) == alone("clone", 0x3D0F00 | HIGH) == ALLOW, "a thread"
    for flags in (17, 0, 0x4100 | 17, 0x01200011, HIGH, 0x10000 | 0x10000000):
        assert alone("clone", flags) == EPERM, hex(flags)
    assert alone("clone3") == ENOSYS
    for name in {"fork", "vfork", "execve", "execveat"} & alone.table.keys():
        assert alone(name) == EPERM


def test_alone_signals_and_priorities_are_ones_own(alone):
    for name in ("kill", "tgkill", "rt_sigqueueinfo"):
        assert alone(name, 4242, 4242, 9) == ALLOW
        for pid in (1, 4241, 4243, 0xFFFFFFFF, 0xFFFFFFFF - 4241):
            assert alone(name, pid, pid, 9) == alone(name, pid | HIGH, pid, 9) == EPERM, (name, pid)
    assert alone("kill", 0, 15) == ALLOW and alone("tgkill", 0, 4242, 15) == EPERM
    assert alone("sched_setaffinity", 0) == alone("sched_setaffinity", 4242) == ALLOW
    assert alone("sched_setaffinity", 1) == EPERM
    assert alone("setpriority", 0, 0) == alone("setpriority", 0, 4242) == ALLOW
    for which, who in ((0, 1), (1, 0), (2, 0), (1, 4242)):
        assert alone("setpriority", which, who) == EPERM
    for command in (8, 10, 15, 8 | HIGH):
        assert alone("fcntl", 0, command) == EPERM
    assert alone("fcntl", 0, 4) == ALLOW
    assert alone("prctl", 1, 0) == alone("prctl", 1 | HIGH) == EPERM and alone("prctl", 15) == ALLOW


def test_the_filter_is_short_enough_and_jumps_forward():
    for name in ARCHITECTURES:
        for tcp in (False, True):
            assert len(seccomp.assemble(seccomp.policy(name, tcp=tcp))) // 8 <= 4096  # BPF_MAXINSNS
    far = [seccomp.Instruction(0x15, 1, true="end"), *[seccomp.Instruction(0x54, 1)] * 300]
    with pytest.raises(ValueError, match="out of range"):
        seccomp.assemble([*far, seccomp.Instruction(0x06, 0, label="end")])
    with pytest.raises(ValueError, match="out of range"):
        seccomp.assemble([seccomp.Instruction(0x06, 0, label="start"), seccomp.Instruction(0x15, 1, true="start")])


def test_the_numbers_are_those_of_this_machine():
    """Calls that the C library makes under the same names, by number."""
    import ctypes
    import os

    from sandbox.worker.syscalls import machine, number

    if machine() not in AUDIT_ARCH:
        pytest.skip("no table for this machine")
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(number("getpid")) == os.getpid()
    assert libc.syscall(number("getuid")) == os.getuid()
    assert libc.syscall(number("umask"), 0o22) >= 0
