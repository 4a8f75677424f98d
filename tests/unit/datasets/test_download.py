"""Downloads against a server on this machine: broken, wrong, evil, and from a mirror."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from disks import limited
from gnnip.datasets import download, published
from gnnip.datasets.download import RemoteFile, fetch, git_blob, unpack
from gnnip.errors import ConfigError, DataError

CONTENT = np.random.default_rng(0).bytes(600_000)
RECORD = "https://doi.org/10.0/none"


@dataclass
class Site:
    """A server of files that can be told to misbehave."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)  #: bytes sent before the line is cut
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    ranges: bool = True
    tag: str = '"one"'
    requests: list[str] = field(default_factory=list)  #: the ranges that were asked for

    def file(self, name: str, content: bytes, checksum: str | None = None, **more: int):
        self.files[f"/{name}"] = content
        sum_ = checksum or f"sha256:{hashlib.sha256(content).hexdigest()}"
        return RemoteFile(name, f"{self.address}/{name}", sum_, RECORD, **more)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("GNNIP_MIRROR", raising=False)
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            site.requests.append(wanted)
            # a proxy is asked for the whole address
            content = site.files.get(re.sub(r"^http://[^/]+", "", self.path))
            if site.answers:
                status, headers = site.answers.pop(0)
                return self.reply(status, b"", headers)
            if content is None:
                return self.reply(404, b"", {})
            start = 0
            if site.ranges and wanted and self.headers.get("If-Range", site.tag) == site.tag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    return self.reply(416, b"", {})
            headers = {"ETag": site.tag}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.reply(206 if start else 200, content[start:], headers)

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if body and site.breaks:
                self.wfile.write(body[: site.breaks.pop(0)])
                self.close_connection = True
                return
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def get(file: RemoteFile, folder: Path, **options: object) -> Path:
    return fetch(file, folder, wait=0.01, progress=lambda _: None, **options)


# --- transfers ------------------------------------------------------------------------------------


def test_a_full_disk_is_named_and_the_rest_comes_when_there_is_room(site, tmp_path):
    file = site.file("a.bin", CONTENT)
    part = tmp_path / "a.bin.part"
    with limited(200_000), pytest.raises(DataError, match=f"^Could not write {part}: File too"):
        get(file, tmp_path)
    assert part.stat().st_size > 100_000
    assert get(file, tmp_path).read_bytes() == CONTENT
    assert site.requests[0] == ""
    assert site.requests[1].startswith("bytes=")


def test_a_file_is_downloaded_once(site, tmp_path):
    file = site.file("set/a.bin", CONTENT)
    assert get(file, tmp_path).read_bytes() == CONTENT
    assert get(file, tmp_path) == tmp_path / "set" / "a.bin"
    assert len(site.requests) == 1
    left = [p.name for p in (tmp_path / "set").iterdir() if not p.name.startswith(".")]
    assert left == ["a.bin"]


def test_a_broken_transfer_goes_on_where_it_stopped(site, tmp_path):
    site.breaks = [200_000, 150_000]
    assert get(site.file("a.bin", CONTENT), tmp_path).read_bytes() == CONTENT
    assert len(site.requests) == 3
    starts = [int(r.removeprefix("bytes=").removesuffix("-")) for r in site.requests[1:]]
    assert 0 < starts[0] <= 200_000 < starts[1] <= 350_000


def test_a_transfer_that_was_given_up_goes_on_in_the_next_call(site, tmp_path, monkeypatch):
    file = site.file("a.bin", CONTENT)
    site.breaks = [300_000]
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with pytest.raises(DataError, match=r"a\.bin cannot be downloaded.*run it again to go on"):
        get(file, tmp_path)
    part = (tmp_path / "a.bin.part").stat().st_size
    assert 0 < part <= 300_000
    assert get(file, tmp_path).read_bytes() == CONTENT
    assert site.requests[-1] == f"bytes={part}-"


def test_a_file_that_changed_meanwhile_is_begun_again(site, tmp_path, monkeypatch):
    file = site.file("a.bin", CONTENT)
    site.breaks = [300_000]
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with pytest.raises(DataError):
        get(file, tmp_path)
    other = CONTENT[::-1]
    new = site.file("a.bin", other)
    site.tag = '"two"'
    assert get(new, tmp_path).read_bytes() == other


