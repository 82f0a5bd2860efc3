"""All files that submit an experiment somewhere else."""

from __future__ import annotations

import json
from collections.abc import Sequence

from flan.experiments.backends.jobset import JobSetSettings, manifests
from flan.experiments.backends.skypilot import SkyPilotSettings, task_files
from flan.experiments.graph import Job
from flan.experiments.state import EXPERIMENT_FILE, Record, record_content


def generate(
    record: Record,
    jobs: Sequence[Job],
    settings: SkyPilotSettings | JobSetSettings,
    name: str,
    folder: str,
) -> dict[str, str]:
    """File name -> text.

    Args:
      record: of the experiment, its commands with the folders of the machines.
      jobs: those of it that are to be submitted.
      settings: these choose between task files and manifests.
      name: of the folder below `settings.mount` that the experiment gets.
      folder: where the files will lie.
    """
    text = json.dumps(record_content(record), indent=1, ensure_ascii=False) + "\n"
    if isinstance(settings, JobSetSettings):
        return manifests(jobs, name, settings, folder, text)
    return {**task_files(jobs, name, settings, folder), EXPERIMENT_FILE: text}
