"""The worker pool: whatever an item does, it ends in time, alone, with a true account of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest

import rlsp
from rlsp.errors import InputError
from rlsp.verifiers.pool import JSON, Outcome, Pool
from rlsp.verifiers.pool.worker import ITEMS_PER_WORKER

FUNCTIONS = "tests.pool_functions"
MEBIBYTE = 1 << 20
MEMORY = 256 * MEBIBYTE
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces it")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(2, MEMORY, [FUNCTIONS]) as pool:
        yield pool


@pytest.fixture
def single() -> Iterator[Pool]:
    with Pool(1, MEMORY, [FUNCTIONS]) as pool:
        yield pool


def run(pool: Pool, function: str, arguments: Mapping[str, JSON] | None = None, deadline: float = 20) -> Outcome:
    return pool.submit(f"{FUNCTIONS}:{function}", arguments or {}, deadline).result(60)


def squares(pool: Pool, numbers: range) -> list[int]:
    outcomes = pool.map(f"{FUNCTIONS}:square", [{"number": number} for number in numbers], 20)
    assert {outcome.status for outcome in outcomes} == {"done"}
    return [outcome.value for outcome in outcomes]


def alive(pid: int) -> bool:
    """A zombie, which waits for nothing but its parent's attention, is dead."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def all_die(pids: set[int], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def processes(pool: Pool) -> set[int]:
    """The ids of all the pool's processes."""
    found: set[int] = set()
    while len(found) < pool.workers + 1:
        found.update(*(run(pool, "process").value.values() for _ in range(8)))
    return found


def script_environment() -> dict[str, str]:
    paths = (Path(rlsp.__file__).parents[1], Path(__file__).parents[1])
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}


