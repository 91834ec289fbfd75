//! What the configuration says of packs.

use std::ops::RangeInclusive;

use gitback_pack::Limits;

use super::{ConfigError, Raw, within};

/// How much one member may bring into a project; 0 stands for any number.
pub(super) fn of_one_member(given: Option<u64>) -> Result<Option<u64>, ConfigError> {
    const BYTES: RangeInclusive<u64> = 64 << 10..=1 << 50;
    let given = given.filter(|bytes| *bytes != 0);
    given
        .map(|bytes| within("member_max_bytes", Some(bytes), bytes, BYTES))
        .transpose()
}

/// What one pack may cost. Below the least values, no pack of an ordinary push would come in.
pub(super) fn limits(raw: &Raw, min_free_percent: u8) -> Result<Limits, ConfigError> {
    const BYTES: RangeInclusive<u64> = 64 << 10..=1 << 40;
    const UNPACKED: RangeInclusive<u64> = 64 << 10..=1 << 50;
    const MEMORY: RangeInclusive<u64> = 64 << 20..=1 << 40;
    const CPU_SECONDS: RangeInclusive<u64> = 1..=86_400;
    let default = Limits::default();
    Ok(Limits {
        input_bytes: within(
            "pack_max_bytes",
            raw.pack_max_bytes,
            default.input_bytes,
            BYTES,
        )?,
        objects: within(
            "pack_max_objects",
            raw.pack_max_objects,
            default.objects,
            16..=u32::MAX,
        )?,
        unpacked_bytes: within(
            "pack_max_unpacked_bytes",
            raw.pack_max_unpacked_bytes,
            default.unpacked_bytes,
            UNPACKED,
        )?,
        delta_depth: within(
            "pack_max_delta_depth",
            raw.pack_max_delta_depth,
            default.delta_depth,
            50..=1_000_000,
        )?,
        cpu_seconds: within(
            "pack_max_cpu_seconds",
            raw.pack_max_cpu_seconds,
            default.cpu_seconds,
            CPU_SECONDS,
        )?,
        memory_bytes: within(
            "pack_max_memory_bytes",
            raw.pack_max_memory_bytes,
            default.memory_bytes,
            MEMORY,
        )?,
        min_free_percent,
    })
}
