"""Hostile requests among valid ones, and requests that are generated from the OpenAPI document."""

import os
import subprocess
import sys

import pytest
from running_service import run_service
from service_abuse import Abuse, resident_megabytes


@pytest.mark.slow
def test_hostile_requests_do_no_harm():
    with run_service("--keep-seconds", "1") as service:
        abuse = Abuse(service)
        abuse.run(150)
        assert abuse.faults == []
        assert abuse.statuses["200"] > 50
        assert len(abuse.statuses) > 5
        assert abuse.lost_lines() == 0
        assert "Traceback" not in service.log
        # The largest image that is allowed is among the requests.
        assert resident_megabytes(service) < 1500
        with service.client() as client:
            assert client.get("/health/ready").status_code == 200


@pytest.mark.long
def test_answers_are_those_of_the_document(tmp_path):
    # A full queue is answered with status 503, which schemathesis takes for a fault.
    with run_service("--max-waiting-jobs", "10000") as service:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"]
        # What is valid by the document may still not be an image.
        options = ["--exclude-checks", "positive_data_acceptance", "--generation-database", "none", "--seed", "1"]
        done = subprocess.run(
            [*command, "--max-examples", "15", "--phases", "coverage,fuzzing", *options],
            capture_output=True,
            text=True,
            check=False,
            # It keeps what it found in the folder.
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.returncode == 0, done.stdout[-5000:]
        assert "12 selected / 12 total" in done.stdout
        assert "Traceback" not in service.log
