"""Measure the service under load, compared with the bare recognizer: ``python benchmarks/service_load.py``.

Both process the same photograph in turns, on the same cores: the recognizer called by one thread per core in this
process, and a service with as many workers, asked by several clients over loopback. ``--record reports/service.json``
writes the result.
"""

import argparse
import http.client
import json
import os
import platform
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tools"))

from running_service import Service, run_service  # noqa: E402

from ferlib.core.images import decode_image  # noqa: E402
from ferlib.core.threads import available_cores  # noqa: E402
from ferlib.inference import EmotionRecognizer, ImageResult  # noqa: E402
from ferlib.inference.results import image_record  # noqa: E402

PHOTO = ROOT / "docs" / "images" / "grace_hopper.jpg"

CLIENTS = (1, 2, 8, 16, 32)


def repeat(function: Callable[[], None], n_threads: int, seconds: float) -> tuple[float, int]:
    """Return how often per second threads call a function, and how often in all."""
    counts = [0] * n_threads
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < end:
            function()
            counts[number] += 1

    start = time.perf_counter()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start), sum(counts)


def make_bare(data: bytes) -> Callable[[], None]:
    """Return a function that does what the service does for a request, without the service."""
    recognizer = EmotionRecognizer(n_threads=1)

    def recognize() -> None:
        image = decode_image(data)
        faces = recognizer.recognize(image)
        result = ImageResult(PHOTO, image.shape[:2], faces, prior=recognizer.prior.name)
        json.dumps(image_record(result))

    recognize()
    return recognize


class Load:
    """Clients that send one image again and again over connections that stay open."""

    def __init__(self, service: Service, data: bytes) -> None:
        self.port = service.port
        self.data = data
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self._local = threading.local()

    def __call__(self) -> None:
        """Send a request; one that is refused is repeated after a moment and counts as one."""
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        while True:
            start = time.perf_counter()
            self._local.connection.request("POST", "/v1/faces", self.data, {"Content-Type": "image/jpeg"})
            answer = self._local.connection.getresponse()
            answer.read()
            self.statuses[answer.status] += 1
            if answer.status == http.client.OK:
                self.seconds.append(time.perf_counter() - start)
                return
            time.sleep(0.1)


def processor_seconds(service: Service) -> float:
    """Return the processor time that a service has used."""
    fields = Path(f"/proc/{service.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(rounds: int, seconds: float) -> dict[str, object]:
    """Return requests per second of both, and the latency by the number of clients."""
    data = PHOTO.read_bytes()
    cores = available_cores()
    bare = make_bare(data)
    with run_service("--workers", str(cores)) as service:
        rates: dict[str, list[float]] = {"bare": [], "service": []}
        # Processor time per image depends less on what else the machine does.
        costs: dict[str, list[float]] = {"bare": [], "service": []}
        for _ in range(rounds):
            start = time.process_time()
            rate, n_images = repeat(bare, cores, seconds)
            rates["bare"].append(rate)
            costs["bare"].append((time.process_time() - start) / n_images)
            load, start = Load(service, data), processor_seconds(service)
            rate, n_images = repeat(load, 8, seconds)
            rates["service"].append(rate)
            costs["service"].append((processor_seconds(service) - start) / n_images)
            ratio = rates["service"][-1] / rates["bare"][-1]
            print(f"bare {rates['bare'][-1]:.1f}, service {rates['service'][-1]:.1f} images/s, ratio {ratio:.2f}")
        latency = {}
        for n_clients in CLIENTS:
            load = Load(service, data)
            rate, _ = repeat(load, n_clients, 2 * seconds)
            p50, p95, p99 = np.percentile(np.array(load.seconds) * 1000, (50, 95, 99))
            refused = load.statuses[503] / load.statuses.total()
            latency[n_clients] = {
                "per_second": round(rate, 1),
                "p50_ms": round(p50),
                "p95_ms": round(p95),
                "p99_ms": round(p99),
                "refused": round(refused, 3),
            }
            print(n_clients, "clients:", latency[n_clients])
    ratios = [mine / other for mine, other in zip(rates["service"], rates["bare"], strict=True)]
    return {
        "photo": "512 x 600 pixels, one face",
        "cores": cores,
        "machine": platform.machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "bare_per_second": round(statistics.median(rates["bare"]), 1),
        "service_per_second": round(statistics.median(rates["service"]), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_best": round(max(ratios), 3),
        "ratio_worst": round(min(ratios), 3),
        "bare_processor_ms": round(1000 * statistics.median(costs["bare"]), 1),
        "service_processor_ms": round(1000 * statistics.median(costs["service"]), 1),
        "rounds": rounds,
        "clients": {str(n_clients): values for n_clients, values in latency.items()},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--record", type=Path, help="JSON file, to which the result is added")
    args = parser.parse_args(argv)
    result = measure(args.rounds, args.seconds)
    print(json.dumps(result, indent=2))
    if args.record:
        records = json.loads(args.record.read_text(encoding="utf-8")) if args.record.exists() else {}
        args.record.write_text(json.dumps(records | {"load": result}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
