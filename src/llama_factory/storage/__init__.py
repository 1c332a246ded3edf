"""Bytes into files that are whole or absent: written aside, hashed, synced, renamed, listed, locked.

In: folders and functions that write plain files. Out: folders that a kill, a power loss or a full
disk cannot leave half done, and the means to tell later that not one bit of them changed.
Deliberately knows nothing of what it stores; needs neither numpy nor torch.
"""

from __future__ import annotations

from llama_factory.storage.aside import beside, sweep
from llama_factory.storage.commit import (
    append_line,
    publish_files,
    remove_directory,
    set_aside,
    write_directory,
    write_file,
    write_stream,
)
from llama_factory.storage.digests import cache_folder, digest, file_digest
from llama_factory.storage.disk import free_bytes, human, refusal
from llama_factory.storage.lock import Lock
from llama_factory.storage.manifest import Entry, Manifest, glance, verify
from llama_factory.storage.numbered import Broken, find_newest, newest_whole, numbered, retain

__all__ = [
    "Broken",
    "Entry",
    "Lock",
    "Manifest",
    "append_line",
    "beside",
    "cache_folder",
    "digest",
    "file_digest",
    "find_newest",
    "free_bytes",
    "glance",
    "human",
    "newest_whole",
    "numbered",
    "publish_files",
    "refusal",
    "remove_directory",
    "retain",
    "set_aside",
    "sweep",
    "verify",
    "write_directory",
    "write_file",
    "write_stream",
]
