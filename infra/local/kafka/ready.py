"""Asks a Kafka broker who is in its cluster: ready.py HOST:PORT BROKERS. Ends with 0 when so many brokers are."""
import socket
import struct
import sys

METADATA, VERSION, CORRELATION = 3, 1, 7


def text(value):
    return struct.pack(">h", len(value)) + value


def receive(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            sys.exit("the broker closed the connection")
        data += part
    return data


def brokers(host, port):
    request = struct.pack(">hhi", METADATA, VERSION, CORRELATION) + text(b"ready") + struct.pack(">i", 0)
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = receive(connection, struct.unpack(">i", receive(connection, 4))[0])
    correlation, count = struct.unpack_from(">ii", answer)
    if correlation != CORRELATION:
        sys.exit("that is no answer of a Kafka broker")
    return count


if __name__ == "__main__":
    address, _, at = sys.argv[1].rpartition(":")
    try:
        found = brokers(address, int(at))
    except (OSError, struct.error) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
    if found < int(sys.argv[2]):
        sys.exit(f"{sys.argv[1]}: {found} of {sys.argv[2]} brokers are there")
