"""A secret is named, never written: the configuration says where it is, not what it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from flowcost.errors import ConfigError


class Secret(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a secret is: in a `file`, or in the environment variable `env`; in neither if unset."""

    file: Annotated[Path | None, Meta(description="file that holds it, alone")] = None
    env: Annotated[str, Meta(description="variable that holds it")] = ""

    def __bool__(self) -> bool:
        return bool(self.file or self.env)

    def read(self) -> str:
        """Return the secret without surrounding white space; read anew, so that it can be rotated.

        Raises:
            ConfigError: it is not there, or empty; the message names the place, not the content.
        """
        if self.file:
            try:
                found = self.file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "is not text"
                raise ConfigError(f"secret file {self.file}: {reason}") from None
            where = f"secret file {self.file}"
        else:
            found = os.environ.get(self.env, "").strip()
            where = f"environment variable {self.env or '(none named)'}"
        if not found:
            raise ConfigError(f"{where}: there is no secret", hint="write it there, alone")
        return found
