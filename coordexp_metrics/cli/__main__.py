"""``python -m coordexp_metrics.cli`` is ``coordexp-metrics``."""

from .entry import main

main()
