"""Handle what goes wrong, tell about it, and end with success."""

import atexit
import linecache
import sys
import traceback


class ConfigError(Exception):
    pass


def load(path):
    try:
        return open(path).read()
    except FileNotFoundError as error:
        raise ConfigError(f"cannot load {path}") from error


try:
    load("missing.toml")
except ConfigError as error:
    print(error, "|", type(error.__cause__).__name__, error.__cause__.errno)
    text = traceback.format_exc()
    print("direct cause" in text, "in load" in text, 'raise ConfigError(f"cannot load {path}") from error' in text)
    traceback.print_exc(limit=0, file=sys.stdout)
try:
    raise ExceptionGroup("several", [ValueError(1), TypeError(2)])
except* ValueError as group:
    print(group.exceptions)
except* TypeError as group:
    print(group.exceptions)
print(linecache.getline("notes.txt", 1).strip(), sys.exc_info())
atexit.register(print, "bye")
atexit.unregister(print)
sys.exit(0)

# Prints:
# cannot load missing.toml | FileNotFoundError 2
# True True True
# FileNotFoundError: [Errno 2] No such file or directory: 'missing.toml'
#
# The above exception was the direct cause of the following exception:
#
# ConfigError: cannot load missing.toml
# (ValueError(1),)
# (TypeError(2),)
# The quick brown fox jumps over the lazy dog. (None, None, None)
