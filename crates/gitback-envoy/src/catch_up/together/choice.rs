//! Which packs are brought in, and who gives each of them.

use gitback_pack::{Offer, Oid};

/// What packs have to come to, in bytes, before it is worth it to ask several envoys for parts of them.
pub(super) const WORTH_BYTES: u64 = 8 << 20;

/// One pack, and those that give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) offer: Offer,
    /// By their places among the manifests.
    pub(super) holders: Vec<usize>,
}

/// What packs are to bring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lacking<'a> {
    /// How many bytes, by what updates say.
    pub(super) expected: Option<u64>,
    /// Nothing of the project is here.
    pub(super) all: bool,
    /// Most bytes that one pack may have.
    pub(super) most: u64,
    /// Packs of which some blocks are here.
    pub(super) begun: &'a [Oid],
}

/// Chooses the packs of one holder, in its order: of all holders the one whose packs come soonest if everybody gives what
/// it has, and if what its packs lack comes from one envoy. Nothing, unless most of it is held by several, or nothing of the
/// project is here: then even one holder gives it sooner as it lies than it could put it together. What has begun goes on.
///
/// `offers` are what each holder gives and is of use here. `lacking` is how much that is.
pub(super) fn choose(offers: &[Vec<Offer>], lacking: Lacking<'_>) -> Vec<Wanted> {
    let Lacking {
        expected,
        all,
        most,
        begun,
    } = lacking;
    let sets = offers.iter().map(|own| set(own, offers, most));
    let largest = sets.clone().map(|set| total(&set)).max().unwrap_or(0);
    let expected_bytes = expected.unwrap_or(largest);
    let worth = sets.filter(|set| {
        let total = total(set);
        let shared: u64 = set
            .iter()
            .filter(|one| one.holders.len() > 1)
            .map(|one| one.offer.tree.bytes())
            .sum();
        let has_begun = set.iter().any(|one| begun.contains(&one.offer.name));
        // Far more than what is lacking: most of it would be here already.
        let too_much = expected
            .is_some_and(|bytes| total > bytes.saturating_mul(2).saturating_add(WORTH_BYTES));
        total >= WORTH_BYTES && (all || has_begun || shared >= total / 2) && !too_much
    });
    let soonest = worth.min_by_key(|set| {
        let each = set
            .iter()
            .map(|one| one.offer.tree.bytes() / one.holders.len().max(1) as u64);
        let rest = expected_bytes.saturating_sub(total(set));
        (each.sum::<u64>().saturating_add(rest), total(set))
    });
    soonest.unwrap_or_default()
}

/// The packs of one holder, with everybody who gives them.
fn set(own: &[Offer], all: &[Vec<Offer>], most: u64) -> Vec<Wanted> {
    let fits = own.iter().filter(|offer| offer.tree.bytes() <= most);
    let wanted = fits.map(|offer| {
        // The objects are a number that its holder says; the tree is what it gives.
        let same = |other: &Offer| other.name == offer.name && other.tree == offer.tree;
        let gives = |(_, others): &(usize, &Vec<Offer>)| others.iter().any(same);
        let holders = all.iter().enumerate().filter(gives);
        Wanted {
            offer: offer.clone(),
            holders: holders.map(|(place, _)| place).collect(),
        }
    });
    wanted.collect()
}

fn total(set: &[Wanted]) -> u64 {
    set.iter().map(|one| one.offer.tree.bytes()).sum()
}

#[cfg(test)]
mod tests {
    use gitback_pack::BlockTree;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A pack by its name, so many mebibytes; `content` tells packs of the same name apart.
    fn offer_of(name: u8, mebibytes: u64, content: u8) -> Offer {
        let bytes = mebibytes * MIB;
        let tree = BlockTree::read(std::io::repeat(content), bytes).expect("in memory");
        Offer {
            name: Oid::from_bytes_or_panic(&[name; 20]),
            objects: 1,
            tree,
        }
    }

    fn offer(name: u8, mebibytes: u64) -> Offer {
        offer_of(name, mebibytes, name)
    }

