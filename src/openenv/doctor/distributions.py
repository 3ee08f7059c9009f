"""Which distributions own the files of this package, and whether another one has overwritten them.

Published releases come as `openenv` and as `openenv-core`, and both write into the folders `openenv` and
`openenv_core`. pip lets the second install overwrite files of the first without a word, and removing
either one then deletes files of both. Every wheel's `RECORD` holds the SHA-256 of what it installed, so
comparing the records with the files on disk tells whose code really runs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from openenv.doctor.findings import Finding, Status

HOME = Path(__file__).resolve().parents[1]
"""The folder of the `openenv` package whose code is running."""

_MARKER_FILE = "openenv/doctor/distributions.py"
_RECORD_LINE = re.compile(r"^((?:openenv|openenv_core)/[^,\n]+),(?:sha256=([\w-]+))?,", re.MULTILINE)
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)(?:;(.*))?$")


@dataclass(frozen=True, slots=True)
class Owner:
    """A distribution that claims files of our packages.

    Attributes:
        name: distribution name as its metadata spells it.
        version: its version.
        location: the folder its files are relative to.
        hashes: claimed path -> SHA-256 as in `RECORD`, empty where the record has none.
        source: the folder of an editable install, else None.
        requirement: what to give to pip to install the same again.
    """

    name: str
    version: str
    location: Path
    hashes: Mapping[str, str] = field(default_factory=dict)
    source: Path | None = None
    requirement: str = "openenv"

    @property
    def label(self) -> str:
        """Name and version, as pip prints them."""
        return f"{self.name} {self.version}"

    def is_home(self, home: Path) -> bool:
        """Whether this is the distribution that installed the running code."""
        if self.source is not None:
            return self.source == home or self.source in home.parents
        return _MARKER_FILE in self.hashes and self.location == home.parent


def running_version() -> str:
    """Version of the distribution whose code is running."""
    found = [owner.version for owner in owners(sys.path) if owner.is_home(HOME)]
    return found[0] if found else "unknown (not installed)"


def owners(search_path: Sequence[str]) -> list[Owner]:
    """Every distribution on `search_path` that claims files of our packages, in import order."""
    found = []
    for distribution in metadata.distributions(path=list(search_path)):
        name = distribution.metadata["Name"] or ""
        hashes = {
            path: digest or ""
            for path, digest in _RECORD_LINE.findall(distribution.read_text("RECORD") or "")
        }
        source, requirement = _origin(distribution)
        named_like_us = re.sub(r"[-_.]+", "-", name).lower() in ("openenv", "openenv-core")
        if hashes or named_like_us:
            location = Path(str(distribution.locate_file(""))).resolve()
            found.append(Owner(name, distribution.version, location, hashes, source, requirement))
    return found


def installation(search_path: Sequence[str] | None = None, home: Path = HOME) -> list[Finding]:
    """Findings about the installed package and about others that got in its way.

    Args:
        search_path: import path to look at; default `sys.path`.
        home: the package folder to examine.
    """
    path = list(sys.path if search_path is None else search_path)
    claims = owners(path)
    ours = next((owner for owner in claims if owner.is_home(home)), None)
    findings = [_own_finding(ours, home)]
    findings += [_foreign_finding(owner, ours, home) for owner in claims if owner is not ours]
    findings += _copies(path, home)
    return findings


def _own_finding(ours: Owner | None, home: Path) -> Finding:
    if ours is None:
        detail = f"runs from {home}, which no installed distribution owns"
        return Finding("installation", "openenv", Status.WARNING, detail, f"pip install -e {home.parents[1]}")
    if ours.source is not None:
        return Finding("installation", "openenv", Status.OK, f"{ours.version}, editable from {ours.source}")
    states = _compare(ours)
    changed = [path for path, state in states.items() if state != "same"]
    place = f"{ours.version} in {ours.location}"
    if not changed:
        return Finding("installation", "openenv", Status.OK, place)
    status = Status.PROBLEM if "missing" in states.values() else Status.WARNING
    detail = f"{place}: {_count(changed)} changed or missing since the installation"
    return Finding("installation", "openenv", status, detail, _reinstall(ours))


def _foreign_finding(owner: Owner, ours: Owner | None, home: Path) -> Finding:
    where = f"in {owner.location}"
    reinstall = f"pip uninstall -y {owner.name} && {_reinstall(ours)}"
    if owner.location == home.parent:
        theirs = [path for path, state in _compare(owner).items() if state == "same"]
        shared = set(theirs) & set(ours.hashes) if ours else set(theirs)
        overwritten = [path for path in theirs if path in shared and _differs(path, owner, ours)]
        if overwritten:
            detail = f"has overwritten {_count(overwritten)} of openenv {where}"
            return Finding("installation", owner.label, Status.PROBLEM, detail, reinstall)
        detail = f"claims {len(owner.hashes)} files {where}; removing it may delete files of openenv"
        return Finding("installation", owner.label, Status.WARNING, detail, reinstall)
    detail = f"also installed {where}; whichever comes first on the import path is used"
    return Finding("installation", owner.label, Status.WARNING, detail, f"pip uninstall -y {owner.name}")


def _copies(search_path: Iterable[str], home: Path) -> list[Finding]:
    """A finding per `openenv` package on the import path other than `home`."""
    folders = dict.fromkeys((Path(entry or ".") / "openenv").resolve() for entry in search_path)
    packages = [folder for folder in folders if (folder / "__init__.py").is_file()]
    found = []
    for folder in packages:
        if folder == home:
            continue
        before = home not in packages or packages.index(folder) < packages.index(home)
        status = Status.PROBLEM if before else Status.WARNING
        effect = f"is imported instead of {home}" if before else f"is hidden by {home}"
        fix = f"remove it, or take {folder.parent} off the import path (PYTHONPATH, working folder)"
        found.append(Finding("installation", str(folder), status, f"another package `openenv` {effect}", fix))
    return found


def extras(name: str = "openenv", search_path: Sequence[str] | None = None) -> list[Finding]:
    """One finding per optional extra of the running distribution, except those for development."""
    path = list(sys.path if search_path is None else search_path)
    candidates = [item for item in metadata.distributions(path=path) if item.metadata["Name"] == name]
    if not candidates:
        return []
    wanted = _requirements_by_extra(candidates[0].requires or [])
    declared = candidates[0].metadata.get_all("Provides-Extra") or []
    return [
        _extra_finding(name, extra, wanted[extra], path)
        for extra in declared
        if wanted.get(extra) and extra != "dev"
    ]


def _extra_finding(name: str, extra: str, requirements: list[tuple[str, str]], path: list[str]) -> Finding:
    present, missing = [], []
    for package, specifier in requirements:
        version = _installed_version(package, path)
        if version is None or not _satisfies(version, specifier):
            missing.append(f"{package}{specifier}" + (f" (installed: {version})" if version else ""))
        else:
            present.append(f"{package} {version}")
    if not missing:
        return Finding("extras", extra, Status.OK, ", ".join(present))
    detail = "not installed: " + ", ".join(missing)
    return Finding("extras", extra, Status.ABSENT, detail, f"pip install '{name}[{extra}]'")


def _requirements_by_extra(requires: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    table: dict[str, list[tuple[str, str]]] = {}
    for line in requires:
        match = _REQUIREMENT.match(line)
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", (match and match[3]) or "")
        if match and extra and match[1] != "openenv":
            table.setdefault(extra[1], []).append((match[1], match[2].strip()))
    return table


def _installed_version(package: str, path: list[str]) -> str | None:
    found = next(iter(metadata.distributions(name=package, path=path)), None)
    return found.version if found else None


def _satisfies(version: str, specifier: str) -> bool:
    """Lower bounds only: what our own metadata states."""
    return all(
        _numbers(version) >= _numbers(bound[2:])
        for bound in (part.strip() for part in specifier.split(","))
        if bound.startswith(">=")
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _compare(owner: Owner) -> dict[str, str]:
    """Claimed path -> `same`, `changed` or `missing`; compiled files and unhashed lines are left out."""
    states = {}
    for path, digest in owner.hashes.items():
        if not digest or path.endswith(".pyc"):
            continue
        file = owner.location / path
        states[path] = "missing" if not file.is_file() else "same" if _sha256(file) == digest else "changed"
    return states


def _differs(path: str, owner: Owner, ours: Owner | None) -> bool:
    return ours is None or ours.hashes.get(path) != owner.hashes.get(path)


def _sha256(file: Path) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode()


def _origin(distribution: metadata.Distribution) -> tuple[Path | None, str]:
    """The folder of an editable install, and the requirement that installs the distribution again."""
    direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    url = direct.get("url", "")
    if direct.get("dir_info", {}).get("editable"):
        folder = Path(unquote(urlsplit(url).path)).resolve()
        return folder, f"-e {folder}"
    if "vcs_info" in direct:
        vcs = direct["vcs_info"]
        return None, f"'{vcs['vcs']}+{url}@{vcs['commit_id']}'"
    return None, f"'{url}'" if url else f"'{distribution.name}=={distribution.version}'"


def _reinstall(ours: Owner | None) -> str:
    return f"pip install --force-reinstall --no-deps {ours.requirement if ours else 'openenv'}"


def _count(paths: Sequence[str]) -> str:
    first = ", ".join(sorted(paths)[:3]) + (", ..." if len(paths) > 3 else "")
    return f"{len(paths)} file{'s' if len(paths) != 1 else ''} ({first})"
