"""What a program asks about the machine and about itself."""

import getpass
import os
import platform
import pwd
import resource
import shutil
import socket
import sys
import sysconfig

print(platform.system(), os.name, sys.byteorder, platform.python_implementation(), os.sep)
print(os.cpu_count() >= 1, len(os.sched_getaffinity(0)) >= 1, bool(platform.machine()), bool(platform.platform()))
print(bool(getpass.getuser()), bool(socket.gethostname()), platform.uname().node == socket.gethostname())
print(os.path.isdir(os.path.expanduser("~")), os.environ.get("NOT_SET", "default"), "PATH" in os.environ)
print(pwd.getpwuid(0).pw_name, os.getpid() > 0, os.getcwd() == os.path.abspath("."), os.access(".", os.W_OK))
print(shutil.get_terminal_size().columns > 0, sys.version_info >= (3, 11), sysconfig.get_python_version()[:2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0, resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256)
print(os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES") > 0, os.times().user >= 0, os.getpgrp() > 0)
print(sys.executable != "", os.path.exists(sys.executable), len(sys.argv), os.path.isabs(os.path.abspath(__file__)))

# Prints:
# Linux posix little CPython /
# True True True True
# True True True
# True default True
# root True True True
# True True 3.
# True True
# 4096 True True True
# True True 1 True
