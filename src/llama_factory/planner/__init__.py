"""The planner: a model's shape, the lengths of rows and a machine in; memory, time and choices out.

No weights are loaded here and no torch: everything follows from numbers that `config.json` says.
"""
