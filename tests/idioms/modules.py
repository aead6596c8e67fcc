import math, cmath, statistics, random, itertools, heapq, bisect, json, re, string, textwrap, unicodedata, hashlib, base64, operator
import datetime as dt
from datetime import datetime, timedelta
from decimal import Decimal, getcontext
from fractions import Fraction
import collections.abc
from collections import Counter, defaultdict, deque, OrderedDict
import calendar
from zoneinfo import ZoneInfo
import copy, csv, io, pprint, time

random.seed(1)
getcontext().prec = 30
d = defaultdict(list)
d["a"].append(1)
c = Counter("aab")
c["z"] += 1
print(
    math.gcd(12, 18),
    cmath.sqrt(-1),
    statistics.mean([1, 2, 3]),
    random.randint(1, 6),
    list(itertools.islice(itertools.count(), 3)),
    heapq.nsmallest(2, [3, 1, 2]),
    bisect.bisect([1, 2], 2),
    json.dumps({"a": [1]}),
    json.loads("[1]"),
    re.sub("a+", "b", "caat"),
    re.match(r"(\w)(\d)", "a1").groups(),
    string.ascii_lowercase[:3],
    textwrap.fill("a b", 2),
    unicodedata.name("a"),
    hashlib.sha256(b"x").hexdigest()[:6],
    base64.b64encode(b"x"),
    sorted([(1, 2), (0, 3)], key=operator.itemgetter(1)),
    operator.attrgetter("real")(3),
    Decimal(1) / 3,
    Fraction(3, 6),
    dict(d),
    c.most_common(1),
    deque([1], maxlen=2),
    dt.date(2024, 2, 29) + timedelta(1),
    datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Paris")).isoformat(),
    calendar.isleap(2024),
    isinstance([], collections.abc.Sequence),
    copy.deepcopy({"a": [1]}),
    list(csv.reader(io.StringIO("a,b"))),
    pprint.pformat({1: 2}),
)
print(datetime.strptime("2024-01-02", "%Y-%m-%d").strftime("%d.%m."))