def run_script(*arguments: str, text: str | None = None) -> list[str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        input=text,
        env=script_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_results_come_in_order(pool: Pool) -> None:
    outcomes = pool.map(f"{FUNCTIONS}:sleep", [{"seconds": s} for s in (0.2, 0.0, 0.1, 0.0)], 20)
    assert [outcome.value for outcome in outcomes] == [0.2, 0.0, 0.1, 0.0]
    assert [outcome.detail for outcome in outcomes] == [""] * 4
    assert 0.2 <= outcomes[0].seconds < 5
    assert squares(pool, range(300)) == [number * number for number in range(300)]


def test_two_threads_get_their_own_results(pool: Pool) -> None:
    results: dict[int, list[int]] = {}
    threads = [
        threading.Thread(target=lambda start=start: results.update({start: squares(pool, range(start, start + 500))}))
        for start in (0, 10_000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {start: [n * n for n in range(start, start + 500)] for start in (0, 10_000)}


def test_json_passes_unchanged(pool: Pool) -> None:
    arguments: dict[str, JSON] = {"text": "αβ\0\ud800\u2028", "list": [1, 2.5, None, True], "nested": {"": {"a": []}}}
    assert run(pool, "echo", arguments).value == arguments


def test_large_arguments_pass_in_pieces(pool: Pool) -> None:
    assert run(pool, "length", {"text": "x" * 1_900_000}).value == 1_900_000


FAULTS: list[tuple[str, dict[str, JSON], str, str]] = [
    ("loop", {}, "timeout", "no result within 0.5 s"),
    ("sleep", {"seconds": 60}, "timeout", "no result within 0.5 s"),
    ("kill_self", {"name": "SIGSTOP"}, "timeout", "no result within 0.5 s"),
    ("leave", {"status": 0}, "crashed", "the worker exited with status 0"),
    ("leave", {"status": 3}, "crashed", "the worker exited with status 3"),
    ("leave_politely", {}, "crashed", "the worker exited with status 1"),
    ("kill_self", {"name": "SIGKILL"}, "crashed", "killed by SIGKILL"),
    ("kill_self", {"name": "SIGSEGV"}, "crashed", "killed by SIGSEGV"),
    ("kill_zygote", {}, "crashed", "the process that forks the workers died, exit status -9"),
    ("send_garbage", {"frame": "ffffffff"}, "crashed", "the worker sent something else than a reply"),
    ("send_garbage", {"frame": "000000022a2a"}, "crashed", "the worker sent something else than a reply"),
    ("send_garbage", {"frame": "000000027b7d"}, "crashed", "the worker sent something else than a reply"),
    ("recurse", {}, "error", "RecursionError: maximum recursion depth exceeded"),
    ("fail", {"message": "no\nsuch thing"}, "error", "ValueError: no such thing"),
    ("fail", {"message": "x" * 10**6}, "error", "ValueError: " + "x" * 288),
    ("square", {}, "error", "TypeError: square() missing 1 required positional argument: 'number'"),
    ("text", {"size": 3_000_000}, "error", "TooLongError: 3,000,043 bytes of JSON, at most 2,000,000 are passed"),
    ("not_json", {"kind": "set"}, "error", "TypeError: Object of type set is not JSON serializable"),
    ("not_json", {"kind": "object"}, "error", "TypeError: Object of type object is not JSON serializable"),
    ("not_json", {"kind": "nan"}, "error", "ValueError: Out of range float values are not JSON compliant"),
]


@pytest.mark.parametrize(("function", "arguments", "status", "detail"), FAULTS)
def test_a_fault_costs_its_own_item_alone(
    pool: Pool, function: str, arguments: dict[str, JSON], status: str, detail: str
) -> None:
    outcome = run(pool, function, arguments, 0.5)
    assert (outcome.status, outcome.value) == (status, None)
    assert outcome.detail.startswith(detail)
    assert len(outcome.detail) <= 300
    assert outcome.seconds < 5
    assert squares(pool, range(10)) == [number * number for number in range(10)]


def test_a_result_nested_too_deeply_is_a_fault(pool: Pool) -> None:
    """For the worker, or only for whoever asked."""
    assert run(pool, "nested", {"depth": 100_000}).status in ("error", "crashed")
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    try:
        assert run(pool, "nested", {"depth": 1500}).status in ("error", "crashed")
    finally:
        sys.setrecursionlimit(before)
    assert run(pool, "square", {"number": 3}).value == 9


def test_arguments_too_long_are_not_sent(pool: Pool) -> None:
    outcome = run(pool, "length", {"text": "x" * 2_000_000})
    assert (outcome.status, outcome.value, outcome.seconds) == ("error", None, 0)
    assert outcome.detail.startswith("arguments not sent: 2,000,")


@pytest.mark.parametrize(
    "name", ["tests.pool_functions:nothing", "tests.no_module:x", "len", "tests.pool_functions:KEPT"]
)
def test_a_function_that_does_not_exist_is_the_callers_error(pool: Pool, name: str) -> None:
    with pytest.raises(InputError, match="workers find no function " + name):
        pool.map(name, [{}], 20)
    assert squares(pool, range(2)) == [0, 1]


def test_a_module_that_cannot_be_preloaded_is_the_callers_error() -> None:
    with Pool(2, preload=["tests.no_module"]) as pool, pytest.raises(InputError, match=r"No module named 'tests\.no_m"):
        run(pool, "square", {"number": 2})


def test_bad_calls_are_refused_at_once(pool: Pool) -> None:
    for deadline in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="deadline"):
            run(pool, "square", {"number": 2}, deadline)
    with pytest.raises(TypeError, match="not JSON"):
        pool.submit(f"{FUNCTIONS}:echo", {"value": {1}}, 1)  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="needs a worker"):
        Pool(0)


@on_linux
@pytest.mark.parametrize(("function", "arguments"), [("hoard", {}), ("allocate", {"size": 100 << 30})])
def test_a_memory_hog_is_out_of_memory(pool: Pool, function: str, arguments: dict[str, JSON]) -> None:
    outcome = run(pool, function, arguments)
    assert (outcome.status, outcome.detail) == ("out of memory", "needs more than 256 MiB")
    assert run(pool, "allocate", {"size": 128 * MEBIBYTE}).value == 128 * MEBIBYTE


@on_linux
def test_an_item_gets_the_memory_it_was_promised(single: Pool) -> None:
    assert 0.75 * MEMORY < run(single, "capacity").value <= MEMORY


def test_a_worker_that_has_grown_is_replaced(single: Pool) -> None:
    workers = [run(single, "keep", {"size": 80 * MEBIBYTE}).value for _ in range(4)]
    assert workers[0] == workers[1] != workers[2] == workers[3]


def test_a_worker_is_replaced_after_many_items(single: Pool) -> None:
    outcomes = single.map(f"{FUNCTIONS}:process", [{}] * (ITEMS_PER_WORKER + 1), 20)
    workers = [outcome.value["worker"] for outcome in outcomes]
    assert len(set(workers[:-1])) == 1
    assert workers[-1] != workers[0]


def test_a_batch_of_hanging_items_ends_in_time(pool: Pool) -> None:
    start = time.monotonic()
    outcomes = pool.map(f"{FUNCTIONS}:loop", [{}] * 40, 0.3)
    assert time.monotonic() - start < 40 / pool.workers * 0.3 + 5
    assert {outcome.status for outcome in outcomes} == {"timeout"}
    assert all(0.3 <= outcome.seconds < 3 for outcome in outcomes)


def test_a_deadline_counts_from_when_a_worker_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(1)\ndef one(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with Pool(1, preload=["slow_to_import", FUNCTIONS]) as pool:
        assert pool.submit("slow_to_import:one", {}, 0.5).result(60).value == 1
        outcomes = pool.map(f"{FUNCTIONS}:sleep", [{"seconds": 0.3}] * 4, 1)
    assert [outcome.status for outcome in outcomes] == ["done"] * 4


def test_a_worker_that_does_not_read_holds_up_nobody(pool: Pool) -> None:
    for pid in {outcome.value["worker"] for outcome in pool.map(f"{FUNCTIONS}:process", [{}] * 50, 20)}:
        os.kill(pid, signal.SIGSTOP)
    futures = [pool.submit(f"{FUNCTIONS}:length", {"text": "x" * 1_900_000}, 0.5) for _ in range(3)]
    statuses = [future.result(20).status for future in futures]
    assert statuses[0] == "timeout"
    assert statuses[2] == "done"


def test_a_cancelled_item_is_not_run(single: Pool) -> None:
    first = single.submit(f"{FUNCTIONS}:sleep", {"seconds": 0.3}, 20)
    second, third = (single.submit(f"{FUNCTIONS}:process", {}, 20) for _ in range(2))
    assert second.cancel()
    assert third.result(20).status == first.result(20).status == "done"
    with pytest.raises(CancelledError):
        second.result()


def test_close_ends_all_processes_and_waits_for_no_item() -> None:
    pool = Pool(2, preload=[FUNCTIONS])
    pids = processes(pool)
    assert len(pids) == 3
    futures = [pool.submit(f"{FUNCTIONS}:loop", {}, 600) for _ in range(4)]
    pool.close()
    assert not any(map(alive, pids))
    assert len(wait(futures, 5).done) == 4
    for future in futures:
        with pytest.raises(RuntimeError, match="closed"):
            future.result()
    with pytest.raises(RuntimeError, match="closed"):
        run(pool, "process")


def test_a_pool_that_nobody_holds_ends_its_processes() -> None:
    pool = Pool(1, preload=[FUNCTIONS])
    pids = processes(pool)
    del pool
    assert all_die(pids)


def test_what_a_worker_started_dies_with_it() -> None:
    with Pool(1, preload=[FUNCTIONS]) as pool:
        outcome = run(pool, "child")
    if outcome.status == "done":  # as root, whom no limit on processes holds
        assert all_die({outcome.value})
    else:
        assert outcome.detail.startswith("BlockingIOError")


@on_linux
def test_workers_die_with_their_zygote(single: Pool) -> None:
    pids = processes(single)
    (zygote,) = {run(single, "process").value["zygote"]}
    looping = single.submit(f"{FUNCTIONS}:loop", {}, 600)
    time.sleep(0.1)
    os.kill(zygote, signal.SIGKILL)
    assert looping.result(20).status == "crashed"
    assert all_die(pids)
    assert not processes(single) & pids


KILLED = """
import sys, time
from rlsp.verifiers.pool import Pool
pool = Pool(2, preload=["tests.pool_functions"])
futures = [pool.submit("tests.pool_functions:process", {}, 20) for _ in range(100)]
print(*{pid for future in futures for pid in future.result().value.values()}, flush=True)
for _ in range(4):
    pool.submit("tests.pool_functions:loop", {}, 600)
time.sleep(600)
"""


def test_no_process_outlives_a_killed_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, env=script_environment()
    ) as script:
        assert script.stdout is not None
        pids = {int(pid) for pid in script.stdout.readline().split()}
        time.sleep(0.2)
        script.kill()
    assert len(pids) in (2, 3)
    assert all_die(pids)


ORPHAN = """
import os, socket
from rlsp.verifiers.pool.frames import frame
from rlsp.verifiers.pool.worker import serve
near, far = socket.socketpair()
worker = os.fork()
if not worker:
    serve(far, 1 << 30)
near.sendall(frame({"function": "tests.pool_functions:loop", "arguments": {}, "deadline_seconds": 0.01}))
print(os.WTERMSIG(os.waitpid(worker, 0)[1]))
"""


def test_processor_time_ends_an_item_whose_deadline_nobody_keeps() -> None:
    assert run_script("-c", ORPHAN) == [str(int(signal.SIGXCPU))]


UNGUARDED = """
import threading
from rlsp.verifiers.pool import shared
print("once")
outcomes = []
thread = threading.Thread(target=lambda: outcomes.extend(shared().map("tests.pool_functions:process", [{}] * 20, 20)))
thread.start()
thread.join()
print(*{pid for outcome in outcomes for pid in outcome.value.values()})
"""


def test_a_script_without_main_guard_runs_once_and_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    once, pids = run_script(str(script))
    assert once == "once"
    assert all_die(set(map(int, pids.split())))


def test_a_program_read_from_stdin_can_use_the_pool() -> None:
    once, pids = run_script("-", text=UNGUARDED)
    assert once == "once"
    assert len(pids.split()) >= 2


FORKED = """
import os
from rlsp.verifiers.pool import shared
def workers():
    return {outcome.value["zygote"] for outcome in shared().map("tests.pool_functions:process", [{}] * 4, 20)}
mine = workers()
child = os.fork()
if not child:
    theirs = workers()
    shared().close()
    os._exit(len(theirs) == 1 and not theirs & mine)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), workers() == mine)
"""


def test_a_forked_child_starts_processes_of_its_own() -> None:
    assert run_script("-c", FORKED) == ["1 True"]


def test_descriptors_do_not_leak(pool: Pool) -> None:
    def descriptors() -> int:
        return len(os.listdir("/dev/fd"))

    squares(pool, range(10))
    before = descriptors()
    outcomes = pool.map(f"{FUNCTIONS}:sleep", [{"seconds": 60}] * 200, 0.02)
    assert {outcome.status for outcome in outcomes} == {"timeout"}
    squares(pool, range(10))
    assert descriptors() == before


@on_linux
def test_a_worker_holds_its_own_socket_and_nothing_else(pool: Pool) -> None:
    pool.map(f"{FUNCTIONS}:leave", [{"status": 1}] * 10, 20)
    inherited = run(pool, "open_descriptors").value
    assert [name for name in inherited if name != "/dev/null"] == [name for name in inherited if "socket" in name]
    assert len(inherited) == 4


def test_a_worker_knows_no_secret_and_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    path = tmp_path / "written"
    with Pool(1) as pool:
        assert "HF_TOKEN" not in run(pool, "environment").value
        outcome = run(pool, "write_file", {"path": str(path)})
    assert outcome.detail.startswith("OSError: [Errno 27]")
    assert path.stat().st_size == 0


def test_an_item_costs_little_beside_its_function(pool: Pool) -> None:
    def milliseconds() -> float:
        start = time.perf_counter()
        squares(pool, range(200))
        return (time.perf_counter() - start) / 200 * pool.workers * 1000

    assert min(milliseconds() for _ in range(10)) < 1, "0.15 on an idle machine"
