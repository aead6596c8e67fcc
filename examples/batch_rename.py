"""Rename files; look at the changes before they are applied. Run it: python examples/batch_rename.py [MODEL]"""

import shutil
import sys
import tempfile
from pathlib import Path

from agent import Agent

PHOTOS = Path(__file__).parent / "data" / "photos"


def main(model: str | None = None) -> None:
    folder = Path(tempfile.mkdtemp()) / "photos"
    shutil.copytree(PHOTOS, folder)  # the example's own files stay as they are
    with Agent(model) as agent:
        result = agent.run(
            "Rename all .PNG files in this folder: lower case, and spaces become underscores. Leave other files alone.",
            folder=folder,
        )
    result.raise_for_failure()
    assert result.changes is not None
    print("\n".join(result.changes.summary()))
    result.changes.apply()  # only now is the folder touched
    print(sorted(path.name for path in folder.iterdir()))


if __name__ == "__main__":
    main(*sys.argv[1:2])