    /// Something of the project is here.
    fn some(expected: Option<u64>) -> Lacking<'static> {
        Lacking {
            expected,
            all: false,
            most: 1 << 40,
            begun: &[],
        }
    }

    #[track_caller]
    fn chosen(offers: &[Vec<Offer>], expected: Option<u64>, wanted: &[(u8, &[usize])]) {
        let chosen = choose(offers, some(expected));
        let named: Vec<_> = chosen
            .iter()
            .map(|one| (one.offer.name.as_slice()[0], one.holders.as_slice()))
            .collect();
        assert_eq!(named, wanted);
    }

    #[test]
    fn a_pack_comes_from_everybody_who_has_it() {
        let all = [
            vec![offer(1, 9), offer(2, 1)],
            vec![offer(1, 9)],
            vec![offer(3, 1), offer(1, 9), offer(2, 1)],
        ];
        chosen(&all, Some(10 * MIB), &[(1, &[0, 1, 2]), (2, &[0, 2])]);
    }

    #[test]
    fn nothing_is_chosen_that_is_little_or_from_one_alone() {
        chosen(&[vec![offer(1, 9)]], Some(9 * MIB), &[]);
        chosen(&[vec![offer(1, 7)], vec![offer(1, 7)]], Some(7 * MIB), &[]);
        chosen(&[vec![offer(1, 9)], vec![offer(2, 9)]], Some(9 * MIB), &[]);
        chosen(&[vec![], vec![]], None, &[]);
        chosen(&[], None, &[]);
        let mostly_alone = [vec![offer(1, 3), offer(2, 9)], vec![offer(1, 3)]];
        chosen(&mostly_alone, Some(12 * MIB), &[]);
    }

    #[test]
    fn where_nothing_is_here_one_holder_is_enough() {
        let all = |expected| Lacking {
            all: true,
            ..some(expected)
        };
        let alone = [vec![offer(1, 9), offer(2, 3)]];
        let chosen = choose(&alone, all(Some(12 * MIB)));
        let names: Vec<u8> = chosen
            .iter()
            .map(|one| one.offer.name.as_slice()[0])
            .collect();
        assert_eq!(names, [1, 2]);
        assert_eq!(choose(&alone, some(Some(12 * MIB))), []);
        // Much that nothing leads to, or everything several times over.
        assert_eq!(choose(&alone, all(Some(MIB))), []);
        assert_eq!(choose(&[vec![offer(1, 7)]], all(None)), [], "little");
    }

    #[test]
    fn what_has_begun_goes_on_with_one_holder() {
        let alone = [vec![offer(1, 9), offer(2, 3)], Vec::new()];
        let begun = Lacking {
            begun: &[Oid::from_bytes_or_panic(&[2; 20])],
            ..some(Some(12 * MIB))
        };
        assert_eq!(choose(&alone, begun).len(), 2);
        let other = Lacking {
            begun: &[Oid::from_bytes_or_panic(&[3; 20])],
            ..begun
        };
        assert_eq!(choose(&alone, other), []);
    }

    #[test]
    fn a_size_that_is_a_lie_does_no_harm() {
        let both = [vec![offer(1, 9)], vec![offer(1, 9)]];
        for lie in [u64::MAX, u64::MAX / 2 + 1] {
            chosen(&both, Some(lie), &[(1, &[0, 1])]);
        }
    }

    #[test]
    fn the_same_name_with_another_content_is_another_pack() {
        let all = [
            vec![offer_of(1, 9, 1)],
            vec![offer_of(1, 9, 2)],
            vec![offer_of(1, 9, 2)],
        ];
        chosen(&all, None, &[(1, &[1, 2])]);
    }

    #[test]
    fn what_is_mostly_here_is_not_brought_in_again() {
        let both = [vec![offer(1, 40)], vec![offer(1, 40)]];
        chosen(&both, Some(9 * MIB), &[]);
        chosen(&both, Some(16 * MIB), &[(1, &[0, 1])]);
        let bounded = Lacking {
            most: 39 * MIB,
            ..some(None)
        };
        assert_eq!(choose(&both, bounded), [], "more than may come");
    }

    #[test]
    fn the_set_that_comes_soonest_wins() {
        // Put together on the first one: it has all in one pack that nobody else has, and one that all have.
        let all = [
            vec![offer(1, 10), offer(9, 8)],
            vec![offer(1, 10), offer(2, 4), offer(3, 4)],
            vec![offer(1, 10), offer(2, 4), offer(3, 4)],
        ];
        let soonest: &[(u8, &[usize])] = &[(1, &[0, 1, 2]), (2, &[1, 2]), (3, &[1, 2])];
        chosen(&all, Some(18 * MIB), soonest);
    }
}
