"""The same numbers on a CUDA device: one read of the logits, three launches, no wait.

triton is optional: it is imported for a tensor that a kernel will read, and never before. The torch
path beside the kernels, ``reducers.rowstats`` and ``reducers.keys``, is the reference.
"""
