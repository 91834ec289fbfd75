//! What the configuration says of packs.

use std::ops::RangeInclusive;

use gitback_pack::{Bound, Limits, Reject};

use super::{ConfigError, Raw, within};

/// The field that says how much there may be.
pub(crate) const fn field(bound: Bound) -> &'static str {
    match bound {
        Bound::Input => "pack_max_bytes",
        Bound::Objects => "pack_max_objects",
        Bound::Unpacked => "pack_max_unpacked_bytes",
        Bound::DeltaDepth => "pack_max_delta_depth",
        Bound::ProcessorTime => "pack_max_cpu_seconds",
        Bound::Memory => "pack_max_memory_bytes",
    }
}

/// Why a pack is refused, with the field that says so and what it says. A limit that is not the configuration's own, such
/// as what is left of one catch-up, is left as it is.
pub(crate) fn over(reject: &Reject, limits: &Limits) -> String {
    let Reject::OverLimit { bound, limit } = reject else {
        return reject.to_string();
    };
    let set = limits.of(*bound);
    match bound {
        Bound::ProcessorTime if *limit < set => format!(
            "{reject} ({} = {set}, of which a small pack gets less)",
            field(*bound)
        ),
        _ if *limit == set => format!("{reject} ({} = {set})", field(*bound)),
        _ => reject.to_string(),
    }
}

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
            field(Bound::Input),
            raw.pack_max_bytes,
            default.input_bytes,
            BYTES,
        )?,
        objects: within(
            field(Bound::Objects),
            raw.pack_max_objects,
            default.objects,
            16..=u32::MAX,
        )?,
        unpacked_bytes: within(
            field(Bound::Unpacked),
            raw.pack_max_unpacked_bytes,
            default.unpacked_bytes,
            UNPACKED,
        )?,
        delta_depth: within(
            field(Bound::DeltaDepth),
            raw.pack_max_delta_depth,
            default.delta_depth,
            50..=1_000_000,
        )?,
        cpu_seconds: within(
            field(Bound::ProcessorTime),
            raw.pack_max_cpu_seconds,
            default.cpu_seconds,
            CPU_SECONDS,
        )?,
        memory_bytes: within(
            field(Bound::Memory),
            raw.pack_max_memory_bytes,
            default.memory_bytes,
            MEMORY,
        )?,
        min_free_percent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_field_and_what_it_says() {
        let limits = Limits::default();
        let over = |bound, limit| over(&Reject::OverLimit { bound, limit }, &limits);
        assert_eq!(
            over(Bound::Memory, 2 << 30),
            "the pack takes more than 2147483648 bytes of memory (pack_max_memory_bytes = 2147483648)"
        );
        assert_eq!(
            over(Bound::ProcessorTime, 60),
            "the pack takes more than 60 seconds of processor time (pack_max_cpu_seconds = 900, of which a small pack gets less)"
        );
        assert_eq!(
            over(Bound::ProcessorTime, 900),
            "the pack takes more than 900 seconds of processor time (pack_max_cpu_seconds = 900)"
        );
        // What is left of a catch-up, say.
        assert_eq!(
            over(Bound::Input, 1000),
            "the pack is larger than 1000 bytes"
        );
        for bound in [
            Bound::Input,
            Bound::Objects,
            Bound::Unpacked,
            Bound::DeltaDepth,
        ] {
            let said = over(bound, limits.of(bound));
            assert!(said.contains(field(bound)), "{said}");
        }
    }
}
