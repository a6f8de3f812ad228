"""What a spool was given is there after the process is not, bit for bit, or is named as missing."""

from __future__ import annotations

import itertools
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics.sinks import spool as spools
from coordexp_metrics.sinks.spool import Spool, read_spool, reclaim
from coordexp_metrics.sinks.spool_frames import HEAD, ROOM, SLOT, Kind, frames_of, packer

ROOT = Path(__file__).parents[2]
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)


def made(directory: Path, capacity: int = 64 * SLOT) -> Spool:
    spool, problems = Spool.create([directory], capacity)
    assert spool is not None, problems
    spool.begin({"run": "r", "rank": 0, "journal": "/runs/a/metrics.jsonl"})
    return spool


def packed(spool: Spool, seq: int, values: list[float], plan: int, tail: bytes = b""):
    layout = "".join("q" if type(value) is int else "d" for value in values)
    length = 32 + 8 * len(values) + len(tail)
    head = (b"cx", Kind.PACKED, 1, 0, length if length <= ROOM else 0, seq)
    body = packer(layout).pack(*head, 1.5, 2.5, 7, plan, len(tail), *values) + tail
    return spool.put_packed(body)


def plan_of(spool: Spool, values: list[float], **more) -> int:
    layout = "".join("q" if type(value) is int else "d" for value in values)
    wire = [[position, f"k{position}"] for position in range(len(values))]
    plan = {"mode": "train", "format": layout, "wire": wire, "aliases": [], "doubles": []}
    number = spool.plan(plan | more)
    assert number is not None
    return number


def row(seq: int) -> bytes:
    return json.dumps({"seq": seq, "metrics": {"loss": seq / 7}}).encode()


def bits(number: float) -> tuple[type, str]:
    return type(number), number.hex() if isinstance(number, float) else str(number)


@settings(max_examples=50)
@given(st.lists(st.lists(numbers, max_size=6), max_size=6), st.sampled_from([0, 300]))
def test_numbers_come_back_with_every_bit_and_ints_as_ints(tmp_path_factory, rows, padding):
    """Packed in one slot or in several, -0.0 and 2**63 - 1 included."""
    spool = made(tmp_path_factory.mktemp("spool"))
    rows = [[-0.0, 2**63 - 1, 5e-324, *values, *([0.1] * padding)] for values in rows]
    for seq, values in enumerate(rows):
        assert packed(spool, seq, values, plan_of(spool, values)) is not None
    found = read_spool(spool.path)
    assert found.problems == []
    assert [record["seq"] for record in found.records] == list(range(len(rows)))
    for record, values in zip(found.records, rows, strict=True):
        assert list(map(bits, record["metrics"].values())) == list(map(bits, values))
        assert (record["time"], record["monotonic"], record["global_step"]) == (1.5, 2.5, 7)
    spool.close(remove=True)


def test_a_spool_says_whose_it_is(tmp_path):
    spool = made(tmp_path)
    header = read_spool(spool.path).header
    assert header["run"] == "r"
    assert header["journal"] == "/runs/a/metrics.jsonl"
    assert header["pid"] == os.getpid()
    assert header["boot"] == spools.boot_id()
    assert (header["spool"], header["rank"]) == (1, 0)
    spool.close(remove=True)


def test_a_plan_puts_names_on_aliases_and_doubles(tmp_path):
    spool = made(tmp_path)
    values = [1.5, 0, 2.5]
    wire = [[0, "coord_diag/loss"], [1, "coord_diag/enabled"]]
    aliases = [["old/loss", 0, None], ["off", 0, 1], ["coord_diag/loss", 2, None]]
    doubles = [["loss2", 2]]
    plan = plan_of(spool, values, wire=wire, aliases=aliases, doubles=doubles, mode="eval")
    packed(spool, 3, values, plan, b'{"dataset":"coco","coverage":{"steps":2}}')
    (record,) = read_spool(spool.path).records
    assert record["metrics"] == {"coord_diag/loss": 1.5, "coord_diag/enabled": 0, "old/loss": 1.5}
    assert record["doubles"] == {"loss2": 2.5}
    assert record["mode"] == "eval"
    assert (record["dataset"], record["coverage"]) == ("coco", {"steps": 2})
    spool.close(remove=True)


def test_a_record_that_does_not_fit_its_plan_is_a_problem_and_no_value(tmp_path):
    spool = made(tmp_path)
    plan = plan_of(spool, [1.0])
    packed(spool, 5, [1.0, 2.0], plan)
    packed(spool, 6, [1.0], plan)
    found = read_spool(spool.path)
    assert [record["seq"] for record in found.records] == [6]
    assert "record 5" in found.problems[0]
    spool.close(remove=True)


def test_what_the_journal_has_is_gone_and_its_room_is_used_again(tmp_path):
    spool = made(tmp_path, 8 * SLOT)
    for seq in range(100):
        slots = spool.put(Kind.ROW, seq, row(seq))
        assert slots is not None
        if seq % 10 != 7:
            spool.release(slots)
        if seq == 60:
            break
    found = read_spool(spool.path)
    assert [record["seq"] for record in found.records] == [7, 17, 27, 37, 47, 57]
    assert found.problems == []
    spool.close(remove=True)


