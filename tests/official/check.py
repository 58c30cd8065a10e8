"""One line for each check: `ok NAME`, or `not ok NAME: why`."""

import os
import signal
import sys

_failed = 0
# Longer than any of these takes on a busy machine; the signal ends the process.
signal.alarm(100)


def check(name):
    """Runs the decorated function at once."""

    def run(body):
        global _failed
        try:
            body()
            print(f"ok {name}", flush=True)
        except Exception as error:  # whatever a client throws is what the check has found
            _failed += 1
            why = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            print(f"not ok {name}: {why}", flush=True)
        return body

    return run


def same(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def raises(kind, body):
    try:
        answer = body()
    except kind as error:
        return error
    raise AssertionError(f"it was taken: {answer!r}")


def need(name):
    return os.environ[name]


def end():
    sys.exit(1 if _failed else 0)
