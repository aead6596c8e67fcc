"""Alarms, timers and handlers."""

import os
import signal
import time


def too_late(number, frame):
    raise TimeoutError(signal.Signals(number).name)


signal.signal(signal.SIGALRM, too_late)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    while True:
        pass
except TimeoutError as error:
    print("stopped by", error)
signal.alarm(30)
print(signal.alarm(0) > 0)
caught = []
signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))
os.kill(os.getpid(), signal.SIGTERM)
print(caught == [signal.SIGTERM])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR1)
print(signal.sigwait([signal.SIGUSR1]).name, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
try:
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    time.sleep(5)
except KeyboardInterrupt:
    print("interrupted")

# Prints:
# stopped by SIGALRM
# True
# True
# SIGUSR1 True
# interrupted