def test_a_full_spool_says_so_and_keeps_what_it_has(tmp_path):
    spool = made(tmp_path, 8 * SLOT)
    kept = [seq for seq in range(20) if spool.put(Kind.ROW, seq, row(seq)) is not None]
    assert kept == list(range(7))
    assert spool.put(Kind.ROW, 99, b"x" * SLOT * 9) is None
    assert packed(spool, 99, [1.0], 1) is None
    assert spool.free == 0
    assert [record["seq"] for record in read_spool(spool.path).records] == kept
    spool.close(remove=True)


def test_after_64_plans_records_take_rows(tmp_path):
    spool = made(tmp_path, 512 * SLOT)
    numbers = [spool.plan({"format": "d"}) for _ in range(70)]
    assert numbers == [*range(1, 65), *([None] * 6)]
    spool.close(remove=True)


def test_plans_leave_most_of_a_spool_to_records(tmp_path):
    spool = made(tmp_path, 64 * SLOT)
    wide = {"format": "d" * 100, "wire": [[n, "x" * 100] for n in range(100)]}
    while spool.plan(wide) is not None:
        pass
    assert spool.free >= 46
    spool.close(remove=True)


def image_of(tmp_path: Path) -> tuple[bytes, dict[int, dict]]:
    """The bytes of a spool with all kinds of frames, and its records by number."""
    spool = made(tmp_path, 24 * SLOT)
    values = [1.5, 2, -0.0]
    plan = plan_of(spool, values)
    for seq in range(0, 12, 2):
        packed(spool, seq, values, plan, b'{"coverage":{"steps":2}}')
        spool.put(Kind.ROW, seq + 1, row(seq + 1))
    spool.put(Kind.ROW, 12, json.dumps({"seq": 12, "long": "x" * 3000}).encode())
    records = {record["seq"]: record for record in read_spool(spool.path).records}
    image = spool.path.read_bytes()
    spool.close(remove=True)
    return image, records


def test_D03_no_flipped_bit_makes_a_wrong_value(tmp_path):
    """A flip costs the frame that it is in; only one in the plan costs several records."""
    image, records = image_of(tmp_path)
    assert len(records) == 13
    used = [
        at for at in range(len(image)) if image[at] or image[at - at % SLOT : at + 1].strip(b"\0")
    ]
    path = tmp_path / "flipped"
    for at in used[::5]:
        flipped = bytearray(image)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        found = read_spool(path)
        assert all(records[record["seq"]] == record for record in found.records), at
        lost = 13 - len(found.records)
        assert lost <= 1 or SLOT <= at < 2 * SLOT, at
        if lost:
            assert found.problems, at


def test_D01_a_spool_cut_at_any_byte_gives_what_is_whole(tmp_path):
    image, records = image_of(tmp_path)
    path = tmp_path / "cut"
    for length in range(0, len(image), 97):
        path.write_bytes(image[:length])
        found = read_spool(path)
        assert all(records[record["seq"]] == record for record in found.records)
        if length >= 20 * SLOT:
            assert len(found.records) == 13


@settings(max_examples=100)
@given(st.binary(max_size=3 * SLOT), st.integers(0, SLOT))
def test_no_bytes_make_the_reader_raise(tmp_path_factory, noise, where):
    path = tmp_path_factory.mktemp("noise") / "spool"
    path.write_bytes(bytes(where) + noise)
    assert read_spool(path).records == []


@settings(max_examples=100)
@given(
    st.sampled_from([Kind.HEADER, Kind.PLAN, Kind.PACKED, Kind.ROW, 9]),
    st.binary(max_size=64) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda data: json.dumps(data).encode()
    ),
    st.dictionaries(st.sampled_from(["mode", "format", "wire", "aliases", "doubles"]), st.none()
    | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)),
)  # fmt: skip
def test_no_frame_makes_the_reader_raise(tmp_path_factory, kind, data, plan):
    """Sound checksums around what nobody would write."""
    spool = made(tmp_path_factory.mktemp("odd"))
    number = spool.plan(plan)
    spool.put(kind, 5, data)
    packed(spool, 6, [1.0, 2], number or 1)
    read_spool(spool.path)
    spool.close(remove=True)


@pytest.mark.parametrize("what", ["directory", "fifo", "link", "nothing", "nul"])
def test_what_is_no_spool_is_a_problem(tmp_path, what):
    path = tmp_path / "x"
    match what:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to(tmp_path / "y")
        case "nul":
            path = tmp_path / "a\0b"
    found = read_spool(path)
    assert found.records == []
    assert len(found.problems) == 1


