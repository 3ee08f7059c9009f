"""The system call filter: an allow-list with argument rules, assembled to classic BPF.

A call that is not on the list fails with EPERM, one that this list has never heard of with ENOSYS, so that C
libraries fall back as on an older kernel. Another architecture's calls kill the process; the x32 variants
of x86_64 fail with ENOSYS. `simulate` runs a program without a kernel, which is how tests read every entry.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from . import kernel, syscalls

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x50000
_LOAD, _AND = 0x20, 0x54
_EQUAL, _AT_LEAST, _ABOVE, _ANY_BIT = 0x15, 0x35, 0x25, 0x45
_JUMP, _RETURN = 0x05, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_X32 = 0x40000000
_LAST_KNOWN = 467

PLAIN = """
read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask
rt_sigreturn pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise dup
dup2 pause nanosleep getitimer alarm setitimer getpid sendfile connect accept sendto recvfrom sendmsg recvmsg
shutdown bind listen getsockname getpeername setsockopt getsockopt fork vfork execve exit wait4 kill uname
fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat link
unlink symlink readlink chmod fchmod chown fchown lchown umask gettimeofday getrlimit getrusage sysinfo times
getuid getgid setuid setgid geteuid getegid setpgid getppid getpgrp setsid setreuid setregid getgroups
setgroups setresuid getresuid setresgid getresgid getpgid setfsuid setfsgid getsid capget capset
rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend sigaltstack utime statfs
fstatfs getpriority sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
sched_rr_get_interval mlock munlock mlockall munlockall arch_prctl setrlimit sync syncfs gettid readahead
setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr
lremovexattr fremovexattr tkill time futex sched_getaffinity epoll_create getdents64 set_tid_address
restart_syscall fadvise64 timer_create timer_settime timer_gettime timer_getoverrun timer_delete
clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes waitid ioprio_get
openat mkdirat fchownat futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat
pselect6 ppoll set_robust_list get_robust_list sync_file_range utimensat epoll_pwait signalfd timerfd_create
eventfd fallocate timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2 preadv
pwritev recvmmsg sendmmsg getcpu sched_getattr renameat2 getrandom execveat membarrier mlock2 copy_file_range
preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx rseq pidfd_send_signal pidfd_open close_range
openat2 faccessat2 epoll_pwait2 landlock_create_ruleset landlock_add_rule landlock_restrict_self futex_waitv
fchmodat2 futex_wake futex_wait futex_requeue mseal
""".split()
"""Calls allowed whatever their arguments."""

WATCHING = "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch".split()
"""Allowed where the file tree is private: watches work on paths that Landlock denies."""

METADATA = """
chmod fchmodat fchmodat2 chown lchown fchownat utime utimes futimesat utimensat setxattr lsetxattr removexattr
lremovexattr
""".split()
"""Changes to a file by its path, which Landlock does not see; allowed where the file tree is private."""

SHARED_MEMORY = """
memfd_create shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open
mq_unlink mq_timedsend mq_timedreceive mq_getsetattr mq_notify
""".split()
"""Memory that no process is charged for; allowed where a control group counts it."""

TERMINAL_AND_FILE_REQUESTS = (
    0x5401, 0x5402, 0x5403, 0x5404, 0x540B, 0x540F, 0x5410, 0x5411, 0x5413,  # terminal: attributes, group
    0x541B, 0x5421, 0x5429, 0x5450, 0x5451,  # bytes waiting, non-blocking, session, close-on-exec
    0x8912, 0x8913, 0x8915, 0x8933,  # interfaces of the own network namespace: read only
)  # fmt: skip
"""The `ioctl` requests allowed (TIOCSTI, 0x5412, and TIOCLINUX, 0x541C, are not among them)."""

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
_MAKE_FIFO, _MAKE_REGULAR, _MAKE_SOCKET, _FILE_TYPE = 0o010000, 0o100000, 0o140000, 0o170000
_PR_SET_SECCOMP = 22


@dataclass
class _Assembler:
    """Instructions with named jump targets.

    A conditional jump reaches 255 instructions; where the target is farther it goes through a plain jump. The
    fewer instructions, the less time the kernel takes to check and compile a filter for every sandbox.
    """

    code: list[list[int]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    open_jumps: list[tuple[int, str]] = field(default_factory=list)

    def label(self, name: str) -> None:
        self.labels[name] = len(self.code)

    def load(self, offset: int) -> None:
        self.code.append([_LOAD, 0, 0, offset])

    def load_argument(self, position: int, *, high: bool = False) -> None:
        self.load(_ARGUMENTS + 8 * position + (4 if high else 0))

    def mask(self, bits: int) -> None:
        self.code.append([_AND, 0, 0, bits])

    def finish(self, action: int) -> None:
        self.code.append([_RETURN, 0, 0, action])

    def go(self, target: str) -> None:
        self.open_jumps.append((len(self.code), target))
        self.code.append([_JUMP, 0, 0, 0])

    def when(self, test: int, operand: int, target: str) -> None:
        """Go to `target` if the accumulator passes; fall through if not."""
        self.code.append([test, 0, 1, operand])
        self.go(target)

    def build(self) -> bytes:
        targets = dict(self.open_jumps)
        tests = (_EQUAL, _AT_LEAST, _ABOVE, _ANY_BIT)
        near = {place - 1 for place in targets if place and self.code[place - 1][0] in tests}
        while True:
            address = self._addresses(near)
            distance = {
                place: address[self.labels[name]] - address[place] - 1 for place, name in targets.items()
            }
            far = {place for place in near if distance[place + 1] + 1 > 255}
            if not far:
                break
            near -= far
        built = []
        for place, (operation, if_true, if_false, operand) in enumerate(self.code):
            if place in near:  # its plain jump, which comes next, is left out
                target = address[self.labels[targets[place + 1]]] - address[place] - 1
                built.append(struct.pack("=HBBI", operation, target, 0, operand))
            elif place - 1 not in near:
                built.append(struct.pack("=HBBI", operation, if_true, if_false, distance.get(place, operand)))
        return b"".join(built)

    def _addresses(self, near: set[int]) -> list[int]:
        """Where each instruction ends up if the plain jumps behind `near` are left out."""
        found = [0]
        for place in range(len(self.code)):
            found.append(found[-1] + (place - 1 not in near))
        return found


def _first_argument_is_zero(out: _Assembler) -> None:
    """For calls that take a pid: only the caller itself, never the sandbox's init."""
    out.load_argument(0)
    out.when(_EQUAL, 0, "allow")
    out.finish(ERRNO | errno.EPERM)


