"""Our papermill engine: `papermill --engine agentark …`.

It carries what papermill's command line lacks: parameters are checked before a kernel starts (papermill itself only warns about an
unknown one), kernels talk over files instead of ports, so that parallel runs never collide, and a cell may be silent for as long
as it works.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory

from papermill.engines import NBClientEngine
from traitlets.config import Config

from . import notebook


class Engine(NBClientEngine):
    """Papermill's own engine with our checks and settings."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        """Check the notebook's parameters, then run it.  Raises ParamsError before anything is started."""
        given = dict(nb_man.nb.metadata.get("papermill", {}).get("parameters", {}))
        cells = nb_man.nb.cells
        declared = {
            name
            for cell in cells
            if "parameters" in cell.metadata.get("tags", [])
            for name in notebook.assigned(cell.source)
        }
        notebook.refuse_undeclared(set(given), declared, "papermill's parameters")
        notebook.check(given, "papermill's parameters")
        with TemporaryDirectory(
            prefix="agentark-"
        ) as folder:  # a folder a kernel: by default all would share one socket's name
            sockets = Config({"ConnectionFileMixin": {"transport": "ipc", "ip": f"{folder}/kernel"}})
            return super().execute_managed_notebook(
                nb_man, kernel_name, iopub_timeout=120, config=sockets, store_widget_state=False, **kwargs
            )
