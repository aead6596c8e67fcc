"""Tasks, queues, timeouts, and a stream of results."""

import asyncio


async def fetch(name, delay):
    await asyncio.sleep(delay)
    return f"{name} after {delay}"


async def produce(queue):
    for n in range(3):
        await queue.put(n)
        await asyncio.sleep(0)
    await queue.put(None)


async def numbers(queue):
    while (n := await queue.get()) is not None:
        yield n


async def main():
    print(await asyncio.gather(fetch("b", 0.02), fetch("a", 0.01)))
    try:
        await asyncio.wait_for(fetch("slow", 10), timeout=0.02)
    except TimeoutError:
        print("timed out")
    queue = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(produce(queue))
        print([n async for n in numbers(queue)])
    limit = asyncio.Semaphore(2)
    async with limit:
        print(await asyncio.to_thread(sorted, [3, 1, 2]))


asyncio.run(main())

# Prints:
# ['b after 0.02', 'a after 0.01']
# timed out
# [0, 1, 2]
# [1, 2, 3]
