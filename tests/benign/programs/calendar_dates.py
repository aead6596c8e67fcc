"""Dates in words, calendars, and differences in days."""

import calendar
import locale
import time
from datetime import date, datetime, timedelta

locale.setlocale(locale.LC_ALL, "C.UTF-8")
day = date(2026, 2, 27)
print(day.strftime("%A, %d %B %Y"), day.isocalendar()[1], (day + timedelta(days=2)).isoformat())
print(calendar.month(2026, 2).splitlines()[2], calendar.isleap(2028), calendar.monthrange(2024, 2)[1])
print((date(2026, 12, 25) - day).days, datetime.fromisoformat("2026-02-27T10:30:00").timetuple().tm_yday)
fridays = [d for d in calendar.Calendar().itermonthdates(2026, 2) if d.weekday() == 4 and d.month == 2]
print(len(fridays), time.strftime("%Y", time.gmtime(0)), locale.localeconv()["decimal_point"])
began = time.monotonic()
time.sleep(0.01)
print(time.monotonic() - began >= 0.01, abs(time.time() - datetime.now().timestamp()) < 1)
print(locale.format_string("%d", 1234567, grouping=True), f"{1234567.891:,.2f}")

# Prints:
# Friday, 27 February 2026 9 2026-03-01
#                    1 True 29
# 301 58
# 4 1970 .
# True True
# 1234567 1,234,567.89
