"""Our papermill engine: `papermill --engine agentark …`.

It adds what papermill's command line lacks: parameters are checked before a kernel starts (papermill only warns about
an unknown one), the same run is not started twice at once, kernels communicate over files instead of ports, so that
parallel runs never collide, and a cell may be silent for as long as it works.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory

from papermill.engines import NBClientEngine
from traitlets.config import Config

from . import notebook, store
from .store import locks


class Engine(NBClientEngine):
    """Papermill's own engine with our checks and settings."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        """Check the notebook's parameters, then run it.

        Raises ParamsError before anything is started, and StoreError if the same run is at work already.
        """
        about = nb_man.nb.metadata.get("papermill", {})
        given = dict(about.get("parameters", {}))
        where = "papermill's parameters"
        notebook.refuse_undeclared(set(given), notebook.declared(nb_man.nb.cells), where)
        notebook.check(given, where)
        name = about.get("input_path")
        busy = f"another run of {name} with these parameters is at work: wait for it, or stop it"
        # One folder per kernel: by default all kernels would share the name of one socket.
        with locks.lock([str(store.ROOT), name, given], busy), TemporaryDirectory(prefix="agentark-") as folder:
            sockets = Config({"ConnectionFileMixin": {"transport": "ipc", "ip": f"{folder}/kernel"}})
            return super().execute_managed_notebook(
                nb_man, kernel_name, iopub_timeout=120, config=sockets, store_widget_state=False, **kwargs
            )
