"""What a restricted program may say, enforced inside the wall, in the worker's process: never on the host.

Standard library and RestrictedPython only, nothing of ours outside of it; `worker.runner` is told of it when the warm
process starts. It is a policy and no wall: what gets past it is still in the jail.
"""

from .speech import Restricted

__all__ = ["Restricted"]
