"""Settings of the review page."""

from __future__ import annotations

import ipaddress
import re

from pydantic import Field, model_validator

from tamis.types import Config

OPEN = "none"
TOKEN = re.compile(r"[!-~]{12,}")


class ReviewConfig(Config):
    """Where the page is served, who may open it, and what it shows."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8765, ge=0, le=65535, description="port; 0 takes a free one")
    token: str | None = Field(
        None, description="what opens the page: drawn at random unless given; none: nothing"
    )
    reviewer: str | None = Field(None, description="who judges unless a browser names another")
    blind: bool = Field(False, description="hide labels and votes, and shuffle the sides")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the page."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    @model_validator(mode="after")
    def _guarded(self) -> ReviewConfig:
        if self.token == OPEN and not self.is_loopback:
            raise ValueError(
                f"token none would open the page to everybody who can reach {self.host}; "
                "it is allowed on 127.0.0.1 only"
            )
        if self.token not in (None, OPEN) and not TOKEN.fullmatch(self.token or ""):
            raise ValueError(
                "token: expected 12 or more letters, digits or signs of ASCII without spaces"
            )
        return self
