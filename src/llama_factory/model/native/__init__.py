"""Kernels in C++ for the processor, compiled on it: attention, norms, gated activations, rotation, the head's softmax.

    *.cpp, *.h  the kernels: what a pass computes, 16 numbers at a time, in float32 or bfloat16
    making      compiled, as early as possible
    library     when they are taken, loading
    calls       each as a function of tensors
    proof       each beside its formula, before the first use

Whoever uses one (`attention`, `norm`, `gated`, `rotary`, `head`) has the same in torch for where there are none.
"""

from __future__ import annotations
