"""Whatever the disk does: whole lines only, each record once, and nothing that was taken lost."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coordexp_metrics import read
from coordexp_metrics.contract.errors import SinkError
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import JsonlSink
from coordexp_metrics.sinks.files import write_whole

from .disks import FailingDisk, error

ROOT = Path(__file__).parents[2]


def train(step: int) -> Record:
    return Record("train", step, {"loss": float(step)}, seq=step)


def evaluation(step: int) -> Record:
    return Record("eval", step, {"eval_loss": float(step)}, seq=step)


def seqs(path: Path, *problems: str) -> list[int | None]:
    """What a reader finds; the problems that it names are those given."""
    records = read(path)
    found = [record.seq for record in records]
    assert sorted(records.problems.counts.elements()) == sorted(problems)
    return found


def not_written(sink: JsonlSink, record: Record, number: int) -> bool:
    """Whether the sink raised that error."""
    try:
        sink.write(record)
    except OSError as why:
        if why.errno != number:
            raise
        return True
    return False


@pytest.fixture
def disk() -> FailingDisk:
    return FailingDisk()


@pytest.fixture
def sink(tmp_path: Path, header: Header, disk: FailingDisk) -> Iterator[JsonlSink]:
    sink = JsonlSink(tmp_path / "run" / "metrics.jsonl", disk=disk)
    sink.open(header)
    disk.calls.clear()
    yield sink
    sink.close()


RETRIED = [errno.ENOSPC, errno.EDQUOT, errno.EAGAIN]
LEFT = [errno.EIO, errno.ESTALE, errno.EROFS]


@pytest.mark.parametrize("taken", [0, 1, 30], ids="{} bytes".format)
@pytest.mark.parametrize("number", RETRIED, ids=errno.errorcode.__getitem__)
def test_D08_a_write_that_fails_leaves_nothing_and_is_repeated_in_the_same_file(
    sink: JsonlSink, disk: FailingDisk, number: int, taken: int
) -> None:
    sink.write(train(0))
    before = sink.path.read_bytes()
    record = train(1)
    for _ in range(3):
        disk.writes = [taken, error(number)] if taken else [error(number)]
        with pytest.raises(OSError, match=os.strerror(number)):
            sink.write(record)
        assert sink.path.read_bytes() == before
    sink.write(record)
    sink.write(train(2))
    sink.close()
    assert sink.path.name == "metrics.jsonl"
    assert seqs(sink.path) == [0, 1, 2]


@pytest.mark.parametrize("number", LEFT, ids=errno.errorcode.__getitem__)
def test_D08_a_disk_that_is_broken_is_left_for_another_file(
    sink: JsonlSink, disk: FailingDisk, number: int
) -> None:
    sink.write(train(0))
    disk.writes, disk.truncates = [9, error(number)], [error(number)]
    record = train(1)
    with pytest.raises(OSError, match=os.strerror(number)):
        sink.write(record)
    sink.write(record)
    sink.close()
    assert sink.path.name == "metrics.1.jsonl"
    assert sink.reopened == 1
    assert seqs(sink.path.parent, "torn_tail") == [0, 1]
    headers = read(sink.path)
    assert [record.seq for record in headers] == [0, 1]
    assert headers.headers[0]["attempt"] == 0
    continues = headers.headers[0]["continues"]
    assert continues == {"file": "metrics.jsonl", "why": f"write: {os.strerror(number)}"}


def test_D08_what_cannot_be_cut_off_is_ended_by_a_newline(
    sink: JsonlSink, disk: FailingDisk
) -> None:
    sink.write(train(0))
    disk.writes, disk.truncates = [9, error(errno.ENOSPC)], [error(errno.ENOSPC)]
    record = train(1)
    with pytest.raises(OSError, match="No space"):
        sink.write(record)
    disk.writes, disk.truncates = [9, error(errno.ENOSPC)], [error(errno.ENOSPC)]
    with pytest.raises(OSError, match="No space"):
        sink.write(record)
    sink.write(record)
    sink.write(train(2))
    sink.close()
    assert seqs(sink.path, "line.damaged", "line.damaged") == [0, 1, 2]


def test_D08_short_and_interrupted_writes_are_continued(sink: JsonlSink, disk: FailingDisk) -> None:
    disk.writes = [7, error(errno.EINTR), 1, error(errno.EINTR), 20]
    sink.write(train(0))
    assert disk.calls.count("write") == 6
    sink.close()
    assert seqs(sink.path) == [0]


def test_D08_a_disk_that_takes_no_bytes_is_an_error_and_no_endless_loop(
    sink: JsonlSink, disk: FailingDisk
) -> None:
    disk.writes = [0]
    with pytest.raises(OSError, match="takes no bytes"):
        sink.write(train(0))


def test_D08_dev_full_says_so() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space"):
        write_whole(descriptor, b"x")
    os.close(descriptor)


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Files of this process may not grow beyond ``size`` bytes."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_D08_a_limit_on_the_size_of_files_is_met_with_further_files(
    tmp_path: Path, header: Header
) -> None:
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    sink.open(header)
    failed = 0
    with small_files(sink.path.stat().st_size + 500):
        for step in range(40):
            record = train(step)
            if not_written(sink, record, errno.EFBIG):
                failed += 1
                sink.write(record)
    sink.close()
    assert failed > 3
    assert seqs(tmp_path) == list(range(40))
    assert len(list(tmp_path.iterdir())) == failed + 1


def test_D08_a_limit_below_one_record_makes_no_heap_of_files(
    tmp_path: Path, header: Header
) -> None:
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    sink.open(header)
    record = train(0)
    with small_files(sink.path.stat().st_size + 30):
        for _ in range(5):
            with pytest.raises(OSError, match="too large"):
                sink.write(record)
    sink.write(record)
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert seqs(tmp_path) == [0]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_D08_a_full_file_system_takes_up_again_where_it_stopped(
    tiny_disk: Path, header: Header
) -> None:
    sink = JsonlSink(tiny_disk / "metrics.jsonl")
    sink.open(header)
    filler = tiny_disk / "filler"
    filler.write_bytes(bytes(40 << 10))
    failed = 0
    for step in range(500):
        record = train(step)
        if not_written(sink, record, errno.ENOSPC):
            failed += 1
            assert seqs(sink.path) == list(range(step))
            filler.unlink()
            sink.write(record)
    sink.close()
    assert failed == 1
    assert seqs(tiny_disk) == list(range(500))


def test_D07_an_unmounted_directory_is_made_anew(
    tiny_disk: Path, header: Header, disk: FailingDisk
) -> None:
    sink = JsonlSink(tiny_disk / "metrics.jsonl", disk=disk)
    sink.open(header)
    for step in range(3):
        sink.write(train(step))
    subprocess.run(["umount", "-l", str(tiny_disk)], check=True)
    disk.now += 1.0
    sink.write(train(3))
    sink.close()
    assert seqs(tiny_disk) == [0, 1, 2, 3]
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tiny_disk)], check=True)


def delete(directory: Path) -> None:
    shutil.rmtree(directory)


def rename(directory: Path) -> None:
    directory.rename(directory.with_name("elsewhere"))


def delete_file(directory: Path) -> None:
    (directory / "metrics.jsonl").unlink()


def swap_file(directory: Path) -> None:
    (directory / "metrics.jsonl").unlink()
    (directory / "metrics.jsonl").write_text("")


@pytest.mark.parametrize("vanish", [delete, rename, delete_file, swap_file])
def test_D07_a_log_that_vanishes_is_continued_in_its_place(
    sink: JsonlSink, disk: FailingDisk, vanish: Callable[[Path], None]
) -> None:
    directory = sink.path.parent
    for step in range(5):
        sink.write(train(step))
    sink.flush()
    sink.write(train(5))
    vanish(directory)
    sink.write(train(6))
    disk.now += 1.0
    sink.write(train(7))
    sink.write(train(8))
    assert sink.reopened == 1
    assert sink.synced == 8
    sink.close()
    rescued = list(range(9)) if vanish is not rename else [5, 6, 7, 8]
    found = [record.seq for record in read(sink.path)]
    assert found == rescued
    assert read(sink.path).duplicates == 0
    if vanish is rename:
        assert seqs(directory.with_name("elsewhere")) == list(range(8))


def test_D07_a_deleted_log_that_cannot_be_read_again_keeps_what_was_not_confirmed(
    sink: JsonlSink, disk: FailingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.write(train(0))
    sink.flush()
    sink.write(train(1))
    shutil.rmtree(sink.path.parent)

    def unreadable(descriptor: int, size: int, at: int) -> bytes:
        raise error(errno.EIO)

    monkeypatch.setattr(os, "pread", unreadable)
    with pytest.raises(OSError, match="Input/output"):
        sink.flush()
    sink.flush()
    sink.close()
    monkeypatch.undo()
    assert seqs(sink.path) == [1]


def test_D07_while_no_file_can_be_made_everything_is_kept(
    sink: JsonlSink, disk: FailingDisk
) -> None:
    directory = sink.path.parent
    for step in range(3):
        sink.write(train(step))
    shutil.rmtree(directory)
    directory.write_text("a file where the directory was")
    disk.now += 1.0
    record = train(3)
    for _ in range(2):
        with pytest.raises(OSError, match="run/metrics"):
            sink.write(record)
    with pytest.raises(OSError, match="run/metrics"):
        sink.flush()
    directory.unlink()
    sink.write(record)
    sink.close()
    assert seqs(directory) == [0, 1, 2, 3]


def test_D07_a_changed_working_directory_moves_no_log(
    tmp_path: Path, header: Header, monkeypatch: pytest.MonkeyPatch, disk: FailingDisk
) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    sink = JsonlSink("metrics.jsonl", disk=disk)
    sink.open(header)
    monkeypatch.chdir("there")
    disk.now += 2.0
    sink.write(train(0))
    sink.close()
    assert sink.reopened == 0
    assert seqs(tmp_path / "metrics.jsonl") == [0]


def test_D09_a_failed_sync_is_never_repeated_on_the_same_file(
    sink: JsonlSink, disk: FailingDisk
) -> None:
    sink.write(train(0))
    sink.flush()
    sink.write(train(1))
    disk.syncs = [error(errno.EIO)]
    sink.write(evaluation(2))
    assert sink.path.name == "metrics.1.jsonl"
    assert disk.calls[-2:] == ["write", "sync"]
    assert "create" in disk.calls
    assert sink.synced == 3
    sink.close()
    assert [record.seq for record in read(sink.path)] == [1, 2]
    records = read(sink.path.parent)
    assert [record.seq for record in records] == [0, 1, 2]
    assert records.duplicates == 2
    assert records.headers[1]["continues"]["why"] == "sync: Input/output error"


def test_D09_until_a_record_is_safe_nobody_is_told_that_it_is(
    sink: JsonlSink, disk: FailingDisk
) -> None:
    sink.write(train(0))
    disk.syncs = [error(errno.EIO), error(errno.EIO), None]
    record = evaluation(1)
    with pytest.raises(OSError, match="Input/output"):
        sink.write(record)
    assert sink.synced == 0
    sink.write(record)
    assert sink.synced == 2
    sink.write(train(2))
    sink.close()
    assert [record.seq for record in read(sink.path)] == [0, 1, 2]
    assert sorted(path.name for path in sink.path.parent.iterdir()) == [
        "metrics.1.jsonl",
        "metrics.jsonl",
    ]


def test_D09_a_close_that_fails_is_said_and_lets_go_of_the_file(
    sink: JsonlSink, disk: FailingDisk
) -> None:
    sink.write(train(0))
    disk.writes = [error(errno.ENOSPC)]
    with pytest.raises(OSError, match="No space"):
        sink.close()
    assert sink.synced == 1
    sink.close()
    with pytest.raises(SinkError, match="not open"):
        sink.write(train(1))


def test_D04_records_are_synced_by_time_by_number_and_after_an_evaluation(
    sink: JsonlSink, disk: FailingDisk
) -> None:
    for step in range(10):
        sink.write(train(step))
    assert sink.synced == 0
    disk.now += 0.99
    sink.write(train(10))
    assert sink.synced == 0
    disk.now += 0.01
    sink.write(train(11))
    assert sink.synced == 12
    sink.write(evaluation(12))
    assert sink.synced == 13
    for step in range(13, 13 + 255):
        sink.write(train(step))
    assert sink.synced == 13
    sink.write(train(268))
    assert sink.synced == 269
    sink.write(train(269))
    sink.close()
    assert sink.synced == 270
    assert disk.synced[-1] == sink.path.stat().st_size


def test_D04_a_power_cut_costs_no_evaluation_and_at_most_the_window(
    sink: JsonlSink, disk: FailingDisk, tmp_path: Path
) -> None:
    for step in range(600):
        sink.write(evaluation(step) if step % 100 == 99 else train(step))
        on_disk = sink.path.read_bytes()[: disk.synced[-1]] if disk.synced else b""
        (tmp_path / "after.jsonl").write_bytes(on_disk)
        if step % 50 == 49:
            found = [record.seq for record in read(tmp_path / "after.jsonl")]
            assert found == list(range(sink.synced))
            assert step + 1 - len(found) < 256
            assert step % 100 != 99 or len(found) == step + 1


def test_D15_a_log_goes_on_in_a_further_file_once_it_is_full(
    tmp_path: Path, header: Header
) -> None:
    sink = JsonlSink(tmp_path / "metrics.jsonl", rotate_bytes=4096)
    sink.open(header)
    for step in range(100):
        sink.write(train(step))
    sink.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) > 2
    assert all(path.stat().st_size <= 4096 + 200 for path in files)
    assert seqs(tmp_path) == list(range(100))
    records = read(tmp_path)
    list(records)
    assert records.duplicates == 0
    assert {told["attempt"] for told in records.headers} == {0}
    assert sink.reopened == 0


def test_D16_a_process_without_descriptors_repeats_what_it_could_not_do(
    sink: JsonlSink, disk: FailingDisk
) -> None:
    sink.write(train(0))
    disk.writes = [error(errno.EIO)]
    record = train(1)
    with pytest.raises(OSError, match="Input/output"):
        sink.write(record)
    disk.creates = [error(errno.EMFILE)]
    with pytest.raises(OSError, match="Too many open files"):
        sink.write(record)
    sink.write(record)
    sink.close()
    assert seqs(sink.path.parent) == [0, 1]


READ_ONLY = """
import os, sys
from pathlib import Path
from coordexp_metrics.contract.errors import SinkError
from coordexp_metrics.sinks.files import create_attempt
if os.getuid() == 0:
    os.setuid(65534)
