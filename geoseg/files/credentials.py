"""How cloud stores are reached: the variables and profiles of the environment, for obstore and for GDAL alike.

obstore takes AWS_*, GOOGLE_* and AZURE_* variables by itself, and the credentials of the machine it runs on. It knows
neither the profiles of the AWS tools nor all names that GDAL knows; these are translated here.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from geoseg.errors import SettingError

_PROFILE = {
    "aws_access_key_id": "access_key_id", "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token", "region": "region", "endpoint_url": "endpoint",
}  # fmt: skip
"""Name in the files of the AWS tools -> name of obstore's."""


def store_options(scheme: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings of a store and of its client that obstore does not find by itself.

    Args:
        scheme: s3, gs or az.

    Raises:
        SettingError: AWS_PROFILE names a profile that the files of the AWS tools do not have.
    """
    if scheme != "s3":
        return {}, {}
    config = {} if os.environ.get("AWS_ACCESS_KEY_ID") else _profile()
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or config.get("endpoint")
    if endpoint:
        config["endpoint"] = endpoint
    # Whoever writes http:// wants it; obstore asks for a variable of its own.
    plain = bool(endpoint and endpoint.lower().startswith("http://"))
    return config, {"allow_http": plain or os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes")}


def gdal_options() -> dict[str, str]:
    """Return GDAL's options for the server that AWS_ENDPOINT_URL names; empty where that is not set."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint or "AWS_S3_ENDPOINT" in os.environ:
        return {}
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    options = {
        "AWS_S3_ENDPOINT": f"{parts.netloc}{parts.path}".rstrip("/"),
        "AWS_HTTPS": "NO" if parts.scheme == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }
    return {name: value for name, value in options.items() if name not in os.environ}


def _profile() -> dict[str, Any]:
    """What the files of the AWS tools say of the profile in use."""
    named = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    name = named or "default"
    files = {
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"): name,
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"): name if name == "default" else f"profile {name}",
    }
    found: dict[str, Any] = {}
    known = False
    for file, section in files.items():
        parser = configparser.RawConfigParser()
        try:
            parser.read(Path(file).expanduser())
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            raise SettingError(f"{file}: cannot be read; repair it, or set AWS_ACCESS_KEY_ID instead") from error
        if parser.has_section(section):
            known = True
            found |= {ours: parser.get(section, theirs) for theirs, ours in _PROFILE.items()
                      if parser.has_option(section, theirs)}  # fmt: skip
    if named and not known:
        raise SettingError(f"AWS_PROFILE: there is no profile {named} in {' or '.join(files)}")
    if os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        found.pop("region", None)
    return found
