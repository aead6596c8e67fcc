"""One moment in several places, and a meeting across the change to summer time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

moment = datetime(2026, 7, 1, 12, tzinfo=UTC)
for name in ("America/New_York", "Europe/Berlin", "Asia/Kolkata"):
    print(moment.astimezone(ZoneInfo(name)).strftime("%H:%M %Z"))
before = datetime(2026, 3, 28, 12, tzinfo=ZoneInfo("Europe/Paris"))
after = before + timedelta(days=1)
print((after.astimezone(UTC) - before.astimezone(UTC)).total_seconds() / 3600)
print(len(available_timezones()) > 400)
try:
    ZoneInfo("Mars/Olympus")
except ZoneInfoNotFoundError as error:
    print(type(error).__name__)

# Prints:
# 08:00 EDT
# 14:00 CEST
# 17:30 IST
# 23.0
# True
# ZoneInfoNotFoundError
