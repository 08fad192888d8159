"""Images of a dataset are found in published notebooks, figures and videos, and nothing else is."""

import base64
import io
from pathlib import Path

import check_published
import cv2
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest

from ferlib.core.crops import cut_face
from ferlib.core.images import read_image, resize, to_gray
from ferlib.synthetic.generate import draw_faces

ROOT = Path(__file__).parents[2]
HOPPER = ROOT / "docs" / "images" / "grace_hopper.jpg"


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """Return a photographed face as a dataset has it, 48 x 48 x 1."""
    return resize(to_gray(cut_face(read_image(HOPPER), (178, 110, 173, 220))), (48, 48))


@pytest.fixture(scope="module")
def finder(face) -> check_published.ImageFinder:
    drawn = draw_faces(np.arange(60) % 7, seed=1)
    return check_published.ImageFinder(np.concatenate([drawn, face[np.newaxis]]))


def draw_figure(shown: list[np.ndarray], kind: str, *, width: float = 8) -> bytes:
    """Return a figure of gray images side by side, with a title and a plot below, as a file."""
    figure, axes = plt.subplots(2, len(shown), figsize=(width, 3))
    for ax, image in zip(axes[0], shown, strict=True):
        ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
        ax.set_title("a title")
        ax.axis("off")
    for ax in axes[1]:
        ax.plot([1, 3, 2], label="a line")
        ax.legend()
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=110)
    plt.close(figure)
    return file.getvalue()


@pytest.fixture
def other_faces() -> list[np.ndarray]:
    return list(draw_faces(np.arange(4), seed=2))


def write_notebook(path: Path, kind: str, content: str) -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell("show()")]
    notebook.cells[0].outputs = [nbformat.v4.new_output("display_data", data={kind: content})]
    nbformat.write(notebook, path)
    return path


def find(finder, path: Path) -> list[int]:
    return [match.index for _, match in check_published.find_published([path], finder)]


@pytest.mark.parametrize("width", [4, 8, 11])
@pytest.mark.parametrize("form", ["as it is", "mirrored", "darker", "with a frame"])
def test_face_in_a_figure_is_found_in_any_size(finder, face, other_faces, tmp_path, width, form):
    shown = face[:, ::-1] if form == "mirrored" else face.copy()
    if form == "darker":
        shown = (face * 0.6).astype(np.uint8)
    if form == "with a frame":
        shown[:2] = shown[-2:] = shown[:, :2] = shown[:, -2:] = 0
    path = tmp_path / "figure.png"
    path.write_bytes(draw_figure([*other_faces, shown], "png", width=width))
    assert find(finder, path) == [60]


def test_other_faces_are_not_found(finder, other_faces, tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(draw_figure(other_faces, "png"))
    assert find(finder, path) == []


@pytest.mark.parametrize("kind", ["png", "jpg", "svg", "html", "script", "mp4", "attachment"])
def test_every_kind_of_output_is_searched(finder, face, other_faces, tmp_path, kind):
    image = draw_figure([*other_faces, face], kind if kind in ("jpg", "svg") else "png")
    encoded = base64.encodebytes(image).decode()
    path = tmp_path / "executed.ipynb"
    if kind == "png":
        write_notebook(path, "image/png", encoded)
    elif kind == "jpg":
        write_notebook(path, "image/jpeg", encoded)
    elif kind == "svg":
        write_notebook(path, "image/svg+xml", image.decode())
    elif kind == "html":
        write_notebook(path, "text/html", f'<td><img src="data:image/png;base64,{encoded}"></td>')
    elif kind == "script":
        # As Matplotlib writes animations.
        lines = encoded.replace("\n", "\\\n")
        write_notebook(path, "text/html", f'<script>frames[0] = "data:image/png;base64,{lines}"</script>')
    elif kind == "mp4":
        pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        pixels = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
        writer = cv2.VideoWriter(str(tmp_path / "v.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5, pixels.shape[1::-1])
        writer.write(pixels)
        writer.release()
        video = base64.b64encode((tmp_path / "v.mp4").read_bytes()).decode()
        write_notebook(path, "text/html", f'<video><source src="data:video/mp4;base64,{video}"></video>')
    else:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("![x](attachment:x.png)")])
        notebook.cells[0]["attachments"] = {"x.png": {"image/png": encoded}}
        nbformat.write(notebook, path)
    assert find(finder, path) == [60]


def test_image_that_cannot_be_decoded_is_an_error(finder, tmp_path):
    path = write_notebook(tmp_path / "executed.ipynb", "image/png", base64.b64encode(b"no image").decode())
    with pytest.raises(ValueError, match="cannot be decoded"):
        find(finder, path)


def test_command_fails_where_an_image_is_found(tmp_path, capsys):
    from ferlib.data import load_images
    from ferlib.synthetic.generate import write_synthetic

    data = write_synthetic(tmp_path / "faces.zip", train_size=14, test_size=7, seed=3)
    path = tmp_path / "figure.png"
    arguments = [str(path), "--data", str(data)]
    path.write_bytes(draw_figure(list(load_images(data).images[:3]), "png"))
    assert check_published.main(arguments) == 1
    assert "figure.png, at (" in capsys.readouterr().out
    path.write_bytes((ROOT / "reports" / "figures" / "mean_faces.png").read_bytes())
    assert check_published.main(arguments) == 0
