"""Exceptions raised by ferlib; each message is one sentence that says what to do."""


class FerlibError(Exception):
    """Base class of all errors that ferlib raises on purpose; commands print it without a traceback."""


class OptionError(FerlibError):
    """An option has a wrong value, or options are combined that exclude each other."""


class ImageError(FerlibError):
    """A file cannot be read as an image."""


class VideoError(FerlibError):
    """A file or camera cannot be read as a video, or a video cannot be written."""


class DataError(FerlibError):
    """A dataset is missing, incomplete or in an unknown layout."""


class ArchiveError(DataError):
    """An archive is damaged or contains something unsafe."""


class DownloadError(FerlibError):
    """A download failed."""


class CredentialsError(DownloadError):
    """A download needs credentials, or terms that must be accepted first."""


class ArtifactError(FerlibError):
    """A run folder is missing, incomplete or unreadable."""


class DivergedError(FerlibError):
    """A training's loss is no longer a number."""
