"""Build hook: where a fit clang is at hand, the wheel's kernel object is compiled from its source.

Without one, the committed object goes in; a test holds the two equal. An editable install uses
the committed object as it lies in the tree.
"""

from __future__ import annotations

import importlib.util
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OBJECT = "flowcost/agent/bpf/flow.bpf.o"


class KernelObject(BuildHookInterface):
    """Puts a freshly compiled object into the wheel."""

    PLUGIN_NAME = "kernel-object"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile next to the build and have the wheel take the result."""
        if version == "editable":
            return
        source = Path(self.root, "src/flowcost/agent/compile.py")
        spec = importlib.util.spec_from_file_location("compile_bpf", source)
        compiler = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(compiler)
        clang = compiler.find_clang()
        if clang is None:
            self.app.display_info("no clang: the committed kernel object is packaged")
            return
        self._scratch = tempfile.TemporaryDirectory()
        made = Path(self._scratch.name, "flow.bpf.o")
        try:
            compiler.compile_object(clang[0], made)
        except subprocess.CalledProcessError as error:
            self.app.display_warning(
                f"{clang[0]} refused, so the committed kernel object is packaged: {error.stderr}"
            )
            return
        build_data["force_include"][str(made)] = OBJECT

    def finalize(self, *_: object) -> None:
        """Remove what was compiled."""
        if hasattr(self, "_scratch"):
            self._scratch.cleanup()