try:
    create_attempt(Path(sys.argv[1]), "JsonlSink")
except SinkError as error:
    print(error)
"""


def test_D06_a_read_only_place_is_named_at_the_opening() -> None:
    place = Path(tempfile.mkdtemp())
    place.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(place / "run" / "metrics.jsonl")],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    place.rmdir()
    assert "run/metrics.jsonl': Permission denied" in done.stdout


def test_D06_a_path_that_is_not_utf_8_is_a_path(tmp_path: Path, header: Header) -> None:
    sink = JsonlSink(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff/metrics.jsonl"))
    for _ in range(2):
        sink.open(header)
        sink.write(train(0))
        sink.close()
    assert sink.path.name == "metrics.1.jsonl"
    assert [record.seq for record in read(sink.path)] == [0]


def test_D10_a_new_attempt_says_where_the_one_before_ended(tmp_path: Path, header: Header) -> None:
    path = tmp_path / "metrics.jsonl"
    for first, last in (0, 1000), (800, 900), (900, 901):
        sink = JsonlSink(path)
        sink.open(header)
        for at, step in enumerate(range(first, last)):
            sink.write(Record("train", step, {"loss": float(first)}, seq=at))
        sink.close()
    told = [header_of(tmp_path / name) for name in ("metrics.jsonl", "metrics.1.jsonl")]
    assert (told[0]["attempt"], told[0]["resumed_from"]) == (0, None)
    assert told[1]["attempt"] == 1
    assert told[1]["resumed_from"] == {
        "file": "metrics.jsonl",
        "run_id": header.run_id,
        "attempt": 0,
        "global_step": 999,
        "seq": 999,
    }
    assert header_of(tmp_path / "metrics.2.jsonl")["resumed_from"]["global_step"] == 899


def header_of(path: Path) -> dict:
    records = read(path)
    list(records)
    return dict(records.headers[0])


def test_D10_what_an_earlier_attempt_holds_is_never_needed_to_begin_one(
    tmp_path: Path, header: Header
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"header":{"attempt":"x"}}\n' + b"\x00" * 100 + b"[" * 100_000)
    sink = JsonlSink(path)
    sink.open(header)
    sink.close()
    told = header_of(sink.path)
    assert (told["attempt"], told["resumed_from"]) == (1, None)


def test_D10_an_attempt_without_a_record_is_looked_past(tmp_path: Path, header: Header) -> None:
    path = tmp_path / "metrics.jsonl"
    for steps in ([4], [], []):
        sink = JsonlSink(path)
        sink.open(header)
        for step in steps:
            sink.write(train(step))
        sink.close()
    told = header_of(sink.path)
    assert told["attempt"] == 2
    assert told["resumed_from"]["file"] == "metrics.jsonl"


WRITER = """
import sys
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import JsonlSink
sink = JsonlSink(sys.argv[1])
sink.open(Header(Catalogue()))
for seq in range(int(sys.argv[2])):
    sink.write(Record("train", seq, {"loss": 1.0 / (seq + 1)}, seq=seq))
    print(seq, flush=True)
