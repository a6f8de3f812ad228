"""What do all Stage-1 metrics cost on a GPU, beside one read of the logits and a plain version?

    python benchmarks/gpu.py [--rows 8192] [--rounds 20]

On a GPU: time against one read of the same bytes and against the plain torch version of
``benchmarks/logits.py``, launches, host syncs and extra memory, each taken in turns in one process.
Without one: what the compiler makes of the kernels for an A100 and an H100, and from that a
prediction, which is marked as one.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import tempfile
from collections.abc import Callable
from importlib.util import find_spec

import logits as plain_version
import torch
from torch import Tensor

from coordexp_metrics import CATALOGUE
from coordexp_metrics.reducers import COORD, DESC, FORMAT, LogitsReducer
from coordexp_metrics.reducers.coord_distribution import SoftTarget
from coordexp_metrics.reducers.coord_vocabulary import CoordVocabulary
from coordexp_metrics.reducers.kernels.program import Settings
from coordexp_metrics.reducers.keys import CoordWeights
from coordexp_metrics.window import Window

VOCABULARY, BINS = plain_version.VOCABULARY, plain_version.BINS
IDS = list(range(VOCABULARY - BINS, VOCABULARY))
SCATTERED = torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(0))[:BINS].tolist()
# Bytes a second from memory, multiprocessors, instructions a second that each of them can issue.
GPUS = {
    "A100 SXM, 80 GB": (80, 1.9e12, 108, 4 * 32 * 1.41e9),
    "H100 SXM, 80 GB": (90, 3.0e12, 132, 4 * 32 * 1.75e9),
    "H200 SXM": (90, 4.3e12, 132, 4 * 32 * 1.75e9),
}


def batch(rows: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """7/8 of the positions supervised, 40 % of those coordinates, logits as after some training."""
    make = torch.Generator("cuda").manual_seed(0)
    logits = torch.empty(1, rows, VOCABULARY, dtype=dtype, device="cuda")
    for part in logits[0].split(256):
        part.normal_(0, 3, generator=make)
    is_coord = torch.rand(1, rows, device="cuda", generator=make) < 0.4
    bins = torch.randint(IDS[0], VOCABULARY, (1, rows), device="cuda", generator=make)
    text = torch.randint(0, IDS[0], (1, rows), device="cuda", generator=make)
    labels = torch.where(is_coord, bins, text)
    types = torch.where(is_coord, COORD, torch.where(text % 2 == 0, DESC, FORMAT))
    twelve = torch.full((rows - 1, 1), 12.0, dtype=dtype, device="cuda")
    logits[0, :-1].scatter_add_(1, labels[0, 1:, None], twelve)
    labels[:, : rows // 8] = -100
    return logits, labels, types


def milliseconds(work: Callable[[], object]) -> float:
    """One call between two events of the device."""
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop)


def launches(work: Callable[[], object]) -> int:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    return sum(
        event.device_type == torch.autograd.DeviceType.CUDA and "Memcpy" not in event.name
        for event in profile.events()
    )


def waits(work: Callable[[], object]) -> str:
    """Whether a call stops the host."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        work()
    except RuntimeError as error:
        return f"at least 1 ({error})"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "0"


def extra_memory(work: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def measure(rows: int, dtype: torch.dtype, rounds: int) -> None:
    logits, labels, types = batch(rows, dtype)
    reducer, window = LogitsReducer(IDS), Window(CATALOGUE, "local")
    plain_version.IDS = plain_version.IDS.cuda()

    def ours() -> None:
        reducer.observe(window, logits, labels, types)

    def plain() -> None:
        with torch.device("cuda"):
            plain_version.plain(logits, labels, types)

    works: dict[str, Callable[[], object]] = {
        "ours": ours,
        "read": lambda: torch.amax(logits),
        "plain": plain,
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(milliseconds(work))
    took = {name: statistics.median(values) for name, values in times.items()}
    size = logits.numel() * logits.element_size()
    extra = extra_memory(ours)
    print(f"{str(dtype)[6:]}, {rows} rows, {size / 1e9:.3f} GB, by {reducer.backend.name}")
    print(f"  ours {took['ours']:.3f} ms, one read {took['read']:.3f} ms", end=", ")
    print(f"plain torch {took['plain']:.1f} ms")
    print(f"  {took['ours'] / took['read']:.2f}x one read (at most 1.4)", end=", ")
    print(f"{took['plain'] / took['ours']:.1f}x faster than plain torch (at least 25)")
    print(f"  launches {launches(ours)} (at most 4), host syncs {waits(ours)}", end=", ")
    print(f"extra memory {extra / 1e6:.2f} MB, {extra / size:.3%} (at most 0.1 %)")


def settings(ids: list[int], temperature: float) -> Settings:
    """Of a reducer with all metrics."""
    weights, target = CoordWeights(True, 1.0, 1.0, 0.0, 1.0), SoftTarget(BINS, 2.0, None)
    return Settings(CoordVocabulary(ids), target, temperature, weights, True, True, 0)


def predict(rows: int) -> None:
    """What the machine code says, without a GPU to run it."""
    from coordexp_metrics.reducers.kernels.offline import build_rows

    print("No CUDA device: nothing was measured. The kernels, as assembled for one:")
    print("dtype      GPU              registers spills  a logit scattered  loads", end="")
    print("  predicted ms (read, issue)")
    for dtype in (torch.bfloat16, torch.float32):
        for temperature in (1.0, 0.7):
            for name, (capability, bandwidth, cores, issued) in GPUS.items():
                build, elsewhere = (
                    build_rows(dtype, VOCABULARY, settings(ids, temperature), capability)
                    for ids in (IDS, SCATTERED)
                )
                supervised = rows * VOCABULARY * 7 / 8
                read = supervised * dtype.itemsize / bandwidth * 1e3
                issue = supervised * build.per_element / (cores * issued) * 1e3
                widths = {load.removeprefix("LDG.E.") for load in build.loads}
                print(
                    f"{str(dtype)[6:]:<10} {name:<16} {build.registers:>9} {build.spills:>6}"
                    f" {build.per_element:>8.2f} {elsewhere.per_element:>9.2f}"
                    f"  {','.join(sorted(widths)):>5}"
                    f"  {max(read, issue):.2f} ({read:.2f}, {issue:.2f}), T = {temperature}"
                )
    print(f"Predictions for {rows} rows, 7/8 supervised: the greater of the time to read their")
    print("logits and the time to issue the loop's instructions, at the bandwidth and clock above.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        today = datetime.datetime.now(tz=datetime.UTC).date()
        print(f"{properties.name}, CUDA {torch.version.cuda}, torch {torch.__version__}, {today}")
        os.system("nvidia-smi --query-gpu=driver_version --format=csv")  # noqa: S605, S607
        for dtype in (torch.bfloat16, torch.float32):
            measure(arguments.rows, dtype, arguments.rounds)
    elif find_spec("triton") is None:
        print("No CUDA device and no triton: nothing to measure and nothing to assemble.")
    else:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["TRITON_CACHE_DIR"] = cache
            predict(arguments.rows)


if __name__ == "__main__":
    main()
