"""Import a module that lies beside the data, and one that was just written."""

import importlib
import os
import sys
from pathlib import Path

import shapes

print(shapes.area(3, 4))
Path("tools").mkdir()
Path("tools/__init__.py").write_text("from .text import shout\n")
Path("tools/text.py").write_text("def shout(s):\n    return s.upper() + '!'\n")
importlib.invalidate_caches()
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.getcwd())
import tools

print(tools.shout("hello"), tools.text.__name__)
namespace = {}
exec(compile("y = [n * 2 for n in range(3)]", "<made>", "exec"), namespace)
print(namespace["y"], eval("1 + 2"))

# Prints:
# 12
# HELLO! tools.text
# [0, 2, 4] 3
# Leaves:
# created tools
# created tools/__init__.py
# created tools/text.py
