"""Measures the adaptor: CPU per message of each workflow, many waiting callers, memory of a large message, the start.

    python -m benchmarks.mhs [--count N] [--runs R]

The supplier and the Spine run beside it on the same cores; their CPU is not counted. Everything over plain HTTP on kept
connections. Spec: 50 §14.4 A4-A6; figures go to docs/performance.md with date and machine.
"""

import argparse
import asyncio
import base64
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from urllib.parse import quote

import aiohttp

from benchmarks.mhs_spine import CPA, SPINE, SUPPLIER
from benchmarks.service import Process
from openscr.access.pki import make_demo_certificates

CONNECTIONS = 16
WAITING = 200
REPLY_AFTER = 2.0
ATTACHMENTS = 98
PAYLOAD = "<REPC_IN150016UK05>" + "<a>0123456789</a>" * 1000 + "</REPC_IN150016UK05>"
LARGE = 4_999_000


class Adaptor:
    """An adaptor under measurement, with its Spine."""

    def __init__(self, folder: Path) -> None:
        self._spine = Process(sys.executable, "-m", "benchmarks.mhs_spine")
        self._folder = folder
        pki = folder / "pki"
        make_demo_certificates(pki)
        self._environment = {
            "MHS_SECRET_PARTY_KEY": SUPPLIER,
            "MHS_CLIENT_CERT_FILE": str(pki / "gp.client.test.pem"),
            "MHS_CLIENT_KEY_FILE": str(pki / "gp.client.test.key"),
            "MHS_CA_CERTS_FILE": str(pki / "ca.pem"),
            "MHS_OUTBOUND_SERVER_PORT": "0",
            "MHS_INBOUND_SERVER_PORT": str(_free_port()),
            "MHS_INBOUND_HEALTHCHECK_SERVER_PORT": "0",
            "MHS_INBOUND_USE_SSL": "False",
            "MHS_ROUTES_FILE": str(folder / "routes.toml"),
            "MHS_FORWARD_RELIABLE_ENDPOINT_URL": f"{self._spine.urls[0]}/taken",
            "MHS_SPINE_REQUEST_MAX_SIZE": "100000000",
            "MHS_LOG_LEVEL": "WARNING",
            "MHS_DATA": str(folder / "data"),
        }
        inbound = f"http://127.0.0.1:{self._environment['MHS_INBOUND_SERVER_PORT']}/"
        self._write_routes(inbound)
        self.process: Process

    def _write_routes(self, inbound: str) -> None:
        base = self._spine.urls[0]
        ways = {
            "SYNC": f"{base}/sync",
            "TAKEN": f"{base}/taken",
            "REPLY": f"{base}/reply/0/{quote(inbound, safe='')}",
            "LATER": f"{base}/reply/{REPLY_AFTER}/{quote(inbound, safe='')}",
        }
        services = ["psis:*", "psisquery:*", "ebs:*", "gp2gp:*", "lrs:*"]
        routes = [
            f'[[route]]\ninteractions = {json.dumps(services)}\nods = "{ods}"\naddress = "{address}"\n'
            f'party_key = "{SPINE}"\nasid = "200000000100"\ncpa_id = "{CPA}"\n'
            for ods, address in ways.items()
        ]
        (self._folder / "routes.toml").write_text("\n".join(routes))

    def start(self) -> float:
        """Start it; return the seconds until it was ready."""
        os.environ.update(self._environment)
        started = time.perf_counter()
        self.process = Process(sys.executable, "-m", "openscr", "mhs", "serve")
        return time.perf_counter() - started

    @property
    def at(self) -> str:
        return self.process.urls[0]

    def stop(self) -> None:
        self.process.stop()

    def close(self) -> None:
        self._spine.stop()


def _free_port() -> int:
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _post(
    session: aiohttp.ClientSession, at: str, headers: Mapping[str, str], body: bytes, expected: int
) -> None:
    async with session.post(f"{at}/", data=body, headers={"Content-Type": "application/json", **headers}) as answer:
        text = await answer.read()
        if answer.status != expected:
            raise SystemExit(f"unexpected answer {answer.status}: {text[:200]!r}")


async def _consume(session: aiohttp.ClientSession, at: str, count: int) -> None:
    """Take messages from the queue as a supplier does."""
    while count > 0:
        async with session.get(f"{at}/queue/messages?wait=20&max=32") as answer:
            messages = json.loads(await answer.read())["messages"]
        for message in messages:
            async with session.post(f"{at}/queue/messages/{message['receipt']}/ack") as answer:
                await answer.read()
        count -= len(messages)


