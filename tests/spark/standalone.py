"""A standalone Spark on loopback: a master and two workers, processes of the test's own."""

from __future__ import annotations

import os
import re
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark

HOME = Path(pyspark.__file__).parent
START_SECONDS = 90
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # to start, not to run for hours


class Standalone:
    """`master` is its address; `environment` what a driver needs to use it."""

    def __init__(self, folder):
        self.folder = folder
        self.master = ""
        self.workers = []
        conf = folder / "conf"
        conf.mkdir(parents=True)
        (conf / "spark-defaults.conf").write_text(
            "spark.executor.memory 512m\n"
            "spark.task.maxFailures 2\n"
            f"spark.driver.extraJavaOptions {QUICK}\n"
            f"spark.executor.extraJavaOptions {QUICK}\n"
            "spark.driver.memory 512m\n"
            "spark.driver.host 127.0.0.1\n"
            f"spark.local.dir {folder / 'local'}\n"
        )
        self.environment = {"SPARK_CONF_DIR": str(conf), "SPARK_LOCAL_IP": "127.0.0.1"}

    def start(self, stack, name, *words):
        """Start one daemon; return its process and the file of what it says."""
        said = self.folder / f"{name}.log"
        kept = {key: os.environ[key] for key in ("PATH", "JAVA_HOME", "HOME") if key in os.environ}
        with said.open("wb") as out:
            process = subprocess.Popen(
                # The kernel ends it when the test's process ends, however that does.
                ["setpriv", "--pdeathsig", "KILL", HOME / "bin" / "spark-class", *words],
                stdout=out,
                stderr=out,
                env={
                    **kept,
                    **self.environment,
                    "SPARK_HOME": str(HOME),
                    "SPARK_DAEMON_MEMORY": "256m",
                    "SPARK_DAEMON_JAVA_OPTS": QUICK,
                    "SPARK_LOCAL_DIRS": str(self.folder / "local"),
                },
            )
        stack.callback(stop, process)
        return process, said


def stop(process):
    """End a daemon by its id; a worker ends its executors when it is asked to."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)


@contextmanager
def standalone(folder, workers=2):
    """Yield a running cluster; every process ends with the block, or with this one."""
    with ExitStack() as stack:
        cluster = Standalone(folder)
        place = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        _, said = cluster.start(stack, "master", "org.apache.spark.deploy.master.Master", *place)
        cluster.master = _said(said, r"Starting Spark master at (spark://\S+)")[1]
        for number in range(workers):
            process, said = cluster.start(
                stack,
                f"worker-{number}",
                "org.apache.spark.deploy.worker.Worker",
                *(*place, "--cores", "1", "--memory", "1g"),
                *("--work-dir", str(folder / f"work-{number}")),
                cluster.master,
            )
            cluster.workers.append(process)
            _said(said, r"Successfully registered with master")
        yield cluster


def _said(path, pattern):
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        found = re.search(pattern, path.read_text(errors="replace"))
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{path.name}: no {pattern!r} in:\n{path.read_text()[-2000:]}")
