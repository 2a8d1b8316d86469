"""What the machine did beside a round, and its energy, read from files as several kinds of machine write them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgephi_bench.measure import machine_state, system_files
from edgephi_bench.measure.condition import Condition
from edgephi_bench.measure.energy import EnergyMeter
from edgephi_bench.measure.machine_state import MachineState, MachineWatch, busy_warning, clock_mhz, temperature_celsius
from edgephi_bench.measure.observer import Observer, Round


def _write(root: Path, files: dict[str, object]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")


def _process(root: Path, number: int, parent: int, ticks: int, name: str = "a (b) c") -> None:
    fields = ["S", str(parent), *["0"] * 9, str(ticks), "0", "0", "0", "0"]
    _write(root, {f"proc/{number}/stat": f"{number} ({name}) {' '.join(fields)}"})


def _machine(root: Path, busy: int, idle: int, stolen: int = 0) -> None:
    _write(
        root, {"proc/stat": f"cpu  {busy} 0 0 {idle} 7 0 0 {stolen} 0 0\ncpu0 1 2 3", "proc/loadavg": "1.50 1 1 1/2 3"}
    )


def test_others_work_is_all_work_less_ours_and_our_childrens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr("os.sysconf", lambda _: 100)
    _machine(tmp_path, 1000, 5000)
    for number, parent in ((10, 1), (11, 10), (12, 11), (20, 1)):
        _process(tmp_path, number, parent, 50)
    watch = MachineWatch(tmp_path, 10)
    watch.start()
    now[0] += 2.0
    _machine(tmp_path, 1000 + 300, 5000, 40)  # 3 s of work; the grandchild did 1.4 of them, a stranger the rest
    _process(tmp_path, 12, 11, 50 + 140)
    _process(tmp_path, 20, 1, 50 + 160)
    found = watch.stop()
    assert found.others == pytest.approx(0.8)
    assert found.stolen == pytest.approx(0.2)
    assert found.load == 1.5


def test_a_moment_is_too_short_to_see_who_worked(tmp_path: Path) -> None:
    _machine(tmp_path, 1000, 5000)
    watch = MachineWatch(tmp_path, 10)
    watch.start()
    assert watch.stop().others is None


def test_this_machine_counts_our_own_work_as_ours() -> None:
    watch = MachineWatch()
    watch.start()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    mine = watch._own_ticks()
    assert mine > 0
    found = watch.stop()
    assert found.others is None or found.others >= 0


def test_a_machine_that_reports_nothing_is_no_error(tmp_path: Path) -> None:
    watch = MachineWatch(tmp_path)
    watch.start()
    assert watch.stop() == MachineState()
    assert EnergyMeter(tmp_path).source is None


@pytest.mark.parametrize(
    ("files", "mhz"),
    [
        ({"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": 1_800_000,
          "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": 2_400_000}, 2100.0),
        ({"proc/cpuinfo": "cpu MHz\t\t: 2596.134\nflags\t: x\ncpu MHz\t\t: 2600.000"}, 2598.067),
        ({"proc/cpuinfo": "BogoMIPS\t: 108.00"}, None),
    ],
)  # fmt: skip
def test_the_clock_is_what_the_governor_or_the_processor_reports(
    tmp_path: Path, files: dict[str, object], mhz: float | None
) -> None:
    _write(tmp_path, files)
    assert clock_mhz(tmp_path) == (None if mhz is None else pytest.approx(mhz))


@pytest.mark.parametrize(
    ("files", "celsius"),
    [
        ({"sys/class/thermal/thermal_zone0/temp": 45_000, "sys/class/thermal/thermal_zone1/temp": 61_500}, 61.5),
        ({"sys/class/thermal/thermal_zone0/temp": -274_000, "sys/class/hwmon/hwmon3/temp1_input": 52_250}, 52.25),
        ({"sys/class/thermal/thermal_zone0/temp": ""}, None),
    ],
)
def test_the_temperature_is_the_warmest_plausible_sensors(
    tmp_path: Path, files: dict[str, object], celsius: float | None
) -> None:
    _write(tmp_path, files)
    assert temperature_celsius(tmp_path) == celsius


def test_others_that_compute_are_warned_of_and_a_quiet_machine_is_not() -> None:
    quiet = [MachineState(others=0.02, stolen=0.0)] * 5
    assert busy_warning([], 2) is None
    assert busy_warning([*quiet, MachineState()], 2) is None
    warning = busy_warning([*quiet, MachineState(others=1.2, stolen=0.1)], 2)
    assert warning is not None
    assert "1 of 6 rounds, on 1.3 of 2 processors" in warning
    taken = busy_warning([MachineState(others=0.0, stolen=0.5)], 2)  # by the host of a virtual machine
    assert taken is not None
    assert "on 0.5 of 2 processors" in taken


_RAPL = "sys/class/powercap/intel-rapl:"


def _rapl(root: Path, first: int, second: int) -> None:
    files: dict[str, object] = {}
    for folder, name, value in (
        ("0", "package-0", first), ("1", "package-1", second), ("2", "psys", 10 * first), ("0:0", "core", first),
    ):  # fmt: skip
        files |= {f"{_RAPL}{folder}/name": name, f"{_RAPL}{folder}/energy_uj": value}
        files[f"{_RAPL}{folder}/max_energy_range_uj"] = 262_143_328_850
    _write(root, files)


class _FakeTimer:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_packages_are_added_and_what_is_in_them_is_not_counted_twice(tmp_path: Path) -> None:
    _rapl(tmp_path, 1_000_000, 5_000_000)
    clock = _FakeTimer()
    meter = EnergyMeter(tmp_path, clock)
    assert meter.source == "RAPL package-0 + package-1"
    meter.start()
    _rapl(tmp_path, 3_000_000, 5_500_000)
    clock.now += 1
    assert meter.stop() == pytest.approx(2.5)


def test_a_counter_that_begins_again_is_no_loss_of_energy(tmp_path: Path) -> None:
    _rapl(tmp_path, 262_143_328_850 - 1_000_000, 0)
    clock = _FakeTimer()
    meter = EnergyMeter(tmp_path, clock)
    meter.start()
    _rapl(tmp_path, 2_000_000, 0)
    clock.now += 1
    assert meter.stop() == pytest.approx(3.0)


def test_counters_for_root_only_are_named_and_give_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _rapl(tmp_path, 1, 1)
    read = system_files.text_in
    monkeypatch.setattr(system_files, "text_in", lambda path: "" if path.name == "energy_uj" else read(path))
    meter = EnergyMeter(tmp_path)
    assert meter.source is None
    assert meter.reason == "RAPL's counters may be read by root only"
    meter.start()
    assert meter.stop() is None


def test_a_span_that_a_counter_cannot_resolve_gives_nothing(tmp_path: Path) -> None:
    _rapl(tmp_path, 1, 1)
    meter = EnergyMeter(tmp_path, _FakeTimer())
    meter.start()
    assert meter.stop() is None


@pytest.mark.parametrize(
    ("files", "source", "watts"),
    [
        ({"sys/class/hwmon/hwmon2/name": "ina226", "sys/class/hwmon/hwmon2/power1_input": 7_500_000}, "ina226", 7.5),
        ({"sys/class/hwmon/hwmon1/name": "ina3221", "sys/class/hwmon/hwmon1/in1_input": 5_000,
          "sys/class/hwmon/hwmon1/curr1_input": 1_200}, "ina3221", 6.0),
        ({"sys/bus/iio/devices/iio:device0/name": "ina3221x", "sys/bus/iio/devices/iio:device0/in_power0_input": 4_250},
         "ina3221x", 4.25),
        ({"sys/class/power_supply/BAT0/type": "Battery", "sys/class/power_supply/BAT0/status": "Discharging",
          "sys/class/power_supply/BAT0/power_now": 9_000_000}, "battery BAT0", 9.0),
        ({"sys/class/power_supply/BAT1/type": "Battery", "sys/class/power_supply/BAT1/status": "Discharging",
          "sys/class/power_supply/BAT1/voltage_now": 12_000_000, "sys/class/power_supply/BAT1/current_now": -1_500_000},
         "battery BAT1", 18.0),
    ],
)  # fmt: skip
def test_a_sensors_watts_over_the_time_are_joules(
    tmp_path: Path, files: dict[str, object], source: str, watts: float
) -> None:
    _write(tmp_path, files)
    clock = _FakeTimer()
    meter = EnergyMeter(tmp_path, clock)
    assert meter.source == source
    meter.start()
    clock.now += 2.0
    assert meter.stop() == pytest.approx(2 * watts)
    meter.start()
    clock.now += 0.1  # shorter than a sensor's own average
    assert meter.stop() is None


@pytest.mark.parametrize(
    "state", [{"type": "Battery", "status": "Charging"}, {"type": "Mains", "status": "Discharging"}]
)
def test_a_battery_that_is_charged_and_a_plug_say_nothing_of_the_work(tmp_path: Path, state: dict[str, str]) -> None:
    folder = "sys/class/power_supply/X"
    _write(tmp_path, {f"{folder}/{name}": value for name, value in state.items()} | {f"{folder}/power_now": 1})
    assert EnergyMeter(tmp_path).source is None


def _round(number: int, mode: str = "vision", of: str = "image", amount: float = 1.0) -> Round:
    return Round(
        mode=mode, name="request", condition=Condition(kind="request"), number=number, amount=amount, amount_of=of
    )


def test_energy_becomes_joules_a_token_an_image_a_second_and_warm_ups_do_not_count(tmp_path: Path) -> None:
    _rapl(tmp_path, 0, 0)
    clock, total = _FakeTimer(), 0
    observer = Observer(watch=MachineWatch(tmp_path), meter=EnergyMeter(tmp_path, clock))
    for what, joules in (
        (_round(0), 50), (_round(1), 4), (_round(2), 6), (_round(1, "speech", "second of audio", 10.0), 20),
        (_round(1, "text", "token", 32.0), 64),
    ):  # fmt: skip
        with observer.round(what), observer.turn():
            total += joules
            _rapl(tmp_path, total * 1_000_000, 0)
            clock.now += 1
    figures = {figure.name: figure for figure in observer.energy_figures()}
    assert figures["energy per image"].samples == pytest.approx((4.0, 6.0))
    assert figures["energy per second of audio"].samples == pytest.approx((2.0,))
    assert figures["energy per token"].samples == pytest.approx((2.0,))
    assert {figure.unit for figure in figures.values()} == {"J"}
    assert len(observer.rounds) == 4


def test_a_round_that_fails_is_not_noted(tmp_path: Path) -> None:
    observer = Observer(watch=MachineWatch(tmp_path), meter=EnergyMeter(tmp_path))
    with pytest.raises(RuntimeError), observer.round(_round(1)):
        raise RuntimeError
    assert observer.rounds == []
    assert machine_state.BUSY_PROCESSORS > 0
