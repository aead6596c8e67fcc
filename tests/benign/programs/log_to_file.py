"""Log to rotating files and to the screen."""

import logging
import logging.handlers
import os
import sys

logger = logging.getLogger("job")
logger.setLevel(logging.DEBUG)
rotating = logging.handlers.RotatingFileHandler("job.log", maxBytes=120, backupCount=2)
rotating.setFormatter(logging.Formatter("%(levelname)s %(name)s %(funcName)s: %(message)s"))
screen = logging.StreamHandler(sys.stdout)
screen.setLevel(logging.WARNING)
logger.addHandler(rotating)
logger.addHandler(screen)


def work():
    for n in range(10):
        logger.info("step %d", n)
    try:
        1 / 0
    except ZeroDivisionError:
        logger.error("failed")
    logger.warning("done %s", {"n": 10})


work()
logging.shutdown()
print(sorted(name for name in os.listdir(".") if name.startswith("job.log")))
print(open("job.log").read().splitlines()[-1])

# Prints:
# failed
# done {'n': 10}
# ['job.log', 'job.log.1', 'job.log.2']
# WARNING job work: done {'n': 10}
# Leaves:
# created job.log
# created job.log.1
# created job.log.2
