"""The contract for the numbers that a training run logs."""
