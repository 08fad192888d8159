"""`ferlib score` with inputs and outputs in an object store that answers as S3 does."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from albums import assert_rows_are_those_of_predict, read_rows
from pyarrow.fs import FileSystem
from s3_server import serve_objects

from ferlib.core.errors import FerlibError


@pytest.fixture(scope="module")
def own_store():
    """The address of a small store of our own, and the store."""
    with serve_objects() as store:
        yield f"127.0.0.1:{store.server_port}", store


@pytest.fixture(scope="module")
def moto_store():
    """The address of moto's store. Its command is in an environment of its own, because it needs older packages."""
    command = os.environ.get("MOTO_SERVER")
    if not command:
        pytest.skip("MOTO_SERVER is not set: this test needs moto's server, of version 5.2.5 or newer")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([command, "-H", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    yield f"127.0.0.1:{port}", None
    process.terminate()
    process.wait()


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    """Credentials as a user sets them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def connect(address):
    """Return the options of addresses, and the file system."""
    options = f"region=us-east-1&scheme=http&endpoint_override={address}"
    return options, FileSystem.from_uri(f"s3://photos?{options}&allow_bucket_creation=true")[0]


def upload(album, files, bucket):
    files.create_dir(bucket)
    for path in album.rglob("*"):
        if path.is_file():
            with files.open_output_stream(f"{bucket}/my {path}") as stream:
                stream.write(path.read_bytes())


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("store", ["own_store", "moto_store"])
def test_rows_are_those_of_local_files(store, album, run_score, tmp_path, request, capsys):
    address, _ = request.getfixturevalue(store)
    options, files = connect(address)
    upload(album, files, "photos")
    files.create_dir("scores")
    place = f"s3://photos/my album?{options}", "--output", "s3://scores/one/two", "--part-size", 6
    run_score(*place)
    assert capsys.readouterr().out.startswith("16 images, ")
    written = pq.read_table("scores/one/two", filesystem=files)
    rows = written.to_pylist()
    assert all(row["path"].startswith("s3://photos/my album/") for row in rows)
    for row in rows:
        row["error"] = row["error"] and row["error"].replace("s3://photos/my ", "")
        row["path"] = row["path"].removeprefix("s3://photos/my ")
    assert_rows_are_those_of_predict(rows, album, tmp_path)

    files.delete_file("scores/one/two/part-000001.parquet")
    capsys.readouterr()
    run_score(*place)

    assert capsys.readouterr().out.startswith("6 images, ")
    assert pq.read_table("scores/one/two", filesystem=files).equals(written)


def test_a_list_may_mix_addresses_and_files(own_store, album, run_score):
    options, files = connect(own_store[0])
    upload(album, files, "mixed")
    entries = [
        "hopper.jpg",
        "s3://mixed/my album/nothing.png",
        "s3://mixed/missing.png",
        "missing.png",
        "http://a/b.png",
    ]
    Path("album/list.txt").write_text("\n".join(entries))
    with files.open_output_stream("mixed/list.csv") as stream:
        stream.write(b"path\nmy album/hopper.jpg\n")
    run_score("album/list.txt", f"s3://mixed/list.csv?{options}", "--output", "scores", "--detector", "none")
    rows = {row["path"]: row["error"] for row in read_rows("scores")}
    assert rows == {
        "album/hopper.jpg": None,
        "s3://mixed/my album/nothing.png": None,
        "s3://mixed/missing.png": "s3://mixed/missing.png: there is no such file.",
        "album/missing.png": "album/missing.png: there is no such file.",
        "http://a/b.png": "http://a/b.png: files of the web are not read; download them first.",
        "s3://mixed/my album/hopper.jpg": None,
    }


def test_objects_that_may_not_be_read_are_rows_with_an_error(own_store, album, run_score):
    address, store = own_store
    options, files = connect(address)
    upload(album, files, "closed")
    store.forbidden.add("closed/my album/hopper.jpg")
    run_score(f"s3://closed/my album?{options}", "--output", "scores", "--detector", "none")
    rows = {row["path"]: row for row in read_rows("scores")}
    assert len(rows) == 16
    assert "ACCESS_DENIED" in rows["s3://closed/my album/hopper.jpg"]["error"]
    assert "\n" not in rows["s3://closed/my album/hopper.jpg"]["error"]


def test_faults_of_the_store_are_one_sentence(own_store, album, run_score):
    options, _ = connect(own_store[0])
    with pytest.raises(FerlibError, match=r"^s3://photos/nothing: there is no such object or folder\.$"):
        run_score(f"s3://photos/nothing?{options}", "--output", "scores")
    with pytest.raises(FerlibError, match=r"^what://x cannot be opened \([^\n]+\)\.$"):
        run_score("what://x/y", "--output", "scores")
    with pytest.raises(FerlibError, match=r"^what://x cannot be opened \([^\n]+\)\.$"):
        run_score("album", "--output", "what://x/y")
