"""Counts what leaves an interface, and with whom it speaks: capture.py INTERFACE

When standard input ends it prints a JSON object: how often each kind of packet was seen, `PROTOCOL FROM > TO`. The
kernel's own housekeeping (ARP, and the ICMPv6 of neighbours and routers) is counted as what it is.
"""
import json
import select
import socket
import struct
import sys

ETH_P_ALL, IPV4, IPV6, ARP = 3, 0x0800, 0x86DD, 0x0806
NAMES = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "icmpv6"}

port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
port.bind((sys.argv[1], ETH_P_ALL))
print("ready", flush=True)


def name(frame):
    kind = struct.unpack("!H", frame[12:14])[0]
    packet = frame[14:]
    if kind == ARP:
        return "arp " + socket.inet_ntoa(packet[24:28])
    if kind == IPV4:
        family, protocol, at, addresses = socket.AF_INET, packet[9], (packet[0] & 15) * 4, packet[12:20]
    elif kind == IPV6:
        family, protocol, at, addresses = socket.AF_INET6, packet[6], 40, packet[8:40]
        if protocol == 0:  # a hop-by-hop header, as multicast listeners have
            protocol, at = packet[40], 40 + (packet[41] + 1) * 8
    else:
        return "ethertype %04x" % kind
    half = len(addresses) // 2
    ends = [socket.inet_ntop(family, addresses[:half]), socket.inet_ntop(family, addresses[half:])]
    if protocol in (6, 17):
        ends = ["%s %d" % (end, number) for end, number in zip(ends, struct.unpack("!HH", packet[at:at + 4]))]
    # Only what leaves counts: the far end is the second.
    return "%s > %s" % (NAMES.get(protocol, "protocol %d" % protocol), ends[1])


seen = {}
while True:
    ready, _, _ = select.select([port, sys.stdin], [], [])
    if port in ready:
        frame, (_, _, way, _, _) = port.recvfrom(65536)
        if way == socket.PACKET_OUTGOING:
            what = name(frame)
            seen[what] = seen.get(what, 0) + 1
    elif sys.stdin in ready and not sys.stdin.read(1):
        break
print(json.dumps(seen), flush=True)
