"""`make bench`: the pipeline's table. Others: `python -m benchmarks.<name>`."""

from __future__ import annotations

from benchmarks import pipeline

pipeline.main()
