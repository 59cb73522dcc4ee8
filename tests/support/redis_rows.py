"""Every key of a Redis with its value, sorted, one a line: redis_rows.py SOCKET"""
import socket
import sys


class Redis:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rb")

    def call(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self.socket.sendall(b"".join(parts))
        return self.answer()

    def answer(self):
        line = self.stream.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self.stream.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return int(rest) if kind == b":" else rest

    def value(self, key):
        kind = self.call("TYPE", key)
        if kind == b"string":
            return self.call("GET", key)
        if kind == b"hash":
            flat = self.call("HGETALL", key)
            return sorted(zip(flat[::2], flat[1::2]))
        if kind == b"zset":
            return self.call("ZRANGE", key, 0, -1, "WITHSCORES")
        if kind == b"set":
            return sorted(self.call("SMEMBERS", key))
        if kind == b"list":
            return self.call("LRANGE", key, 0, -1)
        raise RuntimeError(f"{key!r} is a {kind!r}")


def main(path):
    redis = Redis(path)
    for key in sorted(redis.call("KEYS", "*")):
        print(repr(key)[1:], repr(redis.value(key)))


if __name__ == "__main__":
    main(*sys.argv[1:])
