"""Frozen weights in 8 bits or fewer: how a model gets them, what they take, what may be done with them.

    asked       what `quantization_...` keys ask for, in one value
    bitsandbytes, hqq    a model's linear layers made so while it is loaded
    checkpoints          folders whose weights lie there in such a form already (GPTQ, AWQ)
    guards      what goes wrong with such weights without an error, each refused
    layers      the linear layers of a loaded model that are quantised, and what they take

Embedding and head stay as they are. Nothing here trains and nothing is merged: see `guards`.
"""
