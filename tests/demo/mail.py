#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mail.py - the mail side of the demo: a stream of deliveries, and the reading back of every one of them.

  mail.py users  HOST:PORT                        make the mailboxes (IMAP)
  mail.py load   DIR RATE NODE=HOST:PORT ...      deliver over LMTP until SIGTERM, as a mail transfer agent does:
                                                  an unanswered message stays queued and is sent again, to any node
  mail.py status DIR                              the newest count of a running load
  mail.py check  DIR HOST:PORT                    read every mailbox (IMAP) and compare with what was acknowledged

DIR/acked has one line "number node" per 250 answer, fsynced before the next message starts: a message that is in it
was promised to its sender. Message bytes are a function of DIR/seed and the number, so what was sent can be made
again and compared byte by byte; a checksum inside makes each message provable by itself as well.
"""
import hashlib
import imaplib
import json
import os
import random
import re
import signal
import smtplib
import socket
import sys
import threading
import time

USERS = [f"user{i}" for i in range(1, 9)]
PASSWORD = "secret"
WORKERS = 4
PATIENCE = 60  # seconds for one answer: emulated machines are slow, dead ones never answer
LARGEST = 24000  # bytes of body; sizes spread evenly over their magnitude, as mail does
FIRST_HEADER = b"X-Demo-Number: "


def user_of(number):
    return USERS[number % len(USERS)]


def message(seed, number):
    """The bytes of a message, from its first header on; a mail server may put headers before them."""
    rng = random.Random(f"{seed}/{number}")
    size = int(100 * (LARGEST / 100) ** rng.random())
    body = "".join(rng.randbytes(36).hex() + "\r\n" for _ in range(size // 74 + 1)).encode()
    head = (
        f"X-Demo-Number: {number}\r\n"
        f"From: Load <load@demo>\r\nTo: {user_of(number)}@mail.demo\r\n"
        f"Message-ID: <{number}.{seed}@demo>\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\n"
        f"Subject: message {number}\r\n"
        f"X-Demo-SHA256: {hashlib.sha256(body).hexdigest()}\r\n\r\n"
    ).encode()
    return head + body


def read_seed(folder):
    with open(f"{folder}/seed", encoding="ascii") as f:
        return f.read().strip()


def read_acked(folder):
    """{number: node that acknowledged it}"""
    with open(f"{folder}/acked", encoding="ascii") as f:
        return {int(number): node for number, node in (line.split() for line in f)}


class Ledger:
    """What was handed over and what was promised, shared by the workers; everything under one lock."""

    def __init__(self, folder, rate):
        self.folder = folder
        self.lock = threading.Lock()
        self.log = open(f"{folder}/acked", "a", encoding="ascii")
        self.interval = 1 / rate
        self.start = time.monotonic()
        self.next_number = 0
        self.next_time = self.start
        self.acked = {}
        self.in_flight = 0
        self.retries = 0
        self.last_ack = self.start
        self.longest_silence = 0.0

    def take(self):
        """The next number, and when it may be sent."""
        with self.lock:
            number = self.next_number
            self.next_number += 1
            now = time.monotonic()
            self.next_time = max(self.next_time + self.interval, now)
            return number, self.next_time

    def sending(self, change):
        with self.lock:
            self.in_flight += change

    def failed(self):
        with self.lock:
            self.retries += 1

    def acknowledge(self, number, node):
        with self.lock:
            self.log.write(f"{number} {node}\n")
            self.log.flush()
            os.fsync(self.log.fileno())
            now = time.monotonic()
            self.acked[node] = self.acked.get(node, 0) + 1
            self.longest_silence = max(self.longest_silence, now - self.last_ack)
            self.last_ack = now

    def publish(self):
        with self.lock:
            now = time.monotonic()
            state = {
                "delivered": self.next_number,
                "acknowledged": sum(self.acked.values()),
                "by_node": self.acked,
                "in_flight": self.in_flight,
                "retries": self.retries,
                "silence": round(now - self.last_ack, 1),
                "longest_silence": round(max(self.longest_silence, now - self.last_ack), 1),
            }
            text = json.dumps(state)
        with open(f"{self.folder}/status.new", "w", encoding="ascii") as f:
            f.write(text + "\n")
        os.replace(f"{self.folder}/status.new", f"{self.folder}/status")


class Worker(threading.Thread):
    """One connection at a time; goes round the nodes until one of them takes the message."""

    def __init__(self, ledger, seed, nodes, stop):
        super().__init__()
        self.ledger, self.seed, self.stop = ledger, seed, stop
        self.nodes = nodes
        self.node = None
        self.lmtp = None

    def connect(self):
        self.node = self.nodes[0]
        name, host, port = self.node
        # A user-network port accepts for a guest that is not there: only the greeting counts.
        self.lmtp = smtplib.LMTP(host, port, local_hostname="demo", timeout=PATIENCE)
        self.lmtp.ehlo()

    def hang_up(self):
        if self.lmtp:
            self.lmtp.close()
        self.lmtp = None
        self.nodes = self.nodes[1:] + self.nodes[:1]

    def deliver(self, number):
        """True if this attempt was answered with 250."""
        try:
            if not self.lmtp:
                self.connect()
            answers = [self.lmtp.mail("load@demo"), self.lmtp.rcpt(f"{user_of(number)}@mail.demo")]
            if all(code == 250 for code, _ in answers):
                self.ledger.sending(+1)
                try:
                    answers.append(self.lmtp.data(message(self.seed, number)))
                finally:
                    self.ledger.sending(-1)
            if any(code != 250 for code, _ in answers):
                raise smtplib.SMTPException(f"refused: {answers}")
            return True
        except (OSError, smtplib.SMTPException) as error:
            self.trouble(number, error)
            self.hang_up()
            return False

    def trouble(self, number, error):
        self.ledger.failed()
        print(f"{time.time():.1f} message {number} stays queued: {self.nodes[0][0]}: {error!r}", file=sys.stderr)

    def run(self):
        while not self.stop.is_set():
            number, when = self.ledger.take()
            self.stop.wait(max(0, when - time.monotonic()))
            # Once taken, a number is delivered, however long it lasts: the end of a load leaves no message in doubt.
            while not self.deliver(number):
                time.sleep(0.3)
            self.ledger.acknowledge(number, self.node[0])
        if self.lmtp:
            self.lmtp.close()


def load(folder, rate, targets):
    nodes = []
    for target in targets:
        name, address = target.split("=")
        host, port = address.rsplit(":", 1)
        nodes.append((name, host, int(port)))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ledger = Ledger(folder, float(rate))
    seed = read_seed(folder)
    # A worker that ends by itself is an error of this program: no count may look complete after it.
    threading.excepthook = lambda args: (sys.excepthook(*args[:3]), os._exit(1))
    workers = [Worker(ledger, seed, list(nodes), stop) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        ledger.publish()
        time.sleep(0.2)
    ledger.publish()


def status(folder):
    try:
        with open(f"{folder}/status", encoding="ascii") as f:
            state = json.load(f)
    except FileNotFoundError:
        state = {"delivered": 0, "acknowledged": 0, "by_node": {}, "in_flight": 0, "retries": 0, "silence": 0}
    by_node = ", ".join(f"{name} {count}" for name, count in sorted(state["by_node"].items()))
    print(f"acknowledged {state['acknowledged']} ({by_node or 'none yet'}), {state['in_flight']} in flight")


def imap_login(address, user):
    host, port = address.rsplit(":", 1)
    connection = imaplib.IMAP4(host, int(port), timeout=PATIENCE)
    connection.login(user, PASSWORD)
    return connection


def imap_ready(address, user):
    """The port takes connections before the server behind it answers."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return imap_login(address, user)
        except (OSError, imaplib.IMAP4.abort):
            if time.monotonic() > give_up:
                raise
            time.sleep(0.5)


