"""A relay board of sixteen coils at unit 3, played by PyPI's pymodbus (3.16): a Modbus server that is not ours.

Prints `port N` when it listens and `coil N on` or `coil N off` whenever it is told to switch one.
Ends when its standard input does.
"""

import asyncio
import sys

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

WRITE_COIL, WRITE_COILS = 5, 15


async def told(function, _start, address, _count, _current, values):
    # The server reads back what was written under the same function code, without values.
    if function in (WRITE_COIL, WRITE_COILS) and values is not None:
        for coil, value in enumerate(values, address):
            print(f"coil {coil} {'on' if value else 'off'}", flush=True)


async def main():
    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    registers = [SimData(0, values=[0], datatype=DataType.REGISTERS)]
    device = SimDevice(id=3, simdata=(bits, bits, registers, registers), action=told)
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    print("port", server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.shutdown()


asyncio.run(main())
