from pathlib import Path

import pytest
from PIL import Image

from ferlib.core.errors import FerlibError
from ferlib.inference import STANDARD_INPUT, Source, find_sources, plan_annotated


@pytest.fixture
def album(tmp_path):
    """A folder with four images by name, and things that are none."""
    names = ["b.jpg", "a.PNG", "trip/c.webp", "trip/deep/d.tiff", "notes.txt", ".hidden.jpg", ".cache/e.jpg"]
    for name in names:
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "album/folder.jpg").mkdir()
    return tmp_path / "album"


def test_a_folder_stands_for_the_images_below_it_in_order(album):
    sources, empty = find_sources([album])
    assert [str(source.name) for source in sources] == ["a.PNG", "b.jpg", "trip/c.webp", "trip/deep/d.tiff"]
    assert all(source.path == album / source.name for source in sources)
    assert empty == []


def test_files_stand_for_themselves_and_nothing_is_done_twice(album):
    sources, _ = find_sources([album / "notes.txt", album / "b.jpg", album, album / "trip/../b.jpg", "missing.jpg"])
    assert [source.path.name for source in sources] == [
        "notes.txt",
        "b.jpg",
        "a.PNG",
        "c.webp",
        "d.tiff",
        "missing.jpg",
    ]


def test_folders_without_an_image_are_told(album, tmp_path):
    (tmp_path / "none").mkdir()
    sources, empty = find_sources([tmp_path / "none", album / "b.jpg"])
    assert empty == [tmp_path / "none"]
    assert len(sources) == 1


def test_earlier_results_inside_the_searched_folder_are_not_read(album):
    sources, _ = find_sources([album], skip=album / "trip")
    assert [source.path.name for source in sources] == ["a.PNG", "b.jpg"]
    sources, _ = find_sources([album], skip=album.parent)
    assert len(sources) == 4


def photo(name, *, is_video=False):
    return Source(Path("in") / name, Path(name), is_video)


def test_one_image_goes_to_the_file_itself_or_into_a_folder(tmp_path):
    assert plan_annotated([photo("a.jpg")], tmp_path / "new.png") == [tmp_path / "new.png"]
    assert plan_annotated([photo("a.jpg")], tmp_path / "new") == [tmp_path / "new/a.jpg"]
    (tmp_path / "v1.0").mkdir()
    assert plan_annotated([photo("a.jpg")], tmp_path / "v1.0") == [tmp_path / "v1.0/a.jpg"]
    assert plan_annotated([], tmp_path / "new.png") == []


def test_several_images_keep_names_subfolders_and_formats(tmp_path):
    photos = [photo(name) for name in ("a.jpg", "trip/a.jpg", "b.gif", "b.PNG", "A.jpg", "scan", "b.gif")]
    names = [str(path.relative_to(tmp_path)) for path in plan_annotated(photos, tmp_path)]
    assert names == ["a.jpg", "trip/a.jpg", "b.png", "b-2.PNG", "A-2.jpg", "scan.png", "b-3.png"]


def test_an_impossible_image_name_is_told(tmp_path):
    with pytest.raises(FerlibError, match=r"'\.gif'; expected one of \.bmp, .*\.webp\.$"):
        plan_annotated([photo("a.jpg")], tmp_path / "new.gif")
    with pytest.raises(FerlibError, match="one file's name, but there are 2 to write: name a folder"):
        plan_annotated([photo("a.jpg"), photo("b.jpg")], tmp_path / "new.png")


def test_patterns_stand_for_what_they_match_and_a_dash_for_standard_input(album):
    sources, _ = find_sources([album / "**/*.webp", album / "*.jpg", "-", album / "*.none"])
    assert [source.path.name for source in sources] == ["c.webp", "b.jpg", "-", "*.none"]
    assert sources[2].path == STANDARD_INPUT


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    (tmp_path / "a[1].jpg").touch()
    (source,) = find_sources([tmp_path / "a[1].jpg"])[0]
    assert source.path == tmp_path / "a[1].jpg"


def test_videos_are_known_by_suffix_and_animations_by_their_frames(tmp_path):
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still.gif")
    (tmp_path / "clip.MP4").touch()
    sources, _ = find_sources([tmp_path])
    assert {source.path.name: source.is_video for source in sources} == {
        "clip.MP4": True,
        "moving.gif": True,
        "still.gif": False,
    }


def test_videos_are_annotated_beside_images(tmp_path):
    sources = [
        photo("a.jpg"),
        photo("b.gif", is_video=True),
        photo("c.avi", is_video=True),
        photo("d.webm", is_video=True),
    ]
    names = [path.name for path in plan_annotated(sources, tmp_path / "v1.0", folder=True)]
    assert names == ["a.jpg", "b.mp4", "c.avi", "d.mp4"]
    with pytest.raises(FerlibError, match=r"videos are not written as '\.png'"):
        plan_annotated([photo("c.avi", is_video=True)], tmp_path / "new.png")
