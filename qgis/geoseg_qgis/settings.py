"""The settings of the plugin, which QGIS keeps, and the geoseg that they choose."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from qgis.core import QgsApplication, QgsSettings

from .environment import find
from .runner import Geoseg

ENVIRONMENT = "geoseg/environment"
SOURCE = "geoseg/source"
INDEX = "geoseg/index"
CPU_ONLY = "geoseg/cpu_only"


def value(name: str, default: str = "") -> str:
    """Return a setting as text."""
    return str(QgsSettings().value(name, default) or "").strip()


def save(name: str, text: str) -> None:
    """Keep a setting."""
    QgsSettings().setValue(name, text)


def own_environment() -> Path:
    """The folder of the environment that the plugin makes: in the user's profile, never in QGIS's own Python."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "geoseg" / "environment"


def geoseg() -> Geoseg:
    """Return the geoseg that the settings choose.

    Raises:
        GeosegError: There is none; the text is one line for the user.
    """
    return find(value(ENVIRONMENT), own_environment(), proxy_variables())


def proxy_variables() -> dict[str, str]:
    """Return variables that name the proxy of QGIS's settings; none if QGIS has no proxy of its own."""
    settings = QgsSettings()
    host = value("proxy/proxyHost")
    kind = value("proxy/proxyType")
    if not settings.value("proxy/proxyEnabled", False, type=bool) or not host or kind == "DefaultProxy":
        return {}  # the system's proxy is in this process's variables already
    user, word = value("proxy/proxyUser"), value("proxy/proxyPassword")
    login = f"{quote(user, safe='')}:{quote(word, safe='')}@" if user else ""
    port = f":{value('proxy/proxyPort')}" if value("proxy/proxyPort") not in ("", "0") else ""
    scheme = "socks5" if kind == "Socks5Proxy" else "http"
    address = f"{scheme}://{login}{host}{port}"
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    return {**dict.fromkeys(names, address), "no_proxy": "localhost,127.0.0.1"}
