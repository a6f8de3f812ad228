"""A small real training run: a detector learns to read handwritten digits on a CPU, and logs it."""
