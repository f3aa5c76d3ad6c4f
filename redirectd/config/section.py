"""What all sections share: unknown keys are errors, and values don't change once read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the configuration file. Its docstring and its fields' descriptions are the reference text."""

    # Deferred: only the whole file is ever validated, so a section of its own needs no validator of its own.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