def _own_priority(out: _Assembler) -> None:
    out.load_argument(0)
    out.when(_ABOVE, 1, "deny")  # 0 is PRIO_PROCESS, 1 PRIO_PGRP (and IOPRIO_WHO_PROCESS)
    out.load_argument(1)
    out.when(_EQUAL, 0, "allow")
    out.finish(ERRNO | errno.EPERM)


def _limits_of_self(out: _Assembler) -> None:
    """`prlimit64`: set only on oneself, by pid 0; reading is free."""
    out.load_argument(0)
    out.when(_EQUAL, 0, "allow")
    for high in (False, True):
        out.load_argument(2, high=high)
        out.code.append([_EQUAL, 1, 0, 0])
        out.finish(ERRNO | errno.EPERM)
    out.finish(ALLOW)


def _no_namespaces(out: _Assembler) -> None:
    out.load_argument(0)
    out.when(_ANY_BIT, kernel.NAMESPACE_FLAGS, "deny")
    out.finish(ALLOW)


def _one_of(position: int, values: Iterable[int], refusal: int) -> Callable[[_Assembler], None]:
    def rule(out: _Assembler) -> None:
        out.load_argument(position)
        for value in values:
            out.when(_EQUAL, value, "allow")
        out.finish(ERRNO | refusal)

    return rule


def _harmless_node(position: int) -> Callable[[_Assembler], None]:
    """`mknod`: pipes, sockets and plain files."""

    def rule(out: _Assembler) -> None:
        out.load_argument(position)
        out.mask(_FILE_TYPE)
        for kind in (0, _MAKE_FIFO, _MAKE_REGULAR, _MAKE_SOCKET):
            out.when(_EQUAL, kind, "allow")
        out.finish(ERRNO | errno.EPERM)

    return rule


def _no_own_filters(out: _Assembler) -> None:
    out.load_argument(0)
    out.when(_EQUAL, _PR_SET_SECCOMP, "deny")
    out.finish(ALLOW)


def _unsupported(out: _Assembler) -> None:
    out.finish(ERRNO | errno.ENOSYS)


def argument_rules(families: Iterable[int]) -> dict[str, Callable[[_Assembler], None]]:
    """The calls that are judged by their arguments."""
    return {
        "clone": _no_namespaces,
        "clone3": _unsupported,  # its flags are behind a pointer; C libraries fall back to clone
        "socket": _one_of(0, tuple(families), errno.EAFNOSUPPORT),
        "socketpair": _one_of(0, (AF_UNIX,), errno.EAFNOSUPPORT),
        "ioctl": _one_of(1, TERMINAL_AND_FILE_REQUESTS, errno.ENOTTY),
        "personality": _one_of(0, (0, 0xFFFFFFFF), errno.EPERM),
        "prlimit64": _limits_of_self,
        "prctl": _no_own_filters,
        "setpriority": _own_priority,
        "ioprio_set": _own_priority,
        "sched_setaffinity": _first_argument_is_zero,
        "sched_setscheduler": _first_argument_is_zero,
        "sched_setparam": _first_argument_is_zero,
        "sched_setattr": _first_argument_is_zero,
        "mknod": _harmless_node(1),
        "mknodat": _harmless_node(2),
    }


