"""A hub on this machine: the few addresses of Hugging Face's interface that a download asks for.

`Hub.repositories` is the world: name -> files at each commit, the last commit being `main`. `asked` are the paths
that were asked for. A name in `gated` answers as a data set does whose terms were not accepted.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
INFO = re.compile(r"/api/datasets/(?P<name>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?")
TREE = re.compile(r"/api/datasets/(?P<name>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)/?")
FILE = re.compile(r"/datasets/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class Hub:
    def __init__(self) -> None:
        self.repositories: dict[str, list[Files]] = {}
        self.gated: set[str] = set()
        self.asked: list[str] = []
        self.endpoint = ""

    def publish(self, name: str, files: Files) -> str:
        """A new commit; returns its sha."""
        self.repositories.setdefault(name, []).append(files)
        return self.sha(name, len(self.repositories[name]) - 1)

    def sha(self, name: str, number: int) -> str:
        return hashlib.sha1(f"{name}:{number}".encode()).hexdigest()  # noqa: S324

    def find(self, name: str, revision: str | None) -> tuple[str, Files] | None:
        commits = {self.sha(name, at): files for at, files in enumerate(self.repositories.get(name, []))}
        if not commits:
            return None
        sha = list(commits)[-1] if revision in (None, "main") else str(revision)
        return (sha, commits[sha]) if sha in commits else None


def answer(hub: Hub, path: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for one address."""
    for pattern in (TREE, INFO, FILE):
        if not (match := pattern.fullmatch(path)):
            continue
        name = match["name"]
        if name in hub.gated:
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."}, b"{}"
        found = hub.find(name, match["revision"])
        if found is None:
            return 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"{}"
        sha, files = found
        if pattern is INFO:
            siblings = [{"rfilename": file} for file in files]
            said = {"_id": "1", "id": name, "sha": sha, "private": False, "tags": [], "downloads": 0, "likes": 0}
            return 200, {}, json.dumps({**said, "siblings": siblings}).encode()
        if pattern is TREE:
            tree = [
                {"type": "file", "path": file, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}  # noqa: S324
                for file, body in files.items()
            ]
            return 200, {}, json.dumps(tree).encode()
        if match["file"] not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        body = files[match["file"]]
        return 200, {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": sha}, body  # noqa: S324
    return 404, {}, b"{}"


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(path)
            status, headers, body = answer(hub, path)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
