"""The package's own errors: each message is a sentence that a person can act on."""


class FerlibError(Exception):
    """Base of every error that ferlib raises on purpose; command lines print it without a traceback."""


class OptionError(FerlibError):
    """An option has a wrong value, or options are combined that exclude each other."""


class ImageError(FerlibError):
    """A file that should hold an image cannot be read as one."""


class VideoError(FerlibError):
    """A file or camera that should give a video cannot be read as one, or a video cannot be written."""


class DataError(FerlibError):
    """A data set is missing, incomplete, or not in a layout that ferlib knows."""


class ArchiveError(DataError):
    """An archive is damaged, or holds something that must not be unpacked."""


class DownloadError(FerlibError):
    """A download could not be made or finished."""


class CredentialsError(DownloadError):
    """The other side wants credentials, or an agreement, that it was not given."""


class ArtifactError(FerlibError):
    """A run folder is missing, incomplete or cannot be read."""
