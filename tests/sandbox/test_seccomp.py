"""The filter, entry by entry, without a kernel: both architectures, every number, every argument rule."""

from __future__ import annotations

import errno

import pytest

from openenv.sandbox.guest import kernel, seccomp, syscalls

ALLOW, KILL = seccomp.ALLOW, seccomp.KILL
EPERM, ENOSYS = seccomp.ERRNO | errno.EPERM, seccomp.ERRNO | errno.ENOSYS
POLICIES = [
    seccomp.Policy(),
    seccomp.Policy(families=(1, 2, 10), shared_memory=True),
    seccomp.Policy(families=(), private_tree=False),
]


@pytest.fixture(params=syscalls.ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_number_gets_the_answer_of_the_list(policy: seccomp.Policy, architecture: str) -> None:
    code = seccomp.program(policy, architecture)
    numbers = syscalls.numbers(architecture)
    listed = {numbers[name] for name in seccomp.allowed_calls(policy) if name in numbers}
    judged = {numbers[name] for name in seccomp.argument_rules(()) if name in numbers}
    for number in range(600):
        answer = seccomp.simulate(code, number, (), architecture)
        if number not in judged:
            assert answer == (ALLOW if number in listed else ENOSYS if number > 467 else EPERM), number


def test_foreign_calls_are_fatal_and_x32_is_not_there() -> None:
    code = seccomp.program(seccomp.Policy(), "x86_64")
    assert seccomp.simulate(code, 1, (), "aarch64") == KILL
    assert seccomp.simulate(code, 1, (), "i386") == KILL
    assert seccomp.simulate(code, 0x40000000 + 1, (), "x86_64") == ENOSYS


DENIED = """
 ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp mount umount2 pivot_root chroot move_mount
open_tree  fsopen fsmount fsconfig mount_setattr setns unshare bpf perf_event_open userfaultfd
io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key kexec_load init_module
finit_module delete_module reboot swapon acct quotactl syslog name_to_handle_at open_by_handle_at
fanotify_init vmsplice splice tee settimeofday clock_settime adjtimex sethostname setdomainname
memfd_create memfd_secret shmget msgget semget mq_open seccomp process_madvise process_mrelease
move_pages mbind migrate_pages modify_ldt iopl ioperm lookup_dcookie
""".split()


@pytest.mark.parametrize("name", DENIED)
def test_dangerous_calls_are_refused(name: str, architecture: str) -> None:
    numbers = syscalls.numbers(architecture)
    if name not in numbers:
        assert architecture == "aarch64"  # only x86 has it
        return
    assert (
        seccomp.simulate(seccomp.program(POLICIES[0], architecture), numbers[name], (), architecture) == EPERM
    )


NAMESPACES = [
    kernel.NEWNS,
    kernel.NEWUSER,
    kernel.NEWPID,
    kernel.NEWNET,
    kernel.NEWIPC,
    kernel.NEWUTS,
    kernel.NEWCGROUP,
]
CASES = [
    ("clone", (0x11,), ALLOW),
    ("clone", (0x3D0F00,), ALLOW),
    *(("clone", (flag | 0x11,), EPERM) for flag in NAMESPACES),
    ("clone3", (0, 88), ENOSYS),
    ("socket", (1, 1, 0), ALLOW),
    ("socket", (2, 1, 0), seccomp.ERRNO | errno.EAFNOSUPPORT),
    ("socket", (16, 3, 0), seccomp.ERRNO | errno.EAFNOSUPPORT),
    ("socket", (40, 1, 0), seccomp.ERRNO | errno.EAFNOSUPPORT),
    ("socketpair", (1, 1, 0), ALLOW),
    ("ioctl", (0, 0x5413), ALLOW),
    ("ioctl", (0, 0x5412), seccomp.ERRNO | errno.ENOTTY),
    ("ioctl", (0, 0x541C), seccomp.ERRNO | errno.ENOTTY),
    ("ioctl", (0, (1 << 32) | 0x5412), seccomp.ERRNO | errno.ENOTTY),
    ("personality", (0,), ALLOW),
    ("personality", (0xFFFFFFFF,), ALLOW),
    ("personality", (0x40000,), EPERM),
    ("prlimit64", (0, 7, 0xDEAD, 0), ALLOW),
    ("prlimit64", (5, 7, 0, 0xDEAD), ALLOW),
    ("prlimit64", (5, 7, 0x7FFD00001000, 0), EPERM),
    ("prlimit64", (5, 7, 1 << 40, 0), EPERM),
    ("prctl", (15, 0), ALLOW),
    ("prctl", (22, 2), EPERM),
    ("setpriority", (0, 0, 5), ALLOW),
    ("setpriority", (0, 1, 19), EPERM),
    ("setpriority", (2, 0, 19), EPERM),
    ("ioprio_set", (1, 1, 0), EPERM),
    ("sched_setaffinity", (0, 8), ALLOW),
    ("sched_setaffinity", (1, 8), EPERM),
    ("sched_setscheduler", (1, 5), EPERM),
    ("mknodat", (-100, 0, 0o010644, 0), ALLOW),
    ("mknodat", (-100, 0, 0o020644, 0x103), EPERM),
    ("mknodat", (-100, 0, 0o060644, 0x103), EPERM),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "answer"), CASES)
def test_arguments_are_judged(name: str, arguments: tuple[int, ...], answer: int, architecture: str) -> None:
    code = seccomp.program(POLICIES[0], architecture)
    number = syscalls.numbers(architecture)[name]
    assert seccomp.simulate(code, number, arguments, architecture) == answer


def test_policies_differ_where_they_should() -> None:
    numbers = syscalls.numbers("x86_64")

    def answer(policy: seccomp.Policy, name: str, *arguments: int) -> int:
        code = seccomp.program(policy, "x86_64")
        return seccomp.simulate(code, numbers[name], arguments, "x86_64")

    plain, counted, shared_tree = POLICIES
    assert answer(counted, "socket", 2) == ALLOW
    assert answer(counted, "memfd_create") == ALLOW
    assert answer(shared_tree, "socket", 1) == seccomp.ERRNO | errno.EAFNOSUPPORT
    assert answer(shared_tree, "inotify_add_watch") == EPERM
    assert answer(plain, "inotify_add_watch") == ALLOW
    for name in ("chmod", "fchmodat", "fchmodat2", "chown", "utimensat", "setxattr"):
        assert (answer(plain, name), answer(shared_tree, name)) == (ALLOW, EPERM)
    assert answer(shared_tree, "fchmod") == ALLOW


def test_a_program_that_does_not_end_is_noticed() -> None:
    with pytest.raises(ValueError, match="does not end"):
        seccomp.simulate(b"\x20\x00\x00\x00\x00\x00\x00\x00", 1)
    with pytest.raises(ValueError, match="instruction"):
        seccomp.simulate(b"\x99\x00\x00\x00\x00\x00\x00\x00", 1)
