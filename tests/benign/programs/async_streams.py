"""Two ends of a socket pair talk through streams."""

import asyncio
import socket


async def shout(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def main():
    ours, theirs = socket.socketpair()
    server = asyncio.create_task(shout(*await asyncio.open_connection(sock=theirs)))
    reader, writer = await asyncio.open_connection(sock=ours)
    for word in ("hello", "world"):
        writer.write(f"{word}\n".encode())
        await writer.drain()
        print((await reader.readline()).decode().strip())
    writer.close()
    await server


asyncio.run(main())

# Prints:
# HELLO
# WORLD
