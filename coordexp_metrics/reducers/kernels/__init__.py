"""The same numbers on a CUDA device: one read of the logits, three launches, no wait.

Only ``reducers.backends`` imports from here, and only for a tensor that a kernel will read: triton
is optional. The torch path beside it, ``reducers.rowstats`` and ``reducers.keys``, is the reference.
"""
