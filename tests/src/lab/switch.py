"""A learning switch of the lab, which holds every frame back, as a long line does: switch.py MILLISECONDS INTERFACE...

It reads a command on standard input a line: `cut NAME` drops what comes and goes there, `mend NAME` ends that.
The kernel's own delays (netem) are not everywhere to be had. Checksums and segmentation that the kernel has put off
travel in the header that PACKET_VNET_HDR puts before each frame.
"""
import heapq
import os
import select
import socket
import sys
import time

SOL_PACKET, PACKET_VNET_HDR, PACKET_OUTGOING, ETH_P_ALL = 263, 15, 4, 3
HEADER = 10

delay = float(sys.argv[1]) / 1000
ports = {}
poll = select.poll()
for name in sys.argv[2:]:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    port.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    port.bind((name, ETH_P_ALL))
    port.setblocking(False)
    ports[port.fileno()] = (name, port)
    poll.register(port, select.POLLIN)
poll.register(0, select.POLLIN)

where, waiting, count, cut, orders = {}, [], 0, set(), ""
print("ready", flush=True)
while True:
    now = time.monotonic()
    while waiting and waiting[0][0] <= now:
        _, _, frame, source = heapq.heappop(waiting)
        target = frame[HEADER : HEADER + 6]
        known = where.get(target) if not target[0] & 1 else None
        for number in [known] if known is not None else list(ports):
            name, port = ports[number]
            if number != source and name not in cut:
                try:
                    port.send(frame)
                except OSError:
                    pass  # an interface that is down loses what is sent to it
    pause = max(0, waiting[0][0] - now) * 1000 if waiting else 10_000
    for number, _ in poll.poll(pause):
        if number == 0:
            read = os.read(0, 4096).decode()
            if not read:
                sys.exit()
            *lines, orders = (orders + read).split("\n")  # the last line may not be whole yet
            for verb, name in map(str.split, lines):
                (cut.add if verb == "cut" else cut.discard)(name)
            continue
        name, port = ports[number]
        for _ in range(64):
            try:
                frame, address = port.recvfrom(1 << 17)
            except BlockingIOError:
                break
            except OSError:
                break
            if address[2] == PACKET_OUTGOING or name in cut:
                continue
            where[frame[HEADER + 6 : HEADER + 12]] = number
            count += 1
            heapq.heappush(waiting, (time.monotonic() + delay, count, frame, number))