@dataclass(frozen=True)
class Policy:
    """What a filter depends on.

    Attributes:
        families: socket families that may be opened; socket pairs are always allowed.
        shared_memory: allow memory that belongs to no process (a control group must count it).
        private_tree: allow inotify and changes of modes, owners and times by path.
    """

    families: tuple[int, ...] = (AF_UNIX,)
    shared_memory: bool = False
    private_tree: bool = True


def allowed_calls(policy: Policy) -> list[str]:
    """Names allowed whatever their arguments, without the ones judged by arguments."""
    shared = () if policy.private_tree else METADATA
    return [
        *(name for name in PLAIN if name not in shared),
        *(WATCHING if policy.private_tree else ()),
        *(SHARED_MEMORY if policy.shared_memory else ()),
    ]


def program(policy: Policy, architecture: str = platform.machine()) -> bytes:
    """The filter for `policy`.

    Raises:
        KeyError: an architecture for which there is no table.
    """
    numbers = syscalls.numbers(architecture)
    rules = {name: rule for name, rule in argument_rules(policy.families).items() if name in numbers}
    out = _Assembler()
    out.load(_ARCHITECTURE)
    out.code.append([_EQUAL, 1, 0, syscalls.AUDIT[architecture]])
    out.finish(KILL)
    out.load(_NUMBER)
    if architecture == "x86_64":
        out.when(_AT_LEAST, _X32, "unknown")
    for name in rules:
        out.when(_EQUAL, numbers[name], f"rule {name}")
    _search(out, _ranges(numbers[name] for name in allowed_calls(policy) if name in numbers))
    for name, rule in rules.items():
        out.label(f"rule {name}")
        rule(out)
    out.label("refused")
    out.when(_ABOVE, _LAST_KNOWN, "unknown")
    out.label("deny")
    out.finish(ERRNO | errno.EPERM)
    out.label("unknown")
    out.finish(ERRNO | errno.ENOSYS)
    out.label("allow")
    out.finish(ALLOW)
    return out.build()


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted numbers as first and last of every run."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return [(first, last) for first, last in runs]


def _search(out: _Assembler, runs: list[tuple[int, int]], name: str = "search") -> None:
    """Binary search of the accumulator among `runs`."""
    if len(runs) == 1:
        first, last = runs[0]
        out.when(_ABOVE, last, "refused")
        out.when(_AT_LEAST, first, "allow")
        out.go("refused")
        return
    middle = len(runs) // 2
    out.when(_AT_LEAST, runs[middle][0], f"{name}+")
    _search(out, runs[:middle], f"{name}-")
    out.label(f"{name}+")
    _search(out, runs[middle:], f"{name}+.")


def install(code: bytes) -> None:
    """Put a program in force for this process and its children, for ever.

    Raises:
        OSError: the kernel refused.
    """
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    kernel.no_new_privileges()
    kernel.syscall("seccomp", 1, 0, header)


def simulate(
    code: bytes, number: int, arguments: tuple[int, ...] = (), architecture: str = platform.machine()
) -> int:
    """What `code` answers to one call, computed without the kernel.

    Raises:
        ValueError: the program uses an instruction that it should not, runs off its end or loops.
    """
    padded = [value & (1 << 64) - 1 for value in (*arguments, *[0] * 6)[:6]]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, syscalls.AUDIT.get(architecture, 0), 0, *padded)
    instructions = list(struct.iter_unpack("=HBBI", code))
    place = accumulator = 0
    tests: dict[int, Callable[[int], bool]] = {
        _EQUAL: lambda operand: accumulator == operand,
        _AT_LEAST: lambda operand: accumulator >= operand,
        _ABOVE: lambda operand: accumulator > operand,
        _ANY_BIT: lambda operand: bool(accumulator & operand),
    }
    for _ in range(len(instructions)):
        if place >= len(instructions):
            break
        operation, if_true, if_false, operand = instructions[place]
        place += 1
        if operation == _LOAD:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif operation == _AND:
            accumulator &= operand
        elif operation == _RETURN:
            return int(operand)
        elif operation == _JUMP:
            place += operand
        elif operation in tests:
            place += if_true if tests[operation](operand) else if_false
        else:
            raise ValueError(f"instruction {operation:#x}")
    raise ValueError("the program does not end")
