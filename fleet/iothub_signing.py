"""Signs requests for Tencent Cloud IoT Hub: nothing of the library is used, so that a mistake in one shows in the other."""

import base64
import hashlib
import hmac
import json
import sys


def sign(psk, host, path, body, timestamp, nonce, algorithm="hmacsha256"):
    """Returns the headers of a request. The PSK is used as text; host is without port."""
    digest = hashlib.sha1 if algorithm == "hmacsha1" else hashlib.sha256
    lines = ["POST", host, path, "", algorithm, str(timestamp), str(nonce), digest(body).hexdigest()]
    mac = hmac.new(psk.encode(), "\n".join(lines).encode(), digest).digest()
    return {
        "Content-Type": "application/json; charset=utf-8",
        "X-TC-Algorithm": algorithm,
        "X-TC-Timestamp": str(timestamp),
        "X-TC-Nonce": str(nonce),
        "X-TC-Signature": base64.b64encode(mac).decode(),
    }


if __name__ == "__main__":
    # For tests: a JSON array of requests, the body in Base64; prints the array of their headers.
    requests = json.load(sys.stdin)
    print(json.dumps([sign(**{**request, "body": base64.b64decode(request["body"])}) for request in requests]))
