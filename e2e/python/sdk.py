"""The PyPI server SDK, driven over pipes.

Reads one JSON request a line, `{"call": method, "args": [...], "kwargs": {...}}`, calls the SDK, and
writes one JSON answer a line: `{"ok": result}`, or `{"error": exception's class, "message": its text}`.
"""

import json
import sys

import pusher


def jsonable(value):
    # The SDK returns the shared secret of an encrypted channel as base64 bytes.
    if isinstance(value, bytes):
        return value.decode("ascii")
    raise TypeError(f"{type(value)} in an answer")


def main():
    client = pusher.Pusher(ssl=False, **json.loads(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = getattr(client, request["call"])(*request.get("args", []), **request.get("kwargs", {}))
            answer = {"ok": result}
        except Exception as error:  # every failure is an answer, for the test to judge
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer, default=jsonable), flush=True)


if __name__ == "__main__":
    main()
