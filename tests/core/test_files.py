"""Files are written completely or not at all, and output paths are checked first."""

import json
import os
import stat
import sys

import pytest

from ferlib.core.errors import FerlibError
from ferlib.core.files import atomic_write, check_outputs, write_json


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"accuracy": 0.5})
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
        temporary.write_text("half a fi")
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == {"accuracy": 0.5}
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_created_and_permissions_are_usual(tmp_path):
    path = tmp_path / "new" / "deep" / "result.json"
    write_json(path, [1])
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR
    plain = tmp_path / "plain"
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode


def test_unwritable_path_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FerlibError, match=r"file/result\.json cannot be written"):
        write_json(tmp_path / "file" / "result.json", 1)


def test_nan_is_refused_in_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "result.json", float("nan"))
    assert not list(tmp_path.iterdir())


def test_checking_outputs_writes_nothing(tmp_path):
    (tmp_path / "old.csv").touch()
    check_outputs([tmp_path / "deep/er/new.csv", tmp_path / "old.csv"], [tmp_path / "in.jpg"])
    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"]


def test_unusable_outputs_are_refused(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "in.jpg")
    for outputs, sentence in [
        ([tmp_path / "x/../in.jpg"], "is also an input"),
        ([tmp_path / "link.jpg"], "is also an input"),
        ([tmp_path / "a.csv", tmp_path / "a.csv"], "named for two outputs"),
        ([tmp_path], "it is a folder or a device"),
        ([tmp_path / "file/a.csv"], "is a file, not a folder"),
    ]:
        with pytest.raises(FerlibError, match=sentence):
            check_outputs(outputs, [tmp_path / "in.jpg"])


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(FerlibError, match="no permission"):
        check_outputs([tmp_path / "a.csv"], [])
