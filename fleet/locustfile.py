"""
Virtual boards under Locust (Debian: python3-locust). Master and workers are built in:

    export DEVICE_CSV=devices.csv DEVICE_COUNT=1000
    locust -f locustfile.py --headless --master --expect-workers 2 -u 1000 -r 50 -H https://gateway.example
    locust -f locustfile.py --headless --worker        # as many as --expect-workers, each with the same variables

The run ends when every board has sent its readings. All settings are in docs/fleet.md.
"""

import csv
import json
import logging
import os
import random
import secrets
import time
from urllib.parse import urlsplit

import gevent
import gevent.queue
import locust
import locust.runners

from iothub_signing import sign

# Debian's package was built without its version: `locust.__version__` is an empty text there. Workers send it when they
# connect, and the master takes an empty one for that of a worker older than 2.0, which it refuses. Any other text will do
# as long as all have the same. The runners have a copy of it.
if not locust.__version__:
    locust.__version__ = locust.runners.__version__ = "unknown"

from locust import FastHttpUser, events, task  # noqa: E402
from locust.exception import StopUser  # noqa: E402
from locust.runners import MasterRunner, WorkerRunner  # noqa: E402

OFFSET = int(os.environ.get("DEVICE_OFFSET", "0"))
COUNT = int(os.environ.get("DEVICE_COUNT", "1"))
READINGS = int(os.environ.get("FLEET_READINGS", "10"))
INTERVAL = float(os.environ.get("FLEET_INTERVAL", "60"))
JITTER = float(os.environ.get("FLEET_JITTER", "0.2"))


def read_rows():
    """Rows of the console's CSV that belong to this run: (ProductId, DeviceName, PSK)."""
    with open(os.environ["DEVICE_CSV"], encoding="utf-8-sig", newline="") as file:
        rows = [
            (row.get("ProductId") or os.environ["PRODUCT_ID"], row["DeviceName"], row["DevicePsk"])
            for row in csv.DictReader(file)
            # Registration is not built here: see the boards under Artillery.
            if row["DevicePsk"]
        ]
    if OFFSET + COUNT > len(rows):
        raise SystemExit(f"Devices {OFFSET} to {OFFSET + COUNT - 1} are wanted, but there are only {len(rows)}.")
    return rows[OFFSET : OFFSET + COUNT]


rows = read_rows()
# Numbers of rows that the master has given to this process. Locust moves users between workers as it likes, so that a
# worker cannot know its rows by its index: the master gives each row once, to whoever asks.
numbers = gevent.queue.Queue()


@events.init.add_listener
def on_init(environment, **_):
    runner = environment.runner
    state = {"next": 0, "done": 0, "requests": 0}

    def on_row_wanted(environment, msg, **_):
        number = state["next"]
        state["next"] += 1
        to = {} if not isinstance(runner, MasterRunner) else {"client_id": msg.node_id}
        runner.send_message("row", number, **to)

    def on_board_done(environment, msg, **_):
        state["done"] += 1
        state["requests"] += msg.data
        if state["done"] == COUNT:
            gevent.spawn(quit_when_counted)

    def quit_when_counted():
        # Workers report every few seconds; what they report within half a second of the end would be lost, if they are
        # slow. Everything must have been counted before.
        deadline = time.monotonic() + 60
        while environment.stats.total.num_requests < state["requests"] and time.monotonic() < deadline:
            gevent.sleep(0.2)
        runner.quit()

    if not isinstance(runner, WorkerRunner):
        runner.register_message("row_wanted", on_row_wanted)
        runner.register_message("board_done", on_board_done)
    if not isinstance(runner, MasterRunner):
        runner.register_message("row", lambda environment, msg, **_: numbers.put(msg.data))


class Board(FastHttpUser):
    """One board: one row, its own connection, its rhythm."""

    def on_start(self):
        self.environment.runner.send_message("row_wanted", None)
        number = numbers.get(timeout=60)
        if number >= len(rows):
            raise StopUser()
        self.product_id, self.device_name, self.psk = rows[number]
        self.readings = 0
        # The first reading comes at any time of an interval, so that boards do not stay in step.
        gevent.sleep(random.uniform(0, INTERVAL))

    def wait_time(self):
        return INTERVAL * random.uniform(1 - JITTER, 1 + JITTER)

    @task
    def publish(self):
        self.readings += 1
        body = json.dumps(
            {
                "ProductId": self.product_id,
                "DeviceName": self.device_name,
                "TopicName": f"{self.product_id}/{self.device_name}/data",
                "Payload": json.dumps({"n": self.readings, "temperature": round(random.uniform(15, 30), 1)}),
                "Qos": 0,
            }
        ).encode()
        path = "/device/publish"
        host = urlsplit(self.host).hostname
        headers = sign(self.psk, host, path, body, int(time.time()), secrets.randbelow(2**31))
        with self.client.post(path, data=body, headers=headers, catch_response=True) as response:
            # The platform says 200 to rejections, too: the response's code decides.
            try:
                error = (response.json() or {}).get("Response", {}).get("Error")
            except ValueError:
                error = {"Code": f"HTTP {response.status_code}"}
            if error is not None:
                response.failure(error.get("Code"))
            elif response.status_code == 200:
                response.success()
        if self.readings >= READINGS:
            self.environment.runner.send_message("board_done", self.readings)
            raise StopUser()


logging.getLogger(__name__).info("%d devices from row %d", COUNT, OFFSET)
