"""How fast the command answers, as a share of ``import torch``, in pairs of fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

PAIRS = 7
CASES = {
    "import coordexp_metrics": ["-c", "import coordexp_metrics"],
    "import CATALOGUE": ["-c", "from coordexp_metrics import CATALOGUE"],
    "coordexp-metrics --help": ["-m", "coordexp_metrics.cli", "--help"],
    "coordexp-metrics explain": ["-m", "coordexp_metrics.cli", "explain", "rollout/f1"],
    "coordexp-metrics list": ["-m", "coordexp_metrics.cli", "list"],
}


def seconds(arguments: list[str]) -> float:
    """Wall clock of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    seconds(["-c", "import torch"])
    for name, arguments in CASES.items():
        pairs = [(seconds(arguments), seconds(["-c", "import torch"])) for _ in range(PAIRS)]
        ours = statistics.median(pair[0] for pair in pairs)
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        print(f"{name:28s} {ours * 1000:7.0f} ms   {ratio:5.3f} x import torch (target: 0.15)")


if __name__ == "__main__":
    main()