def users(address):
    connection = imap_ready(address, "cyrus")
    for user in USERS:
        answer, text = connection.create(f"user.{user}")
        if answer != "OK":
            sys.exit(f"mail.py: {address} did not create the mailbox of {user}: {text}")
    connection.logout()


def mailbox(address, user):
    """Every message of a mailbox, as bytes. What a mailbox that does not open holds counts as lost, not as a mishap."""
    connection = imap_login(address, user)
    answer, text = connection.select("INBOX", readonly=True)
    if answer != "OK":
        print(f"the mailbox of {user} does not open: {text}", file=sys.stderr)
        return
    _, (count,) = connection.search(None, "ALL")
    numbers = count.split()
    for i in range(0, len(numbers), 50):
        chunk = b",".join(numbers[i : i + 50]).decode()
        answer, parts = connection.fetch(chunk, "(BODY.PEEK[])")
        if answer != "OK":
            sys.exit(f"mail.py: {address} did not give messages {chunk} of {user}: {parts}")
        yield from (part[1] for part in parts if isinstance(part, tuple))
    connection.logout()


def check(folder, address):
    """Prints one JSON line; the exit code is 1 if anything acknowledged is missing, or anything found is not as sent."""
    seed = read_seed(folder)
    acked = read_acked(folder)
    found, damaged = {}, []
    read = 0
    for user in USERS:
        for text in mailbox(address, user):
            read += 1
            at = re.search(rb"(?:^|\n)" + FIRST_HEADER + rb"(\d+)\r\n", text)
            if not at:
                damaged.append(f"a message of {user} without its number")
                continue
            number = int(at.group(1))
            sent = message(seed, number)
            if user != user_of(number) or text[text.index(FIRST_HEADER) :] != sent:
                damaged.append(f"message {number} in the mailbox of {user}")
                continue
            found[number] = found.get(number, 0) + 1
        print(f"{user}: {read} messages read back so far", file=sys.stderr, flush=True)
    lost = sorted(set(acked) - set(found))
    for line in damaged[:10]:
        print(f"not as sent: {line}", file=sys.stderr)
    for number in lost[:10]:
        print(f"lost: message {number}, acknowledged by {acked[number]}", file=sys.stderr)
    result = {
        "acknowledged": len(acked),
        "found": len(set(acked) & set(found)),
        "lost": len(lost),
        "damaged": len(damaged),
        "unacknowledged": len(set(found) - set(acked)),
        "twice": sum(1 for count in found.values() if count > 1),
    }
    print(json.dumps(result))
    return 1 if lost or damaged else 0


def main():
    socket.setdefaulttimeout(PATIENCE)
    verb, *words = sys.argv[1:] or [""]
    verbs = {"users": (users, 1), "status": (status, 1), "check": (check, 2)}
    if verb == "load" and len(words) >= 3:
        return load(words[0], words[1], words[2:])
    if verb in verbs and len(words) == verbs[verb][1]:
        return verbs[verb][0](*words)
    sys.stderr.write(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())
