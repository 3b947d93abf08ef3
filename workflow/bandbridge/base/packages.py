"""Versions of installed packages."""

from importlib.metadata import PackageNotFoundError, version


def installed_version(name: str) -> str | None:
    """A package's version; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def installed_versions(*names: str) -> dict[str, str]:
    """Package -> version, of those that are installed."""
    versions = {name: installed_version(name) for name in names}
    return {name: stated for name, stated in versions.items() if stated is not None}
