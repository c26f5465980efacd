"""The towns that fleets are laid out in: real places and street names; the streets' lines are drawn by `streets`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class District:
    """A built-up part of a town: its centre, and how its streets lie (degrees clockwise from north)."""

    ko: str
    en: str
    latitude: float
    longitude: float
    bearing_deg: float


@dataclass(frozen=True)
class Town:
    """A municipality that can be simulated."""

    code: str
    ko: str
    en: str
    latitude: float
    longitude: float
    share: float  # of the fleet's devices
    districts: tuple[District, ...]  # in the order in which a growing fleet reaches them; far enough apart to grow
    streets: tuple[tuple[str, str], ...]  # main streets, (Korean, romanised)
    time_zone: str = "Asia/Seoul"


TOWNS: dict[str, Town] = {
    town.code: town
    for town in (
        Town(
            "41280",
            "고양시",
            "Goyang-si",
            37.6583,
            126.8320,
            0.5,
            (
                District("정발산", "Jeongbalsan", 37.6590, 126.7725, 136),
                District("화정", "Hwajeong", 37.6346, 126.8327, 8),
                District("삼송", "Samsong", 37.6531, 126.8955, 30),
            ),
            (
                ("중앙로", "Jungang-ro"),
                ("정발산로", "Jeongbalsan-ro"),
                ("호수로", "Hosu-ro"),
                ("일산로", "Ilsan-ro"),
                ("강송로", "Gangsong-ro"),
                ("백마로", "Baengma-ro"),
                ("무궁화로", "Mugunghwa-ro"),
                ("대화로", "Daehwa-ro"),
                ("화신로", "Hwasin-ro"),
                ("고양대로", "Goyang-daero"),
                ("권율대로", "Gwonyul-daero"),
                ("충장로", "Chungjang-ro"),
            ),
        ),
        Town(
            "41480",
            "파주시",
            "Paju-si",
            37.7599,
            126.7799,
            0.27,
            (
                District("운정", "Unjeong", 37.7165, 126.7450, 28),
                District("금촌", "Geumchon", 37.7580, 126.7760, 15),
                District("문산", "Munsan", 37.8560, 126.7880, 5),
            ),
            (
                ("경의로", "Gyeongui-ro"),
                ("와석순환로", "Waseoksunhwan-ro"),
                ("가람로", "Garam-ro"),
                ("미래로", "Mirae-ro"),
                ("금릉역로", "Geumneungyeok-ro"),
                ("새꽃로", "Saekkot-ro"),
                ("문산로", "Munsan-ro"),
                ("교하로", "Gyoha-ro"),
                ("책향기로", "Chaekhyanggi-ro"),
                ("한빛로", "Hanbit-ro"),
            ),
        ),
        Town(
            "41570",
            "김포시",
            "Gimpo-si",
            37.6152,
            126.7156,
            0.23,
            (
                District("장기", "Janggi", 37.6450, 126.6690, 62),
                District("사우", "Sau", 37.6180, 126.7180, 50),
                District("통진", "Tongjin", 37.6900, 126.5990, 18),
            ),
            (
                ("김포한강로", "Gimpohangang-ro"),
                ("태장로", "Taejang-ro"),
                ("김포대로", "Gimpo-daero"),
                ("사우중로", "Saujung-ro"),
                ("돌문로", "Dolmun-ro"),
                ("풍무로", "Pungmu-ro"),
                ("김포한강4로", "Gimpohangang 4-ro"),
                ("걸포로", "Geolpo-ro"),
                ("양도로", "Yangdo-ro"),
            ),
        ),
    )
}
