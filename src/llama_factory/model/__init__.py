"""Names and paths <-> modules: find, load, adapt, describe and save the weights of one model.

`locate` a folder, `load` it, `adapters.attach` what is to be trained, `Policy` for log-probabilities,
`save.trained_files` at the end; `fingerprint` says which weights a result belongs to, `gguf` turns a
llama.cpp file into a folder. Nothing here knows a data set. Importing this room loads no torch.
"""
