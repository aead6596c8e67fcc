"""What restricted programs import: chosen functions, classes and values of chosen modules, and never a module.

Left out is what takes the name of an attribute as text and does not ask a guard (`operator.attrgetter`), what evaluates
text (`typing.get_type_hints`, `functools.singledispatch`), what formats by `str.format` out of our sight
(`collections.UserString`, `string.Formatter`), what makes classes from text (`dataclasses.make_dataclass`), and every
submodule. What had to be written anew is in `doubles.py` and `files.py`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from . import doubles

__all__ = ["TABLE", "Module", "classes", "import_module", "load"]

TABLE: dict[str, str] = {
    "__future__": "annotations division generator_stop print_function unicode_literals",
    "abc": "ABC ABCMeta abstractmethod",
    "array": "array",
    "ast": "literal_eval",
    "base64": """
        a85decode a85encode b16decode b16encode b32decode b32encode b64decode b64encode b85decode b85encode
        decodebytes encodebytes standard_b64decode standard_b64encode urlsafe_b64decode urlsafe_b64encode""",
    "binascii": "Error crc32 hexlify unhexlify",
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    "calendar": """
        FRIDAY HTMLCalendar MONDAY SATURDAY SUNDAY THURSDAY TUESDAY TextCalendar WEDNESDAY Calendar calendar day_abbr
        day_name firstweekday isleap leapdays month month_abbr month_name monthcalendar monthrange prcal prmonth
        setfirstweekday timegm weekday weekheader""",
    "cmath": """
        acos acosh asin asinh atan atanh cos cosh e exp inf infj isclose isfinite isinf isnan log log10 nan nanj phase
        pi polar rect sin sinh sqrt tan tanh tau""",
    "collections": "ChainMap Counter OrderedDict UserDict UserList defaultdict deque namedtuple",
    "collections.abc": """
        Callable Collection Container Generator Hashable ItemsView Iterable Iterator KeysView Mapping MappingView
        MutableMapping MutableSequence MutableSet Reversible Sequence Set Sized ValuesView""",
    "contextlib": "closing contextmanager nullcontext suppress ExitStack",
    "copy": "copy deepcopy",
    "csv": """
        DictReader DictWriter Error QUOTE_ALL QUOTE_MINIMAL QUOTE_NONE QUOTE_NONNUMERIC Sniffer excel excel_tab
        field_size_limit list_dialects reader unix_dialect writer""",
    "dataclasses": """
        FrozenInstanceError InitVar KW_ONLY MISSING asdict astuple dataclass field fields is_dataclass replace""",
    "datetime": "MAXYEAR MINYEAR UTC date datetime time timedelta timezone tzinfo",
    "decimal": """
        BasicContext Clamped Context Decimal DecimalException DefaultContext DivisionByZero ExtendedContext
        FloatOperation Inexact InvalidOperation Overflow ROUND_05UP ROUND_CEILING ROUND_DOWN ROUND_FLOOR ROUND_HALF_DOWN
        ROUND_HALF_EVEN ROUND_HALF_UP ROUND_UP Rounded Subnormal Underflow getcontext localcontext setcontext""",
    "difflib": "SequenceMatcher get_close_matches ndiff unified_diff",
    "enum": "Enum Flag IntEnum IntFlag StrEnum auto unique",
    "fnmatch": "filter fnmatch fnmatchcase translate",
    "fractions": "Fraction",
    "functools": "cache cached_property cmp_to_key lru_cache partial reduce total_ordering wraps",
    "glob": "glob iglob",
    "hashlib": """
        algorithms_available algorithms_guaranteed blake2b blake2s md5 new pbkdf2_hmac sha1 sha224 sha256 sha384
        sha3_224 sha3_256 sha3_384 sha3_512 sha512 shake_128 shake_256""",
    "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
    "hmac": "compare_digest digest",
    "html": "escape unescape",
    "io": "BytesIO StringIO",
    "itertools": """
        accumulate batched chain combinations combinations_with_replacement compress count cycle dropwhile filterfalse
        groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest""",
    "json": "JSONDecodeError JSONDecoder JSONEncoder dump dumps load loads",
    "keyword": "iskeyword kwlist",
    "math": """
        acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp exp2 expm1
        fabs factorial floor fma fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp lgamma
        log log10 log1p log2 modf nan nextafter perm pi pow prod radians remainder sin sinh sqrt sumprod tan tanh tau
        trunc ulp""",
    "numbers": "Complex Integral Number Rational Real",
    "operator": """
        abs add and_ attrgetter concat contains countOf eq floordiv ge getitem gt iadd imul index indexOf inv invert is_
        is_not isub itemgetter le lshift lt matmul methodcaller mod mul ne neg not_ or_ pos pow rshift sub truediv truth
        xor""",
    "os": "*",
    "os.path": "*",
    "pathlib": "Path PurePath PosixPath PurePosixPath",
    "pprint": "pformat pp pprint",
    "queue": "Empty Full LifoQueue PriorityQueue Queue SimpleQueue",
    "random": """
        Random betavariate choice choices expovariate gammavariate gauss getrandbits lognormvariate normalvariate
        paretovariate randbytes randint random randrange sample seed shuffle triangular uniform vonmisesvariate
        weibullvariate""",
    "re": """
        A ASCII DOTALL I IGNORECASE M MULTILINE Match Pattern S U UNICODE VERBOSE X compile error escape findall
        finditer fullmatch match purge search split sub subn""",
    "secrets": "choice randbelow randbits token_bytes token_hex token_urlsafe",
    "shlex": "join quote split",
    "statistics": """
        NormalDist StatisticsError correlation covariance fmean geometric_mean harmonic_mean linear_regression mean
        median median_grouped median_high median_low mode multimode pstdev pvariance quantiles stdev variance""",
    "string": """
        Template ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits octdigits printable punctuation
        whitespace""",
    "struct": "Struct calcsize error iter_unpack pack unpack unpack_from",
    "sys": """
        argv byteorder exit float_info getrecursionlimit getsizeof hash_info hexversion int_info intern maxsize
        maxunicode platform setrecursionlimit stderr stdin stdout version version_info""",
    "textwrap": "TextWrapper dedent fill indent shorten wrap",
    "time": """
        asctime ctime gmtime localtime mktime monotonic monotonic_ns perf_counter perf_counter_ns process_time
        process_time_ns sleep strftime strptime struct_time time time_ns timezone tzname""",
    "timeit": "default_timer",
    "typing": """
        AbstractSet Annotated Any AnyStr Callable ClassVar Collection Container Counter DefaultDict Deque Dict Final
        FrozenSet Generator Generic Hashable Iterable Iterator List Literal Mapping MutableMapping MutableSequence
        MutableSet NamedTuple NewType NoReturn Optional OrderedDict Protocol Reversible Self Sequence Set Sized
        SupportsFloat SupportsInt SupportsAbs Text Tuple Type TypeAlias TypeVar TypedDict Union cast final""",
    "unicodedata": """
        bidirectional category combining decimal decomposition digit east_asian_width is_normalized lookup mirrored name
        normalize numeric unidata_version""",
    "urllib.parse": """
        parse_qs parse_qsl quote quote_plus unquote unquote_plus urlencode urljoin urlparse urlsplit urlunparse""",
    "uuid": "NAMESPACE_DNS NAMESPACE_URL UUID uuid3 uuid4 uuid5",
    "zlib": "adler32 compress crc32 decompress",
    "zoneinfo": "ZoneInfo ZoneInfoNotFoundError available_timezones",
}
"""What of each module can be imported; `*`: what `doubles` has."""


class Module:
    """What an import gives: names and what they stand for. It has no `__name__`, by which Python would look for a
    submodule that is not in it (`from a import b`)."""

    __slots__ = ("__dict__", "_called", "_now")

    def __init__(self, called: str, things: Mapping[str, Any]) -> None:
        self._called, self._now = called, doubles.NOW.get(called, {})
        self.__dict__.update(things)

    def __repr__(self) -> str:
        return f"<module {self._called!r}>"

    def __getattr__(self, name: str) -> Any:
        if name in self._now:
            return self._now[name]()
        raise AttributeError(f"{self._called} has no {name!r} here; it has: {', '.join(sorted(self.__dict__))}")


Module.__name__ = Module.__qualname__ = "module"
_modules: dict[str, Module] = {}


def load() -> None:
    """Import what there is, before any program runs."""
    doubles.harden()
    for name, text in TABLE.items():
        things = dict(doubles.THINGS.get(name, {}))
        if text != "*":
            real = importlib.import_module(name)
            wanted = [word for word in text.split() if word not in things and hasattr(real, word)]
            things |= {word: getattr(real, word) for word in wanted}
        _modules[name] = Module(name, things)
    for name in [n for n in TABLE if "." in n]:
        parent, _, child = name.partition(".")
        _modules.setdefault(parent, Module(parent, {})).__dict__[child] = _modules[name]


def classes() -> set[type]:
    """The classes that can be imported."""
    return {thing for module in _modules.values() for thing in vars(module).values() if isinstance(thing, type)}


def import_module(
    name: str, names: object = None, scope: object = None, wanted: Sequence[str] | None = None, level: int = 0
) -> Any:
    """The built-in `__import__`. Raises `ImportError`, which says what there is."""
    if wanted == []:  # no statement says so: the C library asks, and takes it from sys.modules (PyImport_Import)
        importlib.import_module(name)
        return None
    if level:
        raise ImportError("relative imports are not possible here: a program is one file")
    module = _modules.get(name)
    if module is None:
        there = ", ".join(sorted(_modules.keys() - {"__future__"}))
        raise ImportError(f"{name!r} cannot be imported in the restricted sandbox. What can be imported: {there}")
    if not wanted:
        return _modules[name.partition(".")[0]]
    for word in wanted:
        if not hasattr(module, word):
            there = ", ".join(sorted(vars(module)))
            raise ImportError(f"{word!r} cannot be imported from {name} here. It has: {there}")
    return module
