"""Options of the service: where it listens, who may use it, and its limits."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from ferlib.core.errors import OptionError
from ferlib.core.options import check_options, option
from ferlib.inference.recognizer import DEFAULT_PRIOR
from ferlib.runs.folder import PretrainedName, check_one_model, pretrained_run_dir
from ferlib.runs.prior import parse_prior


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of ``ferlib serve``."""

    host: str = option("127.0.0.1", help="address to listen on; 0.0.0.0 for all networks")
    port: int = option(5000, help="port; 0 for any free one", minimum=0, maximum=65535)
    model: PretrainedName | None = option(
        None, help="pretrained model; fast classifies more faces per second", default_text="default"
    )
    run: Path | None = option(None, help="run folder to use instead of a pretrained model", metavar="DIR")

    prior: str = option(
        DEFAULT_PRIOR,
        help="class prior of requests that state none: photographs, training, or a share per class",
        metavar="PRIOR",
    )

    api_key_file: Path | None = option(
        None,
        help="file with the key that requests must have",
        default_text="the variable FERLIB_API_KEY; none",
        group="access",
    )
    allowed_hosts: tuple[str, ...] = option(
        (),
        help="host names in requests, separated by commas; * for any",
        metavar="NAMES",
        default_text="this machine's; any unless --host is a loopback address",
        group="access",
    )
    allowed_origins: tuple[str, ...] = option(
        (), help="web sites that may use the API, such as https://example.org", metavar="ORIGINS", group="access"
    )
    tls_cert: Path | None = option(None, help="certificate for HTTPS", metavar="FILE", group="access")
    tls_key: Path | None = option(None, help="private key of the certificate", metavar="FILE", group="access")

    max_image_mb: float = option(10.0, help="largest image file in megabytes", above=0, maximum=1000, group="images")
    max_pixels: int = option(16_000_000, help="refuse images with more pixels", minimum=1, group="images")
    max_faces: int = option(100, help="refuse images with more faces", minimum=1, group="images")
    max_images: int = option(32, help="largest number of images in a batch", minimum=1, maximum=1000, group="images")
    max_batch_mb: float = option(64.0, help="largest batch in megabytes", above=0, maximum=10_000, group="images")

    max_video_mb: float = option(
        200.0, help="largest video file in megabytes", above=0, maximum=100_000, group="videos and streams"
    )
    max_video_seconds: float = option(
        600.0, help="longest video in seconds", above=0, maximum=1_000_000, group="videos and streams"
    )
    max_video_pixels: int = option(
        1920 * 1088, help="refuse videos with more pixels per frame", minimum=1, group="videos and streams"
    )
    jobs: int | None = option(
        None,
        help="number of videos processed at once",
        default_text="half of the cores",
        minimum=1,
        maximum=1000,
        group="videos and streams",
    )
    max_waiting_jobs: int = option(
        8, help="largest number of videos that wait", minimum=0, maximum=10_000, group="videos and streams"
    )
    max_job_seconds: float = option(
        3600.0, help="time limit of a video job in seconds", above=0, maximum=1_000_000, group="videos and streams"
    )
    keep_seconds: float = option(
        600.0,
        help="time for which the result of a video is kept",
        minimum=0,
        maximum=1_000_000,
        group="videos and streams",
    )
    max_sockets: int = option(
        16, help="largest number of streams and event listeners", minimum=0, maximum=10_000, group="videos and streams"
    )
    max_client_sockets: int = option(
        4, help="the same for one client address", minimum=0, maximum=10_000, group="videos and streams"
    )
    max_frame_mb: float = option(
        1.0, help="largest frame of a stream in megabytes", above=0, maximum=100, group="videos and streams"
    )

    workers: int | None = option(
        None, help="number of images processed at once", default_text="all cores", minimum=1, maximum=256, group="load"
    )
    max_waiting: int | None = option(
        None,
        help="largest number of requests that wait for a worker",
        default_text="8 per worker",
        minimum=0,
        maximum=10_000,
        group="load",
    )
    max_requests: int = option(
        64, help="largest number of requests in progress", minimum=1, maximum=10_000, group="load"
    )
    request_seconds: float = option(
        30.0, help="time limit of a request in seconds", above=0, maximum=3600, group="load"
    )

    def __post_init__(self) -> None:
        """Check values and combinations."""
        check_options(self)
        check_one_model(self.run, self.model)
        parse_prior(self.prior, "--prior")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise OptionError("--tls-cert and --tls-key are needed together.")
        for origin in self.allowed_origins:
            scheme, separator, host = origin.partition("://")
            if origin != "*" and not (scheme in ("http", "https") and separator and host and "/" not in host):
                raise OptionError(f"--allowed-origins: expected https://NAME, got '{origin}'.")

    @property
    def run_dir(self) -> Path:
        """The run folder of the model."""
        return self.run or pretrained_run_dir(self.model or "default")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
