"""Package sets: what programs may import, installed once into a read-only folder and pinned by hash.

    from sandbox import Policy, install_packages, open_session

    found = install_packages(["pandas>=2", "matplotlib"], Path("~/sets").expanduser())
    with open_session("jail", policy=Policy(packages=found.path)) as session:
        ...

Only wheels are installed, by pip in a child process: unpacking one runs no code of the package. A set is made beside
its final place and renamed into it, so that one that is there is whole.
"""

from .importable import fits_python, import_folders, installed_folders, pins, unmet
from .installing import OnStep, install_packages
from .requirements import split
from .sets import SITE, Package, PackageSet, delete_set, find_set, list_sets, load_set

__all__ = [
    "SITE",
    "OnStep",
    "Package",
    "PackageSet",
    "delete_set",
    "find_set",
    "fits_python",
    "import_folders",
    "install_packages",
    "installed_folders",
    "list_sets",
    "load_set",
    "pins",
    "split",
    "unmet",
]
