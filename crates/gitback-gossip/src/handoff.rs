//! Who passes a push on to whom, so that one uplink does not carry it to everybody.

use gitback_identity::EnvoyKey;

/// How many the sender of a push sends to itself, at the most.
pub const WIDTH: usize = 8;

/// Splits `targets` into those to send to, each with the list that it is to pass on to, as evenly as they go.
///
/// Everybody is named once, and nobody is sent to by two; the order of `targets` decides who is sent to directly, so
/// put those that are near and fast first. A receiver plans its own list in the same way: with a `width` of 8, a push
/// reaches 8 in one hop, 72 in two, 584 in three. A `width` of 0 counts as 1.
///
/// ```
/// use gitback_gossip::handoff::{WIDTH, plan};
/// use gitback_identity::{EnvoyKey, SecretKey};
///
/// let keys: Vec<EnvoyKey> =
///     (0..10).map(|seed| EnvoyKey::new(SecretKey::from_seed(&[seed; 32]).public())).collect();
/// let plan = plan(&keys, WIDTH);
/// assert_eq!(plan.len(), 8);
/// assert_eq!(plan[0], (keys[0], vec![keys[8]]));
/// assert_eq!(plan[1], (keys[1], vec![keys[9]]));
/// assert_eq!(plan[2], (keys[2], vec![]));
/// ```
#[must_use]
pub fn plan(targets: &[EnvoyKey], width: usize) -> Vec<(EnvoyKey, Vec<EnvoyKey>)> {
    let direct = width.clamp(1, targets.len().max(1)).min(targets.len());
    let (first, rest) = targets.split_at(direct);
    let list = |at: usize| rest.iter().skip(at).step_by(direct.max(1));
    let plan = first.iter().enumerate();
    plan.map(|(at, key)| (*key, list(at).copied().collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gitback_identity::SecretKey;
    use proptest::prelude::*;

    use super::*;

    fn keys(count: u16) -> Vec<EnvoyKey> {
        let key = |number: u16| {
            let mut seed = [0; 32];
            seed[..2].copy_from_slice(&number.to_be_bytes());
            EnvoyKey::new(SecretKey::from_seed(&seed).public())
        };
        (0..count).map(key).collect()
    }

    /// How many hops it took to whom, when all pass on what they are handed.
    fn spread(
        targets: &[EnvoyKey],
        width: usize,
        hop: usize,
        reached: &mut BTreeMap<EnvoyKey, usize>,
    ) {
        let plan = plan(targets, width);
        assert!(plan.len() <= width.max(1));
        let lists = plan.iter().map(|(_, list)| list.len());
        let (most, least) = (lists.clone().max(), lists.min());
        assert!(
            most.zip(least)
                .is_none_or(|(most, least)| most - least <= 1)
        );
        for (key, list) in plan {
            assert_eq!(reached.insert(key, hop), None, "reached twice");
            spread(&list, width, hop + 1, reached);
        }
    }

    #[test]
    fn nobody_is_no_plan() {
        assert_eq!(plan(&[], WIDTH), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn reaches_everybody_once_in_few_hops(count in 0_u16..700, width in 1_usize..12) {
            let targets = keys(count);
            let mut reached = BTreeMap::new();
            spread(&targets, width, 1, &mut reached);
            prop_assert_eq!(reached.len(), targets.len());
            // A tree of this width with this many hops holds at least as many, and one hop less would not do.
            let holds = |hops: u32| (1..=hops).map(|hop| width.pow(hop)).sum::<usize>();
            let hops = u32::try_from(reached.values().max().copied().unwrap_or(0)).expect("few");
            prop_assert!(holds(hops) >= targets.len());
            prop_assert!(hops == 0 || holds(hops - 1) < targets.len(), "{hops} hops");
        }
    }
}
