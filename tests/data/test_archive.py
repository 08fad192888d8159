import gzip
import hashlib
import io
import os
import stat
import struct
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferlib.core.errors import ArchiveError, DataError
from ferlib.data import archive
from ferlib.data.archive import open_tree


def _zip(path, files, *, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return path


@pytest.fixture
def good_zip(tmp_path):
    """A zip of two images and of files that operating systems add."""
    names = ("train/happy/b.png", "train/happy/a.png", "__MACOSX/train/._a.png", "train/.DS_Store", "train/Thumbs.db")
    return _zip(tmp_path / "good.zip", [(name, name.encode() * 9) for name in names])


def _error_of(path):
    """Return the message of the error when a path is opened or read."""
    with pytest.raises(DataError) as caught, open_tree(path) as tree:
        tree.verify()
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith((".", ")"))
    return message


def test_zip_folder_and_file_have_one_interface(good_zip, tmp_path):
    with zipfile.ZipFile(good_zip) as packed:
        packed.extractall(tmp_path / "folder")
    with open_tree(good_zip) as packed, open_tree(tmp_path / "folder") as unpacked:
        assert packed.names == unpacked.names == ("train/happy/a.png", "train/happy/b.png")
        assert (packed.kind, unpacked.kind) == ("zip", "folder")
        for name in packed.names:
            assert packed.read(name) == unpacked.read(name) == name.encode() * 9
            assert packed.size(name) == unpacked.size(name) == len(name) * 9
        assert packed.sha256() == hashlib.sha256(good_zip.read_bytes()).hexdigest()
    table = tmp_path / "icml_face_data.csv"
    table.write_text("emotion, Usage, pixels\n")
    with open_tree(table) as tree:
        assert (tree.kind, tree.names) == ("file", ("icml_face_data.csv",))
        assert tree.read(tree.names[0]).startswith(b"emotion")


def test_folder_checksum_depends_on_names_and_contents(tmp_path):
    def checksum(folder, files):
        for name, data in files:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        with open_tree(tmp_path / folder) as tree:
            return tree.sha256()

    first = checksum("one", [("a/x.png", b"12"), ("b/y.png", b"3")])
    assert first == checksum("two", [("b/y.png", b"3"), ("a/x.png", b"12"), (".hidden", b"?")])
    assert first != checksum("three", [("a/x.png", b"1"), ("b/y.png", b"23")])
    assert first != checksum("four", [("a/z.png", b"12"), ("b/y.png", b"3")])


def test_nested_archive_is_an_ordinary_file(tmp_path, good_zip):
    outer = _zip(tmp_path / "outer.zip", [("inner.zip", good_zip.read_bytes())])
    with open_tree(outer) as tree:
        assert tree.names == ("inner.zip",)
        assert tree.read("inner.zip") == good_zip.read_bytes()


@pytest.mark.parametrize("name", ["/etc/passwd", "../evil.png", "train/../../evil.png", "..\\evil.png", "C:\\x.png"])
def test_names_that_lead_outside_write_nothing(tmp_path, name):
    path = _zip(tmp_path / "evil.zip", [("train/happy/a.png", b"1"), (name, b"2")])
    with open_tree(path) as tree:
        tree.verify()
        assert tree.read("train/happy/a.png") == b"1"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("other", ["a/x.png", "a//x.png", "./a/x.png", "a\\x.png"])
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_duplicate_name_is_an_error(tmp_path, other):
    path = _zip(tmp_path / "twice.zip", [("a/x.png", b"1"), (other, b"2")])
    assert "more than one file named" in _error_of(path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_link_or_device_in_zip_is_an_error(tmp_path, kind):
    entry = zipfile.ZipInfo("train/happy/link.png")
    entry.external_attr = (kind | 0o777) << 16
    assert "link or device" in _error_of(_zip(tmp_path / "link.zip", [(entry, "/etc/passwd")]))


def test_encrypted_zip_is_an_error(good_zip):
    data = bytearray(good_zip.read_bytes())
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    data[local + 6] |= 1
    data[central + 8] |= 1
    good_zip.write_bytes(data)
    assert "encrypted" in _error_of(good_zip)


def test_unsupported_compression_is_an_error(tmp_path):
    path = _zip(tmp_path / "lzma.zip", [("a.png", b"1" * 100)], compression=zipfile.ZIP_LZMA)
    assert "unsupported compression" in _error_of(path)


def test_decompression_bomb_is_an_error_before_unpacking(tmp_path):
    path = _zip(tmp_path / "bomb.zip", [("train/happy/a.png", bytes(20 << 20))])
    assert path.stat().st_size < 50_000
    assert "bomb" in _error_of(path)


@pytest.mark.parametrize(("name", "limit"), [("MAX_FILES", 3), ("_MAX_FILE_BYTES", 100), ("_MAX_TOTAL_BYTES", 300)])
def test_limits_apply_to_zips_and_folders(tmp_path, monkeypatch, name, limit):
    monkeypatch.setattr(archive, name, limit)
    for letter in "abcd":
        (tmp_path / "folder" / letter).mkdir(parents=True)
        (tmp_path / "folder" / letter / "x.png").write_bytes(b"1" * 130)
    packed = _zip(tmp_path / "x.zip", [(f"{letter}/x.png", b"1" * 130) for letter in "abcd"])
    for path in (packed, tmp_path / "folder"):
        assert f"over the limit of {limit}" in _error_of(path)


def test_read_is_bounded_by_the_listed_size(tmp_path):
    """A size of ten bytes is listed for sixty-four megabytes: memory must follow the list."""
    import tracemalloc

    path = _zip(tmp_path / "liar.zip", [("train/happy/a.png", bytes(64 << 20))])
    _set_listed_size(path, 10)
    tracemalloc.start()
    message = _error_of(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "train/happy/a.png" in message
    assert peak < 2 << 20


def test_content_shorter_than_listed_is_an_error(tmp_path):
    path = _zip(tmp_path / "short.zip", [("a.png", b"0123456789")])
    _set_listed_size(path, 5_000)
    assert "a.png" in _error_of(path)


def _set_listed_size(path, size):
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", data, data.index(signature) + offset, size)
    path.write_bytes(data)


def test_damaged_file_is_named(tmp_path):
    path = _zip(tmp_path / "damaged.zip", [("a.png", b"1" * 50), ("b.png", os.urandom(5_000))])
    data = bytearray(path.read_bytes())
    data[2_000] ^= 0xFF
    path.write_bytes(data)
    with open_tree(path) as tree:
        assert tree.read("a.png") == b"1" * 50
        with pytest.raises(ArchiveError, match=r"'b\.png' is damaged"):
            tree.verify()


@pytest.mark.parametrize("keep", [0.2, 0.9, 0.999])
def test_truncated_zip_is_an_error(good_zip, keep):
    data = good_zip.read_bytes()
    good_zip.write_bytes(data[: int(len(data) * keep)])
    assert "truncated" in _error_of(good_zip)


@pytest.mark.parametrize(
    ("name", "data", "part"),
    [
        ("page.zip", b"<!DOCTYPE html>Sign in", "a web page instead of a file"),
        ("cut.zip", b"\0\1\2", "not a zip archive"),
        ("notes.doc", b"hello", "is not a zip, a tar, a folder, a CSV, a Parquet or an NPZ file"),
        ("fer2013.tar.gz", b"\x1f\x8b\x08", "damaged or truncated"),
        ("fer2013.7z", b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
        ("fer2013.zip", b"Rar!\x1a\x07", "a RAR archive"),
        ("train.arrow", b"ARROW1\0\0", "an Arrow file"),
        ("fer2013.zip", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("face.jpg", b"\xff\xd8\xff\xe0", "a single image"),
        ("empty.zip", b"", "is empty"),
        ("none.zip", b"PK\x05\x06" + bytes(18), "contains no files"),
    ],
)
def test_other_files_are_an_error(tmp_path, name, data, part):
    path = tmp_path / name
    path.write_bytes(data)
    assert part in _error_of(path)


def test_missing_path_and_empty_folder_are_errors(tmp_path):
    assert "no such file or folder" in _error_of(tmp_path / "fer2013.zip")
    (tmp_path / "folder").mkdir()
    assert "contains no files" in _error_of(tmp_path / "folder")


@pytest.mark.parametrize("directory", [False, True])
def test_link_out_of_a_folder_is_an_error(tmp_path, directory):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"1")
    inside = tmp_path / "data" / "happy"
    inside.mkdir(parents=True)
    (inside / "link").symlink_to(outside if directory else outside / "secret.png")
    assert "link to outside" in _error_of(tmp_path / "data")


def test_links_inside_a_folder_are_read(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"1")
    (folder / "b.png").symlink_to("a.png")
    (folder / "loop").symlink_to(folder)
    (tmp_path / "alias").symlink_to(folder)
    with open_tree(tmp_path / "alias") as tree:
        assert tree.names == ("a.png", "b.png")
        assert tree.read("b.png") == b"1"


def test_pipes_and_broken_links_in_a_folder_are_skipped(tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "gone.png")
    with open_tree(tmp_path) as tree:
        assert (tree.names, tree.skipped) == (("a.png",), ("broken.png", "pipe.png"))
    assert "neither a file nor a folder" in _error_of(tmp_path / "pipe.png")


def _tar(path, files, *, mode="w:gz", kind=tarfile.REGTYPE):
    with tarfile.open(path, mode) as archive:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.type, entry.linkname = len(data), kind, "/etc/passwd"
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.tar", "w"),
        ("a.tar.gz", "w:gz"),
        ("a.tgz", "w:gz"),
        ("a.tar.bz2", "w:bz2"),
        ("a.tar.xz", "w:xz"),
        ("a.csv", "w"),
    ],
)
def test_tars_are_read_as_zips_are(tmp_path, name, mode):
    files = [(f"fer/{number}.png", os.urandom(3_000)) for number in (2, 1, 3)]
    with open_tree(_tar(tmp_path / name, [*files, ("fer/._2.png", b"junk")], mode=mode)) as tree:
        assert (tree.kind, tree.names) == ("tar", ("fer/1.png", "fer/2.png", "fer/3.png"))
        tree.verify()
        assert [tree.read(name) for name, _ in files] == [data for _, data in files]
        # Two streams at a time do not disturb each other.
        with tree.open("fer/1.png") as one, tree.open("fer/3.png") as two:
            assert one.read(10) + two.read(10) == files[1][1][:10] + files[2][1][:10]


def test_compressed_table_is_a_file(tmp_path):
    (tmp_path / "fer2013.csv.gz").write_bytes(gzip.compress(b"emotion,pixels,Usage\n"))
    with open_tree(tmp_path / "fer2013.csv.gz") as tree:
        assert (tree.kind, tree.names) == ("file", ("fer2013.csv",))
        assert tree.read("fer2013.csv") == b"emotion,pixels,Usage\n"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_link_or_device_in_a_tar_is_an_error(tmp_path, kind):
    assert "link, device or sparse" in _error_of(_tar(tmp_path / "a.tar", [("happy/x.png", b"")], mode="w", kind=kind))


@pytest.mark.parametrize("keep", [0.3, 0.8])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_truncated_tar_is_an_error(tmp_path, mode, keep):
    path = _tar(tmp_path / "a.tar", [(f"{number}.png", os.urandom(5_000)) for number in range(9)], mode=mode)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    assert "truncated" in _error_of(path)


def test_bombs_in_tars_are_refused(tmp_path):
    bomb = tmp_path / "bomb.tar.gz"
    with gzip.open(bomb, "wb") as packed:
        packed.writelines(bytes(1 << 20) for _ in range(60))
    assert "like a decompression bomb" in _error_of(bomb)
    # Attributes of 30 megabytes, which would be kept in memory.
    with tarfile.open(tmp_path / "header.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("a.png")
        entry.pax_headers = {"comment": "x" * (30 << 20)}
        archive.addfile(entry)
    assert "a header is too large" in _error_of(tmp_path / "header.tar")


@given(st.data())
def test_damaged_zip_gives_an_error_or_the_right_bytes(data):
    files = {"train/happy/a.png": b"abc" * 40, "train/sad/b.png": b"0123456789" * 9}
    with tempfile.TemporaryDirectory() as folder:
        path = _zip(Path(folder, "fuzzed.zip"), files.items())
        packed = bytearray(path.read_bytes())
        changes = data.draw(st.lists(st.tuples(st.integers(0, len(packed) - 1), st.integers(0, 255)), max_size=6))
        for position, value in changes:
            packed[position] = value
        path.write_bytes(packed)
        try:
            with open_tree(path) as tree:
                read = {tree.read(name) for name in tree.names}
        except DataError as error:
            assert str(path) in str(error)
        else:
            assert read <= set(files.values())


@pytest.mark.real_data
def test_fer2013_is_read_in_ten_seconds(fer2013_archive):
    start = time.perf_counter()
    with open_tree(fer2013_archive) as tree:
        total = sum(len(tree.read(name)) for name in tree.names)
        assert total == sum(tree.size(name) for name in tree.names)
    assert time.perf_counter() - start < 10