def test_a_server_without_ranges_sends_all_again(site, tmp_path):
    site.ranges, site.breaks = False, [300_000]
    assert get(site.file("a.bin", CONTENT), tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(site, tmp_path):
    file = site.file("a.bin", CONTENT)
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    note = {"url": file.url, "validator": site.tag}
    (tmp_path / "a.bin.part.json").write_text(json.dumps(note))
    assert get(file, tmp_path).read_bytes() == CONTENT


def test_busy_servers_are_asked_again_and_no_more_often_than_they_like(site, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    site.answers = [(503, {}), (429, {"Retry-After": "7"}), (500, {}), (502, {})]
    assert fetch(site.file("a.bin", CONTENT), tmp_path, wait=1.0).read_bytes() == CONTENT
    assert waits == [1.0, 7.0, 4.0, 8.0]


def test_a_server_that_stays_busy_is_left_alone(site, tmp_path):
    site.answers = [(503, {})] * 20
    with pytest.raises(DataError, match=r"HTTP 503.*GNNIP_MIRROR"):
        get(site.file("a.bin", CONTENT), tmp_path)
    assert len(site.requests) == download.ATTEMPTS


def test_a_missing_file_is_not_asked_for_again(site, tmp_path):
    file = RemoteFile("b.bin", f"{site.address}/b.bin", "unknown", RECORD)
    with pytest.raises(DataError, match=r"b\.bin cannot be downloaded .*404"):
        get(file, tmp_path)
    assert len(site.requests) == 1


def test_no_connection(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    file = RemoteFile("b.bin", "http://127.0.0.1:9/b.bin", "unknown", RECORD)
    with pytest.raises(DataError, match=r"ConnectionError.*check the proxy.*GNNIP_MIRROR"):
        get(file, tmp_path)


def test_the_proxy_of_the_environment_is_used(site, tmp_path, monkeypatch):
    file = site.file("a.bin", CONTENT)
    monkeypatch.setenv("http_proxy", site.address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    away = RemoteFile("a.bin", "http://data.invalid/a.bin", file.checksum, RECORD)
    assert get(away, tmp_path).read_bytes() == CONTENT


def test_a_size_other_than_registered_stops_before_the_transfer(site, tmp_path):
    file = site.file("a.bin", CONTENT, size=10)
    with pytest.raises(DataError, match=r"has 600000 bytes for a\.bin, the registry says 10"):
        get(file, tmp_path)


# --- checksums ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "checksum", ["sha256:" + 64 * "0", "md5:" + 32 * "0", "git:" + 40 * "0"], ids=lambda c: c[:4]
)
def test_a_wrong_checksum_is_refused(site, tmp_path, checksum):
    file = site.file("a.bin", CONTENT, checksum)
    with pytest.raises(DataError, match=r"a\.bin does not have its checksum .*was not kept"):
        get(file, tmp_path)
    assert not (tmp_path / "a.bin").exists()


def test_every_kind_of_checksum_is_understood(site, tmp_path):
    (tmp_path / "b").write_bytes(CONTENT)
    for checksum in (
        f"md5:{hashlib.md5(CONTENT).hexdigest()}",
        f"git:{hashlib.sha1(b'blob 600000' + bytes(1) + CONTENT).hexdigest()}",
    ):
        assert get(site.file("a.bin", CONTENT, checksum), tmp_path).exists()
    # `printf 'hello\n' | git hash-object --stdin`
    (tmp_path / "c").write_bytes(b"hello\n")
    assert git_blob(tmp_path / "c") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_damaged_file_is_got_again(site, tmp_path):
    file = site.file("a.bin", CONTENT, f"git:{git_blob(_written(tmp_path / 'b', CONTENT))}")
    get(file, tmp_path).write_bytes(b"damaged")
    assert get(file, tmp_path).read_bytes() == CONTENT


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_an_unknown_checksum_must_be_confirmed_once(site, tmp_path):
    file = site.file("a.bin", CONTENT, "unknown")
    found = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(
        DataError, match=rf"600000 bytes and SHA-256 {found}; compare with {RECORD}"
    ):
        get(file, tmp_path)
    with pytest.raises(DataError, match="does not begin with 'abcdef01'"):
        get(file, tmp_path, confirm="abcdef01")
    assert get(file, tmp_path, confirm=found[:16]).exists()
    assert len(site.requests) == 1
    assert get(file, tmp_path).exists()
    # from now on it is a checksum like any other
    (tmp_path / "a.bin").unlink()
    site.file("a.bin", CONTENT[:-1] + b"x")
    with pytest.raises(DataError, match="does not have its checksum"):
        get(file, tmp_path)


@pytest.mark.parametrize(
    ("checksum", "message"),
    [
        ("sha1:00", "unknown kind"),
        ("sh256:00", "did you mean 'sha256'"),
        ("sha256:00", "needs 64 hexadecimal digits"),
        ("md5:" + 32 * "G", "needs 32 hexadecimal digits"),
    ],
)
def test_checksums_have_a_form(checksum, message):
    with pytest.raises(DataError, match=message):
        download.check_form(checksum)


# --- mirror and repositories ----------------------------------------------------------------------


def test_a_mirror_folder_needs_no_network(tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    (mirror / "set").mkdir(parents=True)
    (mirror / "set" / "a.bin").write_bytes(CONTENT)
    monkeypatch.setenv("GNNIP_MIRROR", str(mirror))
    checksum = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    for name, url in (("one", None), ("two", "http://127.0.0.1:9/a.bin"), ("three", "doi:10.0/x")):
        file = RemoteFile("set/a.bin", url, checksum, RECORD)
        assert get(file, tmp_path / name).read_bytes() == CONTENT
    (mirror / "set" / "a.bin").write_bytes(b"wrong")
    with pytest.raises(DataError, match="does not have its checksum"):
        get(file, tmp_path / "four")


def test_a_mirror_can_be_an_address(site, tmp_path, monkeypatch):
    file = site.file("set/a.bin", CONTENT)
    monkeypatch.setenv("GNNIP_MIRROR", site.address + "/")
    away = RemoteFile("set/a.bin", "http://127.0.0.1:9/a.bin", file.checksum, RECORD)
    assert get(away, tmp_path).read_bytes() == CONTENT


def test_a_file_without_address_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("GNNIP_MIRROR", raising=False)
    with pytest.raises(DataError, match=f"fetch it by hand from {RECORD} and put it into"):
        get(RemoteFile("a.bin", None, "unknown", RECORD), tmp_path)


def test_a_doi_is_resolved_by_its_repository(site, tmp_path, monkeypatch):
    file = site.file("a.bin", CONTENT)

    class Repository:
        def download_url(self, name: str) -> str:
            if name != "a.bin":
                raise ValueError(f"File '{name}' not found in data archive")
            return f"{site.address}/{name}"

    asked = []
    monkeypatch.setattr(
        "pooch.downloaders.doi_to_repository", lambda doi: asked.append(doi) or Repository()
    )
    by_doi = RemoteFile("set/a.bin", "doi:10.5281/zenodo.1", file.checksum, RECORD)
    assert get(by_doi, tmp_path).read_bytes() == CONTENT
    assert asked == ["10.5281/zenodo.1"]
    with pytest.raises(DataError, match=r"b\.bin was not found in the repository behind doi:10"):
        get(RemoteFile("b.bin", "doi:10.5281/zenodo.1", "unknown", RECORD), tmp_path)


# --- archives -------------------------------------------------------------------------------------


def tar(path: Path, members: dict[str, bytes | str], mode: str = "w:gz") -> Path:
    """Write a tar archive; a string is the target of a symbolic link."""
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, members: dict[str, bytes | str]) -> Path:
    """Write a zip archive; a string is the target of a symbolic link."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            if isinstance(content, str):
                info.external_attr = 0o120777 << 16
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize("make", [tar, zipped])
def test_members_are_unpacked_once(tmp_path, make):
    path = make(tmp_path / "a.archive", {"d/x.data": b"one", "d/y.data": b"two", "z": b"three"})
    one, two = unpack(path, ["d/*.data"])
    assert (one.read_bytes(), two.read_bytes()) == (b"one", b"two")
    assert one.parent.parent.name.startswith("a.archive-")
    assert len(list(one.parent.parent.rglob("*"))) == 3
    before = one.stat().st_mtime_ns
    assert unpack(path, ["d/x.data"]) == [one]
    assert one.stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"has no file 'd/v\.data', did you mean 'd/[xy]\.data'"):
        unpack(path, ["d/v.data"])


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize(
    "evil",
    [
        {"../evil": b"x"},
        {"d/../../evil": b"x"},
        {"/tmp/evil": b"x"},
        {"..\\evil": b"x"},
        {"link": "/etc/passwd"},
        {"d/link": "../../evil"},
    ],
    ids=lambda e: next(iter(e)),
)
def test_members_outside_of_the_folder_are_refused(tmp_path, make, evil):
    path = make(tmp_path / "a.archive", {"good.data": b"good", **evil})
    with pytest.raises(
        DataError, match=r"would be written outside its folder; .*nothing was unpacked"
    ):
        unpack(path, ["good.data"])
    assert [p.name for p in tmp_path.rglob("*")] == ["a.archive"]


def test_links_and_devices_are_never_unpacked(tmp_path):
    path = tar(tmp_path / "a.tar", {"good.data": b"good", "link.data": "good.data"}, "w")
    with tarfile.open(path, "a") as archive:
        device = tarfile.TarInfo("device.data")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    assert [p.name for p in unpack(path, ["*.data"])] == ["good.data"]


def test_damaged_archives_are_named(tmp_path):
    path = tar(tmp_path / "a.tgz", {"a.data": CONTENT})
    path.write_bytes(path.read_bytes()[:300_000])
    with pytest.raises(DataError, match=r"a\.tgz is damaged or not a zip or tar archive"):
        unpack(path, ["*"])
    with pytest.raises(DataError, match="is damaged or not a zip or tar archive"):
        unpack(_written(tmp_path / "b.zip", b"no archive"), ["*"])
    assert not list(tmp_path.rglob("*.data"))


# --- a whole set ----------------------------------------------------------------------------------

RUNNER = """begin
atom 0 0 0 H 0.0 0.0 0.1 0 0
atom 1.4 0 0 H 0.0 0.0 -0.1 0 0
energy -1.1
charge 0.0
end
"""


def registry(path: Path, **entry: object) -> Path:
    """Write a registry with one published set, in JSON, which is YAML."""
    file = {"name": "h2/h2.tgz", "checksum": "unknown", "members": ["*/input.data"]}
    files = [{**file, **entry.pop("file", {})}]  # type: ignore[dict-item]
    whole = {
        "title": "Hydrogen",
        "doi": "10.0/h2",
        "record": RECORD,
        "licence": "CC0-1.0",
        "level": "none",
        "files": files,
        "frames": {"format": "runner"},
        **entry,
    }
    path.write_text(json.dumps({"h2": whole}), encoding="utf-8")
    return path


def test_a_published_set_from_server_to_archive(site, tmp_path, monkeypatch):
    monkeypatch.setenv("GNNIP_DOWNLOADS", str(tmp_path / "downloads"))
    content = tar(tmp_path / "made.tgz", {"sets/h2/input.data": RUNNER.encode()}).read_bytes()
    site.breaks = [100]
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    file = site.file("h2/h2.tgz", content)
    path = registry(
        tmp_path / "published.yaml", file={"url": file.url, "checksum": file.checksum}, n_frames=1
    )
    out = tmp_path / "h2.h5"
    report = published.import_published("h2", out, path=path, progress=lambda _: None)
    assert (report.n_kept, report.n_atoms) == (1, 2)
    from gnnip import datasets

    (atoms,) = datasets.load(out)
    assert atoms.get_potential_energy() == pytest.approx(-1.1 * 27.211386, rel=1e-7)
    path = registry(path, file={"url": file.url, "checksum": file.checksum}, n_frames=2)
    with pytest.raises(DataError, match="1 frames were read where the registry says 2"):
        published.import_published("h2", out, path=path, progress=lambda _: None)


def test_mistakes_in_the_registry_are_named(tmp_path):
    for entry, message in (
        ({"file": {"checksum": "sha256:12"}}, "needs 64 hexadecimal digits"),
        ({"licnce": "x"}, "h2: unknown key 'licnce', did you mean 'licence'"),
        ({"frames": {"format": "runer"}}, "frames.format: input should be"),
    ):
        with pytest.raises(ConfigError, match=message):
            published.load_published(registry(tmp_path / "published.yaml", **entry))
    with pytest.raises(DataError, match="No published data set is called 'h3', did you mean 'h2'"):
        published.find_published("h3", registry(tmp_path / "published.yaml"))
    with pytest.raises(DataError, match=r"gone\.yaml does not exist"):
        published.load_published(tmp_path / "gone.yaml")


def test_the_shipped_registry_is_complete():
    sets = published.load_published()
    assert {"ean", "ani", "hfo2", "au_mgo"} <= set(sets)
    names = [file.name for entry in sets.values() for file in entry.files]
    assert len(names) == len(set(names)), "two sets would overwrite each other's files"
    for name, entry in sets.items():
        assert entry.licence, name
        assert entry.record.startswith("https://"), name
        # units are stated, never left to a convention
        stated = entry.frames.units
        assert stated.length, name
        assert stated.energy, name
        assert stated.forces or entry.frames.forces is False, name
    table = published.describe_published()
    assert table["name"].tolist() == sorted(sets)
    assert set(table["checksum"]) == {"known", "to confirm"}
