"""What is known of functions and methods by their names alone: which only look, which change what, which reach out."""

from __future__ import annotations

import builtins
from datetime import datetime
from decimal import Decimal

__all__ = [
    "BUILTINS",
    "CHANGE_ARGUMENTS",
    "CHANGING",
    "DOING",
    "EAGER",
    "FIGURE_MODULES",
    "LAZY",
    "LOOKING",
    "LOOKING_BACK",
    "MOVING",
    "MUTATING_BUILTINS",
    "MUTATORS",
    "OPENING",
    "OUTER_MODULES",
    "PLOTTERS",
    "PURE",
    "PURE_MODULES",
    "QUIET_DECORATORS",
    "RANDOM",
    "READERS",
    "SCALARS",
    "TABLES",
    "TELLING",
    "TEXT",
    "UNCLEAR",
    "WRITERS",
]

UNCLEAR = frozenset(("exec", "eval", "globals", "locals", "vars"))
"""Functions after which nothing can be told by reading."""
BUILTINS = frozenset(dir(builtins)) - UNCLEAR - {"print", "open", "input", "breakpoint", "exit", "quit", "help"}
SCALARS = frozenset(
    "abs all any ascii bin bool chr float format hash hex id int isinstance len oct ord range "
    "repr round str type".split()
)
"""Built-in functions whose result shares nothing with their arguments."""
MUTATING_BUILTINS = frozenset(("next", "setattr", "delattr"))
LAZY = frozenset(
    "DictReader enumerate execute filter finditer glob iglob iter iterdir iterrows itertuples map open popitem "
    "reader reversed rglob scandir walk zip".split()
)
"""Calls that return what can be gone through once."""
EAGER = SCALARS | frozenset("Counter dict frozenset list max min set sorted sum tuple".split())
MUTATORS = frozenset(
    "add append appendleft clear difference_update discard extend extendleft insert intersection_update "
    "move_to_end pop popitem popleft remove reverse rotate setdefault sort subtract symmetric_difference_update "
    "update".split()
)
"""Methods that change their object in memory, and nothing else."""
WRITERS = frozenset(
    "chmod commit copy2 copyfile copytree dump execute executemany executescript extract extractall flush "
    "hardlink_to link makedirs mkdir rename rmdir rmtree save savefig savetxt savez savez_compressed send symlink "
    "symlink_to to_csv to_excel to_feather to_hdf to_html to_json to_latex to_markdown to_parquet to_pickle "
    "to_sql to_stata to_xml touch truncate unlink write write_bytes write_text writeheader writelines writerow "
    "writerows writestr".split()
)
"""Methods and functions that write files, or to something that is open."""
READERS = frozenset(
    "exists getsize glob iglob is_dir is_file isdir isfile iterdir listdir load load_workbook loadtxt open read "
    "read_bytes read_text rglob scandir stat walk".split()
)
"""Methods and functions that look at files."""
PLOTTERS = frozenset(("plot", "hist", "boxplot", "scatter", "bar", "barh"))
"""Methods that draw."""
TABLES = frozenset(
    "abs agg aggregate all any apply argmax argmin argsort assign astimezone astype corr count cumsum day_name "
    "describe diff dot drop drop_duplicates dropna duplicated end eq explode ffill fillna filter findall finditer "
    "fullmatch get group groupby groupdict groups gt head idxmax idxmin iloc interpolate isin isna isnull items "
    "iterrows itertuples join joinpath keys kurt last lt map mask match max mean median melt merge min mode "
    "month_name most_common nlargest notna notnull nsmallest nunique pct_change pivot pivot_table prod quantile "
    "query rank ravel reindex relative_to rename_axis resample reset_index reshape resolve rolling round sample "
    "search select_dtypes set_axis set_index shift size sort_index sort_values squeeze stack start std sub sum "
    "tail to_dict to_frame to_list to_numpy to_string tolist total transform transpose unique unstack "
    "value_counts values var where with_name with_suffix".split()
)
"""Methods of tables, arrays, dictionaries, paths and matches that only look."""
PURE = TABLES | {name for kind in (str, float, frozenset, datetime, Decimal) for name in dir(kind)} | READERS
"""Methods that only look."""
DOING = frozenset(("get", "join", "start"))
"""Methods that look, where the object is a dictionary, a text or a match; of a queue or a thread they do something."""
MOVING = frozenset("load read readline readlines".split())
"""Methods that look at files, and change the object that does."""
TEXT = frozenset(dir(str))
"""Methods of texts, whose result shares nothing with their object."""
PURE_MODULES = frozenset(
    "bisect calendar collections colorsys copy csv dataclasses datetime decimal difflib enum fractions functools "
    "glob hashlib io itertools json math numpy operator os.path pandas pathlib re statistics string textwrap "
    "typing unicodedata zoneinfo".split()
)
"""Modules whose functions leave their arguments alone, but for those named `CHANGING`."""
CHANGING = frozenset("copyto fill_diagonal insort insort_left insort_right load place put putmask shuffle".split())
"""Functions of such modules that do change an argument."""
OUTER_MODULES = frozenset(
    "asyncio bz2 concurrent ctypes dbm fileinput ftplib gzip logging lzma multiprocessing os shelve shutil signal "
    "smtplib socket sqlite3 subprocess tarfile tempfile threading urllib.request zipfile".split()
)
"""Modules whose functions reach out of the program."""
TELLING = frozenset("echo pprint print".split())
"""Functions that print."""
CHANGE_ARGUMENTS = frozenset(("bisect", "heapq"))
"""Modules whose functions change what they are given, and nothing else."""
LOOKING_BACK = frozenset("__main__ ctypes doctest gc inspect linecache unittest".split())
"""Modules whose functions see the program itself, or change what they are not given."""
LOOKING = frozenset("cpu_count get getcwd getenv listdir scandir stat walk".split())
OPENING = frozenset("BZ2File GzipFile LZMAFile TarFile ZipFile open".split())
"""Functions of those modules that only look, and those that open a file."""
FIGURE_MODULES = frozenset(("matplotlib", "seaborn", "plotly", "altair", "bokeh"))
RANDOM = frozenset(("random", "secrets"))
"""Modules, or parts of them, whose functions give something else each time."""
QUIET_DECORATORS = frozenset(
    "abstractmethod cache cached_property classmethod contextmanager dataclass lru_cache property staticmethod "
    "total_ordering wraps".split()
)
"""Decorators that keep nothing which a program could see."""
