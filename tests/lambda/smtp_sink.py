#!/usr/bin/env python3
"""An SMTP server that keeps what it takes, a JSON line each: smtp_sink.py FILE PORT [CERTIFICATE KEY USER PASSWORD]. A
recipient whose address begins with "refuse" does not exist (550); each fifth message is put off once (451), by its
Message-ID. With a certificate it takes nothing but from that user, after STARTTLS."""
import asyncio
import email
import email.policy
import json
import signal
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Keeper:
    def __init__(self, path):
        self.out = open(path, "a", encoding="utf-8")
        self.put_off = {}

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refuse"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        name = str(message["Message-ID"])
        if name not in self.put_off:
            self.put_off[name] = len(self.put_off) % 5 == 4
        if self.put_off[name]:
            self.put_off[name] = False
            return "451 4.3.0 not now"
        kept = {"to": envelope.rcpt_tos, "from": envelope.mail_from,
                "headers": {key: str(value) for key, value in message.items()},
                "text": message.get_body(("plain",)).get_content(), "html": message.get_body(("html",)).get_content(),
                "defects": [str(d) for part in message.walk() for d in part.defects],
                "line_max": max(len(line) for line in envelope.content.splitlines())}
        self.out.write(json.dumps(kept) + "\n")
        self.out.flush()
        return "250 OK"


def guarded(certificate, key, user, password):
    """What of SMTP's settings lets nobody else in."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    def authenticate(_server, _session, _envelope, _mechanism, login):
        return AuthResult(success=(login.login, login.password) == (user.encode(), password.encode()))

    return {"tls_context": tls, "require_starttls": True, "auth_required": True, "authenticator": authenticate}


async def main():
    keeper = Keeper(sys.argv[1])
    guards = guarded(*sys.argv[3:]) if sys.argv[3:] else {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(keeper, loop=loop, enable_SMTPUTF8=False, **guards), "127.0.0.1", int(sys.argv[2]))
    stop = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set_result, None)
    await stop
    server.close()


asyncio.run(main())
