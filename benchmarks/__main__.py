"""Measures server CPU per operation beside the floor of the same run, latency at half load, and memory.

    python -m benchmarks [--count N] [--runs R] [--tls] [--json]

Spec: 90 §6.4; figures go to docs/performance.md with date and machine.
"""

import argparse
import asyncio
import json
import os
import platform
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from aiohttp import web

from benchmarks.load import ClientEndpoint, Load
from benchmarks.messages import Request, Uploads, consent, event, event_list
from benchmarks.service import Process, accepted, send_answers_to, serve_command
from openscr.testbench.world import PRACTICE_PARTY

CONNECTIONS = 16


def _client_context(pki: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    context.check_hostname = False
    context.load_cert_chain(pki / "gp.client.test.pem", pki / "gp.client.test.key")
    return context


async def _measure(
    process: Process, load: Load, requests: list[Request], finish: Callable[[], "asyncio.Future[None]"] | None
) -> tuple[float, float]:
    before = process.cpu()
    started = time.perf_counter()
    await load.closed(requests, accepted)
    if finish is not None:
        await finish()
    seconds = time.perf_counter() - started
    return (process.cpu() - before) * 1000 / len(requests), len(requests) / seconds


def _percentile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


async def _bare_endpoint() -> tuple[web.AppRunner, str]:
    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b"x" * 1300, content_type="text/xml")

    app = web.Application()
    app.router.add_post("/{tail:.*}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/"


async def _floor(folder: Path, pki: str, tls: ssl.SSLContext | None, count: int, runs: int) -> dict[str, float]:
    runner, callback = await _bare_endpoint()
    process = Process(sys.executable, "-m", "benchmarks.floor", str(folder), callback, pki)
    load = Load(process.urls[0], tls, CONNECTIONS)
    makers = {kind: Uploads(mixed="mixed" in kind, start=2000) for kind in ("upload", "upload, mixed sizes")}
    figures: dict[str, list[float]] = {**{kind: [] for kind in makers}, "list": [], "event": []}
    for run in range(runs + 1):
        for kind, values in figures.items():
            if kind in makers:
                requests = [Request("/upload", {}, _payload(makers[kind].next())) for _ in range(count)]
            else:
                requests = [Request(f"/{kind}", {}, event_list("9990012318").body) for _ in range(count)]
            before = process.cpu()
            await load.closed(requests, lambda status, _: status == 200)
            if run:
                values.append((process.cpu() - before) * 1000 / count)
    await load.close()
    process.stop()
    await runner.cleanup()
    return {kind: statistics.median(values) for kind, values in figures.items()}


def _payload(request: Request) -> bytes:
    start = request.body.index(b"<REPC_IN")
    return request.body[start : request.body.rindex(b"\r\n--")]


async def _main(arguments: argparse.Namespace) -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        # A first run makes keys, database and demo world; then the practice's endpoint becomes ours.
        serve = serve_command(data, arguments.log_level)
        started = time.perf_counter()
        Process(*serve).stop()
        first = time.perf_counter() - started
        endpoint = ClientEndpoint(PRACTICE_PARTY)
        await endpoint.start()
        await send_answers_to(data, endpoint.url)
        started = time.perf_counter()
        process = Process(*serve)
        second = time.perf_counter() - started
        tls = _client_context(data / "pki") if arguments.tls else None
        load = Load(process.urls[1 if arguments.tls else 0], tls, CONNECTIONS)
        start = {"upload": 2000, "upload, mixed sizes": 400_000}
        loaded: list[Request] = []
        floor = await _floor(
            Path(folder), str(data / "pki") if arguments.tls else "", tls, arguments.count, arguments.runs
        )
        for name in ("upload", "upload, mixed sizes", "event list", "event", "consent get"):
            costs, rates = [], []
            uploads = Uploads(mixed="mixed" in name, start=start.get(name, 0))
            for run in range(arguments.runs + 1):
                requests = _requests(name, uploads, loaded, arguments.count)
                if name.startswith("upload"):
                    ids = [request.event_id for request in requests]
                    cost, rate = await _measure(process, load, requests, lambda ids=ids: endpoint.wait_for(ids))
                    loaded += requests if name == "upload" else []
                else:
                    cost, rate = await _measure(process, load, requests, None)
                if run:
                    costs.append(cost)
                    rates.append(rate)
            rate = statistics.median(rates)
            latencies = await load.open(_requests(name, uploads, loaded, min(arguments.count, int(rate * 4))), rate / 2)
            if name.startswith("upload"):
                await asyncio.sleep(1)
            kind = name if name in floor else "list"
            results.append(
                {
                    "operation": name,
                    "engine": "SQLite",
                    "messages": arguments.count * arguments.runs,
                    "per_second": round(rate),
                    "server_cpu_ms_per_message": round(statistics.median(costs), 3),
                    "floor_cpu_ms_per_message": round(floor[kind], 3),
                    "latency_ms": {
                        f"p{int(share * 100)}": round(_percentile(latencies, share), 1) for share in (0.5, 0.95, 0.99)
                    },
                    "rss_mb": round(process.memory()),
                }
            )
            if not arguments.json:
                print(_line(results[-1]), flush=True)
        await load.close()
        process.stop()
        await endpoint.stop()
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        mode = "mutual TLS" if arguments.tls else "plain HTTP"
        print(
            f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, SQLite WAL FULL, {mode}, "
            f"{CONNECTIONS} kept connections, median of {arguments.runs} runs after a warm-up; "
            f"start: first {first:.1f} s, second {second:.1f} s"
        )


def _requests(name: str, uploads: Uploads, loaded: list[Request], count: int) -> list[Request]:
    if name.startswith("upload"):
        return [uploads.next() for _ in range(count)]
    chosen = [loaded[i % len(loaded)] for i in range(count)]
    if name == "event list":
        return [event_list(request.nhs_number) for request in chosen]
    if name == "event":
        return [event(request.nhs_number, request.event_id) for request in chosen]
    return [consent(request.nhs_number) for request in chosen]


def _line(result: dict[str, object]) -> str:
    latency = result["latency_ms"]
    assert isinstance(latency, dict)
    return (
        f"{result['operation']:<22} {result['server_cpu_ms_per_message']:>7} ms CPU   "
        f"floor {result['floor_cpu_ms_per_message']:>6}   {result['per_second']:>5}/s   "
        f"half load p50 {latency['p50']} p99 {latency['p99']} ms   {result['rss_mb']} MB"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--log-level", default="info")
    asyncio.run(_main(parser.parse_args()))
