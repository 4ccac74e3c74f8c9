"""A Spark session, or the reason there is none, in the operator's words."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import flowcost
from flowcost.errors import NotSupportedError, UnreachableError, UsageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PROBE_SECONDS = 120
ANSWER_SECONDS = 5

_STANDALONE = re.compile(r"spark://([^\s/]+)")
_LOCAL_CLUSTER = re.compile(r"local-cluster\[\s*\d+\s*,\s*\d+\s*,\s*(\d+)\s*\]")


def check_master(master: str) -> None:
    """Refuse what is no address of a Spark cluster.

    Raises:
        UsageError: it is none that can be used.
    """
    if not _STANDALONE.fullmatch(master) and not _LOCAL_CLUSTER.fullmatch(master):
        raise UsageError(
            f"--engine {master}: no such engine",
            hint="duckdb, spark://host:port or local-cluster[workers,cores,MiB]",
        )


def workers_python() -> str:
    """Return the interpreter that workers run: `PYSPARK_PYTHON`, else the path of this one."""
    return os.environ.get("PYSPARK_PYTHON", sys.executable)


@contextmanager
def session(master: str) -> Iterator[SparkSession]:
    """Yield a session whose workers have this package's code; it is stopped at the end.

    Everything not set here is Spark's own configuration (`SPARK_CONF_DIR`).

    Raises:
        NotSupportedError: PySpark or Java is missing.
        UnreachableError: the master does not answer.
    """
    check_master(master)
    try:
        import pandas as pd  # noqa: F401, PLC0415 - mapInArrow asks for it
        from py4j.protocol import Py4JError  # noqa: PLC0415 - an extra
        from pyspark.errors import PySparkException  # noqa: PLC0415
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError:
        raise NotSupportedError(
            f"--engine {master} needs PySpark", hint="pip install 'flowcost[spark]'"
        ) from None
    _check_java()
    _check_answers(master)
    os.environ.setdefault("PYSPARK_PYTHON", workers_python())  # a session takes it from here
    builder = SparkSession.builder.master(master).appName("flowcost")
    for name, value in _settings(master).items():
        builder = builder.config(name, value)
    try:
        spark = builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        raise UnreachableError(
            f"{master}: no Spark session: {_cause(str(error))}",
            hint="Spark 4 needs Java 17 or later, and the same version of Spark on the cluster",
        ) from None
    try:
        with tempfile.TemporaryDirectory(prefix="flowcost-") as folder:
            spark.sparkContext.addPyFile(str(_packed(Path(folder))))
            yield spark
    finally:
        spark.stop()


def _settings(master: str) -> dict[str, str]:
    settings = {
        "spark.log.level": "OFF",  # of the driver; what fails is said by us
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # A row holds a few MiB of a partial.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "8",
    }
    if local := _LOCAL_CLUSTER.fullmatch(master):
        settings["spark.executor.memory"] = f"{local[1]}m"
    return settings


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else "java"
    if shutil.which(java) is None:
        raise NotSupportedError(
            "the Spark engine needs Java 17 or later"
            + (f"; JAVA_HOME={home} has none" if home else ""),
            hint="install a Java runtime (on Debian: default-jre-headless), or set JAVA_HOME",
        )


def _check_answers(master: str) -> None:
    """Ask for a connection first: Spark itself tries for a minute before it says so."""
    found = _STANDALONE.fullmatch(master)
    if found is None:
        return
    cause = ""
    for place in found[1].split(","):
        host, _, port = place.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), ANSWER_SECONDS):
                return
        except (OSError, ValueError) as error:
            cause = str(error)
    raise UnreachableError(f"{master}: no Spark master there ({cause})", hint="check host and port")


def _packed(folder: Path) -> Path:
    """Return a zip of this package's modules, named by its content."""
    root = Path(flowcost.__file__).parent
    digest = hashlib.sha256()
    draft = folder / "flowcost.zip"
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(root.rglob("*.py")):
            digest.update(path.read_bytes())
            out.write(path, f"flowcost/{path.relative_to(root).as_posix()}")
    return draft.rename(folder / f"flowcost-{digest.hexdigest()[:16]}.zip")


def _cause(text: str) -> str:
    """Return the first line of Java's or Python's own words."""
    lines = [line.strip(" :\t") for line in text.splitlines()]
    told = [line for line in lines if line and not line.startswith(("at ", "An error occurred"))]
    return told[0] if told else "no reason given"
