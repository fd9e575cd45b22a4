"""The cluster's API on this machine's loopback: listens here, connects there."""

import asyncio
import ctypes
import os
import socket
import sys

from tools.kubernetes import place

NETWORK = 0x40000000


def enter(pid: int) -> None:
    """Into the network of a process; a socket stays in the one where it was made."""
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, NETWORK):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(descriptor)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        there, back = await asyncio.open_connection(place.NODE_IP, place.API_PORT)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, back), pump(there, writer))


async def serve(door: socket.socket) -> None:
    server = await asyncio.start_server(answer, sock=door)
    await server.serve_forever()


def main(pid: int) -> None:
    door = socket.create_server(("127.0.0.1", place.API_PORT), backlog=256)
    enter(pid)
    asyncio.run(serve(door))


if __name__ == "__main__":
    main(int(sys.argv[1]))