def test_X12_a_spool_is_for_its_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        spool = made(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    for link in Path("/proc/self/fd").iterdir():
        if os.path.realpath(link) == str(spool.path):
            assert not os.get_inheritable(int(link.name))
    spool.close(remove=True)
    assert not spool.path.exists()


def test_X03_no_name_can_be_guessed_and_no_link_is_followed(tmp_path, monkeypatch):
    names = {made(tmp_path).path.name for _ in range(5)}
    assert len(names) == 5
    assert all(str(os.getuid()) in name for name in names)
    target = tmp_path / "target"
    target.write_text("precious")
    monkeypatch.setattr(spools.secrets, "token_hex", lambda size: "known")
    (tmp_path / f"coordexp-metrics-{os.getuid()}-known.spool").symlink_to(target)
    spool, problems = Spool.create([tmp_path])
    assert spool is None
    assert problems
    assert target.read_text() == "precious"


def test_D17_a_directory_that_is_missing_full_or_forbidden_gives_way_to_the_next(
    tmp_path, monkeypatch
):
    whole = spools.write_whole

    def no_space(descriptor, data):
        if "/full/" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(28, "No space left on device")
        whole(descriptor, data)

    monkeypatch.setattr(spools, "write_whole", no_space)
    (tmp_path / "full").mkdir()
    (tmp_path / "good").mkdir()
    places = [tmp_path / "missing", tmp_path / "full", Path("/proc"), tmp_path / "good"]
    spool, problems = Spool.create(places, 8 * SLOT)
    assert spool is not None
    assert spool.path.parent == tmp_path / "good"
    assert len(problems) == 3
    assert "No space left on device" in problems[1]
    assert list((tmp_path / "full").iterdir()) == []
    spool.close(remove=True)
    assert Spool.create(places[:3])[0] is None


def test_a_real_full_file_system_is_no_bus_error(tmp_path):
    """The file is written whole before it is mapped."""
    resource = pytest.importorskip("resource")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * SLOT, limits[1]))
    try:
        spool, problems = Spool.create([tmp_path], 64 * SLOT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert spool is None
    assert "File too large" in problems[0]
    assert list(tmp_path.iterdir()) == []


def test_threads_share_a_spool_and_lose_nothing(tmp_path):
    interval = sys.getswitchinterval()
    spool, count = made(tmp_path, 512 * SLOT), itertools.count()
    plan = plan_of(spool, [1.0, 2.0])

    def write() -> None:
        for _ in range(50):
            seq = next(count)
            assert packed(spool, seq, [float(seq), -float(seq)], plan) is not None
            spool.release(spool.put(Kind.ROW, 10**6 + seq, b"x" * 4000) or ())

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    found = read_spool(spool.path)
    assert [record["seq"] for record in found.records] == list(range(400))
    assert all(r["metrics"] == {"k0": r["seq"], "k1": -r["seq"]} for r in found.records)
    assert found.problems == []
    assert spool.free == 512 - 2 - 400
    spool.close(remove=True)


KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[1:2]
from pathlib import Path
from coordexp_metrics.sinks.spool import Spool
from coordexp_metrics.sinks.spool_frames import Kind
spool, _ = Spool.create([Path(sys.argv[2])], 256 * 2048)
spool.begin({"run": "r"})
for seq in range(100):
    slots = spool.put(Kind.ROW, seq, b'{"seq":%d}' % seq)
    if seq < int(sys.argv[4]):
        spool.release(slots)
if sys.argv[3] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif sys.argv[3] == "abort":
    os.abort()
os._exit(0)
"""


def die(directory: Path, how: str, released: int = 0) -> Path:
    command = [sys.executable, "-c", KILLED, str(ROOT), str(directory), how, str(released)]
    subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
    (path,) = directory.glob("*.spool")
    return path


@pytest.mark.parametrize("how", ["kill", "abort", "exit"])
def test_L11_however_a_process_ends_its_spool_stays(tmp_path, how):
    found = read_spool(die(tmp_path, how))
    assert [record["seq"] for record in found.records] == list(range(100))
    assert found.problems == []


def test_what_a_dead_run_left_is_removed_only_where_its_journal_has_everything(tmp_path):
    needed = die(tmp_path, "kill")
    assert reclaim([tmp_path], stale=0) == [needed]
    needed.unlink()
    done = die(tmp_path, "kill", released=100)
    assert reclaim([tmp_path]) == []
    assert done.exists(), "too young to tell from one that is being made"
    living = made(tmp_path)
    assert reclaim([tmp_path], stale=0) == []
    assert not done.exists()
    assert living.path.exists()
    living.close(remove=True)


def test_a_closed_spool_takes_and_gives_nothing(tmp_path):
    spool = made(tmp_path)
    slots = spool.put(Kind.ROW, 1, row(1))
    spool.close(remove=False)
    spool.close(remove=False)
    spool.release(slots)
    assert spool.put(Kind.ROW, 2, row(2)) is None
    assert packed(spool, 2, [1.0], 1) is None
    assert [record["seq"] for record in read_spool(spool.path).records] == [1]


def test_frames_of_nothing():
    assert frames_of(b"") == ([], [])
    assert frames_of(bytes(SLOT + HEAD)) == ([], [])