WORKFLOWS = {
    "sync": ({"Interaction-Id": "QUPC_IN180000UK04", "ods-code": "SYNC", "from-asid": "1"}, False, 200, False),
    "async-express": ({"Interaction-Id": "QUPC_IN160101UK05", "ods-code": "TAKEN"}, False, 202, False),
    "async-reliable": ({"Interaction-Id": "REPC_IN150016UK05", "ods-code": "TAKEN"}, False, 202, False),
    "forward-reliable": ({"Interaction-Id": "PRSC_IN080000UK07", "ods-code": "TAKEN"}, False, 202, False),
    "async-reliable, reply taken from the queue": (
        {"Interaction-Id": "REPC_IN150016UK05", "ods-code": "REPLY"},
        False,
        202,
        True,
    ),
    "sync-async": ({"Interaction-Id": "REPC_IN150016UK05", "ods-code": "REPLY"}, True, 200, False),
}


async def _costs(adaptor: Adaptor, count: int, runs: int) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    body = json.dumps({"payload": PAYLOAD}).encode()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for name, (headers, wait, expected, queued) in WORKFLOWS.items():
            sent = headers | {"wait-for-response": str(wait).lower()}
            costs, rates = [], []
            for run in range(runs + 1):
                left = iter(range(count))

                async def sender(left=left, sent=sent, expected=expected) -> None:  # type: ignore[no-untyped-def]
                    for _ in left:
                        await _post(session, adaptor.at, sent, body, expected)

                before, started = adaptor.process.cpu(), time.perf_counter()
                consumer = asyncio.create_task(_consume(session, adaptor.at, count if queued else 0))
                await asyncio.gather(*(sender() for _ in range(CONNECTIONS)), consumer)
                if run:
                    costs.append((adaptor.process.cpu() - before) * 1000 / count)
                    rates.append(count / (time.perf_counter() - started))
            results.append(
                {
                    "workflow": name,
                    "cpu_ms": round(statistics.median(costs), 2),
                    "per_second": round(statistics.median(rates)),
                    "rss_mb": round(adaptor.process.memory()),
                }
            )
            print(results[-1], flush=True)
    return results


async def _waiting(adaptor: Adaptor) -> float:
    """Return the seconds that all the waiting callers needed whose replies come after a time. Spec: 50 A4."""
    body = json.dumps({"payload": PAYLOAD}).encode()
    headers = {"Interaction-Id": "REPC_IN150016UK05", "ods-code": "LATER", "wait-for-response": "true"}
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        started = time.perf_counter()
        await asyncio.gather(*(_post(session, adaptor.at, headers, body, 200) for _ in range(WAITING)))
        return time.perf_counter() - started


async def _large(adaptor: Adaptor) -> dict[str, float]:
    """Send one message of the largest size with all the attachments that there may be. Spec: 50 A5."""
    piece = base64.b64encode(os.urandom(15_000)).decode()
    attachment = {"is_base64": True, "content_type": "image/png", "payload": piece, "description": "one of many"}
    payload = "<a>" + "0123456789" * (LARGE // 10) + "</a>"
    body = json.dumps({"payload": payload, "attachments": [attachment] * ATTACHMENTS}).encode()
    headers = {"Interaction-Id": "REPC_IN150016UK05", "ods-code": "TAKEN", "wait-for-response": "false"}
    before = adaptor.process.memory()
    async with aiohttp.ClientSession() as session:
        await _post(session, adaptor.at, headers, body, 202)
    size = len(body) / 2**20
    peak = adaptor.process.peak()
    return {"message_mb": size, "before_mb": before, "peak_mb": peak, "times": (peak - before) / size}


async def _main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        adaptor = Adaptor(Path(folder))
        first = adaptor.start()
        adaptor.stop()
        second = adaptor.start()
        large = await _large(adaptor)
        adaptor.stop()
        adaptor.start()
        costs = await _costs(adaptor, arguments.count, arguments.runs)
        waited = await _waiting(adaptor)
        adaptor.stop()
        adaptor.close()
    print(f"{date.today()}, {platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for row in costs:
        print(f"| {row['workflow']} | {row['cpu_ms']} | {row['per_second']} | {row['rss_mb']} |")
    print(f"{WAITING} callers whose replies come after {REPLY_AFTER:g} s: all answered within {waited:.1f} s")
    print(
        f"one message of {large['message_mb']:.1f} MB with {ATTACHMENTS} attachments: {large['before_mb']:.0f} MB "
        f"before, {large['peak_mb']:.0f} MB at most, {large['times']:.1f} times its size more"
    )
    print(f"ready after {first:.2f} s the first time, {second:.2f} s after that")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="messages in a run")
    parser.add_argument("--runs", type=int, default=3, help="runs after the warm-up")
    asyncio.run(_main(parser.parse_args()))
