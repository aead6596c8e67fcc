"""What a program did to its view of a folder: collected as hostile data, shown, and applied as one transaction.

collect(upper_fd, folder=..., ...)  ->  Changes       out of the overlay's upper layer into a store
changes.summary(), changes.diff(p)                    what would happen
changes.apply(), .finish(), .undo()                   all of it, or none of it
"""

from .changeset import Changes
from .collecting import collect
from .moment import pass_moment
from .nouns import ApplyConflict, Change, Conflict, Skipped, State

__all__ = ["ApplyConflict", "Change", "Changes", "Conflict", "Skipped", "State", "collect", "pass_moment"]
