"""Files that are written whole or not at all; kinds of files whose bytes tell when they were made."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["ARCHIVES", "PICTURES", "write_file"]

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".pdf"))
"""Their bytes may tell when, or by which version, they were made."""
ARCHIVES = frozenset((".zip", ".xlsx", ".docx", ".pptx", ".odt", ".ods"))
"""Their entries bear times."""


def write_file(path: Path, data: bytes) -> None:
    """Whole or not at all. A symbolic link at `path` is replaced, never followed."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        Path(part).chmod(0o666 & ~mask)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