sink.close()
"""


def writer(path: Path, records: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(records)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_D12_two_processes_on_one_path_both_complete(tmp_path: Path) -> None:
    running = [writer(tmp_path / "metrics.jsonl", 200) for _ in range(3)]
    for process in running:
        process.communicate(timeout=60)
        assert process.returncode == 0
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["metrics.1.jsonl", "metrics.2.jsonl", "metrics.jsonl"]
    for path in files:
        assert seqs(path) == list(range(200))
    assert len(seqs(tmp_path)) == 600


@pytest.mark.parametrize("times", [6, pytest.param(200, marks=pytest.mark.soak)])
def test_D02_what_was_written_outlives_a_killed_process(tmp_path: Path, times: int) -> None:
    for time in range(times):
        process = writer(tmp_path / f"{time}.jsonl", 1_000_000)
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(time * 37 % 400 + 1)]
        process.kill()
        acknowledged += map(int, process.stdout.read().split("\n")[:-1])
        process.wait()
        process.stdout.close()
        records = read(tmp_path / f"{time}.jsonl")
        found = [record.seq for record in records]
        assert found == list(range(len(found)))
        assert len(found) >= len(acknowledged)
        assert set(records.problems.counts) <= {"torn_tail"}


def test_L10_no_child_process_inherits_a_log(sink: JsonlSink) -> None:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
    (descriptor,) = [int(p.name) for p in links if p.resolve() == sink.path.resolve()]
    assert not os.get_inheritable(descriptor)


@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.1.jsonl", "metrics.2.jsonl"])
def test_X03_a_link_planted_at_a_name_is_not_followed(
    tmp_path: Path, header: Header, name: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("untouched")
    directory = tmp_path / "run"
    directory.mkdir()
    for earlier in ("metrics.jsonl", "metrics.1.jsonl", "metrics.2.jsonl"):
        if earlier == name:
            (directory / earlier).symlink_to(secret)
            break
        (directory / earlier).write_text("")
    with pytest.raises(SinkError, match="no regular file"):
        JsonlSink(directory / "metrics.jsonl").open(header)
    assert secret.read_text() == "untouched"


def test_X12_only_the_owner_reads_any_file_of_a_journal(sink: JsonlSink, disk: FailingDisk) -> None:
    before = os.umask(0)
    try:
        sink.write(train(0))
        disk.syncs = [error(errno.EIO)]
        sink.flush()
        sink.for_rank(3).open(Header(catalogue=sink._header.catalogue, rank=3))
    finally:
        os.umask(before)
    names = sorted(path.name for path in sink.path.parent.iterdir())
    assert names == ["metrics.1.jsonl", "metrics.jsonl", "metrics.rank3.jsonl"]
    for path in sink.path.parent.iterdir():
        assert path.stat().st_mode & 0o777 == (0o600)


def test_a_footer_says_that_a_log_was_closed_and_how_much_it_holds(sink: JsonlSink) -> None:
    for step in range(3):
        sink.write(train(step))
    assert read(sink.path).summaries == []
    sink.close()
    records = read(sink.path)
    list(records)
    (summary,) = records.summaries
    assert (summary["footer"]["records"], summary["footer"]["last_seq"]) == (3, 2)
