from pathlib import Path

import pytest

from ferlib.errors import FerlibError
from ferlib.inference import Photo, find_photos, plan_annotated


@pytest.fixture
def album(tmp_path):
    """A folder with four pictures by name, and things that are none."""
    names = ["b.jpg", "a.PNG", "trip/c.webp", "trip/deep/d.tiff", "notes.txt", ".hidden.jpg", ".cache/e.jpg"]
    for name in names:
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "album/folder.jpg").mkdir()
    return tmp_path / "album"


def test_a_folder_stands_for_the_pictures_below_it_in_order(album):
    photos, empty = find_photos([album])
    assert [str(photo.name) for photo in photos] == ["a.PNG", "b.jpg", "trip/c.webp", "trip/deep/d.tiff"]
    assert all(photo.path == album / photo.name for photo in photos)
    assert empty == []


def test_files_stand_for_themselves_and_nothing_is_done_twice(album):
    photos, _ = find_photos([album / "notes.txt", album / "b.jpg", album, album / "trip/../b.jpg", "missing.jpg"])
    assert [photo.path.name for photo in photos] == ["notes.txt", "b.jpg", "a.PNG", "c.webp", "d.tiff", "missing.jpg"]


def test_folders_without_a_picture_are_told(album, tmp_path):
    (tmp_path / "none").mkdir()
    photos, empty = find_photos([tmp_path / "none", album / "b.jpg"])
    assert empty == [tmp_path / "none"]
    assert len(photos) == 1


def test_earlier_results_inside_the_searched_folder_are_not_read(album):
    photos, _ = find_photos([album], skip=album / "trip")
    assert [photo.path.name for photo in photos] == ["a.PNG", "b.jpg"]
    photos, _ = find_photos([album], skip=album.parent)
    assert len(photos) == 4


def photo(name):
    return Photo(Path("in") / name, Path(name))


def test_one_picture_goes_to_the_file_itself_or_into_a_folder(tmp_path):
    assert plan_annotated([photo("a.jpg")], tmp_path / "new.png") == [tmp_path / "new.png"]
    assert plan_annotated([photo("a.jpg")], tmp_path / "new") == [tmp_path / "new/a.jpg"]
    (tmp_path / "v1.0").mkdir()
    assert plan_annotated([photo("a.jpg")], tmp_path / "v1.0") == [tmp_path / "v1.0/a.jpg"]
    assert plan_annotated([], tmp_path / "new.png") == []


def test_several_pictures_keep_names_subfolders_and_formats(tmp_path):
    photos = [photo(name) for name in ("a.jpg", "trip/a.jpg", "b.gif", "b.PNG", "A.jpg", "scan", "b.gif")]
    names = [str(path.relative_to(tmp_path)) for path in plan_annotated(photos, tmp_path)]
    assert names == ["a.jpg", "trip/a.jpg", "b.png", "b-2.PNG", "A-2.jpg", "scan.png", "b-3.png"]


def test_an_impossible_picture_name_is_told(tmp_path):
    with pytest.raises(FerlibError, match=r"'\.gif'; expected one of \.bmp, .*\.webp\.$"):
        plan_annotated([photo("a.jpg")], tmp_path / "new.gif")
    with pytest.raises(FerlibError, match="one picture's name, but there are 2 pictures: name a folder"):
        plan_annotated([photo("a.jpg"), photo("b.jpg")], tmp_path / "new.png")
