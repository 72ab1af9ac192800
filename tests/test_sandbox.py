"""The escape suite: hostile programs are scored as failures, and the host does not notice.

An attack prints "escaped" when it works, which is what its test expects: it would be scored as right. When it is
stopped by an error of the system it says so, and is scored for "wrong output"; an attack that fails for a slip of its
own exits with 1, and its test here fails.
"""

from __future__ import annotations

import os
import platform
import secrets
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import code, sandbox, seccomp
from rlsp.verifiers.settings import Settings

pytestmark = pytest.mark.skipif(bool(sandbox.obstacle()), reason=f"no sandbox here: {sandbox.obstacle()}")

CONTAINED = "test 1 of 1: wrong output"
EXPECTED = {"stdin": "", "stdout": "escaped"}
SYSTEM_CALL = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"


def judge(program: str, *tests: Mapping[str, object], function: str = "", seconds: float = 5.0) -> Verdict:
    grading = {"tests": list(tests) or [EXPECTED], "time_limit": seconds} | ({"function": function} if function else {})
    problem = Problem("p", "code", "?", "", grading=grading)
    return code.verify_all([problem], [f"```python\n{program}\n```"], Settings())[0]


def attempt(attack: str) -> Verdict:
    """The verdict on a program that says whether the system stopped its attack."""
    indented = "\n".join(f"    {line}" for line in attack.split("\n"))
    return judge(f"try:\n{indented}\n    print('escaped')\nexcept OSError as error:\n    print('contained', error)")


def descendants() -> dict[int, int]:
    """Threads of every process below this one, by process id."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found: dict[int, int] = {}
    todo = [os.getpid()]
    while todo:
        parent = todo.pop()
        for process in (each for each, above in parents.items() if above == parent):
            todo.append(process)
            found[process] = len(os.listdir(f"/proc/{process}/task")) if Path(f"/proc/{process}").exists() else 0
    return found


class Watch:
    """Counts the tasks that come below this process for as long as it is open."""

    def __init__(self) -> None:
        self.most, self._before = 0, sum(descendants().values())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._stop.wait(0.02):
            self.most = max(self.most, sum(descendants().values()) - self._before)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(autouse=True)
def nothing_outlives_the_verdict() -> Iterator[None]:
    before = set(descendants())
    yield
    end = time.monotonic() + 2.0
    while left := set(descendants()) - before:
        assert time.monotonic() < end, f"processes outlived the verdict: {left}"
        time.sleep(0.02)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        yield listening


def test_a_harmless_program_passes() -> None:
    assert judge("print('escaped')").reason is Reason.MATCH


# Network


def test_a_server_on_the_host_is_not_reached(server: socket.socket) -> None:
    assert attempt(f"import socket\nsocket.create_connection({server.getsockname()!r}, 2)").detail == CONTAINED
    with pytest.raises(TimeoutError):
        server.accept()


def test_the_same_connection_is_made_without_a_sandbox(server: socket.socket) -> None:
    """So that the test above can fail."""
    sandbox.run(f"import socket\nsocket.create_connection({server.getsockname()!r}, 2)", isolated=False)
    server.accept()[0].close()


@pytest.mark.parametrize(
    "attack",
    [
        "import socket\nsocket.getaddrinfo('example.org', 80)",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "import socket\nsocket.socket(socket.AF_UNIX).connect('/run/dbus/system_bus_socket')",
        "import socket\nsocket.socket(socket.AF_VSOCK).connect((2, 1024))",
        "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    ],
)
def test_no_network(attack: str) -> None:
    assert attempt(attack).detail == CONTAINED


def test_the_network_namespace_holds_a_dead_loopback_only() -> None:
    interfaces = sandbox.run("print(open('/proc/net/dev').read())").stdout.decode()
    assert [line.split(":")[0].strip() for line in interfaces.splitlines() if ":" in line] == ["lo"]


# Files


def outside(tmp_path: Path) -> list[Path]:
    project = Path(code.__file__).parent
    places = [
        tmp_path,
        Path.home(),
        project,
        *map(Path, ("/etc", "/usr/lib", "/", "/dev", "/dev/shm", "/proc/sys/kernel")),
    ]
    return [place / "rlsp-canary" for place in places]


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    paths = outside(tmp_path)
    for path in paths:
        assert attempt(f"open({str(path)!r}, 'w').write('x')").detail == CONTAINED, path
    assert not [path for path in paths if path.exists()]


@pytest.mark.parametrize("path", ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern"])
def test_the_kernel_is_not_configured(path: str) -> None:
    assert attempt(f"open({path!r}, 'w').write('x')").detail == CONTAINED


def test_a_file_of_the_host_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("escaped")
    secret.chmod(0o777)
    assert attempt(f"open({str(secret)!r}).read()").detail == CONTAINED
    assert attempt(f"import os\nos.symlink({str(secret)!r}, 'link')\nopen('link').read()").detail == CONTAINED
    assert attempt(f"import os\nopen('/proc/1/root' + {str(secret)!r}).read()").detail == CONTAINED
    unsafe = sandbox.run(f"print(open({str(secret)!r}).read())", isolated=False)
    assert unsafe.stdout == b"escaped\n", "without a sandbox it is read"


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/shadow", "/sys/kernel", "/home", "/var", "/boot", "/run", code.__file__]
)
def test_the_host_is_not_seen(path: str) -> None:
    assert attempt(f"import os\nos.stat({path!r})").detail == CONTAINED
    assert attempt(f"import os\nos.symlink({path!r}, 'link')\nos.stat('link')").detail == CONTAINED


def test_no_directory_is_open_that_leads_out() -> None:
    program = (
        "import os\nfor name in os.listdir('/proc/self/fd'):\n    os.stat(f'/proc/self/fd/{name}/..')\n    print(name)"
    )
    assert sandbox.run(program).stdout == b"", "a descriptor of a directory is open"


def test_the_working_directory_fills_up() -> None:
    assert attempt("for i in range(64):\n    open(f'file{i}', 'wb').write(bytes(1 << 20))").detail == CONTAINED


def test_no_other_directory_takes_files() -> None:
    attack = (
        "import os, sys\nfound = []\n"
        "for folder, below, _ in os.walk('/'):\n"
        "    try:\n        open(folder + '/new', 'w')\n        found.append(folder)\n"
        "    except OSError: pass\n"
        "    if folder in ('/proc', '/usr', sys.base_prefix):\n        below.clear()\n"
        "print(found, os.statvfs('/usr').f_flag & os.statvfs(sys.base_prefix).f_flag & os.ST_RDONLY)"
    )
    assert sandbox.run(attack).stdout == b"['/tmp'] 1\n"


def test_nothing_stays_in_the_working_directory_for_the_next_test() -> None:
    program = "import os\nprint(len(os.listdir('.')))\nopen('seen', 'w').write(input())"
    first, second = ({"stdin": each, "stdout": str(count)} for count, each in enumerate(["one", "two"]))
    assert judge(program, first, second).detail == "test 2 of 2: wrong output"


# The expected values


SEARCH = """
import glob, re, sys
pattern = re.compile(b"answer" + b"-[0-9a-f]{32}")
found = set()
def look(path):
    try:
        found.update(pattern.findall(open(path, "rb").read(1 << 22)))
    except OSError:
        pass
