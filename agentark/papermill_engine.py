"""Our papermill engine: `papermill --engine agentark …`.

It adds what papermill's command line lacks: parameters are checked before a kernel starts (papermill only warns about
an unknown one, and of a key that a file has twice it takes the last), the same run is not started twice at once,
kernels communicate over files instead of ports, so that parallel runs never collide, and a cell may be silent for as
long as it works.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import click
from papermill.engines import NBClientEngine
from traitlets.config import Config

from . import notebook, store
from .params import yaml_file
from .store import locks

LONGEST_FOLDER = 70  # bytes; a socket's path has at most 103 (macOS; Linux: 107), of which its own name takes 27


class Engine(NBClientEngine):
    """Papermill's own engine with our checks and settings."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        """Check the notebook's parameters, then run it.

        Raises ParamsError before anything is started, and StoreError if the same run is at work already.
        """
        _check_files()
        about = nb_man.nb.metadata.get("papermill", {})
        given = dict(about.get("parameters", {}))
        where = "papermill's parameters"
        notebook.refuse_undeclared(set(given), notebook.declared(nb_man.nb.cells), where)
        notebook.check(given, where)
        name = about.get("input_path")
        busy = f"another run of {name} with these parameters is at work: wait for it, or stop it"
        with locks.lock([str(store.ROOT), name, given], busy), sockets() as config:
            return super().execute_managed_notebook(
                nb_man, kernel_name, iopub_timeout=120, config=config, store_widget_state=False, **kwargs
            )


def _check_files() -> None:
    """Raise ParamsError for a params file or text of the command line that papermill reads otherwise than a person."""
    command = click.get_current_context(silent=True)  # None if papermill was called from Python
    options = command.params if command else {}
    for path in options.get("parameters_file") or ():
        if Path(path).is_file():
            yaml_file.read(path)
    for text in options.get("parameters_yaml") or ():
        yaml_file.parse(text, "papermill's -y")


@contextmanager
def sockets() -> Iterator[Config]:
    """Yield the settings of a kernel's sockets: files in a folder of its own, by default all kernels would share one.

    The folder lies in /tmp if the path of the temporary folder (TMPDIR) is too long for a socket; if there is no short
    folder at all, ports are used.
    """
    short = [root for root in (gettempdir(), "/tmp") if len(os.fsencode(root)) <= LONGEST_FOLDER]
    root = next((root for root in short if os.access(root, os.W_OK | os.X_OK)), None)
    if root is None:
        yield Config({"ConnectionFileMixin": {"transport": "tcp"}})
        return
    with TemporaryDirectory(prefix="agentark-", dir=root) as folder:
        yield Config({"ConnectionFileMixin": {"transport": "ipc", "ip": f"{folder}/kernel"}})
