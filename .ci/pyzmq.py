"""pyzmq DEALERs through `zmio relay`: every other client gets each message once, in order; the sender none."""

import signal
import subprocess
import sys
import threading

import zmq

PATIENCE_MS = 20_000
QUIET_MS = 200
PREFIX = "listening on "


class Client:
    """A DEALER in Bonsai's framing: an empty frame, then the payload."""

    def __init__(self, context, endpoint, name=None):
        self.socket = context.socket(zmq.DEALER)
        self.socket.set(zmq.LINGER, PATIENCE_MS)
        self.socket.set(zmq.SNDHWM, 0)
        self.socket.set(zmq.RCVHWM, 0)
        if name is not None:
            self.socket.set(zmq.ROUTING_ID, name)
        self.socket.connect(endpoint)

    def say(self, payload):
        self.socket.send_multipart([b"", payload])

    def hear(self):
        if not self.socket.poll(PATIENCE_MS):
            raise AssertionError("heard nothing in 20 seconds")
        delimiter, payload = self.socket.recv_multipart()
        assert delimiter == b"", delimiter
        return payload

    def expect(self, payloads):
        for wanted in payloads:
            heard = self.hear()
            assert heard == wanted, f"heard {heard!r} instead of {wanted!r}"

    def expect_silence(self):
        if self.socket.poll(QUIET_MS):
            raise AssertionError(f"heard {self.socket.recv_multipart()!r}, which was not for it")

    def leave(self):
        self.socket.close()


def meet(talker, newcomer, bystanders=()):
    """Returns once what `talker` says reaches `newcomer`, which never has to send for that."""
    # What was said before it had joined never reaches it, so say it again.
    for _ in range(PATIENCE_MS // QUIET_MS):
        talker.say(b"meet")
        if newcomer.socket.poll(QUIET_MS):
            break
    else:
        raise AssertionError("a client did not join in 20 seconds")
    for client in (newcomer, *bystanders):
        while client.socket.poll(QUIET_MS):
            assert client.hear() == b"meet"


def numbered(name, count):
    return [b"%s %d" % (name, number) for number in range(count)]


def clients_through(endpoint):
    context = zmq.Context()
    one = Client(context, endpoint)
    two = Client(context, endpoint, b"two")
    meet(one, two)
    meet(two, one)

    from_one, from_two = numbered(b"one", 2000), numbered(b"two", 2000)
    for a, b in zip(from_one, from_two):
        one.say(a)
        two.say(b)
    one.expect(from_two)
    two.expect(from_one)
    one.expect_silence()
    two.expect_silence()

    # One that never sends hears both; one that leaves is heard to the end; one that returns hears what comes then.
    silent = Client(context, endpoint)
    meet(one, silent, [two])
    leaver = Client(context, endpoint)
    last_words = numbered(b"leaver", 1000)
    for words in last_words:
        leaver.say(words)
    leaver.leave()
    for client in (one, two, silent):
        client.expect(last_words)
    two.leave()
    returned = Client(context, endpoint, b"two")
    meet(one, returned, [silent])
    one.say(b"welcome back")
    returned.expect([b"welcome back"])
    silent.expect([b"welcome back"])

    big = bytes(range(256)) * (16 << 12)
    returned.say(big)
    one.expect([big])
    silent.expect([big])
    for client in (one, silent, returned):
        client.expect_silence()
        client.leave()
    context.term()


def main(binary):
    # With handover: a name may return before the relay has noticed that its old connection is gone.
    command = [binary, "relay", "--bind", "tcp://127.0.0.1:0", "--handover"]
    relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    # A relay that hangs, or says nothing, must not hang this too.
    watchdog = threading.Timer(120, relay.kill)
    watchdog.start()
    try:
        line = relay.stdout.readline()
        assert line.startswith(PREFIX), f"the relay said {line!r}"
        clients_through(line[len(PREFIX) :].strip())
        relay.send_signal(signal.SIGTERM)
        relay.communicate(timeout=20)
        assert relay.returncode == 0, f"the relay ended with status {relay.returncode}"
    finally:
        watchdog.cancel()
        relay.kill()
    print(f"pyzmq {zmq.__version__} (libzmq {zmq.zmq_version()}) through the relay: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
