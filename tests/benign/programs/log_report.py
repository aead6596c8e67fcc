"""Requests by status and by hour from a web server's log."""

import re
from collections import Counter
from datetime import datetime

pattern = re.compile(r'(\S+) \S+ \S+ \[(.+?)\] "(\w+) (\S+) \S+" (\d{3}) (\d+)')
statuses, hours, size = Counter(), Counter(), 0
with open("access.log") as log:
    for line in log:
        ip, when, method, path, status, sent = pattern.match(line).groups()
        moment = datetime.strptime(when, "%d/%b/%Y:%H:%M:%S %z")
        statuses[status[0] + "xx"] += 1
        hours[moment.hour] += 1
        size += int(sent)
print(dict(sorted(statuses.items())), dict(hours), size)

# Prints:
# {'2xx': 2, '3xx': 1, '4xx': 1, '5xx': 1} {10: 2, 11: 3} 1248
