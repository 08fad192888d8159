"""Which files are read, and where annotated copies are written."""

from pathlib import Path

import pytest
from PIL import Image

from ferlib.core.errors import FerlibError
from ferlib.inference.inputs import STANDARD_INPUT, InputFile, find_inputs, output_paths


@pytest.fixture
def album(tmp_path):
    """A folder with four images by name, and other files."""
    names = ["b.jpg", "a.PNG", "trip/c.webp", "trip/deep/d.tiff", "notes.txt", ".hidden.jpg", ".cache/e.jpg"]
    for name in names:
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "album/folder.jpg").mkdir()
    return tmp_path / "album"


def names(inputs):
    return [item.path.name for item in inputs]


def image(name, *, is_video=False):
    return InputFile(Path("in") / name, Path(name), is_video)


def copies(inputs, output, **options):
    return list(output_paths(inputs, output, **options).values())


def test_a_folder_gives_its_images_in_order(album):
    inputs, empty = find_inputs([album])
    assert [str(item.name) for item in inputs] == ["a.PNG", "b.jpg", "trip/c.webp", "trip/deep/d.tiff"]
    assert all(item.path == album / item.name for item in inputs)
    assert empty == []


def test_files_are_taken_as_given_and_only_once(album):
    inputs, _ = find_inputs([album / "notes.txt", album / "b.jpg", album, album / "trip/../b.jpg", "missing.jpg"])
    assert names(inputs) == ["notes.txt", "b.jpg", "a.PNG", "c.webp", "d.tiff", "missing.jpg"]


def test_empty_folders_are_reported(album, tmp_path):
    (tmp_path / "none").mkdir()
    inputs, empty = find_inputs([tmp_path / "none", album / "b.jpg"])
    assert empty == [tmp_path / "none"]
    assert len(inputs) == 1


def test_an_output_folder_inside_an_input_is_skipped(album):
    assert names(find_inputs([album], skip=album / "trip")[0]) == ["a.PNG", "b.jpg"]
    assert len(find_inputs([album], skip=album.parent)[0]) == 4


def test_patterns_and_standard_input(album):
    inputs, _ = find_inputs([album / "**/*.webp", album / "*.jpg", "-", album / "*.none"])
    assert names(inputs) == ["c.webp", "b.jpg", "-", "*.none"]
    assert inputs[2].path == STANDARD_INPUT


def test_a_file_name_may_look_like_a_pattern(tmp_path):
    (tmp_path / "a[1].jpg").touch()
    assert names(find_inputs([tmp_path / "a[1].jpg"])[0]) == ["a[1].jpg"]


def test_animations_are_videos_if_they_have_several_frames(tmp_path):
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still.gif")
    (tmp_path / "clip.MP4").touch()
    inputs, _ = find_inputs([tmp_path])
    assert {item.path.name: item.is_video for item in inputs} == {
        "clip.MP4": True,
        "moving.gif": True,
        "still.gif": False,
    }


def test_a_single_image_is_written_to_a_file_or_folder(tmp_path):
    assert output_paths([image("a.jpg")], tmp_path / "new.png") == {Path("in/a.jpg"): tmp_path / "new.png"}
    assert copies([image("a.jpg")], tmp_path / "new") == [tmp_path / "new/a.jpg"]
    (tmp_path / "v1.0").mkdir()
    assert copies([image("a.jpg")], tmp_path / "v1.0") == [tmp_path / "v1.0/a.jpg"]
    assert copies([], tmp_path / "new.png") == []


def test_several_images_keep_names_subfolders_and_formats(tmp_path):
    images = [image(name) for name in ("a.jpg", "trip/a.jpg", "b.gif", "b.PNG", "A.jpg", "scan")]
    again = InputFile(Path("other/b.gif"), Path("b.gif"))
    written = [str(path.relative_to(tmp_path)) for path in copies([*images, again], tmp_path)]
    assert written == ["a.jpg", "trip/a.jpg", "b.png", "b-2.PNG", "A-2.jpg", "scan.png", "b-3.png"]


def test_videos_keep_formats_that_can_be_written(tmp_path):
    inputs = [image("a.jpg"), *(image(name, is_video=True) for name in ("b.gif", "c.avi", "d.webm"))]
    assert [path.name for path in copies(inputs, tmp_path / "v1.0", is_folder=True)] == [
        "a.jpg",
        "b.mp4",
        "c.avi",
        "d.mp4",
    ]


@pytest.mark.parametrize(
    ("inputs", "name", "sentence"),
    [
        ([image("a.jpg")], "new.gif", r"images cannot be written as '\.gif'; expected one of \.bmp, .*\.webp\.$"),
        ([image("c.avi", is_video=True)], "new.png", r"videos cannot be written as '\.png'"),
        (
            [image("a.jpg"), image("b.jpg")],
            "new.png",
            "is a single file, but 2 images are to be written; name a folder",
        ),
    ],
)
def test_impossible_outputs_are_refused(tmp_path, inputs, name, sentence):
    with pytest.raises(FerlibError, match=sentence):
        output_paths(inputs, tmp_path / name)
