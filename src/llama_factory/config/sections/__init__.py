"""The sections of a run, one class a group of keys. Each key stands in exactly one of them."""
