"""Column types shared by the tables."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, String
from sqlalchemy.types import TypeDecorator

ResourceId = String(40)
AccountId = String(12)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime stored as whole milliseconds since 1970, alike in every database and cheap to compare."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        """Turn an aware datetime into milliseconds."""
        del dialect
        return None if value is None else round(value.timestamp() * 1000)

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        """Turn milliseconds into an aware datetime."""
        del dialect
        return None if value is None else datetime.fromtimestamp(value / 1000, UTC)
