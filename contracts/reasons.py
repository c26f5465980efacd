"""The closed list of reasons for which an observation or a message goes to quarantine, with its labels."""

from enum import StrEnum


class Reason(StrEnum):
    MALFORMED_HEADER = "malformed_header"
    MALFORMED_BODY = "malformed_body"
    TOO_LARGE = "too_large"
    COUNT_MISMATCH = "count_mismatch"
    UNKNOWN_MUNICIPALITY = "unknown_municipality"
    UNKNOWN_AGENT = "unknown_agent"
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_DEVICE = "unknown_device"
    FOREIGN_DEVICE = "foreign_device"
    KIND_MISMATCH = "kind_mismatch"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_PROPERTY = "unknown_property"
    UNKNOWN_VALUE = "unknown_value"
    IMPLAUSIBLE_VALUE = "implausible_value"
    TOO_FAR_AHEAD = "too_far_ahead"
    TOO_LONG_AGO = "too_long_ago"
    REFUSED_BY_DATABASE = "refused_by_database"


LABELS: dict[Reason, dict[str, str]] = {
    Reason.MALFORMED_HEADER: {"en": "Message cannot be read", "ko": "메시지를 읽을 수 없음"},
    Reason.MALFORMED_BODY: {"en": "Batch cannot be decoded", "ko": "배치를 해독할 수 없음"},
    Reason.TOO_LARGE: {"en": "Message too large", "ko": "메시지가 너무 큼"},
    Reason.COUNT_MISMATCH: {"en": "Not as many observations as announced", "ko": "알린 관측 수와 다름"},
    Reason.UNKNOWN_MUNICIPALITY: {"en": "Unknown municipality", "ko": "알 수 없는 지자체"},
    Reason.UNKNOWN_AGENT: {"en": "Unknown agent", "ko": "알 수 없는 에이전트"},
    Reason.UNKNOWN_KIND: {"en": "Unknown kind of device", "ko": "알 수 없는 장치 종류"},
    Reason.UNKNOWN_DEVICE: {"en": "Device is not registered", "ko": "등록되지 않은 장치"},
    Reason.FOREIGN_DEVICE: {"en": "Device of another municipality", "ko": "다른 지자체의 장치"},
    Reason.KIND_MISMATCH: {"en": "Device is of another kind", "ko": "장치 종류가 다름"},
    Reason.WRONG_TYPE: {"en": "Value of the wrong type", "ko": "값의 형식이 잘못됨"},
    Reason.UNKNOWN_PROPERTY: {"en": "Unknown property", "ko": "알 수 없는 속성"},
    Reason.UNKNOWN_VALUE: {"en": "Value is not one of the kind's", "ko": "정의되지 않은 값"},
    Reason.IMPLAUSIBLE_VALUE: {"en": "Value outside the plausible range", "ko": "있을 수 없는 값"},
    Reason.TOO_FAR_AHEAD: {"en": "Time lies in the future", "ko": "시각이 미래임"},
    Reason.TOO_LONG_AGO: {"en": "Time lies too long ago", "ko": "시각이 너무 오래됨"},
    Reason.REFUSED_BY_DATABASE: {"en": "Refused by the database", "ko": "데이터베이스가 거부함"},
}
