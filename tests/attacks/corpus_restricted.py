"""Programs that get past a language policy (class G): in plain Python each prints REACHED.

In the restricted sandbox none may. They are played a second time as the host's own code, to which the policy does not
apply: then each prints REACHED there, too, and the wall has to hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ESCAPES", "HARM", "HARMLESS", "Escape"]


@dataclass(frozen=True)
class Escape:
    """One way past the policy. `since`: the Python that has this syntax."""

    id: str
    program: str
    since: tuple[int, int] = (3, 11)


def _reaches(id: str, expression: str, needs: str = "", since: tuple[int, int] = (3, 11)) -> Escape:
    """A way to something that no program may have."""
    return Escape(id, f"{needs}\nfound = {expression}\nprint('REACHED', str(found)[:40])", since)


def _says(id: str, program: str, since: tuple[int, int] = (3, 11)) -> Escape:
    """Something that no program may say, whatever comes of it."""
    return Escape(id, f"{program}\nprint('REACHED')", since)


_FRAMES = "def g(): yield\ni = g()\n"
_CAUGHT = "try: 1 / 0\nexcept ZeroDivisionError as error: kept = error\n"

ESCAPES: Final = [
    _reaches("G01-format", "'{0.__class__.__base__}'.format(1)"),
    _reaches("G01-format-of-a-subclass", "S('{0.__class__}').format(1)", "class S(str): pass"),
    _reaches("G01-format-by-super", "S('{0.__class__}').shown()", "class S(str):\n    def shown(self): return super().format(1)"),
    _reaches("G01-format-by-name", "getattr('{0.__class__}', 'format')(1)"),
    _reaches("G01-format-mapped", "list(map('{0.__class__}'.format, [1]))"),
    _reaches("G01-format-by-index", "'{0[0].__class__}'.format([1])"),
    _reaches("G02-format-of-the-class", "str.format('{0.__class__}', 1)"),
    _reaches("G02-format-by-methodcaller", "operator.methodcaller('format', 1)('{0.__class__}')", "import operator"),
    _reaches("G03-format-map", "'{x.__class__}'.format_map({'x': 1})"),
    _reaches("G04-get-field", "string.Formatter().get_field('0.__class__', (1,), {})", "import string"),
    _reaches("G05-formatter", "Formatter().format('{0.__class__}', 1)", "from string import Formatter"),
    _reaches("G05-user-string", "UserString('{0.__class__}').format(1)", "from collections import UserString"),
    _reaches("G06-f-string", "f'{(1).__class__}'"),
    _reaches("G06-nested", "f'{1:{str(().__class__.__name__)[:0]}}'"),
    _reaches("G07-t-string", "t'{(1).__class__}'.interpolations[0].value", since=(3, 14)),
    _reaches("G08-generator-frame", "i.gi_frame.f_builtins", _FRAMES),
    _reaches("G08-generator-code", "i.gi_code", _FRAMES),
    _reaches("G08-frame-by-name", "getattr(i, 'gi_' + 'frame')", _FRAMES),
    _reaches("G08-frame-by-attrgetter", "operator.attrgetter('gi_frame')(i)", _FRAMES + "import operator"),
    _reaches("G08-frame-by-pattern", "f(i)", _FRAMES + "def f(v):\n    match v:\n        case object(gi_frame=found): return found"),
    _says("G09-async", "async def f(): yield\nf().ag_frame"),
    _says("G09-async-alone", "async def f(): pass\nc = f()\nc.close()"),
    _reaches("G10-traceback", "kept.__traceback__.tb_frame.f_globals", _CAUGHT),
    _reaches("G10-traceback-by-name", "getattr(kept, '__trace' + 'back__')", _CAUGHT),
    _reaches(
        "G10-frames-of-a-manager",
        "seen[0].tb_frame",
        "seen = []\nclass M:\n    def __enter__(self): pass\n    def __exit__(self, kind, error, trace):\n"
        "        seen.append(trace)\n        return True\nwith M(): 1 / 0",
    ),
    _reaches("G10-sys-frames", "sys._getframe().f_builtins['__import__']('os')", "import sys"),
    _says("G09-async-generator", "f = lambda y: (x async for x in y)"),
    _says("G11-except-star", "try: 1 / 0\nexcept* ZeroDivisionError: pass"),
    _reaches("G11-exception-group", "ExceptionGroup('', [ValueError()])"),
    _reaches("G12-obj", "kept.obj", "try: (1).nothing\nexcept AttributeError as error: kept = error"),
    _reaches("G12-obj-by-name", "getattr(kept, 'obj')", "try: (1).nothing\nexcept AttributeError as error: kept = error"),
    _reaches("G12-obj-of-the-class", "AttributeError.obj.__get__(kept)", "try: (1).nothing\nexcept AttributeError as error: kept = error"),
    _reaches("G13-match-class", "f(1)", "def f(v):\n    match v:\n        case object(__class__=c): return c"),
    _reaches("G13-match-args", "f(1)", "class C(int):\n    __match_args__ = ('__class__',)\ndef f(v):\n    match C(v):\n        case C(c): return c"),
    _says("G14-type-parameter", "def f[T: (print('REACHED'),)](): pass", (3, 12)),
    _says("G14-class-parameter", "class A[T]: pass", (3, 12)),
    _says("G14-type-alias", "type X = int", (3, 12)),
    _says("G15-walrus", "(_getattr_ := 1)"),
    _says("G15-walrus-in-comprehension", "[(_write_ := x) for x in (1,)]"),
    _says("G16-positional-only", "def f(_getattr_=1, /): pass"),
    _says("G16-keyword-only", "def f(*, _write_=1): pass"),
    _says("G16-star", "def f(*_read_, **_own_): pass"),
    _says("G16-lambda", "f = lambda _getattr_=1, /: _getattr_"),
    _reaches("G17-decorator", "f", "@__import__\ndef f(): pass\n".replace("@__import__", "@lambda f: __import__('os')")),
    *(
        _says(f"G18-{name.strip('_')}", f"class A:\n    def {name}(self, *args): pass")
        for name in ("__getattr__", "__getattribute__", "__setattr__", "__del__", "__reduce__", "__reduce_ex__", "__class_getitem__", "__init_subclass__", "__set_name__", "__prepare__", "__instancecheck__", "__getstate__")
    ),
    _says("G18-assigned", "class A:\n    __reduce__ = lambda self: (print, ('REACHED',))"),
    _says("G18-by-setattr", "class A: pass\nsetattr(A, '__reduce__', lambda self: (print, ('REACHED',)))\nimport copy\ncopy.copy(A())"),
    _says("G18-by-an-enumeration", "from enum import Enum\nA = Enum('A', {'__reduce_ex__': lambda self, n: 'A', 'X': 1})"),
    _says("G18-by-type", "A = type('A', (), {'__reduce__': lambda self: (print, ('REACHED',))})\nimport copy\ncopy.copy(A())"),
    _says("G18-by-the-type-of-a-type", "A = type(int)('A', (), {'__reduce__': lambda self: 'x'})"),
    _says("G19-metaclass", "class M(type): pass\nclass A(metaclass=M): pass"),
    _says("G19-metaclass-of-any-kind", "class A(metaclass=lambda *args: print('REACHED')): pass"),
    _says("G19-metaclass-in-stars", "class A(**{'metaclass': lambda *args: 1}): pass"),
    _reaches("G20-print-self", "print.__self__"),
    _reaches("G20-print-self-by-name", "getattr(print, '__self__')"),
    _reaches("G20-bound-method", "[].append.__self__.__class__"),
    _reaches("G21-open", "open('/etc/hostname')"),
    _reaches("G21-path", "Path('/etc/hostname').read_text()", "from pathlib import Path"),
    _reaches("G21-path-upwards", "open('work/' + '../' * 40 + 'etc/hostname')", "import os\nos.makedirs('work', exist_ok=True)"),
    _reaches("G21-listing", "os.listdir('/')", "import os"),
    _reaches("G21-glob", "glob.glob('/etc/*')[0]", "import glob"),
    _reaches("G21-raw-file", "kind('/etc/hostname').read()", "open('own.txt', 'w').close()\nfile = open('own.txt')\nkind = type(file.buffer.raw)"),
    _reaches("G21-reopened-file", "raw.read()", "open('own.txt', 'w').close()\nraw = open('own.txt').buffer.raw\nraw.__init__('/etc/hostname')"),
    _reaches("G21-reopened-by-name", "raw.read()", "open('own.txt', 'w').close()\nraw = open('own.txt').buffer.raw\ngetattr(raw, '__init__')('/etc/hostname')"),
    _reaches("G21-descriptor", "open(1, 'w', closefd=False)"),
    _says("G21-breakpoint", "breakpoint"),
    _says("G22-exec", "exec('x = 1')"),
    _says("G22-eval", "eval('1')"),
    _says("G22-eval-renamed", "e = eval\ne('1')"),
    _says("G22-compile", "compile('1', '', 'eval')"),
    _says("G22-fullwidth", "ｅval('1')"),
    _says("G22-import", "__import__('os')"),
    _reaches("G22-builtins", "__builtins__"),
    _reaches("G22-globals", "globals()"),
    _reaches("G23-json-codecs", "json.codecs.builtins", "import json"),
    _reaches("G23-json-sys", "json.codecs.sys.modules['os'].listdir", "import json"),
    _reaches("G24-re-enum", "re.enum.sys.modules['os']", "import re"),
    _reaches("G25-textwrap", "textwrap.re.enum.sys.modules['os'].system", "import textwrap"),
    _reaches("G26-statistics", "statistics.sys", "import statistics"),
    _reaches("G26-fractions", "fractions.sys.modules['posix']", "import fractions"),
    _reaches("G26-enum", "enum.sys", "import enum"),
    _reaches("G26-modules-of-sys", "sys.modules['os']", "import sys"),
    _reaches("G26-random-os", "random._os", "import random"),
    _reaches("G26-names-of-a-module", "textwrap.__dict__['re']", "import textwrap"),
    _reaches("G26-names-of-a-module-by-vars", "vars(textwrap)['re']", "import textwrap"),
    _reaches("G26-globals-of-a-function", "textwrap.wrap.__globals__", "import textwrap"),
    _reaches("G26-globals-of-a-method", "vars(C)['f'].__globals__", "class C:\n    def f(self): pass"),
    _reaches("G26-wrapped", "f.__wrapped__.__globals__", "import functools\n@functools.lru_cache\ndef f(): pass"),
    _reaches(
        "G26-values-of-a-module-by-an-enumeration",
        "E._convert_('F', 'os', lambda name: name == 'system').system.value",
        "from enum import Enum\nclass E(Enum): pass",
    ),
    _reaches("G26-enumeration-by-name", "getattr(E, '_convert_')", "from enum import Enum\nclass E(Enum): pass"),
    _reaches("G26-inherited-private", "E._create_", "from enum import Enum\nclass E(Enum): pass"),
    _reaches("G27-submodule", "scanner.re.enum.sys", "from json.decoder import scanner"),
    _reaches("G27-submodule-of-a-proxy", "decoder.scanner", "from json import decoder"),
    _reaches("G27-package", "ElementTree", "from xml.etree import ElementTree"),
    _reaches("G28-attrgetter", "operator.attrgetter('__class__.__base__.__subclasses__')(1)()", "import operator"),
    _reaches("G28-attrgetter-later", "operator.attrgetter('real', 'real.__class__')(1)", "import operator"),
    _reaches("G29-methodcaller", "operator.methodcaller('__subclasses__')(int)", "import operator"),
    _says("G30-type-hints", "import typing\ndef f(a: '().__class__.__base__'): pass\ntyping.get_type_hints(f)"),
    _says("G30-singledispatch", "import functools\n@functools.singledispatch\ndef f(a): pass\n@f.register\ndef g(a: 'int'): pass"),
    _reaches("G31-inspect", "inspect.currentframe()", "import inspect"),
    _reaches("G32-codecs", "codecs.open('/etc/hostname')", "import codecs"),
    _reaches("G32-open-code", "io.open_code('/etc/hostname')", "import io"),
    _reaches("G32-file-io", "io.FileIO('/etc/hostname')", "import io"),
    _reaches("G32-fileinput", "fileinput.FileInput('/etc/hostname')", "import fileinput"),
    _reaches("G32-linecache", "linecache.getlines('/etc/hostname')", "import linecache"),
    _reaches("G33-types", "types.FunctionType", "import types"),
    _reaches("G33-code", "f.__code__.replace()", "def f(): pass"),
    _says("G33-function-type", "def f(): pass\ntype(f)(f.__code__, {})"),
    _says("G34-make-dataclass", "from dataclasses import make_dataclass\nmake_dataclass('A', ['x'])"),
    _says("G34-hostile-field", "from dataclasses import dataclass\n@dataclass\nclass A:\n    __reduce__: int = 1"),
    Escape(
        "G34-field-that-is-code",
        "from dataclasses import dataclass\nfrom typing import TypedDict\n"
        "T = TypedDict('T', {')\" + str(print(\"REACHED\"))\\n #': int})\n"
        "@dataclass(init=False, eq=False)\nclass A(T): pass\nA.__repr__(1)",
    ),
    _says("G34-dataclass-of-another", "from dataclasses import dataclass\nfrom fractions import Fraction\ndataclass(Fraction)"),
    _reaches(
        "G36-lying-name",
        "getattr(int, S('x'))",
        "class S(str):\n    __hash__ = str.__hash__\n    def __eq__(self, other): return True\n"
        "    def __str__(self): return '__subclasses__'\nclass S(S):\n    def __new__(cls, text): return str.__new__(cls, '__subclasses__')",
    ),
    _says("G37-class-of-an-object", "class A: pass\nclass B: pass\na = A()\nsetattr(a, '__class__', B)"),
    _says("G37-class-assigned", "class A: pass\nclass B: pass\na = A()\na.__class__ = B"),
    _says("G37-module-begun-again", "import math\nmath.__init__('other')"),
    _says("G37-of-a-module", "import math\nmath.pi = 3"),
    _says("G37-of-a-module-by-name", "import math\nsetattr(math, 'pi', 3)"),
    _says("G37-of-a-type", "from fractions import Fraction\nFraction.real = 3"),
    _says("G37-code-of-a-function", "def f(): pass\ndef g(): pass\nf.__code__ = g.__code__"),
    _says("G37-by-wraps", "import functools\nclass A: pass\nfunctools.update_wrapper(A(), print, ('__self__',), ())"),
    _says("G38-star-import", "from math import *"),
    _says("G38-parent", "import xml.dom as d\nd"),
    _says("G38-alias", "import math as _write_"),
    _says("G38-alias-of-a-name", "from math import pi as _own_"),
    _says("G39-except-as", "try: 1 / 0\nexcept ZeroDivisionError as _getattr_: pass"),
    _says("G39-global", "def f():\n    global _write_\n    _write_ = 1\nf()"),
    _says("G39-target", "[1 for _getattr_ in (1,)]"),
    _says("G39-for", "for _write_ in (1,): pass"),
    _says("G39-with", "import contextlib\nwith contextlib.nullcontext(1) as _write_: pass"),
    _says("G39-pattern", "match 1:\n    case _write_: pass"),
    _says("G39-class", "class _write_: pass"),
    _says("G39-function", "def _read_(): pass"),
    _says("G39-roles", "x__roles__ = 1"),
    _says("G39-module-of-a-class", "__name__ = 'os'\nclass A: pass"),
    _says("G39-name", "__name__ = 'other'\n__builtins__ = {}"),
    *(
        _says(f"G40-{name}", f"import {name}")
        for name in ("pickle", "marshal", "shelve", "ctypes", "importlib", "pdb", "code", "gc", "subprocess", "socket", "threading", "builtins", "posix", "multiprocessing", "warnings", "traceback", "weakref", "asyncio", "runpy")
    ),
]  # fmt: skip
"""By the numbers of the plan. G35 asks for numpy, which cannot be imported; G41 guards data, of which there is none."""

HARMLESS: Final = {
    "G10-with-traceback": "ValueError().with_traceback(None).args",
    "G17-swapped-function": "def other(f): return len\n@other\ndef f(): pass\nf([1, 2])",
    "G41-iteration": "class D(dict): pass\nsorted(zip(D(a=1), D(b=2).items()))",
    "G42-noise": "class A:\n    def __eq__(self, other): return True\n    def __hash__(self): raise ValueError('no')\ntry: {A()}\nexcept ValueError as e: print(e)",
}  # fmt: skip
"""What a program may do."""

HARM: Final = """
import os, socket, sys, threading
def attempt(name, act):
    try:
        got = act()
    except (OSError, RuntimeError) as error:
        print("denied", name)
    else:
        print("LEAK", name, str(got)[:80])
attempt("reading", lambda: open(CANARY).read())
attempt("writing", lambda: open(OUTSIDE + "/left", "w"))
attempt("writing beside", lambda: open("/usr/left", "w"))
attempt("fork", os.fork)
attempt("exec", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("socket", socket.socket)
attempt("thread", lambda: threading.Thread(target=print).start())
attempt("link", lambda: os.symlink(CANARY, "link"))
attempt("signal", lambda: os.kill(VICTIM, 0))
"""
"""What the wall has to stop once the policy does not: each succeeds outside."""
