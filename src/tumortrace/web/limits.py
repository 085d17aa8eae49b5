"""What the server accepts, and how it refuses the rest."""

from __future__ import annotations

from dataclasses import dataclass

from tumortrace.errors import TumortraceError


@dataclass(frozen=True)
class Limits:
    """Limits of one server.

    Attributes:
        request_bytes: Bytes in the body of a request.
        unpacked_bytes: Bytes in all files of a request once they are unpacked.
        parts: Files and fields in a request, and files in all its zips.
        pixels: Pixels in a picture or slice.
        slices: Pictures and slices in a request.
        voxels: Pixels in all slices of a request; in corrections, in each group of files and in all masks.
        clicks: Clicks of a prompt.
        upload_seconds: Time for the body of a request.
        work_seconds: Time for segmenting and replying, once the files are there.
        queue: Requests at a time, those included that wait for a thread or are still being received.
    """

    request_bytes: int = 512 * 2**20
    unpacked_bytes: int = 2**30
    parts: int = 2048
    pixels: int = 25_000_000
    slices: int = 4096
    voxels: int = 2**28
    clicks: int = 100
    upload_seconds: float = 300.0
    work_seconds: float = 300.0
    queue: int = 32


@dataclass
class Unpacked:
    """What the zips and compressed files of one request have unpacked to so far.

    Attributes:
        total_bytes: Bytes of all of them; the limit is one for the request, not for each.
        files: Number of files in all zips, likewise.
    """

    total_bytes: int = 0
    files: int = 0


class RefusalError(TumortraceError):
    """A request that is not answered as it was meant to be.

    Attributes:
        status: HTTP status.
        limit: Name of the limit that was exceeded; empty if it was none.
        retry_after_s: Seconds after which the client may try again; None if trying again is no use.
    """

    def __init__(self, status: int, text: str, *, limit: str = "", retry_after_s: int | None = None) -> None:
        """Describe a refusal.

        Args:
            status: HTTP status.
            text: One line: what is wrong, what was given, what to do.
            limit: Name of the limit that was exceeded.
            retry_after_s: Seconds after which the client may try again.
        """
        super().__init__(text)
        self.status = status
        self.limit = limit
        self.retry_after_s = retry_after_s


def refuse_disk(error: OSError) -> RefusalError:
    """Return the refusal of a server that cannot keep the files of a request.

    Args:
        error: Error of the disk.
    """
    text = f"the server cannot keep the files of the request ({error.strerror or error}); try again later"
    return RefusalError(503, text, limit="disk", retry_after_s=30)
