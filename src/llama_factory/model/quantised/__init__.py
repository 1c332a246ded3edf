"""Frozen weights in 8 bits or fewer: how a model gets them, what they take, what may be done with them.

    asked       what `quantization_...` keys ask for, and what adapters were trained beside, in one value
    loading     which of these ways a model goes, and whether it can be gone
    bitsandbytes, hqq    a model's linear layers made so while it is loaded
    checkpoints          folders whose weights lie there in such a form already (GPTQ, AWQ)
    guards      what goes wrong with such weights without an error, each refused
    layers      the linear layers of a loaded model that are quantised, and what they take
    plain       the weights that such layers stand for, as numbers again

Embedding and head stay as they are. Nothing here trains and nothing is merged: see `guards`.
"""
