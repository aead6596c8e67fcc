"""Child processes and executors driven by an event loop."""

import asyncio
import signal
import sys
from concurrent.futures import ProcessPoolExecutor


async def main():
    loop = asyncio.get_running_loop()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print(input()[::-1])", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate(b"stressed\n")
    print(out.decode().strip(), child.returncode)
    shell = await asyncio.create_subprocess_shell("echo one; echo two", stdout=asyncio.subprocess.PIPE)
    print([line.decode().strip() async for line in shell.stdout], await shell.wait())
    print(await loop.run_in_executor(None, max, [4, 8, 6]))
    with ProcessPoolExecutor(2) as executor:
        print(await asyncio.gather(*(loop.run_in_executor(executor, pow, 2, n) for n in (3, 5))))
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, stopped.set)
    signal.raise_signal(signal.SIGUSR1)
    await asyncio.wait_for(stopped.wait(), 5)
    print("signalled")


asyncio.run(main())

# Prints:
# desserts 0
# ['one', 'two'] 0
# 8
# [8, 32]
# signalled