for process in glob.glob("/proc/[0-9]*"):
    for name in ("environ", "cmdline", "stat", "mountinfo", "auxv"):
        look(f"{process}/{name}")
    for link in glob.glob(f"{process}/fd/*"):
        if not link.endswith(("/1", "/2")):
            look(link)
    try:
        regions = [line.split()[0].split("-") for line in open(f"{process}/maps") if line.split()[1].startswith("rw")]
        memory = open(f"{process}/mem", "rb", 0)
        for start, end in regions:
            memory.seek(int(start, 16))
            found.update(pattern.findall(memory.read(int(end, 16) - int(start, 16))))
    except OSError:
        pass
for each in sorted(found):
    print(each.decode())
"""


def test_the_expected_output_is_nowhere_to_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = f"answer-{secrets.token_hex(16)}"
    monkeypatch.setenv("RLSP_CANARY", answer)
    assert judge(SEARCH, {"stdin": "", "stdout": answer}).detail == CONTAINED
    assert judge(SEARCH, {"stdin": answer, "stdout": answer}).correct, "the search finds what is there"


def test_the_environment_is_empty() -> None:
    names = sandbox.run("import os\nprint(sorted(os.environ))").stdout
    assert names == b"['LC_CTYPE', 'PWD', 'PYTHONHASHSEED']\n"


# Forged results


@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ("import os\nos._exit(0)", "exited before it returned"),
        ("import sys\nsys.exit(0)", "exited before it returned"),
        ("def f():\n    raise SystemExit", "exited before it returned"),
        ("import os\ndef f():\n    os._exit(0)", "exited before it returned"),
        ("class Always:\n    __eq__ = lambda *_: True\nf = Always", "exited with 1: TypeError: returned a value that"),
        ("class Always(int):\n    __eq__ = lambda *_: True\nf = Always", "wrong result"),
        ("class Always(str):\n    __eq__ = lambda *_: True\nf = Always", "wrong result"),
        ("import json\njson.dumps = lambda *_: 'true'\nf = int", "wrong result"),
        ("import json\njson.dumps = lambda *_: '[' * 200_000\nf = int", "wrong result"),
        ("import json\njson.dumps = lambda *_: '9' * 200_000\nf = int", "wrong result"),
        ("import builtins\nbuiltins.isinstance = lambda *_: True\nf = int", "exited with 1: TypeError"),
        ("import sys\nsys.stdout = sys.stderr = None\nf = int", "wrong result"),
        (
            "import os\nfor fd in range(3, 60):\n    try: os.write(fd, b'\\n41\\n')\n    except OSError: pass",
            "exited with 1",
        ),
        ("import os\ndef f():\n    os.closerange(0, 60)", "exited with 1"),
        ("print('\\n' + '41\\n' * 3)\nf = int", "wrong result"),
        ("import sys\nsys.modules['__main__'].encode = lambda _: True\nf = int", "wrong result"),
    ],
)
def test_a_result_is_not_forged(program: str, failure: str) -> None:
    call = {"arguments": [], "returns": {"secret": [41, 42.5]}}
    verdict = judge(program, call, function="f")
    assert verdict.reason is Reason.FAILED_TEST
    assert verdict.detail.startswith(f"test 1 of 1: {failure}")


@pytest.mark.parametrize("ending", ["import os; os._exit(0)", "import sys; sys.exit(0)", "import os; os.abort()"])
def test_leaving_early_is_a_failure(ending: str) -> None:
    assert judge(f"{ending}\nprint('escaped')").reason is Reason.FAILED_TEST


# Exhaustion


@pytest.mark.parametrize(
    "fork",
    [
        "os.fork()",
        "libc.syscall(56, 17, 0, 0, 0, 0)",
        "libc.syscall(435, ctypes.create_string_buffer(88), 88)",
        "__import__('subprocess').Popen(['/usr/bin/sleep', '60'])",
        "__import__('multiprocessing').get_context('spawn').Process().start()",
    ],
)
def test_a_fork_bomb_does_not_go_off(fork: str) -> None:
    program = f"{SYSTEM_CALL}while True:\n    try:\n        {fork}\n    except OSError:\n        pass"
    with Watch() as watch:
        started = time.monotonic()
        verdict = judge(program, seconds=1.0)
        assert time.monotonic() - started < 10.0
    assert verdict.detail == "test 1 of 1: time limit"
    assert 0 < watch.most < 12, "the sandbox and its one process"
    assert judge("print('escaped')").correct, "the next one is judged as ever"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="machine code of x86_64")
def test_the_32_bit_door_is_shut() -> None:
    program = (
        "import ctypes, mmap\n"
        "page = mmap.mmap(-1, 4096, prot=7)\n"
        "page.write(bytes.fromhex('b802000000cd80c3'))  # mov eax, 2 (fork); int 0x80; ret\n"
        "fork = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))\n"
        "if fork() >= 0: print('escaped')"
    )
    assert "exited with 159" in judge(program).detail, "killed by SIGSYS"


def test_a_thread_bomb_stays_small() -> None:
    program = (
        "import threading, time\n"
        "threading.stack_size(1 << 15)\n"
        "count = 0\n"
        "try:\n"
        "    while count < 5000:\n"
        "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "        count += 1\n"
        "    print('escaped')\n"
        "except RuntimeError:\n"
        "    time.sleep(0.3)\n"
        "    print(count)"
    )
    with Watch() as watch:
        verdict = judge(program)
    assert verdict.detail == CONTAINED
    assert 20 < watch.most < 75


@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ("x = bytearray(2 << 30)", "memory limit"),
        ("x = [bytearray(1 << 24) for _ in range(128)]", "memory limit"),
        ("import mmap\nx = [mmap.mmap(-1, 1 << 26) for _ in range(32)]", "exited with 1: OSError: [Errno 12]"),
        ("import os\nos.memfd_create('x')", "exited with 1: PermissionError"),
        (f"{SYSTEM_CALL}assert libc.shmget(0, 1 << 30, 0o1600) >= 0", "exited with 1: AssertionError"),
        (f"{SYSTEM_CALL}x = libc.malloc(ctypes.c_size_t(2 << 30))\nassert x", "exited with 1: AssertionError"),
    ],
)
def test_memory_is_bounded(program: str, failure: str) -> None:
    verdict = judge(f"{program}\nprint('escaped')")
    assert verdict.reason is Reason.FAILED_TEST
    assert failure in verdict.detail


@pytest.mark.parametrize(
    "flood",
    [
        "while True: print('x' * 1000)",
        "while True: print('x' * 1000, end='')",
        "while True: print('x' * 1000, file=__import__('sys').stderr)",
        "import os\nwhile True: os.write(1, b'\\n' * 65536)",
    ],
)
def test_endless_output_is_cut(flood: str) -> None:
    started = time.monotonic()
    assert judge(flood, seconds=20.0).detail == "test 1 of 1: output limit"
    assert time.monotonic() - started < 10.0


def test_an_endless_result_is_cut() -> None:
    program = "def f():\n    return 'x' * (1 << 26)"
    assert judge(program, {"arguments": [], "returns": 1}, function="f").detail == "test 1 of 1: output limit"


@pytest.mark.parametrize(
    "program",
    [
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): f()\nf()",
        "import sys\nsys.setrecursionlimit(10 ** 9)\nx = []\nfor _ in range(10 ** 6): x = [x]\nrepr(x)\nprint('deep')",
        "print(eval('(' * 10 ** 5))",
        "(" * 50_000,
    ],
)
def test_deep_recursion_is_a_failure(program: str) -> None:
    assert judge(program, seconds=1.0).reason is Reason.FAILED_TEST


# Other processes


@pytest.mark.parametrize(
    "attack",
    [
        "os.kill(os.getppid(), 9)\ntime.sleep(0.2)",
        "os.kill(1, 9)\ntime.sleep(0.2)",
        "os.kill(-1, 9)\ntime.sleep(0.2)",
        "os.killpg(0, 9)",
        "os.kill(os.getpid(), 9)",
        *(f"os.kill({sign * number}, 9)" for number in (os.getpid(), os.getppid()) for sign in (1, -1)),
    ],
    ids=["parent", "first", "all", "group", "itself", "tests", "their group", "tests' parent", "its group"],
)
def test_nobody_else_is_killed(attack: str) -> None:
    with subprocess.Popen(["sleep", "30"]) as bystander:
        program = (
            f"import os, time\ntry:\n    {attack.replace(chr(10), chr(10) + '    ')}\nexcept OSError: pass\nprint('no')"
        )
        verdict = judge(program)
        assert bystander.poll() is None
        bystander.kill()
    assert verdict.reason is Reason.FAILED_TEST


def test_other_processes_are_not_seen() -> None:
    seen = sandbox.run("import os\nprint(sorted(int(x) for x in os.listdir('/proc') if x.isdigit()))").stdout
    assert seen == b"[1, 2]\n", "bubblewrap's reaper and the program"


def test_signals_that_can_be_ignored_do_not_matter() -> None:
    program = (
        "import signal\n"
        "for number in signal.valid_signals() - {9, 19}:\n"
        "    try: signal.signal(number, signal.SIG_IGN)\n"
        "    except OSError: pass\n"
        "while True: pass"
    )
    assert judge(program, seconds=1.0).detail == "test 1 of 1: time limit"


@pytest.mark.parametrize("close", ["", "os.closerange(0, 60)\n"])
def test_a_program_that_leaves_its_session_is_killed_with_it(close: str) -> None:
    """Nothing shows the marked process afterwards."""
    marker = f"60.{secrets.randbelow(10**9)}"
    program = (
        f"import os\ntry: os.setsid()\nexcept OSError: pass\n{close}os.execv('/usr/bin/sleep', ['sleep', '{marker}'])"
    )
    assert judge(program, seconds=1.0).detail == "test 1 of 1: time limit"
    wait_until(lambda: not any(runs(path, marker) for path in processes()), seconds=2)


def test_a_program_ends_when_the_verifier_is_killed() -> None:
    marker = f"60.{secrets.randbelow(10**9)}"
    program = f"import os; os.execv('/usr/bin/sleep', ['sleep', '{marker}'])"
    script = f"from rlsp.verifiers import sandbox; sandbox.run({program!r}, limits=sandbox.Limits(60))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as verifier:
        wait_until(lambda: any(runs(path, marker) for path in processes()), seconds=20)
        verifier.kill()
    wait_until(lambda: not any(runs(path, marker) for path in processes()), seconds=5)


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def runs(process: Path, marker: str) -> bool:
    """Whether it is the marked program itself, not a process that carries its source."""
    try:
        return (process / "cmdline").read_bytes() == f"sleep\0{marker}\0".encode()
    except OSError:
        return False


def processes() -> Iterator[Path]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            yield path


# Privileges


@pytest.mark.parametrize(
    "attack",
    [
        "os.setuid(0)",
        "os.setgid(0)",
        "os.setgroups([0])",
        "os.chroot('/usr')",
        "check(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))",
        "check(libc.mount(None, b'/', None, 32 | 4096, None))",
        "check(libc.umount2(b'/usr', 2))",
        "check(libc.unshare(0x10000000))",
        "check(libc.unshare(0x00020000))",
        "check(libc.setns(os.open('/proc/1/ns/mnt', os.O_RDONLY), 0))",
        "check(libc.ptrace(16, os.getppid(), 0, 0))",
        "check(libc.ptrace(0, 0, 0, 0))",
        "check(libc.syscall(250, 0, -3, 1))",
        "check(libc.syscall(248, b'user', b'rlsp', b'x', 1, -4))",
        "check(libc.syscall(321, 0, ctypes.create_string_buffer(64), 64))",
        "check(libc.syscall(425, 4, ctypes.create_string_buffer(256)))",
        "check(libc.reboot(0x01234567))",
        "check(libc.sethostname(b'x', 1))",
        "__import__('resource').setrlimit(7, (4096, 4096))",
        "os.mknod('disk', 0o60600, os.makedev(254, 0))",
        "os.chown('/tmp', 1, 1)",
    ],
)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of system calls of x86_64")
def test_privileges_are_refused(attack: str) -> None:
    check = "def check(result):\n    if result < 0: raise OSError(ctypes.get_errno(), 'refused')\n"
    verdict = attempt(f"{SYSTEM_CALL}{check}try:\n    {attack}\nexcept ValueError as error:\n    raise OSError(error)")
    assert verdict.detail == CONTAINED


def test_the_program_has_no_capability_and_gains_none() -> None:
    lines = sandbox.run("print(open('/proc/self/status').read())").stdout.decode().splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert status["CapPrm"] == status["CapEff"] == status["CapAmb"] == ["0" * 16]
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2"], "a filter is in force"
    assert "0" not in status["Uid"] + status["Gid"]
    assert set(status["Groups"]) <= {"65534"}


def decide(machine: str, call: int, argument: int = 0, architecture: int | None = None) -> int:
    """What the filter returns, by running it as the kernel would."""
    data = struct.pack("<iIQ6Q", call, architecture or seccomp.AUDIT_ARCHITECTURES[machine], 0, argument, *[0] * 5)
    instructions = list(struct.iter_unpack("<HBBI", seccomp.filter_for(machine)))
    at = accumulator = 0
    while True:
        operation, if_true, if_false, value = instructions[at]
        match operation:
            case seccomp.LOAD:
                accumulator = struct.unpack_from("<I", data, value)[0]
                at += 1
                continue
            case seccomp.RETURN:
                return int(value)
            case seccomp.EQUAL:
                holds = accumulator == value
            case seccomp.AT_LEAST:
                holds = accumulator >= value
            case _:
                holds = bool(accumulator & value)
        at += 1 + (if_true if holds else if_false)


@pytest.mark.parametrize(
    ("machine", "read", "clone", "other"), [("x86_64", 0, 56, "aarch64"), ("aarch64", 63, 220, "x86_64")]
)
def test_the_filter_decides_as_documented(machine: str, read: int, clone: int, other: str) -> None:
    column = list(seccomp.AUDIT_ARCHITECTURES).index(machine)
    assert decide(machine, read) == seccomp.ALLOW
    assert decide(machine, clone, argument=0x003D0F00) == seccomp.ALLOW, "what pthread_create asks for"
    assert decide(machine, clone, argument=0x01200011) == seccomp.REFUSE | 1, "what fork asks for"
    assert decide(machine, seccomp.CLONE3) == seccomp.REFUSE | 38
    assert decide(machine, read, architecture=seccomp.AUDIT_ARCHITECTURES[other]) == seccomp.KILL
    assert decide(machine, 0x40000000 + read) == seccomp.KILL
    denied = [numbers[column] for numbers in seccomp.DENIED.values() if numbers[column] is not None]
    assert {decide(machine, number) for number in denied if number is not None} == {seccomp.REFUSE | 1}


def test_installed_packages_are_not_there() -> None:
    places = [str(place) for place in sandbox.installed_packages()]
    assert any((place / "pip").is_dir() for place in sandbox.installed_packages()), "the host has some to hide"
    program = f"import os; print([name for place in {places!r} for name in os.listdir(place)])"
    assert sandbox.run(program).stdout == b"[]\n"
